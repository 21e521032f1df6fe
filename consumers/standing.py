"""How far each shard has come, and what it holds to be in force: read from its state, no account
restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from consumers import journal
from consumers.config import Config
from consumers.presence import require
from consumers.recovery import OFFSETS_KEY, Progress
from engine.state import RulesRecord, ShardRecord

T = TypeVar("T")


class Standing(NamedTuple):
    """One shard as it was last committed; a shard that never committed has nothing."""

    shard: int
    rules: RulesRecord | None = None
    position: ShardRecord | None = None
    control: int = 0
    """The next record of `control`."""


async def read(config: Config) -> list[Standing]:
    """Return how every shard stands; raises `TopicMissing`, `KafkaError`."""
    client, topic = config.client(), config.topics.engine_state
    await require(client, topic)
    shards = await journal.read_state(client, topic)
    return [_standing(shard, records) for shard, records in sorted(shards.items())]


def _standing(shard: int, records: dict[str, bytes]) -> Standing:
    progress = _read(records, OFFSETS_KEY, Progress)
    return Standing(
        shard,
        _read(records, "rules", RulesRecord),
        _read(records, "shard", ShardRecord),
        progress.next.get("control", {}).get(0, 0) if progress is not None else 0,
    )


def _read(records: dict[str, bytes], key: str, kind: type[T]) -> T | None:
    return msgspec.json.decode(records[key], type=kind) if key in records else None


def moment(config: Config, shards: Sequence[Standing], now: int) -> int:
    """Return the time that an event sent `now` (microseconds UTC) must carry: where only events
    move time, it is where the shards are."""
    if config.shards.clock == "wall":
        return now
    return max((item.position.time for item in shards if item.position is not None), default=now)
