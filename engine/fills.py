"""Fills, sales and order ends: what trading does to a group, and where it disagrees with an
order."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine import events as e
from engine import forced_fills, funds, guard, pace, sessions
from engine.book import Group
from engine.holdings import Leg
from engine.instruments import Listed
from engine.issuing import end_live, not_filled
from engine.liquidation import Order
from engine.margin import fill_cost
from engine.money import ZERO, charge, credit, plain

if TYPE_CHECKING:
    from engine.core import Engine


class FillEffect(NamedTuple):
    """What a fill does to a leg: its new size and cost, the change of cash, and the signed size it
    closed.

    `closed` has the sign that the leg had; amounts in the settlement asset.
    """

    size: Decimal
    cost: Decimal
    cash: Decimal
    closed: Decimal


def fill_effect(
    instrument: Listed, unit: Decimal, leg: Leg | None, size: Decimal, price: Decimal
) -> FillEffect:
    """Return what a fill of signed `size` at `price` does to `leg`; roundings are against it."""
    held, cost = leg or (ZERO, ZERO)
    if held == 0 or (held > 0) == (size > 0):
        return FillEffect(held + size, cost + fill_cost(instrument, size, price, unit), ZERO, ZERO)
    if abs(size) <= abs(held):
        released = cost if size == -held else charge(cost * abs(size), unit, abs(held))
        cash = -fill_cost(instrument, size, price, unit) - released
        return FillEffect(held + size, cost - released, cash, -size)
    cash = -fill_cost(instrument, -held, price, unit) - cost
    rest = held + size
    return FillEffect(rest, fill_cost(instrument, rest, price, unit), cash, held)


def fill(engine: Engine, event: e.Fill) -> None:
    """Apply a fill: leg, cash, fee; if it is an order's, what it says of the order."""
    group = engine.group_of(event.account, event.margin)
    instrument = engine.rules.derivatives[event.symbol]
    unit = engine.rules.settle_of(event.symbol).unit
    leg = engine.book.leg_of(group, event.symbol)
    effect = fill_effect(instrument, unit, leg, event.size, event.price)
    order = _live_order(group, event.order_id)
    before = forced_fills.lacking(engine, group) if event.order_id else None
    if event.order_id:
        _fill_anomalies(engine, group, event, order, leg)
    engine.book.set_leg(group, event.symbol, effect.size, effect.cost)
    engine.book.add_cash(group, instrument.settle, effect.cash)
    engine.clear(event.symbol, instrument.settle, -effect.cash)
    sessions.count(engine, group, instrument.settle, effect.cash)
    engine.book.add_cash(group, event.fee_asset, -event.fee)
    engine.ledger.fees[event.fee_asset] += event.fee
    engine.changed.funds.add(event.fee_asset)
    group.last_market = event.symbol
    engine.touch(group)
    if not event.order_id:
        return
    if order is not None:
        _count_filled(engine, group, order, abs(event.size))
        pace.note_filled(engine, order)
        _note_loss(group, event, order, effect, instrument, unit)
        if order.layer == "fund":
            funds.pay_for_position(engine, group, order, effect.closed)
    rate = order.fee_rate if order else _late_rate(engine, group, event.order_id)
    forced_fills.charge_fee(engine, group, event, effect.closed, rate)
    forced_fills.note_freed(engine, group, before)
    if not group.account.transferred(event.order_id):
        guard.note_flow(engine, event.symbol, effect.closed)


def _late_rate(engine: Engine, group: Group, order_id: str) -> Decimal:
    """Return the liquidation fee of an order that is not live: of a transfer none."""
    if group.account.transferred(order_id):
        return ZERO
    return engine.rules.in_force.liquidation.fee_rate


def _live_order(group: Group, order_id: str) -> Order | None:
    return group.liquidation.orders.get(order_id) if group.liquidation else None


def _count_filled(engine: Engine, group: Group, order: Order, size: Decimal) -> None:
    order.filled += size
    engine.flight.follow(order)
    if order.is_transfer:
        engine.transfers.follow(order, engine.rules)
    if order.filled >= order.size:
        end_live(engine, group, order)


def _fill_anomalies(
    engine: Engine, group: Group, event: e.Fill, order: Order | None, leg: Leg | None
) -> None:
    size, held = event.size, leg.size if leg else ZERO
    if order is None:
        engine.anomaly(group, "late", event.order_id, f"fill {event.fill_id}: order is not live")
    elif order.filled + abs(size) > order.size:
        reached = f"{plain(order.filled)} + {plain(abs(size))} of {plain(order.size)}"
        detail = f"fill {event.fill_id}: {reached}"
        engine.anomaly(group, "exceeds_order", event.order_id, detail)
    if held == 0 or (held > 0) == (size > 0) or abs(size) > abs(held):
        detail = f"fill {event.fill_id}: {plain(size)} against a position of {plain(held)}"
        engine.anomaly(group, "exceeds_position", event.order_id, detail)
    if order is not None and (
        event.price < order.limit if order.side == "sell" else event.price > order.limit
    ):
        detail = f"fill {event.fill_id}: {plain(event.price)} beyond {plain(order.limit)}"
        engine.anomaly(group, "beyond_limit", event.order_id, detail)


def _note_loss(
    group: Group,
    event: e.Fill,
    order: Order,
    effect: FillEffect,
    instrument: Listed,
    unit: Decimal,
) -> None:
    """Add the loss beyond the bankruptcy price to its market."""
    if group.liquidation is None or order.bankruptcy is None:
        return
    fee = event.fee if event.fee_asset == instrument.settle else ZERO
    loss = instrument.value(effect.closed, order.bankruptcy, unit)
    loss += fee - instrument.value(effect.closed, event.price, unit)
    losses = group.liquidation.losses
    if loss > 0:
        losses[event.symbol] = losses.get(event.symbol, ZERO) + loss


def order_closed(engine: Engine, event: e.OrderClosed) -> None:
    """Take note that an order or sale can fill no more."""
    found = engine.find_live(event.account, event.order_id)
    if found is None:
        return
    group, order = found
    if event.filled_size != order.filled:
        detail = f"venue says {plain(event.filled_size)}, fills say {plain(order.filled)}"
        engine.anomaly(group, "filled_size", event.order_id, detail)
    if order.cancelling_until is None:
        not_filled(engine, group, order)
    end_live(engine, group, order)
    engine.touch(group)


def collateral_sold(engine: Engine, event: e.CollateralSold) -> None:
    """Apply a spot sale, a conversion's or the account's own."""
    group = engine.group_of(event.account, event.margin)
    order = _live_order(group, event.order_id)
    if order is not None and not order.is_sale:
        order = None  # A seizure's id: of a pool that is called as its asset.
    if event.order_id:
        _sale_anomalies(engine, group, event, order)
    for asset, change in ((event.asset, -event.amount), (event.for_asset, event.proceeds)):
        engine.book.add_cash(group, asset, change)
        engine.clear(event.asset, asset, -change)
    if order is not None:
        _count_filled(engine, group, order, event.amount)
    engine.touch(group)


def _sale_anomalies(
    engine: Engine, group: Group, event: e.CollateralSold, order: Order | None
) -> None:
    if order is None:
        engine.anomaly(group, "late", event.order_id, "sale is not live")
        return
    if order.filled + event.amount > order.size:
        detail = f"{plain(order.filled)} + {plain(event.amount)} of {plain(order.size)}"
        engine.anomaly(group, "exceeds_order", event.order_id, detail)
    unit = engine.rules.assets[event.for_asset].unit
    least = credit(event.amount * order.limit, unit)
    if event.proceeds < least:
        detail = f"{plain(event.proceeds)} {event.for_asset}, expected {plain(least)}"
        engine.anomaly(group, "beyond_limit", event.order_id, detail)
