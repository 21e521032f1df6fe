"""What the bridge wrote to Kafka before it started: nothing of it is to be written again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.mqtt_slots import Slots
from consumers.mqtt_sources import Reader
from engine import wire
from engine.events import PriceUpdate
from producers import topics
from producers.topics import Client

BEYOND_SECONDS = 60.0
"""How much further than `max_age` it looks back: clocks differ."""

UNLIMITED_SECONDS = 3_600.0
"""How far it looks back where a source has no `max_age`."""

AT_ONCE = 500


async def read_back(client: Client, topic: str, readers: Sequence[Reader], slots: Slots) -> int:
    """Tell `slots` what was written of late to `topic`, and return how much that was.

    What the broker may deliver again and is not too old was written since. Raises `KafkaError`.
    """
    ages = [reader.source.max_age for reader in readers]
    back = max(ages) + BEYOND_SECONDS if all(ages) else UNLIMITED_SECONDS
    since = round((time.time() - back) * 1000)
    names = {reader.source.name for reader in readers}
    numbers = await topics.partitions(client, [topic])
    partitions = [TopicPartition(topic, number) for number in range(numbers[topic])]
    found = 0
    async with AIOKafkaConsumer(**client, enable_auto_commit=False) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
        for partition, start in starts.items():
            consumer.seek(partition, ends[partition] if start is None else start.offset)
        while any([await consumer.position(at) < ends[at] for at in partitions]):
            fetched = await consumer.getmany(timeout_ms=200, max_records=AT_ONCE)
            for record in (record for records in fetched.values() for record in records):
                found += _recovered(record.value, names, slots)
            await asyncio.sleep(0)
    return found


def _recovered(raw: bytes | None, names: set[str], slots: Slots) -> bool:
    """Tell `slots` of one record, and whether it was one of ours."""
    try:
        event = wire.read_event(raw or b"", "prices")
    except wire.WireError:
        return False
    if not isinstance(event, PriceUpdate) or event.source not in names:
        return False
    slots.recover(event)
    return True
