"""The daemon in this process: when it is ready, what it waits for, what stops one shard only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from consumers import batch, config, journal
from consumers.daemon import Daemon, StartError
from consumers.feed import shard_of
from consumers.market import Scene, venue_rules
from consumers.rules import events as rules_events
from engine import core, wire
from engine.core import Engine
from engine.decisions import Decision
from engine.events import Deposit, Event, TimePassed
from engine.money import ONE
from producers import topics
from producers.kafka import ShardWriter
from tests.broker import Broker
from tests.kafka.day import play
from tests.kafka.plant import Plant

pytestmark = pytest.mark.kafka

ACCOUNT = "alice"
FEW = Scene(accounts=150, symbols=3, start_minute=12 * 60 + 55, end_minute=13 * 60 + 5)


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[Daemon]:
    """Run a daemon in this event loop."""
    daemon = Daemon(config.read(plant.config()))
    task = asyncio.create_task(daemon.run())
    try:
        yield daemon
    finally:
        daemon.stop()
        await asyncio.wait_for(task, 20)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def until_faulty(plant: Plant, count: int) -> None:
    """Wait until brokers tell of changed topics, which they do not at once."""
    async with asyncio.timeout(20):
        while len(await topics.check(plant.client, plant.topics)) != count:
            await asyncio.sleep(0.05)


def deposit(sequence: int, time_: int, account: str = ACCOUNT) -> Deposit:
    """Return a deposit of 1 USDT."""
    return Deposit(time=time_, account=account, sequence=sequence, asset="USDT", amount=ONE)


async def test_nothing_is_applied_before_the_rules(broker: Broker, tmp_path: Path) -> None:
    """What came before the rules is applied after all of them, though it happened earlier."""
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        await plant.put([(0, deposit(1, 10)), (0, deposit(2, 20))])
        async with running(plant) as daemon:
            await until(lambda: daemon.reasons() == ["shard 0: no rules"])
            await plant.put([(None, event) for event in rules_events(venue_rules(), 1_000)])
            await plant.until_taken({("positions", 0): 2})
            assert daemon.reasons() == []
        told = [
            wire.read_event(raw)
            async for _, raw in journal.read_journal(plant.client, plant.topics.journal)
        ]
        assert [event.time for event in told[-2:]] == [10, 20]
        assert {event.time for event in told[:-2]} == {1_000}
        assert await plant.decisions() == [[]]


@pytest.mark.parametrize("events_a_commit", [1, 7, 500])
async def test_commits_of_any_size_give_one_answer(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events_a_commit: int
) -> None:
    """Slices of one group at a time too: a commit may fall between two of them."""
    monkeypatch.setattr(batch, "EVENTS_MAX", events_a_commit)
    monkeypatch.setattr(batch, "DECISIONS_MAX", events_a_commit)
    day = play(FEW)
    monkeypatch.setattr(core, "SLICE", 1)
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        await plant.put(day.records)
        async with running(plant):
            await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
    assert sum(map(len, day.decisions)) > 20


async def test_the_clock_lets_time_pass_when_all_is_read(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 1, clock="wall") as plant:
        began = time.time_ns() // 1000
        await plant.put([(None, event) for event in rules_events(venue_rules(), began)])
        async with running(plant):
            await asyncio.sleep(3.5)
        told = [
            wire.read_event(raw)
            async for _, raw in journal.read_journal(plant.client, plant.topics.journal)
        ]
        ticks = [event.time for event in told if isinstance(event, TimePassed)]
        assert 2 <= len(ticks) <= 4
        assert ticks == sorted(ticks)
        assert began < ticks[0] <= ticks[-1] <= time.time_ns() // 1000


async def test_a_bug_stops_one_shard_and_names_the_record(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [next(f"a{n}" for n in range(99) if shard_of(f"a{n}", 2) == s) for s in (0, 1)]
    apply = Engine.apply

    def broken(engine: Engine, event: Event) -> list[Decision]:
        if isinstance(event, Deposit) and event.account == names[1]:
            raise ZeroDivisionError("by design")
        return apply(engine, event)

    monkeypatch.setattr(Engine, "apply", broken)
    async with Plant(broker.bootstrap, tmp_path, 2) as plant:
        await plant.put([(None, event) for event in rules_events(venue_rules(), 1)])
        await plant.put([(shard, deposit(1, 2, name)) for shard, name in enumerate(names)])
        async with running(plant) as daemon:
            await plant.until_taken({("positions", 0): 1})
            record = f"{plant.topics.positions}/1/0"
            down = [f"shard 1: down: record {record}: ZeroDivisionError: by design"]
            await until(lambda: daemon.reasons() == down)
            await plant.put([(0, deposit(2, 3, names[0]))])
            await plant.until_taken({("positions", 0): 2})
            assert "positions" not in plant.progress.next[1]


async def test_a_fenced_shard_waits_until_it_is_assigned_again(
    broker: Broker, tmp_path: Path
) -> None:
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        await plant.put([(None, event) for event in rules_events(venue_rules(), 1)])
        async with running(plant) as daemon:
            await plant.until_taken({("control", 0): 1})
            read = config.read(plant.config())
            zombie = ShardWriter(plant.client, plant.topics, read.kafka.group, 0)
            await zombie.start()
            await plant.put([(0, deposit(1, 2))])
            fenced = ["shard 0: fenced: another process has started this shard"]
            await until(lambda: daemon.reasons() == fenced)
            await zombie.stop()
            await asyncio.sleep(1)
            assert daemon.reasons() == fenced, "it starts by itself"
            async with running(plant):
                await plant.until_taken({("positions", 0): 1})
            await plant.put([(0, deposit(2, 3))])
            await plant.until_taken({("positions", 0): 2})
            assert daemon.reasons() == []


async def test_a_changed_number_of_shards_is_refused(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        await plant.put([(None, event) for event in rules_events(venue_rules(), 1)])
        async with running(plant):
            await plant.until_taken({("control", 0): 1})
        admin = AIOKafkaAdminClient(**plant.client)
        await admin.start()
        await admin.create_partitions({plant.topics.positions: NewPartitions(2)})
        await until_faulty(plant, 6)
        with pytest.raises(StartError, match="engine-state: has 1 partitions, needs 2"):
            await Daemon(config.read(plant.config())).run()
        for name in plant.topics[3:]:
            await admin.create_partitions({name: NewPartitions(2)})
        await admin.close()
        await until_faulty(plant, 0)
        async with running(plant) as daemon:
            await until(lambda: any("down" in reason for reason in daemon.reasons()))
            assert "accounts would change shards" in daemon.reasons()[0]


async def test_an_event_from_the_future_is_refused(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 1, max_ahead=30) as plant:
        now = time.time_ns() // 1000
        await plant.put([(None, event) for event in rules_events(venue_rules(), now)])
        near, far = now + 20_000_000, now + 40_000_000
        await plant.put([(0, deposit(1, near)), (0, deposit(2, far)), (0, deposit(3, near))])
        async with running(plant):
            await plant.until_taken({("positions", 0): 3})
        ((letter,),) = await plant.read(plant.topics.dead_letters)
        assert dict(letter.headers)["offset"] == b"1"
        assert b"after the record was written" in dict(letter.headers)["reason"]


async def test_missing_topics_are_named(broker: Broker, tmp_path: Path) -> None:
    plant = Plant(broker.bootstrap, tmp_path, 1)
    with pytest.raises(StartError) as raised:
        await Daemon(config.read(plant.config())).run()
    assert str(raised.value).splitlines() == [
        f"topic {name}: does not exist" for name in topics.named(plant.prefix)
    ]
