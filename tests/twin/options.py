"""Options by Black-76, and the scenario margin of everything on one underlying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import erfc, log, pow, sqrt

from engine.profile import DAY, Portfolio
from tests.twin.amounts import RATE_STEP, ZERO, decimals_of, floor, nearest
from tests.twin.books import OptionInputs, World
from tests.twin.requirements import Exposure, closing_cost, exposure
from tests.twin.terms import OptionTerms


def black_76(
    option: OptionTerms, volatility: float, forward: float, discount: float, time: int
) -> float:
    """Value an option at a time, in its quote."""
    strike = float(option.strike)
    years = max(0, option.expiry - time) / (365 * DAY)
    spread = volatility * sqrt(years)
    if spread == 0:
        intrinsic = forward - strike if option.call else strike - forward
        value = discount * max(intrinsic, 0.0)
    else:
        d1 = (log(forward / strike) + volatility * volatility / 2 * years) / spread
        d2 = d1 - spread
        if option.call:
            value = discount * (forward * _normal(d1) - strike * _normal(d2))
        else:
            value = discount * (strike * _normal(-d2) - forward * _normal(-d1))
    return value / forward if option.in_coin else value


def _normal(x: float) -> float:
    return erfc(-x / sqrt(2)) / 2


def mark_of(
    world: World, symbol: str, inputs: OptionInputs, volatility: float, forward: float
) -> Fraction:
    """Value an option to its price unit, with another volatility or forward than its own."""
    terms = world.contracts[symbol]
    assert terms.option is not None
    value = black_76(terms.option, volatility, forward, inputs.discount, inputs.time)
    return nearest(Fraction(max(value, 0.0)), decimals_of(terms.price_decimals))


def payoff(option: OptionTerms, price: Fraction) -> Fraction:
    """Return what one unit pays at expiry."""
    paid = max(ZERO, price - option.strike if option.call else option.strike - price)
    return paid / price if option.in_coin else paid


# --- scenarios


@dataclass
class Holding:
    """A signed size at a mark."""

    symbol: str
    size: Fraction
    mark: Fraction


@dataclass
class Scenario:
    """Moves of price and volatility, how much of the loss counts, and what is taken off that."""

    price: Fraction
    volatility: Fraction
    weight: Fraction
    relief: Fraction


def scenarios(rule: Portfolio) -> Iterator[Scenario]:
    """Yield the grid, then the extremes."""
    for price in rule.price_moves:
        for volatility in rule.volatility_moves:
            yield Scenario(Fraction(price), Fraction(volatility), Fraction(1), ZERO)
    reach = max(abs(Fraction(move)) for move in rule.price_moves)
    for extreme in rule.extremes:
        beyond = max(abs(Fraction(extreme.move)) / reach - 1, ZERO)
        yield Scenario(
            Fraction(extreme.move),
            Fraction(extreme.volatility_move),
            Fraction(extreme.weight),
            floor(beyond * Fraction(rule.dampener), RATE_STEP),
        )


def portfolio_requirement(
    world: World,
    rule: Portfolio,
    held: list[Holding],
    price: dict[str, Fraction],
    context: str,
    *,
    damped: bool = True,
) -> Fraction:
    """Return what holdings on one underlying need, at `price` of their settlement assets."""
    worst = ZERO
    for scenario in scenarios(rule):
        result = sum((_result(world, rule, h, scenario) * _in(world, h, price) for h in held), ZERO)
        worst = max(worst, -scenario.weight * result - (scenario.relief if damped else ZERO))
    short = others = ZERO
    for h in held:
        value = underlying_value(world, h) * _in(world, h, price)
        if world.contracts[h.symbol].option is None:
            others += value
        elif h.size < 0:
            short += value
    needed = max(worst, Fraction(rule.short_option_minimum) * short)
    needed += Fraction(rule.option_contingency) * short
    needed += Fraction(rule.future_contingency) * others
    needed *= Fraction(rule.maintenance_factor)
    if context != "maintenance":
        return Fraction(rule.initial_factor) * needed
    costs = (closing_cost(world, _exposure(world, h)) * _in(world, h, price) for h in held)
    return needed + sum(costs, ZERO)


def underlying_value(world: World, held: Holding) -> Fraction:
    """Return what the underlying of a position is worth, in its settlement asset."""
    terms = world.contracts[held.symbol]
    if terms.option is None:
        return _exposure(world, held).notional
    base = abs(held.size) * terms.multiplier
    return base if terms.option.in_coin else base * world.options[held.symbol].exact_forward


def _exposure(world: World, held: Holding) -> Exposure:
    return exposure(world, held.symbol, held.size, held.mark)


def _in(world: World, held: Holding, price: dict[str, Fraction]) -> Fraction:
    return price[world.contracts[held.symbol].settle]


def _result(world: World, rule: Portfolio, held: Holding, scenario: Scenario) -> Fraction:
    terms = world.contracts[held.symbol]
    size = held.size * terms.multiplier
    if terms.option is not None:
        inputs = world.options[held.symbol]
        volatility = _volatility(rule, terms.option, inputs, scenario.volatility)
        forward = float(inputs.exact_forward * (1 + scenario.price))
        return size * (mark_of(world, held.symbol, inputs, volatility, forward) - held.mark)
    if terms.inverse:
        exact = size * scenario.price / (held.mark * (1 + scenario.price))
        return floor(exact, world.unit(terms.settle))
    return size * held.mark * scenario.price


def _volatility(
    rule: Portfolio, option: OptionTerms, inputs: OptionInputs, move: Fraction
) -> float:
    if not move:
        return inputs.volatility
    days = max(1.0, (option.expiry - inputs.time) / DAY)
    exponent = float(rule.near_exponent if days < 30 else rule.far_exponent)
    change = float(move) * pow(30 / days, exponent)
    if rule.volatility == "relative":
        return max(0.0, inputs.volatility * (1 + change))
    return max(0.0, inputs.volatility + change)
