"""How much of a leg a liquidation closes; pure, exact.

Sizes are unsigned. The formulas stand in docs/semantics.md, 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    if isinstance(sizing, LeastReduction):
        found = _least(part, now, goal, rules, markets)
        return _lots_of(part, found.lots, rules), found.after
    return part, without(part, now, rules, markets)


def _least(part: Part, now: Projection, goal: Goal, rules: Rules, markets: Markets) -> _Look:
    """Return the fewest lots of a leg that meet the goal; where none do, the whole leg, or of a
    portfolio's those that leave least lacking.

    What is lacking may fall and rise again: where a bracket ends that needs more than closing
    costs, and where a portfolio's leg is a hedge, or begins to be one.
    """

    def look(lots: int) -> _Look:
        after = without(_lots_of(part, lots, rules), now, rules, markets)
        return _Look(lots, goal.missed_by(after, rules, markets), after)

    nothing = low = _Look(0, goal.missed_by(now, rules, markets), now)
    if nothing.missed_by <= 0:
        return look(_lots(part.leg, rules))
    for lots in _ends(part.leg, rules):
        high = look(lots)
        if high.missed_by <= 0:
            return _fewest(low, high, look)
        low = high
    if rules.portfolio_of(part.leg.symbol) is None:
        return high
    best = look(_turning_point(high.lots, look))
    return _fewest(nothing, best, look) if best.missed_by <= 0 else best


def _ends(leg: LegHealth, rules: Rules) -> list[int]:
    """Return the lots after which the slope of a leg's requirement is another, the whole leg last:
    those that take it down to the next bracket, to the one below it, and so on."""
    whole, lot = _lots(leg, rules), rules.derivatives[leg.symbol].lot
    ends = [int(size / lot) for size in _to_lower_tiers(leg, rules)]
    return [*(lots for lots in ends if lots < whole), whole]


def _turning_point(whole: int, look: Callable[[int], _Look]) -> int:
    """Return the fewest lots, at least one, after which one more leaves no less lacking, all of
    them if there is none."""
    if whole == 1 or look(whole - 1).missed_by > look(whole).missed_by:
        return whole
    low, high = 1, whole
    while low < high:
        lots = (low + high) // 2
        if look(lots + 1).missed_by < look(lots).missed_by:
            low = lots + 1
        else:
            high = lots
    return low


def _fewest(low: _Look, high: _Look, look: Callable[[int], _Look]) -> _Look:
    """Return lots that meet the goal where one less does not.

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
        found = look(lots)
        low, high = (found, high) if found.missed_by > 0 else (low, found)
    return high


def _lots_of(part: Part, lots: int, rules: Rules) -> Part:
    """Return so many lots of a leg, given as a whole."""
    if lots >= _lots(part.leg, rules):
        return part
    return part._replace(size=lots * rules.derivatives[part.leg.symbol].lot)


def _lots(leg: LegHealth, rules: Rules) -> int:
    """Return how many lots are the whole leg; what is less than a lot goes with the last one."""
    return max(1, int(floor_to(abs(leg.size), ONE, rules.derivatives[leg.symbol].lot)))


def _part_of(leg: LegHealth, sizing: LowerTier | Portion, rules: Rules) -> Decimal:
    size, lot = abs(leg.size), rules.derivatives[leg.symbol].lot
    if isinstance(sizing, LowerTier):
        part = next(_to_lower_tiers(leg, rules), size)
    else:
        part = _portion(leg, sizing, lot)
    return size if size - part < lot else part


def _portion(leg: LegHealth, sizing: Portion, lot: Decimal) -> Decimal:
    """Return a share of the leg, by its notional, in lots."""
    if leg.notional <= sizing.whole_below:
        return abs(leg.size)
    wanted = max(sizing.share * leg.notional, min(sizing.least, leg.notional))
    return max(floor_to(abs(leg.size) * wanted, lot, leg.notional), lot)


def _to_lower_tiers(leg: LegHealth, rules: Rules) -> Iterator[Decimal]:
    """Yield the fewest lots that take a leg at the mark to the bracket below its own, to the one
    below that, and so on to the lowest; none of a portfolio's leg."""
    if rules.portfolio_of(leg.symbol) is not None:
        return
    size, unit = abs(leg.size), rules.assets[leg.settle].unit
    instrument, curve = rules.derivatives[leg.symbol], rules.curve(leg.symbol).brackets
    place = curve.bracket(exposure(instrument, leg.size, leg.mark, leg.notional))
    contract = instrument.multiplier
    for cap in reversed(curve.caps[:place]):
        if instrument.inverse:
            beyond = size * contract - floor_to(cap, unit) * leg.mark
            yield ceil_to(beyond, instrument.lot, contract)
        else:
            each = contract * (ONE if curve.by_size else leg.mark)
            yield ceil_to(size * each - cap, instrument.lot, each)
