"""What portfolios need, in floats: many margin groups at once, with a bound on the error.

The formulas are those of `portfolio`, whose grid of exact option values is shared: what one unit of
a symbol's exposure (size times multiplier) gains in every scenario is the same for every holder, so
the results of all groups are a sum of outer products, one a symbol: about a microsecond a group,
where the exact numbers take some hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.money import ONE
from engine.portfolio import Grid, PortfolioLeg

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

RELATIVE_ERROR = 1e-12
"""Bound on the error of a sum, as a part of the sum of what is added, without signs."""

NO_ROW = -1


class UnitResults(NamedTuple):
    """One unit of a symbol's exposure, in the numeraire.

    `results` is what it gains by scenario, `underlying` what it stands for of its underlying,
    `closing` what closing costs, `rounding` by how much the exact numbers of a leg, whatever its
    size, may be rounded against its holder.
    """

    results: Floats
    is_option: bool
    underlying: float
    closing: float
    rounding: float


class ScreenLegs(NamedTuple):
    """The legs of one symbol: rows of their margin groups (each once), exposures (size times
    multiplier, signed), and what a unit is."""

    rows: Rows
    exposures: Floats
    unit: UnitResults


class PortfolioScreen:
    """The portfolios of one rule."""

    def __init__(self, grid: Grid) -> None:
        rule = grid.rule
        self._grid = grid
        self._weights = np.array([float(one.weight) for one in grid.scenarios])
        self._reliefs = np.array([float(one.relief) for one in grid.scenarios])
        self._minimum = float(rule.short_option_minimum)
        self._option_rate = float(rule.option_contingency)
        self._other_rate = float(rule.future_contingency)
        self._factor = float(rule.maintenance_factor)

    def unit(self, leg: PortfolioLeg, closing_rate: Decimal) -> UnitResults:
        """Return what one unit of a symbol's exposure is; the size of `leg` is of no matter.

        To be called in the exact context.
        """
        price, mark, rate = float(leg.price), float(leg.mark), float(closing_rate)
        if leg.instrument.inverse:
            moves = np.array([float(one.price_move) for one in self._grid.scenarios])
            results, notional = moves / (mark * (1.0 + moves)), 1.0 / mark
            underlying = notional
            rounding = float(leg.unit) * price * (1.0 + self._other_rate + rate)
        else:
            contract, exposure = leg._replace(size=ONE), float(leg.instrument.multiplier)
            gained = [float(result) for result in self._grid.results(contract)]
            results, notional = np.array(gained) / exposure, mark
            underlying = float(contract.underlying_value) / exposure
            rounding = 0.0
        return UnitResults(
            results * price, leg.is_option, underlying * price, rate * notional * price, rounding
        )

    def requirements(self, rows: Rows, legs: Sequence[ScreenLegs]) -> tuple[Floats, Floats]:
        """Return the maintenance requirement of the group of every row (closing costs included),
        and a bound on the error of each, both in the numeraire.

        `legs` are those of every symbol of the portfolio, of these groups and any others. Takes 8
        bytes a row and scenario, where there is more than one symbol.
        """
        if len(legs) == 1 and not self._reliefs.any():
            return self._alone(rows, legs[0])
        return self._together(rows, legs)

    def _alone(self, rows: Rows, held: ScreenLegs) -> tuple[Floats, Floats]:
        """The same for one symbol: a leg needs so many times what a unit does, long or short."""
        units = held._replace(rows=np.arange(2), exposures=np.array([1.0, -1.0]))
        (long, short), (error, _) = self._together(units.rows, [units])
        at = _places(rows, [held])[held.rows]
        mine = at != NO_ROW
        at, exposures = at[mine], held.exposures[mine]
        needs, errors, sizes = np.zeros(len(rows)), np.zeros(len(rows)), np.abs(exposures)
        needs[at] = sizes * np.where(exposures > 0, long, short)
        errors[at] = sizes * (error - held.unit.rounding) + held.unit.rounding
        return needs, errors

    def _together(self, rows: Rows, legs: Sequence[ScreenLegs]) -> tuple[Floats, Floats]:
        place = _places(rows, legs)
        totals = np.zeros((len(rows), len(self._weights)))
        short, others, closing, gross, rounding = (np.zeros(len(rows)) for _ in range(5))
        for one in legs:
            at = place[one.rows]
            mine = at != NO_ROW
            at, exposures = at[mine], one.exposures[mine]
            sizes = np.abs(exposures)
            totals[at] += exposures[:, np.newaxis] * one.unit.results
            largest = float(np.abs(one.unit.results).max())
            gross[at] += sizes * (largest + one.unit.underlying + one.unit.closing)
            rounding[at] += one.unit.rounding
            closing[at] += sizes * one.unit.closing
            if not one.unit.is_option:
                others[at] += sizes * one.unit.underlying
            else:
                short[at] += np.where(exposures < 0, sizes * one.unit.underlying, 0.0)
        totals *= -self._weights
        totals -= self._reliefs
        worst = np.maximum(totals.max(axis=1), self._minimum * short)
        needs = np.maximum(worst, 0.0) + self._option_rate * short + self._other_rate * others
        error = RELATIVE_ERROR * gross + rounding
        return self._factor * needs + closing, max(1.0, self._factor) * error


def _places(rows: Rows, legs: Sequence[ScreenLegs]) -> Rows:
    """Return where each group's row stands among `rows`."""
    last = max([int(rows.max(initial=0)), *(int(one.rows.max(initial=0)) for one in legs)])
    place = np.full(last + 1, NO_ROW)
    place[rows] = np.arange(len(rows))
    return place
