"""What a shard applied since its last commit, and when that must go out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.decisions import Decision, Duplicate, Ignored
from producers.kafka import ORDERS, Cause, Output

EVENTS_MAX = 5_000
JOURNAL_BYTES_MAX = 512 * 1024
DECISIONS_MAX = 256

GATHER_SECONDS_MIN, GATHER_SECONDS_MAX = 0.005, 0.1
"""How long decisions wait for more of what is already here: a burst is not one commit an event."""


class Batch:
    """One transaction in the making; times are seconds of the monotonic clock.

    What is here is gathered for as long as the last commit took: a backlog costs twice the latency
    of one commit at most, and half the throughput.
    """

    def __init__(self, last_commit: float = 0.0) -> None:
        self._gather = min(GATHER_SECONDS_MAX, max(GATHER_SECONDS_MIN, last_commit))
        self.output = Output()
        self.events: Counter[tuple[str, str]] = Counter()
        self.detected: list[float] = []
        self._journal_bytes = 0
        self._began = 0.0
        self._urgent_since: float | None = None

    def __bool__(self) -> bool:
        # An event's later slices may come after the commit that counted it.
        return bool(self.events or self.output.decisions)

    def count(self, kind: str, outcome: str, now: float) -> None:
        """Count an event by type and what became of it."""
        if not self.events:
            self._began = now
        self.events[kind, outcome] += 1

    def journal(self, raw: bytes) -> None:
        """Journal an event that the engine was given, as it came."""
        self.output.journal.append(raw)
        self._journal_bytes += len(raw)

    def decided(
        self, decisions: Sequence[Decision], cause: Cause, fetched: float, now: float
    ) -> None:
        """Take up decisions; `fetched` is when the record that caused them came."""
        for decision in decisions:
            self.output.decisions.append((decision, cause))
            if isinstance(decision, ORDERS):
                self.detected.append(now - fetched)
            # Nobody waits to hear that a record was passed over; these come as fast as prices do.
            if self._urgent_since is None and not isinstance(decision, (Duplicate, Ignored)):
                self._urgent_since = now

    @property
    def full(self) -> bool:
        """Whether no more belongs into one transaction."""
        return (
            len(self.output.decisions) >= DECISIONS_MAX
            or self._journal_bytes >= JOURNAL_BYTES_MAX
            or self.events.total() >= EVENTS_MAX
        )

    def gathered(self, now: float) -> bool:
        """Tell whether decisions have waited long enough for more."""
        return self._urgent_since is not None and now >= self._urgent_since + self._gather

    def due(self, now: float, interval: float) -> float:
        """Return for how long this may still wait when nothing more is here; 0 at once."""
        if self._urgent_since is not None:
            return 0.0
        return max(0.0, self._began + interval - now)
