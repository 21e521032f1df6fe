"""What a price does to the portfolios of a book: the screen, kept beside the exact numbers.

What every group's portfolios needed when it was last looked at or screened is kept by underlying; a
price of one of its symbols gives what they need now, and so by how much that rose. The error of
these numbers is far below what `watch` allows for, a part of the underlying's worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.leg_table import FIRST_CAPACITY
from engine.portfolio_screen import PortfolioScreen, ScreenLegs, UnitResults
from engine.portfolios import portfolio_leg, underlying_of
from engine.rules import Rules

if TYPE_CHECKING:
    from engine.book import Book
    from engine.markets import Markets

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class _Family(NamedTuple):
    """The symbols of one underlying; without a screen where not all go by the same rule."""

    symbols: list[str]
    screen: PortfolioScreen | None


class PortfolioWatch:
    """What the portfolios of every group need, by underlying, in floats."""

    def __init__(self, book: Book, rules: Rules, markets: Markets) -> None:
        self._book = book
        self._rules = rules
        self._markets = markets
        self._families: dict[str, _Family] = {}
        self._units: dict[str, tuple[object, UnitResults]] = {}
        self._required: dict[str, Floats] = {}

    def new_rules(self) -> None:
        """Take over changed rules; every group is to be noted again after."""
        self._families, self._units, self._required = {}, {}, {}
        symbols: dict[str, list[str]] = {}
        for symbol, listed in sorted(self._rules.derivatives.items()):
            if self._rules.portfolio_of(symbol) is not None:
                symbols.setdefault(underlying_of(listed), []).append(symbol)
        for underlying, found in symbols.items():
            grid, *others = [self._rules.grid_of(symbol) for symbol in found]
            alike = grid is not None and all(other is grid for other in others)
            screen = PortfolioScreen(grid) if grid is not None and alike else None
            self._families[underlying] = _Family(found, screen)
            self._required[underlying] = np.zeros(FIRST_CAPACITY)

    def note(self, row: int, portfolios: Mapping[str, Decimal]) -> None:
        """Take over what a group's portfolios need, exactly."""
        for underlying, needs in portfolios.items():
            self._column(underlying)[row] = float(needs)

    def settled_in(self, asset: str) -> dict[str, Rows]:
        """Return the rows of the groups with portfolio legs settled in `asset`, by underlying."""
        found: dict[str, Rows] = {}
        for underlying, family in self._families.items():
            tables = [self._book.legs[symbol] for symbol in family.symbols]
            rows = [one.group[: len(one)] for one in tables if one.settle.name == asset]
            if any(map(len, rows)):
                found[underlying] = np.unique(np.concatenate(rows))
        return found

    def required(self) -> Iterator[tuple[Rows, Floats]]:
        """Yield the rows of the groups with a portfolio of each underlying, and what it needs, as
        it was last seen."""
        for underlying, family in self._families.items():
            tables = [self._book.legs[symbol] for symbol in family.symbols]
            rows = np.unique(np.concatenate([table.group[: len(table)] for table in tables]))
            yield rows, self._column(underlying)[rows]

    def raised(self, underlying: str, rows: Rows) -> Floats | None:
        """Return by how much a portfolio of these groups needs more than when it was last seen, in
        the numeraire; none where only the exact numbers can tell."""
        screen = self._families[underlying].screen
        if screen is None:
            return None
        needs, _ = screen.requirements(rows, self._legs(underlying, screen))
        column = self._column(underlying)
        risen: Floats = needs - column[rows]
        column[rows] = needs
        return risen

    def _legs(self, underlying: str, screen: PortfolioScreen) -> list[ScreenLegs]:
        found = []
        for symbol in self._families[underlying].symbols:
            table = self._book.legs[symbol]
            count = len(table)
            unit = self._unit(symbol, screen) if count else None
            if unit is not None:
                found.append(ScreenLegs(table.group[:count], table.exposure[:count], unit))
        return found

    def _unit(self, symbol: str, screen: PortfolioScreen) -> UnitResults | None:
        """Return what a unit of a symbol is at the prices of now, none while one is missing: its
        holders are unpriced."""
        rules, markets = self._rules, self._markets
        listed, mark = rules.derivatives[symbol], markets.price(symbol, "mark")
        price = rules.price_of(listed.settle, markets)
        if mark is None or price is None:
            return None
        now = mark, price, markets.options.get(symbol)
        known = self._units.get(symbol)
        if known is None or known[0] != now:
            leg = portfolio_leg(symbol, listed.lot, mark, rules, markets, price)
            known = self._units[symbol] = now, screen.unit(leg, rules.closing_rate(symbol))
        return known[1]

    def _column(self, underlying: str) -> Floats:
        column = self._required[underlying]
        if len(column) < self._book.capacity:
            room = self._book.capacity - len(column)
            column = self._required[underlying] = np.concatenate([column, np.zeros(room)])
        return column
