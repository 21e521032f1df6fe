"""A log at rest has one answer: that of the engines that made it, however often the daemon dies."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

import pytest

from consumers import journal
from engine import wire
from tests.broker import Broker
from tests.kafka.day import Day, play
from tests.kafka.plant import Plant, Process

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def day() -> Day:
    """Play the log once."""
    return play()


async def test_the_daemon_decides_as_the_engines_did(
    broker: Broker, tmp_path: Path, day: Day
) -> None:
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        began = time.monotonic()
        process = await plant.start()
        await plant.until_taken(plant.counts(day.records))
        print(f"{len(day.records)} records in {time.monotonic() - began:.1f} s")
        print(sum(map(len, day.decisions)), "decisions")
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        assert await process.terminate() == 0


KILLS = 20


async def test_one_process_is_killed_again_and_again(
    broker: Broker, tmp_path: Path, day: Day
) -> None:
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        process = await plant.start("only")
        await _kill_at_random(plant, [process], day)
        await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        await _journal_is_the_log(plant, day)


async def test_two_processes_share_the_shards_and_are_killed(
    broker: Broker, tmp_path: Path, day: Day
) -> None:
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        processes = [await plant.start(name, session_timeout=2) for name in ("one", "two")]
        await _kill_at_random(plant, processes, day)
        await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        await _journal_is_the_log(plant, day)


async def _kill_at_random(plant: Plant, processes: list[Process], day: Day) -> None:
    """Kill a process at seeded moments while it works, and start it again."""
    chance = Random(day.digest)
    counts = plant.counts(day.records)
    for moment in sorted(chance.uniform(0.01, 0.9) for _ in range(KILLS)):
        await plant.until_taken(counts, part=moment)
        await asyncio.sleep(chance.uniform(0.0, 0.01))
        process = chance.choice(processes)
        await process.kill()
        await process.start()
    assert plant.taken(counts) < 1


async def _journal_is_the_log(plant: Plant, day: Day) -> None:
    """The journal holds every event that each shard was given, once, in order."""
    found: list[list[bytes]] = [[] for _ in range(day.shards)]
    async for shard, event in journal.read_journal(plant.client, plant.topics.journal):
        found[shard].append(event)
    for number, events in enumerate(found):
        mine = [event for shard, event in day.records if shard in (None, number)]
        assert events == [wire.write_event(event) for event in mine]
