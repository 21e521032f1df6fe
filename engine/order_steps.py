"""Orders in derivatives: the plan of `planning` carried out, order by order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine import decisions as d
from engine import pace
from engine.book import Group
from engine.issuing import issue, known, liquidation_of, make_live
from engine.liquidation import Order
from engine.margin import Health
from engine.netting import netted
from engine.planning import Plan, PlannedOrder, closes_whole, plan_orders, toxic_apart
from engine.profile import SECOND
from engine.takers import TAKERS
from engine.transfers import Closing, Transfer

if TYPE_CHECKING:
    from engine.core import Engine


def orders(engine: Engine, group: Group, state: Health | None) -> None:
    """Have legs closed as planned, as far as there is room for orders."""
    liquidation, rule = liquidation_of(group), engine.rules.in_force.liquidation
    netting = netted(engine, group, known(state))
    for closing, transfer in netting:
        hand_over(engine, group, closing, transfer)
    if netting:
        liquidation.waits = ""
        engine.others_changed()
        return
    plan = plan_orders(known(state), group.holdings, engine.rules, engine.markets, liquidation)
    liquidation.waits = plan.waits
    if plan.waits == "toxic":
        pace.hold_back(engine, liquidation)
    toxic = _toxic_apart(engine, group, known(state), plan)
    if toxic and _waits_for_all(engine, group, known(state), plan):
        liquidation.waits = "capped"
        pace.hold_back(engine, liquidation)
        return
    for planned in plan.orders:
        fitted = pace.fitted(engine, beside_takers(engine, group, planned))
        if fitted is not None:
            send(engine, group, fitted._replace(toxic=fitted.toxic or toxic))
    if plan.orders and not liquidation.orders:
        liquidation.waits = "capped"
        pace.hold_back(engine, liquidation, (planned.symbol for planned in plan.orders))
    elif plan.waits == "cooldown":
        _cool(engine, group, SECOND)
    elif plan.partial and rule.cooldown is not None:
        _cool(engine, group, rule.cooldown.time)


def _toxic_apart(engine: Engine, group: Group, state: Health, plan: Plan) -> bool:
    """Tell whether what there is room for of a plan would lower health, though all of it does
    not; who has none left is past that."""
    passing = pace.passing(engine, plan.orders)
    if not passing or passing == plan.orders or state.margin_equity <= 0:
        return False
    if any(one.toxic for one in plan.orders):
        return False
    return toxic_apart(passing, state, group.holdings, engine.rules, engine.markets)


def _waits_for_all(engine: Engine, group: Group, state: Health, plan: Plan) -> bool:
    """Tell whether a plan waits for room for all of it, rather than go out in part and tagged."""
    pressing = closes_whole(state, engine.rules, liquidation_of(group))
    if pressing or any(one.stage == "backstop" for one in plan.orders):
        return False
    return engine.rules.in_force.liquidation.toxic != "tag" and pace.fits(engine, plan.orders)


def _cool(engine: Engine, group: Group, time: int) -> None:
    """Have the next orders of a group wait."""
    liquidation = liquidation_of(group)
    liquidation.cooling_until = engine.time + time
    engine.timers.await_warmth(group, liquidation)


def cool(engine: Engine, group: Group, state: Health | None) -> None:
    """Note that the next orders of a group wait for a time."""
    liquidation_of(group).waits = "cooldown"


def stand_by(engine: Engine, group: Group, state: Health | None) -> None:
    """Note that somebody else's transfer is to close a leg of the group first."""
    liquidation_of(group).waits = "promised"


def hold_back(engine: Engine, group: Group, state: Health | None) -> None:
    """Note that what comes next would lower health, and is held back."""
    liquidation_of(group).waits = "toxic"


def beside_takers(engine: Engine, group: Group, planned: PlannedOrder) -> PlannedOrder:
    """Have those who take positions take what they can of an order in stage backstop; return the
    order for what is left, of size 0 for nothing."""
    closing = Closing(planned.symbol, planned.side, planned.size, planned.bankruptcy, planned.mark)
    if planned.stage != "backstop" or closing.bankruptcy is None:
        return planned
    for taker in engine.rules.in_force.waterfall.takers:
        for transfer in TAKERS[taker](engine, group, closing, closing.bankruptcy):
            hand_over(engine, group, closing, transfer)
            closing = closing._replace(size=closing.size - transfer.size)
    return planned._replace(size=closing.size)


def hand_over(engine: Engine, group: Group, closing: Closing, transfer: Transfer) -> None:
    """Have a position, or a part of it, go to a counterparty."""
    liquidation = liquidation_of(group)
    issued = issue(engine, group, closing.symbol, transfer=True)
    order = Order(
        issued.id, issued.attempt, closing.symbol, closing.side, transfer.size, transfer.price,
        issued.expires, closing.bankruptcy, layer=transfer.layer,
        counterparty=transfer.counterparty,
    )  # fmt: skip
    make_live(engine, group, order)
    account, margin = transfer.counterparty
    about: dict[str, Any] = {
        "order_id": issued.id,
        "number": liquidation.number,
        "symbol": closing.symbol,
        "side": closing.side,
        "size": transfer.size,
        "price": transfer.price,
        "expires": issued.expires,
        "replaces": issued.replaces,
    }
    if transfer.layer == "adl":
        about |= {"counterparty": account, "counterparty_margin": margin, "rank": transfer.rank}
        about |= {"score": transfer.score, "forgone": transfer.forgone}
    else:
        about |= {"layer": transfer.layer, "taker": account, "taker_margin": margin}
        about |= {"capacity": transfer.capacity}
    engine.emit_for(group, d.Deleverage if transfer.layer == "adl" else d.TakeOver, **about)


def send(engine: Engine, group: Group, planned: PlannedOrder) -> None:
    """Have an order go to the market."""
    liquidation, issued = liquidation_of(group), issue(engine, group, planned.symbol)
    order = Order(
        issued.id, issued.attempt, planned.symbol, planned.side, planned.size, planned.limit,
        issued.expires, planned.bankruptcy, fee_rate=planned.fee_rate,
    )  # fmt: skip
    make_live(engine, group, order)
    pace.note_sent(engine)
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
