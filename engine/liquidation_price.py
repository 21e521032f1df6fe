"""Liquidation prices: where a leg's mark would take its group to its maintenance requirement."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from engine.margin import Health, LegHealth
from engine.money import ceil_to, exact, floor_to
from engine.rules import Rules


class LiquidationPrices(NamedTuple):
    """The marks below and above which the group is breached; none where there is no such price."""

    below: Decimal | None
    above: Decimal | None


@exact
def liquidation_prices(leg: LegHealth, state: Health, rules: Rules) -> LiquidationPrices:
    """Return the liquidation prices of a leg, true for the whole group.

    Other marks and all index prices are held; brackets and the haircut or borrow weight of the
    settlement asset are taken at the price found. The slack (margin equity − maintenance) is
    concave and piecewise linear in the price (inverse: in its reciprocal), so it has at most one
    root on each side. Rounded to the instrument's price decimals towards the healthy side.
    """
    instrument = rules.derivatives[leg.symbol]
    slack = _Slack(leg, state, rules)
    low, high = _healthy_interval(slack)
    if instrument.inverse:
        low, high = (1 / high if high else None), (1 / low if low else None)
    step = instrument.price_unit
    below = None if not low else ceil_to(Decimal(low.numerator), step, Decimal(low.denominator))
    above = None if not high else floor_to(Decimal(high.numerator), step, Decimal(high.denominator))
    return LiquidationPrices(below, above)


class _Slack:
    """Margin equity less maintenance, as a function of x: the price, or its reciprocal if
    inverse."""

    def __init__(self, leg: LegHealth, state: Health, rules: Rules) -> None:
        instrument = rules.derivatives[leg.symbol]
        self.curve = rules.maintenance[leg.symbol]
        self.slope = Fraction(leg.size * instrument.multiplier) * (-1 if instrument.inverse else 1)
        self.now = 1 / Fraction(leg.mark) if instrument.inverse else Fraction(leg.mark)
        self.net = Fraction(state.net[leg.settle]) - self.slope * self.now
        price = Fraction(state.prices[leg.settle])
        rule = rules.in_force.collateral_of(leg.settle)
        self.owned = price * (1 - Fraction(rule.haircut))
        self.owed = price * Fraction(rule.borrow_weight)
        self.price = price
        others = (leg.settle, state.net[leg.settle])
        held = others[1] * state.prices[leg.settle] * rules.weight(*others)
        self.rest = (
            Fraction(state.margin_equity)
            - Fraction(held)
            - Fraction(state.maintenance)
            + Fraction(leg.required)
        )

    def __call__(self, x: Fraction) -> Fraction:
        net = self.net + self.slope * x
        notional = abs(self.slope) * x
        place = next(
            (k for k, cap in enumerate(self.curve.caps) if notional <= cap),
            len(self.curve.caps) - 1,
        )
        required = Fraction(self.curve.rates[place]) * notional - Fraction(
            self.curve.amounts[place]
        )
        return self.rest + net * (self.owned if net > 0 else self.owed) - required * self.price

    def kinks(self) -> list[Fraction]:
        """Return every x > 0 where the slope may change, in order, and one beyond the last."""
        found = {Fraction(cap) / abs(self.slope) for cap in self.curve.caps[:-1]}
        found |= {-self.net / self.slope, self.now}
        kept = sorted(x for x in found if x > 0)
        return [*kept, kept[-1] * 2]


def _healthy_interval(slack: _Slack) -> tuple[Fraction | None, Fraction | None]:
    """Return the roots of a concave piecewise linear function on x > 0, (rising, falling)."""
    points = [Fraction(0), *slack.kinks()]
    low: Fraction | None = None
    high: Fraction | None = None
    for start, end in pairwise(points):
        before, after = slack(start), slack(end)
        if before < 0 <= after:
            low = start - before * (end - start) / (after - before)
        if before >= 0 > after:
            high = start - before * (end - start) / (after - before)
    start, end = points[-2], points[-1]
    before, after = slack(start), slack(end)
    slope = (after - before) / (end - start)
    if after >= 0 and slope < 0:
        high = end - after / slope
    if after < 0 and slope > 0:
        low = end - after / slope
    return low, high
