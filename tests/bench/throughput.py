"""Events a second end to end: the daemon beside a client that only fetches and decodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.feed import Record
from consumers.market import Scene
from consumers.replay import decide
from engine import wire
from engine.core import Engine
from producers.kafka import unpack
from tests.kafka.day import play
from tests.kafka.plant import Plant

SCENES = {
    "a quiet hour": Scene(accounts=2_000, start_minute=4 * 60, end_minute=5 * 60),
    "the hour of the fall": Scene(
        accounts=2_000, start_minute=12 * 60 + 30, end_minute=13 * 60 + 30
    ),
}
"""Hours of the demo's day, with all of its markets and a tenth of its accounts."""


class Throughput(NamedTuple):
    """A scene at rest in topics, through one shard; rates in events a second."""

    events: int
    decisions: int
    per_second: float
    engine: float
    ceiling: float


async def measure(bootstrap: str, directory: Path, scene: Scene) -> Throughput:
    """Let a daemon catch up with a scene, then fetch and decode the same records.

    `engine` is what a replay reaches, without Kafka.
    """
    day = play(scene)
    async with Plant(bootstrap, directory, shards=1) as plant:
        await plant.put(day.records)
        process = await plant.start()
        await plant.until_taken(plant.counts(day.records), seconds=600)
        assert await process.terminate() == 0
        assert await plant.decisions() == day.decisions, "the daemon decided otherwise"
        (journal,) = await plant.read(plant.topics.journal)
        counts = [len(unpack(record.value)) for record in journal]
        # From the first commit on: what comes before it is the start.
        seconds = (journal[-1].timestamp - journal[0].timestamp) / 1000
        per_second = sum(counts[1:]) / seconds
        ceiling = await _fetch_and_decode(plant, len(day.records))
    engine = _replay(day.records)
    return Throughput(len(day.records), len(day.decisions[0]), per_second, engine, ceiling)


def _replay(records: Sequence[Record]) -> float:
    lines = [wire.write_event(event) for _, event in records]
    engine = Engine()
    began = time.perf_counter()
    for line in lines:
        decide(engine, wire.read_event(line))
    return len(lines) / (time.perf_counter() - began)


async def _fetch_and_decode(plant: Plant, events: int) -> float:
    topics: dict[TopicPartition, wire.Topic] = {
        TopicPartition(plant.topics.control, 0): "control",
        TopicPartition(plant.topics.positions, 0): "positions",
        TopicPartition(plant.topics.prices, 0): "prices",
    }
    consumer = AIOKafkaConsumer(
        **plant.client, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(list(topics))
        await consumer.seek_to_beginning()
        left = events
        began = time.perf_counter()
        while left:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=2_000)
            for partition, records in fetched.items():
                for record in records:
                    wire.read_event(record.value, topics[partition])
                left -= len(records)
        return events / (time.perf_counter() - began)
    finally:
        await consumer.stop()
