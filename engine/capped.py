"""Those whose orders are held back, and may go out in this event: riskiest first, valued as needed.

docs/semantics.md, 11. Any event may make room, and most of the time there is nothing to be done for
most of them. So only those are looked at for whose orders there is room now, or which are to be
planned anew, and of them only as many as may be the next: the screens bound the risk of all others.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import pace
from engine.book import Group
from engine.risk_screen import RATIO_ERROR, Rows

if TYPE_CHECKING:
    from engine.core import Engine, Pending


class Capped:
    """The groups whose orders are held back, as they may be decided next.

    `look` values a group exactly, and says which step it would take.
    """

    def __init__(self, engine: Engine, look: Callable[[Group], Pending]) -> None:
        self._engine = engine
        self._look = look
        self.forget()

    def __bool__(self) -> bool:
        return bool(self._valued) or self._place < len(self._rows)

    def forget(self) -> None:
        """Let nobody be decided any more."""
        self._rows: Rows = np.zeros(0, np.int64)
        self._lowest = np.zeros(0)
        self._place = 0
        self._open: list[str] = []
        self._valued: list[tuple[Any, Pending]] = []

    def renew(self) -> None:
        """Begin anew with everybody for whom there may be room, or whose time has come."""
        self.forget()
        if self._engine.watch.risks.count:
            self._open = self._engine.watch.risks.awaited()
            self._order(None)

    def riskiest(self) -> Pending | None:
        """Return the riskiest of those who would take a step now, if there is any."""
        if self._closed():
            self._order(self._rows[self._place :])
        while self._place < len(self._rows) and self._may_precede():
            found = self._look(self._engine.book.at(int(self._rows[self._place])))
            self._place += 1
            if found.step != "rest":
                heapq.heappush(self._valued, (found.risk, found))
        return self._valued[0][1] if self._valued else None

    def take(self) -> None:
        """Let the riskiest be decided."""
        heapq.heappop(self._valued)

    def _closed(self) -> bool:
        """Tell whether an order was sent that leaves less room for others."""
        engine = self._engine
        if not pace.may_send(engine):
            return bool(self._open)
        return pace.by_market(engine) and any(pace.room(engine, one) == 0 for one in self._open)

    def _order(self, left: Rows | None) -> None:
        """Have those for whom there is room or time, of the rows that are left, looked at in the
        order of the lowest ratio of margin equity to maintenance that they may have."""
        engine = self._engine
        may_send = pace.may_send(engine)
        self._open = [one for one in self._open if may_send and pace.room(engine, one) != 0]
        rows = engine.watch.risks.waiting(self._open, engine.time)
        if left is not None:
            rows = np.intersect1d(rows, left)
        lowest = engine.watch.risks.lowest_ratio(rows)
        order = np.argsort(lowest, kind="stable")
        self._rows, self._lowest, self._place = rows[order], lowest[order], 0

    def _may_precede(self) -> bool:
        """Tell whether the next row may be riskier than all that were valued, or as risky."""
        state = self._valued[0][1].health if self._valued else None
        if state is None:
            return True
        lowest: float = self._lowest[self._place]
        if state.maintenance <= 0:
            return lowest == -math.inf
        ratio = float(state.margin_equity) / float(state.maintenance)
        return lowest <= ratio + abs(ratio) * RATIO_ERROR
