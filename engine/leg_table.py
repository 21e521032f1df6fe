"""The legs of one symbol in columns, exact in whole units, with what the screens keep of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.holdings import Leg
from engine.instruments import Asset, Listed
from engine.money import from_units, to_units

FIRST_CAPACITY = 64


class LegTable:
    """The legs of one symbol, one row each, without holes.

    Floats for the screens only: `exposure` is size times multiplier, `alarm_slope` and
    `relief_slope` are a leg's lines in x (the price, or one over it) while x is in (low, high];
    all lines hold in (low_of_all, high_of_all]. `direction` is the sign with which value follows
    exposure and x, `relieved` the rows with a relief line, none when that is to be looked up again.
    """

    COLUMNS = ("group", "size", "cost", "exposure", "alarm_slope", "relief_slope", "low", "high")

    __slots__ = (
        *COLUMNS,
        "direction",
        "high_of_all",
        "instrument",
        "low_of_all",
        "relieved",
        "row_of",
        "settle",
    )

    def __init__(self, instrument: Listed, settle: Asset) -> None:
        self.instrument = instrument
        self.settle = settle
        self.row_of: dict[int, int] = {}
        self.group = np.zeros(FIRST_CAPACITY, np.int64)
        self.size = np.zeros(FIRST_CAPACITY, np.int64)
        self.cost = np.zeros(FIRST_CAPACITY, np.int64)
        self.exposure = np.zeros(FIRST_CAPACITY)
        self.alarm_slope = np.zeros(FIRST_CAPACITY)
        self.relief_slope = np.zeros(FIRST_CAPACITY)
        self.direction = -1.0 if instrument.inverse else 1.0
        self.low = np.zeros(FIRST_CAPACITY)
        self.high = np.zeros(FIRST_CAPACITY)
        self.low_of_all, self.high_of_all = 0.0, float("inf")
        self.relieved: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.row_of)

    def read(self, group: int) -> Leg | None:
        """Return the leg of a group's row, if it has one."""
        row = self.row_of.get(group)
        if row is None:
            return None
        return Leg(
            from_units(int(self.size[row]), self.instrument.size_decimals),
            from_units(int(self.cost[row]), self.settle.decimals),
        )

    def write(self, group: int, leg: Leg | None) -> None:
        """Set, add or remove the leg of a group's row."""
        row = self.row_of.get(group)
        if leg is None:
            if row is not None:
                self._remove(group, row)
            return
        if row is None:
            row = self.row_of[group] = len(self.row_of)
            if row == len(self.group):
                self._grow()
        self.group[row] = group
        self.size[row] = to_units(leg.size, self.instrument.size_decimals)
        self.cost[row] = to_units(leg.cost, self.settle.decimals)
        self.exposure[row] = float(leg.size * self.instrument.multiplier)

    def _grow(self) -> None:
        for name in self.COLUMNS:
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))

    def _remove(self, group: int, row: int) -> None:
        self.relieved = None
        last = len(self.row_of) - 1
        for name in self.COLUMNS:
            column = getattr(self, name)
            column[row] = column[last]
        self.row_of[int(self.group[row])] = row
        del self.row_of[group]
