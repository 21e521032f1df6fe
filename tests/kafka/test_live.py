"""The day played live: a venue answers what the daemon commits, and the journal tells it again."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from consumers import journal
from consumers.market import Scene, World
from consumers.player import Pace, Player
from consumers.tally import Tally
from engine import wire
from engine.core import Engine
from engine.decisions import (
    Anomaly,
    CancelOrder,
    Decision,
    FundDraw,
    LiquidationOrder,
    LiquidationStarted,
    Shortfall,
)
from engine.events import Event, Fill
from tests.broker import Broker
from tests.kafka.day import SCENE, give, run_digest
from tests.kafka.plant import Plant

pytestmark = pytest.mark.kafka

T = TypeVar("T")

NOON = Scene(accounts=11_000, start_minute=12 * 60 + 40, end_minute=13 * 60 + 10)
SHARDS = 2


class Told:
    """What a journal tells: its events, and what engines decide on them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.decisions: list[Decision] = []

    def of(self, kind: type[T]) -> list[T]:
        """Return the decisions of one type."""
        return [decision for decision in self.decisions if isinstance(decision, kind)]


async def test_the_journal_gives_the_live_decisions_again(broker: Broker, tmp_path: Path) -> None:
    told = await play_live(broker, tmp_path, SCENE)
    assert len(told.of(LiquidationStarted)) >= 100
    assert len(told.of(Shortfall)) >= 10


@pytest.mark.slow
async def test_the_worst_half_hour_live(broker: Broker, tmp_path: Path) -> None:
    told = await play_live(broker, tmp_path, NOON)
    assert len(told.of(LiquidationStarted)) >= 3_000
    assert len(told.of(Shortfall)) >= 300
    assert len({shortfall.market for shortfall in told.of(Shortfall)}) >= 5
    orders = {order.order_id: order for order in told.of(LiquidationOrder)}
    fills = [event for event in told.events if isinstance(event, Fill) and event.order_id]
    assert any(abs(fill.size) < orders[fill.order_id].size for fill in fills), "partial fills"
    expired = {cancel.order_id for cancel in told.of(CancelOrder) if cancel.reason == "expired"}
    assert any(order.replaces in expired for order in orders.values()), "expired, issued again"
    assert told.of(Anomaly)
    assert any(draw.amount == draw.capacity for draw in told.of(FundDraw)), "the fund is used up"


async def play_live(broker: Broker, directory: Path, scene: Scene) -> Told:
    """Play a scene into a daemon, and compare what it decided with what its journal tells."""
    async with Plant(broker.bootstrap, directory, SHARDS, commit_interval=0.01) as plant:
        process = await plant.start()
        world = World(msgspec.structs.replace(scene, shards=SHARDS))
        async with Player(broker.bootstrap, plant.prefix) as player:
            await player.run(world, Tally(frozenset()), Pace(world.clock.time, None))
        assert await process.terminate() == 0
        told = Told()
        engines = [Engine(shard) for shard in range(SHARDS)]
        again: list[list[bytes]] = [[] for _ in engines]
        async for shard, raw in journal.read_journal(plant.client, plant.topics.journal):
            event = wire.read_event(raw)
            decisions = list(give(engines[shard], event))
            again[shard] += [wire.write_decision(decision) for decision in decisions]
            told.events.append(event)
            told.decisions += decisions
        assert await plant.decisions() == again
        assert await plant.digest() == run_digest(engines)
        return told
