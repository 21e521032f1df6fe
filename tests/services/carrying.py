"""What a test of the bridge needs: its process on a broker's topics, and a venue that publishes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiomqtt
from aiokafka import TopicPartition

from consumers import journal
from engine import wire
from engine.events import PriceUpdate
from tests.kafka.plant import Plant, Process
from tests.services import free_port

SOURCE = """
[[bridge.sources]]
name = "venue"
topic = "venue/{symbol}/{kind}"
price = "p"
time = "t"
time_unit = "us"
sequence = "s"
"""
"""A source as `Venue` publishes it."""

WITHOUT_SEQUENCE = SOURCE.replace('sequence = "s"\n', "")


def config(
    plant: Plant, port: int, sources: str = SOURCE, mqtt: str = "", kafka: str | None = None
) -> Path:
    """Write a configuration of the bridge and return its path."""
    path = plant.directory / "bridge.toml"
    broker = kafka or plant.client["bootstrap_servers"]
    path.write_text(
        f"[kafka]\nbrokers = [{json.dumps(broker)}]\ntopic_prefix = {json.dumps(plant.prefix)}\n"
        f"[mqtt]\nport = {port}\n{mqtt}\n[bridge]\n{sources}\n"
        # A test finds the port at the file's end.
        f"[http]\nport = {free_port()}\n"
    )
    text = path.read_text()
    http = text.rpartition("port = ")[2].strip()
    path.write_text(text.replace("[bridge]\n", f"[bridge]\nhttp_port = {http}\n"))
    return path


class Carrier(Process):
    """One `liquidator bridge`."""

    def __init__(self, config: Path) -> None:
        super().__init__(config, "bridge")

    async def until(self, wanted: Callable[[dict[str, float]], bool], seconds: float = 30) -> None:
        """Wait until its counts are as `wanted`."""
        counts: dict[str, float] = {}
        try:
            async with asyncio.timeout(seconds):
                while not wanted(counts := await self.counts()):
                    self.check()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{counts}\n{self.log.read_text()[-2000:]}") from None

    async def until_ready(self, seconds: float = 30) -> None:
        """Wait until it carries prices."""
        async with asyncio.timeout(seconds):
            while True:
                self.check()
                try:
                    if not await self.reasons():
                        return
                except OSError:
                    pass
                await asyncio.sleep(0.05)

    async def counts(self) -> dict[str, float]:
        """Return what became of messages, by outcome over all sources."""
        found: dict[str, float] = defaultdict(float)
        text = (await self.get("/metrics"))[1]
        pattern = r'^liquidator_bridge_messages_total\{outcome="(\w+)",.*\} (\S+)$'
        for outcome, number in re.findall(pattern, text, re.MULTILINE):
            found[outcome] += float(number)
        return found


class Venue:
    """Publishes prices with QoS 1, again where the broker did not say that it has them."""

    def __init__(self, port: int, symbols: int = 5, *, retain: bool = False) -> None:
        self.port = port
        self.retain = retain
        self.last: dict[str, int] = {f"S{number}": 0 for number in range(symbols)}
        self.sent = 0
        self._bodies: dict[str, str] = {}

    async def run(self, seconds: float, rate: float = 400.0) -> None:
        """Publish prices of one symbol after another, about `rate` a second."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                async with aiomqtt.Client("127.0.0.1", self.port, timeout=2) as client:
                    while time.monotonic() < until:
                        await self.round(client)
                        await asyncio.sleep(len(self.last) / rate)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)

    async def once(self) -> None:
        """Publish one price of every symbol."""
        async with aiomqtt.Client("127.0.0.1", self.port) as client:
            await self.round(client)

    async def round(self, client: aiomqtt.Client) -> None:
        """Publish one price of every symbol over a connection."""
        for symbol, number in self.last.items():
            self.last[symbol] = number + 1
            body = {"p": str(100 + number), "t": time.time_ns() // 1000, "s": number + 1}
            topic = f"venue/{symbol}/mark"
            self._bodies[topic] = json.dumps(body)
            await client.publish(topic, self._bodies[topic], qos=1, retain=self.retain)
            self.sent += 1

    async def again(self) -> None:
        """Publish the last price of every symbol again, as it was."""
        async with aiomqtt.Client("127.0.0.1", self.port) as client:
            for topic, body in self._bodies.items():
                await client.publish(topic, body, qos=1)


async def prices(plant: Plant) -> dict[str, list[PriceUpdate]]:
    """Return the prices in Kafka by symbol, in order."""
    found: dict[str, list[PriceUpdate]] = defaultdict(list)
    async for record in journal.committed(plant.client, TopicPartition(plant.topics.prices, 0)):
        event: Any = wire.read_event(record.value, "prices")
        assert record.key == event.symbol.encode()
        found[event.symbol].append(event)
    return found


def repeated(of_symbol: list[PriceUpdate]) -> int:
    """Return how many prices of a symbol are no newer than one before, by number or as published:
    a venue's grow."""
    count, last = 0, (0, Decimal(0))
    for event in of_symbol:
        count += event.sequence <= last[0] or event.price <= last[1]
        last = (max(last[0], event.sequence), max(last[1], event.price))
    return count
