"""How fast liquidation goes: how many orders at a time, and how much of a market.

docs/semantics.md, 11. What is counted is state: orders sent, by event and by second, and orders in
a row that found nobody. What is in flight is derived from the live orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from engine.book import Group
from engine.decisions import Waits
from engine.liquidation_profile import SECOND, Pace
from engine.margin import Health, notional
from engine.money import ONE, ZERO, floor_to
from engine.planning import presses, pressing_below
from engine.profile import by_symbol
from engine.rules import Rules

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.liquidation import Liquidation, Order
    from engine.planning import PlannedOrder


LEAST_ROOM = Decimal("0.01")
"""The part of a limit of what is in flight below which there is no room: every tick would open some
for an order of dust."""


HELD_BACK: tuple[Waits, ...] = ("capped", "toxic")
"""What orders that were planned and did not go out wait for."""


NEVER = 2**62
"""A time that does not come."""


class Sent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many orders went to the market in event number `seq`, and in `second` of engine time."""

    seq: int = 0
    in_event: int = 0
    second: int = 0
    in_second: int = 0


class Flight:
    """What live market orders have left to fill, by symbol."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, Decimal]] = {}
        self._left: dict[str, Decimal] = {}

    def follow(self, order: Order) -> None:
        """Take over what a live order has left, if it is in the market."""
        if not order.is_market:
            return
        orders = self._orders.setdefault(order.symbol, {})
        left = max(order.size - order.filled, ZERO)
        before = orders.get(order.id, ZERO)
        self._left[order.symbol] = self.left(order.symbol) + left - before
        orders[order.id] = left

    def drop(self, order: Order) -> None:
        """Forget an order that is not live any more."""
        left = self._orders.get(order.symbol, {}).pop(order.id, None)
        if left is not None:
            self._left[order.symbol] -= left

    def left(self, symbol: str) -> Decimal:
        """Return the size that live orders have left together."""
        return self._left.get(symbol, ZERO)

    def busy(self, symbol: str) -> bool:
        """Tell whether any order is live."""
        return bool(self._orders.get(symbol))


def fitted(engine: Engine, order: PlannedOrder) -> PlannedOrder | None:
    """Return an order as large as there is room for it, none where nothing of it may go out now."""
    return _cut(engine, order) if order.size and may_send(engine) else None


def passing(engine: Engine, orders: tuple[PlannedOrder, ...]) -> tuple[PlannedOrder, ...]:
    """Return what of orders in different symbols would go out now, each as large as there is room
    for it."""
    left = _counts_left(engine)
    found: list[PlannedOrder] = []
    for order in orders:
        if left is not None and len(found) >= left:
            break
        cut = _cut(engine, order)
        if cut is not None:
            found.append(cut)
    return tuple(found)


def _cut(engine: Engine, order: PlannedOrder) -> PlannedOrder | None:
    """Return an order as large as its market has room for it, none where that has none."""
    most = room(engine, order.symbol)
    if most is None:
        return order
    return order._replace(size=min(order.size, most)) if most else None


def fits(engine: Engine, orders: tuple[PlannedOrder, ...]) -> bool:
    """Tell whether orders in different symbols could ever go out at once: while nothing is live,
    and no other was sent."""
    rule = _rule(engine)
    if any(most is not None and len(orders) > most for most in (rule.per_event, rule.per_second)):
        return False
    largest = ((order.size, _largest(engine, order.symbol, ZERO)) for order in orders)
    return all(most is None or size <= most for size, most in largest)


def may_send(engine: Engine) -> bool:
    """Tell whether the counts of orders leave room for another."""
    return _counts_left(engine) != 0


def _counts_left(engine: Engine) -> int | None:
    """Return how many orders the counts leave room for, none for any number."""
    rule, sent = _rule(engine), engine.sent
    in_event = sent.in_event if sent.seq == engine.seq else 0
    in_second = sent.in_second if sent.second == engine.time // SECOND else 0
    counts = ((rule.per_event, in_event), (rule.per_second, in_second))
    return min((max(most - done, 0) for most, done in counts if most is not None), default=None)


def room(engine: Engine, symbol: str) -> Decimal | None:
    """Return the largest size that an order in a symbol may have now, whatever the counts say: none
    for any, 0 where no order may go out."""
    rule, flight = _rule(engine), engine.flight
    if engine.rules.halts(symbol):
        return ZERO
    unfilled = engine.markets.unfilled.get(symbol, 0)
    if rule.unfilled is not None and unfilled >= rule.unfilled and flight.busy(symbol):
        return ZERO
    return _largest(engine, symbol, flight.left(symbol))


def _largest(engine: Engine, symbol: str, flying: Decimal) -> Decimal | None:
    """Return what a limit of what is in flight leaves for an order beside so much that is live,
    none where nothing limits it."""
    listed = engine.rules.derivatives[symbol]
    limit = by_symbol(_rule(engine).in_flight, symbol, listed.underlying)
    mark = engine.markets.price(symbol, "mark")
    if limit is None or mark is None:
        return None
    unit = engine.rules.settle_of(symbol).unit
    left, each = (notional(listed, x, mark, unit) for x in (flying, ONE))
    if not each:
        return None  # A worthless option takes up no room.
    least = ZERO if flying else listed.lot
    if limit - left < limit * LEAST_ROOM:
        return least
    return max(floor_to(limit - left, listed.lot, each), least)


def by_market(engine: Engine) -> bool:
    """Tell whether there may be room for an order in one symbol, and not in another."""
    rule = _rule(engine)
    return bool(rule.in_flight) or rule.unfilled is not None


class Wait(NamedTuple):
    """When what is held back is planned anew, beside room in what it awaits: from `again_at` on
    where it presses, which it may from a ratio of margin equity to maintenance of `below` on (none:
    never for that), or, `capped`, where any of its symbols is open; from `latest` on in any case
    (microseconds UTC)."""

    again_at: int
    latest: int
    below: Decimal | None
    capped: bool


def wait_of(rules: Rules, liquidation: Liquidation) -> Wait:
    """Return when a liquidation that is held back is planned anew."""
    rule = rules.in_force.liquidation
    again_at, capped = liquidation.again_at, liquidation.waits == "capped"
    minds = not capped or bool(rules.in_force.waterfall.takers)
    latest = NEVER if capped else again_at + rule.order_ttl
    if rule.netting or (minds and liquidation.backstop):
        latest = again_at
    return Wait(again_at, latest, pressing_below(rules) if minds else None, capped)


def held_back(engine: Engine, group: Group, state: Health | None) -> bool:
    """Tell whether the orders of a group wait for room, or for their plan not to be toxic, and are
    not to be planned anew yet."""
    liquidation, now = group.liquidation, engine.time
    if liquidation is None or state is None or liquidation.waits not in HELD_BACK:
        return False
    if _any_open(engine, liquidation.awaits):
        return False
    wait = wait_of(engine.rules, liquidation)
    if now < wait.again_at or now >= wait.latest:
        return now < wait.again_at
    if wait.below is not None and presses(state, engine.rules, liquidation):
        return False
    return not (wait.capped and _any_open(engine, group.symbols))


def _any_open(engine: Engine, symbols: Iterable[str]) -> bool:
    return may_send(engine) and any(room(engine, symbol) != 0 for symbol in symbols)


def hold_back(engine: Engine, liquidation: Liquidation, symbols: Iterable[str] = ()) -> None:
    """Have orders be planned anew in a second, or once there is room in one of the symbols."""
    liquidation.awaits = tuple(symbols)
    liquidation.again_at = engine.time + SECOND


def note_sent(engine: Engine) -> None:
    """Count an order that goes to the market."""
    sent, second = engine.sent, engine.time // SECOND
    in_event = sent.in_event if sent.seq == engine.seq else 0
    in_second = sent.in_second if sent.second == second else 0
    engine.sent = Sent(engine.seq, in_event + 1, second, in_second + 1)


def note_filled(engine: Engine, order: Order) -> None:
    """Take note that an order in the market was filled, at least in part."""
    if order.is_market and engine.markets.unfilled.pop(order.symbol, 0):
        engine.changed.markets.add(order.symbol)


def note_unfilled(engine: Engine, order: Order) -> None:
    """Count an order in the market that found nobody in its time."""
    if order.is_market and not order.filled and _rule(engine).unfilled is not None:
        unfilled = engine.markets.unfilled
        unfilled[order.symbol] = unfilled.get(order.symbol, 0) + 1
        engine.changed.markets.add(order.symbol)


def drop_unruled(engine: Engine) -> None:
    """Forget unfilled orders where the profile in force does not count them."""
    if _rule(engine).unfilled is None:
        engine.changed.markets.update(engine.markets.unfilled)
        engine.markets.unfilled.clear()


def _rule(engine: Engine) -> Pace:
    return engine.rules.in_force.liquidation.pace
