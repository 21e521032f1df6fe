"""What must hold after every event of a crisis, in the words of a risk officer.

Every check reads the engine's state or its decisions and computes anew; `AssertionError` says what
does not hold. Who takes and who waits stands here, what it costs in `money`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal as D
from decimal import localcontext
from itertools import groupby
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
CHARGING = d.LossCharged | d.LossSocialised
"""What takes money of others in the midst of what is decided."""


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
            nobody_is_pushed_under_or_unhedged_while_another_could_give(engine, decided)
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
    """Deleveraging takes of traders on the other side only, in profit only, who are in no
    liquidation; and of nobody more than there is."""
    started: set[tuple[str, str]] = set()
    for one in reversed(decided):
        if isinstance(one, d.LiquidationStarted):
            started.add((one.account, one.margin))
        if not isinstance(one, d.Deleverage):
            continue
        group = engine.group_of(one.counterparty, one.counterparty_margin)
        leg = group.legs[one.symbol]
        assert (leg.size > 0) == (one.side == "buy"), one
        assert _profit(engine, one.symbol, leg) > 0, one
        assert group.account.role in ("trader", "market_maker"), one
        assert group.account.id not in (one.account, *_takers(engine)), one
        assert group.liquidation is None or group.key in started, one
        assert _asked(engine, group, one.symbol) <= abs(leg.size), one


def nobody_is_pushed_under_or_unhedged_while_another_could_give(
    engine: Engine, decided: Decided
) -> None:
    """Deleveraging takes nobody below its own start threshold while another candidate remains that
    could give and stay above its own; nobody who is hedged while one remains who is not; and makes
    nobody insolvent. Judged by what all have promised, unless a loss was charged as well."""
    if any(isinstance(one, CHARGING) for one in decided):
        return
    # Who was in liquidation when it was decided was no candidate, though that is over now.
    busy = {one.account for one in decided if isinstance(one, d.LiquidationEnded)}
    asked = [one for one in decided if isinstance(one, d.Deleverage)]
    later: set[str] = set()
    for _, plan in reversed([(key, list(plan)) for key, plan in groupby(asked, _closing)]):
        for order in plan:
            group = engine.group_of(order.counterparty, order.counterparty_margin)
            pushed = _after(engine, group.key, None, later)
            if pushed is not None and breached(pushed, engine.rules):
                _nobody_else_could(engine, order, busy, later, hedged=True)
                assert pushed.equity >= 0, order
            if _is_hedged(engine, group, order.symbol):
                _nobody_else_could(engine, order, busy, later, hedged=False)
        # What was decided for one was not known yet when it was for those before.
        later |= {order.order_id for order in plan}


def _closing(order: d.Deleverage) -> tuple[str, str, str]:
    return order.account, order.margin, order.symbol


def _profit(engine: Engine, symbol: str, leg: Leg) -> D:
    mark, unit = engine.prices[symbol, "mark"].price, engine.rules.settle_of(symbol).unit
    return engine.rules.derivatives[symbol].value(leg.size, mark, unit) - leg.cost


def _asked(engine: Engine, group: Group, symbol: str) -> D:
    """Return what live transfers are to close of a group's leg."""
    live = [one for one in _against(engine, group.key) if one.symbol == symbol]
    return sum((one.size - one.filled for one in live), ZERO)


def _is_hedged(engine: Engine, group: Group, symbol: str) -> bool:
    """Tell whether the account gains by another symbol when what moves this one makes it lose."""
    held = [
        (name, leg.size) for its in group.account.groups.values() for name, leg in its.legs.items()
    ]
    gains = _gains_by_rise(engine, symbol, group.legs[symbol].size)
    underlying = engine.rules.derivatives[symbol].underlying
    return underlying != "" and any(
        engine.rules.derivatives[name].underlying == underlying
        and _gains_by_rise(engine, name, size) != gains
        for name, size in held
        if name != symbol
    )


def _gains_by_rise(engine: Engine, symbol: str, size: D) -> bool:
    puts = getattr(engine.rules.derivatives[symbol], "kind", "") == "put"
    return size < 0 if puts else size > 0


def _after(
    engine: Engine,
    key: tuple[str, str],
    more: tuple[str, D, D] | None,
    later: set[str],
) -> Health | None:
    """Return the health of a counterparty once what is asked of it is done, but what was later, and
    `more` of a symbol (signed size, price)."""
    holdings = engine.group_of(*key).holdings
    for one in _against(engine, key):
        leg = holdings.legs.get(one.symbol)
        if one.id not in later and leg is not None:
            # It may have closed the leg itself since, or a part of it.
            size = min(one.unfilled, abs(leg.size)).copy_sign(-leg.size)
            holdings = closed(engine, holdings, one.symbol, size, one.limit, ZERO)
    if more is not None:
        holdings = closed(engine, holdings, *more, ZERO)
    return health(holdings, engine.rules, engine.markets)


def _nobody_else_could(
    engine: Engine, order: d.Deleverage, busy: set[str], later: set[str], *, hedged: bool
) -> None:
    """Assert that no other candidate (`hedged`: nor one who is) could have given a lot more and
    stayed above its threshold."""
    lot = engine.rules.derivatives[order.symbol].lot
    for group in engine.book.holders(order.symbol):
        if group.account.id in busy or not _is_candidate(engine, group, order):
            continue
        if not hedged and _is_hedged(engine, group, order.symbol):
            continue
        asked = _asked(engine, group, order.symbol)
        assert engine.transfers.unfilled(group.key, order.symbol) == asked, (order, group.key)
        if abs(group.legs[order.symbol].size) - asked < lot:
            continue
        more = (order.symbol, lot if order.side == "sell" else -lot, order.price)
        state = _after(engine, group.key, more, later)
        assert state is None or breached(state, engine.rules), (order, group.key)


def _is_candidate(engine: Engine, group: Group, order: d.Deleverage) -> bool:
    if group.account.role not in ("trader", "market_maker") or group.liquidation is not None:
        return False
    if group.account.id in (order.account, order.counterparty, *_takers(engine)):
        return False
    liquidation = engine.group_of(order.account, order.margin).liquidation
    if liquidation is not None and (order.symbol, "adl", *group.key) in liquidation.passed:
        return False
    state = engine.health_of(group)
    if state is None or breached(state, engine.rules):
        return False
    leg = group.legs[order.symbol]
    return (leg.size > 0) == (order.side == "buy") and _profit(engine, order.symbol, leg) > 0


def _takers(engine: Engine) -> set[str]:
    """Return the accounts that take positions for others."""
    rule = engine.rules.in_force.waterfall
    return {rule.fund_account, rule.backstop.account if rule.backstop else ""}


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
    and expected slippage paid, unless it is tagged toxic, or no margin equity was left before."""
    plans: dict[tuple[str, str], list[d.LiquidationOrder]] = defaultdict(list)
    shared = set()
    for one in decided:
        if isinstance(one, d.LiquidationOrder) and not one.toxic:
            plans[one.account, one.margin].append(one)
        elif isinstance(one, d.TakeOver | d.Deleverage):
            shared.add((one.account, one.margin))
    for key, orders in plans.items():
        group = engine.group_of(*key)
        before, holdings = engine.health_of(group), group.holdings
        if before is None or before.margin_equity <= 0 or key in shared:
            continue
        if all(one.size == abs(group.legs[one.symbol].size) for one in orders):
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
