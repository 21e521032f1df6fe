"""Processes join and leave; their shards move, and nobody decides twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.kafka.day import Day, play
from tests.kafka.plant import Plant

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def day() -> Day:
    """Play the log once."""
    return play()


async def test_one_stops_and_the_other_takes_over(broker: Broker, tmp_path: Path, day: Day) -> None:
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        counts = plant.counts(day.records)
        leaving = await plant.start("leaving", group_instance_id="")
        await plant.until_taken(counts, part=0.1)
        staying = await plant.start("staying", group_instance_id="")
        await staying.until_joined()
        assert await leaving.terminate() == 0
        await plant.until_taken(counts)
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        assert await staying.terminate() == 0


async def test_it_stops_within_its_limit_without_a_broker(tmp_path: Path, day: Day) -> None:
    with Broker(tmp_path / "broker") as own:
        async with Plant(own.bootstrap, tmp_path, day.shards, stop_timeout=1.0) as plant:
            await plant.put(day.records)
            counts = plant.counts(day.records)
            process = await plant.start(session_timeout=2)
            await plant.until_taken(counts, part=0.1)
            await asyncio.to_thread(own.kill)
            assert await process.terminate(seconds_max=20) == 0
            await asyncio.to_thread(own.start)
            await process.start()
            await plant.until_taken(counts)
            assert await plant.decisions() == day.decisions
