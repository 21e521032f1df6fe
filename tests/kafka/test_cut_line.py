"""The line to the brokers is cut while a shard commits: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.broker import Broker
from tests.broker.proxy import END_TXN, CuttableProxy
from tests.kafka.day import Day, play
from tests.kafka.plant import Plant

pytestmark = pytest.mark.kafka

CUTS = 4


@pytest.fixture(scope="module")
def day() -> Day:
    """Play the log once."""
    return play()


@pytest.mark.parametrize("place", ["cut_on_request", "cut_on_answer"])
@pytest.mark.parametrize(
    ("commit_timeout", "seconds"), [(20.0, 0.1), (1.0, 2.5)], ids=["short", "long"]
)
async def test_a_commit_is_cut(
    broker: Broker,
    proxy: CuttableProxy,
    tmp_path: Path,
    day: Day,
    place: str,
    commit_timeout: float,
    seconds: float,
) -> None:
    """A short cut is bridged by the client; after a long one the shard gives up and recovers."""
    chance = Random(place)
    settings = {"commit_timeout": commit_timeout}
    async with Plant(broker.bootstrap, tmp_path, day.shards, **settings) as plant:
        await plant.put(day.records)
        counts = plant.counts(day.records)
        process = await plant.start(brokers=[proxy.bootstrap])
        for moment in sorted(chance.uniform(0.05, 0.8) for _ in range(CUTS)):
            await plant.until_taken(counts, part=moment)
            getattr(proxy, place)(END_TXN)
            await asyncio.wait_for(proxy.until_cut(), 20)
            await asyncio.sleep(seconds)
            await proxy.restore()
        await plant.until_taken(counts)
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        if seconds > commit_timeout:
            assert '"retrying"' in process.log.read_text()
