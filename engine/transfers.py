"""Transfers: positions that those who are named are to take, without the market."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine import funds
from engine.decisions import Side
from engine.instruments import Listed
from engine.money import ZERO, floor_to

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


class Transfers:
    """Live transfers by counterparty: what nobody takes a second time of them."""

    def __init__(self) -> None:
        self._against: dict[GroupKey, dict[str, Order]] = {}

    def add(self, order: Order) -> None:
        """Count a transfer that went out."""
        self._against.setdefault(order.counterparty, {})[order.id] = order

    def remove(self, order: Order) -> None:
        """Count a transfer no more."""
        held = self._against[order.counterparty]
        del held[order.id]
        if not held:
            del self._against[order.counterparty]

    def against(self, group: GroupKey) -> list[Order]:
        """Return the live transfers against a group, by id."""
        held = self._against.get(group)
        return sorted(held.values(), key=lambda order: order.id) if held else []

    def unfilled(self, group: GroupKey, symbol: str) -> Decimal:
        """Return the size that live transfers in a symbol against a group have still to fill."""
        held = self._against.get(group)
        if not held:
            return ZERO
        return sum((one.unfilled for one in held.values() if one.symbol == symbol), ZERO)

    def of(self, layer: Layer) -> Iterator[Order]:
        """Yield the live transfers of a layer."""
        for held in self._against.values():
            yield from (order for order in held.values() if order.layer == layer)


def settle_with_fund(
    engine: Engine, order: Order, closed: Decimal, instrument: Listed, unit: Decimal
) -> None:
    """Pay the account of the fund what the part of a leg that it took has lost at the mark.

    In whole units, as far as the funds of the market go and its balance may grow; `closed` has the
    leg's sign.
    """
    mark, asset = engine.markets.price(order.symbol, "mark"), instrument.settle
    if mark is None:
        raise LookupError(f"{order.symbol}: taken over without a mark")
    loss = instrument.value(closed, order.limit, unit) - instrument.value(closed, mark, unit)
    taker = engine.group_of(*order.counterparty)
    room = engine.rules.assets[asset].largest - engine.book.cash_of(taker, asset)
    due = floor_to(max(min(loss, room), ZERO), unit)
    paid = funds.take(engine, asset, order.symbol, due)
    if paid:
        engine.book.add_cash(taker, asset, paid)
        engine.touch(taker)
