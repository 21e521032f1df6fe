"""Orders in derivatives: the plan of `planning` carried out, order by order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import decisions as d
from engine.book import Group
from engine.issuing import issue, known, liquidation_of, make_live
from engine.liquidation import Order
from engine.margin import Health
from engine.planning import PlannedOrder, plan_orders
from engine.profile import SECOND

if TYPE_CHECKING:
    from engine.core import Engine


def orders(engine: Engine, group: Group, state: Health | None) -> None:
    """Have legs closed as planned."""
    liquidation, rule = liquidation_of(group), engine.rules.in_force.liquidation
    plan = plan_orders(known(state), group.holdings, engine.rules, engine.markets, liquidation)
    liquidation.waits = plan.waits
    for planned in plan.orders:
        send(engine, group, planned)
    if plan.waits == "cooldown":
        _cool(engine, group, SECOND)
    elif plan.partial and rule.cooldown is not None:
        _cool(engine, group, rule.cooldown.time)


def _cool(engine: Engine, group: Group, time: int) -> None:
    """Have the next orders of a group wait."""
    liquidation = liquidation_of(group)
    liquidation.cooling_until = engine.time + time
    engine.timers.await_warmth(group, liquidation)


def cool(engine: Engine, group: Group, state: Health | None) -> None:
    """Note that the next orders of a group wait for a time."""
    liquidation_of(group).waits = "cooldown"


def hold_back(engine: Engine, group: Group, state: Health | None) -> None:
    """Note that what comes next would lower health, and is held back."""
    liquidation_of(group).waits = "toxic"


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
