"""Liquidation prices: the marks of a leg between which its group is not breached.

Every price that is tried values the whole account anew (brackets, weights, profit there), so what
is found is true by construction. The slack of margin equity over maintenance is concave in the
price, or in its reciprocal: healthy at two prices, the group is so between them. That holds for
portfolios too, whose worst loss is the largest of losses that are straight lines there. Only where
brackets are for the whole position it jumps at their caps, and holds between two of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from engine.holdings import Holdings
from engine.margin import breached, health
from engine.markets import Markets
from engine.money import ONE, exact, floor_to
from engine.rules import Rules

DOUBLINGS = (1, 4, 12, 40)
"""How often the mark is doubled in search of a price above: beyond 10^12 times the mark is none."""

PEAK_STEPS = 400
"""How often an interval that must hold the largest slack is cut by a third in search of it."""


class LiquidationPrices(NamedTuple):
    """The marks below and above which the group is breached; none where there is no such price."""

    below: Decimal | None
    above: Decimal | None


class _Slack(NamedTuple):
    """Whether a group is breached, and by how much it is not."""

    breached: bool
    amount: Decimal


@exact
def liquidation_prices(
    symbol: str, holdings: Holdings, rules: Rules, markets: Markets
) -> LiquidationPrices:
    """Return the liquidation prices of a leg, true for the whole group.

    Other marks and all index prices are held. Multiples of the instrument's price resolution: at
    the price found the group is not breached, one unit beyond it is. Where it is breached at the
    mark, the prices between which it would not be, if there are any. Raises `LookupError` for a
    group without a leg in `symbol` or that is unpriced.
    """
    unit = rules.derivatives[symbol].price_unit

    @cache
    def at(units: int) -> _Slack:
        state = health(holdings, rules, markets.with_price(symbol, units * unit))
        if state is None:
            raise LookupError(f"liquidation price {symbol}: the group is unpriced")
        return _Slack(breached(state, rules), state.margin_equity - state.maintenance)

    mark = int(floor_to(markets.prices[symbol, "mark"].price, unit) / unit)
    edges = sorted(_edges(symbol, holdings, rules, markets, unit))
    # An option may be worth nothing.
    start = mark if not at(mark).breached else _healthy_nearby(at, max(mark, 1))
    if start is None:
        return LiquidationPrices(None, None)
    falling = [edge for edge in reversed(edges) if edge < start] + [1] * (start > 0)
    below = _last_healthy(at, start, falling)
    rising = [edge for edge in edges if edge > start]
    above = _last_healthy(
        at, start, [*rising, *(max(start, *edges, 1) << times for times in DOUBLINGS)]
    )
    return LiquidationPrices(
        None if below is None else below * unit, None if above is None else above * unit
    )


def _edges(
    symbol: str, holdings: Holdings, rules: Rules, markets: Markets, unit: Decimal
) -> set[int]:
    """Return the units of price on both sides of every place where the requirement may jump."""
    if rules.portfolio_of(symbol) is not None:
        return set()
    instrument, size = rules.derivatives[symbol], abs(holdings.legs[symbol].size)
    exposure = size * instrument.multiplier
    curve = rules.curve(symbol).brackets
    found: set[int] = set()
    if rules.curve(symbol).rule.marginal or (curve.by_size and not instrument.inverse):
        return found
    for cap in curve.caps[:-1]:
        if instrument.inverse:
            units = int(floor_to(exposure, unit, cap) / unit)
        else:
            units = int(floor_to(cap, unit, exposure) / unit)
        found |= {units - 1, units, units + 1}
    return {units for units in found if units > 0}


def _last_healthy(at: Callable[[int], _Slack], start: int, stations: Iterable[int]) -> int | None:
    """Return the last price before the first breach on the way over `stations`, none without
    one."""
    healthy = start
    for station in stations:
        if not at(station).breached:
            healthy = station
            continue
        return _border(at, healthy, station)
    return None


def _border(at: Callable[[int], _Slack], healthy: int, failing: int) -> int:
    """Return the last price before the breach between two prices.

    By the line through both slacks, which is right at once where the slack is straight, and by
    halving every other time, which always comes to an end.
    """
    halve = False
    while abs(failing - healthy) > 1:
        if halve:
            tried = (failing + healthy) // 2
        else:
            left, lacking = at(healthy).amount, -at(failing).amount
            way = floor_to(abs(failing - healthy) * left, ONE, left + lacking or ONE)
            step = min(max(int(way), 1), abs(failing - healthy) - 1)
            tried = healthy + step if failing > healthy else healthy - step
        if at(tried).breached:
            failing = tried
        else:
            healthy = tried
        halve = not halve and abs(failing - healthy) > 2
    return healthy


def _healthy_nearby(at: Callable[[int], _Slack], mark: int) -> int | None:
    """Return a price at which a breached group would not be: where its slack is largest."""
    low, high = 1, mark
    for _ in range(DOUBLINGS[-1]):
        if not at(high).breached:
            return high
        if at(high * 2).amount <= at(high).amount:
            break
        low, high = high, high * 2
    high *= 2
    for _ in range(PEAK_STEPS):
        third = (high - low) // 3
        if third == 0:
            break
        lower, upper = low + third, high - third
        if not at(lower).breached:
            return lower
        if not at(upper).breached:
            return upper
        if at(lower).amount < at(upper).amount:
            low = lower
        else:
            high = upper
    return next((units for units in range(low, high + 1) if not at(units).breached), None)
