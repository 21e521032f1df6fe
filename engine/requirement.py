"""Requirement curves: what one position needs, by its size and notional; pure and exact.

A curve is compiled once from its rule. The formulas stand in docs/semantics.md, 2; amounts are in
the settlement asset of the position.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from typing import NamedTuple

from engine.money import ONE, RATE_STEP, ZERO, ceil_to, floor_to, sqrt_up
from engine.profile import Bracket, OpenInterest, Requirement

SIZE_DISCOUNT = Decimal("1.1")
SIZE_PREMIUM_BLEND = Decimal("0.8")


class Exposure(NamedTuple):
    """A position as its curve sees it: `base` units and `notional`, both unsigned, and the
    notional of one base unit (the mark of a linear instrument, 1 for an inverse one)."""

    base: Decimal
    notional: Decimal
    price: Decimal


class Curve:
    """Rates by brackets: marginal (rate·v − amount, continuous) or for the whole position.

    amount(k) = amount(k−1) + cap(k−1)·(rate(k) − rate(k−1)): the "cumulative amount" of Binance's
    tables.
    """

    __slots__ = ("amounts", "by_size", "caps", "rates")

    def __init__(self, rule: Requirement, rates: list[Decimal]) -> None:
        self.by_size = rule.measure == "size"
        self.caps = [bracket.cap for bracket in rule.brackets]
        self.rates = rates
        self.amounts = [ZERO] * len(rates)
        for place in range(1, len(rates) if rule.marginal else 0):
            step = self.caps[place - 1] * (rates[place] - rates[place - 1])
            self.amounts[place] = self.amounts[place - 1] + step

    def bracket(self, at: Exposure) -> int:
        """Return the place of the bracket that a position falls into, the lower one at a cap."""
        measured = at.base if self.by_size else at.notional
        return min(bisect_left(self.caps, measured), len(self.rates) - 1)

    def requirement(self, at: Exposure) -> Decimal:
        """Return what a position needs."""
        place = self.bracket(at)
        amount = self.amounts[place]
        if amount and self.by_size:
            amount *= at.price
        return self.rates[place] * at.notional - amount


class RequirementCurve:
    """The initial and the maintenance requirement of positions in one instrument."""

    __slots__ = ("_initial", "_maintenance", "rule")

    def __init__(self, rule: Requirement) -> None:
        self.rule = rule
        self._initial = Curve(rule, [initial_rate(bracket) for bracket in rule.brackets])
        self._maintenance: Curve | None = None
        if rule.maintenance_share is None:
            rates = [bracket.maintenance_rate or ZERO for bracket in rule.brackets]
            self._maintenance = Curve(rule, rates)

    @property
    def brackets(self) -> Curve:
        """The curve by which brackets are told apart; the amounts are those of maintenance."""
        return self._maintenance or self._initial

    @property
    def initial_brackets(self) -> Curve:
        """The brackets of the initial requirement."""
        return self._initial

    @property
    def marginal_brackets(self) -> Curve | None:
        """The whole maintenance requirement, where marginal brackets of notional are all of it."""
        rule = self.rule
        grows = rule.slope or rule.root_factor or rule.fixed or rule.step is not None
        if grows or not rule.marginal or rule.measure == "size":
            return None
        return self._maintenance

    def initial(
        self, at: Exposure, interest: Decimal | None = None, factor: Decimal = ONE
    ) -> Decimal:
        """Return the initial requirement, at an open interest (none where it is not known) and with
        a factor for volatility."""
        required = self._grown(self._initial, at)
        scale = self.rule.open_interest
        if scale is not None and interest is not None and at.notional > required:
            required += open_interest_share(scale, interest) * (at.notional - required)
        return self._rounded(_scaled(required, at, factor)) + self.rule.fixed

    def maintenance(self, at: Exposure, factor: Decimal = ONE) -> Decimal:
        """Return the maintenance requirement, with a factor for volatility."""
        if self._maintenance is None:
            share = self.rule.maintenance_share or ZERO
            required = share * self._rounded(self._grown(self._initial, at))
        else:
            required = self._grown(self._maintenance, at)
        return self._rounded(_scaled(required, at, factor)) + self.rule.fixed

    def _grown(self, curve: Curve, at: Exposure) -> Decimal:
        """Return the requirement of a curve with what its rates grow by the size."""
        required = curve.requirement(at)
        if self.rule.slope:
            required += size_slope(self.rule, at.base) * at.notional
        if self.rule.root_factor:
            rate = size_premium(
                curve.rates[0], self.rule.root_factor, at.base, self.rule.root_blend
            )
            required = max(required, rate * at.notional)
        return required

    def _rounded(self, required: Decimal) -> Decimal:
        return required if self.rule.step is None else ceil_to(required, self.rule.step)


def _scaled(required: Decimal, at: Exposure, factor: Decimal) -> Decimal:
    """Return a requirement times a factor, which raises it to the notional at most."""
    return required if factor == 1 else max(required, min(factor * required, at.notional))


def initial_rate(bracket: Bracket) -> Decimal:
    """Return the initial rate of a bracket; 1 ÷ max_leverage is rounded up to 10^-12."""
    if bracket.initial_rate is not None:
        return bracket.initial_rate
    return ceil_to(ONE, RATE_STEP, bracket.max_leverage or ONE)


def open_interest_share(scale: OpenInterest, interest: Decimal) -> Decimal:
    """Return how far open interest has gone from `lower` to `upper`, in [0, 1], rounded up to
    10^-12."""
    if interest <= scale.lower or scale.upper <= scale.lower:
        return ZERO
    if interest >= scale.upper:
        return ONE
    return ceil_to(interest - scale.lower, RATE_STEP, scale.upper - scale.lower)


def initial_margin_fraction(
    base: Decimal, scale: OpenInterest, interest: Decimal, step: Decimal | None = None
) -> Decimal:
    """Return min(base + max((OI − lower) ÷ (upper − lower)·(1 − base), 0), 1), rounded up to
    10^-12; with a `step` the result is rounded down to it, as dYdX's contracts do to a millionth
    (dYdX v4, x/perpetuals/types/liquidity_tier.go:103)."""
    if step is None or not scale.lower < interest < scale.upper:
        return base + open_interest_share(scale, interest) * (ONE - base)
    span = scale.upper - scale.lower
    return floor_to(base * span + (interest - scale.lower) * (ONE - base), step, span)


def size_slope(rule: Requirement, base: Decimal) -> Decimal:
    """Return what the rates grow by the size in base units, rounded up to 10^-12."""
    if rule.slope_per == 1:
        return rule.slope * base
    return ceil_to(rule.slope * base, RATE_STEP, rule.slope_per)


def size_premium(
    rate: Decimal,
    factor: Decimal,
    size: Decimal,
    blend: Decimal = SIZE_PREMIUM_BLEND,
    step: Decimal | None = None,
) -> Decimal:
    """Return max(rate, blend·rate + factor·√size): a margin rate, or the weight of what is owed.

    √size in base units, rounded up to 10^-12; with a `step` the result is rounded down to it, as
    Drift's contracts do (programs/drift/src/math/margin.rs:47).
    """
    grown = max(rate, blend * rate + factor * sqrt_up(size, RATE_STEP))
    return grown if step is None else floor_to(grown, step)


def size_discount(
    weight: Decimal, factor: Decimal, size: Decimal, step: Decimal = RATE_STEP
) -> Decimal:
    """Return min(weight, 1.1 ÷ (1 + factor·√size)), the weight of what is owned, rounded down to
    `step` (Drift v2, programs/drift/src/math/margin.rs:116)."""
    if not factor:
        return weight
    return min(weight, floor_to(SIZE_DISCOUNT, step, ONE + factor * sqrt_up(size, RATE_STEP)))


def deposits_scale(weight: Decimal, start: Decimal, worth: Decimal) -> Decimal:
    """Return weight·start ÷ worth of a pool whose deposits are worth more than `start`, rounded
    down to 10^-12 (Drift v2 state/spot_market.rs:378, Mango v4 state/bank.rs:1232)."""
    return weight if worth <= start else floor_to(weight * start, RATE_STEP, worth)


def borrows_scale(weight: Decimal, start: Decimal, worth: Decimal) -> Decimal:
    """Return weight·worth ÷ start of a pool whose borrows are worth more than `start`, rounded up
    to 10^-12 (Mango v4 state/bank.rs:1232)."""
    return weight if worth <= start else ceil_to(weight * worth, RATE_STEP, start)
