"""What only engines can say of a day in the lending market, looked up once a minute of it.

Unrealised bad debt, how far pools are used, and now and then whether all sums hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from consumers.lending_market import LARGEST
from engine import invariants
from engine.core import Engine
from engine.loan_book import pool_views
from engine.money import ZERO, exact
from engine.survey import unrealised

HOUR = 3_600_000_000
MINUTE = 60_000_000
CHECKED = 4 * HOUR
"""How often all sums of the engines are checked, besides at the end."""


class Used(NamedTuple):
    """How far a pool was used, and when."""

    utilization: float
    time: int


class Unrealised(NamedTuple):
    """Unrealised bad debt at a time: by asset, together in USDT, and the largest borrower's."""

    time: int
    by_asset: dict[str, Decimal]
    value: Decimal
    of_largest: Decimal


class Observer:
    """Looks at engines once a minute of their time, and checks their sums now and then."""

    def __init__(self) -> None:
        self.checks = 0
        self.worst: Unrealised | None = None
        self.last: Unrealised | None = None
        self.most_used: dict[str, Used] = {}
        self.used: dict[str, float] = {}
        self._looked = self._checked = 0

    def look(self, engines: Sequence[Engine], time: int) -> None:
        """Look, if a minute has gone; raises `AssertionError` where a sum does not hold."""
        if time < self._looked + MINUTE:
            return
        self._looked = time
        self._see(engines, time)
        if time >= self._checked + CHECKED:
            self._check(engines, time)

    def end(self, engines: Sequence[Engine], time: int) -> None:
        """Look once more, and check; raises likewise."""
        self._see(engines, time)
        self._check(engines, time)

    def _check(self, engines: Iterable[Engine], time: int) -> None:
        self._checked = time
        self.checks += 1
        for engine in engines:
            invariants.check(engine)

    @exact
    def _see(self, engines: Sequence[Engine], time: int) -> None:
        self.last = _unrealised(engines, time)
        if self.worst is None or self.last.value > self.worst.value:
            self.worst = self.last
        borrowed: dict[str, Decimal] = defaultdict(Decimal)
        whole: dict[str, Decimal] = defaultdict(Decimal)
        for engine in engines:
            for pool, view in pool_views(engine).items():
                borrowed[pool] += view.borrowed
                whole[pool] += view.borrowed + max(view.cash, ZERO)
        for pool, owed in borrowed.items():
            self.used[pool] = float(owed) / float(whole[pool]) if whole[pool] else 0.0
            if pool not in self.most_used or self.used[pool] > self.most_used[pool].utilization:
                self.most_used[pool] = Used(self.used[pool], time)


def _unrealised(engines: Iterable[Engine], time: int) -> Unrealised:
    by_asset: dict[str, Decimal] = defaultdict(Decimal)
    value = of_largest = ZERO
    for engine in engines:
        for group in engine.watch.underwater():
            for (asset, _), amount in unrealised(engine, group).items():
                price = engine.rules.price_of(asset, engine.markets) or ZERO
                by_asset[asset] += amount
                value += amount * price
                of_largest += amount * price * (group.account.id == LARGEST)
    return Unrealised(time, dict(by_asset), value, of_largest)
