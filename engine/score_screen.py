"""What the candidates of a deleveraging may score, in floats: bounds that nobody's score is above.

Everything is taken from the book's columns at the prices of now: a few additions a leg, where an
exact score costs a health. Who may have a requirement or a balance that floats do not follow is
bounded by infinity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.decisions import Side
from engine.watch import RELATIVE_ERROR, ROUNDINGS
from engine.waterfall_profile import Ranking

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.leg_table import LegTable

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SLACK = 1.0 + 1e-9
"""What a bound is raised by, for the roundings of its own calculation."""


class _Marked:
    """The legs of one symbol at its mark, in the numeraire; `needs` is their maintenance."""

    def __init__(self, engine: Engine, table: LegTable, mark: float, worth: float) -> None:
        count, instrument = len(table), table.instrument
        self.rows = table.group[:count]
        x = 1.0 / mark if instrument.inverse else mark
        self.value = table.exposure[:count] * (table.direction * x * worth)
        self.cost = table.cost[:count] * (10.0**-table.settle.decimals * worth)
        self.rounded = 10.0**-table.settle.decimals * worth if instrument.inverse else 0.0
        self.followed = engine.rules.portfolio_of(instrument.name) is None
        self.needs = np.zeros(count)
        if self.followed:
            curve = engine.watch.curve(instrument.name)
            self.followed = not curve.jumps
            self.needs = curve.required(np.abs(table.exposure[:count]), x) * worth
            self.rounded += curve.step * worth


class Totals:
    """Sums of all rows of the book in the numeraire, each off by at most `error`: equity, what of
    it is cash, and what the legs need; infinite errors where floats do not tell."""

    def __init__(self, engine: Engine) -> None:
        size = engine.book.capacity
        self.equity, self.wallet, self.needs = np.zeros(size), np.zeros(size), np.zeros(size)
        self.error = np.zeros(size)
        self.marked: dict[str, _Marked] = {}
        for asset, decimals, column in engine.book.cash_columns():
            price = engine.price_of(asset)
            if price is None:
                self.error[column != 0] = np.inf
                continue
            amounts = column * (10.0**-decimals * float(price))
            self.wallet += amounts
            self.error += RELATIVE_ERROR * np.abs(amounts)
        self.equity += self.wallet
        for symbol, table in engine.book.legs.items():
            if len(table):
                self._add_legs(engine, symbol, table)
        for _, _, supplied, owed in engine.book.loan_columns():
            self.error[(supplied != 0) | (owed != 0)] = np.inf

    def _add_legs(self, engine: Engine, symbol: str, table: LegTable) -> None:
        mark, price = engine.markets.price(symbol, "mark"), engine.price_of(table.settle.name)
        rows = table.group[: len(table)]
        if mark is None or not mark or price is None:
            self.error[rows] = np.inf
            return
        legs = self.marked[symbol] = _Marked(engine, table, float(mark), float(price))
        self.equity[rows] += legs.value - legs.cost
        self.needs[rows] += legs.needs
        gross = np.abs(legs.value) + np.abs(legs.cost)
        self.error[rows] += RELATIVE_ERROR * gross + ROUNDINGS * legs.rounded
        if not legs.followed:
            self.error[rows] = np.inf


class _Legs(NamedTuple):
    """Legs that may be ranked, in the numeraire: `profit`, `notional` and what the group needs
    (`needs`) at most, `part` of it (the leg's), `equity` and `wallet` at least; `rising` where it
    gains with the price, `unit` what the smallest amount is worth."""

    profit: Floats
    notional: Floats
    cost: Floats
    equity: Floats
    wallet: Floats
    needs: Floats
    part: Floats
    rising: NDArray[np.bool_]
    unit: float


def bounds(engine: Engine, symbol: str, side: Side, ranking: Ranking) -> tuple[Rows, Floats]:
    """Return the rows of the book that may be in profit with a leg that `side` closes, and what
    each scores at most, in rising order of that."""
    table, totals = engine.book.legs[symbol], Totals(engine)
    sizes, marked = table.size[: len(table)], totals.marked.get(symbol)
    price = engine.price_of(table.settle.name)
    if marked is None or price is None:
        return np.zeros(0, np.int64), np.zeros(0)
    legs = np.flatnonzero(sizes > 0 if side == "sell" else sizes < 0)
    profit = marked.value[legs] - marked.cost[legs] + totals.error[marked.rows[legs]]
    legs, profit = legs[profit > 0], profit[profit > 0]
    rows, unit = marked.rows[legs], 10.0**-table.settle.decimals * float(price)
    error = totals.error[rows]
    ranked = _Legs(
        profit,
        np.abs(marked.value[legs]) + error,
        np.maximum(np.abs(marked.cost[legs]), unit),
        totals.equity[rows] - error,
        np.maximum(totals.wallet[rows] - error, float(price)),
        totals.needs[rows] + error + float(engine.rules.in_force.trigger.fixed_cost),
        np.maximum(marked.needs[legs] - error, 0.0),
        marked.value[legs] > 0,
        unit,
    )
    with np.errstate(all="ignore"):
        most = _SCORES[ranking](ranked) * SLACK
    most = np.where(np.isfinite(error) & ~np.isnan(most), most, np.inf)
    order = np.argsort(most, kind="stable")
    return rows[order], most[order]


def _binance(legs: _Legs) -> Floats:
    most = legs.profit * legs.needs / (legs.wallet * legs.equity)
    return np.where(legs.equity > 0, most, np.inf)


def _bitmex(legs: _Legs) -> Floats:
    used = np.maximum(legs.equity, 0.0) * legs.part / legs.needs
    return legs.profit / legs.cost * legs.notional / np.fmax(used, legs.unit)


def _hyperliquid(legs: _Legs) -> Floats:
    worth = np.maximum(legs.equity, legs.unit)
    rising = legs.notional / legs.cost * legs.notional / worth
    return np.where(legs.rising, rising, legs.cost / worth)


def _leverage(legs: _Legs) -> Floats:
    return legs.notional / np.maximum(legs.equity, legs.unit)


_SCORES: dict[Ranking, Callable[[_Legs], Floats]] = {
    "binance": _binance,
    "bitmex": _bitmex,
    "hyperliquid": _hyperliquid,
    "pro_rata": _leverage,
    "water_fill": _leverage,
}
