"""Read back what shards wrote: the journal, and the state they would recover."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from producers.kafka import unpack
from producers.topics import Client, partitions

POLL_MS = 200


async def read_journal(client: Client, topic: str) -> AsyncIterator[tuple[int, bytes]]:
    """Give each event of the journal with its shard: shard after shard, each in its own order.

    Ends where the journal ended when its shard was begun. Raises `KafkaError`.
    """
    for shard in await _shards(client, topic):
        async for record in committed(client, TopicPartition(topic, shard)):
            for event in unpack(record.value):
                yield shard, event


async def read_state(client: Client, topic: str) -> dict[int, dict[str, bytes]]:
    """Return the last committed records of every shard by key; raises `KafkaError`."""
    numbers = await _shards(client, topic)
    return {shard: await read_shard(client, topic, shard) for shard in numbers}


async def read_shard(client: Client, topic: str, shard: int) -> dict[str, bytes]:
    """Return the last committed records of one shard by key; raises `KafkaError`."""
    found: dict[str, bytes] = {}
    async for record in committed(client, TopicPartition(topic, shard)):
        key = record.key.decode()
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = record.value
    return found


async def committed(
    client: Client, partition: TopicPartition
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Give the committed records of a partition, from the first to what is the last now."""
    async with _consumer(client) as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            batch = await consumer.getmany(partition, timeout_ms=POLL_MS)
            for record in batch.get(partition, ()):
                # What was written meanwhile belongs to the next reading.
                if record.offset < end:
                    yield record


async def beginning(client: Client, partition: TopicPartition) -> int:
    """Return the first offset that a partition still holds, or would; raises `KafkaError`."""
    async with _consumer(client) as consumer:
        return (await consumer.beginning_offsets([partition]))[partition]


async def _shards(client: Client, topic: str) -> range:
    return range((await partitions(client, [topic])).get(topic, 0))


@asynccontextmanager
async def _consumer(client: Client) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **client,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
