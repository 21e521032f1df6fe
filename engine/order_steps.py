"""Orders in derivatives: the plan of `planning` carried out, order by order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import decisions as d
from engine.book import Group
from engine.issuing import issue, known, liquidation_of, make_live
from engine.liquidation import Order
from engine.margin import Health
from engine.planning import PlannedOrder, plan_orders

if TYPE_CHECKING:
    from engine.core import Engine


def orders(engine: Engine, group: Group, state: Health | None) -> None:
    """Have legs closed as planned."""
    liquidation = liquidation_of(group)
    liquidation.waits = ""
    plan = plan_orders(known(state), group.holdings, engine.rules, engine.markets, liquidation)
    for planned in plan.orders:
        send(engine, group, planned)


def send(engine: Engine, group: Group, planned: PlannedOrder) -> None:
    """Have an order go to the market."""
    liquidation, issued = liquidation_of(group), issue(engine, group, planned.symbol)
    order = Order(
        issued.id, issued.attempt, planned.symbol, planned.side, planned.size, planned.limit,
        issued.expires, planned.bankruptcy, fee_rate=planned.fee_rate,
    )  # fmt: skip
    make_live(engine, group, order)
    engine.emit_for(
        group,
        d.LiquidationOrder,
        order_id=issued.id,
        number=liquidation.number,
        symbol=planned.symbol,
        side=planned.side,
        size=planned.size,
        limit_price=planned.limit,
        bankruptcy_price=planned.bankruptcy,
        stage=planned.stage,
        reason=liquidation.reason,
        expires=issued.expires,
        replaces=issued.replaces,
        decided_mark=planned.mark,
        toxic=planned.toxic,
        fee_rate=planned.fee_rate,
    )
