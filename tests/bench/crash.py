"""What many bankrupt groups cost at once: deleveraging, and losses that others bear; the engine
beside itself where it values everybody whom they concern."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from consumers.replay import decide
from engine import score_screen
from engine.core import Engine
from engine.decisions import Decision, Deleverage, LossShared
from engine.events import AnyEvent, Fill
from engine.watch import Watch
from engine.waterfall_profile import Deleveraging, Waterfall
from tests.bench import book

SYMBOL = book.MARKETS[0]
BANKRUPT = 1_000
LOSSES = 20
FALLEN = book.FIRST_PRICE * 9 // 10
SHALLOW = Decimal(600)
"""A deposit that a fall by a tenth uses up, of a position of one."""


class Crash(NamedTuple):
    """Bankrupt groups a second, screened and with everybody valued."""

    screened_per_second: float
    exact_per_second: float


def measure_deleveraging(opposite: int) -> Crash:
    """Time a price that bankrupts many against positions in profit; raises `AssertionError` when
    both do not decide the same."""
    takers = Waterfall(takers=("adl",), adl=Deleveraging())
    setting = [*book.rules(takers), *_crowd(BANKRUPT, 1, SHALLOW), *_deep(opposite)]
    fall = [book.price(SYMBOL, 2, FALLEN)]
    blind = patch("engine.candidates.bounds", _unbounded)
    return _measured(setting, fall, blind, Deleverage, BANKRUPT)


def measure_socialised(holders: int) -> Crash:
    """Time losses that all holders bear; raises as above."""
    setting = [*book.rules(Waterfall(socialised="open_interest")), *_deep(holders)]
    setting += _crowd(LOSSES, 1, SHALLOW)
    sold = [
        Fill(
            time=book.now(), account=f"b{number:06}", sequence=2, symbol=SYMBOL, size=Decimal(-1),
            price=FALLEN, margin="cross", fee=Decimal(0), fee_asset="USDT", fill_id="f",
        )
        for number in range(LOSSES)
    ]  # fmt: skip
    blind = patch.object(Watch, "cash_moved", lambda self, asset, moved: list(moved))
    return _measured(setting, sold, blind, LossShared, LOSSES)


def _crowd(count: int, size: int, deposit: Decimal) -> list[AnyEvent]:
    return [book.account(f"b{number:06}", SYMBOL, size, deposit) for number in range(count)]


def _deep(count: int) -> list[AnyEvent]:
    random = Random(1)
    return [
        book.account(f"s{number:06}", SYMBOL, -1, Decimal(random.randint(3_000, 30_000)))
        for number in range(count)
    ]


def _unbounded(*about: Any) -> Any:
    """Say that nobody's score is known, so that everybody is valued."""
    rows, most = score_screen.bounds(*about)
    return rows, np.full(len(most), np.inf)


def _measured(
    setting: Sequence[AnyEvent],
    events: Sequence[AnyEvent],
    blind: AbstractContextManager[object],
    kind: type[Decision],
    count: int,
) -> Crash:
    screened, exact = Engine(), Engine()
    for event in [*setting, book.price(SYMBOL, 1, book.FIRST_PRICE)]:
        decide(screened, event)
        decide(exact, event)
    with blind:
        exact_seconds, expected = _timed(exact, events)
    seconds, decided = _timed(screened, events)
    assert decided == expected, "screened and exact do not agree"
    assert sum(isinstance(one, kind) for one in decided) >= count
    return Crash(count / seconds, count / exact_seconds)


def _timed(engine: Engine, events: Iterable[AnyEvent]) -> tuple[float, list[Decision]]:
    began = time.perf_counter()
    decided = [one for event in events for one in decide(engine, event)]
    return time.perf_counter() - began, decided
