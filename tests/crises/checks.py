"""What must hold after every event of a crisis, in the words of a risk officer.

Every check reads the engine's state or its decisions and computes anew; `AssertionError` says what
does not hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal as D
from decimal import localcontext
from typing import Any

from engine import decisions as d
from engine import invariants
from engine.book import Group
from engine.core import Engine
from engine.fills import fill_effect
from engine.holdings import Holdings, Leg
from engine.margin import Health, breached, health, notional
from engine.money import EXACT, ZERO, charge

LAYERS = (d.FundDraw, d.ReserveDraw, d.LossSocialised, d.LossShared)


def check(engine: Engine, decided: Sequence[Any]) -> None:
    """Check everything after an event and all that was decided of it."""
    invariants.check(engine)
    with localcontext(EXACT):
        layers_pay_in_order(decided)
        nobody_is_charged_below_zero(engine, decided)
        never_more_than_is_left(engine, decided)
        nobody_is_forgotten(engine)
        deleveraged_are_on_the_other_side_and_in_profit(engine, decided)


def layers_pay_in_order(decided: Sequence[Any]) -> None:
    """Each layer pays min(remaining, its capacity), and none below starts before."""
    remaining = ZERO
    for one in decided:
        if isinstance(one, d.Shortfall):
            assert remaining == 0, f"a shortfall before {remaining} of the last one was borne"
            remaining = one.amount
        elif isinstance(one, LAYERS):
            assert one.amount == min(remaining, one.capacity), one
            remaining -= one.amount
        elif isinstance(one, d.BadDebt):
            assert one.amount == remaining, one
            remaining = ZERO
    assert remaining == 0, f"{remaining} of a shortfall was borne by nobody"


def nobody_is_charged_below_zero(engine: Engine, decided: Sequence[Any]) -> None:
    """A socialised charge takes no account below zero."""
    for one in decided:
        if isinstance(one, d.LossCharged):
            state = engine.health_of(engine.group_of(one.account, one.margin))
            assert state is not None, one
            assert state.equity >= 0, (one, state.equity)


def never_more_than_is_left(engine: Engine, decided: Sequence[Any]) -> None:
    """What goes out against a leg, in the market and off it, is with what is live never more than
    the leg, and never opens or flips it; one market order a leg."""
    sent = {
        (one.account, one.margin, one.symbol)
        for one in decided
        if isinstance(one, d.LiquidationOrder | d.TakeOver | d.Deleverage)
    }
    for account, margin, symbol in sorted(sent):
        group = engine.group_of(account, margin)
        live = group.liquidation.in_order() if group.liquidation else []
        orders = [order for order in live if order.closes_leg and order.symbol == symbol]
        size = group.legs[symbol].size
        assert all((order.side == "sell") == (size > 0) for order in orders), (group.key, symbol)
        asked = sum((order.size - order.filled for order in orders), ZERO)
        assert asked <= abs(size), (group.key, symbol, asked, size)
        assert sum(not order.is_transfer for order in orders) <= 1, (group.key, symbol)


def nobody_is_forgotten(engine: Engine) -> None:
    """Every account below its threshold has something live, or a place in a queue with its
    reason."""
    for group in engine.book.all_groups():
        state = engine.health_of(group)
        if state is None or group.account.protected or not breached(state, engine.rules):
            continue
        liquidation = group.liquidation
        assert liquidation is not None, group.key
        live = liquidation.orders or liquidation.auctions
        waits = liquidation.waits or liquidation.awaiting_until is not None
        halted = group.symbols and all(engine.rules.halts(one) for one in group.symbols)
        assert live or waits or halted, (group.key, liquidation.waits)


def deleveraged_are_on_the_other_side_and_in_profit(engine: Engine, decided: Sequence[Any]) -> None:
    """Deleveraging takes of the other side only, in profit only; and takes nobody below its own
    start threshold while another candidate remains."""
    taken: dict[tuple[str, str], list[d.Deleverage]] = defaultdict(list)
    for one in decided:
        if isinstance(one, d.Deleverage):
            group = engine.group_of(one.counterparty, one.counterparty_margin)
            leg = group.legs[one.symbol]
            mark = engine.prices[one.symbol, "mark"].price
            unit = engine.rules.settle_of(one.symbol).unit
            value = engine.rules.derivatives[one.symbol].value(leg.size, mark, unit)
            assert (leg.size > 0) == (one.side == "buy"), one
            assert value > leg.cost, one
            taken[one.counterparty, one.counterparty_margin].append(one)
    if not taken:
        return
    for orders in taken.values():
        pushed = _after(engine, orders)
        if pushed is not None and breached(pushed, engine.rules):
            _nobody_else_could(engine, orders[-1], taken)


def _after(engine: Engine, orders: Sequence[d.Deleverage]) -> Health | None:
    """Return the health of a counterparty once what was asked of it is done."""
    group = engine.group_of(orders[0].counterparty, orders[0].counterparty_margin)
    holdings = group.holdings
    for one in orders:
        size = one.size if one.side == "sell" else -one.size
        holdings = closed(engine, holdings, one.symbol, size, one.price, ZERO)
    return health(holdings, engine.rules, engine.markets)


def _nobody_else_could(
    engine: Engine, order: d.Deleverage, taken: dict[tuple[str, str], list[d.Deleverage]]
) -> None:
    """Assert that no other candidate could have given a lot more and stayed above its threshold."""
    lot = engine.rules.derivatives[order.symbol].lot
    for group in engine.book.holders(order.symbol):
        if not _is_candidate(engine, group, order):
            continue
        given = [one for one in taken.get(group.key, []) if one.symbol == order.symbol]
        live = _asked_of(engine, group, order.symbol)
        leg = group.legs[order.symbol]
        if abs(leg.size) - live < lot:
            continue
        more = d.Deleverage(
            **{
                **{field: getattr(order, field) for field in order.__struct_fields__},
                "counterparty": group.account.id, "counterparty_margin": group.margin, "size": lot,
            }
        )  # fmt: skip
        state = _after(engine, [*given, more])
        assert state is None or breached(state, engine.rules), (order, group.key)


def _is_candidate(engine: Engine, group: Group, order: d.Deleverage) -> bool:
    if group.account.role not in ("trader", "market_maker") or group.liquidation is not None:
        return False
    if group.account.id in (order.account, order.counterparty):
        return False
    state = engine.health_of(group)
    if state is None or breached(state, engine.rules):
        return False
    (leg,) = [one for one in state.legs if one.symbol == order.symbol]
    return (leg.size > 0) == (order.side == "buy") and leg.value > leg.cost


def _asked_of(engine: Engine, group: Group, symbol: str) -> D:
    return sum(
        (
            order.size - order.filled
            for other in engine.liquidating
            if other.liquidation
            for order in other.liquidation.orders.values()
            if order.layer == "adl" and order.counterparty == group.key and order.symbol == symbol
        ),
        ZERO,
    )


def closed(
    engine: Engine, holdings: Holdings, symbol: str, size: D, price: D, fee_rate: D
) -> Holdings:
    """Return holdings after a fill of signed `size` at `price`, with a fee."""
    instrument = engine.rules.derivatives[symbol]
    unit = engine.rules.settle_of(symbol).unit
    effect = fill_effect(instrument, unit, holdings.legs.get(symbol), size, price)
    cash, legs = dict(holdings.cash), dict(holdings.legs)
    fee = charge(fee_rate * notional(instrument, size, price, unit), unit)
    cash[instrument.settle] = cash.get(instrument.settle, ZERO) + effect.cash - fee
    if effect.size:
        legs[symbol] = Leg(effect.size, effect.cost)
    else:
        del legs[symbol]
    return holdings._replace(cash=cash, legs=legs)


def no_riskier(engine: Engine, before: dict[tuple[str, str], Any], decided: Sequence[Any]) -> None:
    """A partial liquidation leaves its account no riskier at the decision's prices, fees paid,
    unless it is tagged toxic. `before` are healths and holdings by group."""
    plans: dict[tuple[str, str], list[d.LiquidationOrder]] = defaultdict(list)
    for one in decided:
        if isinstance(one, d.LiquidationOrder):
            plans[one.account, one.margin].append(one)
    for key, orders in plans.items():
        state, holdings = before[key]
        if state is None or state.equity <= 0 or any(one.toxic for one in orders):
            continue
        if any(one.stage == "backstop" for one in orders):
            continue
        for one in orders:
            rate = engine.rules.derivatives[one.symbol].taker_fee + one.fee_rate
            size = one.size if one.side == "buy" else -one.size
            holdings = closed(engine, holdings, one.symbol, size, one.decided_mark, rate)
        after = health(holdings, engine.rules, engine.markets)
        if after is None or not after.maintenance:
            continue
        risk = after.margin_equity * state.maintenance, state.margin_equity * after.maintenance
        assert risk[0] >= risk[1], (key, orders)
