"""The book at a glance: accounts by state, notional and open interest, unrealised bad debt.

For gauges and tables: floats where they are no more than pictures, exact amounts for bad debt. A
crash leaves thousands of groups to be valued one by one: a look is taken in parts, between which
its caller may do other things, as long as the engine does not change.
"""

from __future__ import annotations

from collections.abc import Generator
from decimal import Decimal, localcontext
from typing import NamedTuple, TypeVar

from engine.bad_debt import Standing, standings
from engine.book import Group
from engine.core import Engine
from engine.margin import Health
from engine.money import EXACT, ZERO, ceil_to, from_units
from engine.waterfall import split

PART = 40
"""Groups that are valued in one part of a look: some milliseconds."""

T = TypeVar("T")


class Survey(NamedTuple):
    """The book as it stands.

    `accounts` counts margin groups by `watch.STANDINGS`. Notionals are in each symbol's settlement
    asset, open interest in contracts, `gap_notional` in the numeraire. `unrealised` is Σ max(0,
    −equity) at mark over groups not yet booked, by (asset, market), in the asset; `holes` is what
    of it accounts lack that are never liquidated (who takes positions, the exempt); `debts` what
    they stand at with what was booked.
    """

    accounts: dict[str, int]
    long_notional: dict[str, float]
    short_notional: dict[str, float]
    unmatched_open_interest: dict[str, float]
    gap_notional: float
    unrealised: dict[tuple[str, str], Decimal]
    holes: dict[tuple[str, str], Decimal]
    debts: dict[tuple[str, str], Standing]


def survey(engine: Engine) -> Survey:
    """Return the book at a glance."""
    return whole(surveyed(engine))


def whole(parts: Generator[None, None, T]) -> T:
    """Return what a look in parts comes to, without a pause."""
    while True:
        try:
            next(parts)
        except StopIteration as done:
            found: T = done.value
            return found


def surveyed(engine: Engine) -> Generator[None, None, Survey]:
    """Return the book at a glance, in parts; the engine must not change before the last one."""
    lacking: dict[tuple[str, str], Decimal] = {}
    holes: dict[tuple[str, str], Decimal] = {}
    for groups in _parts(engine.watch.underwater()):
        _value(engine, groups, lacking, holes)
        yield
    gap_notional = 0.0
    for groups in _parts(engine.watch.standing("gap")):
        with localcontext(EXACT):
            gap_notional += sum(_gap_notional(engine.health_of(group)) for group in groups)
        yield
    with localcontext(EXACT):
        debts = standings(engine.ledger, lacking)
    longs, shorts, unmatched = _interest(engine)
    return Survey(
        engine.watch.counts(), longs, shorts, unmatched, gap_notional, lacking, holes, debts
    )


def _parts(groups: list[Group]) -> list[list[Group]]:
    return [groups[start : start + PART] for start in range(0, len(groups), PART)]


def _value(
    engine: Engine,
    groups: list[Group],
    lacking: dict[tuple[str, str], Decimal],
    holes: dict[tuple[str, str], Decimal],
) -> None:
    """Add what groups lack."""
    with localcontext(EXACT):
        for group in groups:
            for key, amount in unrealised(engine, group).items():
                _add(lacking, key, amount)
                if group.account.protected:
                    _add(holes, key, amount)


def _gap_notional(state: Health | None) -> float:
    if state is None:
        return 0.0
    return sum(float(leg.notional * state.prices[leg.settle]) for leg in state.legs)


def unrealised(engine: Engine, group: Group) -> dict[tuple[str, str], Decimal]:
    """Return what a group lacks at mark, by (asset, market), in the asset; to be called in the
    exact context.

    By asset as it is owed; by market as maintenance requirements, or the pool that it is owed to.
    """
    state = engine.health_of(group)
    if state is None or state.equity >= 0:
        return {}
    nets = {a: -n * state.prices[a] for a, n in state.net.items() if n < 0 and state.prices[a]}
    loans = [loan for loan in state.loans if loan.owed and loan.price]
    lacking = sum(nets.values(), ZERO) + sum((loan.owed * loan.price for loan in loans), ZERO)
    found: dict[tuple[str, str], Decimal] = {}
    for asset, worth in nets.items():
        unit = engine.rules.assets[asset].unit
        amount = ceil_to(-state.equity * worth, unit, lacking * state.prices[asset])
        markets = {
            leg.symbol: leg.required for leg in state.legs if leg.settle == asset and leg.required
        }
        for market, part in split(
            amount, markets or {group.last_market or asset: worth}, unit
        ).items():
            _add(found, (asset, market), part)
    for loan in loans:
        unit = engine.rules.assets[loan.asset].unit
        _add(found, (loan.asset, loan.pool), ceil_to(-state.equity * loan.owed, unit, lacking))
    return found


def _add(totals: dict[tuple[str, str], Decimal], key: tuple[str, str], amount: Decimal) -> None:
    totals[key] = totals.get(key, ZERO) + amount


def _interest(
    engine: Engine,
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    longs: dict[str, float] = {}
    shorts: dict[str, float] = {}
    unmatched: dict[str, float] = {}
    for symbol, table in engine.book.legs.items():
        mark = engine.prices.get((symbol, "mark"))
        exposure = table.exposure[: len(table)]
        # In whole units: a sum of floats would leave dust where longs and shorts are equal.
        units = sum(table.size[: len(table)].tolist())
        unmatched[symbol] = float(from_units(units, table.instrument.size_decimals))
        if mark is None:
            longs[symbol] = shorts[symbol] = 0.0
            continue
        worth = 1.0 / float(mark.price) if table.instrument.inverse else float(mark.price)
        longs[symbol] = float(exposure[exposure > 0].sum()) * worth
        shorts[symbol] = -float(exposure[exposure < 0].sum()) * worth
    return longs, shorts, unmatched
