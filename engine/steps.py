"""The steps of a liquidation, carried out: what each changes, and which decisions it emits.

The table in `liquidation` says when; plans are calculated in `planning` and executed here, orders
in `order_steps`, what is lost in `shortfalls`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import decisions as d
from engine.book import Group, History
from engine.issuing import issue, known, liquidation_of, make_live
from engine.liquidation import Liquidation, Order, Step
from engine.loan_steps import LOAN_STEPS
from engine.margin import Health
from engine.order_steps import cool, hold_back, orders, stand_by
from engine.planning import plan_sales
from engine.shortfalls import book
from engine.situation import block_of, owed_assets, owed_to_pools, under_halt

if TYPE_CHECKING:
    from engine.core import Engine


def evidence(engine: Engine, state: Health) -> dict[str, tuple[object, ...]]:
    """Return what a liquidation rests on: legs, balances, loans and every mark used."""
    legs = tuple(
        d.LegEvidence(leg.symbol, leg.size, leg.cost, leg.value, leg.notional, leg.maintenance)
        for leg in state.legs
    )
    balances = tuple(
        d.BalanceEvidence(
            asset, state.cash.get(asset, Decimal(0)), state.net[asset], state.prices[asset]
        )
        for asset in sorted(state.net)
    )
    keys = [(leg.symbol, "mark") for leg in state.legs]
    loans = tuple(
        d.LoanEvidence(loan.pool, loan.supplied, loan.threshold, loan.owed, loan.weight)
        for loan in state.loans
    )
    assets = sorted({*state.net, *(loan.asset for loan in state.loans)})
    keys += [(asset, "index") for asset in assets]
    marks = tuple(engine.prices[key] for key in keys if key in engine.prices)
    return {"legs": legs, "balances": balances, "marks": marks, "loans": loans}


def _start(engine: Engine, group: Group, state: Health | None, reason: d.StartReason) -> None:
    health = known(state)
    account = group.account
    number = len(account.orders) + 1
    account.orders[number] = History(group.margin, [], [])
    waits = block_of(engine, group)
    group.liquidation = Liquidation(number, reason, waits)
    if reason == "breach":
        group.called = True
    engine.emit_for(
        group,
        d.LiquidationStarted,
        number=number,
        reason=reason,
        waits=waits,
        equity=health.equity,
        margin_equity=health.margin_equity,
        maintenance=health.maintenance,
        **evidence(engine, health),
    )


def _start_breach(engine: Engine, group: Group, state: Health | None) -> None:
    _start(engine, group, state, "breach")


def _start_auto_convert(engine: Engine, group: Group, state: Health | None) -> None:
    _start(engine, group, state, "auto_convert")


def _call(engine: Engine, group: Group, state: Health | None) -> None:
    health = known(state)
    group.called = True
    engine.emit_for(
        group,
        d.MarginCall,
        margin_equity=health.margin_equity,
        maintenance=health.maintenance,
    )


def _reset_call(engine: Engine, group: Group, state: Health | None) -> None:
    group.called = False


def _cancel_own(engine: Engine, group: Group, state: Health | None) -> None:
    group.orders_told = True
    engine.emit_for(group, d.CancelOpenOrders, number=0)


def _reset_told(engine: Engine, group: Group, state: Health | None) -> None:
    group.orders_told = False


def _cancel_exempt(engine: Engine, group: Group, state: Health | None) -> None:
    for order in liquidation_of(group).in_order():
        if order.cancelling_until is None:
            engine.cancel(group, order, "exempt")


def _cancel_halted(engine: Engine, group: Group, state: Health | None) -> None:
    for order in liquidation_of(group).in_order():
        if under_halt(order, engine.rules) and order.cancelling_until is None:
            engine.cancel(group, order, "halted")


def _cancel_restored(engine: Engine, group: Group, state: Health | None) -> None:
    for order in liquidation_of(group).in_order():
        if not order.is_sale and order.cancelling_until is None:
            engine.cancel(group, order, "healthy")


def _hold(engine: Engine, group: Group, state: Health | None) -> None:
    liquidation_of(group).waits = block_of(engine, group)


def _release(engine: Engine, group: Group, state: Health | None) -> None:
    liquidation_of(group).waits = ""


def _open(engine: Engine, group: Group, state: Health | None) -> None:
    """Have own open orders cancelled, unless loans are all that the group has."""
    liquidation = liquidation_of(group)
    liquidation.opened = True
    liquidation.opened_at = engine.time
    borrows_only = (
        state is not None and any(loan.owed for loan in state.loans) and not group.symbols
    )
    if borrows_only and not group.open_orders:
        return
    engine.emit_for(group, d.CancelOpenOrders, number=liquidation.number)
    if group.open_orders:
        rule = engine.rules.in_force.liquidation
        liquidation.awaiting_until = engine.time + rule.ack_timeout
        engine.timers.await_cancellation(group, liquidation)


def _sales(engine: Engine, group: Group, state: Health | None) -> None:
    """Sell collateral for negative cash; where there is none, for what is owed to pools."""
    liquidation, health = liquidation_of(group), known(state)
    liquidation.waits = ""
    negative = owed_assets(group.cash, liquidation.reason, engine.rules)
    owed = {asset: -health.cash[asset] for asset in negative} or owed_to_pools(health)
    for asset, amount, debt, limit in plan_sales(health, owed, engine.rules):
        issued = issue(engine, group, asset)
        order = Order(
            issued.id, issued.attempt, asset, "sell", amount, limit, issued.expires, for_asset=debt
        )
        make_live(engine, group, order)
        engine.emit_for(
            group,
            d.CollateralSale,
            order_id=issued.id,
            number=liquidation.number,
            asset=asset,
            amount=amount,
            for_asset=debt,
            limit_price=limit,
            expires=issued.expires,
            replaces=issued.replaces,
        )


def _end(engine: Engine, group: Group, reason: d.EndReason) -> None:
    engine.emit_for(group, d.LiquidationEnded, number=liquidation_of(group).number, reason=reason)
    group.liquidation = None


def _end_flat(engine: Engine, group: Group, state: Health | None) -> None:
    _end(engine, group, "flat")


def _end_healthy(engine: Engine, group: Group, state: Health | None) -> None:
    _end(engine, group, "healthy")


def _end_converted(engine: Engine, group: Group, state: Health | None) -> None:
    _end(engine, group, "converted")


def _end_superseded(engine: Engine, group: Group, state: Health | None) -> None:
    _end(engine, group, "superseded")


def _end_exempt(engine: Engine, group: Group, state: Health | None) -> None:
    _end(engine, group, "exempt")


STEPS: dict[Step, Callable[[Engine, Group, Health | None], None]] = {
    "book": book,
    "start_breach": _start_breach,
    "start_auto_convert": _start_auto_convert,
    "call": _call,
    "reset_call": _reset_call,
    "cancel_own": _cancel_own,
    "reset_told": _reset_told,
    "cancel_exempt": _cancel_exempt,
    "cancel_halted": _cancel_halted,
    "cancel_restored": _cancel_restored,
    "hold": _hold,
    "release": _release,
    "open": _open,
    "cool": cool,
    "hold_back": hold_back,
    "stand_by": stand_by,
    "orders": orders,
    "sales": _sales,
    "end_flat": _end_flat,
    "end_healthy": _end_healthy,
    "end_converted": _end_converted,
    "end_superseded": _end_superseded,
    "end_exempt": _end_exempt,
    **LOAN_STEPS,
}
