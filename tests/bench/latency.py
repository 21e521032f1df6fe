"""From a tick fetched to its order visible: the daemon beside a bare transaction.

Two clients of this process watch: one fetches `prices`, the other reads `liquidation-orders`
committed. For the baseline the same records (decisions, journal, state) go out in one transaction
as soon as the tick is fetched, with nothing decided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumers.replay import decide
from engine import state, wire
from engine.core import Engine
from engine.events import AnyEvent, PriceUpdate
from producers.kafka import Cause, Output, ShardWriter
from tests.bench import book
from tests.kafka.plant import Plant

TICKS = 200
PAUSE_SECONDS = 0.05
FETCH_WAIT_MS = 20
SYMBOL = book.MARKETS[0]
STEP = 10

OnTick = Callable[[int], Awaitable[None]]


class Latency(NamedTuple):
    """Milliseconds, sorted."""

    daemon: list[float]
    bare: list[float]


async def measure(bootstrap: str, directory: Path) -> Latency:
    """Send ticks of which each takes one account below maintenance, to both in turn."""
    async with (
        Plant(bootstrap, directory, shards=1, partitioner="any") as plant,
        Plant(bootstrap, directory, shards=1) as bare_plant,
    ):
        setting = [(0, event) for event in _setting()]
        await plant.put(setting)
        process = await plant.start()
        await plant.until_taken(plant.counts(setting))
        writer = ShardWriter(bare_plant.client, bare_plant.topics, "bench", 0)
        await writer.start()
        try:
            daemon, bare = await asyncio.gather(
                _timed(plant), _timed(bare_plant, _bare(writer), begin=PAUSE_SECONDS / 2)
            )
        finally:
            await writer.stop()
        assert await process.terminate() == 0
    return Latency(sorted(daemon), sorted(bare))


def _bare(writer: ShardWriter) -> OnTick:
    """Return what writes for each tick the records that a shard would write."""
    outputs = _outputs()

    async def write(number: int) -> None:
        await writer.commit(writer.prepare(outputs[number]))

    return write


def _setting() -> list[AnyEvent]:
    """Return a book in which tick n takes account n, and no other, below maintenance."""
    found = [*book.rules()]
    for number in range(TICKS):
        breach = book.FIRST_PRICE - (number + 1) * STEP
        # Maintenance is met at the price before, missed at this one.
        deposit = book.FIRST_PRICE - breach + book.MAINTENANCE * breach - Decimal("0.01")
        found.append(book.account(f"a{number:03}", SYMBOL, 1, deposit))
    return [*found, book.price(SYMBOL, 1, book.FIRST_PRICE)]


def _tick(number: int) -> PriceUpdate:
    return book.price(SYMBOL, number + 2, book.FIRST_PRICE - (number + 1) * STEP)


def _outputs() -> list[Output]:
    """Return what a shard would write for each tick."""
    engine = Engine()
    for event in _setting():
        decide(engine, event)
    state.changes(engine)
    found = []
    for number in range(TICKS):
        tick = _tick(number)
        decided = [(decision, Cause("prices", 0, number)) for decision in decide(engine, tick)]
        changed = state.changes(engine)
        found.append(Output(decided, journal=[wire.write_event(tick)], state=changed))
    return found


async def _timed(plant: Plant, on_tick: OnTick | None = None, begin: float = 0.0) -> list[float]:
    """Send the ticks and return, for each, the milliseconds from its fetch to its order."""
    fetched: dict[int, float] = {}
    seen: dict[int, float] = {}
    async with (
        _tail(plant, plant.topics.prices) as prices,
        _tail(plant, plant.topics.liquidation_orders) as orders,
        AIOKafkaProducer(**plant.client) as producer,
        asyncio.timeout(60 + TICKS * PAUSE_SECONDS * 4),
    ):

        async def fetch() -> None:
            for number in range(TICKS):
                await prices.getone()
                fetched[number] = time.perf_counter()
                if on_tick is not None:
                    await on_tick(number)

        async def watch() -> None:
            while len(seen) < TICKS:
                record = await orders.getone()
                if b'"LiquidationOrder"' in record.value:
                    seen[len(seen)] = time.perf_counter()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fetch())
            tasks.create_task(watch())
            await asyncio.sleep(begin)
            for number in range(TICKS):
                await asyncio.sleep(PAUSE_SECONDS)
                await producer.send(plant.topics.prices, wire.write_event(_tick(number)))
    return [(seen[number] - fetched[number]) * 1000 for number in range(TICKS)]


@asynccontextmanager
async def _tail(plant: Plant, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a reader of what is written to a topic from now on."""
    consumer = AIOKafkaConsumer(
        **plant.client, isolation_level="read_committed", fetch_max_wait_ms=FETCH_WAIT_MS
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_end()
        yield consumer
    finally:
        await consumer.stop()
