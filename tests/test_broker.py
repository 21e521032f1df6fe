"""Prove what the other tests stand on: the broker, its transactions, and the line that is cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, ProducerFenced

from tests.broker import Broker, BrokerError
from tests.broker.proxy import END_TXN, CuttableProxy
from tests.conftest import MakeTopic
from tests.services import free_port

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def producing(bootstrap: str, transactional_id: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=transactional_id,
        request_timeout_ms=5000,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def committed(bootstrap: str, topic: str) -> list[bytes | None]:
    """Read the topic's only partition as a read_committed consumer, to its end."""
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values = []
        async with asyncio.timeout(20):
            while await consumer.position(partition) < end:
                batches = await consumer.getmany(timeout_ms=100)
                values += [record.value for records in batches.values() for record in records]
        return values
    finally:
        await consumer.stop()


async def test_a_transaction_is_visible_when_committed(
    broker: Broker, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    async with producing(broker.bootstrap, topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"committed")
        await producer.commit_transaction()
    assert await committed(broker.bootstrap, topic) == [b"committed"]


async def test_a_second_producer_fences_the_first(broker: Broker, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with producing(broker.bootstrap, topic) as first:
        await first.begin_transaction()
        await first.send_and_wait(topic, b"first")
        async with producing(broker.bootstrap, topic) as second:
            with pytest.raises(ProducerFenced):
                await first.commit_transaction()
            await second.begin_transaction()
            await second.send_and_wait(topic, b"second")
            await second.commit_transaction()
    assert await committed(broker.bootstrap, topic) == [b"second"]


async def test_topics_are_not_created_by_themselves(broker: Broker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=1000)
    await producer.start()
    try:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("nobody-made-me", b"")
    finally:
        await producer.stop()


async def test_a_cut_line_can_be_restored(
    broker: Broker, proxy: CuttableProxy, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    async with producing(proxy.bootstrap, topic) as producer, asyncio.timeout(30):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"before")
        proxy.cut()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        after = asyncio.create_task(producer.send_and_wait(topic, b"after"))
        await asyncio.sleep(0.2)
        assert not after.done()
        await proxy.restore()
        await after
        await producer.commit_transaction()
    assert await committed(broker.bootstrap, topic) == [b"before", b"after"]


@pytest.mark.parametrize(
    ("place", "seen_while_cut"),
    [("cut_on_request", []), ("cut_on_answer", [b"record"])],
)
async def test_a_commit_is_cut_at_the_chosen_place(
    broker: Broker,
    proxy: CuttableProxy,
    make_topic: MakeTopic,
    place: str,
    seen_while_cut: list[bytes],
) -> None:
    topic = await make_topic()
    async with producing(proxy.bootstrap, topic) as producer, asyncio.timeout(30):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"record")
        getattr(proxy, place)(END_TXN)
        commit = asyncio.create_task(producer.commit_transaction())
        await proxy.until_cut()
        # A predecessor's open transaction holds readers back, so the next owner fences it first.
        async with producing(broker.bootstrap, topic):
            assert await committed(broker.bootstrap, topic) == seen_while_cut
        await proxy.restore()
        # The same answer, whatever happened: the client cannot know.
        with pytest.raises(ProducerFenced):
            await commit


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with Broker(tmp_path) as own:
        admin = AIOKafkaAdminClient(bootstrap_servers=own.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("survivor", 1, 1)])
        await admin.close()
        async with producing(own.bootstrap, "owner") as producer:
            await producer.begin_transaction()
            await producer.send_and_wait("survivor", b"kept")
            await producer.commit_transaction()
        own.kill()
        assert not own.running
        await asyncio.to_thread(own.start)
        assert await committed(own.bootstrap, "survivor") == [b"kept"]


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    own = Broker(tmp_path, settings={"node.id": "minus one"})
    with pytest.raises(BrokerError, match="Invalid value minus one"):
        own.start()
    assert not own.running


def test_a_port_that_is_taken_is_refused(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="in use"):
        Broker(tmp_path, broker.port).start()


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    low, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert free_port() < int(low)
