"""What a liquidation asks for next: which legs, how much of each, at what limit; which collateral.

Pure functions of a group's health, what it holds, the rules and the markets: `order_steps` and
`steps` carry the plans out. The formulas stand in docs/semantics.md, 5 and 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine.closing import bankruptcy_price
from engine.decisions import Side, Stage, Waits
from engine.holdings import Holdings
from engine.liquidation_profile import Everything, LeastReduction, Sizing, WholeLegs
from engine.margin import Health
from engine.markets import Markets
from engine.money import ONE, ZERO, ceil_to, charge, credit
from engine.pricing import fee_rate, offer, passed_on
from engine.projection import Part, Projection, shortage, slipped, without
from engine.rules import Rules
from engine.selection import next_leg
from engine.sizing import Goal, allowed, reduce

if TYPE_CHECKING:
    from engine.liquidation import Liquidation


class PlannedOrder(NamedTuple):
    """What an order for one leg would be; `toxic`: the plan it is part of lowers health."""

    symbol: str
    side: Side
    size: Decimal
    limit: Decimal
    bankruptcy: Decimal | None
    stage: Stage
    mark: Decimal
    toxic: bool
    fee_rate: Decimal


class Plan(NamedTuple):
    """The orders that a group needs next; `partial`: one of them leaves something of its leg.

    Without orders, `waits` says why.
    """

    orders: tuple[PlannedOrder, ...] = ()
    partial: bool = False
    waits: Waits = ""


def plan_orders(
    state: Health, holdings: Holdings, rules: Rules, markets: Markets, liquidation: Liquidation
) -> Plan:
    """Return the orders that would restore the group, if filled at the marks, as far as the profile
    goes at once.

    Legs whose symbol is halted are left alone.
    """
    rule, now = rules.in_force.liquidation, Projection(holdings, state)
    whole = closes_whole(state, rules, liquidation)
    sizing: Sizing = rule.sizing
    if whole and not isinstance(sizing, Everything):
        sizing = WholeLegs()
    goal = Goal()
    ramp = sizing.ramp if isinstance(sizing, LeastReduction) else None
    if ramp is not None and not passed_on(state, rules):
        elapsed = markets.now - liquidation.opened_at
        lacking = shortage(now, rules, markets)
        reachable = allowed(ramp, lacking, liquidation.freed, elapsed)
        if reachable is None:
            return Plan(waits="cooldown")
        goal = reachable
    parts, after = _choose(now, sizing, goal, rules, markets)
    then = slipped(parts, after, rules, markets).state
    toxic = not whole and _is_toxic(state, then)
    if toxic and rule.toxic == "halt" and goal.numerator > 0:
        return Plan(waits="cooldown")
    if toxic and rule.toxic in ("halt", "full"):
        (parts, after), toxic = _choose(now, Everything(), goal, rules, markets), False
        then = slipped(parts, after, rules, markets).state
        if rule.toxic == "halt" and _lowers_health(state, then):
            return Plan(waits="toxic")
    return _plan(parts, state, rules, markets, liquidation, toxic=toxic)


def closes_whole(state: Health, rules: Rules, liquidation: Liquidation) -> bool:
    """Tell whether a group is in such a state that it is closed by whole legs, without a pause."""
    rule = rules.in_force.liquidation.cooldown
    critical = rule is not None and state.margin_equity < rule.critical * state.maintenance
    return critical or state.equity <= 0 or liquidation.backstop


def presses(state: Health, rules: Rules, liquidation: Liquidation) -> bool:
    """Tell whether a group is not to wait for a better moment: it is closed whole, or by those who
    take positions."""
    return closes_whole(state, rules, liquidation) or passed_on(state, rules)


def pressing_below(rules: Rules) -> Decimal:
    """Return the ratio of margin equity to maintenance above which no group presses for its
    health."""
    rule, backstop = rules.in_force.liquidation.cooldown, rules.in_force.waterfall.backstop
    below = None if backstop is None else backstop.below
    return max(rule.critical if rule else ZERO, below or ZERO)


def _choose(
    now: Projection, sizing: Sizing, goal: Goal, rules: Rules, markets: Markets
) -> tuple[list[Part], Projection]:
    """Return what is to be closed, in its order, and what is left of the group then."""
    state, parts = now.state, []
    left = [
        Part(leg, abs(leg.size), fee_rate(leg, state, rules))
        for leg in state.legs
        if not rules.halts(leg.symbol)
    ]
    while left:
        part = next_leg(left, now, rules, markets)
        left.remove(part)
        part, now = reduce(part, now, goal, sizing, rules, markets)
        parts.append(part)
        if not isinstance(sizing, Everything) and goal.missed_by(now, rules, markets) <= 0:
            break
    return parts, now


def _lowers_health(before: Health, after: Health) -> bool:
    """Tell whether what is left has less margin for what it needs, or is less than nothing."""
    return after.margin_equity * before.maintenance < before.margin_equity * after.maintenance


def _is_toxic(before: Health, after: Health) -> bool:
    """Tell whether something is left, and has less margin for what it needs."""
    return after.maintenance > 0 and _lowers_health(before, after)


def toxic_apart(
    orders: Iterable[PlannedOrder],
    state: Health,
    holdings: Holdings,
    rules: Rules,
    markets: Markets,
) -> bool:
    """Tell whether orders that are a part of a plan would lower health, if no other goes out."""
    legs, now = {leg.symbol: leg for leg in state.legs}, Projection(holdings, state)
    parts = [Part(legs[one.symbol], one.size, one.fee_rate) for one in orders]
    for part in parts:
        now = without(part, now, rules, markets)
    then = slipped(parts, now, rules, markets).state
    return _is_toxic(state, then)


def _plan(
    parts: list[Part],
    state: Health,
    rules: Rules,
    markets: Markets,
    liquidation: Liquidation,
    *,
    toxic: bool,
) -> Plan:
    elapsed = markets.now - liquidation.opened_at
    backstop = liquidation.backstop or (toxic and rules.in_force.liquidation.toxic == "take_over")
    orders: list[PlannedOrder] = []
    for leg, size, rate in parts:
        offered = offer(leg, state, rules, elapsed, backstop=backstop)
        orders.append(
            PlannedOrder(
                leg.symbol,
                "sell" if leg.size > 0 else "buy",
                size,
                offered.limit,
                bankruptcy_price(leg, state, rules),
                offered.stage,
                leg.mark,
                toxic,
                rate,
            )
        )
    return Plan(tuple(orders), any(not part.whole for part in parts))


class PlannedSale(NamedTuple):
    """What a sale of collateral would be."""

    asset: str
    amount: Decimal
    for_asset: str
    limit: Decimal


def plan_sales(state: Health, owed: Mapping[str, Decimal], rules: Rules) -> list[PlannedSale]:
    """Return the sales that would just cover what is owed, in the profile's order of collateral.

    `owed` are amounts by asset, in their order; none of these assets is sold for another.
    """
    profile = rules.in_force
    prices = {loan.asset: loan.price for loan in state.loans} | state.prices
    left = {asset: amount for asset, amount in state.cash.items() if amount > 0}
    planned: list[PlannedSale] = []
    for debt, need in owed.items():
        debt_price, debt_unit = prices[debt], rules.assets[debt].unit
        for asset in profile.conversion:
            if need <= 0:
                break
            if asset in owed or left.get(asset, ZERO) <= 0:
                continue
            sold, price = rules.assets[asset], prices[asset]
            amount = min(left[asset], charge(need * debt_price, sold.unit, price))
            slipped = price * (ONE - profile.liquidation.max_slippage)
            limit = ceil_to(slipped, Decimal((0, (1,), -sold.price_decimals)), debt_price)
            planned.append(PlannedSale(asset, amount, debt, limit))
            left[asset] -= amount
            need -= credit(amount * price, debt_unit, debt_price)
    return planned
