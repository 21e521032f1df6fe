"""What a fill that a liquidation asked for costs beside the trade, and what it restored.

The formulas stand in docs/semantics.md, 4 and 11.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import events as e
from engine import funds
from engine.book import Group
from engine.decisions import FeeCharged
from engine.liquidation_profile import LeastReduction
from engine.margin import notional
from engine.money import ZERO, charge, credit, floor_to
from engine.projection import Projection, shortage

if TYPE_CHECKING:
    from engine.core import Engine


def charge_fee(engine: Engine, group: Group, event: e.Fill, closed: Decimal, rate: Decimal) -> None:
    """Charge the liquidation fee of a fill, never more than is left; the fund gets what is not the
    venue's or the liquidator's."""
    rules = engine.rules
    instrument, rule = rules.derivatives[event.symbol], rules.in_force.liquidation
    asset = rules.assets[instrument.settle]
    fee = charge(rate * notional(instrument, closed, event.price, asset.unit), asset.unit)
    state = engine.health_of(group) if fee else None
    if state is None:
        return
    price = state.prices.get(asset.name) or engine.price_of(asset.name)
    if price is None:
        return
    fee = min(fee, credit(max(state.equity, ZERO), asset.unit, price))
    if fee <= 0:
        return
    venue = floor_to(rule.fee_to_venue * fee, asset.unit)
    liquidator = floor_to(rule.fee_to_liquidator * fee, asset.unit)
    engine.book.add_cash(group, asset.name, -fee)
    engine.ledger.fees[asset.name] += venue
    if liquidator:
        engine.clear(event.symbol, asset.name, liquidator)
    engine.changed.funds.add(asset.name)
    rest = fee - venue - liquidator
    if rest:
        funds.move(engine, asset.name, rest, funds.name_of(rules, event.symbol))
    told = {"venue": venue, "liquidator": liquidator, "order_id": event.order_id}
    engine.emit_for(group, FeeCharged, asset=asset.name, amount=fee, **told)


def lacking(engine: Engine, group: Group) -> Decimal | None:
    """Return the shortage of a group in a liquidation whose sizes grow with time, none where that
    does not matter or is not known."""
    sizing = engine.rules.in_force.liquidation.sizing
    ramped = isinstance(sizing, LeastReduction) and sizing.ramp is not None
    state = engine.health_of(group) if ramped and group.liquidation else None
    if state is None:
        return None
    return shortage(Projection(group.holdings, state), engine.rules, engine.markets)


def note_freed(engine: Engine, group: Group, before: Decimal | None) -> None:
    """Count what a fill restored of a shortage that was `before`."""
    after = None if before is None else lacking(engine, group)
    if before is not None and after is not None and group.liquidation is not None:
        group.liquidation.freed += max(before - after, ZERO)
