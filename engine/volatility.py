"""The factor on requirements that follows realised volatility: how one sample moves it.

Pure and exact; docs/semantics.md, 8, has the formulas. It rises before stress rather than in it: a
part of the peak of the last weeks is a floor, and what it may rise and fall in an hour is limited.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.money import ONE, RATE_STEP, ceil_to, nearest_to, sqrt_up
from engine.profile import DAY, HOUR, Volatility

VARIANCE_STEP = Decimal("1e-18")
VOLATILITY_STEP = Decimal("1e-9")
FACTOR_STEP = Decimal("1e-6")

DECAYS = 100
"""So many intervals without a price let what was decay, and no more of them: of what an ordinary
decay keeps nothing is left then."""


class VolatilityState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The volatility of one symbol, as of its last sample.

    `variance` is of a day, `used` the volatility of a day that the factors follow, `peaks` (day,
    largest volatility of that day) oldest first. `running` and `ramping` are the factors as
    they move, `initial` and `maintenance` those in force.
    """

    time: int
    price: Decimal
    variance: Decimal
    used: Decimal
    peaks: tuple[tuple[int, Decimal], ...]
    running: Decimal
    ramping: Decimal
    initial: Decimal
    maintenance: Decimal


def begun(rule: Volatility, reference: Decimal, price: Decimal, time: int) -> VolatilityState:
    """Return the state at the first price of a symbol whose calm volatility is `reference`."""
    variance = ceil_to(reference * reference, VARIANCE_STEP)
    calm = min(max(ONE, rule.floor), rule.cap)
    return VolatilityState(time, price, variance, reference, (), calm, ONE, calm, ONE)


def sampled(
    rule: Volatility, reference: Decimal, before: VolatilityState, price: Decimal, time: int
) -> VolatilityState:
    """Return the state after a price; the same until an interval is over."""
    count = (time - before.time) // rule.interval
    if count <= 0:
        return before
    variance = _variance(rule, before, price, count)
    daily = sqrt_up(variance, VOLATILITY_STEP)
    peaks = _peaks(rule, before.peaks, time // DAY, daily)
    highest = max(peak for _, peak in peaks)
    used = max(daily, ceil_to(rule.lookback_share * highest, VOLATILITY_STEP))
    target = min(max(ceil_to(used, FACTOR_STEP, reference), rule.floor), rule.cap)
    passed = Decimal(count * rule.interval)
    running = _moved(before.running, target, rule.rise * passed, rule.fall * passed, Decimal(HOUR))
    ramping = before.ramping
    if rule.maintenance_ramp is not None:
        way = (rule.cap - rule.floor) * passed
        ramping = _moved(ramping, running, way, way, Decimal(rule.maintenance_ramp))
    maintenance = ONE if rule.maintenance_ramp is None else _in_force(rule, ramping)
    return VolatilityState(
        time=before.time + count * rule.interval,
        price=price,
        variance=variance,
        used=used,
        peaks=peaks,
        running=running,
        ramping=ramping,
        initial=max(_in_force(rule, running), maintenance),
        maintenance=maintenance,
    )


def _variance(rule: Volatility, before: VolatilityState, price: Decimal, count: int) -> Decimal:
    move = ceil_to(abs(price - before.price), RATE_STEP, before.price)
    kept = ONE
    for _ in range(min(count, DECAYS)):
        kept = ceil_to(kept * rule.decay, VARIANCE_STEP)
    fresh = (ONE - kept) * move * move * DAY
    passed = Decimal(count * rule.interval)
    return ceil_to(kept * before.variance * passed + fresh, VARIANCE_STEP, passed)


def _peaks(
    rule: Volatility, before: tuple[tuple[int, Decimal], ...], day: int, daily: Decimal
) -> tuple[tuple[int, Decimal], ...]:
    today = max([daily, *(peak for when, peak in before if when == day)])
    kept = [one for one in before if day - rule.lookback_days < one[0] < day]
    return (*kept, (day, today))


def _moved(
    factor: Decimal, target: Decimal, up: Decimal, down: Decimal, divisor: Decimal
) -> Decimal:
    """Return a factor on its way to its target, by at most up ÷ divisor or down ÷ divisor."""
    if target >= factor:
        return min(target, ceil_to(factor * divisor + up, FACTOR_STEP, divisor))
    return max(target, ceil_to(factor * divisor - down, FACTOR_STEP, divisor))


def _in_force(rule: Volatility, factor: Decimal) -> Decimal:
    return min(ceil_to(factor, rule.step), rule.cap)


def averaged(
    average: Decimal | None,
    window: int,
    price: Decimal,
    before: tuple[Decimal, int] | None,
    time: int,
) -> Decimal:
    """Return the time-weighted average of a price over `window`, at a new price.

    `before` is the price in force until now and since when (Drift v2, math/stats.rs: the average
    keeps window − elapsed parts of what it was).
    """
    if average is None or before is None:
        return price
    passed = max(0, time - before[1])
    if passed >= window:
        return before[0]
    total = average * (window - passed) + before[0] * passed
    return nearest_to(total, RATE_STEP, Decimal(window))
