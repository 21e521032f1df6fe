"""Shortfalls that others bear: by open interest in the market, or today's winners.

docs/semantics.md, 12, has the formulas. Amounts are in the settlement asset of the market.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine import decisions as d
from engine import funds, sessions
from engine.book import Group
from engine.margin import equity_of
from engine.money import ZERO, floor_to
from engine.waterfall import allocate, shares

if TYPE_CHECKING:
    from engine.core import Engine


class Bearer(NamedTuple):
    """A group that can bear part of a loss: in proportion to `weight`, at most `able`."""

    group: Group
    weight: Decimal
    able: Decimal


def socialise(engine: Engine, group: Group, asset: str, market: str, amount: Decimal) -> Decimal:
    """Have others bear what they can of a shortfall of `group`; return what is left of it."""
    by = engine.rules.in_force.waterfall.socialised
    if not by:
        return amount
    bearers = _bearers(engine, group, asset, market)
    capacity = sum((one.able for one in bearers), ZERO)
    (payment,), rest = allocate(amount, {("socialised", by): capacity})
    if not payment.amount:
        return rest
    unit = engine.rules.assets[asset].unit
    charges = shares(amount, [(one.weight, one.able) for one in bearers], unit)
    excess = sum(charges, ZERO) - payment.amount
    engine.ledger.socialised[asset, market] += payment.amount
    about = {"asset": asset, "market": market}
    engine.emit_for(
        group, d.LossShared, by=by, amount=payment.amount, capacity=capacity, excess=excess, **about
    )
    for one, charge in zip(bearers, charges, strict=True):
        engine.emit_for(one.group, d.LossCharged, amount=charge, **about)
    groups = (one.group for one in bearers)
    engine.charge(asset, dict(zip(groups, charges, strict=True)))
    funds.move(engine, asset, excess)
    return rest


def _bears(engine: Engine, group: Group) -> bool:
    """Tell whether a group is one that may have to bear losses: nobody's who takes for others."""
    rule, account = engine.rules.in_force.waterfall, group.account
    return not account.protected and not rule.takes(account.id)


def _bearers(engine: Engine, bankrupt: Group, asset: str, market: str) -> list[Bearer]:
    """Return who can bear a loss, in order of account and margin."""
    by = engine.rules.in_force.waterfall.socialised
    listed, price = engine.rules.derivatives.get(market), engine.price_of(asset)
    if listed is None or listed.settle != asset or price is None:
        return []
    if by == "open_interest":
        weights = [(group, abs(group.legs[market].size)) for group in engine.book.holders(market)]
    else:
        everybody = sorted(engine.book.all_groups(), key=lambda group: group.key)
        weights = [(group, sessions.result(engine, group, asset)) for group in everybody]
    unit, found = engine.rules.assets[asset].unit, []
    for group, weight in weights:
        if weight <= 0 or group.account is bankrupt.account or not _bears(engine, group):
            continue
        equity = equity_of(group.holdings, engine.rules, engine.markets)
        able = floor_to(equity, unit, price) if equity is not None else ZERO
        if by == "winners":
            able = min(able, floor_to(weight, unit))
        if able > 0:
            found.append(Bearer(group, weight, able))
    return found
