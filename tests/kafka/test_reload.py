"""SIGHUP: the daemon reads its file again, and the rules that the file names become events."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from consumers import config, control, rules
from engine import events as e
from engine import wire
from tests.broker import Broker
from tests.kafka.plant import Plant, Process
from tests.test_cli import RULES, cli

pytestmark = pytest.mark.kafka

STRICTER = ("taker_fee = false ", "taker_fee = true ")


@pytest.fixture
async def plant(broker: Broker, tmp_path: Path) -> AsyncIterator[Plant]:
    """A shard under the example's rules, and an account that is just above maintenance."""
    async with Plant(broker.bootstrap, tmp_path, 1) as made:
        told: list[e.AnyEvent] = [
            *rules.events(rules.read(RULES), 1_000),
            e.PriceUpdate(
                time=2_000,
                symbol="BTC-PERP",
                kind="mark",
                price=Decimal(50_000),
                source="venue",
                sequence=1,
            ),
            e.Deposit(time=3_000, account="a", sequence=1, asset="USDT", amount=Decimal(210)),
            e.Fill(
                time=4_000,
                account="a",
                sequence=2,
                symbol="BTC-PERP",
                margin="cross",
                size=Decimal(1),
                price=Decimal(50_000),
                fee=Decimal(0),
                fee_asset="USDT",
                fill_id="1",
            ),
        ]
        await made.put([(0, event) for event in told])
        yield made


async def reloaded(process: Process, outcome: str) -> None:
    """Send SIGHUP and wait until it is counted."""
    process.send(signal.SIGHUP)
    line = f'liquidator_reloads_total{{outcome="{outcome}"}} 1.0'
    async with asyncio.timeout(20):
        while line not in (await process.get("/metrics"))[1]:
            await asyncio.sleep(0.1)


def lines(process: Process, event: str) -> list[dict[str, object]]:
    """Return the lines of the log that say `event`."""
    found = [json.loads(line) for line in process.log.read_text().splitlines()]
    return [line for line in found if line["event"] == event]


async def kinds(plant: Plant) -> list[str]:
    """Return what was decided."""
    (decisions,) = await plant.decisions()
    return [type(wire.read_decision(raw)).__name__ for raw in decisions]


async def config_of(process: Process) -> str:
    """Return how the metrics tell the configuration."""
    (line,) = (
        line
        for line in (await process.get("/metrics"))[1].splitlines()
        if line.startswith("liquidator_config_info{")
    )
    return line


async def test_changed_rules_are_events_and_a_replay_decides_the_same(
    plant: Plant, tmp_path: Path
) -> None:
    process = await plant.start()
    await plant.until_taken({("positions", 0): 2, ("prices", 0): 1})
    before = await config_of(process)
    (tmp_path / "rules.toml").write_text(RULES.read_text().replace(*STRICTER))
    text = process.config.read_text()
    changed = text.replace("[shards]", "[shards]\ncommit_interval = 0.05")
    process.config.write_text('[rules]\nfile = "rules.toml"\n' + changed)
    assert await kinds(plant) == ["MarginCall"]
    await reloaded(process, "done")
    async with asyncio.timeout(20):
        while not lines(process, "LiquidationOrder"):
            await asyncio.sleep(0.1)
    (done,) = lines(process, "reload done")
    assert done["changed"] == ["shards.commit_interval", "rules.file"]
    assert done["sent"] == ['ProfileChanged "example"']
    assert await config_of(process) != before
    (order,) = lines(process, "LiquidationOrder")
    assert (order["account"], order["number"], order["topic"]) == ("a", 1, plant.topics.control)
    assert await process.terminate() == 0
    log = tmp_path / "live.jsonl.zst"
    await cli("export", "--config", process.config, "-o", log)
    summary = await cli("replay", log, "--json")
    (live,) = await plant.decisions()
    told = [wire.read_decision(line.encode()) for line in summary.splitlines() if line[:1] == "{"]
    assert [wire.write_decision(decision) for decision in told] == live
    assert await plant.digest() in await cli("replay", log)
    assert "SIGHUP" in await cli("audit", "--config", process.config)


async def test_a_faulty_file_changes_nothing_and_every_fault_is_named(
    plant: Plant, tmp_path: Path
) -> None:
    process = await plant.start()
    await plant.until_taken({("positions", 0): 2, ("prices", 0): 1})
    before, sound = await config_of(process), process.config.read_text()
    (tmp_path / "rules.toml").write_text(RULES.read_text().replace(*STRICTER))
    process.config.write_text(
        '[rules]\nfile = "rules.toml"\n[log]\nlevel = "loud"\nsample = 1\n'
        + sound.replace("[shards]", "[shards]\ncommit_interval = 99")
    )
    await reloaded(process, "refused")
    (refused,) = lines(process, "reload refused")
    named = [str(fault).split(": ")[1] for fault in refused["faults"]]  # type: ignore[attr-defined]
    assert named == ["log.level", "log.sample", "shards.commit_interval"]
    assert await config_of(process) == before
    assert await kinds(plant) == ["MarginCall"]
    assert "nothing to send" in await cli("rules", "publish", RULES, "--config", plant.config("b"))
    assert process.running


async def test_both_signals_that_stop_are_a_good_end(plant: Plant) -> None:
    process = await plant.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        await process.until_joined()
        assert await process.terminate(number=number) == 0
        await process.start()
    assert "Traceback" not in process.log.read_text()


async def test_several_daemons_may_publish_the_same_rules_at_once(
    plant: Plant, tmp_path: Path
) -> None:
    """Each ends the other's transaction, or finds that nothing is left to send."""
    stricter = tmp_path / "rules.toml"
    stricter.write_text(RULES.read_text().replace(*STRICTER))
    settings, found = config.read(plant.config()), rules.read(stricter)
    await asyncio.gather(*(control.publish_file(settings, found, by="ana") for _ in range(3)))
    engine = await control.in_force(plant.client, plant.topics.control)
    assert engine.rules.profile == found.profile


async def test_rules_that_several_shards_cannot_follow_are_refused(
    broker: Broker, tmp_path: Path
) -> None:
    gated = tmp_path / "rules.toml"
    gated.write_text(RULES.read_text().replace("gate = false ", "gate = true "))
    async with Plant(broker.bootstrap, tmp_path, 2) as plant:
        with pytest.raises(control.WouldBeRefused, match="one shard, and these are 2"):
            await control.publish_file(config.read(plant.config()), rules.read(gated), by="ana")
        assert (await control.in_force(plant.client, plant.topics.control)).rules.profile is None
