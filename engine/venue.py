"""Simulated execution: what an order gets in a book that gives way and recovers.

One `SimulatedMarket` stands beside one mark price. Trading displaces its own price from the mark,
by 1 % for each `depth` of notional (settlement asset, at the mark); the displacement halves every
`half_life`. An order trades along that line from where the book stands to its limit, so it pays
the displaced price and half its own impact; what the limit leaves over rests. The mark is given,
never moved.

Displacements are floats and belong to the simulation; the sizes and prices that come out are exact,
in lots and price units, and never beyond the order's limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from engine.money import RATE_STEP, ZERO, ceil_to, exact, floor_to

HALF_LIFE = 60_000_000
"""Microseconds in which half of a displacement is gone."""

PER_DEPTH = 0.01
"""The move, as a fraction of the mark, that trading one `depth` makes."""


class Conditions(NamedTuple):
    """A market at `time` (microseconds UTC): its mark, and the notional that moves it by 1 %."""

    mark: Decimal
    depth: float
    time: int


class Trade(NamedTuple):
    """A part of an order, signed `size` at `price`, and the displacement that it leaves behind."""

    order_id: str
    size: Decimal
    price: Decimal
    displacement: float


@dataclass(slots=True)
class Working:
    """An order in the market: signed size, limit, smallest part, and what was filled (unsigned)."""

    order_id: str
    size: Decimal
    limit: Decimal
    lot: Decimal
    filled: Decimal = ZERO

    @property
    def left(self) -> Decimal:
        """What is unfilled, unsigned."""
        return abs(self.size) - self.filled


class SimulatedMarket:
    """The orders working in one market, in order of arrival, and how far they have pushed it."""

    def __init__(self, price_decimals: int, half_life: int = HALF_LIFE) -> None:
        self.working: dict[str, Working] = {}
        self.displacement = 0.0
        self._since = 0
        self._price_decimals = price_decimals
        self._half_life = half_life

    def displaced(self, time: int) -> float:
        """Return the distance from the mark at `time`, as a fraction of the mark."""
        if not self.displacement:
            return 0.0
        return self.displacement * math.pow(0.5, (time - self._since) / self._half_life)

    def submit(self, order: Working, now: Conditions) -> Trade | None:
        """Take in `order` and trade what can be traded at once.

        Raises `ValueError` for an order without size, or whose id works already.
        """
        if not order.size:
            raise ValueError(f"venue: order {order.order_id}: size is zero")
        if order.order_id in self.working:
            raise ValueError(f"venue: order {order.order_id}: works already")
        self.working[order.order_id] = order
        return self._trade(order, now)

    def match(self, now: Conditions) -> list[Trade]:
        """Trade what the resting orders can get now, first come first served."""
        trades = (self._trade(order, now) for order in list(self.working.values()))
        return [trade for trade in trades if trade is not None]

    def cancel(self, order_id: str) -> Working | None:
        """Take an order out and return it; None when it does not work any more."""
        return self.working.pop(order_id, None)

    def quote(self, order: Working, now: Conditions) -> Trade | None:
        """Return what `order` would trade now; None when its limit allows not one lot."""
        buys = order.size > 0
        sign = 1 if buys else -1
        mark, start = float(now.mark), self.displaced(now.time)
        room = sign * (float(order.limit) / mark - 1 - start)
        if room <= 0:
            return None
        size = _within(order, room / PER_DEPTH * now.depth / mark)
        if not size:
            return None
        impact = sign * float(size) * mark / now.depth * PER_DEPTH
        price = self._rounded(mark * (1 + start + impact / 2), buys)
        price = min(price, order.limit) if buys else max(price, order.limit)
        return Trade(order.order_id, size.copy_sign(order.size), price, start + impact)

    def _trade(self, order: Working, now: Conditions) -> Trade | None:
        trade = self.quote(order, now)
        if trade is None:
            return None
        self.displacement, self._since = trade.displacement, now.time
        order.filled += abs(trade.size)
        if not order.left:
            del self.working[order.order_id]
        return trade

    def _rounded(self, price: float, up: bool) -> Decimal:
        """Round to a price unit, against the taker; at least one unit."""
        units = price * 10**self._price_decimals
        whole = max(1, math.ceil(units) if up else math.floor(units))
        return Decimal(whole).scaleb(-self._price_decimals)


@exact
def skewed_fill_price(
    price: Decimal, size: Decimal, skew: Decimal, skew_scale: Decimal, step: Decimal = RATE_STEP
) -> Decimal:
    """Return what a signed `size` trades at where the price goes by the skew of open positions.

    price·(1 + (skew + size/2) ÷ skew_scale): halfway between before and after the trade; skew is
    longs less shorts, in base units. Rounded to `step`, against the taker. (Synthetix v3, perps
    market, storage/AsyncOrder.sol, calculateFillPrice.)
    """
    doubled = price * (2 * skew_scale + 2 * skew + size)
    rounded = ceil_to if size > 0 else floor_to
    return rounded(doubled, step, 2 * skew_scale)


def _within(order: Working, largest: float) -> Decimal:
    """Return as much of what is left as `largest` allows, in whole lots unless it is all."""
    if float(order.left) <= largest:
        return order.left
    # A lot that only the error of a float would cut off is in; the limit is kept exactly elsewhere.
    return min(order.left, math.floor(largest / float(order.lot) + 1e-9) * order.lot)
