"""A log at rest has one answer: that of the engines that made it, however often the daemon dies."""

from __future__ import annotations

import time
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
