"""What a fill does to a leg and to cash, and what a fill of ours says about its order."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.decisions import Anomaly, FeeCharged, PositionPaid
from engine.events import Fill
from engine.liquidation_profile import LeastReduction
from tests.twin.amounts import ZERO, ceil, decimal, floor
from tests.twin.books import Group, Leg, Liquidation, Order, World
from tests.twin.closing import patience
from tests.twin.funds import change_fund, fund_of, pay
from tests.twin.guards import watch_flow
from tests.twin.payers import note_flow
from tests.twin.terms import ContractTerms
from tests.twin.values import cost, health, notional, shortage, value


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
    before = _missing(world, group) if fill.order_id else None
    if fill.order_id:
        _judge(world, group, fill, order)
    result = outcome_of(world, group, fill)
    settle = world.contracts[fill.symbol].settle
    group.cash[settle] += result.cash
    world.ledger.clearing[fill.symbol, settle] -= result.cash
    note_flow(world, group, fill.symbol, result.cash)
    group.cash[fill.fee_asset] -= Fraction(fill.fee)
    world.ledger.fees[fill.fee_asset] += Fraction(fill.fee)
    group.last_market = fill.symbol
    group.legs.pop(fill.symbol, None)
    if result.leg.size:
        group.legs[fill.symbol] = result.leg
    if order is not None:
        _book_on_order(world, group, fill, order, result.closed)
    if fill.order_id:
        _charge_fee(world, group, fill, order, result.closed)
        if order is not None and order.layer == "fund":
            _cover(world, group, fill, order, result.closed)
        _note_freed(world, group, before)
        if fill.order_id not in world.accounts[group.account].transferred:
            watch_flow(world, fill.symbol, result.closed)


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
    if order.in_market:
        world.unfilled[fill.symbol] = 0
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


def not_filled(world: World, liquidation: Liquidation, order: Order) -> None:
    """Take note that an order expired, or was closed without having been cancelled."""
    closes_leg = not order.for_asset and not order.collateral
    if closes_leg and world.time >= liquidation.opened_at + patience(world):
        liquidation.backstop = True
    if order.layer:
        liquidation.passed.add((order.symbol, order.layer, *order.counterparty))
    elif order.in_market and not order.filled:
        liquidation.passed = {one for one in liquidation.passed if one[0] != order.symbol}
    _note_unfilled(world, order)


def _note_unfilled(world: World, order: Order) -> None:
    """Count an order to the market that found nobody."""
    kept = world.rules.source.liquidation.pace.unfilled is not None
    if kept and order.in_market and not order.filled:
        world.unfilled[order.symbol] += 1


def _charge_fee(
    world: World, group: Group, fill: Fill, order: Order | None, closed: Fraction
) -> None:
    now, rule = health(world, group), world.rules.source.liquidation
    terms = world.contracts[fill.symbol]
    price = world.price(terms.settle, "index")
    transferred = fill.order_id in world.accounts[group.account].transferred
    if now is None or price is None or transferred:
        return
    unit, settle = world.unit(terms.settle), terms.settle
    size = notional(terms, closed, Fraction(fill.price), unit)
    rate = Fraction(rule.fee_rate) if order is None else order.fee_rate
    fee = min(ceil(rate * size, unit), floor(max(ZERO, now.equity) / price, unit))
    if fee <= 0:
        return
    venue = floor(Fraction(rule.fee_to_venue) * fee, unit)
    liquidator = floor(Fraction(rule.fee_to_liquidator) * fee, unit)
    group.cash[settle] -= fee
    world.ledger.fees[settle] += venue
    world.ledger.clearing[fill.symbol, settle] += liquidator
    change_fund(world, fund_of(world, fill.symbol), settle, fee - venue - liquidator)
    world.emit_for(
        group,
        FeeCharged,
        asset=settle,
        amount=decimal(fee),
        order_id=fill.order_id,
        venue=decimal(venue),
        liquidator=decimal(liquidator),
    )


def _cover(world: World, group: Group, fill: Fill, order: Order, closed: Fraction) -> None:
    """Let the funds pay what their account gives for a leg beyond its value at the mark."""
    terms, mark = world.contracts[fill.symbol], world.price(fill.symbol, "mark")
    assert mark is not None
    unit, asset = world.unit(terms.settle), terms.settle
    name, margin = order.counterparty
    cash = world.accounts[name].group(margin).cash
    due = value(terms, closed, order.limit, unit) - value(terms, closed, mark, unit)
    due = min(floor(due, unit), world.assets[asset].largest - cash[asset])
    for draw in list(pay(world, asset, fill.symbol, due, whole=False)):
        cash[asset] += draw.amount
        world.ledger.paid_for_positions[asset, fill.symbol] += draw.amount
        world.emit_for(
            group,
            PositionPaid,
            order_id=order.id,
            asset=asset,
            market=fill.symbol,
            amount=decimal(draw.amount),
            capacity=decimal(draw.capacity),
            fund=draw.fund,
        )


def _missing(world: World, group: Group) -> Fraction | None:
    """Return what a ramp of sizes compares before and after a fill, none without one."""
    sizing = world.rules.source.liquidation.sizing
    ramped = isinstance(sizing, LeastReduction) and sizing.ramp is not None
    if not ramped or group.liquidation is None or health(world, group) is None:
        return None
    return shortage(world, group)


def _note_freed(world: World, group: Group, before: Fraction | None) -> None:
    """Note by how much a forced fill brought the group nearer to its goal."""
    after = _missing(world, group)
    if before is not None and after is not None and group.liquidation is not None:
        group.liquidation.freed += max(ZERO, before - after)
