"""Insurance funds: which one a market has, what it could pay, and every change of one.

The venue's fund is named "". docs/semantics.md, 12, has the rules. Amounts are in the asset.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import drawdown
from engine.decisions import FundDraw
from engine.money import ZERO, floor_to
from engine.waterfall import Layer, Payment, allocate

if TYPE_CHECKING:
    from engine.book import Group
    from engine.core import Engine
    from engine.ledger import Ledger
    from engine.rules import Rules

VENUE = ""


def held(ledger: Ledger, asset: str, name: str = VENUE) -> Decimal:
    """Return what a fund holds."""
    if name == VENUE:
        return ledger.fund.get(asset, ZERO)
    return ledger.named_funds.get((asset, name), ZERO)


def every(ledger: Ledger) -> Iterator[tuple[tuple[str, str], Decimal]]:
    """Yield what each fund holds, by asset and name."""
    yield from (((asset, VENUE), amount) for asset, amount in ledger.fund.items())
    yield from ledger.named_funds.items()


def in_all(ledger: Ledger, asset: str) -> Decimal:
    """Return what all funds of an asset hold together."""
    return sum((amount for (a, _), amount in every(ledger) if a == asset), ZERO)


def name_of(rules: Rules, market: str) -> str:
    """Return the name of the fund of a market."""
    rule = rules.in_force.waterfall.fund
    if rule.by == "group":
        return rule.groups.get(market, VENUE)
    return market if rule.by == "market" else VENUE


def move(engine: Engine, asset: str, amount: Decimal, name: str = VENUE) -> None:
    """Change a fund by an amount; no other function does."""
    if name == VENUE:
        before = engine.ledger.fund[asset]
        engine.ledger.fund[asset] += amount
        drawdown.follow(engine, asset, before)
    else:
        engine.ledger.named_funds[asset, name] += amount
    engine.funds_changed(asset)


def capacities(
    engine: Engine, asset: str, market: str, amount: Decimal | None = None
) -> dict[Layer, Decimal]:
    """Return what each fund that pays for a market could pay of an amount, in order.

    Where funds pay a shortfall whole or not at all, one that holds less has none. Without an amount
    that is not asked: it is the rule of shortfalls, not of positions taken over.
    """
    rule, ledger = engine.rules.in_force.waterfall.fund, engine.ledger
    room: Decimal | None = None
    if market in rule.caps:
        cap = floor_to(rule.caps[market], engine.rules.assets[asset].unit)
        room = max(cap - ledger.paid_by_fund.get((asset, market), ZERO), ZERO)
    found: dict[Layer, Decimal] = {}
    for name in payers(engine.rules, market):
        capacity = held(ledger, asset, name)
        if room is not None:
            capacity = min(capacity, room)
        if rule.whole and amount is not None and capacity < amount:
            capacity = ZERO
        if room is not None:
            room -= capacity
        found["fund", name] = capacity
    return found


def payers(rules: Rules, market: str) -> Iterator[str]:
    """Yield the names of the funds that pay for a market, in order."""
    own = name_of(rules, market)
    yield own
    if own != VENUE and rules.in_force.waterfall.fund.then_venue:
        yield VENUE


def capacity(engine: Engine, asset: str, market: str) -> Decimal:
    """Return what all funds that pay for a market could pay for positions taken over."""
    return sum(capacities(engine, asset, market).values(), ZERO)


def take(engine: Engine, asset: str, market: str, amount: Decimal) -> Decimal:
    """Take up to an amount out of the funds that pay for a market; return what they gave."""
    payments, rest = allocate(amount, capacities(engine, asset, market))
    for payment in payments:
        if payment.amount:
            move(engine, asset, -payment.amount, payment.layer[1])
    return amount - rest


def draw(engine: Engine, group: Group, asset: str, market: str, payment: Payment) -> None:
    """Have the fund that is the layer of a payment pay for a shortfall of a group, and say so."""
    move(engine, asset, -payment.amount, payment.layer[1])
    engine.ledger.paid_by_fund[asset, market] += payment.amount
    engine.emit_for(
        group,
        FundDraw,
        asset=asset,
        market=market,
        amount=payment.amount,
        capacity=payment.capacity,
        fund=payment.layer[1],
    )
