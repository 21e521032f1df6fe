"""The book at other prices: who would be in breach if all of them moved at once, and how near
everybody is now.

A picture in floats, for people: the formulas are those of `engine.margin` without its roundings,
over the book's columns. Prices jump and nothing is sold on the way; factors of volatility, rates
and indices stay as they are. A `Picture` copies what it needs, so that it may be drawn a little at
a time while the engine goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core import Engine
from engine.instruments import Listed, Option
from engine.leg_table import LegTable
from engine.loan_book import BANDS
from engine.loan_values import indices_now
from engine.money import EXACT, ONE, ZERO, exact
from engine.options import OptionInputs, value
from engine.portfolio import Grid, PortfolioLeg
from engine.portfolio_screen import PortfolioScreen, ScreenLegs
from engine.portfolios import underlying_of
from engine.screen_curve import ScreenCurve, ScreenProfit, ScreenWeight

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOVES = tuple(Decimal(step) / 40 for step in range(-20, 21))
"""The moves of all prices that are looked at: −50 % to +50 %, by 2.5 %."""

PEGGED = ("BUSD", "DAI", "FDUSD", "TUSD", "USD", "USDC", "USDE", "USDS", "USDT")
"""Coins that are meant to be worth a dollar."""


PORTFOLIOS_AT_ONCE = 2_000
"""So many are valued in a stretch: in all scenarios that takes some milliseconds."""


class Rung(NamedTuple):
    """How many margin groups would be in breach after a move, and what they hold: notional and
    debts at the prices of now, in the numeraire."""

    move: float
    groups: int
    notional: float


class Part(NamedTuple):
    """Some of the margin groups, and what they hold, in the numeraire."""

    groups: int
    notional: float


class Drawn(NamedTuple):
    """A book as it was at `time` (microseconds).

    `bands` are those of margin equity ÷ maintenance. In no band, and on no rung, are groups without
    a price that counts (`unpriced`) and those that are never liquidated (`exempt`); nor is who
    neither holds a position nor owes anything (`idle`, a number of groups).
    """

    time: int
    rungs: tuple[Rung, ...]
    bands: dict[str, Part]
    unpriced: Part
    exempt: Part
    idle: int


class _Amounts(NamedTuple):
    """Amounts of an asset other than zero, with their rows."""

    rows: Rows
    amounts: Floats

    @classmethod
    def of(cls, column: Rows, decimals: int) -> _Amounts:
        """Return those of a column of units."""
        rows = np.flatnonzero(column)
        return cls(rows, _floats(column[rows], decimals))


class _Legs(NamedTuple):
    """The legs of one symbol; `curve` is none where they are margined in a portfolio, `mark` where
    there is none."""

    listed: Listed
    rows: Rows
    exposure: Floats
    cost: Floats
    mark: Decimal | None
    inputs: OptionInputs | None
    curve: ScreenCurve | None
    closing_rate: Decimal

    def marked(self, move: Decimal) -> tuple[Decimal, OptionInputs | None]:
        """Return the mark after a move, and what an option is valued by then."""
        assert self.mark is not None
        with localcontext(EXACT):
            if self.inputs is None or not isinstance(self.listed, Option) or not move:
                return self.mark * (ONE + move), self.inputs
            moved = self.inputs._replace(forward=self.inputs.forward * (ONE + move))
        return value(self.listed, moved), moved


class _Family(NamedTuple):
    """The legs that are margined together, by the rule of the first of them by name."""

    screen: PortfolioScreen
    legs: list[_Legs]
    rows: Rows


class Picture:
    """The book of a shard at one moment; `marks` by symbol, `time` in microseconds UTC.

    `held` are the assets whose prices stay where they are when all others move: the numeraire, and
    those of `pegged` that are listed. `drawn` is there once `draw` is through.
    """

    def __init__(self, engine: Engine, pegged: Collection[str] = PEGGED) -> None:
        book, rules = engine.book, engine.rules
        profile = rules.in_force
        self.time = engine.time
        self.numeraire = profile.numeraire
        self.drawn: Drawn | None = None
        self.size = book.capacity
        self.fixed_cost = float(profile.trigger.fixed_cost)
        self._at_equality = profile.trigger.at_equality
        self.profit = ScreenProfit(profile.profit if rules.weighs_profit else None)
        self.weights = {name: ScreenWeight(profile.collateral_of(name)) for name in rules.assets}
        self._named = frozenset(profile.collateral)
        self._prices = {name: engine.price_of(name) for name in rules.assets}
        self.held = sorted(
            name for name in rules.assets if name in pegged or name == profile.numeraire
        )
        self.units = {name: asset.unit for name, asset in rules.assets.items()}
        self.cash = {
            name: _Amounts.of(column, decimals) for name, decimals, column in book.cash_columns()
        }
        tables = [table for _, table in sorted(book.legs.items())]
        self.marks = {
            name: float(told.price)
            for (name, kind), told in engine.prices.items()
            if kind == "mark"
        }
        self.legs = [_legs(engine, table) for table in tables if len(table)]
        self.positioned = np.zeros(self.size, bool)
        for legs in self.legs:
            self.positioned[legs.rows] = True
        self.families = list(_families(engine, self.legs))
        self.lent = [
            (rules.pool(pool).asset, rows, backed, due)
            for pool, rows, backed, due in engine.watch.loans.counted()
        ]
        self._loaned = _loaned(engine)
        self._groups = list(book.groups)
        self._exempt = np.zeros(self.size, bool)
        protected = (account for account in book.accounts.values() if account.role != "trader")
        self._exempt[[g.row for one in protected for g in one.groups.values()]] = True

    def draw(self) -> Iterator[None]:
        """Draw it, and pause where others may go on; a stretch takes a few milliseconds on a book
        of some 10,000 groups."""
        notional, exposed, unpriced = self._notional(), self._exposed(), self._unpriced()
        yield
        groups = np.zeros(self.size, bool)
        groups[: len(self._groups)] = [group is not None for group in self._groups]
        within = groups & exposed & ~unpriced & ~self._exempt
        rungs, bands, values = [], {}, _Values(self)
        for move in MOVES:
            yield from values.settle(move)
            breached = within & values.breached(self._at_equality)
            rungs.append(Rung(float(move), *_part(breached, notional)))
            if not move:
                bands = values.bands(within, notional)
            yield
        lacking = groups & unpriced & ~self._exempt
        idle = groups & ~exposed & ~unpriced & ~self._exempt
        self.drawn = Drawn(
            self.time,
            tuple(rungs),
            bands,
            _part(lacking, notional),
            _part(groups & self._exempt, notional),
            int(idle.sum()),
        )

    def price(self, asset: str, move: Decimal) -> Decimal | None:
        """Return the price of an asset after a move, none while it has none."""
        price = self._prices[asset]
        if price is None or asset in self.held:
            return price
        with localcontext(EXACT):
            return price * (ONE + move)

    def _notional(self) -> Floats:
        """Return what every row holds and owes to pools, at the prices of now."""
        found = np.zeros(self.size)
        for legs in self.legs:
            price = self._prices[legs.listed.settle]
            if legs.mark is None or price is None:
                continue
            x = 1.0 / float(legs.mark) if legs.listed.inverse else float(legs.mark)
            found[legs.rows] += np.abs(legs.exposure) * (x * float(price))
        for asset, rows, _, owed in self._loaned:
            found[rows] += owed * float(self._prices[asset] or 0)
        return found

    def _exposed(self) -> Flags:
        found = self.positioned.copy()
        for cash in self.cash.values():
            found[cash.rows[cash.amounts < 0]] = True
        for _, rows, _, owed in self._loaned:
            found[rows[owed > 0]] = True
        return found

    def _unpriced(self) -> Flags:
        """Tell whose health lacks a price (`margin.health`)."""
        found = np.zeros(self.size, bool)
        for legs in self.legs:
            if legs.mark is None or self._prices[legs.listed.settle] is None:
                found[legs.rows] = True
        for asset, cash in self.cash.items():
            if self._prices[asset] is None:
                counts = (cash.amounts < 0) | (asset in self._named)
                found[cash.rows[counts]] = True
        for asset, rows, _, _ in self._loaned:
            if self._prices[asset] is None:
                found[rows] = True
        return found


class _Values:
    """Margin equity and maintenance of every row after a move of all prices."""

    def __init__(self, picture: Picture) -> None:
        size, settles = picture.size, {legs.listed.settle for legs in picture.legs}
        held = [name for name, cash in picture.cash.items() if len(cash.rows) or name in settles]
        self._of = picture
        self._move = ZERO
        self._net = {name: np.zeros(size) for name in held}
        self._alone, self._equity, self._needs = np.zeros(size), np.zeros(size), np.zeros(size)

    def settle(self, move: Decimal) -> Iterator[None]:
        """Value everything after a move, with pauses."""
        of, self._move = self._of, move
        for column in (*self._net.values(), self._alone, self._equity):
            column.fill(0.0)
        for name, net in self._net.items():
            net[of.cash[name].rows] = of.cash[name].amounts
        for legs in of.legs:
            self._add_legs(legs)
            yield
        np.add(self._alone, of.fixed_cost * of.positioned, out=self._needs)
        for family in of.families:
            yield from self._add_family(family)
        for asset, net in self._net.items():
            price = of.price(asset, move)
            if price is not None:
                self._equity += of.weights[asset].counted(net) * float(price)
        if of.profit.after_requirement:
            self._equity += self._alone
        for asset, rows, backed, due in of.lent:
            worth = float(of.price(asset, move) or 0)
            self._equity[rows] += backed * worth
            self._needs[rows] += due * worth

    def _add_legs(self, legs: _Legs) -> None:
        of, listed = self._of, legs.listed
        price = of.price(listed.settle, self._move)
        if legs.mark is None or price is None:
            return
        mark = float(legs.marked(self._move)[0])
        x = 1.0 / mark if listed.inverse else mark
        result = legs.exposure * (-x if listed.inverse else x) - legs.cost
        needs = np.zeros(len(legs.rows))
        if legs.curve is not None:
            needs = legs.curve.required(np.abs(legs.exposure), x)
            self._alone[legs.rows] += needs * float(price)
        self._net[listed.settle][legs.rows] += of.profit.counted(result, needs)

    def _add_family(self, family: _Family) -> Iterator[None]:
        """Add what portfolios need; every option is valued in all its scenarios."""
        of, held = self._of, []
        for legs in family.legs:
            price = of.price(legs.listed.settle, self._move)
            if legs.mark is None or price is None:
                continue
            mark, inputs = legs.marked(self._move)
            unit = of.units[legs.listed.settle]
            leg = PortfolioLeg(legs.listed, legs.listed.lot, mark, unit, price, inputs)
            with localcontext(EXACT):
                one = family.screen.unit(leg, legs.closing_rate)
            held.append(ScreenLegs(legs.rows, legs.exposure, one))
            yield
        for begin in range(0, len(family.rows) if held else 0, PORTFOLIOS_AT_ONCE):
            rows = family.rows[begin : begin + PORTFOLIOS_AT_ONCE]
            self._needs[rows] += family.screen.requirements(rows, held)[0]
            yield

    def breached(self, at_equality: bool) -> Flags:
        """Tell who is below what is required (`margin.breached`)."""
        found: Flags = self._equity < self._needs
        return found | (self._equity == self._needs) if at_equality else found

    def bands(self, within: Flags, notional: Floats) -> dict[str, Part]:
        """Return those in each band of margin equity ÷ maintenance; who needs nothing is above
        all of them, unless equity is negative."""
        rows = np.flatnonzero(within)
        equity, needs = self._equity[rows], self._needs[rows]
        none = np.where(equity < 0, -np.inf, np.inf)
        ratio = np.divide(equity, needs, out=none, where=needs > 0)
        places = np.searchsorted(list(BANDS.values())[:-1], ratio, side="right")
        counts = np.bincount(places, minlength=len(BANDS))
        sums = np.bincount(places, weights=notional[rows], minlength=len(BANDS))
        pairs = zip(counts.tolist(), sums.tolist(), strict=True)
        return {name: Part(*pair) for name, pair in zip(BANDS, pairs, strict=True)}


def _legs(engine: Engine, table: LegTable) -> _Legs:
    count, name, rules = len(table), table.instrument.name, engine.rules
    alone = rules.portfolio_of(name) is None
    return _Legs(
        table.instrument,
        table.group[:count].copy(),
        table.exposure[:count].copy(),
        _floats(table.cost[:count], table.settle.decimals),
        engine.markets.price(name, "mark"),
        engine.markets.options.get(name),
        engine.watch.curve(name) if alone else None,
        rules.closing_rate(name),
    )


def _families(engine: Engine, found: list[_Legs]) -> Iterator[_Family]:
    together: dict[str, list[_Legs]] = {}
    for legs in found:
        if legs.curve is None:
            together.setdefault(underlying_of(legs.listed), []).append(legs)
    for legs_of in together.values():
        rule = engine.rules.portfolio_of(legs_of[0].listed.name)
        assert rule is not None
        held = np.zeros(engine.book.capacity, bool)
        for legs in legs_of:
            held[legs.rows] = True
        # A grid of its own: it keeps the values of the last marks, which the engine's still needs.
        yield _Family(PortfolioScreen(Grid(rule)), legs_of, np.flatnonzero(held))


@exact
@exact
def _loaned(engine: Engine) -> list[tuple[str, Rows, Floats, Floats]]:
    """Return who supplied to or owes each pool, and what, in its asset, with interest."""
    found = []
    for pool, decimals, supplied, owed in engine.book.loan_columns():
        at = indices_now(pool, engine.rules, engine.markets)
        rows = np.flatnonzero((supplied != 0) | (owed != 0)).astype(np.int64)
        lent = _floats(supplied[rows], decimals) * float(at.supply)
        due = _floats(owed[rows], decimals) * float(at.borrow)
        found.append((engine.rules.pool(pool).asset, rows, lent, due))
    return found


def _floats(units: Rows, decimals: int) -> Floats:
    return units.astype(np.float64) * 10.0**-decimals


def _part(chosen: Flags, notional: Floats) -> Part:
    return Part(int(chosen.sum()), float(notional[chosen].sum()))
