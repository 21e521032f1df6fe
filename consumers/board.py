"""What the status page shows: committed state and decisions of this process's shards.

A shard's book is copied when it is looked at; what is drawn of the copy is drawn when somebody asks
for the page, a little at a time, and not so often that it costs more than its share of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import structlog

from consumers.config import Status
from engine.core import Engine
from engine.decisions import Decision
from producers.decisions_said import SAID, Noted
from producers.kafka import Cause
from producers.ladder import Drawn, Picture
from producers.status import Document, Seen, ShardStatus, report
from producers.view import View

DECISIONS_SHOWN = 50

# Other shards and heartbeats share the loop.
STRETCH_SECONDS = 0.004

SHARE = 0.05
"""The part of the time that drawing may take."""

log = structlog.get_logger()


@dataclass
class _Kept:
    """What is known of a shard; times are seconds of the monotonic clock."""

    view: View
    picture: Picture | None
    held_at: float
    drawn: Drawn | None = None
    drawn_at: float = 0.0
    again_at: float = 0.0


class Board:
    """Everything that the page shows; `shards` and `reasons` say how the daemon is."""

    def __init__(
        self,
        shards: Callable[[], list[ShardStatus]],
        reasons: Callable[[], list[str]],
        settings: Status,
    ) -> None:
        self._shards = shards
        self._reasons = reasons
        self._settings = settings
        self._kept: dict[int, _Kept] = {}
        # By shard: one that catches up must not drive out what the others do now.
        self._decisions: dict[int, deque[Noted]] = {}
        self._drawing = asyncio.Lock()

    def took(self, decisions: Iterable[tuple[Decision, Cause | None]]) -> None:
        """Take note of committed decisions, oldest first."""
        for decision, cause in decisions:
            if type(decision) in SAID:
                of = self._decisions.setdefault(decision.shard, deque(maxlen=DECISIONS_SHOWN))
                of.append(Noted(decision, cause))

    def picture(self, engine: Engine) -> Picture | None:
        """Copy what the page draws of a shard's book."""
        if not self._settings.page:
            return None
        try:
            return Picture(engine, self._settings.pegged)
        except Exception:
            # A page that shows less must not keep anybody from being liquidated.
            log.exception("status: cannot picture the book", shard=engine.shard)
            return None

    def show(self, shard: int, view: View, picture: Picture | None) -> None:
        """Show a shard's state, which is committed, as it was looked at."""
        now, kept = time.monotonic(), self._kept.get(shard)
        if kept is None:
            self._kept[shard] = _Kept(view, picture, now)
        else:
            kept.view, kept.picture, kept.held_at = view, picture, now

    def holds(self, shard: int) -> None:
        """Take note that what is shown of a shard is still how it stands."""
        if shard in self._kept:
            self._kept[shard].held_at = time.monotonic()

    def drop(self, shard: int) -> None:
        """Forget a shard that has left; what it decided stays."""
        self._kept.pop(shard, None)

    async def document(self) -> Document:
        """Return what the page shows now."""
        async with self._drawing:
            for number, kept in list(self._kept.items()):
                try:
                    await self._draw(kept)
                except Exception:
                    # The rest of the page stands without it.
                    log.exception("status: cannot draw the book", shard=number)
                    kept.picture = None
        now = time.monotonic()
        seen = {
            number: Seen(kept.view, kept.picture, kept.drawn, now - kept.held_at, _age(kept, now))
            for number, kept in sorted(self._kept.items())
        }
        latest = sorted(chain.from_iterable(self._decisions.values()), key=_place, reverse=True)
        shown = report(self._shards(), self._reasons(), seen, latest[:DECISIONS_SHOWN])
        return {"time": time.time(), **shown}

    async def _draw(self, kept: _Kept) -> None:
        """Draw a shard's book unless what is drawn is new enough."""
        picture, now = kept.picture, time.monotonic()
        if picture is None or picture.drawn is kept.drawn is not None or now < kept.again_at:
            return
        held_at, spent = kept.held_at, 0.0
        began = time.monotonic()
        for _ in picture.draw():
            stretch = time.monotonic() - began
            if stretch > STRETCH_SECONDS:
                spent += stretch
                await asyncio.sleep(0)
                began = time.monotonic()
        kept.drawn, kept.drawn_at = picture.drawn, held_at
        kept.again_at = time.monotonic() + spent / SHARE


def _place(noted: Noted) -> tuple[int, int, int, int]:
    """Return what orders decisions of all shards."""
    decision = noted.decision
    return decision.time, decision.shard, decision.seq, decision.index


def _age(kept: _Kept, now: float) -> float:
    """Return how old what is drawn is: it may still be how the shard stands."""
    current = kept.picture is not None and kept.picture.drawn is kept.drawn
    return now - (kept.held_at if current else kept.drawn_at)
