"""The candidates of one event in their ranking, each valued exactly only once it may be the next.

`score_screen` says in floats what everybody's score is at most. Who comes next is the one with the
highest exact score, once that is above all these bounds; so of ten thousand positions in profit a
crash that one of them absorbs values a few.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Set
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine.book import Group
from engine.decisions import Side
from engine.deleveraging import Candidate, candidate
from engine.liquidation import Order
from engine.money import ZERO
from engine.score_screen import bounds
from engine.water_screen import Open, WaterScreen

if TYPE_CHECKING:
    from engine.core import Engine

REVALUED = 64
"""With more groups than this to be valued anew, all bounds are taken anew."""


class Line:
    """The candidates of one event whose leg in a symbol `side` closes."""

    def __init__(self, engine: Engine, symbol: str, side: Side) -> None:
        self._engine = engine
        self._symbol, self._side = symbol, side
        adl = engine.rules.in_force.waterfall.adl
        rows, most = bounds(engine, symbol, side, adl.ranking if adl else "bitmex")
        self._rows, self._most = rows.tolist(), most.tolist()
        self._known: dict[Group, Candidate | None] = {}
        self._valued: list[Candidate] = []
        self._ranked: list[Candidate] = []
        lot = engine.rules.derivatives[symbol].lot
        self._open = {hedged: Open(lot) for hedged in (False, True)}
        self._free: dict[Group, Decimal] = {}
        self._changed: dict[Group, None] = {}

    def forget(self, group: Group) -> bool:
        """Value a group anew; tell whether that is one too many."""
        self._changed[group] = None
        return len(self._changed) > REVALUED

    def promise(self, group: Group) -> None:
        """Take note that more of a group's legs is promised."""
        one = self._known.get(group)
        if one is None:
            return
        self._free[group] = self._left(one)
        self._open[one.hedged].leave(one, self._free[group])

    def free(self, one: Candidate) -> Decimal:
        """Return how much of a candidate's leg no live transfer is to close."""
        return self._free[one.group]

    def among(self, *, hedged: bool) -> Iterator[Candidate]:
        """Yield the candidates who are hedged, or those who are not, that have anything free."""
        self._value_changed()
        found, place = self._open[hedged].ranked, 0
        while place < len(found) or self._advance(hedged=hedged):
            if place < len(found):
                yield found[place]
                place += 1

    def screen(self, count: int | None, *, hedged: bool, without: Set[Group]) -> WaterScreen:
        """Return the first `count` at least (all, where none is given) of whom `among` yields, but
        some groups."""
        self._value_changed()
        found = self._open[hedged]
        while count is None or len(found.ranked) < count:
            if not self._advance(hedged=hedged):
                break
        return found.screen(self._those(without))

    def rank(self, one: Candidate, without: Set[Group]) -> int:
        """Return the place of a candidate, from 1, where some groups are none."""
        before = sum(1 for other in self._those(without) if other < one)
        return bisect_left(self._ranked, one) + 1 - before

    def _those(self, groups: Set[Group]) -> Iterator[Candidate]:
        known = (self._known.get(group) for group in groups)
        return (one for one in known if one is not None)

    def _left(self, one: Candidate) -> Decimal:
        unfilled = self._engine.transfers.unfilled(one.group.key, self._symbol)
        return max(one.size - unfilled, ZERO)

    def _value(self, group: Group) -> None:
        one = self._known[group] = candidate(self._engine, group, self._symbol, self._side)
        if one is not None:
            self._free[group] = self._left(one)
            heapq.heappush(self._valued, one)

    def _value_changed(self) -> None:
        """Value anew who has changed, and put those into their places who belong before somebody
        who has one."""
        for group in self._changed:
            one = self._known.get(group)
            if one is not None:
                self._open[one.hedged].leave(one, ZERO)
                place = bisect_left(self._ranked, one)
                if self._ranked[place : place + 1] == [one]:
                    del self._ranked[place]
            self._value(group)
        self._changed.clear()
        while self._next() and self._ranked and self._valued[0] < self._ranked[-1]:
            self._place()

    def _next(self) -> bool:
        """Have the best of those who are valued and have no place in front; tell whether there is
        one."""
        while self._valued and self._known[self._valued[0].group] is not self._valued[0]:
            heapq.heappop(self._valued)
        return bool(self._valued)

    def _place(self) -> None:
        one = heapq.heappop(self._valued)
        insort(self._ranked, one)
        self._open[one.hedged].put(one, self._free[one.group])

    def _advance(self, *, hedged: bool) -> bool:
        """Put the next one in its place; tell whether there was one, hedged or not as asked."""
        while self._rows and not (self._next() and self._leads(self._valued[0])):
            self._most.pop()
            group = self._engine.book.at(self._rows.pop())
            if group not in self._known:
                self._value(group)
        if not self._next() or (self._valued[0].hedged and not hedged):
            return False
        self._place()
        return True

    def _leads(self, one: Candidate) -> bool:
        """Tell whether nobody who is not valued yet can come before a candidate."""
        return not one.hedged and float(one.score) > self._most[-1]


class Counterparties(NamedTuple):
    """The candidates that a bankrupt group finds: those of a line without some groups."""

    line: Line
    without: Set[Group]

    def among(self, *, hedged: bool) -> Iterator[Candidate]:
        """Yield who is hedged, or who is not, and has anything free, in their ranking."""
        return (one for one in self.line.among(hedged=hedged) if one.group not in self.without)

    def screen(self, count: int | None = None, *, hedged: bool) -> WaterScreen:
        """Return in floats whom `among` yields, or with a count that many of the first at least."""
        return self.line.screen(count, hedged=hedged, without=self.without)

    def free(self, one: Candidate) -> Decimal:
        """Return how much of a candidate's leg no live transfer is to close."""
        return self.line.free(one)

    def rank(self, one: Candidate) -> int:
        """Return the place of a candidate, from 1."""
        return self.line.rank(one, self.without)


class Candidates:
    """The candidates of one event, by symbol and by the side that closes their legs."""

    def __init__(self) -> None:
        self._seq = 0
        self._lines: dict[tuple[str, Side], Line] = {}

    def forget(self, group: Group) -> None:
        """Value a group anew: what it holds, or whether it is liquidated, has changed."""
        for key in [key for key, line in self._lines.items() if line.forget(group)]:
            del self._lines[key]

    def forget_all(self) -> None:
        """Value everybody anew."""
        self._lines.clear()

    def promise(self, engine: Engine, order: Order) -> None:
        """Take note of a transfer that went out."""
        sides: tuple[Side, Side] = ("buy", "sell")
        for side in sides:
            line = self._lines.get((order.symbol, side))
            if line is not None:
                line.promise(engine.group_of(*order.counterparty))

    def of(self, engine: Engine, symbol: str, side: Side, without: Set[Group]) -> Counterparties:
        """Return whose legs `side` closes, but some groups."""
        if self._seq != engine.seq:
            self.forget_all()
            self._seq = engine.seq
        key = (symbol, side)
        if key not in self._lines:
            self._lines[key] = Line(engine, symbol, side)
        return Counterparties(self._lines[key], without)
