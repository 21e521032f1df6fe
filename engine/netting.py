"""What another group of the same account holds against a leg; docs/semantics.md, 11."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.book import Group
from engine.closing import bankruptcy_price
from engine.decisions import Side
from engine.deleveraging import most_lots, stands
from engine.margin import Health, LegHealth
from engine.money import ZERO
from engine.transfers import Closing, Transfer, asks

if TYPE_CHECKING:
    from engine.core import Engine


def netted(engine: Engine, group: Group, state: Health) -> list[tuple[Closing, Transfer]]:
    """Return what another group of the account is to set off against its legs, at the marks.

    Nothing in stage backstop: a venue that does not net must not keep a position open.
    """
    rules = engine.rules
    last_resort = group.liquidation is not None and group.liquidation.backstop
    if not rules.in_force.liquidation.netting or last_resort:
        return []
    found: list[tuple[Closing, Transfer]] = []
    for leg in sorted(state.legs, key=lambda one: one.symbol):
        side: Side = "sell" if leg.size > 0 else "buy"
        for other in group.account.ordered_groups():
            if rules.halts(leg.symbol) or not asks(group, leg.symbol, "netting", other.key):
                continue
            size = _given(engine, other, leg)
            if size > 0:
                shown = bankruptcy_price(leg, state, rules)
                closing = Closing(leg.symbol, side, size, shown, leg.mark)
                transfer = Transfer("netting", other.key, size, leg.mark, size)
                found.append((closing, transfer))
    return found


def _given(engine: Engine, other: Group, leg: LegHealth) -> Decimal:
    """Return what a group gives against a leg at the mark without being breached by it; all of it
    where it is breached anyway."""
    wanted = min(abs(leg.size), _opposite(engine, other, leg))
    lot = engine.rules.derivatives[leg.symbol].lot

    def holds(size: Decimal) -> bool:
        return stands(engine, other, leg.symbol, size, leg.mark)

    return most_lots(wanted, lot, holds) if wanted > 0 and holds(ZERO) else wanted


def _opposite(engine: Engine, other: Group, leg: LegHealth) -> Decimal:
    """Return what a group holds against a leg that no order and no transfer closes already."""
    held = engine.book.leg_of(other, leg.symbol)
    if held is None or (held.size > 0) == (leg.size > 0):
        return ZERO
    live = other.liquidation.orders.values() if other.liquidation else ()
    if any(order.symbol == leg.symbol and order.closes_leg for order in live):
        return ZERO
    return abs(held.size) - engine.transfers.unfilled(other.key, leg.symbol)
