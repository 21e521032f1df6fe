"""The engine and its naive twin agree, decision by decision, on seeded histories."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal, localcontext
from itertools import zip_longest
from typing import Any

import msgspec
import pytest

from engine.core import Engine
from engine.decisions import Anomaly, Decision, Refused
from engine.margin import level
from engine.money import EXACT
from tests.histories import History
from tests.story import WholeEngine
from tests.twin import Twin
from tests.twin.identities import broken_identities
from tests.twin_coverage import COVERED, circumstances, kinds_of

FEW = 30
LEVELS_EVERY = 25
HISTORIES_A_SEED = 10
"""Histories are short: each seed of a long series stands for ten of them."""

SUMS = (
    "fund",
    "fees",
    "deposits",
    "withdrawals",
    "top_ups",
    "adjustments",
    "clearing",
    "shortfall",
    "paid_by_fund",
    "bad_debt",
    "paid_by_reserve",
    "socialised",
    "recovered",
    "written_off",
    "named_funds",
)

POOL_FIELDS = (
    "cash",
    "supplied",
    "borrowed",
    "supply",
    "borrow",
    "booked_supply",
    "booked_borrow",
    "reserve",
    "dust",
    "deficit",
    "auctioned",
    "adjusted",
)


@pytest.mark.parametrize(
    "first", [0, 5, *(pytest.param(first, marks=pytest.mark.slow) for first in range(10, FEW, 5))]
)
def test_a_few_histories(first: int) -> None:
    for seed in range(first, first + 5):
        disagreement, _ = compare(seed)
        assert disagreement is None, disagreement


@pytest.mark.slow
def test_many_histories(seeds: range) -> None:
    count = len(seeds) * HISTORIES_A_SEED
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for disagreement, kinds in pool.map(compare, range(FEW, FEW + count), chunksize=5):
            assert disagreement is None, disagreement
            seen += kinds
    print(*(f"{kind}: {seen[kind]}" for kind in COVERED), sep="\n")
    rare = {
        kind: seen[kind] for kind, least in COVERED.items() if seen[kind] < least * count // 1000
    }
    assert not rare


def compare(seed: int) -> tuple[str | None, Counter[str]]:
    """Tell one history to engine and twin: the first disagreement in words, and what was seen."""
    history, whole = History(seed), WholeEngine()
    seen: Counter[str] = Counter()
    seen.update(f"histories of {policy}" for policy in history.policies)
    for place, (event, expected) in enumerate(history, start=1):
        seen.update(kind for decision in expected for kind in kinds_of(decision))
        seen.update(circumstances(history.twin, expected))
        decided = whole.apply(event)
        if difference := first_difference(decided, expected):
            return f"seed {seed}, event {place}: {event}\n{difference}", seen
        if place % LEVELS_EVERY == 0:
            difference = levels_differ(whole.engine, history.twin)
            difference += ", ".join(broken_identities(history.twin.world))
            if difference:
                return f"seed {seed}, after event {place}: {event}\n{difference}", seen
    books = (books_of_engine(whole.engine), books_of_twin(history.twin))
    for name, (engine_has, twin_has) in zip_pairs(*books):
        if engine_has != twin_has:
            return f"seed {seed}, {name}: engine {engine_has}, twin {twin_has}", seen
    return None, seen


def levels_differ(engine: Engine, twin: Twin) -> str:
    """Say for which group margin equity or a requirement differs in a context."""
    if engine.rules.profile is None:
        return ""
    with localcontext(EXACT):
        for account in engine.accounts.values():
            for margin, group in account.groups.items():
                its = twin.group(account.id, margin)
                for context in ("initial", "entry"):
                    found = level(group.holdings, engine.rules, engine.markets, context)
                    expected = twin.level(its, context)
                    if (found and found[:2]) != expected:
                        return f"{account.id} {margin} {context}: {found}, twin {expected}"
    return ""


def first_difference(decided: Sequence[Decision], expected: Sequence[Decision]) -> str:
    """Say where two lists of decisions part, and show both; nothing if they do not."""
    pairs = zip_longest(map(comparable, decided), map(comparable, expected))
    for place, (one, other) in enumerate(pairs):
        if one != other:
            lists = (("engine", decided), ("twin", expected))
            lines = [f"{name} {n}: {d}" for name, both in lists for n, d in enumerate(both)]
            return "\n".join([f"decision {place} differs", *lines])
    return ""


def comparable(decision: Decision) -> Decision:
    """Leave out the words that only a reader needs."""
    if isinstance(decision, Refused):
        return msgspec.structs.replace(decision, rule="", detail="")
    if isinstance(decision, Anomaly):
        return msgspec.structs.replace(decision, detail="")
    return decision


def zip_pairs(one: dict[str, Any], other: dict[str, Any]) -> Iterable[tuple[str, tuple[Any, Any]]]:
    """Pair two dicts by key, with None where one has nothing."""
    return ((key, (one.get(key), other.get(key))) for key in sorted({*one, *other}))


def without_zeros(amounts: dict[Any, Decimal]) -> dict[Any, Decimal]:
    """Leave out what is nothing."""
    return {key: amount for key, amount in amounts.items() if amount}


def books_of_engine(engine: Engine) -> dict[str, Any]:
    """Return every sum, balance and leg of the engine by name."""
    books: dict[str, Any] = {name: without_zeros(getattr(engine.ledger, name)) for name in SUMS}
    for account in engine.accounts.values():
        books[account.id] = (account.role, account.sequence, account.gap_since)
        for margin, group in account.groups.items():
            legs = {symbol: (leg.size, leg.cost) for symbol, leg in group.legs.items()}
            cash = without_zeros(dict(group.cash))
            loans = {
                pool: (loan.supplied, loan.owed)
                for pool, loan in group.loans.items()
                if loan.supplied or loan.owed
            }
            if cash or legs or loans or group.called or group.liquidation:
                books[f"{account.id} {margin}"] = {
                    "cash": cash,
                    "legs": legs,
                    "loans": loans,
                    "given up": without_zeros(dict(group.given_up)),
                    "told": (group.called, group.orders_told, group.category),
                    "liquidated": group.liquidation is not None,
                }
    for name, pool in engine.markets.lending.items():
        books[f"pool {name}"] = {field: getattr(pool, field) for field in POOL_FIELDS}
    return books


def books_of_twin(twin: Twin) -> dict[str, Any]:
    """Return the same of the twin."""
    books: dict[str, Any] = {name: twin.ledger(name) for name in SUMS}
    for account in twin.world.accounts.values():
        books[account.name] = (account.role, account.sequence, account.gap_since)
        for margin, group in account.groups.items():
            cash, legs = twin.cash(account.name, margin), twin.legs(account.name, margin)
            loans, given_up = twin.loans(group), twin.given_up(group)
            if cash or legs or loans or group.called or group.liquidation:
                books[f"{account.name} {margin}"] = {
                    "cash": cash,
                    "legs": legs,
                    "loans": loans,
                    "given up": given_up,
                    "told": (group.called, group.orders_told, group.category),
                    "liquidated": group.liquidation is not None,
                }
    for name in twin.world.lending:
        books[f"pool {name}"] = {field: twin.pool(name)[field] for field in POOL_FIELDS}
    return books
