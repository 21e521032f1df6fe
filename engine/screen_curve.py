"""Requirement curves, weights and profit in floats, for the screens: many positions at once.

The formulas are those of `requirement` and `weights`, without their roundings; `watch` adds the
bound on what that may miss.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.money import ONE, ZERO
from engine.profile import Collateral, Profit
from engine.requirement import SIZE_DISCOUNT, SIZE_PREMIUM_BLEND, Curve, RequirementCurve
from engine.weights import Context, weight

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

EDGE = 1e-8
"""How near to a cap, as a part of it, floats do not tell on which side a position is."""

ROUNDINGS_OF_STEP = 2.0
"""A requirement that follows from a rounded one is rounded twice."""


class ScreenCurve:
    """A requirement in floats, by default of maintenance; closing costs and factor included.

    `x` is the price of a linear instrument, one over it of an inverse one; sizes are unsigned, in
    what one unit of x is worth one unit of notional for. `straight` tells whether the requirement
    is a line in x between two caps, `jumps` whether it jumps at one, `step` what the exact one may
    be rounded up by.
    """

    def __init__(
        self,
        curve: RequirementCurve,
        *,
        inverse: bool,
        unit: float = 0.0,
        factor: float = 1.0,
        closing: float = 0.0,
        initial: bool = False,
        straight: bool = False,
    ) -> None:
        rule = curve.rule
        self.straight = straight and curve.marginal_brackets is not None and factor == 1.0
        self._inverse, self._factor, self._closing = inverse, factor, closing
        # An inverse notional is rounded up to a unit, which may take it over a cap.
        self._rounded_up = unit if inverse else 0.0
        share = None if initial else rule.maintenance_share
        self._share = 1.0 if share is None else float(share)
        self._read(curve.initial_brackets if initial else curve.brackets)
        self._by_size = rule.measure == "size"
        self.jumps = not rule.marginal and len(rule.brackets) > 1
        self._slope = float(rule.slope) / float(rule.slope_per)
        self._root, self._blend = float(rule.root_factor), float(rule.root_blend)
        self._fixed = float(rule.fixed)
        self.step = ROUNDINGS_OF_STEP * float(rule.step or 0) * max(1.0, factor)
        self.rates = self._rates + closing

    def _read(self, curve: Curve) -> None:
        self._cap_list = [float(cap) for cap in curve.caps[:-1]]
        self._caps = np.array(self._cap_list)
        self._edges = np.array([0.0, *self._cap_list, np.inf])
        self._rates = np.array([float(rate) for rate in curve.rates])
        self._amounts = np.array([float(amount) for amount in curve.amounts])

    def place(self, notional: Floats) -> Rows:
        """Return the bracket of each notional (or size, where caps are of size)."""
        return self._caps.searchsorted(notional)

    def edges(self, place: Rows) -> tuple[Floats, Floats]:
        """Return the notionals between which each bracket applies."""
        return self._edges[place], self._edges[place + 1]

    def line(self, notional: float) -> tuple[float, float, float]:
        """Return the rate at one notional, and the notionals between which it applies."""
        place = bisect_left(self._cap_list, notional)
        return float(self.rates[place]), self._edges[place], self._edges[place + 1]

    def required(self, size: Floats, x: float) -> Floats:
        """Return the requirement of each position, in the settlement asset."""
        notional = size * x
        base, price = (notional, 1.0) if self._inverse else (size, x)
        place = self.place(base if self._by_size else notional)
        amounts = self._amounts[place] * (price if self._by_size else 1.0)
        found = self._rates[place] * notional - amounts
        if self._slope:
            found += self._slope * base * notional
        if self._root:
            rate = self._blend * self._rates[0] + self._root * np.sqrt(base)
            found = np.maximum(found, rate * notional)
        found *= self._share
        if self._factor != 1.0:
            found = np.maximum(found, np.minimum(self._factor * found, notional))
        required: Floats = found + self._fixed + self._closing * notional
        return required

    def jumped(self, size: Floats, before: float, after: float) -> NDArray[np.bool_] | None:
        """Tell which requirements may have jumped between two values of x; none that can."""
        if not self.jumps or (self._by_size and not self._inverse):
            return None
        low, high = min(before, after) * (1 - EDGE), max(before, after) * (1 + EDGE)
        above = size * high + self._rounded_up
        crossed: NDArray[np.bool_] = self.place(size * low) != self.place(above)
        return crossed


class ScreenWeight:
    """What amounts of an asset count for, owned and owed; by default in maintenance."""

    def __init__(self, rule: Collateral, *, initial: bool = False) -> None:
        bare = msgspec.structs.replace(rule, size_factor=ZERO)
        context: Context = "initial" if initial else "maintenance"
        self.owned = float(weight(bare, ONE, context))
        self.owed = float(weight(bare, -ONE, context))
        self._factor = float(rule.size_factor)

    def counted(self, net: Floats) -> Floats:
        """Return each amount at its weight."""
        if not self._factor:
            return net * np.where(net > 0, self.owned, self.owed)
        root = self._factor * np.sqrt(np.abs(net))
        owned = np.minimum(self.owned, float(SIZE_DISCOUNT) / (1.0 + root))
        owed = np.maximum(self.owed, float(SIZE_PREMIUM_BLEND) * self.owed + root)
        return net * np.where(net > 0, owned, owed)

    def steepest(self, net: Floats) -> Floats:
        """Return by how much what counts may move, at most, when an amount moves by one."""
        root = 1.5 * self._factor * np.sqrt(np.abs(net))
        return np.maximum(max(1.0, self.owed), float(SIZE_PREMIUM_BLEND) * self.owed + root)


class ScreenProfit:
    """What unrealised results count for, by default in maintenance; as they are without a rule."""

    def __init__(self, rule: Profit | None, *, initial: bool = False) -> None:
        self._rule = rule is not None
        self.after_requirement = rule is not None and rule.after_requirement
        self._weight, self._factor, self._cap = 1.0, 0.0, np.inf
        if rule is None:
            return
        self._weight = float(rule.weight)
        if initial:
            if rule.initial_weight is not None:
                self._weight = float(rule.initial_weight)
            self._factor = float(rule.initial_size_factor)
            self._cap = np.inf if rule.initial_cap is None else float(rule.initial_cap)

    def counted(self, result: Floats, required: Floats) -> Floats:
        """Return each result at its weight."""
        if not self._rule:
            return result
        rest = result - required if self.after_requirement else result
        gain = np.maximum(rest, 0.0)
        share: float | Floats = self._weight
        if self._factor:
            discount = float(SIZE_DISCOUNT) / (1.0 + self._factor * np.sqrt(gain))
            share = np.minimum(self._weight, discount)
        return np.where(rest > 0, np.minimum(gain * share, self._cap), rest)
