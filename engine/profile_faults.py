"""What makes a profile unsound, in words: every fault at once, each with its place.

A fault reads `requirements BTCUSDT: bracket 2: cap 10 not above 20`: the table, the entry, what is
wrong with which key. A profile with a fault is never put in force.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

from engine.lending_faults import lending_faults
from engine.liquidation_faults import liquidation_faults
from engine.money import ONE, ZERO, exact
from engine.profile import (
    DAY,
    HOUR,
    SECOND,
    Bracket,
    Collateral,
    Entry,
    Portfolio,
    Profit,
    Requirement,
    RiskProfile,
    Threshold,
    Trigger,
    Volatility,
)
from engine.ranges import HUNDRED, Faults, at, fraction, not_negative, positive, within
from engine.requirement import initial_rate
from engine.waterfall_faults import waterfall_faults

SCENARIOS_MAX = 1000
"""Scenarios of a portfolio: each is a value to compute for every option and mark."""

DEEPEST = Decimal("-0.99")
"""No scenario takes a price nearer to nothing, where an inverse position is worth no end."""


@exact
def faults(profile: RiskProfile) -> list[str]:
    """Return every fault of a profile, in words; none when it may be put in force.

    Where something is not a number at all, nothing else is looked at.
    """
    return list(_infinite(profile)) or list(_all(profile))


def _infinite(value: Any, place: str = "") -> Faults:
    """Yield what is no finite number; neither a file nor an event can carry one."""
    if isinstance(value, Decimal) and not value.is_finite():
        yield f"{place}: {value} is not a number"
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _infinite(getattr(value, field), f"{place} {field}".strip())
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _infinite(item, f"{place} {key}")
    elif isinstance(value, tuple):
        for number, item in enumerate(value, start=1):
            yield from _infinite(item, f"{place} {number}")


def _all(profile: RiskProfile) -> Faults:
    if not profile.requirements and not profile.portfolios and profile.lending is None:
        yield "requirements: none given, and no portfolios"
    for symbol, requirement in sorted(profile.requirements.items()):
        yield from at(f"requirements {symbol}", _requirement(requirement))
    for symbol, portfolio in sorted(profile.portfolios.items()):
        yield from at(f"portfolios {symbol}", _portfolio(portfolio))
    yield from _collateral(profile)
    yield from at("profit", _profit(profile.profit))
    yield from at("trigger", _trigger(profile.trigger))
    yield from at("entry", _entry(profile.entry))
    if profile.volatility is not None:
        yield from at("volatility", _volatility(profile.volatility))
    yield from at("margin_call", _threshold(profile.margin_call))
    if profile.cancel_orders is not None:
        yield from at("cancel_orders", _threshold(profile.cancel_orders))
    yield from at("liquidation", liquidation_faults(profile.liquidation))
    yield from at("waterfall", waterfall_faults(profile.waterfall))
    if profile.liquidation.toxic == "take_over" and not profile.waterfall.takers:
        yield "liquidation: toxic take_over, and waterfall: takers names nobody who takes"
    yield from at("lending", lending_faults(profile))


# --- requirements of one position


def _requirement(rule: Requirement) -> Faults:
    if not rule.brackets:
        yield "brackets: none given"
    for place, bracket in enumerate(rule.brackets, start=1):
        yield from at(f"bracket {place}", _bracket(rule, bracket))
    for place, (lower, upper) in enumerate(pairwise(rule.brackets), start=2):
        yield from at(f"bracket {place}", _order(lower, upper))
    yield from _growth(rule)
    yield from not_negative("fixed", rule.fixed)
    yield from positive("step", rule.step)
    scale = rule.open_interest
    if scale is None or (scale.lower == 0 and scale.upper == 0):
        return
    yield from not_negative("open_interest: lower", scale.lower)
    if scale.upper <= scale.lower:
        yield f"open_interest: upper {scale.upper} not above lower {scale.lower}"


def _bracket(rule: Requirement, bracket: Bracket) -> Faults:
    yield from positive("cap", bracket.cap)
    given, leverage, maintenance = (
        bracket.initial_rate,
        bracket.max_leverage,
        bracket.maintenance_rate,
    )
    initial: Decimal | None = None
    if given is None and leverage is None:
        yield "initial_rate or max_leverage: neither is given"
    elif given is not None and leverage is not None:
        yield "initial_rate and max_leverage: one of them, not both"
    elif leverage is not None and not within(leverage, 1, 100_000):
        yield f"max_leverage {leverage} not in [1, 100000)"
    elif given is not None and not (given == 1 or (within(given, 0, 1) and given > 0)):
        yield f"initial_rate {given} not in (0, 1]"
    else:
        initial = initial_rate(bracket)
    if rule.maintenance_share is not None:
        if maintenance is not None:
            yield "maintenance_rate: given beside maintenance_share"
    elif maintenance is None:
        yield "maintenance_rate: missing, and so is maintenance_share"
    elif not (within(maintenance, 0, 1) and maintenance > 0):
        yield f"maintenance_rate {maintenance} not in (0, 1)"
    elif initial is not None and initial < maintenance:
        key = "initial_rate" if leverage is None else "max_leverage"
        yield f"{key} {given or leverage}: initial below maintenance_rate {maintenance}"


def _order(lower: Bracket, upper: Bracket) -> Faults:
    if upper.cap <= lower.cap:
        yield f"cap {upper.cap} not above {lower.cap}"
    for field in ("initial_rate", "maintenance_rate"):
        before, after = getattr(lower, field), getattr(upper, field)
        if before is not None and after is not None and after < before:
            yield f"{field} {after} below {before}: a rate falls as size grows"
    before, after = lower.max_leverage, upper.max_leverage
    if before is not None and after is not None and after > before:
        yield f"max_leverage {after} above {before}: a rate falls as size grows"
    if (lower.max_leverage is None) != (upper.max_leverage is None) and _falls(lower, upper):
        yield "initial_rate or max_leverage: a rate falls as size grows"


def _falls(lower: Bracket, upper: Bracket) -> bool:
    """Tell whether initial rates fall from a bracket to the next, however they are given."""
    sound = all(
        (bracket.initial_rate is None) != (bracket.max_leverage is None)
        and (bracket.initial_rate or bracket.max_leverage or ZERO) > 0
        for bracket in (lower, upper)
    )
    return sound and initial_rate(upper) < initial_rate(lower)


def _growth(rule: Requirement) -> Faults:
    share = rule.maintenance_share
    if share is not None and not (share == 1 or (within(share, 0, 1) and share > 0)):
        yield f"maintenance_share {share} not in (0, 1]: above 1 initial is below maintenance"
    yield from not_negative("slope", rule.slope)
    yield from positive("slope_per", rule.slope_per)
    yield from not_negative("root_factor", rule.root_factor)
    yield from fraction("root_blend", rule.root_blend)
    if len(rule.brackets) > 1:
        for field in ("slope", "root_factor"):
            if getattr(rule, field) != 0:
                yield f"{field} {getattr(rule, field)}: grows with size, so one bracket is all"


# --- portfolios


def _portfolio(rule: Portfolio) -> Faults:
    yield from _moves("price_moves", rule.price_moves)
    if rule.price_moves and not (min(rule.price_moves) < 0 < max(rule.price_moves)):
        yield "price_moves: not both above and below 0, so that one side needs nothing"
    yield from _moves("volatility_moves", rule.volatility_moves)
    for field in ("near_exponent", "far_exponent"):
        yield from fraction(field, getattr(rule, field))
    for place, extreme in enumerate(rule.extremes, start=1):
        if not within(extreme.move, DEEPEST, HUNDRED):
            yield f"extreme {place}: move {extreme.move} not in [-0.99, 100)"
        if not (extreme.weight == 1 or (within(extreme.weight, 0, 1) and extreme.weight > 0)):
            yield f"extreme {place}: weight {extreme.weight} not in (0, 1]"
        if not within(extreme.volatility_move, DEEPEST, HUNDRED):
            yield f"extreme {place}: volatility_move {extreme.volatility_move} not in [-0.99, 100)"
    scenarios = len(rule.price_moves) * len(rule.volatility_moves) + len(rule.extremes)
    if scenarios > SCENARIOS_MAX:
        yield f"price_moves, volatility_moves: {scenarios} scenarios, more than {SCENARIOS_MAX}"
    if rule.dampener < 0:
        yield f"dampener {rule.dampener} negative"
    for field in ("short_option_minimum", "option_contingency", "future_contingency"):
        yield from fraction(field, getattr(rule, field))
    if not (within(rule.maintenance_factor, 0, HUNDRED) and rule.maintenance_factor > 0):
        yield f"maintenance_factor {rule.maintenance_factor} not in (0, 100)"
    if not within(rule.initial_factor, 1, HUNDRED):
        yield f"initial_factor {rule.initial_factor} not in [1, 100): initial below maintenance"


def _moves(field: str, moves: tuple[Decimal, ...]) -> Faults:
    if not moves:
        yield f"{field}: none given, so the grid is empty"
    for place, move in enumerate(moves, start=1):
        if not within(move, DEEPEST, HUNDRED):
            yield f"{field}: move {place}, {move}, not in [-0.99, 100)"
    if len(set(moves)) != len(moves):
        yield f"{field}: a move is given twice"


# --- collateral and profit


def _collateral(profile: RiskProfile) -> Faults:
    if profile.numeraire not in profile.collateral:
        yield f"collateral: numeraire {profile.numeraire} has no entry"
    for asset, rule in sorted(profile.collateral.items()):
        yield from at(f"collateral {asset}", _weights(rule))
        if rule.haircut < 1 and asset not in profile.conversion:
            yield (
                f"collateral {asset}: counts as collateral (haircut {rule.haircut}) but is missing "
                "in conversion"
            )
        if asset == profile.numeraire and not _is_plain(rule):
            yield (
                f"collateral {asset}: is the numeraire and takes neither haircut nor borrow weight"
            )
    for asset in profile.conversion:
        if asset not in profile.collateral:
            yield f"conversion {asset}: not a collateral"
    if len(set(profile.conversion)) != len(profile.conversion):
        yield "conversion: names an asset twice"


def _weights(rule: Collateral) -> Faults:
    yield from fraction("haircut", rule.haircut)
    yield from fraction("initial_haircut", rule.initial_haircut)
    if rule.initial_haircut is not None and rule.initial_haircut < rule.haircut:
        yield f"initial_haircut {rule.initial_haircut} below haircut {rule.haircut}"
    for field in ("borrow_weight", "initial_borrow_weight"):
        weight: Decimal | None = getattr(rule, field)
        if weight is not None and not within(weight, 1, HUNDRED):
            yield f"{field} {weight} not in [1, 100)"
    initial = rule.initial_borrow_weight
    if initial is not None and initial < rule.borrow_weight:
        yield f"initial_borrow_weight {initial} below borrow_weight {rule.borrow_weight}"
    yield from not_negative("size_factor", rule.size_factor)
    yield from positive("deposits_from", rule.deposits_from)
    yield from positive("borrows_from", rule.borrows_from)
    yield from not_negative("auto_convert_below", rule.auto_convert_below)


def _is_plain(rule: Collateral) -> bool:
    """Tell whether an asset counts as it is."""
    owned = rule.haircut == 0 and not rule.initial_haircut and rule.deposits_from is None
    initial = rule.initial_borrow_weight
    owed = rule.borrow_weight == 1 and initial in (None, ONE) and rule.borrows_from is None
    return owned and owed and rule.size_factor == 0


def _profit(rule: Profit) -> Faults:
    yield from fraction("weight", rule.weight)
    yield from fraction("initial_weight", rule.initial_weight)
    if rule.initial_weight is not None and rule.initial_weight > rule.weight:
        yield f"initial_weight {rule.initial_weight} above weight {rule.weight}"
    yield from not_negative("initial_size_factor", rule.initial_size_factor)
    yield from not_negative("initial_cap", rule.initial_cap)


# --- when, and how


def _trigger(rule: Trigger) -> Faults:
    yield from not_negative("fixed_cost", rule.fixed_cost)
    for field in ("stop_buffer", "stop_notional_buffer"):
        value: Decimal = getattr(rule, field)
        if not within(value, 0, 10):
            yield f"{field} {value} not in [0, 10){': stop below start' if value < 0 else ''}"
    between = rule.stop_buffer or rule.stop_notional_buffer or rule.stop_at == "initial"
    if rule.at_equality and not between:
        yield "at_equality needs a stop_buffer above 0, or a stop is at once a start"


def _entry(rule: Entry) -> Faults:
    window = rule.average_window
    if window is not None and not SECOND <= window <= 30 * DAY:
        yield f"average_window {window} µs not in a second to 30 days"


def _volatility(rule: Volatility) -> Faults:
    if not rule.reference:
        yield "reference: none given"
    for symbol, reference in sorted(rule.reference.items()):
        if not (within(reference, 0, HUNDRED) and reference > 0):
            yield f"reference {symbol}: {reference} not in (0, 100)"
    if not SECOND <= rule.interval <= DAY or DAY % rule.interval:
        yield f"interval {rule.interval} µs not a whole part of a day, a second or more"
    if not (within(rule.decay, 0, 1) and rule.decay > 0):
        yield f"decay {rule.decay} not in (0, 1)"
    if not 0 <= rule.lookback_days <= 3650:
        yield f"lookback_days {rule.lookback_days} not in 0..3650"
    yield from fraction("lookback_share", rule.lookback_share)
    if not within(rule.floor, 1, HUNDRED):
        yield f"floor {rule.floor} not in [1, 100)"
    if not within(rule.cap, 1, HUNDRED):
        yield f"cap {rule.cap} not in [1, 100)"
    elif rule.cap < rule.floor:
        yield f"cap {rule.cap} below floor {rule.floor}"
    for field in ("rise", "fall", "step"):
        yield from positive(field, getattr(rule, field))
    ramp = rule.maintenance_ramp
    if ramp is not None and not HOUR <= ramp <= 365 * DAY:
        yield f"maintenance_ramp {ramp} µs not in an hour to a year: a quick factor liquidates"


def _threshold(rule: Threshold) -> Faults:
    if not within(rule.at, 0, 1) or not within(rule.reset, 0, 1) or rule.reset >= rule.at:
        yield f"needs 0 <= reset < at < 1, has {rule.reset} and {rule.at}"
