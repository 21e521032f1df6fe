"""Who of those that wait for room may be the riskiest, in floats that may only over-include.

For every such group margin equity and maintenance are kept current with every price, with an error
bound. The bounds of their ratio say who has to be valued exactly to find the riskiest; the screens
of `watch` bring what prices change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.pace import Wait

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

RATIO_ERROR = 1e-12
"""Bound on the error of a ratio of two floats, as a part of it."""


class RiskScreen:
    """Margin equity and maintenance of the rows of the book that wait, what for, and until when.

    `count` is the number of these rows.
    """

    def __init__(self, capacity: int) -> None:
        self.count = 0
        self._equity = np.zeros(capacity)
        self._needs = np.zeros(capacity)
        self._error = np.zeros(capacity)
        self._waits = np.zeros(capacity, bool)
        self._again_at = np.zeros(capacity, np.int64)
        self._latest = np.zeros(capacity, np.int64)
        self._below = np.zeros(capacity)
        self._awaits: dict[str, Flags] = {}
        self._holds: dict[str, Flags] = {}

    def note(self, row: int, equity: float, needs: float, error: float) -> None:
        """Take over the exact values of a row that waits, which prices move by no more than `error`
        off what is told of them; infinite where nothing is told."""
        if not self._waits[row]:
            self.count += 1
        self._waits[row] = True
        self._equity[row], self._needs[row], self._error[row] = equity, needs, error

    def wait(self, row: int, wait: Wait, awaits: Iterable[str], holds: Iterable[str]) -> None:
        """Take over when a row may be planned anew, in which symbols it waits for room, and in
        which it holds a leg."""
        self._again_at[row], self._latest[row] = wait.again_at, wait.latest
        self._below[row] = np.nan if wait.below is None else float(wait.below)
        for table, symbols in ((self._awaits, awaits), (self._holds, holds if wait.capped else ())):
            for symbol in symbols:
                if symbol not in table:
                    table[symbol] = np.zeros(len(self._waits), bool)
                table[symbol][row] = True

    def forget(self, row: int) -> None:
        """Follow a row no longer."""
        if row < len(self._waits) and self._waits[row]:
            self._waits[row] = False
            self.count -= 1
            for rows in (*self._awaits.values(), *self._holds.values()):
                rows[row] = False

    def of(self, rows: Rows) -> Flags:
        """Tell which of these rows wait."""
        return self._waits[rows]

    def moved(self, rows: Rows, gained: Floats, raised: Floats) -> None:
        """Take over what margin equity gained and maintenance rose by, in rows that wait or not."""
        self._equity[rows] += gained
        self._needs[rows] += raised

    def awaited(self) -> list[str]:
        """Return every symbol in which room may let somebody go on."""
        tables = (*self._awaits.items(), *self._holds.items())
        return list(dict.fromkeys(symbol for symbol, rows in tables if rows.any()))

    def waiting(self, symbols: Iterable[str], now: int) -> Rows:
        """Return the rows that wait for room in one of these symbols, and those whose time has
        come and of whose plan something may come."""
        due = self._waits & (self._again_at <= now)
        found = due & (self._latest <= now)
        for symbol in symbols:
            if symbol in self._awaits:
                found |= self._awaits[symbol]
            if symbol in self._holds:
                found |= self._holds[symbol] & due
        rows = np.flatnonzero(due & ~found)
        below = self._below[rows]
        found[rows[self.lowest_ratio(rows) <= below + np.abs(below) * RATIO_ERROR]] = True
        return np.flatnonzero(found)

    def lowest_ratio(self, rows: Rows) -> Floats:
        """Return what margin equity over maintenance is at least, minus infinity where that is
        not known."""
        error = self._error[rows]
        equity, needs = self._equity[rows] - error, self._needs[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = equity / np.where(equity > 0, needs + error, needs - error)
        ratio -= np.abs(ratio) * RATIO_ERROR
        return np.where((needs - error > 0) & np.isfinite(ratio), ratio, -np.inf)

    def grow(self, room: int) -> None:
        """Make room for more rows."""
        for name in ("_equity", "_needs", "_error", "_below"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros(room)]))
        none = np.zeros(room, bool)
        self._waits = np.concatenate([self._waits, none])
        for name in ("_again_at", "_latest"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros(room, np.int64)]))
        for table in (self._awaits, self._holds):
            for symbol, rows in table.items():
                table[symbol] = np.concatenate([rows, none])
