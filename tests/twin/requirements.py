"""What one position needs by its curve, in its settlement asset."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.profile import Requirement
from tests.twin.amounts import ONE, RATE_STEP, ZERO, ceil, clamp, root
from tests.twin.books import World
from tests.twin.terms import ContractTerms


@dataclass
class Exposure:
    """A position of unsigned size: in base units, at its mark, and what one base unit counts."""

    symbol: str
    terms: ContractTerms
    mark: Fraction
    base: Fraction
    notional: Fraction
    each: Fraction


def exposure(world: World, symbol: str, size: Fraction, mark: Fraction) -> Exposure:
    """Measure a size at a mark."""
    terms = world.contracts[symbol]
    base = abs(size) * terms.multiplier
    if terms.inverse:
        notional = ceil(base / mark, world.unit(terms.settle))
        return Exposure(symbol, terms, mark, notional, notional, ONE)
    return Exposure(symbol, terms, mark, base, base * mark, mark)


def curve_requirement(world: World, rule: Requirement, of: Exposure, context: str) -> Fraction:
    """Return what a position needs in a context ("maintenance", "initial", "entry")."""
    if context == "maintenance":
        return _maintenance(world, rule, of) + closing_cost(world, of)
    needed = _grown(rule, _initial_rates(rule), of)
    if context == "entry" and rule.open_interest is not None and of.symbol in world.interest:
        needed += _interest_share(world, rule, of) * max(ZERO, of.notional - needed)
    needed = _scaled(needed, of, world.factor(of.symbol, "initial"))
    return _rounded(rule, needed) + Fraction(rule.fixed)


def closing_cost(world: World, of: Exposure) -> Fraction:
    """Return what closing costs, as far as maintenance includes it."""
    trigger, rate = world.rules.source.trigger, ZERO
    if trigger.taker_fee:
        rate += of.terms.fee
    if trigger.liquidation_fee:
        rate += Fraction(world.rules.source.liquidation.fee_rate)
    return rate * of.notional


def _maintenance(world: World, rule: Requirement, of: Exposure) -> Fraction:
    if rule.maintenance_share is None:
        rates = [Fraction(bracket.maintenance_rate or 0) for bracket in rule.brackets]
        needed = _grown(rule, rates, of)
    else:
        initial = _rounded(rule, _grown(rule, _initial_rates(rule), of))
        needed = Fraction(rule.maintenance_share) * initial
    needed = _scaled(needed, of, world.factor(of.symbol, "maintenance"))
    return _rounded(rule, needed) + Fraction(rule.fixed)


def _initial_rates(rule: Requirement) -> list[Fraction]:
    return [
        Fraction(bracket.initial_rate)
        if bracket.initial_rate is not None
        else ceil(1 / Fraction(bracket.max_leverage or 1), RATE_STEP)
        for bracket in rule.brackets
    ]


def _grown(rule: Requirement, rates: list[Fraction], of: Exposure) -> Fraction:
    needed = _bracketed(rule, rates, of)
    if rule.slope:
        rate = Fraction(rule.slope) * of.base
        if rule.slope_per != 1:
            rate = ceil(rate / Fraction(rule.slope_per), RATE_STEP)
        needed += rate * of.notional
    if rule.root_factor:
        blend = Fraction(rule.root_blend) * rates[0]
        rate = max(rates[0], blend + Fraction(rule.root_factor) * root(of.base))
        needed = max(needed, rate * of.notional)
    return needed


def _bracketed(rule: Requirement, rates: list[Fraction], of: Exposure) -> Fraction:
    """Add up bracket by bracket, or take the whole at the rate of the bracket it falls into."""
    measured, each = (of.base, of.each) if rule.measure == "size" else (of.notional, ONE)
    total, lower = ZERO, ZERO
    for bracket, rate in zip(rule.brackets, rates, strict=True):
        last = bracket is rule.brackets[-1]
        cap = Fraction(bracket.cap)
        if measured <= cap or last:
            return total + (measured - lower) * each * rate if rule.marginal else of.notional * rate
        total += (cap - lower) * each * rate
        lower = cap
    raise AssertionError("a curve has at least one bracket")


def _interest_share(world: World, rule: Requirement, of: Exposure) -> Fraction:
    assert rule.open_interest is not None
    size = max(world.interest[of.symbol])
    worth = exposure(world, of.symbol, size, of.mark).notional
    lower, upper = Fraction(rule.open_interest.lower), Fraction(rule.open_interest.upper)
    if upper == lower:
        return ZERO
    return ceil(clamp((worth - lower) / (upper - lower), ZERO, ONE), RATE_STEP)


def _scaled(needed: Fraction, of: Exposure, factor: Fraction) -> Fraction:
    return max(needed, min(factor * needed, of.notional))


def _rounded(rule: Requirement, needed: Fraction) -> Fraction:
    return needed if rule.step is None else ceil(needed, Fraction(rule.step))
