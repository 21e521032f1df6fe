"""Price ticks a second: the engine beside the naive twin, which always looks at every account, and
beside itself where it looks at every portfolio or loan that a tick concerns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

from consumers.replay import decide
from engine.core import Engine
from engine.decisions import Decision, SnapshotDifference
from engine.events import AnyEvent, PriceEvent
from engine.loan_watch import LoanWatch
from engine.portfolio_watch import PortfolioWatch
from tests.bench import book, loan_book, option_book
from tests.twin import Twin

SECONDS = 5.0
TICKS_MAX = 20_000


class Detection(NamedTuple):
    """What one size of book gave."""

    accounts: int
    engine_per_second: float
    twin_per_second: float
    decisions: int


def measure(accounts: int) -> Detection:
    """Time both on the same ticks; raises `AssertionError` when they do not decide the same."""
    ticks = list(islice(book.walk(), TICKS_MAX))
    engine, twin = Engine(), Twin()
    # At the first prices nothing is to be decided: spare the twin the square of the book.
    with patch("tests.twin.twin.decide_all"):
        for event in [*book.rules(), *book.accounts(accounts), *book.first_prices()]:
            made = [type(decision) for decision in decide(engine, event)]
            assert made in ([], [SnapshotDifference]), f"the book is not healthy: {made}"
            twin.apply(event)
    twin_rate, expected = _timed(twin.apply, ticks)
    engine_rate, decided = _timed(lambda tick: decide(engine, tick), ticks)
    both = min(len(expected), len(decided))
    assert decided[:both] == expected[:both], "engine and twin do not agree"
    return Detection(accounts, engine_rate, twin_rate, sum(map(len, decided)))


class Screened(NamedTuple):
    """What one size of a book of portfolios or loans gave."""

    accounts: int
    screened_per_second: float
    exact_per_second: float


def measure_portfolios(accounts: int) -> Screened:
    """Time the engine with and without the screen of portfolios; raises `AssertionError` when they
    do not decide the same."""
    return _screened(option_book, accounts, patch.object(PortfolioWatch, "raised", _unknown))


def measure_loans(accounts: int) -> Screened:
    """Time the engine with and without the screen of loans; raises `AssertionError` when they do
    not decide the same."""
    return _screened(loan_book, accounts, patch.object(LoanWatch, "moved", _unknown))


def _unknown(*_: object) -> None:
    """Say that a screen knows nothing, so that everybody is looked at."""


def _screened(of: ModuleType, accounts: int, blind: AbstractContextManager[object]) -> Screened:
    ticks = list(islice(of.walk(), TICKS_MAX))
    screened, exact = Engine(), Engine()
    for event in [*of.rules(), *of.accounts(accounts), *of.first_prices()]:
        decide(screened, event)
        decide(exact, event)
    with blind:
        exact_rate, expected = _timed(lambda tick: decide(exact, tick), ticks)
    rate, decided = _timed(lambda tick: decide(screened, tick), ticks)
    both = min(len(expected), len(decided))
    assert decided[:both] == expected[:both], "screened and exact do not agree"
    return Screened(accounts, rate, exact_rate)


def _timed(
    apply: Callable[[AnyEvent], Sequence[Decision]], ticks: Sequence[PriceEvent]
) -> tuple[float, list[Sequence[Decision]]]:
    """Apply ticks until the time is up, and return how many a second, and what each decided."""
    decided: list[Sequence[Decision]] = []
    began = time.perf_counter()
    for tick in ticks:
        decided.append(apply(tick))
        if time.perf_counter() - began > SECONDS:
            break
    return len(decided) / (time.perf_counter() - began), decided
