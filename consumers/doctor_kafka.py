"""What of Kafka a daemon needs: brokers, topics and their copies, a clock that agrees, rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from consumers import control, doctor_rights
from consumers.config import Config
from consumers.doctor import Clock, Finding
from consumers.presence import TopicMissing
from producers import topics as kafka_topics

BROKER_SECONDS = 5.0
CHECK_SECONDS = 30.0
SKEW_SECONDS = 0.5
"""Clocks that are further apart than this make lags and ages lie."""

TRANSACTIONS = {22: "InitProducerId", 24: "AddPartitionsToTxn", 26: "EndTxn", 28: "TxnOffsetCommit"}
"""Requests without which nothing can be committed, by their number."""

OF_KAFKA_4 = 68
"""A request that brokers know from 4.0 on, with which this is tested."""


async def examine(config: Config, config_file: Path, clock: Clock) -> list[Finding]:
    """Check what of Kafka a daemon needs; what needs a broker is left out while none answers."""
    found = [await _broker(config, broker) for broker in config.kafka.brokers]
    if all(finding.status == "fail" for finding in found):
        return found
    checks: tuple[tuple[str, Callable[[], Awaitable[list[Finding]]]], ...] = (
        ("topics", lambda: _topics(config, config_file)),
        ("copies", lambda: _copies(config)),
        ("rights", lambda: doctor_rights.examine(config)),
        ("clock", lambda: _clock(config, config_file, clock)),
        ("rules", lambda: _rules(config, config_file)),
    )
    for name, check in checks:
        found += await guarded(name, check)
    return found


async def guarded(name: str, check: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """Return what a check finds, or that it could not be made."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TopicMissing as error:
        return [Finding(name, "fail", str(error), "create the topics")]
    except (KafkaError, OSError, TimeoutError) as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        return [Finding(name, "fail", said, "see to the brokers and to what this user may do")]


async def _broker(config: Config, broker: str) -> Finding:
    """Connect to one broker as the daemon would, and ask what it can do."""
    name, client = f"broker {broker}", config.client()
    host, _, port = broker.rpartition(":")
    began = time.monotonic()
    try:
        async with asyncio.timeout(BROKER_SECONDS):
            security = {key: item for key, item in client.items() if key != "bootstrap_servers"}
            line = await create_conn(
                host.strip("[]"),
                int(port),
                request_timeout_ms=round(BROKER_SECONDS * 1000),
                **security,
            )
            try:
                known = {key for key, *_ in (await line.send(ApiVersionRequest())).api_versions}
            finally:
                line.close()
    except (KafkaError, OSError, TimeoutError) as error:
        said = f"does not answer: {type(error).__name__}: {error}".rstrip(": ")
        remedy = "start it, open the way to it, or correct kafka.brokers, kafka.sasl and kafka.tls"
        return Finding(name, "fail", said, remedy)
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    if missing := [title for number, title in TRANSACTIONS.items() if number not in known]:
        return Finding(
            name, "fail", f"does not know {', '.join(missing)}", "use Kafka 4.0 or later"
        )
    if OF_KAFKA_4 not in known:
        said = f"answers in {took}; older than Kafka 4.0"
        return Finding(name, "warn", said, "use Kafka 4.0 or later, which this is tested with")
    return Finding(name, "ok", f"answers in {took}; Kafka 4.0 or later")


async def _topics(config: Config, config_file: Path) -> list[Finding]:
    faults = await kafka_topics.check(config.client(), config.topics)
    remedies = {
        "does not exist": _create(config, config_file),
        "partitions": "make the topic anew with as many; the number of shards cannot change",
    }
    found = []
    for fault in faults:
        remedy = next((text for part, text in remedies.items() if part in fault), "")
        found.append(Finding("topics", "fail", fault, remedy or "set it with kafka-configs"))
    return found or [Finding("topics", "ok", "all exist, with the partitions and settings needed")]


def _create(config: Config, config_file: Path) -> str:
    """Return the command that makes what is missing."""
    group = "shadow" if config.shadow.enabled else "topics"
    return f"liquidator {group} create --config {config_file}"


async def _copies(config: Config) -> list[Finding]:
    """Check that a broker may be lost without losing what was acknowledged."""
    brokers, found = len(config.kafka.brokers), []
    for name, copies in (await kafka_topics.copies(config.client(), config.topics)).items():
        said = f"topic {name}: {copies.replicas} replicas, {copies.in_sync} in sync, "
        said += f"min.insync.replicas {copies.needed}"
        if copies.in_sync < copies.needed:
            remedy = "bring back the brokers that lag, or nothing can be written"
            found.append(Finding("copies", "fail", said, remedy))
        elif copies.in_sync < copies.replicas:
            found.append(Finding("copies", "warn", said, "see why brokers lag behind"))
        elif copies.replicas > 1 and copies.needed < 2:
            remedy = "set min.insync.replicas to 2: one broker's loss may lose what it acknowledged"
            found.append(Finding("copies", "warn", said, remedy))
        elif copies.replicas == 1 and brokers > 1:
            remedy = "give it three replicas, and min.insync.replicas of 2"
            found.append(Finding("copies", "warn", said, remedy))
    if not found:
        said = "in sync; one broker alone" if brokers == 1 else "in sync"
        found.append(Finding("copies", "ok", said))
    return found


async def _clock(config: Config, config_file: Path, clock: Clock) -> list[Finding]:
    """Compare our clock with the broker's, which stamps what is written to its heartbeat."""
    topic = config.topics.heartbeat
    counts = await kafka_topics.partitions(config.client(), [topic])
    if topic not in counts:
        said = f"topic {topic}: does not exist, so that clocks cannot be compared"
        return [Finding("clock", "warn", said, _create(config, config_file))]
    best = (float("inf"), 0.0)
    async with AIOKafkaProducer(**config.client()) as producer:
        for _ in range(3):
            before = clock()
            told = await producer.send_and_wait(topic, b"doctor", partition=0)
            after = clock()
            best = min(best, (after - before, told.timestamp / 1000 - (before + after) / 2))
    if told.timestamp_type != 1:
        said = f"topic {topic}: message.timestamp.type is not LogAppendTime"
        return [Finding("clock", "warn", said, "set it with kafka-configs")]
    apart = f"{abs(best[1]):.3f} s {'behind' if best[1] > 0 else 'ahead of'} the broker's"
    said = f"this clock is {apart}, give or take {best[0] / 2:.3f} s"
    distance = abs(best[1]) - best[0] / 2
    remedy = "set both clocks by NTP: event times, lags and the age of prices are told by them"
    if distance > config.shards.max_ahead:
        return [Finding("clock", "fail", f"{said}; beyond shards.max_ahead", remedy)]
    return [Finding("clock", "warn" if distance > SKEW_SECONDS else "ok", said, remedy)]


async def _rules(config: Config, config_file: Path) -> list[Finding]:
    engine = await control.in_force(config.client(), config.topics.control)
    profile = engine.rules.profile
    if profile is None or not engine.ready:
        remedy = f"liquidator rules publish FILE --config {config_file}"
        return [Finding("rules", "fail", "none are in force: nothing is applied", remedy)]
    said = f'profile "{profile.name}", {len(engine.rules.derivatives)} instruments'
    found = [Finding("rules", "ok", said)]
    if engine.rules.halted_all or engine.rules.halted:
        names = ["everything"] if engine.rules.halted_all else sorted(engine.rules.halted)
        remedy = "liquidator audit says who halted it; liquidator resume ends it"
        found.append(Finding("halts", "warn", f"halted: {', '.join(names)}", remedy))
    return found
