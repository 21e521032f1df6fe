"""How much may go out to the market now."""

from __future__ import annotations

from fractions import Fraction

from tests.twin.amounts import ZERO, floor
from tests.twin.books import World
from tests.twin.terms import named
from tests.twin.values import LegHealth, notional

SECOND = 1_000_000


def room(world: World, leg: LegHealth, size: Fraction) -> Fraction:
    """Return how much of a size an order to the market may have now, 0 where none may go out."""
    pace, symbol = world.rules.source.liquidation.pace, leg.symbol
    in_event = _sent(world.sent_in_event, world.seq)
    in_second = _sent(world.sent_in_second, world.time // SECOND)
    if pace.per_event is not None and in_event >= pace.per_event:
        return ZERO
    if pace.per_second is not None and in_second >= pace.per_second:
        return ZERO
    live = [order for _, order in world.live_orders() if order.in_market and order.symbol == symbol]
    if pace.unfilled is not None and world.unfilled[symbol] >= pace.unfilled and live:
        return ZERO
    terms = world.contracts[symbol]
    limit = named(pace.in_flight, symbol, terms)
    if limit is None:
        return size
    unit = world.unit(terms.settle)
    free = Fraction(limit) - sum(
        (notional(terms, order.size - order.filled, leg.mark, unit) for order in live), ZERO
    )
    each = notional(terms, Fraction(1), leg.mark, unit)
    return min(size, max(ZERO, floor(free / each, terms.lot))) if each else size


def count_order(world: World) -> None:
    """Count an order that went out to the market."""
    second = world.time // SECOND
    world.sent_in_event = (world.seq, _sent(world.sent_in_event, world.seq) + 1)
    world.sent_in_second = (second, _sent(world.sent_in_second, second) + 1)


def _sent(counted: tuple[int, int], period: int) -> int:
    return counted[1] if counted[0] == period else 0
