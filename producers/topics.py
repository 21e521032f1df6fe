"""The Kafka topics: names, partitions, settings; make them, and say what is wrong with them.

A shard is one partition of `positions`; the six topics that shards write have as many partitions,
and shard p writes partition p of each. Records carry the time of writing; retention counts from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

DAY_MS = 24 * 3600 * 1000
FOR_EVER = "-1"
LARGEST_REPLICATION = 3
KNOWN_SECONDS = 30

# A dead letter is a refused record and why: it must hold the largest record that Kafka takes by
# default, and the headers.
LARGEST_WRITTEN_BYTES = 2 * 1024 * 1024

Client = Mapping[str, Any]
"""What every aiokafka client is made with: `bootstrap_servers` and security."""


class Topics(NamedTuple):
    """The names of the topics."""

    prices: str
    positions: str
    control: str
    liquidation_orders: str
    risk_events: str
    dead_letters: str
    journal: str
    engine_state: str
    account_risk: str

    @property
    def heartbeat(self) -> str:
        """The topic that tells a broker's time; no event goes there."""
        return self.control.removesuffix("control") + "heartbeat"


class Copies(NamedTuple):
    """How many brokers are to hold a partition, how many do at the least, and how many must for a
    write to succeed."""

    replicas: int
    in_sync: int
    needed: int


class Layout(NamedTuple):
    """How one topic is to be: partitions, and the settings that matter."""

    name: str
    partitions: int
    settings: dict[str, str]


def named(prefix: str = "") -> Topics:
    """Return the names of the topics, each with `prefix` before it."""
    return Topics(*(prefix + field.replace("_", "-") for field in Topics._fields))


def shadowed(topics: Topics, prefix: str, *, own_control: bool) -> Topics:
    """Return the same inputs, and outputs with another prefix before them; `control` is an input
    unless it is our own."""
    shared = {"prices", "positions"} | (set() if own_control else {"control"})
    return Topics(
        *(name if field in shared else prefix + name for field, name in topics._asdict().items())
    )


def layouts(topics: Topics, shards: int, price_partitions: int = 1) -> list[Layout]:
    """Return how each topic is to be for a number of shards."""
    inputs = _kept(7)
    written = {"max.message.bytes": str(LARGEST_WRITTEN_BYTES)}
    # A tombstone must outlive the slowest restore that may have read what it deletes.
    state = {"cleanup.policy": "compact", "delete.retention.ms": str(7 * DAY_MS), **written}
    # Whoever reads it anew has a day to hear that an account is gone.
    risk = {"cleanup.policy": "compact", "delete.retention.ms": str(DAY_MS)}
    journal = {"cleanup.policy": "delete", "retention.ms": FOR_EVER, **written}
    return [
        Layout(topics.prices, price_partitions, inputs),
        Layout(topics.positions, shards, inputs),
        Layout(topics.control, 1, {"cleanup.policy": "delete", "retention.ms": FOR_EVER}),
        Layout(topics.liquidation_orders, shards, _kept(30)),
        Layout(topics.risk_events, shards, _kept(90)),
        Layout(topics.dead_letters, shards, {**_kept(90), **written}),
        Layout(topics.journal, shards, journal),
        Layout(topics.engine_state, shards, state),
        Layout(topics.account_risk, shards, risk),
    ]


def bridge_dead_letters(prefix: str = "") -> Layout:
    """Return how the topic is to be that holds what the bridge could not read."""
    written = {"max.message.bytes": str(LARGEST_WRITTEN_BYTES)}
    return Layout(f"{prefix}bridge-dead-letters", 1, {**_kept(90), **written})


def heartbeat_layout(topics: Topics) -> Layout:
    """Return how the topic that tells a broker's time is to be: the broker stamps its records."""
    stamped = {"message.timestamp.type": "LogAppendTime"}
    return Layout(topics.heartbeat, 1, {**_kept(1), **stamped})


async def create(
    client: Client,
    topics: Topics,
    shards: int,
    *,
    price_partitions: int = 1,
    replication_factor: int | None = None,
) -> list[str]:
    """Create the topics that are missing and return their names; what exists is left as it is.

    Without `replication_factor` each gets three replicas, or as many as there are brokers. Raises
    `KafkaError`, `TimeoutError` when brokers do not hear of them.
    """
    wanted = [*layouts(topics, shards, price_partitions), heartbeat_layout(topics)]
    async with _admin(client) as admin:
        return await _create(admin, wanted, replication_factor)


async def ensure(client: Client, layout: Layout) -> bool:
    """Create one topic if it is missing, and tell whether it was; raises as `create` does."""
    async with _admin(client) as admin:
        if await _partitions(admin, [layout.name]):
            return False
        return bool(await _create(admin, [layout], None))


async def _create(
    admin: AIOKafkaAdminClient, layouts: Iterable[Layout], replication_factor: int | None
) -> list[str]:
    """Create the topics that are missing, wait until they are known, and return their names."""
    if replication_factor is None:
        brokers = (await admin.describe_cluster())["brokers"]
        replication_factor = min(LARGEST_REPLICATION, len(brokers))
    wanted = [
        NewTopic(layout.name, layout.partitions, replication_factor, None, layout.settings)
        for layout in layouts
    ]
    created = _created(await admin.create_topics(wanted))
    async with asyncio.timeout(KNOWN_SECONDS):
        # Brokers hear of a new topic a little after its creator.
        while len(await _partitions(admin, created)) < len(created):
            await asyncio.sleep(0.05)
    return created


async def check(client: Client, topics: Topics, shards: int | None = None) -> list[str]:
    """Return every fault of the topics, in words; none when shards can run on them.

    Without `shards`, the partitions of `positions` say how many there are. Raises `KafkaError`.
    """
    async with _admin(client) as admin:
        counts = await _partitions(admin, topics)
        present = [name for name in topics if name in counts]
        settings = {name: await _settings(admin, name) for name in present}
    if shards is None:
        shards = counts.get(topics.positions, 1)
    found = []
    for layout in layouts(topics, shards, counts.get(topics.prices, 1)):
        if layout.name not in counts:
            found.append(f"topic {layout.name}: does not exist")
            continue
        if counts[layout.name] != layout.partitions:
            found.append(
                f"topic {layout.name}: has {counts[layout.name]} partitions, "
                f"needs {layout.partitions}"
            )
        found += _setting_faults(layout, settings[layout.name])
    return found


async def partitions(client: Client, names: Iterable[str]) -> dict[str, int]:
    """Return the number of partitions of each of the topics that exist; raises `KafkaError`."""
    async with _admin(client) as admin:
        return await _partitions(admin, names)


async def copies(client: Client, names: Iterable[str]) -> dict[str, Copies]:
    """Return how each of the topics that exist is copied; raises `KafkaError`."""
    async with _admin(client) as admin:
        found = {}
        for topic in await admin.describe_topics(list(names)):
            if topic["error_code"]:
                continue
            needed = (await _settings(admin, topic["topic"])).get("min.insync.replicas", "1")
            partitions = topic["partitions"]
            found[topic["topic"]] = Copies(
                max(len(partition["replicas"]) for partition in partitions),
                min(len(partition["isr"]) for partition in partitions),
                int(needed),
            )
    return found


def _created(response: Any) -> list[str]:
    """Return the topics that a response says are new; raises `KafkaError` for those that failed."""
    created = []
    for name, code, message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"topic {name}: {message or error.description}")
        if not code:
            created.append(name)
    return created


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


@asynccontextmanager
async def _admin(client: Client) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    found = {}
    for topic in await admin.describe_topics(list(names)):
        error = for_code(topic["error_code"])
        if error is UnknownTopicOrPartitionError:
            continue
        if topic["error_code"]:
            raise error(f"topic {topic['topic']}: {error.description}")
        found[topic["topic"]] = len(topic["partitions"])
    return found


async def _settings(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    (response,) = await admin.describe_configs([resource])
    ((code, message, _, _, entries),) = response.resources
    if code:
        raise for_code(code)(f"topic {name}: {message}")
    return {entry[0]: entry[1] for entry in entries}


def _setting_faults(layout: Layout, settings: Mapping[str, str]) -> list[str]:
    """Say what would lose data or stop a shard; how long to keep is the operator's choice."""
    found = []
    policy = layout.settings["cleanup.policy"]
    if settings["cleanup.policy"] != policy:
        found.append(
            f"topic {layout.name}: cleanup.policy is {settings['cleanup.policy']}, needs {policy}"
        )
    least = layout.settings.get("max.message.bytes")
    if least is not None and int(settings["max.message.bytes"]) < int(least):
        found.append(
            f"topic {layout.name}: max.message.bytes is {settings['max.message.bytes']}, "
            f"needs {least}"
        )
    return found
