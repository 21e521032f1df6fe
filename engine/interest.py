"""Interest: rates by utilisation, indices by time, amounts by index or share; pure and exact.

An index is written only when a market is touched; what it is between two touches is computed from
the one that was written, so that neither a reading nor a tick of the clock changes what is owed.
Rates are fractions per period, utilisation is a fraction, times are in microseconds. Where a rule
rounds, the direction is a part of the rule: contracts round indices down, which lenders bear.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from engine.money import (
    ONE,
    ZERO,
    Rounding,
    ceil_to,
    exact,
    floor_to,
    nearest_to,
    rounded,
)

YEAR = 365 * 24 * 3600 * 1_000_000
"""A year of 365 days, which most markets reckon with, in microseconds."""

FRACTION_STEP = Decimal("1e-18")
"""What utilisation and rates are multiples of, unless a rule says otherwise."""

INDEX_STEP = Decimal("1e-27")
"""What indices and their growth are multiples of, unless a rule says otherwise."""


class RateCurve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rate by utilisation that is steeper above a kink.

    base + slope_low·min(u, kink) + slope_high·max(u − kink, 0) (Compound III, Comet.sol:449; Euler,
    IRMLinearKink.sol). With `whole_slopes` each slope is what the rate gains over the whole of its
    side: base + slope_low·min(u, kink) ÷ kink + slope_high·max(u − kink, 0) ÷ (1 − kink) (Aave v3,
    DefaultReserveInterestRateStrategyV2.sol:124). Each term is rounded to `step`.
    """

    base: Decimal = ZERO
    kink: Decimal = ONE
    slope_low: Decimal = ZERO
    slope_high: Decimal = ZERO
    whole_slopes: bool = False
    step: Decimal = FRACTION_STEP
    rounding: Rounding = "down"


class Accrual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an index grows, at a rate per `period` (microseconds).

    `linear`: 1 + x with x = rate·elapsed ÷ period; `compound`: (1 + rate)^n for n whole periods;
    `taylor`: 1 + x + x²/2 + x³/6, each term rounded down; `taylor_nested`: 1 + x + x·(x/2 + x·x/6),
    products rounded to the nearest and parts down. x and the growth are rounded down to
    `growth_step`, or to the nearest where they compound; an index is rounded to `index_step`.
    """

    method: Literal["linear", "compound", "taylor", "taylor_nested"] = "linear"
    period: int = YEAR
    growth_step: Decimal = INDEX_STEP
    index_step: Decimal = INDEX_STEP
    rounding: Rounding = "down"


class Ramp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A threshold that falls in a straight line from `start` to its target, which it reaches at the
    time `until` after `duration` (both in microseconds)."""

    start: Decimal
    until: int
    duration: int


class Index(NamedTuple):
    """An index as it was written: its value, the rate from then on, and the time."""

    value: Decimal
    rate: Decimal
    since: int


class Shares(NamedTuple):
    """A pool's assets and the shares they are divided into, with those that nobody owns, which keep
    a first share from being worth too much (Morpho Blue, SharesMathLib.sol)."""

    assets: Decimal
    shares: Decimal
    virtual_assets: Decimal = ZERO
    virtual_shares: Decimal = ZERO

    def to_assets(self, shares: Decimal, unit: Decimal, rounding: Rounding) -> Decimal:
        """Return what shares are worth: down for what is owned or taken, up for what is owed."""
        held = self.assets + self.virtual_assets
        return rounded(shares * held, unit, rounding, self.shares + self.virtual_shares)

    def to_shares(self, assets: Decimal, unit: Decimal, rounding: Rounding) -> Decimal:
        """Return the shares of an amount: down for what is supplied or repaid, up for the rest."""
        held = self.shares + self.virtual_shares
        return rounded(assets * held, unit, rounding, self.assets + self.virtual_assets)


@exact
def utilization(
    borrowed: Decimal,
    supplied: Decimal,
    step: Decimal = FRACTION_STEP,
    rounding: Rounding = "down",
) -> Decimal:
    """Return what part of what is supplied is borrowed, 0 of nothing; more than 1 where bad debt
    has eaten into what was supplied (Compound III, Comet.sol:436)."""
    return rounded(borrowed, step, rounding, supplied) if supplied > 0 else ZERO


@exact
def kinked_rate(curve: RateCurve, used: Decimal) -> Decimal:
    """Return the rate per period at a utilisation; rounded by the curve."""
    low, high = min(used, curve.kink), max(used - curve.kink, ZERO)
    below, above = (curve.kink, ONE - curve.kink) if curve.whole_slopes else (ONE, ONE)
    rate = curve.base
    if low and below:
        rate += rounded(curve.slope_low * low, curve.step, curve.rounding, below)
    if high:
        # With the kink at full utilisation nothing lies above it that a slope could be spread over.
        rate += rounded(curve.slope_high * high, curve.step, curve.rounding, above or ONE)
    return rate


@exact
def supply_rate(
    borrow_rate: Decimal,
    used: Decimal,
    reserve_factor: Decimal,
    step: Decimal = FRACTION_STEP,
) -> Decimal:
    """Return what suppliers earn per period of what borrowers pay, less the reserve's share;
    rounded down, against suppliers and for the reserve (Aave v3,
    DefaultReserveInterestRateStrategyV2.sol:160)."""
    return floor_to(borrow_rate * used * (ONE - reserve_factor), step)


@exact
def rate_per(rate: Decimal, periods: int, step: Decimal = FRACTION_STEP) -> Decimal:
    """Return the rate of one of the `periods` that a rate is for; rounded down, for borrowers
    (Compound III keeps annual rates by the second so, Comet.sol:129)."""
    return floor_to(rate, step, Decimal(periods))


@exact
def power(base: Decimal, exponent: int, step: Decimal = INDEX_STEP) -> Decimal:
    """Return base^exponent by squaring, each product rounded to the nearest multiple of `step`.

    Exact, and so the same under any split of the exponent, where no product is finer than the step.
    Else it is off by about exponent·step, so that of two exponents the larger gives more where
    base − 1 is well above that (MakerDAO, jug.sol, rpow). Raises `ValueError` for a negative
    exponent.
    """
    if exponent < 0:
        raise ValueError(f"power: the exponent {exponent} is negative")
    result = base if exponent % 2 else ONE
    exponent //= 2
    while exponent:
        base = nearest_to(base * base, step)
        if exponent % 2:
            result = nearest_to(result * base, step)
        exponent //= 2
    return result


@exact
def taylor_growth(x: Decimal, step: Decimal) -> Decimal:
    """Return x + x²/2 + x³/6, each term rounded down to `step` from the one before: below e^x − 1,
    for borrowers (Morpho Blue, MathLib.sol:36)."""
    second = floor_to(x * x, step, Decimal(2))
    return x + second + floor_to(second * x, step, Decimal(3))


@exact
def nested_taylor_growth(x: Decimal, step: Decimal) -> Decimal:
    """Return x + x·(x/2 + x·x/6), parts rounded down and products to the nearest multiple of
    `step` (Aave v3, MathUtils.sol)."""
    sixth = nearest_to(x * floor_to(x, step, Decimal(6)), step)
    return x + nearest_to(x * (floor_to(x, step, Decimal(2)) + sixth), step)


@exact
def growth(rule: Accrual, rate: Decimal, elapsed: int) -> Decimal:
    """Return by what part an index grows in `elapsed` microseconds at a rate per period.

    Raises `ValueError` for a time that runs backwards or a rate below 0: indices never fall.
    """
    if elapsed < 0 or rate < 0:
        raise ValueError(f"interest: rate {rate} for {elapsed} µs would let an index fall")
    if rule.method == "compound":
        return power(ONE + rate, elapsed // rule.period, rule.growth_step) - ONE
    x = floor_to(rate * elapsed, rule.growth_step, Decimal(rule.period))
    if rule.method == "linear":
        return x
    grow = taylor_growth if rule.method == "taylor" else nested_taylor_growth
    return grow(x, rule.growth_step)


@exact
def index_at(rule: Accrual, index: Index, now: int) -> Decimal:
    """Return what an index is worth now, without writing it; raises `ValueError` for a time before
    it was written."""
    grown = index.value * (ONE + growth(rule, index.rate, now - index.since))
    return rounded(grown, rule.index_step, rule.rounding)


@exact
def touched(rule: Accrual, index: Index, now: int, rate: Decimal) -> Index:
    """Return the index as a touch at `now` writes it, with the rate from then on.

    Where it compounds, a touch that leaves the rate as it was writes nothing, and one that changes
    it keeps the part of a period that has run: exact under any split of time. The other methods
    compound at touches only.
    """
    if rule.method != "compound":
        return Index(index_at(rule, index, now), rate, now)
    if rate == index.rate:
        return index
    begun = (now - index.since) % rule.period
    return Index(index_at(rule, index, now), rate, now - begun)


@exact
def simple_interest(
    amount: Decimal, rate: Decimal, elapsed: int, unit: Decimal, period: int = YEAR
) -> Decimal:
    """Return what is owed on an amount that does not compound before it is touched; rounded down to
    the asset's unit, for the borrower (Liquity v2, LiquityBase.sol:67)."""
    return floor_to(amount * rate * elapsed, unit, Decimal(period))


@exact
def present_value(
    principal: Decimal, index: Decimal, unit: Decimal, rounding: Rounding = "down"
) -> Decimal:
    """Return what a principal has grown to, in the asset; down for what is owned. Compound III
    rounds what is owed down too (CometCore.sol:97)."""
    return rounded(principal * index, unit, rounding)


@exact
def principal_value(amount: Decimal, index: Decimal, unit: Decimal) -> Decimal:
    """Return the principal of an amount, < 0 for what is owed; owned down, owed up, both against
    the account (Compound III, CometCore.sol:116)."""
    if amount < 0:
        return -ceil_to(-amount, unit, index)
    return floor_to(amount, unit, index)


@exact
def ramped(ramp: Ramp, target: Decimal, now: int, step: Decimal = FRACTION_STEP) -> Decimal:
    """Return where a threshold is on its way down; rounded down to `step`, for the pool.

    A target that is not below the start holds at once (Euler, LTVConfig.sol:35).
    """
    left = ramp.until - now
    if left <= 0 or target >= ramp.start:
        return target
    if left >= ramp.duration:
        return ramp.start
    fallen = (ramp.start - target) * left
    return target + floor_to(fallen, step, Decimal(ramp.duration))
