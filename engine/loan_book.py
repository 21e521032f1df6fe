"""The loans of a book at a glance: pools, collateral by asset, debt by health, what is liquidated.

For gauges and tables: pools exactly, sums over groups in floats, which are no more than pictures.
Sums are taken over the book's columns; only a group that owes and holds positions too is valued by
itself. Nothing here changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from decimal import Decimal, localcontext
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core import Engine
from engine.interest import FRACTION_STEP, YEAR, Accrual
from engine.lending_profile import PoolRule
from engine.loan_values import indices_now, threshold_at
from engine.money import EXACT, ONE, ZERO, exact, floor_to
from engine.pools import LendingPool, new_pool, owed_amount, supplied_amount, utilized
from engine.screen_curve import ScreenWeight
from engine.survey import PART, whole

Floats = NDArray[np.float64]

BANDS = {
    "below_1": 1.0,
    "1_to_1.05": 1.05,
    "1.05_to_1.1": 1.1,
    "1.1_to_1.25": 1.25,
    "1.25_to_2": 2.0,
    "above_2": float("inf"),
}
"""Bands of the health factor by name, each up to a bound that is no part of it."""

UNDER_WAY = ("liquidating", "halted", "gap", "capped", "promised", "cooldown", "toxic")
"""What a group with a liquidation is counted as."""


class PoolView(NamedTuple):
    """A pool now: amounts in its asset, with interest; indices; rates of a year, without
    compounding, none where the venue accrues."""

    asset: str
    supplied: Decimal
    borrowed: Decimal
    utilization: Decimal
    cash: Decimal
    reserve: Decimal
    deficit: Decimal
    auctioned: Decimal
    supply_index: Decimal
    borrow_index: Decimal
    supply_rate: Decimal | None
    borrow_rate: Decimal | None


class LoanBook(NamedTuple):
    """The loans of all groups: collateral that counts and backs a debt, by asset (in the asset),
    debt by band of the health factor (in the numeraire), live seizures and auctions by the pool
    that is owed, and what these auctions have to raise (in its asset)."""

    collateral: dict[str, float]
    debt_by_health: dict[str, float]
    seizures: Counter[str]
    auctions: Counter[str]
    auction_debt: dict[str, Decimal]


@exact
def pool_views(engine: Engine) -> dict[str, PoolView]:
    """Return every pool whose asset is listed, by name."""
    lending, assets = engine.rules.lending, engine.rules.assets
    if lending is None:
        return {}
    return {
        name: pool_view(engine, name)
        for name, rule in sorted(lending.pools.items())
        if rule.asset in assets
    }


@exact
def pool_view(engine: Engine, name: str) -> PoolView:
    """Return a pool as it is now; raises `LookupError` for a name of none."""
    rule = engine.rules.pool(name)
    pool = engine.markets.lending.get(name) or new_pool(engine.markets.now)
    unit = engine.rules.assets[rule.asset].unit
    at = indices_now(name, engine.rules, engine.markets)
    supplied = supplied_amount(pool.supplied, at, unit)
    borrowed = owed_amount(rule, pool.borrowed, at, unit)
    rates: tuple[Decimal | None, Decimal | None] = (None, None)
    if rule.accrued_by == "engine":
        rates = _rates(rule, pool, supplied, borrowed)
    return PoolView(
        rule.asset, supplied, borrowed, utilized(rule, pool, at), pool.cash, pool.reserve,
        pool.deficit, pool.auctioned, at.supply, at.borrow, *rates,
    )  # fmt: skip


def _rates(
    rule: PoolRule, pool: LendingPool, supplied: Decimal, borrowed: Decimal
) -> tuple[Decimal, Decimal]:
    """Return the rates of a year in force: what suppliers get, what borrowers pay."""
    paid = _yearly(pool.borrow.rate, rule.accrual)
    if rule.supply_rates is not None or rule.supply_accrual is not None:
        return _yearly(pool.supply.rate, rule.supply_accrual or rule.accrual), paid
    if not supplied:
        return ZERO, paid
    earned = paid * borrowed * (ONE - rule.reserve_factor)
    return floor_to(earned, FRACTION_STEP, supplied), paid


def _yearly(rate: Decimal, rule: Accrual) -> Decimal:
    return floor_to(rate * YEAR, FRACTION_STEP, Decimal(rule.period))


def loan_book(engine: Engine) -> LoanBook:
    """Return collateral and debt of all groups; what has no price adds nothing to a health."""
    return whole(looked_at(engine))


def looked_at(engine: Engine) -> Generator[None, None, LoanBook]:
    """Return the same in parts; the engine must not change before the last one."""
    rules, size = engine.rules, engine.book.capacity
    collateral: dict[str, float] = {}
    if rules.lending is None:
        return LoanBook(collateral, dict.fromkeys(BANDS, 0.0), *_live(engine))
    counted, required, debt = np.zeros(size), np.zeros(size), np.zeros(size)
    thresholds = _Thresholds(engine)
    amounts = list(_amounts(engine))
    owes = np.zeros(size, dtype=bool)
    for _, _, owed in amounts:
        owes |= owed > 0
    for name, supplied, owed in amounts:
        asset = rules.lending.pools[name].asset
        threshold = thresholds.of(name)
        backs = np.where(np.isnan(threshold), 0.0, supplied)
        collateral[asset] = collateral.get(asset, 0.0) + float(backs[owes].sum())
        price = float(rules.price_of(asset, engine.markets) or 0)
        counted += backs * np.nan_to_num(threshold) * price
        debt += owed * price
        required += owed * (price * float(rules.in_force.collateral_of(asset).borrow_weight))
    for asset, decimals, column in engine.book.cash_columns():
        price = float(rules.price_of(asset, engine.markets) or 0)
        weight = ScreenWeight(rules.in_force.collateral_of(asset))
        counted += weight.counted(column.astype(np.float64) * 10.0**-decimals) * price
    yield
    yield from _value_mixed(engine, debt, counted, required)
    owing = np.flatnonzero(debt)
    with np.errstate(divide="ignore"):
        factors = counted[owing] / required[owing]
    places = np.searchsorted(list(BANDS.values())[:-1], factors, side="right")
    sums = np.bincount(places, weights=debt[owing], minlength=len(BANDS))
    by_health = dict(zip(BANDS, sums.tolist(), strict=True))
    return LoanBook(collateral, by_health, *_live(engine))


@exact
def _live(engine: Engine) -> tuple[Counter[str], Counter[str], dict[str, Decimal]]:
    """Return live seizures and auctions by pool, and what the auctions have to raise."""
    seizures, auctions = Counter[str](), Counter[str]()
    raising: dict[str, Decimal] = {}
    liquidated = chain.from_iterable(map(engine.watch.standing, UNDER_WAY))
    for group in liquidated:
        if group.liquidation is None:
            continue
        seizures.update(o.symbol for o in group.liquidation.orders.values() if o.is_seizure)
        for auction in group.liquidation.auctions.values():
            auctions[auction.pool] += 1
            raising[auction.pool] = raising.get(auction.pool, ZERO) + auction.debt
    return seizures, auctions, raising


def _amounts(engine: Engine) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield what the groups supplied to and owe each pool, with interest, by row."""
    for name, decimals, supplied, owed in engine.book.loan_columns():
        if name not in engine.markets.lending:
            continue
        with localcontext(EXACT):
            at = indices_now(name, engine.rules, engine.markets)
        lent, due = (column.astype(np.float64) * 10.0**-decimals for column in (supplied, owed))
        yield name, lent * float(at.supply), due * float(at.borrow)


def _value_mixed(
    engine: Engine, debt: Floats, counted: Floats, required: Floats
) -> Generator[None, None, None]:
    """Put the exact margin equity and maintenance of groups that owe and hold positions."""
    held = [table.group[: len(table)] for table in engine.book.legs.values() if len(table)]
    if not held:
        return
    rows = np.unique(np.concatenate(held))
    for number, row in enumerate(rows[debt[rows] != 0].tolist(), start=1):
        if not number % PART:
            yield
        with localcontext(EXACT):
            state = engine.health_of(engine.book.at(row))
        if state is not None:
            counted[row], required[row] = float(state.margin_equity), float(state.maintenance)


class _Thresholds:
    """The liquidation thresholds of all rows, NaN where a supply does not count."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: dict[str, list[int]] = {}
        self._disabled: dict[str, list[int]] = {}
        lending = engine.rules.lending
        if lending is not None and lending.categories:
            for group in engine.book.all_groups():
                if category := engine.book.category_of(group):
                    self._rows.setdefault(category, []).append(group.row)
        for group in engine.book.all_groups():
            for pool in group.disabled:
                self._disabled.setdefault(pool, []).append(group.row)

    def of(self, pool: str) -> Floats:
        """Return the threshold of a supply to a pool, by row."""
        found = np.full(self._engine.book.capacity, self._of(pool, ""))
        for category, rows in self._rows.items():
            found[rows] = self._of(pool, category)
        found[self._disabled.get(pool, [])] = np.nan
        return found

    @exact
    def _of(self, pool: str, category: str) -> float:
        lending = self._engine.rules.lending
        terms = None if lending is None else lending.terms_of(pool, category)
        if terms is None:
            return float("nan")
        return float(threshold_at(terms, self._engine.markets.now))
