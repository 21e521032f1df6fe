"""Whether a profile contradicts itself; the list of docs/profiles.md."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from engine.profile import (
    DAY,
    HOUR,
    SECOND,
    Bracket,
    Collateral,
    Portfolio,
    Profit,
    Requirement,
    RiskProfile,
    Trigger,
    Volatility,
)
from tests.twin.lending_faults import lending_checks
from tests.twin.liquidation_faults import liquidation_checks
from tests.twin.waterfall_faults import waterfall_checks

Checks = Iterator[bool]


def faulty(profile: RiskProfile) -> bool:
    """Tell whether a profile contradicts itself."""
    return not all(_sound(profile))


def _sound(profile: RiskProfile) -> Checks:
    yield bool(profile.requirements or profile.portfolios)
    for requirement in profile.requirements.values():
        yield from _requirement(requirement)
    for portfolio in profile.portfolios.values():
        yield from _portfolio(portfolio)
    yield profile.numeraire in profile.collateral
    yield all(asset in profile.collateral for asset in profile.conversion)
    yield len(set(profile.conversion)) == len(profile.conversion)
    for asset, rule in profile.collateral.items():
        yield from _collateral(rule)
        yield rule.haircut == 1 or asset in profile.conversion
        yield asset != profile.numeraire or _plain(rule)
    yield from _profit(profile.profit)
    yield from _trigger(profile.trigger)
    if profile.volatility is not None:
        yield from _volatility(profile.volatility)
    for threshold in (profile.margin_call, profile.cancel_orders):
        yield threshold is None or 0 <= threshold.reset < threshold.at < 1
    yield from liquidation_checks(profile.liquidation)
    yield from waterfall_checks(profile.waterfall)
    yield profile.liquidation.toxic != "take_over" or profile.waterfall.takers != ()
    yield from lending_checks(profile)


def _requirement(rule: Requirement) -> Checks:
    share = rule.maintenance_share
    yield bool(rule.brackets)
    yield share is None or 0 < share <= 1
    for bracket in rule.brackets:
        yield bracket.cap > 0
        yield (bracket.initial_rate is None) != (bracket.max_leverage is None)
        yield (bracket.maintenance_rate is None) != (share is None)
        yield 0 < (bracket.maintenance_rate or share or 0) <= 1
        yield share is not None or Fraction(bracket.maintenance_rate or 0) <= _initial(bracket) <= 1
    for lower, upper in pairwise(rule.brackets):
        yield lower.cap < upper.cap
        yield _initial(lower) <= _initial(upper)
        yield (lower.maintenance_rate or 0) <= (upper.maintenance_rate or 0)
    yield len(rule.brackets) == 1 or not (rule.slope or rule.root_factor)
    yield min(rule.slope, rule.root_factor, rule.fixed) >= 0 and rule.slope_per > 0
    yield rule.step is None or rule.step > 0
    scale = rule.open_interest
    yield scale is None or 0 <= scale.lower < scale.upper or scale.lower == scale.upper == 0


def _initial(bracket: Bracket) -> Fraction:
    if bracket.initial_rate is not None:
        return Fraction(bracket.initial_rate)
    return 1 / Fraction(bracket.max_leverage or 1)


def _portfolio(rule: Portfolio) -> Checks:
    moves = (*rule.price_moves, *rule.volatility_moves)
    yield bool(rule.price_moves) and bool(rule.volatility_moves)
    yield any(move < 0 for move in rule.price_moves) and any(move > 0 for move in rule.price_moves)
    yield all(
        move >= Fraction(-99, 100)
        for move in (*moves, *(extreme.move for extreme in rule.extremes))
    )
    yield all(0 < extreme.weight <= 1 for extreme in rule.extremes)
    yield all(extreme.volatility_move >= Fraction(-99, 100) for extreme in rule.extremes)
    yield rule.dampener >= 0
    grid = len(rule.price_moves) * len(rule.volatility_moves)
    yield grid + len(rule.extremes) <= 1000
    yield rule.initial_factor >= 1
    yield rule.maintenance_factor > 0


def _collateral(rule: Collateral) -> Checks:
    yield 0 <= rule.haircut <= 1 and 1 <= rule.borrow_weight < 100
    yield rule.initial_haircut is None or rule.haircut <= rule.initial_haircut <= 1
    owed = rule.initial_borrow_weight
    yield owed is None or rule.borrow_weight <= owed < 100
    yield rule.size_factor >= 0
    yield all(start is None or start > 0 for start in (rule.deposits_from, rule.borrows_from))
    yield rule.auto_convert_below is None or rule.auto_convert_below >= 0


def _plain(rule: Collateral) -> bool:
    return rule == Collateral(auto_convert_below=rule.auto_convert_below)


def _profit(rule: Profit) -> Checks:
    initial = rule.weight if rule.initial_weight is None else rule.initial_weight
    yield 0 <= initial <= rule.weight <= 1
    yield rule.initial_size_factor >= 0
    yield rule.initial_cap is None or rule.initial_cap >= 0


def _trigger(rule: Trigger) -> Checks:
    yield 0 <= rule.stop_buffer < 10 and 0 <= rule.stop_notional_buffer < 10
    yield rule.fixed_cost >= 0
    apart = rule.stop_buffer or rule.stop_notional_buffer or rule.stop_at == "initial"
    yield not rule.at_equality or bool(apart)


def _volatility(rule: Volatility) -> Checks:
    speeds: list[Decimal] = [*rule.reference.values(), rule.rise, rule.fall, rule.step]
    yield bool(rule.reference) and all(number > 0 for number in speeds)
    yield 1 <= rule.floor <= rule.cap
    yield 0 < rule.decay < 1
    yield SECOND <= rule.interval <= DAY and DAY % rule.interval == 0
    yield rule.maintenance_ramp is None or rule.maintenance_ramp >= HOUR
