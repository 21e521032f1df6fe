"""What must hold after every event of a crisis, in the words of a risk officer.

Every check reads the engine's state or its decisions and computes anew; `AssertionError` says what
does not hold. Who takes and who waits stands here, what it costs in `money`.
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
from engine.events import AnyEvent
from engine.fills import fill_effect
from engine.holdings import Holdings, Leg
from engine.liquidation import Order
from engine.liquidation_profile import Pace
from engine.margin import Health, breached, health, notional
from engine.money import EXACT, ZERO, charge
from engine.projection import slippage
from tests.crises.money import Books, nobody_is_charged_below_zero

Decided = Sequence[Any]


class Checks:
    """Looks at one crisis after every event."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.books = Books(engine)

    def after(self, event: AnyEvent, decided: Decided) -> None:
        """Check everything after an event and all that was decided of it."""
        engine = self.engine
        if not engine.ready:
            return
        with localcontext(EXACT):
            self.books.after(event, decided)
            nobody_is_charged_below_zero(engine, decided)
            never_more_than_is_left(engine, decided)
            nobody_is_forgotten(engine)
            waits_for_what_is_so(engine)
            deleveraged_are_on_the_other_side_and_in_profit(engine, decided)
            a_part_leaves_nobody_riskier(engine, decided)
            a_seizure_leaves_nobody_riskier(engine, decided)
        invariants.check(engine)


def never_more_than_is_left(engine: Engine, decided: Decided) -> None:
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
    """Every account below its threshold has something live, or a place in a queue with its reason;
    what was recorded of the others is that they are flat, or healthy again."""
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


def waits_for_what_is_so(engine: Engine) -> None:
    """The reason of a place in a queue is one that holds."""
    rule, lending = engine.rules.in_force.liquidation, engine.rules.in_force.lending
    limited = rule.pace != Pace() or (lending is not None and lending.auction is not None)
    for group in engine.liquidating:
        liquidation = group.liquidation
        assert liquidation is not None
        until = liquidation.cooling_until
        holds = {
            "": True,
            "halted": bool(engine.rules.halted) or engine.rules.halted_all,
            "gap": group.account.gap_since is not None,
            "capped": limited,
            "promised": bool(list(engine.transfers.against(group.key))),
            "cooldown": until is not None and until > engine.time,
            "toxic": rule.toxic == "halt",
        }
        assert holds[liquidation.waits], (group.key, liquidation.waits)


def deleveraged_are_on_the_other_side_and_in_profit(engine: Engine, decided: Decided) -> None:
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
    # Who was in liquidation when it was decided was no candidate, though that is over now.
    busy = {one.account for one in decided if isinstance(one, d.LiquidationEnded)}
    for key, orders in taken.items():
        pushed = _after(engine, key, None)
        if pushed is not None and breached(pushed, engine.rules):
            _nobody_else_could(engine, orders[-1], busy)


def _after(engine: Engine, key: tuple[str, str], more: tuple[str, D, D] | None) -> Health | None:
    """Return the health of a counterparty once what is asked of it is done, and `more` of a symbol
    (signed size, price)."""
    group = engine.group_of(*key)
    holdings = group.holdings
    asked = [
        (one.symbol, one.size - one.filled, one.limit, one.side) for one in _against(engine, key)
    ]
    for symbol, size, price, side in asked:
        signed = size if side == "sell" else -size
        holdings = closed(engine, holdings, symbol, signed, price, ZERO)
    if more is not None:
        holdings = closed(engine, holdings, *more, ZERO)
    return health(holdings, engine.rules, engine.markets)


def _nobody_else_could(engine: Engine, order: d.Deleverage, busy: set[str]) -> None:
    """Assert that no other candidate could have given a lot more and stayed above its threshold."""
    lot = engine.rules.derivatives[order.symbol].lot
    for group in engine.book.holders(order.symbol):
        if group.account.id in busy or not _is_candidate(engine, group, order):
            continue
        live = [one for one in _against(engine, group.key) if one.symbol == order.symbol]
        asked = sum((one.size - one.filled for one in live), ZERO)
        assert engine.transfers.unfilled(group.key, order.symbol) == asked, (order, group.key)
        if abs(group.legs[order.symbol].size) - asked < lot:
            continue
        more = (order.symbol, lot if order.side == "sell" else -lot, order.price)
        state = _after(engine, group.key, more)
        assert state is None or breached(state, engine.rules), (order, group.key)


def _is_candidate(engine: Engine, group: Group, order: d.Deleverage) -> bool:
    if group.account.role not in ("trader", "market_maker") or group.liquidation is not None:
        return False
    if group.account.id in (order.account, order.counterparty):
        return False
    liquidation = engine.group_of(order.account, order.margin).liquidation
    if liquidation is not None and (order.symbol, "adl", *group.key) in liquidation.passed:
        return False
    state = engine.health_of(group)
    if state is None or breached(state, engine.rules):
        return False
    (leg,) = [one for one in state.legs if one.symbol == order.symbol]
    return (leg.size > 0) == (order.side == "buy") and leg.value > leg.cost


def _against(engine: Engine, key: tuple[str, str]) -> list[Order]:
    """Return the live transfers against a group, by id."""
    live = [
        order
        for group in engine.liquidating
        for order in (group.liquidation.orders.values() if group.liquidation else ())
        if order.is_transfer and order.counterparty == key
    ]
    return sorted(live, key=lambda order: order.id)


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


def a_part_leaves_nobody_riskier(engine: Engine, decided: Decided) -> None:
    """A partial liquidation, filled at the decision's marks, leaves its account no riskier, fees
    and expected slippage paid, unless it is tagged toxic."""
    plans: dict[tuple[str, str], list[d.LiquidationOrder]] = defaultdict(list)
    for one in decided:
        if isinstance(one, d.LiquidationOrder) and one.stage == "limit" and not one.toxic:
            plans[one.account, one.margin].append(one)
    if not plans or engine.rules.in_force.liquidation.pace != Pace():
        return  # With a pace what goes out is not the plan that was judged.
    for key, orders in plans.items():
        group = engine.group_of(*key)
        before, holdings = engine.health_of(group), group.holdings
        if before is None or all(one.size == abs(group.legs[one.symbol].size) for one in orders):
            continue
        for one in orders:
            rate = engine.rules.derivatives[one.symbol].taker_fee + one.fee_rate
            rate += slippage(one.symbol, engine.rules)
            size = one.size if one.side == "buy" else -one.size
            holdings = closed(engine, holdings, one.symbol, size, one.decided_mark, rate)
        after = health(holdings, engine.rules, engine.markets)
        assert after is not None
        risks = after.margin_equity * before.maintenance, before.margin_equity * after.maintenance
        assert not after.maintenance or risks[0] >= risks[1], (key, orders)


def a_seizure_leaves_nobody_riskier(engine: Engine, decided: Decided) -> None:
    """A seizure, carried out as asked, leaves the health factor no lower, to a unit of what is
    taken, unless it is tagged toxic."""
    asked = [one for one in decided if isinstance(one, d.CollateralLiquidation) and not one.toxic]
    lending = engine.rules.lending
    if not asked or lending is None or any(isinstance(one, d.LossSocialised) for one in decided):
        return
    for one in asked:
        state = engine.health_of(engine.group_of(one.account, one.margin))
        assert state is not None, one
        loans = {loan.pool: loan for loan in state.loans}
        debt, taken = loans[one.pool], loans[one.collateral]
        unit = engine.rules.assets[taken.asset].unit
        equity = state.margin_equity - (one.seize - unit) * taken.price * taken.threshold
        left = state.maintenance - one.repay * debt.price
        assert left <= 0 or equity * state.maintenance >= state.margin_equity * left, one
