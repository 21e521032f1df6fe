"""Who changed what and when: every event of an operator, in order, and what became of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
from aiokafka import TopicPartition
from tqdm import tqdm

from consumers import control, journal, standing
from consumers.config import Config
from consumers.presence import require
from consumers.replay import Replay
from consumers.standing import Standing
from engine import wire
from engine.core import Engine
from engine.decisions import Decision, Duplicate, Refused
from engine.events import ControlEvent, Event, OperatorEvent, TreasuryEvent

Row = dict[str, Any]
"""One change: `offset` and `written` (ms) where it came from Kafka, `time` (µs UTC), `what`, `by`,
`reason`, `outcome`, and the whole `event`."""

DUPLICATE = "duplicate: not applied again"
UNKNOWN = "taken; whether refused is known no more: dead letters of that time are gone"


class _Letters(NamedTuple):
    """What a shard refused of `control`, by offset and why, as far as its dead letters go back:
    those to changes written before `since` (ms) may be gone."""

    refused: dict[int, str]
    since: float


async def from_kafka(config: Config) -> list[Row]:
    """Return what stands on `control`; what was refused is known from the dead letters.

    Raises `TopicMissing`, `KafkaError`.
    """
    client, topics = config.client(), config.topics
    await require(client, topics.control, topics.dead_letters)
    shards = await standing.read(config)
    letters = {shard.shard: await _letters(config, shard.shard) for shard in shards}
    found, sequences = [], dict[int, int]()
    for item in await control.published(client, topics.control):
        repeated = isinstance(item.event, TreasuryEvent) and _repeated(item.event, sequences)
        if item.event is None or isinstance(item.event, OperatorEvent):
            outcome = _outcome(item, shards, letters, repeated=repeated)
            found.append({**_row(item.event, item.written, outcome), "offset": item.offset})
    return found


async def _letters(config: Config, shard: int) -> _Letters:
    client, topics = config.client(), config.topics
    partition = TopicPartition(topics.dead_letters, shard)
    refused: dict[int, str] = {}
    oldest: float = math.inf
    async for record in journal.committed(client, partition):
        oldest = min(oldest, record.timestamp)
        headers = {name: value.decode() for name, value in record.headers}
        if headers.get("topic") == topics.control:
            refused[int(headers["offset"])] = headers.get("reason", "")
    deleted = await journal.beginning(client, partition) > 0
    return _Letters(refused, oldest if deleted else 0)


def _repeated(event: TreasuryEvent, sequences: dict[int, int]) -> bool:
    """Tell whether its shard had `event` or a later one, and note it: a refused one counts too."""
    last = sequences.get(event.shard)
    sequences[event.shard] = event.sequence if last is None else max(last, event.sequence)
    return last is not None and event.sequence <= last


def _outcome(
    item: control.Published,
    shards: Sequence[Standing],
    letters: dict[int, _Letters],
    *,
    repeated: bool,
) -> str:
    for of_shard in letters.values():
        if item.offset in of_shard.refused:
            return f"refused: {of_shard.refused[item.offset]}"
    concerned = list(shards)
    if isinstance(item.event, TreasuryEvent):
        number = item.event.shard
        concerned = [shard for shard in shards if shard.shard == number]
        if not concerned:
            return f"nobody's: there is no shard {number}"
    waiting = [str(shard.shard) for shard in concerned if shard.control <= item.offset]
    if waiting:
        return f"not taken yet by shard {', '.join(waiting)}"
    if repeated:
        return DUPLICATE
    if item.event is None:
        return "not applied: it cannot be read"
    if any(item.written < letters[shard.shard].since for shard in concerned):
        return UNKNOWN
    return "applied"


class _Changes:
    """The changes in a log: each shard's journal holds all of them, in one order."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._seen: dict[int, int] = {}

    def take(self, engine: Engine, event: Event, decisions: Sequence[Decision]) -> None:
        """Take up an event that an engine was given, and what it decided."""
        if not isinstance(event, OperatorEvent):
            return
        place = self._seen.get(engine.shard, 0)
        self._seen[engine.shard] = place + 1
        if place == len(self.rows):
            self.rows.append(_row(event, None, "applied"))
        for decision in decisions:
            if isinstance(decision, Refused):
                self.rows[place]["outcome"] = f"refused: {decision.rule}: {decision.detail}"
            elif isinstance(decision, Duplicate):
                self.rows[place]["outcome"] = DUPLICATE


def from_log(path: str | Path) -> tuple[list[Row], int]:
    """Return what an event log holds, and how many of its lines could not be read.

    Raises what `Replay.run` does.
    """
    changes = _Changes()
    replay = Replay(
        on_decisions=changes.take,
        on_fault=lambda fault: tqdm.write(str(fault), file=sys.stderr),
    )
    replay.run(path)
    return changes.rows, replay.summary.unreadable


def _row(event: ControlEvent | OperatorEvent | None, written: int | None, outcome: str) -> Row:
    if not isinstance(event, OperatorEvent):
        told: Row = {"time": None, "what": "a record that cannot be read", "by": "", "reason": ""}
        return {**told, "written": written, "outcome": outcome, "event": None}
    return {
        "time": event.time,
        "written": written,
        "what": control.named(cast(ControlEvent, event)),
        "by": event.by,
        "reason": event.reason,
        "outcome": outcome,
        "event": msgspec.json.decode(wire.write_event(event)),
    }
