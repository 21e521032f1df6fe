"""Who has something free to give, in their ranking, and in floats what of it: bounds for all at
once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.money import ZERO

if TYPE_CHECKING:
    from engine.deleveraging import Candidate

Floats = NDArray[np.float64]

ERROR = 1e-12
"""Bound on the error of a part, as a part of the position, and of a sum of parts."""


class WaterScreen(NamedTuple):
    """Candidates in their ranking, each with the most that it can give, which in all is `whole`.

    `lots`, `inverse` (of the leverage) and `most` are in floats, counted in lots of `unit`. Who is
    not asked has a `most` of 0.
    """

    ranked: Sequence[Candidate]
    free: Sequence[Decimal]
    whole: Decimal
    lots: Floats
    inverse: Floats
    most: Floats
    unit: float

    def _bounds(self, level: Decimal) -> tuple[Floats, Floats]:
        """Return the lots that each gives at least and at most at a level."""
        used = float(level) * self.inverse
        part, error = (1.0 - used) * self.lots, ERROR * (1.0 + used) * self.lots
        least = np.minimum(np.floor(part - error), self.most * (1.0 - ERROR))
        most = np.minimum(np.floor(part + error), self.most * (1.0 + ERROR))
        return np.maximum(least, 0.0), np.maximum(most, 0.0)

    def exceeds(self, level: Decimal, size: Decimal) -> bool | None:
        """Tell whether all parts together are more than a size, none where floats cannot."""
        least, most = (float(lots.sum()) * self.unit for lots in self._bounds(level))
        if least * (1.0 - ERROR) > float(size):
            return True
        return False if most * (1.0 + ERROR) < float(size) else None

    def giving(self, level: Decimal) -> list[tuple[Candidate, Decimal]]:
        """Return all who may give something at a level, with the most that each can."""
        return self._at(np.flatnonzero(self._bounds(level)[1]))

    def with_free(self, least: Decimal) -> list[tuple[Candidate, Decimal]]:
        """Return all who can give at least so much, with the most that each can."""
        lots = float(least) / self.unit * (1.0 - ERROR)
        found = self._at(np.flatnonzero((self.most >= lots) & (self.most > 0.0)))
        return [(one, free) for one, free in found if free >= least]

    def _at(self, places: NDArray[np.int64]) -> list[tuple[Candidate, Decimal]]:
        return [(self.ranked[place], self.free[place]) for place in places.tolist()]


class Open:
    """Candidates in their ranking who have anything free, whose floats are kept between those who
    are bankrupt: only who has changed is put into floats anew."""

    def __init__(self, lot: Decimal) -> None:
        self.ranked: list[Candidate] = []
        self._free: list[Decimal] = []
        self._whole = ZERO
        self._unit = float(lot)
        self._columns = np.zeros((3, 0))

    def put(self, one: Candidate, free: Decimal) -> None:
        """Put a candidate into its place, if it has anything free."""
        if not free:
            return
        place = bisect_left(self.ranked, one)
        self.ranked.insert(place, one)
        self._free.insert(place, free)
        self._whole += free
        self._columns = self._columns[:, :place]

    def leave(self, one: Candidate, free: Decimal) -> None:
        """Leave a candidate so much free, if it has a place; without anything it loses that."""
        place = self._place(one)
        if place is None:
            return
        self._whole += free - self._free[place]
        known = place < self._columns.shape[1]
        if free:
            self._free[place] = free
            if known:
                self._columns[2, place] = float(free) / self._unit
            return
        del self.ranked[place], self._free[place]
        if known:
            self._columns = np.delete(self._columns, place, axis=1)

    def screen(self, without: Iterable[Candidate]) -> WaterScreen:
        """Return all of them, some of whom are not asked."""
        self._fill()
        lots, inverse, most = self._columns
        whole, places = self._whole, [self._place(one) for one in without]
        absent = [place for place in places if place is not None]
        if absent:
            most = most.copy()
            most[absent] = 0.0
            whole -= sum((self._free[place] for place in absent), ZERO)
        return WaterScreen(self.ranked, self._free, whole, lots, inverse, most, self._unit)

    def _place(self, one: Candidate) -> int | None:
        place = bisect_left(self.ranked, one)
        return place if self.ranked[place : place + 1] == [one] else None

    def _fill(self) -> None:
        """Put those into floats who are not yet."""
        known = self._columns.shape[1]
        new, unit = self.ranked[known:], self._unit
        if not new:
            return
        worth = np.array([float(one.notional * one.price) for one in new])
        lots = np.where(worth > 0, np.array([float(one.size) / unit for one in new]), 0.0)
        inverse = np.array([float(one.worth) for one in new]) / np.maximum(worth, 1e-300)
        most = np.array([float(free) / unit for free in self._free[known:]])
        self._columns = np.concatenate([self._columns, np.array([lots, inverse, most])], axis=1)
