"""How far each shard has come, and what it holds to be in force: read from its state, no account
restored."""

from __future__ import annotations

import time
from typing import NamedTuple, TypeVar

import msgspec

from consumers import journal
from consumers.config import Config
from consumers.presence import require
from consumers.recovery import OFFSETS_KEY, Progress
from engine.state import RulesRecord, ShardRecord

T = TypeVar("T")

BEGINNING = 1


class Standing(NamedTuple):
    """One shard as it was last committed; a shard that never committed has nothing."""

    shard: int
    rules: RulesRecord | None = None
    position: ShardRecord | None = None
    progress: Progress | None = None

    @property
    def control(self) -> int:
        """The next record of `control`."""
        return self.progress.next.get("control", {}).get(0, 0) if self.progress else 0

    @property
    def positions(self) -> int:
        """The next record of the shard's partition of `positions`."""
        return (self.progress.position(self.shard) or 0) if self.progress else 0


async def read(config: Config) -> list[Standing]:
    """Return how every shard stands; raises `TopicMissing`, `KafkaError`."""
    client, topic = config.client(), config.topics.engine_state
    await require(client, topic)
    shards = await journal.read_state(client, topic)
    return [_standing(shard, records) for shard, records in sorted(shards.items())]


def _standing(shard: int, records: dict[str, bytes]) -> Standing:
    return Standing(
        shard,
        _read(records, "rules", RulesRecord),
        _read(records, "shard", ShardRecord),
        _read(records, OFFSETS_KEY, Progress),
    )


def _read(records: dict[str, bytes], key: str, kind: type[T]) -> T | None:
    return msgspec.json.decode(records[key], type=kind) if key in records else None


async def moment(config: Config) -> int:
    """Return the time in microseconds UTC that an event sent now must carry.

    Where only events move time, it is where the shards are. The first rules of a shadow come before
    all that it is going to read. Raises `TopicMissing`, `KafkaError`.
    """
    now = time.time_ns() // 1000
    first = config.shadow.enabled and config.shadow.own_control
    if config.shards.clock == "wall" and not first:
        return now
    times = [item.position.time for item in await read(config) if item.position is not None]
    if first and not any(times):
        return BEGINNING
    return max(times, default=now) if config.shards.clock == "events" else now
