"""The day played live: a venue answers what the daemon commits, and the journal tells it again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from consumers import journal
from consumers.market import Scene, World
from consumers.player import Pace, Player
from consumers.tally import Tally
from engine import wire
from engine.core import Engine
from tests.broker import Broker
from tests.kafka.day import SCENE, give, run_digest
from tests.kafka.plant import Plant

pytestmark = pytest.mark.kafka


async def test_the_journal_gives_the_live_decisions_again(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 2, commit_interval=0.01) as plant:
        decided = await play_live(plant, msgspec.structs.replace(SCENE, shards=2))
    assert decided["LiquidationStarted"] >= 100
    assert decided["Shortfall"] >= 10
    assert decided["CancelOrder"] >= 1


async def play_live(plant: Plant, scene: Scene) -> Counter[str]:
    """Play a scene into a daemon, compare it with its journal, and count what was decided."""
    process = await plant.start()
    world = World(scene)
    async with Player(plant.client["bootstrap_servers"], plant.prefix) as player:
        await player.run(world, Tally(frozenset()), Pace(world.clock.time, None))
    assert await process.terminate() == 0
    engines = [Engine(shard) for shard in range(plant.shards)]
    again: list[list[bytes]] = [[] for _ in engines]
    async for shard, raw in journal.read_journal(plant.client, plant.topics.journal):
        decisions = give(engines[shard], wire.read_event(raw))
        again[shard] += [wire.write_decision(decision) for decision in decisions]
    live = await plant.decisions()
    assert live == again
    assert await plant.digest() == run_digest(engines)
    return Counter(type(wire.read_decision(raw)).__name__ for of in live for raw in of)
