"""Shortfalls of margin groups: which markets they belong to, and who makes them whole.

The layers of docs/semantics.md, 12, in their order: the funds of the market, those who share its
losses, nobody.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import decisions as d
from engine import funds
from engine.book import Group
from engine.margin import Health
from engine.money import ONE, ZERO
from engine.socialising import socialise
from engine.waterfall import allocate, split

if TYPE_CHECKING:
    from engine.core import Engine


def book(engine: Engine, group: Group, state: Health | None) -> None:
    """Make negative cash whole: those who pay for each market what they can, the rest is bad
    debt."""
    for asset, amount in group.cash.items():
        if amount >= 0:
            continue
        engine.book.set_cash(group, asset, ZERO)
        parts = split(-amount, _losses(engine, group, asset), engine.rules.assets[asset].unit)
        for market in sorted(parts):
            if parts[market]:
                _book_part(engine, group, asset, market, parts[market])


def _losses(engine: Engine, group: Group, asset: str) -> dict[str, Decimal]:
    """Return the losses beyond bankruptcy prices by market, or where there are none the market that
    the group was last in."""
    liquidation = group.liquidation
    losses = {
        symbol: loss
        for symbol, loss in (liquidation.losses if liquidation else {}).items()
        if engine.rules.derivatives[symbol].settle == asset
    }
    return losses or {group.last_market or asset: ONE}


def _book_part(engine: Engine, group: Group, asset: str, market: str, amount: Decimal) -> None:
    number = group.liquidation.number if group.liquidation else 0
    engine.emit_for(group, d.Shortfall, number=number, asset=asset, market=market, amount=amount)
    engine.ledger.shortfall[asset, market] += amount
    engine.changed.markets.add(market)
    payments, rest = allocate(amount, funds.capacities(engine, asset, market, amount))
    for payment in payments:
        if payment.amount:
            funds.draw(engine, group, asset, market, payment)
    if rest:
        rest = socialise(engine, group, asset, market, rest)
    if rest:
        _leave(engine, group, asset, market, rest)


def _leave(engine: Engine, group: Group, asset: str, market: str, amount: Decimal) -> None:
    """Take note of what nobody pays."""
    liquidation = group.liquidation
    engine.ledger.bad_debt[asset, market] += amount
    engine.funds_changed(asset)
    group.account.debts += 1
    engine.emit_for(
        group,
        d.BadDebt,
        id=f"{group.account.id}:debt:{group.account.debts}",
        number=liquidation.number if liquidation else 0,
        asset=asset,
        market=market,
        cause=liquidation.reason if liquidation else "negative_balance",
        amount=amount,
    )
