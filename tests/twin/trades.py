"""What a fill does to a leg and to cash, and what a fill of ours says about its order."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.decisions import Anomaly, FeeCharged
from engine.events import Fill
from tests.twin.amounts import ZERO, ceil, decimal, floor
from tests.twin.books import Group, Leg, Liquidation, Order, World
from tests.twin.terms import ContractTerms
from tests.twin.values import cost, health, notional, value


@dataclass
class Outcome:
    """A leg after a fill, the cash it brought, and the part of the leg that was closed."""

    leg: Leg
    cash: Fraction
    closed: Fraction


def outcome(
    terms: ContractTerms, leg: Leg, size: Fraction, price: Fraction, unit: Fraction
) -> Outcome:
    """Add a signed size to a leg."""
    paid = cost(terms, size, price, unit)
    if leg.size == 0 or (leg.size > 0) == (size > 0):
        return Outcome(Leg(leg.size + size, leg.cost + paid), ZERO, ZERO)
    if abs(size) > abs(leg.size):
        closed = outcome(terms, leg, -leg.size, price, unit)
        opened = outcome(terms, Leg(ZERO, ZERO), size + leg.size, price, unit)
        return Outcome(opened.leg, closed.cash, leg.size)
    released = leg.cost
    if size != -leg.size:
        released = ceil(leg.cost * abs(size) / abs(leg.size), unit)
    return Outcome(Leg(leg.size + size, leg.cost - released), -paid - released, -size)


def outcome_of(world: World, group: Group, fill: Fill) -> Outcome:
    """Return what a fill will do, without doing it."""
    terms = world.contracts[fill.symbol]
    leg = group.legs.get(fill.symbol, Leg(ZERO, ZERO))
    unit = world.unit(terms.settle)
    return outcome(terms, leg, Fraction(fill.size), Fraction(fill.price), unit)


def apply_fill(world: World, group: Group, fill: Fill) -> None:
    """Apply a trade, and judge it against its order if it has one."""
    order = live(group, fill.order_id)
    if fill.order_id:
        _judge(world, group, fill, order)
    result = outcome_of(world, group, fill)
    settle = world.contracts[fill.symbol].settle
    group.cash[settle] += result.cash
    world.ledger.clearing[fill.symbol, settle] -= result.cash
    group.cash[fill.fee_asset] -= Fraction(fill.fee)
    world.ledger.fees[fill.fee_asset] += Fraction(fill.fee)
    group.last_market = fill.symbol
    group.legs.pop(fill.symbol, None)
    if result.leg.size:
        group.legs[fill.symbol] = result.leg
    if order is not None:
        _book_on_order(world, group, fill, order, result.closed)
    if fill.order_id:
        _charge_fee(world, group, fill, result.closed)


def live(group: Group, order_id: str) -> Order | None:
    """Return a live order or sale of a group."""
    return group.liquidation.live.get(order_id) if group.liquidation else None


def anomaly(world: World, group: Group, kind: str, order_id: str) -> None:
    """Say that a fact does not agree with what was decided."""
    world.emit_for(group, Anomaly, kind=kind, order_id=order_id, detail="")


def _judge(world: World, group: Group, fill: Fill, order: Order | None) -> None:
    leg = group.legs.get(fill.symbol, Leg(ZERO, ZERO))
    size, price = Fraction(fill.size), Fraction(fill.price)
    reduces = leg.size * size < 0 and abs(size) <= abs(leg.size)
    if order is None:
        anomaly(world, group, "late", fill.order_id)
    elif order.filled + abs(size) > order.size:
        anomaly(world, group, "exceeds_order", fill.order_id)
    if not reduces:
        anomaly(world, group, "exceeds_position", fill.order_id)
    if order is not None and (price < order.limit if order.sells else price > order.limit):
        anomaly(world, group, "beyond_limit", fill.order_id)


def _book_on_order(world: World, group: Group, fill: Fill, order: Order, closed: Fraction) -> None:
    liquidation = group.liquidation
    assert isinstance(liquidation, Liquidation)
    order.filled += abs(Fraction(fill.size))
    if order.filled >= order.size:
        del liquidation.live[order.id]
    if order.bankruptcy is None:
        return
    terms = world.contracts[fill.symbol]
    unit = world.unit(terms.settle)
    fee = Fraction(fill.fee) if fill.fee_asset == terms.settle else ZERO
    due = value(terms, closed, order.bankruptcy, unit)
    got = value(terms, closed, Fraction(fill.price), unit)
    liquidation.losses[fill.symbol] += max(ZERO, due - got + fee)


def _charge_fee(world: World, group: Group, fill: Fill, closed: Fraction) -> None:
    now = health(world, group)
    terms = world.contracts[fill.symbol]
    price = world.price(terms.settle, "index")
    if now is None or price is None:
        return
    unit = world.unit(terms.settle)
    size = notional(terms, closed, Fraction(fill.price), unit)
    asked = ceil(Fraction(world.rules.source.liquidation.fee_rate) * size, unit)
    fee = min(asked, floor(max(ZERO, now.equity) / price, unit))
    if fee <= 0:
        return
    group.cash[terms.settle] -= fee
    world.ledger.fund[terms.settle] += fee
    world.emit_for(
        group, FeeCharged, asset=terms.settle, amount=decimal(fee), order_id=fill.order_id
    )
