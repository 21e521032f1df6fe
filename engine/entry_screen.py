"""Whom a higher initial requirement may push under: the whole book at once, in floats.

What is named can only be too many; whether a group met the requirement before and does not now is
decided exactly, elsewhere.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.book import Group
from engine.leg_table import LegTable
from engine.money import unit_of
from engine.screen_curve import ScreenCurve, ScreenProfit, ScreenWeight
from engine.watch import RELATIVE_ERROR

if TYPE_CHECKING:
    from engine.core import Engine

Floats = NDArray[np.float64]


def pushed(engine: Engine, symbol: str, before: Decimal, after: Decimal) -> list[Group]:
    """Return the holders of `symbol` who may meet the initial requirement (context "initial") at
    the factor `before` and may not at `after`, in order of account and margin."""
    met, error, unknown = _surplus(engine, symbol, before)
    left, _, _ = _surplus(engine, symbol, after)
    maybe = (met >= -error) & (left < error) | unknown
    table = engine.book.legs[symbol]
    rows = table.group[: len(table)]
    found = [engine.book.at(row) for row in rows[maybe[rows]].tolist()]
    return sorted(found, key=lambda group: group.key)


def _surplus(
    engine: Engine, symbol: str, factor: Decimal
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return what margin equity has beyond the initial requirement of every margin group, the bound
    on its error, and for whom it is not known (those with loans, or unpriced); the factor on
    `symbol` is given."""
    book, rules = engine.book, engine.rules
    size = book.capacity
    required, gross, rounded = (np.zeros(size) for _ in range(3))
    unknown = np.zeros(size, bool)
    net: dict[str, Floats] = {}
    for _, _, supplied, owed in book.loan_columns():
        unknown |= (supplied != 0) | (owed != 0)
    for name, decimals, units in book.cash_columns():
        net[name] = np.multiply(units, float(unit_of(decimals)))
    profit = ScreenProfit(rules.in_force.profit if rules.weighs_profit else None, initial=True)
    for name, table in book.legs.items():
        rows = table.group[: len(table)]
        mark = engine.markets.price(name, "mark")
        if rules.portfolio_of(name) is not None or mark is None:
            unknown[rows] = True
            continue
        settle = table.settle
        x = 1.0 / float(mark) if table.instrument.inverse else float(mark)
        held = factor if name == symbol else engine.markets.initial_factor(name)
        needs = _needs(engine, table, name, x, held)
        value = table.exposure[: len(table)] * table.direction * x
        cost = table.cost[: len(table)] * 10.0**-settle.decimals
        worth = float(rules.price_of(settle.name, engine.markets) or 0)
        net[settle.name][rows] += profit.counted(value - cost, needs)
        required[rows] += needs * worth
        gross[rows] += (np.abs(value) + np.abs(cost) + needs) * worth
        rounding = 4 * 10.0**-settle.decimals * table.instrument.inverse
        rounded[rows] += (rounding + 2 * float(rules.curve(name).rule.step or 0)) * worth
    surplus, steepest = _weighed(engine, net, gross)
    if not profit.after_requirement:
        surplus -= required
    return surplus, (RELATIVE_ERROR * gross + rounded) * steepest, unknown


def _needs(engine: Engine, table: LegTable, symbol: str, x: float, factor: Decimal) -> Floats:
    """Return the initial requirement of every leg of a symbol."""
    screen = ScreenCurve(
        engine.rules.curve(symbol),
        inverse=table.instrument.inverse,
        factor=float(factor),
        initial=True,
    )
    return screen.required(np.abs(table.exposure[: len(table)]), x)


def _weighed(engine: Engine, net: dict[str, Floats], gross: Floats) -> tuple[Floats, Floats]:
    """Return margin equity at initial weights and how steeply it follows what it is made of, which
    is added to `gross`."""
    total, steepest = np.zeros(len(gross)), np.ones(len(gross))
    for asset, amounts in net.items():
        rule = engine.rules.in_force.collateral_of(asset)
        weights = ScreenWeight(rule, initial=True)
        worth = float(engine.rules.price_of(asset, engine.markets) or 0)
        total += weights.counted(amounts) * worth
        gross += np.abs(amounts) * worth
        steepest = np.maximum(steepest, weights.steepest(amounts))
    return total, steepest
