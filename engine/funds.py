"""Insurance funds: which one a market has, what it could pay, and every change of one.

The venue's fund is named "". docs/semantics.md, 12, has the rules. Amounts are in the asset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import drawdown
from engine.decisions import FundDraw, PositionPaid
from engine.money import ZERO, floor_to
from engine.transfers import outstanding_loss
from engine.waterfall import Layer, Payment, allocate

if TYPE_CHECKING:
    from engine.book import Group
    from engine.core import Engine
    from engine.ledger import Ledger
    from engine.liquidation import Order
    from engine.rules import Rules

VENUE = ""


def held(ledger: Ledger, asset: str, name: str = VENUE) -> Decimal:
    """Return what a fund holds."""
    if name == VENUE:
        return ledger.fund.get(asset, ZERO)
    return ledger.named_funds.get((asset, name), ZERO)


def every(ledger: Ledger) -> Iterator[tuple[tuple[str, str], Decimal]]:
    """Yield what each fund holds, by asset and name."""
    yield from (((asset, VENUE), amount) for asset, amount in ledger.fund.items())
    yield from ledger.named_funds.items()


def in_all(ledger: Ledger, asset: str) -> Decimal:
    """Return what all funds of an asset hold together."""
    return sum((amount for (a, _), amount in every(ledger) if a == asset), ZERO)


def name_of(rules: Rules, market: str) -> str:
    """Return the name of the fund of a market."""
    rule = rules.in_force.waterfall.fund
    if rule.by == "group":
        return rule.groups.get(market, VENUE)
    return market if rule.by == "market" else VENUE


def move(engine: Engine, asset: str, amount: Decimal, name: str = VENUE) -> None:
    """Change a fund by an amount; no other function does."""
    before = held(engine.ledger, asset, name)
    if name == VENUE:
        engine.ledger.fund[asset] += amount
    else:
        engine.ledger.named_funds[asset, name] += amount
    drawdown.follow(engine, asset, name, before, before + amount)
    engine.funds_changed(asset)


def promised(engine: Engine, asset: str) -> dict[tuple[str, str], Decimal]:
    """Return what live transfers to the fund's account may still cost, by fund and market.

    Market by market by name, of the funds of each in their order, as far as these go.
    """
    costs = defaultdict[str, Decimal](Decimal)
    for symbol, followed in engine.transfers.of("fund"):
        if engine.rules.derivatives[symbol].settle == asset:
            costs[symbol] += outstanding_loss(engine, symbol, followed)
    found: dict[tuple[str, str], Decimal] = {}
    left: dict[str, Decimal] = {}
    for symbol, due in sorted(costs.items()):
        for name in payers(engine.rules, symbol):
            before = left.get(name, held(engine.ledger, asset, name))
            found[name, symbol] = min(due, before)
            left[name] = before - found[name, symbol]
            due -= found[name, symbol]
    return found


def capacities(
    engine: Engine, asset: str, market: str, amount: Decimal | None = None
) -> dict[Layer, Decimal]:
    """Return what each fund that pays for a market could pay of an amount, in order: what it has
    and has not promised.

    Where funds pay a shortfall whole or not at all, one that holds less has none. Without an amount
    that is not asked: it is the rule of shortfalls, not of positions taken over.
    """
    rule, ledger, bound = engine.rules.in_force.waterfall.fund, engine.ledger, ZERO
    room: Decimal | None = None
    promises = promised(engine, asset)
    if market in rule.caps:
        cap = floor_to(rule.caps[market], engine.rules.assets[asset].unit)
        bound = sum((part for (_, symbol), part in promises.items() if symbol == market), ZERO)
        paid = ledger.paid_by_fund.get((asset, market), ZERO)
        paid += ledger.paid_for_positions.get((asset, market), ZERO)
        room = max(cap - paid - bound, ZERO)
    found: dict[Layer, Decimal] = {}
    for name in payers(engine.rules, market):
        capacity = held(ledger, asset, name)
        capacity -= sum((part for (fund, _), part in promises.items() if fund == name), ZERO)
        if room is not None:
            capacity = min(capacity, room)
        if rule.whole and amount is not None and capacity < amount:
            capacity = ZERO
        if room is not None:
            room -= capacity
        found["fund", name] = capacity
    return found


def payers(rules: Rules, market: str) -> Iterator[str]:
    """Yield the names of the funds that pay for a market, in order."""
    own = name_of(rules, market)
    yield own
    if own != VENUE and rules.in_force.waterfall.fund.then_venue:
        yield VENUE


def fallen(engine: Engine, asset: str, market: str) -> bool:
    """Tell whether every fund that pays for a market has fallen so far that positions in it may be
    deleveraged."""
    return all(
        drawdown.deleveraging(engine, asset, name, held(engine.ledger, asset, name))
        for name in payers(engine.rules, market)
    )


def capacity(engine: Engine, asset: str, market: str) -> Decimal:
    """Return what all funds that pay for a market could pay for positions taken over."""
    return sum(capacities(engine, asset, market).values(), ZERO)


def pay_for_position(engine: Engine, group: Group, order: Order, closed: Decimal) -> None:
    """Have the funds of a market pay their account what the part of a group's leg that it took has
    lost at the mark.

    In whole units, as far as the funds go and the account's balance may grow; `closed` has the
    leg's sign.
    """
    instrument, mark = (
        engine.rules.derivatives[order.symbol],
        engine.markets.price(order.symbol, "mark"),
    )
    asset = engine.rules.settle_of(order.symbol)
    if mark is None:
        raise LookupError(f"{order.symbol}: taken over without a mark")
    lost = instrument.value(closed, order.limit, asset.unit)
    lost -= instrument.value(closed, mark, asset.unit)
    taker, market = engine.group_of(*order.counterparty), order.symbol
    due = floor_to(lost, asset.unit)
    due = max(min(due, asset.largest - engine.book.cash_of(taker, asset.name)), ZERO)
    payments, _ = allocate(due, capacities(engine, asset.name, market))
    for payment in payments:
        if not payment.amount:
            continue
        move(engine, asset.name, -payment.amount, payment.layer[1])
        engine.ledger.paid_for_positions[asset.name, market] += payment.amount
        engine.changed.markets.add(market)
        engine.book.add_cash(taker, asset.name, payment.amount)
        engine.touch(taker)
        about = {"order_id": order.id, "asset": asset.name, "market": market}
        _say(engine, group, PositionPaid, payment, about)


def draw(engine: Engine, group: Group, asset: str, market: str, payment: Payment) -> None:
    """Have the fund that is the layer of a payment pay for a shortfall of a group, and say so."""
    move(engine, asset, -payment.amount, payment.layer[1])
    engine.ledger.paid_by_fund[asset, market] += payment.amount
    _say(engine, group, FundDraw, payment, {"asset": asset, "market": market})


def _say(
    engine: Engine,
    group: Group,
    kind: type[FundDraw | PositionPaid],
    payment: Payment,
    about: dict[str, str],
) -> None:
    paid = {"amount": payment.amount, "capacity": payment.capacity, "fund": payment.layer[1]}
    engine.emit_for(group, kind, **about, **paid)
