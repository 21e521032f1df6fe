"""What daemons tell on `account-risk`: through restarts, and when too much changes at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from consumers.feed import shard_of
from engine import events
from tests.broker import Broker
from tests.kafka.plant import Plant, Process
from tests.story import Story
from tests.test_account_risk import BTC_PERP, D, long

pytestmark = pytest.mark.kafka

Last = dict[str, dict[str, Any] | None]


class Recorder:
    """Hears the events of a story, for a topic."""

    def __init__(self) -> None:
        self.events: list[events.AnyEvent] = []

    def apply(self, event: events.AnyEvent) -> list[Any]:
        """Keep an event; nothing is decided here."""
        self.events.append(event)
        return []


def venue() -> Story:
    """Return a story with a price of 10,000, and 10 % of maintenance."""
    story = Story(Recorder())  # type: ignore[arg-type]
    story.rules(BTC_PERP, rate="0.1")
    story.price("BTC-PERP", "10000")
    return story


async def put(plant: Plant, story: Story) -> None:
    """Produce what a story told since the last time."""
    told: list[events.AnyEvent] = story.machine.events  # type: ignore[attr-defined]
    await plant.put(
        (shard_of(it.account, plant.shards) if isinstance(it, events.AccountEvent) else None, it)
        for it in told
    )
    told.clear()


async def records(plant: Plant) -> list[tuple[int, str, dict[str, Any] | None, int]]:
    """Return (partition, account, record, milliseconds) of all that was told."""
    return [
        (part, record.key.decode(), record.value and json.loads(record.value), record.timestamp)
        for part, of_shard in enumerate(await plant.read(plant.topics.account_risk))
        for record in of_shard
    ]


async def last(plant: Plant, until: Callable[[Last], bool]) -> Last:
    """Wait until what was told last of each account is as it should be."""
    found: Last = {}
    try:
        async with asyncio.timeout(30):
            while True:
                plant.check()
                found = {account: record for _, account, record, _ in await records(plant)}
                if until(found):
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"told at last: {found}") from None


def band(found: Last, account: str) -> str | None:
    record = found.get(account)
    return None if record is None else record["band"]


async def metric(process: Process, name: str) -> float:
    """Return the sum of a metric over shards."""
    lines = (await process.get("/metrics"))[1].splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


async def until_told(process: Process) -> None:
    """Wait until no change waits any more."""
    async with asyncio.timeout(10):
        while await metric(process, "liquidator_account_risk_waiting"):
            await asyncio.sleep(0.1)


async def test_what_is_told_outlives_a_kill(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 2) as plant:
        plant.sections["risk"] = {"min_interval": 0}
        process, story = await plant.start("one"), venue()
        for account in ("alice", "bob", "carol", "dave"):
            long(story, account, "1500")
        await put(plant, story)
        found = await last(plant, lambda found: len(found) == 4)
        assert {band(found, account) for account in found} == {"1.25_to_2"}
        await process.kill()
        story.deposit("alice", "USDT", "10000")
        story.fill("carol", "BTC-PERP", "-1", "10000")
        story.tell(events.Withdrawal, account="carol", asset="USDT", amount=D(1500))
        story.tell(events.AccountClosed, account="carol")
        await put(plant, story)
        await process.start()
        await last(
            plant,
            lambda found: band(found, "alice") == "above_2" and found["carol"] is None,
        )
        await until_told(process)
        # What is the same is not told again; what changes from here on is.
        story.price("BTC-PERP", "9700")
        await put(plant, story)
        await last(plant, lambda found: band(found, "bob") == band(found, "dave") == "1.1_to_1.25")
        assert await metric(process, "liquidator_account_risk_records_total") == 4
        assert await process.terminate() == 0
        told = await records(plant)
        assert all(part == shard_of(account, 2) for part, account, _, _ in told)
        counts = {account: [name for _, name, _, _ in told].count(account) for account in found}
        assert counts == {"alice": 2, "bob": 2, "carol": 2, "dave": 2}


async def test_nothing_is_told_where_it_is_not_wanted(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        plant.sections["risk"] = {"enabled": False}
        process, story = await plant.start(), venue()
        long(story, "alice", "1500")
        await put(plant, story)
        await plant.until_taken({("positions", 0): 2, ("prices", 0): 1})
        await asyncio.sleep(1.5)
        assert await process.terminate() == 0
        assert await records(plant) == []


async def test_a_crash_is_told_of_bit_by_bit_and_whole(broker: Broker, tmp_path: Path) -> None:
    rate, interval, accounts = 20, 2.0, 60
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        plant.sections["risk"] = {"max_per_second": rate, "min_interval": interval}
        process, story = await plant.start(), venue()
        for place in range(accounts):
            long(story, f"a{place:02}", str(2020 + 10 * place))
        await put(plant, story)
        await last(plant, lambda found: len(found) == accounts)
        for price in range(10000, 9050, -50):
            story.price("BTC-PERP", str(price))
            await put(plant, story)
            await asyncio.sleep(0.05)
        expected = {f"a{place:02}": naive(1120 + 10 * place, 910) for place in range(accounts)}
        await last(
            plant, lambda found: {account: band(found, account) for account in found} == expected
        )
        await until_told(process)
        assert await process.terminate() == 0
        told = await records(plant)
        times = sorted(time for *_, time in told)
        # A second's worth may be saved up; a commit may be late.
        for first, later in zip(times, times[3 * rate :], strict=False):
            assert later - first >= 1000, "too many at once"
        for account in expected:
            mine = [time for _, name, _, time in told if name == account]
            gaps = [later - before for before, later in pairwise(mine)]
            assert all(gap >= interval * 1000 - 300 for gap in gaps), gaps


def naive(equity: int, needs: int) -> str:
    """Return the band of equity over needs."""
    ratio = D(equity) / needs
    names = ("below_1", "1_to_1.05", "1.05_to_1.1", "1.1_to_1.25", "1.25_to_2", "above_2")
    bounds = ("1", "1.05", "1.1", "1.25", "2")
    return names[sum(ratio >= D(bound) for bound in bounds)]
