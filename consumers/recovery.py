"""Bring back a shard from its partition of the state topic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from consumers.journal import read_shard
from consumers.merge import CONTROL, POSITIONS, PRICES, TOPIC_NAMES, Source
from engine import state
from engine.account_state import AccountRecord
from engine.core import Engine
from producers.kafka import CLOCK, Cause
from producers.topics import Client, Topics, partitions

OFFSETS_KEY = "offsets"

# msgspec completes what it knows of a type at its first use, and two threads must not meet there.
for _kind in (
    AccountRecord,
    state.FundRecord,
    state.MarketRecord,
    state.RulesRecord,
    state.ShardRecord,
):
    msgspec.json.Decoder(_kind)


class RecoveryError(Exception):
    """A shard cannot start on what it finds, and will not by trying again."""


class Progress(msgspec.Struct):
    """How far a shard has read: the next offset of each source, and the record it took last.

    Written with the state in the same transaction, yet no part of it: no digest covers it.
    """

    partitions: int
    cause: Cause = Cause(CLOCK)
    next: dict[str, dict[int, int]] = {}

    def took(self, source: Source, offset: int) -> None:
        """Note that the record at `offset` was taken."""
        self.next.setdefault(TOPIC_NAMES[source.topic], {})[source.partition] = offset + 1

    def offsets(self) -> dict[Source, int]:
        """Return where to go on reading; sources that are not there begin at their first."""
        return {
            Source(TOPIC_NAMES.index(topic), partition): offset
            for topic, of_topic in self.next.items()
            for partition, offset in of_topic.items()
        }

    def position(self, shard: int) -> int | None:
        """Return where to go on reading `positions`."""
        return self.next.get(TOPIC_NAMES[POSITIONS], {}).get(shard)

    @property
    def opened(self) -> bool:
        """Whether anything but control was taken yet."""
        return any(topic != TOPIC_NAMES[CONTROL] for topic in self.next)

    def record(self) -> bytes:
        """Return the record to be kept."""
        return msgspec.json.encode(self)


async def sources(client: Client, topics: Topics, shard: int) -> tuple[list[Source], int]:
    """Return what a shard reads, and how many partitions `positions` has.

    Raises `RecoveryError` where a topic is missing, `KafkaError`.
    """
    inputs = (topics.control, topics.positions, topics.prices)
    counts = await partitions(client, inputs)
    if missing := [name for name in inputs if name not in counts]:
        raise RecoveryError(f"topic {', '.join(missing)}: does not exist")
    if counts[topics.control] != 1:
        raise RecoveryError(
            f"topic {topics.control}: has {counts[topics.control]} partitions, not 1"
        )
    prices = [Source(PRICES, number) for number in range(counts[topics.prices])]
    read = [Source(CONTROL, 0), Source(POSITIONS, shard), *prices]
    return read, counts[topics.positions]


async def restore(
    client: Client, topics: Topics, shard: int, positions: int
) -> tuple[Engine, Progress]:
    """Return the engine as it was last committed, and how far it had read.

    Its writer must have started, so that nobody else commits any more. Raises `RecoveryError`,
    `KafkaError`.
    """
    records = await read_shard(client, topics.engine_state, shard)
    raw = records.pop(OFFSETS_KEY, None)
    progress = Progress(positions) if raw is None else _progress(raw)
    if progress.partitions != positions:
        raise RecoveryError(
            f"topic {topics.positions}: has {positions} partitions, the state was made with "
            f"{progress.partitions}; accounts would change shards"
        )
    return await asyncio.to_thread(_engine, shard, records), progress


def _progress(raw: bytes) -> Progress:
    try:
        return msgspec.json.decode(raw, type=Progress)
    except msgspec.MsgspecError as error:
        raise RecoveryError(f"state: record {OFFSETS_KEY}: {error}") from error


def _engine(shard: int, records: Mapping[str, bytes]) -> Engine:
    try:
        return state.restore(shard, records.items())
    except Exception as error:
        raise RecoveryError(f"state: cannot be restored: {error}") from error
