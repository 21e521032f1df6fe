"""The order in which a shard gives the engine what its partitions hold.

The smallest event time among the heads of the partitions goes first; ties by topic (control,
positions, prices), then by partition. A record without a time, because it cannot be used, goes as
soon as it heads its partition. While a partition is known to hold records that were not fetched
yet, nothing overtakes it: so a log at rest has one order, however it is cut into fetches.

Nothing here reads Kafka: whoever fetches pushes records and says which partitions are at their end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from engine.events import Event

CONTROL, POSITIONS, PRICES = 0, 1, 2
"""Topics in the order in which they win ties."""

TopicName = Literal["control", "positions", "prices"]
TOPIC_NAMES: tuple[TopicName, TopicName, TopicName] = ("control", "positions", "prices")


class Source(NamedTuple):
    """One partition that a shard reads; sources sort as ties are decided."""

    topic: int
    partition: int

    def __str__(self) -> str:
        return f"{TOPIC_NAMES[self.topic]}/{self.partition}"


class Incoming(msgspec.Struct, gc=False):
    """One record: an event, or the reason why there is none.

    `written` is Kafka's timestamp in milliseconds, `fetched` the monotonic second at which it came.
    """

    source: Source
    offset: int
    key: bytes | None
    value: bytes
    event: Event | None
    refusal: str
    written: int
    fetched: float

    def __str__(self) -> str:
        return f"{self.source}/{self.offset}"


_LAST = (2, 0, Source(0, 0))


class _Queue:
    """What was fetched of one source and not yet taken."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.records: deque[Incoming] = deque()
        self.at_end = False
        self.head: tuple[int, int, Source] | None = None

    def look(self) -> None:
        """Note the sort key of the head."""
        if not self.records:
            self.head = None
            return
        event = self.records[0].event
        self.head = (0, 0, self.source) if event is None else (1, event.time, self.source)

    def pop(self) -> Incoming:
        """Remove and return the head."""
        record = self.records.popleft()
        self.look()
        return record


class Merge:
    """Merge the records of `sources` into one order."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._queues = {source: _Queue(source) for source in sorted(sources)}
        self._all = tuple(self._queues.values())
        self._control = tuple(q for q in self._all if q.source.topic == CONTROL)

    def push(self, source: Source, records: Iterable[Incoming]) -> None:
        """Append what was fetched of `source`, in its order."""
        queue = self._queues[source]
        queue.records.extend(records)
        queue.look()

    def at_end(self, source: Source, at_end: bool) -> None:
        """Say whether `source` holds no more than was pushed."""
        self._queues[source].at_end = at_end

    def take(self) -> Incoming | None:
        """Remove and return the next record; none while it is not known, or nothing is there."""
        first: _Queue | None = None
        least = _LAST
        for queue in self._all:
            if queue.head is None:
                if not queue.at_end:
                    return None
            elif queue.head < least:
                first, least = queue, queue.head
        return None if first is None else first.pop()

    def take_control(self, until: int) -> Incoming | None:
        """Remove and return the head of control if its time (microseconds) is at most `until`."""
        for queue in self._control:
            if queue.head is not None and queue.head[:2] <= (1, until):
                return queue.pop()
        return None

    def below(self, limit: int) -> list[Source]:
        """Return the sources of which fewer than `limit` records wait."""
        return [queue.source for queue in self._all if len(queue.records) < limit]

    def waiting(self, source: Source) -> int:
        """Return how many records of `source` wait."""
        return len(self._queues[source].records)

    def oldest(self, source: Source) -> Incoming | None:
        """Return the head of `source`."""
        records = self._queues[source].records
        return records[0] if records else None

    @property
    def blocked(self) -> bool:
        """Whether a source that is not at its end has nothing here."""
        return any(queue.head is None and not queue.at_end for queue in self._all)

    @property
    def drained(self) -> bool:
        """Whether every source is at its end and nothing waits."""
        return all(queue.head is None and queue.at_end for queue in self._all)
