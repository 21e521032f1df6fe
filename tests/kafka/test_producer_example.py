"""The example of docs/producers.md, as a venue would run it: what it sends is what is applied."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consumers import journal
from engine import state
from engine.core import Engine
from tests.broker import Broker
from tests.kafka.plant import Plant
from tests.kafka.test_account_risk import put, venue

pytestmark = pytest.mark.kafka

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "positions_producer.py"
FILL = {
    "type": "Fill",
    "symbol": "BTC-PERP",
    "margin": "cross",
    "size": 0.5,
    "price": 10000.0,
    "fee": "0",
    "fee_asset": "USDT",
}


async def produce(plant: Plant, outbox: Path, events: list[dict[str, Any]]) -> str:
    """Run the example, and return what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), "--brokers", str(plant.client["bootstrap_servers"])),
        *("--topic", plant.topics.positions, "--outbox", str(outbox)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    lines = "".join(json.dumps(event) + "\n" for event in events)
    _, said = await asyncio.wait_for(process.communicate(lines.encode()), 60)
    assert process.returncode == 0, said.decode()
    return said.decode().splitlines()[-1]


async def engines(plant: Plant) -> list[Engine]:
    """Return the engines as they were committed."""
    records = await journal.read_state(plant.client, plant.topics.engine_state)
    for of_shard in records.values():
        of_shard.pop("offsets", None)
    return [state.restore(shard, it.items()) for shard, it in sorted(records.items())]


async def kinds(plant: Plant) -> list[str]:
    """Return the type of every decision."""
    return [json.loads(raw)["type"] for of_shard in await plant.decisions() for raw in of_shard]


async def test_what_the_example_sends_is_applied(broker: Broker, tmp_path: Path) -> None:
    names = [f"trader-{number}" for number in range(12)]
    outbox = tmp_path / "outbox.db"
    async with Plant(broker.bootstrap, tmp_path, 2) as plant:
        await put(plant, venue())
        await plant.start()
        events: list[dict[str, Any]] = []
        for name in names:
            events.append(
                {"type": "Deposit", "account": name, "asset": "USDT", "amount": "12345.5"}
            )
            events += [{**FILL, "account": name, "fill_id": f"{name}-{n}"} for n in range(3)]
        assert await produce(plant, outbox, events) == "48 new, 48 sent"
        ends = [len(of_shard) for of_shard in await plant.read(plant.topics.positions)]
        assert sum(ends) == 48
        assert min(ends) > 0
        await plant.until_taken({("positions", shard): end for shard, end in enumerate(ends)})
        assert await kinds(plant) == []
        for shard, engine in enumerate(await engines(plant)):
            for name, account in engine.accounts.items():
                assert account.sequence == 4
                assert account.groups["cross"].legs["BTC-PERP"].size == Decimal("1.5")
                names.remove(name)
            assert engine.shard == shard
        assert names == []

        # It died before it knew what had arrived: the same again is passed over.
        with sqlite3.connect(outbox) as database:
            database.execute("UPDATE outbox SET sent = 0 WHERE sequence > 2")
        assert await produce(plant, outbox, []) == "0 new, 24 sent"
        # An event is lost: a gap, which a snapshot heals.
        lost = {**FILL, "account": "trader-3", "fill_id": "lost"}
        with sqlite3.connect(outbox) as database:
            database.execute(
                "INSERT INTO outbox (account, sequence, event, sent) VALUES (?, 5, '{}', 1)",
                ["trader-3"],
            )
        await produce(plant, outbox, [{**lost, "fill_id": "after"}])
        snapshot = {
            "type": "PositionSnapshot",
            "account": "trader-3",
            "groups": [
                {
                    "margin": "cross",
                    "balances": {"USDT": "12345.5"},
                    "legs": [{"symbol": "BTC-PERP", "size": "2.5", "cost": "25000"}],
                }
            ],
        }
        await produce(plant, outbox, [snapshot])
        ends = [len(of_shard) for of_shard in await plant.read(plant.topics.positions)]
        await plant.until_taken({("positions", shard): end for shard, end in enumerate(ends)})
        found = await kinds(plant)
        assert sorted(found) == ["Duplicate"] * 24 + ["Gap", "SnapshotDifference"]
        assert await plant.read(plant.topics.dead_letters) == [[], []]
        for engine in await engines(plant):
            if account := engine.accounts.get("trader-3"):
                assert account.gap_since is None
                assert account.groups["cross"].legs["BTC-PERP"].size == Decimal("2.5")
