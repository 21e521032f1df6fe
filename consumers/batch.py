"""What a shard applied since its last commit, and when that must go out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from engine.decisions import Decision, Duplicate, Ignored
from producers.kafka import ORDERS, Cause, DeadLetter, Output
from producers.metric_families import Refusal

EVENTS_MAX = 5_000
JOURNAL_BYTES_MAX = 512 * 1024
DECISIONS_MAX = 256


class Batch:
    """One transaction in the making; times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.output = Output()
        self.events: Counter[tuple[str, str]] = Counter()
        self.buried: Counter[tuple[str, str]] = Counter()
        self.detected: list[float] = []
        self._journal_bytes = 0
        self._began = 0.0
        self.urgent = False

    def __bool__(self) -> bool:
        # An event's later slices may come after the commit that counted it.
        return bool(self.events or self.output.decisions or self.output.account_risk)

    def count(self, kind: str, outcome: str, now: float) -> None:
        """Count an event by type and what became of it."""
        self._begin(now)
        self.events[kind, outcome] += 1

    def bury(self, letter: DeadLetter, topic: str, reason: Refusal) -> None:
        """Add a dead letter, and count it by its topic's name in the code and why it is one."""
        self.output.dead_letters.append(letter)
        self.buried[topic, reason] += 1

    def tell(self, records: Mapping[str, bytes | None], now: float) -> None:
        """Tell people how accounts stand, or that they are gone."""
        if records:
            self._begin(now)
            self.output.account_risk.update(records)

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
            if not isinstance(decision, (Duplicate, Ignored)):
                self.urgent = True

    def _begin(self, now: float) -> None:
        if not self.events and not self.output.account_risk:
            self._began = now

    @property
    def full(self) -> bool:
        """Whether no more belongs into one transaction."""
        return (
            len(self.output.decisions) >= DECISIONS_MAX
            or self._journal_bytes >= JOURNAL_BYTES_MAX
            or self.events.total() >= EVENTS_MAX
        )

    def due(self, now: float, interval: float) -> float:
        """Return for how long this may still wait when nothing more is here; 0 at once."""
        if self.urgent:
            return 0.0
        return max(0.0, self._began + interval - now)
