"""A log at rest has one answer: that of the engines that made it, however often the daemon dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import structs

from consumers import journal
from consumers.lending_market import LendingScene
from engine import wire
from engine.decisions import BadDebt
from producers.kafka import ORDERS
from tests.broker import Broker
from tests.kafka.day import SCENE, Day, play
from tests.kafka.plant import Plant, Process

pytestmark = pytest.mark.kafka


LONG = structs.replace(
    SCENE, accounts=1_000, symbols=6, start_minute=11 * 60 + 30, end_minute=14 * 60
)
"""Long enough that a daemon is killed twenty times before it is through."""


LENDING = LendingScene(accounts=400, coins=6, start_minute=12 * 60 + 40, end_minute=13 * 60 + 20)
"""The worst of the day on a lending market, whose pools are in one shard."""


@pytest.fixture(scope="module")
def day() -> Day:
    """Play the log once."""
    return play()


@pytest.fixture(scope="module")
def long_day() -> Day:
    """Play the long log once."""
    return play(LONG)


async def test_the_daemon_decides_as_the_engines_did(
    broker: Broker, tmp_path: Path, day: Day
) -> None:
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        process = await plant.start()
        await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        await _orders_name_their_cause(plant, day)
        await _lag_is_visible_to_others(plant, day)
        assert await process.terminate() == 0
        await process.start()
        await _totals_come_from_state(process, day)


KILLS = 20


async def test_one_process_is_killed_again_and_again(
    broker: Broker, tmp_path: Path, long_day: Day
) -> None:
    day = long_day
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        process = await plant.start("only")
        await _kill_at_random(plant, [process], day)
        await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        await _journal_is_the_log(plant, day)


async def test_two_processes_share_the_shards_and_are_killed(
    broker: Broker, tmp_path: Path, long_day: Day
) -> None:
    day = long_day
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        processes = [await plant.start(name, session_timeout=2) for name in ("one", "two")]
        await _kill_at_random(plant, processes, day)
        await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        await _journal_is_the_log(plant, day)


async def test_a_lending_market_outlives_its_daemon(broker: Broker, tmp_path: Path) -> None:
    day = play(LENDING)
    decided = Counter(json.loads(raw)["type"] for raw in day.decisions[0])
    assert min(decided["CollateralLiquidation"], decided["WithdrawalUnpaid"]) > 0
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put(day.records)
        process = await plant.start("only")
        await _kill_at_random(plant, [process], day, kills=5)
        await plant.until_taken(plant.counts(day.records))
        assert await plant.decisions() == day.decisions
        assert await plant.digest() == day.digest
        await _journal_is_the_log(plant, day)


async def _orders_name_their_cause(plant: Plant, day: Day) -> None:
    """What a venue carries out stands in a topic of its own, by account, with what caused it."""
    counts = plant.counts(day.records)
    topics = {plant.topics.prices: "prices", plant.topics.positions: "positions"}
    written = await plant.read(plant.topics.liquidation_orders)
    for shard, (records, decided) in enumerate(zip(written, day.decisions, strict=True)):
        decisions = [wire.read_decision(raw) for raw in decided]
        wanted = [decision for decision in decisions if isinstance(decision, ORDERS)]
        assert [wire.read_decision(record.value) for record in records] == wanted
        for record, order in zip(records, wanted, strict=True):
            assert record.key == order.account.encode()
            cause = {name: value.decode() for name, value in record.headers}
            name, partition = topics[cause["topic"]], int(cause["partition"])
            assert partition == (shard if name == "positions" else 0)
            assert int(cause["offset"]) < counts[name, partition]


async def _lag_is_visible_to_others(plant: Plant, day: Day) -> None:
    """The group's offsets say how far `positions` is read."""
    admin = AIOKafkaAdminClient(**plant.client)
    await admin.start()
    found = await admin.list_consumer_group_offsets(f"{plant.prefix}group")
    await admin.close()
    counts = plant.counts(day.records)
    assert {tp.partition: at.offset for tp, at in found.items()} == {
        partition: count for (name, partition), count in counts.items() if name == "positions"
    }


async def _totals_come_from_state(process: Process, day: Day) -> None:
    """A restart forgets no bad debt."""
    decisions = [wire.read_decision(raw) for decided in day.decisions for raw in decided]
    wanted = sum(debt.amount for debt in decisions if isinstance(debt, BadDebt))
    assert wanted > 0
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                _, text = await process.get("/metrics")
                found = re.findall(r"^liquidator_bad_debt_total\{.*\} (.+)$", text, re.MULTILINE)
                if sum(map(Decimal, found)) == wanted:
                    return
            await asyncio.sleep(0.1)


async def _kill_at_random(
    plant: Plant, processes: list[Process], day: Day, kills: int = KILLS
) -> None:
    """Kill a process at seeded moments while it works, and start it again."""
    chance = Random(day.digest)
    counts = plant.counts(day.records)
    for _ in range(kills):
        # Somebody has committed since the last restart, and there is work left.
        await plant.until_taken(counts, part=plant.taken(counts) + 1e-9)
        assert plant.taken(counts) < 1
        await asyncio.sleep(chance.uniform(0.0, 0.03))
        process = chance.choice(processes)
        await process.kill()
        await process.start()


async def _journal_is_the_log(plant: Plant, day: Day) -> None:
    """The journal holds every event that each shard was given, once, in order."""
    found: list[list[bytes]] = [[] for _ in range(day.shards)]
    async for shard, event in journal.read_journal(plant.client, plant.topics.journal):
        found[shard].append(event)
    for number, events in enumerate(found):
        mine = [event for shard, event in day.records if shard in (None, number)]
        assert events == [wire.write_event(event) for event in mine]
