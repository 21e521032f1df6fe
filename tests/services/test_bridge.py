"""The bridge between a real Mosquitto and a real Kafka: what it carries, keeps and loses."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import aiomqtt
import pytest
from aiokafka import TopicPartition

from consumers import journal
from consumers.demo import MQTT_TOPIC
from consumers.market import Scene, World
from consumers.mqtt_acks import NotSubscribed, Subscriber
from consumers.player import Pace, Player
from consumers.secure_lines import Tls, ssl_context
from consumers.tally import Tally
from producers.mqtt_line import Line
from producers.mqtt_prices import PriceFeed
from tests.broker import Broker
from tests.broker.proxy import CuttableProxy
from tests.kafka.plant import Plant
from tests.services import Server, free_port, missing
from tests.services.carrying import (
    SOURCE,
    WITHOUT_SEQUENCE,
    Carrier,
    Venue,
    config,
    prices,
    repeated,
)
from tests.services.mosquitto import Authority, mosquitto, passwords

pytestmark = [
    pytest.mark.services,
    pytest.mark.kafka,
    pytest.mark.skipif(bool(missing("mosquitto")), reason=str(missing("mosquitto"))),
]


@pytest.fixture
def mqtt(tmp_path: Path) -> Iterator[Server]:
    """Run a Mosquitto without passwords."""
    server = mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def plant(broker: Broker, tmp_path: Path) -> AsyncIterator[Plant]:
    """Make topics of one shard."""
    async with Plant(broker.bootstrap, tmp_path, 1) as made:
        yield made


@contextlib.asynccontextmanager
async def carrying(path: Path) -> AsyncIterator[Carrier]:
    """Run the bridge, ready."""
    carrier = Carrier(path)
    try:
        await carrier.start()
        await carrier.until_ready()
        yield carrier
    finally:
        await carrier.kill()


async def test_prices_come_through_tls_and_what_cannot_be_read_is_kept(
    plant: Plant, tmp_path: Path
) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path / "authority")
    passwords(tmp_path / "passwords", bridge="a secret", venue="another")
    server = mosquitto(
        tmp_path / "mosquitto",
        f"password_file {tmp_path}/passwords\n"
        f"certfile {authority.server_certificate}\nkeyfile {authority.server_key}",
    )
    (tmp_path / "secret").write_text("a secret\n")
    mqtt = (
        f'username = "bridge"\npassword_file = "{tmp_path}/secret"\n'
        f'[mqtt.tls]\nenabled = true\nca_file = "{authority.certificate}"'
    )
    tls = aiomqtt.TLSParameters(ca_certs=str(authority.certificate))
    login = {"username": "venue", "password": "another", "tls_params": tls}
    with server:
        async with (
            carrying(config(plant, server.port, SOURCE + PLAIN, mqtt)) as carrier,
            aiomqtt.Client("127.0.0.1", server.port, **login) as venue,
        ):
            await venue.publish("plain/btcusdt", "30000.50", qos=1)
            await venue.publish("plain/other", "1", qos=1)
            await venue.publish("venue/BTC/mark", b"\xff\x00{", qos=1)
            await venue.publish("venue/BTC/mark", '{"p": 1, "t": 5, "s": 1}', qos=1)
            await carrier.until(
                lambda c: c["forwarded"] + c["malformed"] + c["unwanted"] + c["stale"] == 4
            )
            assert await carrier.terminate() == 0
    ((event,),) = (await prices(plant)).values()
    assert (event.symbol, event.kind, event.price) == ("BTC-USDT", "index", Decimal("30000.50"))
    topic = TopicPartition(f"{plant.prefix}bridge-dead-letters", 0)
    (letter,) = [record async for record in journal.committed(plant.client, topic)]
    assert (letter.key, letter.value) == (b"venue/BTC/mark", b"\xff\x00{")
    headers = dict(letter.headers)
    assert headers["source"] == b"venue"
    assert headers["mqtt-topic"] == b"venue/BTC/mark"
    assert headers["reason"].startswith(b"payload: ")


PLAIN = """
[[bridge.sources]]
name = "plain"
topic = "plain/{symbol}"
kind = "index"
symbols = { btcusdt = "BTC-USDT" }
"""


async def test_what_is_not_acknowledged_comes_again(mqtt: Server) -> None:
    """Pins what the bridge rests on: the private attribute by which acknowledging waits for us."""
    options = Line("127.0.0.1", mqtt.port, "pinned").options(session_expiry=60, in_flight=10)
    async with Subscriber(**options) as subscriber:
        await subscriber.listen("venue/#")
    async with aiomqtt.Client("127.0.0.1", mqtt.port) as venue:
        for number in range(5):
            await venue.publish("venue/x", str(number), qos=1)
    counts = []
    for acknowledged in (0, 3, 2, 0):
        came: list[aiomqtt.Message] = []
        async with Subscriber(**options) as subscriber:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for messages in subscriber.arrivals():
                        came += messages
            for message in came[:acknowledged]:
                subscriber.acknowledge(message)
        counts.append(len(came))
    assert counts == [5, 5, 2, 0]


async def test_a_subscription_that_the_broker_refuses_is_no_silence(tmp_path: Path) -> None:
    rights = {"defaultACLAccess": {"subscribe": False}, "clients": [], "groups": [], "roles": []}
    (tmp_path / "rights.json").write_text(json.dumps(rights))
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    server = mosquitto(
        tmp_path / "mosquitto",
        f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {tmp_path}/rights.json",
    )
    with server:
        async with Subscriber(**Line("127.0.0.1", server.port, "nobody").options()) as subscriber:
            with pytest.raises(NotSubscribed, match="refuses to subscribe us to venue/#"):
                await subscriber.listen("venue/#")


@pytest.mark.parametrize("sources", [SOURCE, WITHOUT_SEQUENCE], ids=["numbered", "by time"])
async def test_a_killed_bridge_loses_no_newest_price(
    plant: Plant, mqtt: Server, sources: str
) -> None:
    venue = Venue(mqtt.port)
    path = config(plant, mqtt.port, sources)
    async with carrying(path):
        publishing = asyncio.create_task(venue.run(seconds=3))
        await asyncio.sleep(1.5)
    # It was killed in the middle of its work; messages wait at the broker meanwhile.
    async with carrying(path) as carrier:
        await publishing
        await carrier.until(lambda c: sum(c.values()) > 0)
        await until_newest(plant, venue)
    found = await prices(plant)
    told("bridge killed", venue, found)
    assert sum(map(repeated, found.values())) == 0


@pytest.mark.parametrize("sources", [SOURCE, WITHOUT_SEQUENCE], ids=["numbered", "by time"])
async def test_what_stands_in_kafka_is_known_after_a_restart(
    plant: Plant, mqtt: Server, sources: str
) -> None:
    venue = Venue(mqtt.port)
    path = config(plant, mqtt.port, sources)
    async with carrying(path) as carrier:
        await venue.once()
        await carrier.until(lambda c: c["forwarded"] == 5)
    async with carrying(path) as carrier:
        # As a broker delivers what was written, and not acknowledged any more.
        await venue.again()
        await carrier.until(lambda c: c["duplicate"] == 5)
        await venue.once()
        await carrier.until(lambda c: c["forwarded"] == 5)
    for first, second in (await prices(plant)).values():
        # Without a gap, also where the bridge numbers.
        assert second.sequence == first.sequence + 1


async def test_a_killed_mosquitto_loses_no_newest_price_that_is_published_after(
    plant: Plant, mqtt: Server
) -> None:
    venue = Venue(mqtt.port)
    async with carrying(config(plant, mqtt.port)) as carrier:
        publishing = asyncio.create_task(venue.run(seconds=3))
        await asyncio.sleep(1.5)
        await asyncio.to_thread(mqtt.kill)
        await asyncio.sleep(0.5)
        assert await carrier.reasons()
        await asyncio.to_thread(mqtt.start)
        await publishing
        await carrier.until_ready()
        await venue.once()
        await until_newest(plant, venue)
    found = await prices(plant)
    told("Mosquitto killed", venue, found)
    assert sum(map(repeated, found.values())) == 0


async def test_what_is_retained_heals_a_queue_that_overflowed(plant: Plant, tmp_path: Path) -> None:
    """A full queue drops the newest: without what is retained the first fifty would be the last."""
    # Of a setting that stands twice, the later one counts.
    settings = "allow_anonymous true\nmax_queued_messages 50"
    with mosquitto(tmp_path / "mosquitto", settings) as server:
        venue = Venue(server.port, retain=True)
        path = config(plant, server.port)
        async with carrying(path):
            pass
        for _ in range(40):
            await venue.once()
        async with carrying(path):
            await until_newest(plant, venue)
    found = await prices(plant)
    told("queue overflowed", venue, found)
    assert sum(map(len, found.values())) < venue.sent / 2
    assert sum(map(repeated, found.values())) == 0


async def test_the_shipped_settings_are_mosquittos(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "deploy/mosquitto/mosquitto.conf").read_text()
    authority = await asyncio.to_thread(Authority, tmp_path / "authority")
    passwords(tmp_path / "passwords", liquidator="a secret")
    (tmp_path / "rights").write_text("user liquidator\ntopic readwrite #\n")
    port = free_port()
    for theirs, ours in {
        "listener 8883": f"listener {port} 127.0.0.1",
        "/etc/mosquitto/certs/ca.pem": str(authority.certificate),
        "/etc/mosquitto/certs/server.pem": str(authority.server_certificate),
        "/etc/mosquitto/certs/server.key": str(authority.server_key),
        "/etc/mosquitto": str(tmp_path),
        "/var/lib/mosquitto": str(tmp_path),
        "user mosquitto": f"user {getpass.getuser()}",
    }.items():
        assert theirs in shipped
        shipped = shipped.replace(theirs, ours)
    (tmp_path / "mosquitto.conf").write_text(shipped)
    command = ["mosquitto", "-c", str(tmp_path / "mosquitto.conf")]
    tls = ssl_context(Tls(enabled=True, ca_file=str(authority.certificate)))
    line = Line("127.0.0.1", port, "shipped", "liquidator", "a secret", tls)
    with Server(command, tmp_path, port):
        async with Subscriber(**line.options(session_expiry=60)) as subscriber:
            await subscriber.listen("venue/#")
        with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
            async with aiomqtt.Client(**line._replace(username=None, password=None).options()):
                pass
        with pytest.raises(aiomqtt.MqttError, match="CERTIFICATE_VERIFY_FAILED"):
            async with aiomqtt.Client(**line._replace(tls=ssl_context(Tls())).options()):
                pass


async def test_without_kafka_the_newest_waits_and_nothing_is_acknowledged(
    plant: Plant, mqtt: Server, proxy: CuttableProxy
) -> None:
    venue = Venue(mqtt.port)
    path = config(plant, mqtt.port, kafka=proxy.bootstrap)
    async with carrying(path) as carrier:
        await venue.once()
        await carrier.until(lambda c: c["forwarded"] == 5)
        proxy.cut()
        await venue.run(seconds=1)
        await proxy.restore()
        await until_newest(plant, venue)
        assert sum(map(repeated, (await prices(plant)).values())) == 0
        proxy.cut()
        await venue.run(seconds=1)
        assert (await carrier.counts())["forwarded"] < venue.sent / 2
        await carrier.kill()
        await proxy.restore()
        # What only a process without Kafka had seen was not acknowledged.
        await carrier.start()
        await carrier.until_ready()
        await until_newest(plant, venue)
    found = await prices(plant)
    told("Kafka cut off, bridge killed", venue, found)


async def test_the_demo_is_played_over_mqtt_into_a_daemon(plant: Plant, mqtt: Server) -> None:
    demo = Path(__file__).parents[2] / "deploy" / "demo.toml"
    sources = "[[bridge" + demo.read_text().partition("[[bridge")[2]
    line = Line("127.0.0.1", mqtt.port, "demo")
    daemon = await plant.start()
    scene = Scene(accounts=300, symbols=2, start_minute=767, end_minute=772)
    tally = Tally(frozenset())
    async with (
        carrying(config(plant, mqtt.port, sources)) as carrier,
        PriceFeed(line, MQTT_TOPIC) as feed,
        Player(plant.client["bootstrap_servers"], plant.prefix, prices=feed) as player,
    ):
        world = World(scene)
        await player.run(world, tally, Pace(world.clock.time, None))
        counts = await carrier.counts()
    assert await daemon.terminate() == 0
    assert tally.summary(scene, 1.0, None).liquidations > 5
    assert counts["forwarded"] == sum(map(len, (await prices(plant)).values())) > 20
    assert counts["forwarded"] + counts["conflated"] == sum(counts.values())


async def until_newest(plant: Plant, venue: Venue, seconds: float = 30) -> None:
    """Wait until the last price of every symbol stands in Kafka, as its last."""
    wanted = {symbol: 100 + number - 1 for symbol, number in venue.last.items()}
    newest: dict[str, Decimal] = {}
    try:
        async with asyncio.timeout(seconds):
            while newest != wanted:
                newest = {symbol: it[-1].price for symbol, it in (await prices(plant)).items()}
    except TimeoutError:
        raise AssertionError(f"newest {newest}, published {wanted}") from None


def told(what: str, venue: Venue, found: dict[str, list]) -> None:
    """Print what was lost and doubled."""
    carried = {symbol: {event.price for event in events} for symbol, events in found.items()}
    written = sum(map(len, found.values()))
    without = venue.sent - sum(map(len, carried.values()))
    again = written - sum(map(len, carried.values()))
    engine = sum(map(repeated, found.values()))
    print(
        f"{what}: {venue.sent} published, {written} in Kafka, {without} not carried, "
        f"{again} twice, {engine} no newer than before"
    )
