"""What the bridge takes from a real Mosquitto: each message once, and no more than it can hold."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiomqtt
import pytest
from aiokafka import TopicPartition

from consumers import journal
from consumers.mqtt import LETTER_BYTES_MAX
from producers.mqtt_line import PACKET_BYTES_MAX
from tests.broker import Broker
from tests.kafka.plant import Plant
from tests.services import Server, missing
from tests.services.carrying import SOURCE, Carrier, Venue, config, prices
from tests.services.mosquitto import mosquitto

pytestmark = [
    pytest.mark.services,
    pytest.mark.kafka,
    pytest.mark.skipif(bool(missing("mosquitto")), reason=str(missing("mosquitto"))),
]


@pytest.fixture
def mqtt(tmp_path: Path) -> Iterator[Server]:
    with mosquitto(tmp_path / "mosquitto") as server:
        yield server


@pytest.fixture
async def plant(broker: Broker, tmp_path: Path) -> AsyncIterator[Plant]:
    async with Plant(broker.bootstrap, tmp_path, 1) as made:
        yield made


def plain(name: str, topic: str) -> str:
    """Return a source whose messages are prices and nothing else."""
    return f'[[bridge.sources]]\nname = "{name}"\ntopic = "{topic}"\nkind = "mark"\n'


async def carried(carrier: Carrier, venue: aiomqtt.Client, count: int, each: int) -> None:
    """Publish so many prices, and wait until every one is in Kafka `each` times."""
    before = (await carrier.counts())["forwarded"]
    for number in range(1, count + 1):
        await venue.publish("over/BTC/x", str(number), qos=1, retain=True)
        wanted = before + number * each
        await carrier.until(lambda c, wanted=wanted: c["forwarded"] >= wanted, 10)  # type: ignore[misc]
    # What came twice would be here by now.
    await asyncio.sleep(0.3)


async def test_sources_whose_topics_overlap_read_each_message_once(
    plant: Plant, mqtt: Server
) -> None:
    wide = plain("wide", "over/{symbol}/#")
    path = config(plant, mqtt.port, plain("narrow", "over/{symbol}/+") + wide)
    async with aiomqtt.Client("127.0.0.1", mqtt.port) as venue:
        carrier = Carrier(path)
        try:
            await carrier.start()
            await carrier.until_ready()
            await carried(carrier, venue, 3, each=2)
            assert await carrier.terminate() == 0
            # The broker's session still has the subscription that the file names no more.
            config(plant, mqtt.port, wide)
            carrier = Carrier(path)
            await carrier.start()
            await carrier.until_ready()
            await carried(carrier, venue, 2, each=1)
        finally:
            await carrier.kill()
    found = Counter(event.source for event in (await prices(plant))["BTC"])
    assert found == {"narrow": 3, "wide": 5}


async def test_long_messages_do_not_fill_the_memory(plant: Plant, mqtt: Server) -> None:
    venue = Venue(mqtt.port)
    carrier = Carrier(config(plant, mqtt.port))
    long = b"x" * (PACKET_BYTES_MAX - 100)
    try:
        await carrier.start()
        await carrier.until_ready()
        await venue.once()
        await carrier.until(lambda c: c["forwarded"] == 5)
        before = peak(carrier)
        async with aiomqtt.Client("127.0.0.1", mqtt.port) as client:
            await client.publish("venue/S0/mark", b"y" * PACKET_BYTES_MAX, qos=1)
            for _ in range(100):
                await client.publish("venue/S0/mark", long, qos=1)
        await venue.once()
        await carrier.until(lambda c: c["forwarded"] == 10)
        assert (await carrier.counts())["malformed"] == 100
        assert peak(carrier) - before < 30_000
        assert await carrier.terminate() == 0
    finally:
        await carrier.kill()
    topic = TopicPartition(f"{plant.prefix}bridge-dead-letters", 0)
    letters = [record async for record in journal.committed(plant.client, topic)]
    assert {letter.value for letter in letters} == {long[:LETTER_BYTES_MAX]}
    assert {dict(letter.headers)["bytes"] for letter in letters} == {b"%d" % len(long)}


def peak(carrier: Carrier) -> int:
    """Return the most memory that a bridge had so far, in KiB."""
    status = Path(f"/proc/{carrier.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


async def test_a_reload_is_no_end(plant: Plant, mqtt: Server) -> None:
    carrier = Carrier(config(plant, mqtt.port, SOURCE))
    try:
        await carrier.start()
        await carrier.until_ready()
        carrier.send(signal.SIGHUP)
        await Venue(mqtt.port).once()
        await carrier.until(lambda c: c["forwarded"] == 5)
        assert "a changed file needs a restart" in carrier.log.read_text()
        assert await carrier.terminate() == 0
    finally:
        await carrier.kill()
