"""Which legs a liquidation closes, how much of each, at what limit; what collateral it sells.

Pure functions of a group's health, what it holds, the rules and the markets: `order_steps` and
`steps` carry the plans out. The formulas stand in docs/semantics.md, 5 and 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.closing import bankruptcy_price, fillable_price, limit_price
from engine.decisions import Side, Stage
from engine.holdings import Holdings
from engine.liquidation import Liquidation
from engine.margin import Health, LegHealth, health, suffices
from engine.markets import Markets
from engine.money import ONE, ZERO, ceil_to, charge, credit, floor_to
from engine.rules import Rules


class PlannedOrder(NamedTuple):
    """What an order for one leg would be; `toxic`: the plan it is part of lowers health."""

    symbol: str
    side: Side
    size: Decimal
    limit: Decimal
    bankruptcy: Decimal | None
    stage: Stage
    mark: Decimal
    toxic: bool = False
    fee_rate: Decimal = ZERO


class Plan(NamedTuple):
    """The orders that a group needs next; `partial`: they leave something of some leg."""

    orders: tuple[PlannedOrder, ...]
    partial: bool = False


class PlannedSale(NamedTuple):
    """What a sale of collateral would be."""

    asset: str
    amount: Decimal
    for_asset: str
    limit: Decimal


def plan_orders(
    state: Health, holdings: Holdings, rules: Rules, markets: Markets, liquidation: Liquidation
) -> Plan:
    """Return the orders that would restore the group if filled at the marks, whole legs, largest
    first.

    Legs whose symbol is halted are left alone.
    """
    legs = [leg for leg in state.legs if not rules.halts(leg.symbol)]
    legs.sort(key=lambda leg: (-leg.required, leg.symbol))
    planned: list[PlannedOrder] = []
    for leg in legs:
        planned.append(_plan_order(leg, state, rules, backstop=liquidation.backstop))
        holdings = _without(leg, holdings, rules)
        after = health(holdings, rules, markets)
        if after is not None and suffices(after, holdings, rules, markets):
            break
    return Plan(tuple(planned))


def _without(leg: LegHealth, holdings: Holdings, rules: Rules) -> Holdings:
    """Return what a group would hold with a leg closed at its mark, fees paid."""
    rate = rules.derivatives[leg.symbol].taker_fee + rules.in_force.liquidation.fee_rate
    cash = dict(holdings.cash)
    gained = leg.value - leg.cost - rate * leg.notional
    cash[leg.settle] = cash.get(leg.settle, ZERO) + gained
    legs = {symbol: held for symbol, held in holdings.legs.items() if symbol != leg.symbol}
    return holdings._replace(cash=cash, legs=legs)


def _plan_order(leg: LegHealth, state: Health, rules: Rules, *, backstop: bool) -> PlannedOrder:
    side: Side = "sell" if leg.size > 0 else "buy"
    fillable = rules.in_force.liquidation.fillable
    limit = (limit_price if fillable is None else fillable_price)(leg, state, rules)
    if limit is None:
        beyond = state.equity < 0
    else:
        beyond = leg.mark < limit if side == "sell" else leg.mark > limit
    stage: Stage = "backstop" if backstop or beyond else "limit"
    if stage == "backstop" or limit is None:
        limit = _slipped(leg, rules)
    return PlannedOrder(
        leg.symbol, side, abs(leg.size), limit, bankruptcy_price(leg, state, rules), stage, leg.mark
    )


def _slipped(leg: LegHealth, rules: Rules) -> Decimal:
    """Return the mark less (sells) or plus (buys) the slippage allowed, to the tick, at least
    one."""
    tick = rules.derivatives[leg.symbol].tick
    slippage = rules.in_force.liquidation.max_slippage
    if leg.size > 0:
        return max(ceil_to(leg.mark * (ONE - slippage), tick), tick)
    return max(floor_to(leg.mark * (ONE + slippage), tick), tick)


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
