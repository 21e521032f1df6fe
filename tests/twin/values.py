"""What legs are worth and need, the health of a group in a context, and whether it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.lending import WholeAccount
from engine.profile import Portfolio, Requirement
from tests.twin.amounts import ONE, ZERO, ceil, floor
from tests.twin.books import Group, Leg, World
from tests.twin.options import Holding, portfolio_requirement
from tests.twin.pools import LoanHealth, lending_of, loans_of
from tests.twin.requirements import curve_requirement, exposure
from tests.twin.terms import ContractTerms
from tests.twin.weights import profit, weight


@dataclass
class LegHealth:
    """One leg at a mark; amounts in its settlement asset but for `required`, in the numeraire."""

    symbol: str
    leg: Leg
    mark: Fraction
    value: Fraction
    notional: Fraction
    needed: Fraction
    required: Fraction


@dataclass
class Health:
    """One group in a context; sums in the numeraire, `net` (at present marks) in each asset."""

    legs: list[LegHealth]
    net: dict[str, Fraction]
    price: dict[str, Fraction]
    equity: Fraction
    margin_equity: Fraction
    requirement: Fraction
    loans: list[LoanHealth]


def value(terms: ContractTerms, size: Fraction, price: Fraction, unit: Fraction) -> Fraction:
    """Value a signed size in the settlement asset."""
    if terms.inverse:
        return floor(-size * terms.multiplier / price, unit)
    return size * terms.multiplier * price


def exact_value(terms: ContractTerms, size: Fraction, price: Fraction) -> Fraction:
    """Value a signed size without any rounding."""
    if terms.inverse:
        return -size * terms.multiplier / price
    return size * terms.multiplier * price


def notional(terms: ContractTerms, size: Fraction, price: Fraction, unit: Fraction) -> Fraction:
    """Size a position in the settlement asset, whatever its direction."""
    if terms.inverse:
        return ceil(abs(size) * terms.multiplier / price, unit)
    return abs(size) * terms.multiplier * price


def cost(terms: ContractTerms, size: Fraction, price: Fraction, unit: Fraction) -> Fraction:
    """Return what a fill of a signed size costs."""
    return ceil(exact_value(terms, size, price), unit)


def health(world: World, group: Group, context: str = "maintenance") -> Health | None:
    """Value a whole group by the rules of a context; none if it is unpriced."""
    marks = _marks(world, _symbols(world, group, context))
    loans = loans_of(world, group, context)
    if marks is None or loans is None:
        return None
    net = net_of(world, group, marks)
    price = _asset_prices(world, {world.contracts[symbol].settle for symbol in marks}, net)
    if price is None:
        return None
    equity = sum((net[asset] * price[asset] for asset in net), ZERO)
    equity += sum((loan.worth - loan.debt for loan in loans), ZERO)
    if context == "entry":
        for symbol, leg in group.legs.items():
            if world.contracts[symbol].option is None:
                marks[symbol] = _worse(world, (symbol, "mark"), marks[symbol], leg.size > 0)
        there = net_of(world, group, marks)
        for asset in price:
            owned = there.get(asset, ZERO) >= 0
            price[asset] = _worse(world, (asset, "index"), price[asset], owned)
    legs = [_leg_health(world, group, symbol, marks, price, context) for symbol in sorted(marks)]
    return Health(
        legs=legs,
        net=net,
        price=price,
        equity=equity,
        margin_equity=_margin_equity(world, group, legs, price, context)
        + sum((loan.counted for loan in loans), ZERO),
        requirement=_requirement(world, legs, price, context)
        + _ordered(world, group, marks, price, context)
        + sum((loan.required for loan in loans), ZERO),
        loans=loans,
    )


def net_of(world: World, group: Group, marks: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return cash and unrealised results by asset."""
    net = {asset: amount for asset, amount in group.cash.items() if amount}
    for symbol, leg in group.legs.items():
        terms = world.contracts[symbol]
        worth = value(terms, leg.size, marks[symbol], world.unit(terms.settle))
        net[terms.settle] = net.get(terms.settle, ZERO) + worth - leg.cost
    return dict(sorted(net.items()))


def _symbols(world: World, group: Group, context: str) -> list[str]:
    """Return what a context looks at: the legs, and at entry where own orders have a curve."""
    symbols = set(group.legs)
    if context == "entry" and world.rules.source.entry.open_orders == "worst_case":
        symbols |= set(group.orders)
    return sorted(symbols)


def _marks(world: World, symbols: list[str]) -> dict[str, Fraction] | None:
    marks: dict[str, Fraction] = {}
    for symbol in symbols:
        mark = world.price(symbol, "mark")
        if mark is None:
            return None
        marks[symbol] = mark
    return marks


def _worse(world: World, key: tuple[str, str], now: Fraction, owned: bool) -> Fraction:
    average = world.averages.get(key, now)
    return min(now, average) if owned else max(now, average)


def _asset_prices(
    world: World, settles: set[str], net: dict[str, Fraction]
) -> dict[str, Fraction] | None:
    prices: dict[str, Fraction] = {}
    for asset in {*settles, *net}:
        price = world.price(asset, "index")
        if price is None:
            nameless = asset not in world.rules.source.collateral and net.get(asset, ZERO) > 0
            if asset in settles or not nameless:
                return None
            price = ZERO
        prices[asset] = price
    return prices


def _leg_health(
    world: World,
    group: Group,
    symbol: str,
    marks: dict[str, Fraction],
    price: dict[str, Fraction],
    context: str,
) -> LegHealth:
    terms = world.contracts[symbol]
    unit = world.unit(terms.settle)
    leg, mark = group.legs.get(symbol, Leg(ZERO, ZERO)), marks[symbol]
    rule = world.rules.rule_of(symbol, terms)
    if isinstance(rule, Portfolio):
        alone = [Holding(symbol, leg.size, mark)]
        one = {terms.settle: ONE}
        needed = portfolio_requirement(world, rule, alone, one, context, damped=False)
    else:
        assert rule is not None
        size = _size_that_counts(world, group, symbol, context)
        needed = curve_requirement(world, rule, exposure(world, symbol, size, mark), context)
    return LegHealth(
        symbol=symbol,
        leg=leg,
        mark=mark,
        value=value(terms, leg.size, mark, unit),
        notional=notional(terms, leg.size, mark, unit),
        needed=needed,
        required=needed * price[terms.settle],
    )


def _curve(world: World, symbol: str) -> Requirement | None:
    rule = world.rules.rule_of(symbol, world.contracts[symbol])
    return rule if isinstance(rule, Requirement) else None


def _size_that_counts(world: World, group: Group, symbol: str, context: str) -> Fraction:
    size = group.legs[symbol].size if symbol in group.legs else ZERO
    if context != "entry" or world.rules.source.entry.open_orders == "ignored":
        return abs(size)
    buy, sell = group.orders.get(symbol, (ZERO, ZERO))
    return max(abs(size + buy), abs(size - sell))


def _margin_equity(
    world: World, group: Group, legs: list[LegHealth], price: dict[str, Fraction], context: str
) -> Fraction:
    counted = {asset: amount for asset, amount in group.cash.items() if amount}
    total = ZERO
    for leg in legs:
        gained = leg.value - leg.leg.cost
        if world.rules.source.profit.after_requirement and _curve(world, leg.symbol) is not None:
            gained -= leg.needed
            total += leg.required
        settle = world.contracts[leg.symbol].settle
        counted[settle] = counted.get(settle, ZERO) + profit(world, gained, context)
    for asset, amount in counted.items():
        total += amount * price[asset] * weight(world, asset, amount, price[asset], context)
    return total


def _requirement(
    world: World, legs: list[LegHealth], price: dict[str, Fraction], context: str
) -> Fraction:
    total = ZERO
    portfolios: dict[str, list[LegHealth]] = {}
    for leg in legs:
        if _curve(world, leg.symbol) is not None:
            total += leg.required
        elif leg.leg.size:
            underlying = world.contracts[leg.symbol].underlying or leg.symbol
            portfolios.setdefault(underlying, []).append(leg)
    for held in portfolios.values():
        rule = world.rules.rule_of(held[0].symbol, world.contracts[held[0].symbol])
        assert isinstance(rule, Portfolio)
        holdings = [Holding(leg.symbol, leg.leg.size, leg.mark) for leg in held]
        total += portfolio_requirement(world, rule, holdings, price, context)
    if legs and context == "maintenance":
        total += Fraction(world.rules.source.trigger.fixed_cost)
    return total


def _ordered(
    world: World,
    group: Group,
    marks: dict[str, Fraction],
    price: dict[str, Fraction],
    context: str,
) -> Fraction:
    """Return what own orders in portfolios need at entry, each symbol's worse side by itself."""
    total = ZERO
    if context != "entry" or world.rules.source.entry.open_orders == "ignored":
        return total
    for symbol, (buy, sell) in group.orders.items():
        rule = world.rules.rule_of(symbol, world.contracts[symbol])
        if isinstance(rule, Portfolio):
            settle = world.contracts[symbol].settle
            sides = [
                portfolio_requirement(
                    world, rule, [Holding(symbol, size, marks[symbol])], {settle: ONE}, context,
                    damped=False,
                )
                for size in (buy, -sell)
            ]  # fmt: skip
            total += max(sides) * price[settle]
    return total


def exposed(group: Group) -> bool:
    """Tell whether a group can lose more than it owns."""
    return bool(group.legs or group.owed() or group.debts())


def breached(world: World, group: Group, now: Health) -> bool:
    """Tell whether a group must be liquidated."""
    if not exposed(group):
        return False
    if world.rules.source.trigger.at_equality:
        return now.margin_equity <= now.requirement
    return now.margin_equity < now.requirement


def restored(world: World, group: Group, now: Health) -> bool:
    """Tell whether a liquidation has done enough; a whole account is not given back half-way."""
    lending, liquidation = lending_of(world), group.liquidation
    whole = lending is not None and isinstance(lending.repay, WholeAccount)
    if whole and group.debts() and liquidation is not None and liquidation.opened:
        return False
    return not breached(world, group, now) and shortage(world, group) <= 0


def shortage(world: World, group: Group) -> Fraction:
    """Return by how much a priced group misses what a liquidation stops at, buffers included."""
    trigger = world.rules.source.trigger
    there = health(world, group, trigger.stop_at)
    assert there is not None
    size = sum(
        (leg.notional * there.price[world.contracts[leg.symbol].settle] for leg in there.legs),
        ZERO,
    )
    enough = there.requirement * (1 + Fraction(trigger.stop_buffer))
    return enough + Fraction(trigger.stop_notional_buffer) * size - there.margin_equity
