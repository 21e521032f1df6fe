"""What a shard reads: its partition of `positions`, all of `prices` and `control`, merged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.merge import TOPIC_NAMES, Incoming, Merge, Source
from engine import wire
from engine.events import CollateralSold, Event, Fill, OrderClosed, Seized
from producers.metrics import Lag
from producers.topics import Client, Topics

WAITING_MAX = 4_000
"""Records of one source that are held in memory, plus one fetch."""

FETCHED_MAX = 2_000
OF_ORDERS = (CollateralSold, Fill, OrderClosed, Seized)
"""What tells of an order by its id."""

YIELD_EVERY = 500
BLOCKED_MS = 10


class Intake:
    """Read the sources of one shard from given offsets on.

    An event more than `max_ahead` seconds after its record was written is refused. In a `shadow`
    orders are another engine's: what is told of them loses its order id.
    """

    def __init__(
        self,
        client: Client,
        topics: Topics,
        *,
        fetch_wait: float,
        max_ahead: float,
        shadow: bool = False,
    ) -> None:
        self._names = (topics.control, topics.positions, topics.prices)
        self.limit_ahead(max_ahead)
        self._shadow = shadow
        self._sources: dict[TopicPartition, Source] = {}
        self._partitions: dict[Source, TopicPartition] = {}
        self.merge = Merge(())
        self._consumer = AIOKafkaConsumer(
            **client,
            isolation_level="read_committed",
            # To begin elsewhere than where the state says would lose events without a word.
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=round(fetch_wait * 1000),
        )

    def limit_ahead(self, seconds: float) -> None:
        """Refuse from now on what is further ahead of its record than this."""
        self._max_ahead = round(seconds * 1_000_000)

    async def start(self, sources: list[Source], offsets: Mapping[Source, int]) -> Self:
        """Begin each source at its offset, or at its first record if it has none."""
        self.merge = Merge(sources)
        self._partitions = {
            source: TopicPartition(self._names[source.topic], source.partition)
            for source in sources
        }
        self._sources = {partition: source for source, partition in self._partitions.items()}
        consumer = self._consumer
        await consumer.start()
        consumer.assign(list(self._sources))
        first = await consumer.beginning_offsets(list(self._sources))
        for partition, source in self._sources.items():
            consumer.seek(partition, offsets.get(source, first[partition]))
        return self

    async def stop(self) -> None:
        """Close the connections."""
        await self._consumer.stop()

    async def fetch(self, seconds_max: float) -> None:
        """Wait for records, not longer than `seconds_max`, and give them to the merge."""
        wanted = [self._partitions[source] for source in self.merge.below(WAITING_MAX)]
        # What ends a wait for the end of a partition need not be a record.
        timeout_ms = BLOCKED_MS if self.merge.blocked else round(seconds_max * 1000)
        fetched = await self._consumer.getmany(
            *wanted, timeout_ms=timeout_ms, max_records=FETCHED_MAX
        )
        now = time.monotonic()
        for partition, records in fetched.items():
            source = self._sources[partition]
            for start in range(0, len(records), YIELD_EVERY):
                part = records[start : start + YIELD_EVERY]
                self.merge.push(source, [self._incoming(source, r, now) for r in part])
                await asyncio.sleep(0)
        for partition, source in self._sources.items():
            end = self._consumer.last_stable_offset(partition)
            position = await self._consumer.position(partition)
            self.merge.at_end(source, end is not None and position >= end)

    async def lag(self) -> dict[tuple[str, int], Lag]:
        """Return how far behind each partition is."""
        found: dict[tuple[str, int], Lag] = {}
        now = time.time()
        for partition, source in self._sources.items():
            end = self._consumer.last_stable_offset(partition) or 0
            position = await self._consumer.position(partition)
            oldest = self.merge.oldest(source)
            found[TOPIC_NAMES[source.topic], source.partition] = Lag(
                max(0, end - position) + self.merge.waiting(source),
                max(0.0, now - oldest.written / 1000) if oldest else 0.0,
            )
        return found

    def _incoming(
        self, source: Source, record: ConsumerRecord[bytes, bytes], now: float
    ) -> Incoming:
        value = record.value if record.value is not None else b""
        event: Event | None = None
        refusal = ""
        try:
            event = wire.read_event(value, TOPIC_NAMES[source.topic])
        except wire.WireError as error:
            refusal = str(error)
        if self._shadow and isinstance(event, OF_ORDERS) and event.order_id:
            # The journal is to hold what the engine is given.
            event = msgspec.structs.replace(event, order_id="")
            value = wire.write_event(event)
        if event is not None and event.time > record.timestamp * 1000 + self._max_ahead:
            refusal = (
                f"time {event.time}: more than {self._max_ahead} µs after the record was written, "
                f"{record.timestamp} ms"
            )
            event = None
        return Incoming(
            source, record.offset, record.key, value, event, refusal, record.timestamp, now
        )
