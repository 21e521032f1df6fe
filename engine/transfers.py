"""Transfers: positions that those who are named are to take, without the market."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine.decisions import Side
from engine.instruments import Listed
from engine.margin import fill_cost
from engine.money import ONE, ZERO, ceil_to
from engine.rules import Rules

if TYPE_CHECKING:
    from engine.book import Group
    from engine.core import Engine
    from engine.liquidation import Layer, Order

GroupKey = tuple[str, str]
"""Account and margin."""


class Closing(NamedTuple):
    """What is left to close of a leg, unsigned, with its mark and its bankruptcy price as shown."""

    symbol: str
    side: Side
    size: Decimal
    bankruptcy: Decimal | None
    mark: Decimal


class Transfer(NamedTuple):
    """What a counterparty (account, margin) is to take at a price.

    `capacity` is the size that it could take; `rank`, `score` and what it forgoes (settlement
    asset) are of deleveraging.
    """

    layer: Layer
    counterparty: tuple[str, str]
    size: Decimal
    price: Decimal
    capacity: Decimal = ZERO
    rank: int = 0
    score: Decimal = ZERO
    forgone: Decimal = ZERO


def asks(group: Group, symbol: str, layer: Layer, counterparty: GroupKey) -> bool:
    """Tell whether a counterparty can still be called to take a group's position in a symbol."""
    liquidation = group.liquidation
    return liquidation is None or (symbol, layer, *counterparty) not in liquidation.passed


class Promise(NamedTuple):
    """What live transfers of one symbol and side against a group have still to fill together:
    `size` unsigned, `cost` what that costs the group at their prices (settlement asset)."""

    size: Decimal = ZERO
    cost: Decimal = ZERO


class Measured:
    """What transfers come to together by some measure, remembered while what they are measured at
    stays the same."""

    def __init__(self, orders: Mapping[str, Order]) -> None:
        self._orders = orders
        self._new: dict[str, Order] = {}
        self._known: dict[str, Decimal] = {}
        self._total = ZERO
        self._at: object = None

    def follow(self, order: Order) -> None:
        """Take over an order with what it has left now."""
        self.drop(order)
        self._new[order.id] = order

    def drop(self, order: Order) -> None:
        """Forget an order."""
        self._new.pop(order.id, None)
        self._total -= self._known.pop(order.id, ZERO)

    def total(self, at: object, measure: Callable[[Order], Decimal]) -> Decimal:
        """Return what the orders come to together, each measured at `at`."""
        if at != self._at:
            self._at, self._total = at, ZERO
            self._known, self._new = {}, dict(self._orders)
        for order in self._new.values():
            self._known[order.id] = measure(order)
            self._total += self._known[order.id]
        self._new.clear()
        return self._total


class Followed:
    """Live transfers of one layer and symbol to one counterparty, and what they come to: in
    notional (numeraire), and in what they may still cost who takes them (settlement asset)."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self.notional, self.loss = Measured(self._orders), Measured(self._orders)

    def __bool__(self) -> bool:
        return bool(self._orders)

    def follow(self, order: Order) -> None:
        """Take over an order with what it has left now."""
        self._orders[order.id] = order
        self.notional.follow(order)
        self.loss.follow(order)

    def drop(self, order: Order) -> None:
        """Forget an order."""
        del self._orders[order.id]
        self.notional.drop(order)
        self.loss.drop(order)


class Transfers:
    """Live transfers by counterparty, in sums: what nobody takes a second time of them."""

    def __init__(self) -> None:
        self._parts: dict[str, Promise] = {}
        self._against: dict[GroupKey, dict[tuple[str, Side], Promise]] = {}
        self._layers: dict[Layer, dict[tuple[GroupKey, str], Followed]] = {}

    def follow(self, order: Order, rules: Rules) -> None:
        """Take over what a live transfer has left."""
        if order.id in self._parts:
            self._count(order, self._parts.pop(order.id), -1)
        instrument, unit = rules.derivatives[order.symbol], rules.settle_of(order.symbol).unit
        size = order.unfilled
        signed = size if order.side == "sell" else -size
        part = Promise(size, fill_cost(instrument, signed, order.limit, unit))
        self._parts[order.id] = part
        self._count(order, part, 1)
        layer, key = self._layers.setdefault(order.layer, {}), (order.counterparty, order.symbol)
        layer.setdefault(key, Followed()).follow(order)

    def drop(self, order: Order) -> None:
        """Forget a transfer that is not live any more."""
        self._count(order, self._parts.pop(order.id), -1)
        layer, key = self._layers[order.layer], (order.counterparty, order.symbol)
        layer[key].drop(order)
        if not layer[key]:
            del layer[key]

    def _count(self, order: Order, part: Promise, sign: int) -> None:
        promised = self._against.setdefault(order.counterparty, {})
        size, cost = promised.pop((order.symbol, order.side), Promise())
        size, cost = size + sign * part.size, cost + sign * part.cost
        if size:
            promised[order.symbol, order.side] = Promise(size, cost)
        elif not promised:
            del self._against[order.counterparty]

    def against(self, group: GroupKey) -> Mapping[tuple[str, Side], Promise]:
        """Return what is promised against a group, by symbol and by the side of who is closed."""
        return self._against.get(group, {})

    def unfilled(self, group: GroupKey, symbol: str) -> Decimal:
        """Return the size that live transfers in a symbol against a group have still to fill."""
        promised = self._against.get(group)
        if not promised:
            return ZERO
        sides: tuple[Side, Side] = ("buy", "sell")
        return sum(
            (promised[symbol, side].size for side in sides if (symbol, side) in promised), ZERO
        )

    def of(self, layer: Layer, group: GroupKey | None = None) -> Iterator[tuple[str, Followed]]:
        """Yield the live transfers of a layer (to one counterparty, where given), with their
        symbols."""
        for (counterparty, symbol), followed in self._layers.get(layer, {}).items():
            if group in (None, counterparty):
                yield symbol, followed


def loss(instrument: Listed, side: Side, price: Decimal, mark: Decimal) -> tuple[Decimal, Decimal]:
    """Return what taking a unit of size at `price` rather than at the mark loses, as numerator and
    divisor; ≤ 0 for a gain."""
    gap = price - mark if side == "sell" else mark - price
    if instrument.inverse:
        return instrument.multiplier * gap, price * mark
    return instrument.multiplier * gap, ONE


def outstanding_loss(engine: Engine, symbol: str, followed: Followed) -> Decimal:
    """Return what live transfers in a symbol may still cost who takes them, at the mark of now, in
    the settlement asset."""
    mark = engine.markets.price(symbol, "mark")
    if mark is None:
        raise LookupError(f"{symbol}: taken over without a mark")
    instrument, unit = engine.rules.derivatives[symbol], engine.rules.settle_of(symbol).unit

    def measure(order: Order) -> Decimal:
        lost, divisor = loss(instrument, order.side, order.limit, mark)
        return ceil_to(max(lost, ZERO) * order.unfilled, unit, divisor)

    return followed.loss.total(mark, measure)
