"""Which rights of the daemon's user are missing, by trying each without disturbing anybody.

Inputs are read without a group; what is written is aborted; the group and the transactions are the
doctor's own, named like the daemon's with "-doctor" at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from consumers.config import Config
from consumers.doctor import Finding
from producers.topics import partitions

SECONDS = 10.0
DENIED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


async def examine(config: Config) -> list[Finding]:
    """Try to read each input, to write each output, and to join a group."""
    topics, name = config.topics, f"{config.group}-doctor"
    seen, hidden = await _visible(config)
    inputs = (
        topics.prices,
        topics.positions,
        topics.control,
        topics.engine_state,
        topics.journal,
        topics.account_risk,
    )
    outputs = (
        topics.liquidation_orders,
        topics.risk_events,
        topics.dead_letters,
        topics.journal,
        topics.engine_state,
        topics.account_risk,
    )
    tries = {
        **{f"Read on topic {topic}": _read(config, topic) for topic in inputs if topic in seen},
        **{f"Write on topic {it}": _write(config, it, name) for it in outputs if it in seen},
    }
    if config.rules.file and topics.control in seen:
        # On SIGHUP the daemon publishes what its rules file changes.
        published = _write(config, topics.control, f"{topics.control}-rules-doctor")
        tries[f"Write on topic {topics.control}"] = published
    if topics.positions in seen:
        tries[f"Read on group {name}"] = _join(config, name)
    found = [await _tried(right, trying) for right, trying in tries.items()]
    wrong = [finding for finding in found if finding is not None]
    for topic in hidden:
        said = f"Describe on topic {topic}: denied"
        wrong.append(Finding("rights", "fail", said, f"allow {_who(config)} Describe on it"))
    if not tries and not wrong:
        return [Finding("rights", "warn", "not tried: there are no topics", "create them first")]
    said = "reads every input, writes every output, joins a group"
    return wrong or [Finding("rights", "ok", said)]


async def _visible(config: Config) -> tuple[set[str], list[str]]:
    """Return the topics that this user sees, and those that are kept from it."""
    seen, hidden = set(), []
    for topic in config.topics:
        try:
            seen |= set(await partitions(config.client(), [topic]))
        except TopicAuthorizationFailedError:
            hidden.append(topic)
    return seen, hidden


async def _tried(right: str, trying: Awaitable[None]) -> Finding | None:
    """Return what is wrong with one right, if anything is."""
    try:
        async with asyncio.timeout(SECONDS):
            await trying
    except TransactionalIdAuthorizationFailed as error:
        remedy = (
            "allow Write and Describe on transactional ids that begin with the group's name, and "
            "with that of the topic control"
        )
        return Finding("rights", "fail", f"transactional id: denied: {error}", remedy)
    except DENIED as error:
        said = f"{right}: denied: {type(error).__name__}"
        return Finding("rights", "fail", said, f"allow the daemon's user {right}, and Describe")
    except (KafkaError, TimeoutError) as error:
        said = f"{right}: {type(error).__name__}: {error}".rstrip(": ")
        return Finding("rights", "fail", said, "see the brokers' logs")
    return None


async def _read(config: Config, topic: str) -> None:
    """Fetch from a topic's first partition; raises `KafkaError` when that is denied."""
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        **config.client(),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4096,
    )
    try:
        await consumer.start()
        consumer.assign([partition])
        # What is denied is raised by the fetch, also where there is nothing to fetch.
        for _ in range(3):
            await consumer.getmany(partition, timeout_ms=150, max_records=1)
    finally:
        await consumer.stop()


async def _write(config: Config, topic: str, name: str) -> None:
    """Write a record in a transaction and abort it; raises `KafkaError` when that is denied."""
    producer = AIOKafkaProducer(**config.client(), transactional_id=name)
    try:
        await producer.start()
        await producer.begin_transaction()
        try:
            await producer.send_and_wait(topic, b"doctor", b"doctor", partition=0)
        finally:
            await producer.abort_transaction()
    finally:
        with contextlib.suppress(KafkaError):
            await producer.stop()


async def _join(config: Config, name: str) -> None:
    """Join a group of the doctor's own and leave it; raises `KafkaError` when that is denied."""
    consumer = AIOKafkaConsumer(
        config.topics.positions,
        **config.client(),
        group_id=name,
        auto_offset_reset="latest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=100)
    finally:
        await consumer.stop()


def _who(config: Config) -> str:
    return f"user {config.kafka.sasl.username}" if config.kafka.sasl.username else "the user"
