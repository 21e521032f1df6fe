"""Write what a shard decided: decisions, dead letters, journal and state, in one transaction.
With them goes, for people, how near accounts are to liquidation.

Records carry as headers what caused them: `topic`, `partition` and `offset` of the record (`topic`
alone, "clock", when it was the clock), and a dead letter its `reason`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

import zstandard
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from engine import wire
from engine.decisions import (
    AuctionEnded,
    AuctionReset,
    AuctionStarted,
    CancelOpenOrders,
    CancelOrder,
    CollateralLiquidation,
    CollateralSale,
    Decision,
    Deleverage,
    LiquidationOrder,
    SetOff,
    SupplyDrawn,
    TakeOver,
    WithdrawalGate,
)
from producers.topics import Client, Topics

ORDERS = (
    LiquidationOrder,
    TakeOver,
    Deleverage,
    CancelOrder,
    CancelOpenOrders,
    CollateralSale,
    CollateralLiquidation,
    AuctionStarted,
    AuctionReset,
    AuctionEnded,
    SetOff,
    SupplyDrawn,
    WithdrawalGate,
)
"""The decisions that a venue carries out."""

CLOCK = "clock"
BATCH_BYTES = 512 * 1024
TRANSACTION_SECONDS = 60
START_SECONDS = 30

# The coordinator still completes the last transaction for about this long; who asks for the next
# meanwhile is sent away for 20 ms.
PAUSE_SECONDS = 0.002

Headers = tuple[tuple[str, bytes], ...]
_compressor = zstandard.ZstdCompressor(level=1)


class Cause(NamedTuple):
    """The record that a decision answers; partition and offset mean nothing for the clock."""

    topic: str
    partition: int = 0
    offset: int = 0

    def headers(self) -> Headers:
        """Return the cause as headers of a record."""
        if self.topic == CLOCK:
            return (("topic", CLOCK.encode()),)
        return (
            ("topic", self.topic.encode()),
            ("partition", b"%d" % self.partition),
            ("offset", b"%d" % self.offset),
        )


class DeadLetter(NamedTuple):
    """A record that was not applied, as it came, and why."""

    cause: Cause
    key: bytes | None
    value: bytes
    reason: str


@dataclass(slots=True)
class Output:
    """What one transaction holds; `position` is where the group goes on reading `positions`,
    `account_risk` the record of each account that is told of, none where it is gone."""

    decisions: list[tuple[Decision, Cause]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    journal: list[bytes] = field(default_factory=list)
    state: dict[str, bytes | None] = field(default_factory=dict)
    account_risk: dict[str, bytes | None] = field(default_factory=dict)
    position: int | None = None


class _Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Prepared(NamedTuple):
    """One transaction, encoded: the batches of each topic with its name."""

    batches: list[list[tuple[str, Any]]]
    position: int | None


class ShardWriter:
    """The only writer of a shard: starting it ends its predecessor and what that one had begun.

    Any error or cancellation out of `commit` leaves the outcome unknown: recover with a new writer.
    """

    def __init__(self, client: Client, topics: Topics, group: str, shard: int) -> None:
        self.shard = shard
        self._topics = topics
        self._group = group
        self._free_at = 0.0
        self._producer = AIOKafkaProducer(
            **client,
            client_id=f"{group}-shard-{shard}",
            transactional_id=f"{group}-{topics.positions}-{shard}",
            transaction_timeout_ms=TRANSACTION_SECONDS * 1000,
            max_batch_size=BATCH_BYTES,
        )

    async def start(self) -> None:
        """Fence predecessors, abort what they left open; raises `KafkaError` or `TimeoutError`."""
        async with asyncio.timeout(START_SECONDS):
            await self._producer.start()

    async def stop(self) -> None:
        """Close the connections; waits for what is under way."""
        await self._producer.stop()

    def prepare(self, output: Output) -> Prepared:
        """Encode `output` into batches; nothing is sent."""
        batches = [
            list(self._batches(topic, records))
            for topic, records in records(self._topics, output).items()
        ]
        return Prepared(batches, output.position)

    async def commit(self, prepared: Prepared) -> None:
        """Write what was prepared whole or not at all.

        Raises `ProducerFenced` when another writer of the shard started, `KafkaError` otherwise.
        """
        loop = asyncio.get_running_loop()
        if (pause := self._free_at - loop.time()) > 0:
            await asyncio.sleep(pause)
        producer = self._producer
        await producer.begin_transaction()
        # The first batch of each topic before anything is awaited: one request adds them all.
        written = [
            await producer.send_batch(batch, topic, partition=self.shard)
            for of_each_topic in zip_longest(*prepared.batches)
            for topic, batch in filter(None, of_each_topic)
        ]
        # A commit says nothing of batches that failed.
        await asyncio.gather(*written)
        if prepared.position is not None:
            # Not before: a broker that is adding the group sends batches away for 100 ms.
            positions = TopicPartition(self._topics.positions, self.shard)
            await producer.send_offsets_to_transaction({positions: prepared.position}, self._group)
        await producer.commit_transaction()
        self._free_at = loop.time() + PAUSE_SECONDS

    def _batches(self, topic: str, records: list[_Record]) -> Iterator[tuple[str, Any]]:
        batch = self._producer.create_batch()
        for record in records:
            if not _added(batch, record):
                batch.close()
                yield topic, batch
                batch = self._producer.create_batch()
                _added(batch, record)
        if batch.record_count():
            batch.close()
            yield topic, batch


def _added(batch: Any, record: _Record) -> bool:
    """Append a record unless the batch is full; an empty one takes a record of any size."""
    added = batch.append(
        timestamp=None, key=record.key, value=record.value, headers=list(record.headers)
    )
    return added is not None


def records(topics: Topics, output: Output) -> dict[str, list[_Record]]:
    """Return what is to be written to each topic."""
    orders, events = [], []
    for decision, cause in output.decisions:
        account = getattr(decision, "account", None)
        record = _Record(
            None if account is None else account.encode(),
            wire.write_decision(decision),
            cause.headers(),
        )
        events.append(record)
        if isinstance(decision, ORDERS):
            orders.append(record)
    return {
        topics.liquidation_orders: orders,
        topics.risk_events: events,
        topics.dead_letters: [_dead_letter(letter) for letter in output.dead_letters],
        topics.journal: [_Record(None, pack(output.journal))] if output.journal else [],
        topics.engine_state: _by_key(output.state),
        topics.account_risk: _by_key(output.account_risk),
    }


def _by_key(values: Mapping[str, bytes | None]) -> list[_Record]:
    return [_Record(key.encode(), value) for key, value in values.items()]


def _dead_letter(letter: DeadLetter) -> _Record:
    headers = (*letter.cause.headers(), ("reason", letter.reason.encode()))
    return _Record(letter.key, letter.value, headers)


def client_faults() -> list[str]:
    """Say what is wrong with the Kafka client: in pure Python it is too slow to be of use."""
    if DefaultRecordBatchBuilder.__name__.endswith("Py"):
        return ["aiokafka: its compiled extension is missing"]
    return []


def pack(events: list[bytes]) -> bytes:
    """Return one record of the journal: a JSON object a line, compressed by Zstandard."""
    # A line end inside JSON can only be white space between its tokens.
    return _compressor.compress(b"\n".join(event.replace(b"\n", b" ") for event in events))


def unpack(record: bytes) -> list[bytes]:
    """Return the events of one record of the journal, in order."""
    return zstandard.ZstdDecompressor().decompress(record).split(b"\n")
