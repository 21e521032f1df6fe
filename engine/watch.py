"""Which accounts a price touches.

Floats that may only over-include: for every group a screened margin equity and maintenance with an
error bound, kept current with every price in one numpy pass over the holders of what moved. Groups
that a price may have taken over a threshold are named; whether it did is decided exactly,
elsewhere.

Each watched group has two thresholds on its margin equity e and maintenance m, by what it would do
next: `rise` (m ≥ rise·e: a margin call or a breach is near) and `fall` (m ≤ fall·e: a call may be
reset, or a liquidation stop); NaN where there is nothing to watch for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.book import FIRST_CAPACITY, Group
from engine.margin import Health, asset_price
from engine.rules import Curve, Rules

if TYPE_CHECKING:
    from engine.book import Book, LegTable
    from engine.margin import Prices

Floats = NDArray[np.float64]

RELATIVE_ERROR = 1e-8
"""Bound on the screens' error, as a part of the gross value of a group; a pass adds about 1e-16."""

PASSES_BEFORE_REBUILD = 1_000_000
"""Rounding errors add up with the passes; long before they could matter the screens are built
anew."""


STANDINGS = ("healthy", "called", "liquidating", "halted", "gap", "unpriced")
"""What a margin group is counted as; a row that holds none has place 0 before them."""


class ScreenCurve:
    """A requirement curve in floats."""

    def __init__(self, curve: Curve) -> None:
        self.caps = np.array([float(cap) for cap in curve.caps[:-1]])
        self.rates = np.array([float(rate) for rate in curve.rates])
        self.amounts = np.array([float(amount) for amount in curve.amounts])

    def __call__(self, notional: Floats) -> Floats:
        place = np.searchsorted(self.caps, notional, side="left")
        required: Floats = self.rates[place] * notional - self.amounts[place]
        return required


class Watch:
    """The screens of one shard's book."""

    def __init__(self, book: Book, rules: Rules) -> None:
        self._book = book
        self._rules = rules
        self._passes = 0
        self._equity = np.full(FIRST_CAPACITY, np.nan)
        self._maintenance = np.full(FIRST_CAPACITY, np.nan)
        self._error = np.zeros(FIRST_CAPACITY)
        self._standing = np.zeros(FIRST_CAPACITY, np.int8)
        self._rise = np.full(FIRST_CAPACITY, np.nan)
        self._fall = np.full(FIRST_CAPACITY, np.nan)
        self._net: dict[str, Floats] = {}
        self._required: dict[str, Floats] = {}
        self._curves: dict[str, ScreenCurve] = {}
        self._weights: dict[str, tuple[float, float]] = {}

    def new_rules(self) -> None:
        """Take over changed rules; every group is to be noted again after."""
        profile = self._rules.in_force
        self._curves = {
            symbol: ScreenCurve(self._rules.maintenance[symbol])
            for symbol in self._rules.derivatives
        }
        self._weights = {}
        for asset in self._rules.assets:
            rule = profile.collateral_of(asset)
            self._weights[asset] = (1.0 - float(rule.haircut), float(rule.borrow_weight))
            if asset not in self._net:
                self._net[asset] = np.zeros(len(self._equity))
                self._required[asset] = np.zeros(len(self._equity))

    def note(
        self, group: Group, state: Health | None, standing: str, rise: float, fall: float
    ) -> None:
        """Take over a group's exact health, its standing and its thresholds."""
        row = group.row
        if row >= len(self._equity):
            self._grow()
        self._standing[row] = STANDINGS.index(standing) + 1
        self._rise[row], self._fall[row] = rise, fall
        for column in (*self._net.values(), *self._required.values()):
            column[row] = 0.0
        if state is None:
            self._equity[row] = self._maintenance[row] = np.nan
            return
        self._equity[row] = float(state.margin_equity)
        self._maintenance[row] = float(state.maintenance)
        gross = sum(abs(float(cash)) * float(state.prices[a]) for a, cash in state.cash.items())
        for asset, amount in state.net.items():
            self._net[asset][row] = float(amount)
        for leg in state.legs:
            required = float(leg.maintenance)
            table = self._book.legs[leg.symbol]
            table.required[table.row_of[row]] = required
            self._required[leg.settle][row] += required
            price = float(state.prices[leg.settle])
            gross += (float(leg.notional) + abs(float(leg.cost))) * price
        self._error[row] = RELATIVE_ERROR * gross

    def forget(self, group: Group) -> None:
        """Stop watching a group that is no more."""
        if group.row < len(self._rise):
            self._rise[group.row] = self._fall[group.row] = np.nan
            self._standing[group.row] = 0

    def counts(self) -> dict[str, int]:
        """Return how many groups have each standing."""
        found = np.bincount(self._standing, minlength=len(STANDINGS) + 1)
        return {name: int(found[place]) for place, name in enumerate(STANDINGS, start=1)}

    def standing(self, name: str) -> list[Group]:
        """Return the groups of a standing."""
        rows = np.flatnonzero(self._standing == STANDINGS.index(name) + 1)
        return [self._book.at(row) for row in rows.tolist()]

    def underwater(self) -> list[Group]:
        """Return every group whose margin equity may be negative."""
        rows = np.flatnonzero((self._equity < self._error) & (self._standing > 0))
        return [self._book.at(row) for row in rows.tolist()]

    def worn(self) -> bool:
        """Tell whether so many prices were screened that every group should be noted again."""
        return self._passes >= PASSES_BEFORE_REBUILD

    def renewed(self) -> None:
        """Take note that every group was noted again."""
        self._passes = 0

    def mark_moved(self, symbol: str, before: float, after: float, prices: Prices) -> list[Group]:
        """Return the groups that a new mark of `symbol` may have taken over a threshold."""
        table = self._book.legs[symbol]
        count = len(table)
        if count == 0:
            return []
        self._passes += 1
        groups = table.group[:count]
        gained, required = self._revalue(table, count, symbol, before, after)
        settle = table.settle.name
        price = asset_price(settle, self._rules, prices)
        worth = float(price) if price is not None else np.nan
        raised = required - table.required[:count]
        table.required[:count] = required
        owned, owed = self._weights[settle]
        if settle == self._rules.in_force.numeraire:
            equity = self._equity[groups] + gained
        else:
            self._required[settle][groups] += raised
            net = self._net[settle][groups]
            moved = net + gained
            self._net[settle][groups] = moved
            weighed = moved * np.where(moved > 0, owned, owed) - net * np.where(
                net > 0, owned, owed
            )
            equity = self._equity[groups] + weighed * worth
        maintenance = self._maintenance[groups] + raised * worth
        self._equity[groups] = equity
        self._maintenance[groups] = maintenance
        near = self._near(equity, maintenance, groups)
        return [self._book.at(row) for row in groups[near].tolist()]

    def index_moved(self, asset: str, before: float, after: float) -> list[Group]:
        """Return the groups that a new price of `asset` may have taken over a threshold."""
        self._passes += 1
        net = self._net[asset]
        owned, owed = self._weights[asset]
        step = after - before
        self._equity += net * np.where(net > 0, owned * step, owed * step)
        self._maintenance += self._required[asset] * step
        near = self._near(self._equity, self._maintenance, slice(None))
        return [self._book.at(row) for row in np.flatnonzero(near).tolist()]

    def _near(
        self, equity: Floats, maintenance: Floats, rows: NDArray[np.int64] | slice
    ) -> NDArray[np.bool_]:
        error = self._error[rows]
        near: NDArray[np.bool_] = maintenance - self._rise[rows] * equity >= -error
        near |= self._fall[rows] * equity - maintenance >= -error
        return near

    def _revalue(
        self, table: LegTable, count: int, symbol: str, before: float, after: float
    ) -> tuple[Floats, Floats]:
        """Return what each leg gained and what it requires now, in the settlement asset."""
        exposure = table.exposure[:count]
        if table.instrument.inverse:
            step, worth = 1.0 / before - 1.0 / after, 1.0 / after
        else:
            step, worth = after - before, after
        return exposure * step, self._curves[symbol](np.abs(exposure) * worth)

    def _grow(self) -> None:
        room = self._book.capacity - len(self._equity)
        for name in ("_equity", "_maintenance", "_rise", "_fall"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.full(room, np.nan)]))
        self._error = np.concatenate([self._error, np.zeros(room)])
        self._standing = np.concatenate([self._standing, np.zeros(room, np.int8)])
        for columns in (self._net, self._required):
            for asset, column in columns.items():
                columns[asset] = np.concatenate([column, np.zeros(room)])
