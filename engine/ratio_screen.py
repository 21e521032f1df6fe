"""Margin equity and maintenance of a whole book at once, in floats: a picture, symbol by symbol.

The formulas are those of `margin`, without their roundings. What is seen is not of one moment where
events come between two symbols, so nothing is said or decided by it: it tells whom to value.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import localcontext
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.leg_table import LegTable
from engine.money import EXACT
from engine.screen_curve import ScreenProfit, ScreenWeight
from engine.watch import RELATIVE_ERROR, ROUNDINGS

if TYPE_CHECKING:
    from engine.core import Engine

Floats = NDArray[np.float64]


class RatioScreen:
    """The rows of a book: `equity` (margin equity) and `needs` (maintenance) in the numeraire, NaN
    where a price is missing, each off by no more than `error` if no event came between the steps;
    `standing` as `watch.STANDINGS` counts them, from 1.

    Thresholds on their way are those when a group was last looked at, an hour ago at most.
    """

    def __init__(self, engine: Engine) -> None:
        size = engine.book.capacity
        self.equity, self.needs = np.zeros(size), np.zeros(size)
        self.error = np.zeros(size)
        self.standing = np.zeros(size, np.int8)
        self._net: dict[str, Floats] = {}
        self._engine = engine
        rules = engine.rules
        self._profit = ScreenProfit(rules.in_force.profit if rules.weighs_profit else None)
        self._fixed = np.zeros(size)

    @property
    def stale(self) -> bool:
        """Whether the book has outgrown what was looked at."""
        return len(self.equity) != self._engine.book.capacity

    def ratios(self, rows: slice) -> tuple[Floats, Floats, Floats]:
        """Return margin equity over maintenance, and what it is at least and at most: infinite
        where nothing is required and nothing is lacking, minus infinity where only debts are left,
        NaN where a price is missing."""
        equity, needs, error = self.equity[rows], self.needs[rows], self.error[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, least = equity / needs, (equity - error) / (needs + error)
            most = np.where(needs > error, (equity + error) / (needs - error), np.inf)
        nothing = needs == 0
        missing = np.isnan(equity) | np.isnan(needs)
        for found in (ratio, least, most):
            found[nothing] = np.where(equity[nothing] < 0, -np.inf, np.inf)
            found[missing] = np.nan
        return ratio, least, most

    def steps(self) -> Iterator[None]:
        """Look at one asset, symbol or part after the other; ends early when it is stale."""
        engine = self._engine
        for name, decimals, column in engine.book.cash_columns():
            self._net[name] = column.astype(np.float64) * 10.0**-decimals
            yield
        for symbol in list(engine.book.legs):
            if self.stale:
                return
            self._add_legs(symbol, engine.book.legs[symbol])
            yield
        for asset in list(self._net):
            if self.stale:
                return
            self._weigh(asset)
            yield
        if not self.stale:
            self._add_rest()

    def _add_legs(self, symbol: str, table: LegTable) -> None:
        engine = self._engine
        count, settle = len(table), table.settle
        if not count:
            return
        rows = table.group[:count]
        mark = engine.markets.price(symbol, "mark")
        worth = engine.price_of(settle.name)
        inverse = table.instrument.inverse
        if mark is None or worth is None or (inverse and not mark) or settle.name not in self._net:
            self.equity[rows] = np.nan
            return
        x, price = float(mark), float(worth)
        x = 1.0 / x if inverse else x
        exposure = table.exposure[:count]
        value = exposure * (table.direction * x)
        unit = 10.0**-settle.decimals
        cost, needs = table.cost[:count] * unit, np.zeros(count)
        rounded = unit if inverse else 0.0
        if engine.rules.portfolio_of(symbol) is None:
            curve = engine.watch.curve(symbol)
            needs = curve.required(np.abs(exposure), x)
            rounded += curve.step
        result = value - cost
        gross = np.abs(value) + np.abs(cost) + needs
        self.error[rows] += (RELATIVE_ERROR * gross + ROUNDINGS * rounded) * price
        self._net[settle.name][rows] += self._profit.counted(result, needs)
        self.needs[rows] += needs * price
        if self._profit.after_requirement:
            self.equity[rows] += needs * price
        self._fixed[rows] = float(engine.rules.in_force.trigger.fixed_cost)

    def _weigh(self, asset: str) -> None:
        """Count what is owned and owed of an asset."""
        engine, net = self._engine, self._net[asset]
        profile, price = engine.rules.in_force, engine.price_of(asset)
        if price is None:
            # What nobody counts needs no price while it is owned.
            counts = net != 0 if asset in profile.collateral else net < 0
            self.equity[counts] = np.nan
            return
        weights = ScreenWeight(profile.collateral_of(asset))
        counted = weights.counted(net) * float(price)
        self.equity += counted
        self.error += RELATIVE_ERROR * np.abs(counted)

    def _add_rest(self) -> None:
        """Add what is kept current elsewhere: portfolios and loans; and how groups stand."""
        watch = self._engine.watch
        self.needs += self._fixed
        for rows, needs in watch.portfolios.required():
            self.needs[rows] += needs
        with localcontext(EXACT):
            counted, required, rounded = watch.loans.levels()
        self.equity[: len(counted)] += counted
        self.needs[: len(counted)] += required
        self.error[: len(counted)] += RELATIVE_ERROR * (counted + required) + rounded
        standing = watch.standings[: len(self.standing)]
        self.standing[: len(standing)] = standing
