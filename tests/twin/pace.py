"""How much may go out to the market now."""

from __future__ import annotations

from fractions import Fraction

from tests.twin.amounts import ONE, ZERO, floor
from tests.twin.books import Order, World
from tests.twin.terms import named
from tests.twin.values import notional

SECOND = 1_000_000


def most(world: World, symbol: str, more: int = 0) -> Fraction | None:
    """Return the largest size of an order that may go out in a symbol now, after so many more: 0
    where it is not open, none where nothing limits it."""
    pace = world.rules.source.liquidation.pace
    in_event = _sent(world.sent_in_event, world.seq) + more
    in_second = _sent(world.sent_in_second, world.time // SECOND) + more
    live = [order for _, order in world.live_orders() if order.in_market and order.symbol == symbol]
    stuck = pace.unfilled is not None and world.unfilled[symbol] >= pace.unfilled and bool(live)
    if (
        world.is_halted(symbol)
        or (pace.per_event is not None and in_event >= pace.per_event)
        or (pace.per_second is not None and in_second >= pace.per_second)
        or stuck
    ):
        return ZERO
    return _largest(world, symbol, live)


def _largest(world: World, symbol: str, live: list[Order]) -> Fraction | None:
    """Return what live orders leave of a limit of what may be in flight."""
    pace = world.rules.source.liquidation.pace
    terms, mark = world.contracts[symbol], world.price(symbol, "mark")
    limit = named(pace.in_flight, symbol, terms)
    if limit is None:
        return None
    assert mark is not None
    unit = world.unit(terms.settle)
    flying = sum((max(ZERO, order.size - order.filled) for order in live), ZERO)
    left, each = (
        Fraction(limit) - notional(terms, flying, mark, unit),
        notional(terms, ONE, mark, unit),
    )
    if not each:
        return None
    size = floor(left / each, terms.lot) if left >= Fraction(limit) / 100 else ZERO
    return size if live else max(size, terms.lot)


def fits(world: World, sizes: dict[str, Fraction]) -> bool:
    """Tell whether orders could all go out at once while nothing else is live or was sent."""
    pace = world.rules.source.liquidation.pace
    for count in (pace.per_event, pace.per_second):
        if count is not None and len(sizes) > count:
            return False
    limits = {symbol: _largest(world, symbol, []) for symbol in sizes}
    return all(limit is None or sizes[symbol] <= limit for symbol, limit in limits.items())


def passing(world: World, sizes: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return how much of each order would go out now, if they were sent one after the other."""
    found = dict[str, Fraction]()
    for symbol, size in sizes.items():
        limit = most(world, symbol, more=len(found))
        if limit != 0:
            found[symbol] = size if limit is None else min(size, limit)
    return found


def is_open(world: World, symbol: str) -> bool:
    """Tell whether an order may go out in a symbol now."""
    return most(world, symbol) != 0


def count_order(world: World) -> None:
    """Count an order that went out to the market."""
    second = world.time // SECOND
    world.sent_in_event = (world.seq, _sent(world.sent_in_event, world.seq) + 1)
    world.sent_in_second = (second, _sent(world.sent_in_second, second) + 1)


def _sent(counted: tuple[int, int], period: int) -> int:
    return counted[1] if counted[0] == period else 0
