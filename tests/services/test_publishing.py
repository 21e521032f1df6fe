"""What the daemon tells a real Mosquitto: what is committed, and never waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from consumers.market import Scene
from engine import wire
from engine.decisions import BadDebt
from producers.mqtt import ALERTS
from producers.mqtt_line import Line
from tests.broker import Broker
from tests.kafka.day import Day, play
from tests.kafka.plant import Plant, Process
from tests.services import missing
from tests.services.mosquitto import mosquitto

pytestmark = [
    pytest.mark.services,
    pytest.mark.kafka,
    pytest.mark.skipif(bool(missing("mosquitto")), reason=str(missing("mosquitto"))),
]

SCENE = Scene(accounts=100, symbols=2, start_minute=766, end_minute=780)


@pytest.fixture(scope="module")
def day() -> Day:
    """Play some minutes of the crash, once."""
    return play(SCENE)


@pytest.fixture
async def plant(broker: Broker, tmp_path: Path) -> AsyncIterator[Plant]:
    """Make topics of one shard."""
    async with Plant(broker.bootstrap, tmp_path, 1) as made:
        yield made


def daemon(plant: Plant, port: int, alerts_max: int) -> Process:
    """Return a daemon that publishes; a test finds its own port at the file's end."""
    path = plant.config()
    mqtt = (
        f"[mqtt]\nport = {port}\n[mqtt.publish]\nenabled = true\ninstance = 'one'\n"
        f"interval = 0.2\nalerts_max = {alerts_max}\n"
    )
    path.write_text(mqtt + path.read_text())
    process = Process(path)
    plant.processes.append(process)
    return process


class Watcher:
    """An operator who is told everything, also what was published while away."""

    def __init__(self, port: int) -> None:
        self._options = Line("127.0.0.1", port, "watcher").options(session_expiry=3_600)
        self.alerts: list[dict[str, Any]] = []
        self.retained: dict[str, bytes] = {}

    async def subscribe(self) -> None:
        """Begin; what is published from now on is kept for us."""
        async with aiomqtt.Client(**self._options) as client:
            await client.subscribe("liquidator/#", qos=1)

    async def hear(self, topic: str, value: bytes, seconds: float = 30) -> None:
        """Listen until a topic says `value`."""
        async with asyncio.timeout(seconds), aiomqtt.Client(**self._options) as client:
            async for message in client.messages:
                name, payload = str(message.topic), bytes(message.payload)  # type: ignore[arg-type]
                if "/alerts/" in name:
                    assert name.rpartition("/")[2] == json.loads(payload)["type"]
                    self.alerts.append(json.loads(payload))
                else:
                    self.retained[name] = payload
                if (name, payload) == (topic, value):
                    return

    def decided(self) -> list[dict[str, Any]]:
        """Return the alerts as Kafka has them."""
        return [{key: it[key] for key in it if key != "caused_by"} for it in self.alerts]


async def alerts_in_kafka(plant: Plant) -> list[dict[str, Any]]:
    """Return what was to be told, from the record of it."""
    (decisions,) = await plant.decisions()
    return [json.loads(raw) for raw in decisions if isinstance(wire.read_decision(raw), ALERTS)]


async def test_alerts_state_and_status_are_told(plant: Plant, tmp_path: Path, day: Day) -> None:
    with mosquitto(tmp_path / "mosquitto") as server:
        watcher = Watcher(server.port)
        await watcher.subscribe()
        process = daemon(plant, server.port, alerts_max=100_000)
        await plant.put(day.records)
        await process.start()
        await plant.until_taken(plant.counts(day.records))
        await asyncio.sleep(1.5)
        _, metrics = await process.get("/metrics")
        assert await process.terminate() == 0
        await watcher.hear("liquidator/one/status", b"offline")
    told = await alerts_in_kafka(plant)
    assert BadDebt.__name__ in {it["type"] for it in told}
    assert watcher.decided() == told
    assert {it["caused_by"]["topic"] for it in watcher.alerts} <= set(plant.topics)
    assert f'liquidator_mqtt_alerts_total{{outcome="published"}} {float(len(told))}' in metrics
    state = json.loads(watcher.retained["liquidator/state/0"])
    assert (state["shard"], state["instance"]) == (0, "one")
    lost = sum(float(it["amount"]) for it in told if it["type"] == "BadDebt")
    assert sum(it["amount"] for it in state["bad_debt_outstanding"]) == pytest.approx(lost)
    assert sum(state["accounts"].values()) > 50
    assert abs(state["time"] - day.records[-1][1].time) < 120_000_000


async def test_without_a_broker_shards_work_on_and_the_newest_alerts_wait(
    plant: Plant, tmp_path: Path, day: Day
) -> None:
    server = mosquitto(tmp_path / "mosquitto")
    with server:
        watcher = Watcher(server.port)
        await watcher.subscribe()
    process = daemon(plant, server.port, alerts_max=2)
    await plant.put(day.records)
    await process.start()
    await plant.until_taken(plant.counts(day.records))
    told = await alerts_in_kafka(plant)
    with server:
        hearing = asyncio.create_task(watcher.hear("liquidator/one/status", b"offline"))
        while len(watcher.alerts) < 2:
            await asyncio.sleep(0.05)
        _, metrics = await process.get("/metrics")
        # Killed, it says nothing any more: the broker does.
        await process.kill()
        await hearing
    assert watcher.decided() == told[-2:]
    dropped = f'liquidator_mqtt_alerts_total{{outcome="dropped"}} {float(len(told) - 2)}'
    assert dropped in metrics
    with contextlib.suppress(KeyError):
        del watcher.retained["liquidator/state/0"]
    assert watcher.retained == {"liquidator/one/status": b"offline"}
