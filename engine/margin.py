"""Margin of one group: values, requirements, health, bankruptcy and limit prices.

Pure functions of a group's holdings, the rules and the markets. Amounts of a leg are in its
settlement asset; equity and requirements of a group in the profile's numeraire. Sums and products
are exact; a division rounds once, by name. The formulas stand in docs/semantics.md, 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.holdings import Holdings, Leg
from engine.instruments import Listed
from engine.loan_values import LoanHealth, loans_of
from engine.markets import Markets
from engine.money import ONE, ZERO, charge
from engine.portfolios import portfolio_leg, portfolio_requirements, requirement_alone
from engine.requirement import Exposure
from engine.rules import Rules
from engine.weights import Context, counted, weight


class LegHealth(NamedTuple):
    """One leg at its mark; amounts in the settlement asset, `required` (maintenance) in the
    numeraire."""

    symbol: str
    size: Decimal
    cost: Decimal
    mark: Decimal
    settle: str
    value: Decimal
    notional: Decimal
    maintenance: Decimal
    required: Decimal


class Health(NamedTuple):
    """One margin group at the marks, in the numeraire; `net` is cash and unrealised by asset,
    `counted` the same with profit at its weight, `portfolios` the maintenance of each by
    underlying, `loans` what is supplied and owed by pool."""

    equity: Decimal
    margin_equity: Decimal
    maintenance: Decimal
    cash: dict[str, Decimal]
    net: dict[str, Decimal]
    counted: dict[str, Decimal]
    prices: dict[str, Decimal]
    legs: tuple[LegHealth, ...]
    portfolios: dict[str, Decimal]
    loans: tuple[LoanHealth, ...] = ()

    @property
    def exposed(self) -> bool:
        """Whether the group has a position or owes something."""
        return (
            bool(self.legs)
            or any(amount < 0 for amount in self.cash.values())
            or any(loan.owed for loan in self.loans)
        )

    @property
    def notional(self) -> Decimal:
        """What the legs are worth without their signs, in the numeraire."""
        return sum((leg.notional * self.prices[leg.settle] for leg in self.legs), ZERO)


class Level(NamedTuple):
    """Margin equity and what it has to meet in some context, in the numeraire; `required` by
    symbol."""

    margin_equity: Decimal
    requirement: Decimal
    required: dict[str, Decimal]

    @property
    def surplus(self) -> Decimal:
        """What margin equity has beyond the requirement, in the numeraire; Mango's health."""
        return self.margin_equity - self.requirement


class _Marked(NamedTuple):
    """A leg (of size 0 where only orders are) at the price of a context."""

    symbol: str
    leg: Leg
    instrument: Listed
    price: Decimal
    value: Decimal
    notional: Decimal


class _Worth(NamedTuple):
    """What a group has at the marks; `net` and `prices` by asset, `equity` in the numeraire."""

    marked: list[_Marked]
    net: dict[str, Decimal]
    prices: dict[str, Decimal]
    loans: tuple[LoanHealth, ...]
    equity: Decimal


def notional(instrument: Listed, size: Decimal, price: Decimal, unit: Decimal) -> Decimal:
    """Return the unsigned value of `size` at `price` in the settlement asset, rounded up if
    inverse."""
    if instrument.inverse:
        return charge(abs(size) * instrument.multiplier, unit, price)
    return abs(size) * instrument.multiplier * price


def fill_cost(instrument: Listed, size: Decimal, price: Decimal, unit: Decimal) -> Decimal:
    """Return what `size` bought at `price` costs in the settlement asset, rounded up."""
    if instrument.inverse:
        return charge(-size * instrument.multiplier, unit, price)
    return charge(size * instrument.multiplier * price, unit)


def exposure(instrument: Listed, size: Decimal, price: Decimal, worth: Decimal) -> Exposure:
    """Return a position of `size` and notional `worth` as its requirement curve sees it."""
    if instrument.inverse:
        return Exposure(worth, worth, ONE)
    return Exposure(abs(size) * instrument.multiplier, worth, price)


def _worth(holdings: Holdings, rules: Rules, markets: Markets) -> _Worth | None:
    """Return what a group is worth; none while a price that counts is missing."""
    marked: list[_Marked] = []
    for symbol, leg in holdings.legs.items():
        mark = markets.price(symbol, "mark")
        if mark is None:
            return None
        marked.append(_mark(symbol, leg, mark, rules))
    net = _net(holdings.cash, marked)
    prices = _prices(net, marked, rules, markets)
    loans = loans_of(holdings, rules, markets)
    if prices is None or loans is None:
        return None
    equity = sum(((loan.supplied - loan.owed) * loan.price for loan in loans), ZERO)
    for asset, amount in net.items():
        equity += amount * prices[asset]
    return _Worth(marked, net, prices, loans, equity)


def equity_of(holdings: Holdings, rules: Rules, markets: Markets) -> Decimal | None:
    """Return the equity of a group, as its health has it."""
    worth = _worth(holdings, rules, markets)
    return None if worth is None else worth.equity


def health(holdings: Holdings, rules: Rules, markets: Markets) -> Health | None:
    """Return the health of a group; none while a price that counts is missing.

    Raises `LookupError` without a profile. To be called in the exact context.
    """
    worth = _worth(holdings, rules, markets)
    if worth is None:
        return None
    marked, net, prices, loans, equity = worth
    needed = {
        one.symbol: _needed(one, one.leg.size, rules, markets, "maintenance") for one in marked
    }
    legs: list[LegHealth] = []
    for one in marked:
        settle, needs = one.instrument.settle, needed[one.symbol]
        legs.append(
            LegHealth(
                one.symbol, one.leg.size, one.leg.cost, one.price, settle, one.value, one.notional,
                needs, needs * prices[settle],
            )
        )  # fmt: skip
    required = {leg.symbol: leg.required for leg in legs}
    alone, portfolios = _in_all(marked, required, prices, rules, markets, "maintenance")
    maintenance = alone + sum(portfolios.values(), ZERO)
    if marked:
        maintenance += rules.in_force.trigger.fixed_cost
    counts = _counted(holdings.cash, net, marked, needed, rules, "maintenance")
    margin_equity = _margin_equity(counts, alone, prices, rules, markets, "maintenance")
    margin_equity += sum((loan.counted for loan in loans), ZERO)
    maintenance += sum((loan.required for loan in loans), ZERO)
    return Health(
        equity, margin_equity, maintenance, dict(holdings.cash), net, counts, prices, tuple(legs),
        portfolios, loans,
    )  # fmt: skip


def level(
    holdings: Holdings, rules: Rules, markets: Markets, context: Context = "entry"
) -> Level | None:
    """Return margin equity and requirement of a group at initial weights and rates.

    Both with the factor of volatility; the context "entry" besides with open orders, averages and
    told totals as the profile has it. None while a price is missing. To be called in the
    exact context.
    """
    entry = context == "entry"
    legs = dict(holdings.legs)
    if entry and rules.in_force.entry.open_orders == "worst_case":
        for symbol in holdings.orders:
            legs.setdefault(symbol, Leg(ZERO, ZERO))
    marked: list[_Marked] = []
    for symbol in sorted(legs):
        side = legs[symbol].size
        price = _worse(symbol, "mark", side > 0, markets, entry=entry and bool(side))
        if price is None:
            return None
        marked.append(_mark(symbol, legs[symbol], price, rules))
    net = _net(holdings.cash, marked)
    prices = _prices(net, marked, rules, markets)
    loans = loans_of(holdings, rules, markets, context)
    if prices is None or loans is None:
        return None
    if entry:
        for asset in prices:
            worse = _worse(asset, "index", net[asset] >= 0, markets, entry=True)
            prices[asset] = prices[asset] if worse is None else worse
    needed: dict[str, Decimal] = {}
    ordered: dict[str, Decimal] = {}
    for one in marked:
        buys, sells = holdings.orders.get(one.symbol, (ZERO, ZERO)) if entry else (ZERO, ZERO)
        if rules.in_force.entry.open_orders == "ignored":
            buys = sells = ZERO
        size = max(abs(one.leg.size + buys), abs(one.leg.size - sells))
        needed[one.symbol] = _needed(one, size, rules, markets, context)
        if rules.portfolio_of(one.symbol) is not None:
            ordered[one.symbol] = _ordered(one, buys, sells, rules, markets, context)
    required = {one.symbol: needed[one.symbol] * prices[one.instrument.settle] for one in marked}
    alone, portfolios = _in_all(marked, required, prices, rules, markets, context)
    requirement = alone + sum(portfolios.values(), ZERO)
    for symbol, needs in ordered.items():
        extra = needs * prices[rules.derivatives[symbol].settle]
        required[symbol] += extra
        requirement += extra
    counts = _counted(holdings.cash, net, marked, needed, rules, context)
    margin_equity = _margin_equity(counts, alone, prices, rules, markets, context)
    margin_equity += sum((loan.counted for loan in loans), ZERO)
    requirement += sum((loan.required for loan in loans), ZERO)
    return Level(margin_equity, requirement, required)


def _mark(symbol: str, leg: Leg, price: Decimal, rules: Rules) -> _Marked:
    instrument = rules.derivatives[symbol]
    unit = rules.assets[instrument.settle].unit
    value = instrument.value(leg.size, price, unit)
    return _Marked(
        symbol, leg, instrument, price, value, notional(instrument, leg.size, price, unit)
    )


def _worse(symbol: str, kind: str, owned: bool, markets: Markets, *, entry: bool) -> Decimal | None:
    """Return a price, at entry the worse of it and its average for who owns or owes."""
    price = markets.price(symbol, kind)
    average = markets.averages.get((symbol, kind)) if entry else None
    if price is None or average is None:
        return price
    return min(price, average) if owned else max(price, average)


def _net(cash: Mapping[str, Decimal], marked: Iterable[_Marked]) -> dict[str, Decimal]:
    net = dict(cash)
    for one in marked:
        settle = one.instrument.settle
        net[settle] = net.get(settle, ZERO) + one.value - one.leg.cost
    return net


def _prices(
    net: Mapping[str, Decimal], marked: Iterable[_Marked], rules: Rules, markets: Markets
) -> dict[str, Decimal] | None:
    """Return the price of every asset of `net`, none while one that counts is missing."""
    collateral = rules.in_force.collateral
    needed = {one.instrument.settle for one in marked}
    found: dict[str, Decimal] = {}
    for asset in sorted(net):
        price = rules.price_of(asset, markets)
        if price is None:
            owned_and_unnamed = asset not in collateral and net[asset] >= 0
            if asset in needed or not (owned_and_unnamed or net[asset] == 0):
                return None
            price = ZERO
        found[asset] = price
    return found


def _needed(
    one: _Marked, size: Decimal, rules: Rules, markets: Markets, context: Context
) -> Decimal:
    """Return the requirement of a position of `size` where `one` is, in its settlement asset."""
    instrument, symbol = one.instrument, one.symbol
    unit = rules.assets[instrument.settle].unit
    worth = one.notional
    if size != one.leg.size:
        worth = notional(instrument, size, one.price, unit)
    at = exposure(instrument, size, one.price, worth)
    if rules.portfolio_of(symbol) is not None:
        leg = portfolio_leg(symbol, one.leg.size, one.price, rules, markets)
        return requirement_alone(leg, rules, context)
    curve = rules.curve(symbol)
    if context == "maintenance":
        factor = markets.maintenance_factor(symbol)
        return curve.maintenance(at, factor) + rules.closing_rate(symbol) * worth
    factor = markets.initial_factor(symbol)
    if context == "initial":
        return curve.initial(at, factor=factor)
    told = markets.interest.get(symbol)
    interest = None if told is None else notional(instrument, max(told), one.price, unit)
    return curve.initial(at, interest, factor)


def _ordered(
    one: _Marked,
    buys: Decimal,
    sells: Decimal,
    rules: Rules,
    markets: Markets,
    context: Context,
) -> Decimal:
    """Return what the worse side of own orders would need in a portfolio of nothing else, in the
    settlement asset."""
    sides = (portfolio_leg(one.symbol, size, one.price, rules, markets) for size in (buys, -sells))
    return max(requirement_alone(leg, rules, context) for leg in sides)


def _in_all(
    marked: Iterable[_Marked],
    required: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    rules: Rules,
    markets: Markets,
    context: Context,
) -> tuple[Decimal, dict[str, Decimal]]:
    """Return the requirement of the legs that stand alone, and those of portfolios by underlying,
    in the numeraire."""
    alone, held = ZERO, []
    for one in marked:
        if rules.portfolio_of(one.symbol) is None:
            alone += required[one.symbol]
        elif one.leg.size:
            price = prices[one.instrument.settle]
            held.append(portfolio_leg(one.symbol, one.leg.size, one.price, rules, markets, price))
    return alone, portfolio_requirements(held, rules, context) if held else {}


def _counted(
    cash: Mapping[str, Decimal],
    net: dict[str, Decimal],
    marked: Iterable[_Marked],
    needed: Mapping[str, Decimal],
    rules: Rules,
    context: Context,
) -> dict[str, Decimal]:
    """Return cash and unrealised results by asset, profit at its weight."""
    if not rules.weighs_profit:
        return net
    profit, found = rules.in_force.profit, dict(cash)
    for one in marked:
        settle, result = one.instrument.settle, one.value - one.leg.cost
        if profit.after_requirement and rules.portfolio_of(one.symbol) is None:
            result -= needed[one.symbol]
        found[settle] = found.get(settle, ZERO) + counted(profit, result, context)
    return found


def _margin_equity(
    counts: Mapping[str, Decimal],
    alone: Decimal,
    prices: Mapping[str, Decimal],
    rules: Rules,
    markets: Markets,
    context: Context,
) -> Decimal:
    """Return Σ counted·price·weight, and the requirements that were already taken off."""
    profile = rules.in_force
    total = alone if profile.profit.after_requirement else ZERO
    for asset, amount in counts.items():
        price = prices[asset]
        rule = profile.collateral_of(asset)
        total += amount * price * weight(rule, amount, context, price, markets.pools.get(asset))
    return total


def breached(state: Health, rules: Rules) -> bool:
    """Tell whether liquidation starts: margin equity below maintenance, or at it where equality
    counts."""
    if not state.exposed:
        return False
    if rules.in_force.trigger.at_equality:
        return state.margin_equity <= state.maintenance
    return state.margin_equity < state.maintenance


def liquidatable(state: Health, rules: Rules) -> bool:
    """Tell whether positions are to be closed: breached, while something is required.

    What only owes has nothing to close; its debt is converted or booked (dYdX v4,
    lib/margin/risk.go:52: MMR > 0 and MMR > NC).
    """
    return state.maintenance > 0 and breached(state, rules)


def restored(state: Health, holdings: Holdings, rules: Rules, markets: Markets) -> bool:
    """Tell whether liquidation stops."""
    return not breached(state, rules) and suffices(state, holdings, rules, markets)


def suffices(state: Health, holdings: Holdings, rules: Rules, markets: Markets) -> bool:
    """Tell whether margin equity meets the requirement at which liquidation stops."""
    equity, requirement = stop_level(state, holdings, rules, markets)
    return equity >= requirement


def stop_level(
    state: Health, holdings: Holdings, rules: Rules, markets: Markets
) -> tuple[Decimal, Decimal]:
    """Return the margin equity and the requirement, buffers included, at which liquidation
    stops."""
    trigger = rules.in_force.trigger
    equity, requirement = state.margin_equity, state.maintenance
    if trigger.stop_at == "initial":
        found = level(holdings, rules, markets, "initial")
        if found is None:
            raise LookupError("stop level: a group with a health has a level")
        equity, requirement = found.margin_equity, found.requirement
    requirement *= ONE + trigger.stop_buffer
    if trigger.stop_notional_buffer:
        requirement += trigger.stop_notional_buffer * state.notional
    return equity, requirement
