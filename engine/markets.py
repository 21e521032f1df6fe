"""What is known of markets: prices, and what a venue tells of them or they tell of themselves."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from engine.decisions import MarkUsed
from engine.money import ONE

if TYPE_CHECKING:
    from engine.options import OptionInputs
    from engine.pools import Indices, LendingPool
    from engine.volatility import VolatilityState


_TABLES = (
    "now", "averages", "interest", "pools", "options", "volatilities", "lending", "indices"
)  # fmt: skip
"""Everything but prices that margin depends on."""


class HeldPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price that is not taken: the last of `count` in a row, the first of which came at `since`
    (microseconds UTC)."""

    price: Decimal
    since: int
    count: int


class Markets:
    """Everything about markets that margin depends on, and what holds liquidation in them back.

    `now` is engine time. `prices` and `averages` by (symbol, kind), `interest` (long size, short
    size) by symbol, `pools` (deposits, borrows) by asset, `options` and `volatilities` by symbol,
    `lending` by pool; `indices` remembers those of a pool at a time, and is derived. `held` are
    prices by (symbol, kind) that wait for a second one; by symbol `flow` is what forced orders
    closed (second, size), `unfilled` counts orders in a row that found nobody.
    """

    def __init__(self) -> None:
        self.now = 0
        self.prices: MutableMapping[tuple[str, str], MarkUsed] = {}
        self.averages: dict[tuple[str, str], Decimal] = {}
        self.interest: dict[str, tuple[Decimal, Decimal]] = {}
        self.pools: dict[str, tuple[Decimal, Decimal]] = {}
        self.options: dict[str, OptionInputs] = {}
        self.volatilities: dict[str, VolatilityState] = {}
        self.lending: dict[str, LendingPool] = {}
        self.indices: dict[str, tuple[LendingPool, int, Indices]] = {}
        self.held: dict[tuple[str, str], HeldPrice] = {}
        self.flow: dict[str, list[tuple[int, Decimal]]] = {}
        self.unfilled: dict[str, int] = {}

    def price(self, symbol: str, kind: str) -> Decimal | None:
        """Return a price, if there is one."""
        found = self.prices.get((symbol, kind))
        return None if found is None else found.price

    def initial_factor(self, symbol: str) -> Decimal:
        """Return the factor of volatility on the initial requirement of a symbol."""
        state = self.volatilities.get(symbol)
        return ONE if state is None else state.initial

    def maintenance_factor(self, symbol: str) -> Decimal:
        """Return the factor of volatility on the maintenance requirement of a symbol."""
        state = self.volatilities.get(symbol)
        return ONE if state is None else state.maintenance

    def with_price(self, symbol: str, price: Decimal) -> Markets:
        """Return the same markets but for the mark of one symbol."""
        mark = self.prices[symbol, "mark"]
        other = Markets()
        for name in _TABLES:
            setattr(other, name, getattr(self, name))
        changed = {(symbol, "mark"): msgspec.structs.replace(mark, price=price)}
        other.prices = ChainMap(changed, self.prices)
        return other
