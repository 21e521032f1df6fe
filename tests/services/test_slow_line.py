"""What a real Mosquitto is told over a slow line: that we go, whatever waits, and how it stands."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import aiomqtt
import pytest
from prometheus_client import CollectorRegistry

from engine.decisions import BadDebt
from producers.kafka import Cause
from producers.mqtt import STOP_SECONDS, Publisher
from producers.mqtt_line import Line
from producers.view import View
from tests.services import Server, free_port, missing
from tests.services.mosquitto import mosquitto

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(bool(missing("mosquitto")), reason=str(missing("mosquitto"))),
]

ONE_WAY = 0.03
"""Seconds that the line takes in each direction."""

STATUS = "slow/one/status"


class SlowLine:
    """Forward a port of its own to `target`, late; while `answering` is not set, one way only."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.answering = asyncio.Event()
        self.answering.set()
        self._target = target

    async def open(self) -> asyncio.Server:
        """Accept connections."""
        return await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def _forward(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        broker, to_broker = await asyncio.open_connection("127.0.0.1", self._target)
        there = asyncio.create_task(self._pump(client, to_broker))
        back = asyncio.create_task(self._pump(broker, to_client, self.answering))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task, writer in ((there, to_broker), (back, to_client)):
            task.cancel()
            writer.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: asyncio.Event | None = None,
    ) -> None:
        while data := await reader.read(65_536):
            await asyncio.sleep(ONE_WAY)
            if passes is not None:
                await passes.wait()
            writer.write(data)
            await writer.drain()


class Ear:
    """Somebody near the broker, who is told at once; `heard` are topics and payloads in order."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._port = port
        self._more = asyncio.Event()

    async def listen(self) -> None:
        """Listen until cancelled."""
        async with aiomqtt.Client("127.0.0.1", self._port) as client:
            await client.subscribe("slow/#", qos=1)
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                self.heard.append((str(message.topic), message.payload))
                self._more.set()

    async def until(self, told: Callable[[], bool], seconds: float) -> None:
        """Wait until something was told; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while not told():
                self._more.clear()
                await self._more.wait()

    async def until_heard(self, topic: str, payload: bytes, seconds: float = 5) -> None:
        """Wait until the last that was said on `topic` is `payload`; raises `TimeoutError`."""
        await self.until(lambda: self.last(topic) == payload, seconds)

    def last(self, topic: str) -> bytes | None:
        """Return what was said last on a topic."""
        return next((said for at, said in reversed(self.heard) if at == topic), None)

    def alerts(self) -> list[int]:
        """Return the offsets of what the alerts answer."""
        said = [json.loads(payload) for topic, payload in self.heard if "/alerts/" in topic]
        return [it["caused_by"]["offset"] for it in said]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with mosquitto(tmp_path / "mosquitto") as made:
        yield made


@pytest.fixture
async def ear(server: Server) -> AsyncIterator[Ear]:
    made = Ear(server.port)
    listening = asyncio.create_task(made.listen())
    yield made
    listening.cancel()


@pytest.fixture
async def line(server: Server) -> AsyncIterator[SlowLine]:
    made = SlowLine(server.port)
    async with await made.open():
        yield made


def publisher(line: SlowLine) -> Publisher:
    """Return one that is to publish over the line."""
    registry = CollectorRegistry()
    return Publisher(Line("127.0.0.1", line.port, "slow"), "slow", "one", 0.2, 5_000, registry)


def alerts(count: int) -> list[tuple[BadDebt, Cause]]:
    """Return as many alerts; their causes number them from 0."""
    made = BadDebt(
        shard=0,
        seq=0,
        index=0,
        time=0,
        account="a",
        margin="cross",
        id="a/1",
        number=1,
        asset="USD",
        market="derivatives",
        cause="bankruptcy",
        amount=Decimal(1),
    )
    return [(made, Cause("prices", 0, number)) for number in range(count)]


def view(seconds: float) -> View:
    """Return an empty shard at a time."""
    gauges = {
        "liquidator_engine_time_seconds": {(): seconds},
        "liquidator_accounts": {},
        "liquidator_bad_debt_outstanding": {},
        "liquidator_bad_debt_unrealised": {},
    }
    return View({}, gauges, {})


async def test_all_alerts_come_in_their_order_without_a_round_trip_for_each(
    line: SlowLine, ear: Ear
) -> None:
    telling = publisher(line)
    telling.start()
    await ear.until_heard(STATUS, b"online")
    began = time.monotonic()
    telling.committed(alerts(200))
    await ear.until(lambda: len(ear.alerts()) == 200, 10)
    assert time.monotonic() - began < 200 * 2 * ONE_WAY / 3
    await telling.stop()
    await ear.until_heard(STATUS, b"offline")
    assert ear.alerts() == list(range(200))


async def test_states_are_told_while_alerts_wait(line: SlowLine, ear: Ear) -> None:
    telling = publisher(line)
    telling.start()
    await ear.until_heard(STATUS, b"online")
    telling.committed(alerts(2_000))

    def told(micros: int) -> bool:
        return bool(json.loads(ear.last("slow/state/0") or b"{}").get("time") == micros)

    for seconds in (1, 2):
        telling.show(0, view(seconds))
        await ear.until(partial(told, seconds * 1_000_000), 3)
    assert len(ear.alerts()) < 1_000
    await telling.stop()


async def test_offline_is_told_at_a_stop_although_alerts_wait(line: SlowLine, ear: Ear) -> None:
    telling = publisher(line)
    telling.start()
    await ear.until_heard(STATUS, b"online")
    telling.committed(alerts(5_000))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await telling.stop()
    assert time.monotonic() - began < STOP_SECONDS + 0.5
    await ear.until_heard(STATUS, b"offline", 1)
    assert ear.alerts() == list(range(len(ear.alerts())))


@pytest.mark.parametrize("welcomed", [False, True])
async def test_offline_is_told_although_the_broker_does_not_answer(
    line: SlowLine, ear: Ear, welcomed: bool
) -> None:
    telling = publisher(line)
    telling.start()
    await ear.until_heard(STATUS, b"online")
    if welcomed:
        await asyncio.sleep(4 * ONE_WAY)
    # Otherwise it never hears that the broker has its "online".
    line.answering.clear()
    telling.committed(alerts(1_000))
    await asyncio.sleep(0.2)
    await telling.stop()
    await ear.until_heard(STATUS, b"offline", 1)
    assert bool(ear.alerts()) == welcomed
