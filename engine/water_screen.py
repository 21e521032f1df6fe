"""What parts of positions are above a level of leverage, in floats: bounds for all at once."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.deleveraging import Candidate

Floats = NDArray[np.float64]

ERROR = 1e-12
"""Bound on the error of a part, as a part of the position, and of a sum of parts."""


class WaterScreen:
    """Candidates, each with the most that it can give, whose parts are counted in lots."""

    def __init__(self, above: Sequence[tuple[Candidate, Decimal]], lot: Decimal) -> None:
        unit = float(lot)
        worth = np.array([float(one.notional * one.price) for one, _ in above])
        lots = np.array([float(one.size) / unit for one, _ in above])
        self._lots = np.where(worth > 0, lots, 0.0)
        self._inverse = np.array([float(one.worth) for one, _ in above]) / np.maximum(worth, 1e-300)
        self._most = np.array([float(free) / unit for _, free in above])
        self._unit = unit

    def _bounds(self, level: Decimal) -> tuple[Floats, Floats]:
        """Return the lots that each gives at least and at most at a level."""
        used = float(level) * self._inverse
        part, error = (1.0 - used) * self._lots, ERROR * (1.0 + used) * self._lots
        least = np.minimum(np.floor(part - error), self._most * (1.0 - ERROR))
        most = np.minimum(np.floor(part + error), self._most * (1.0 + ERROR))
        return np.maximum(least, 0.0), np.maximum(most, 0.0)

    def exceeds(self, level: Decimal, size: Decimal) -> bool | None:
        """Tell whether all parts together are more than a size, none where floats cannot."""
        least, most = (float(lots.sum()) * self._unit for lots in self._bounds(level))
        if least * (1.0 - ERROR) > float(size):
            return True
        return False if most * (1.0 + ERROR) < float(size) else None

    def giving(self, level: Decimal) -> list[int]:
        """Return the places of all who may give something at a level."""
        found: list[int] = np.flatnonzero(self._bounds(level)[1]).tolist()
        return found
