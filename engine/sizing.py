"""How much of a leg a liquidation closes; pure, exact.

Sizes are unsigned. The formulas stand in docs/semantics.md, 11.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.liquidation_profile import LeastReduction, LowerTier, Portion, SizeRamp, Sizing
from engine.margin import LegHealth, exposure
from engine.markets import Markets
from engine.money import ONE, ZERO, ceil_to, floor_to
from engine.projection import Part, Projection, shortage, without
from engine.rules import Rules


class Goal(NamedTuple):
    """How much shortage a plan may leave: `numerator / divisor` (divisor > 0), in the numeraire."""

    numerator: Decimal = ZERO
    divisor: Decimal = ONE

    def missed_by(self, now: Projection, rules: Rules, markets: Markets) -> Decimal:
        """Return what is still lacking, times the divisor; at or below 0 where the goal is met."""
        return shortage(now, rules, markets) * self.divisor - self.numerator


class _Look(NamedTuple):
    """So many lots, what the goal is missed by with them, and what is left."""

    lots: int
    missed_by: Decimal
    after: Projection


def allowed(ramp: SizeRamp, lacking: Decimal, freed: Decimal, elapsed: int) -> Goal | None:
    """Return the goal while what may be restored of a shortage grows with time; none while that is
    nothing yet.

    `lacking` is the shortage of now, `freed` what was restored before (Drift v2,
    math/liquidation.rs:368).
    """
    if lacking <= 0 or lacking < ramp.whole_below:
        return Goal()
    duration = Decimal(ramp.duration)
    share = min(ramp.initial * duration + elapsed, duration)
    restorable = (lacking + freed) * share - freed * duration
    return Goal(lacking * duration - restorable, duration) if restorable > 0 else None


def reduce(
    part: Part, now: Projection, goal: Goal, sizing: Sizing, rules: Rules, markets: Markets
) -> tuple[Part, Projection]:
    """Return how much of a leg, given as a whole, is to be closed, and what is left then."""
    if isinstance(sizing, LowerTier | Portion):
        part = part._replace(size=_part_of(part.leg, sizing, rules))
    after = without(part, now, rules, markets)
    if not isinstance(sizing, LeastReduction):
        return part, after
    low = _Look(0, goal.missed_by(now, rules, markets), now)
    high = _Look(_lots(part.leg, rules), goal.missed_by(after, rules, markets), after)
    if low.missed_by <= 0 or high.missed_by > 0:
        return part, after
    return _fewest(part, now, low, high, goal, rules, markets)


def _fewest(
    part: Part,
    now: Projection,
    low: _Look,
    high: _Look,
    goal: Goal,
    rules: Rules,
    markets: Markets,
) -> tuple[Part, Projection]:
    """Return the part of a leg such that its lots meet the goal and one less does not.

    Between `low`, which misses it, and `high`, which meets it: twice where a straight line would
    meet it, then once the middle, and again.
    """
    turn = 0
    while high.lots - low.lots > 1:
        span, turn = high.lots - low.lots, turn + 1
        if turn % 3:
            met = ceil_to(span * low.missed_by, ONE, low.missed_by - high.missed_by)
            lots = min(high.lots - 1, low.lots + int(met))
        else:
            lots = low.lots + span // 2
        size = lots * rules.derivatives[part.leg.symbol].lot
        after = without(part._replace(size=size), now, rules, markets)
        look = _Look(lots, goal.missed_by(after, rules, markets), after)
        low, high = (look, high) if look.missed_by > 0 else (low, look)
    if high.lots < _lots(part.leg, rules):
        part = part._replace(size=high.lots * rules.derivatives[part.leg.symbol].lot)
    return part, high.after


def _lots(leg: LegHealth, rules: Rules) -> int:
    """Return how many lots are the whole leg; what is less than a lot goes with the last one."""
    return max(1, int(floor_to(abs(leg.size), ONE, rules.derivatives[leg.symbol].lot)))


def _part_of(leg: LegHealth, sizing: LowerTier | Portion, rules: Rules) -> Decimal:
    size, lot = abs(leg.size), rules.derivatives[leg.symbol].lot
    if isinstance(sizing, LowerTier):
        part = _to_lower_tier(leg, rules)
    else:
        part = _portion(leg, sizing, lot)
    return size if size - part < lot else part


def _portion(leg: LegHealth, sizing: Portion, lot: Decimal) -> Decimal:
    """Return a share of the leg, by its notional, in lots."""
    if leg.notional <= sizing.whole_below:
        return abs(leg.size)
    wanted = max(sizing.share * leg.notional, min(sizing.least, leg.notional))
    return max(floor_to(abs(leg.size) * wanted, lot, leg.notional), lot)


def _to_lower_tier(leg: LegHealth, rules: Rules) -> Decimal:
    """Return the fewest lots that take a leg at the mark to the bracket below its own, all of it in
    the lowest."""
    size = abs(leg.size)
    if rules.portfolio_of(leg.symbol) is not None:
        return size
    instrument, unit = rules.derivatives[leg.symbol], rules.assets[leg.settle].unit
    curve = rules.curve(leg.symbol).brackets
    place = curve.bracket(exposure(instrument, leg.size, leg.mark, leg.notional))
    if place == 0:
        return size
    contract, cap = instrument.multiplier, curve.caps[place - 1]
    if instrument.inverse:
        return ceil_to(size * contract - floor_to(cap, unit) * leg.mark, instrument.lot, contract)
    contract *= ONE if curve.by_size else leg.mark
    return ceil_to(size * contract - cap, instrument.lot, contract)
