"""The single conditions that events must satisfy: each returns what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import events as e
from engine.holdings import Leg
from engine.instruments import Asset, Listed
from engine.money import ZERO, fits, plain

if TYPE_CHECKING:
    from engine.core import Engine

Refusal = tuple[str, str]
"""The rule that is broken, and how."""

Checks = Iterator[Refusal | None]

NO_LEG = Leg(ZERO, ZERO)


def decimals(name: str, amount: Decimal, decimals: int, of: str) -> Refusal | None:
    """Refuse an amount with more decimals than there are."""
    if fits(amount, decimals):
        return None
    return "decimals", f"{name} {plain(amount)} has more than the {decimals} decimals of {of}"


def positive(name: str, amount: Decimal) -> Refusal | None:
    """Refuse an amount that is not above zero."""
    return None if amount > 0 else ("not_positive", f"{name} {plain(amount)} is not above zero")


def not_negative(name: str, amount: Decimal) -> Refusal | None:
    """Refuse an amount below zero."""
    return None if amount >= 0 else ("negative", f"{name} {plain(amount)} is below zero")


def asset(engine: Engine, name: str) -> Refusal | None:
    """Refuse an asset that is not listed."""
    return None if name in engine.rules.assets else ("unknown_asset", f"{name} is not listed")


def amount(engine: Engine, name: str, amount: Decimal, asset: str) -> Refusal | None:
    """Refuse an amount with more decimals than its asset."""
    return decimals(name, amount, engine.rules.assets[asset].decimals, asset)


def derivative(engine: Engine, symbol: str) -> Refusal | None:
    """Refuse a symbol that is no listed derivative."""
    if symbol not in engine.rules.derivatives:
        return "unknown_symbol", f"{symbol} is not a listed instrument"
    return None


def trading(engine: Engine, symbol: str) -> Refusal | None:
    """Refuse a symbol that is no listed derivative, or is settled."""
    if symbol in engine.rules.settled:
        return "settled", f"{symbol} is settled"
    return derivative(engine, symbol)


def margin(engine: Engine, margin: str, symbol: str | None) -> Refusal | None:
    """Refuse a name of no margin group; `symbol` is the event's, or none where any listed
    derivative or pool will do."""
    if margin == e.CROSS:
        return None
    scheme, _, leg = margin.partition(":")
    listed = leg in engine.rules.derivatives or (symbol is None and is_pool(engine, leg))
    if scheme == "isolated" and listed and symbol in (None, leg):
        return None
    return "margin", f"{margin!r} names no margin group" + (f" of {symbol}" if symbol else "")


def cash_limit(
    engine: Engine, account: str, margin: str, changes: dict[str, Decimal]
) -> Refusal | None:
    """Refuse balances that would pass their asset's largest amount."""
    known = engine.accounts.get(account)
    group = known.groups.get(margin) if known else None
    for asset, change in changes.items():
        before = engine.book.cash_of(group, asset) if group else ZERO
        largest, after = engine.rules.assets[asset].largest, before + change
        if abs(after) > max(largest, abs(before)):
            return "limit", f"balance {plain(after)} {asset} would pass {plain(largest)}"
    return None


def leg_limit(
    instrument: Listed, asset: Asset, size: Decimal, cost: Decimal, held: Leg = NO_LEG
) -> Refusal | None:
    """Refuse a leg beyond its largest, unless it comes nearer to it: limits may have been
    lowered."""
    if abs(size) > max(instrument.largest_size, abs(held.size)):
        most = plain(instrument.largest_size)
        return "limit", f"size {plain(size)} would pass {most} of {instrument.name}"
    if abs(cost) > max(asset.largest, abs(held.cost)):
        return "limit", f"cost {plain(cost)} would pass {plain(asset.largest)} {asset.name}"
    return None


def issued(
    engine: Engine, account: str, order_id: str, margin: str | None, symbol: str | None
) -> Refusal | None:
    """Refuse an order id that was never issued for this account, margin group and symbol."""
    if engine.accounts[account].issued(order_id, margin, symbol):
        return None
    return "unknown_order", f"order {order_id!r} was never issued for this"


def is_pool(engine: Engine, name: str) -> bool:
    """Tell whether a name is that of a pool in force."""
    lending = engine.rules.lending
    return lending is not None and name in lending.pools


def pool(engine: Engine, name: str) -> Refusal | None:
    """Refuse a name of no pool in force."""
    return None if is_pool(engine, name) else ("unknown_pool", f"{name} is no pool")
