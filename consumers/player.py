"""Play the demo's day through real topics into a daemon, and answer its orders as the venue.

The world stays a bounded time ahead of the slowest shard: what a shard has committed to its state
says how far it is, and an order is committed no later than that. So an answer comes within that
time plus a tick of its market, however fast the daemon is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumers.feed import Count, Day, Record
from consumers.market import SECOND, TICK
from engine import wire
from engine.decisions import WithdrawalUnpaid
from engine.events import AccountEvent, AnyEvent, PriceEvent, PriceUpdate
from producers import topics
from producers.mqtt_prices import PriceFeed

LEAD = TICK
"""How far the world may be ahead of the slowest shard, in microseconds of its time."""

PATIENCE = 60.0
"""Seconds without any progress after which nobody is believed to be there."""

STRETCH = 0.02
"""Seconds without a pause: others share the loop."""

POLL_MS = 100


class NotPlayable(RuntimeError):
    """The topics are not as the day needs them, or nobody takes its events."""


class Looker(Protocol):
    """Who shows how far the day is."""

    def show(self) -> None:
        """Show it."""


class Pace:
    """When the world must stop for a moment: to let others run, or because the day is not so far.

    `start` is the time of the day at which it begins, in microseconds UTC; `speed` seconds of the
    day in one second, none as fast as possible.
    """

    def __init__(self, start: int, speed: float | None) -> None:
        self._start = start
        self._speed = speed
        self._began = self._paused = time.monotonic()

    def holds(self, now: int) -> bool:
        """Tell whether to call `wait` before the day goes on beyond `now`."""
        return self._ahead(now) > 0 or time.monotonic() >= self._paused + STRETCH

    async def wait(self, now: int) -> None:
        """Let others run, and wait until the day may be at `now`."""
        await asyncio.sleep(max(0.0, self._ahead(now)))
        self._paused = time.monotonic()

    def _ahead(self, now: int) -> float:
        if self._speed is None:
            return 0.0
        return self._began + (now - self._start) / SECOND / self._speed - time.monotonic()


class Standing(msgspec.Struct):
    """What of a shard's record of state says how far it is."""

    time: int


class Player:
    """A producer of the day's events, and a reader of what the daemon decides about them.

    Prices go to Kafka too, unless there is a feed for them, and a bridge that carries them on.
    """

    def __init__(
        self,
        bootstrap: str,
        prefix: str = "",
        lead: int = LEAD,
        prices: PriceFeed | None = None,
    ) -> None:
        self.shards = 0
        self._prices = prices
        self._client: dict[str, Any] = {"bootstrap_servers": bootstrap}
        self._topics = topics.named(prefix)
        self._lead = lead
        self._producer = AIOKafkaProducer(**self._client, acks="all", enable_idempotence=True)
        self._consumer = AIOKafkaConsumer(
            **self._client,
            isolation_level="read_committed",
            auto_offset_reset="latest",
            enable_auto_commit=False,
        )
        self._standing: dict[int, int] = {}
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Connect; raises `KafkaError`, `NotPlayable` when topics are missing or in use."""
        names = (self._topics.positions, self._topics.prices, self._topics.control)
        try:
            counts = await topics.partitions(self._client, names)
            if missing := [name for name in names if name not in counts]:
                raise NotPlayable(f"demo: topic {', '.join(missing)}: does not exist")
            self.shards = counts[self._topics.positions]
            self._standing = dict.fromkeys(range(self.shards), 0)
            await self._producer.start()
            await self._consumer.start()
            await self._refuse_used(counts)
            outputs = self._outputs()
            self._consumer.assign(outputs)
            # Where they end now: a position that is looked up later may be past the first orders.
            for partition, end in (await self._consumer.end_offsets(outputs)).items():
                self._consumer.seek(partition, end)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._producer.stop()
        await self._consumer.stop()

    async def run(self, world: Day, tally: Count, pace: Pace, screen: Looker | None = None) -> None:
        """Play `world` to its end, and wait until every shard has taken all of it.

        Raises `NotPlayable` when no shard gets on, `KafkaError`.
        """
        listening = asyncio.create_task(self._listen(world, tally))
        try:
            for records in world.play():
                await self._send(records, tally)
                now = world.clock.time
                if now - self._lead > min(self._standing.values()):
                    await self._reached(now - self._lead, listening)
                if pace.holds(now):
                    if screen is not None:
                        screen.show()
                    await pace.wait(now)
            await self._reached(world.last_price_time, listening)
            await self._heard_out(listening)
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        if screen is not None:
            screen.show()

    async def _send(self, records: Iterable[Record], tally: Count) -> None:
        elsewhere: list[PriceUpdate] = []
        for shard, event in records:
            tally.event(event)
            if self._prices is not None and isinstance(event, PriceUpdate):
                elsewhere.append(event)
                continue
            topic, key = self._place(event)
            await self._producer.send(
                topic, wire.write_event(event), key=key, partition=0 if shard is None else shard
            )
        if self._prices is not None:
            await self._prices.publish(elsewhere)

    def _place(self, event: AnyEvent) -> tuple[str, bytes | None]:
        if isinstance(event, AccountEvent):
            return self._topics.positions, event.account.encode()
        if isinstance(event, PriceEvent):
            return self._topics.prices, event.symbol.encode()
        return self._topics.control, None

    async def _reached(self, time_: int, listening: asyncio.Task[None]) -> None:
        """Wait until every shard has committed what happened up to `time_`."""
        await self._producer.flush()
        while min(self._standing.values()) < time_:
            self._heard.clear()
            heard = asyncio.create_task(self._heard.wait())
            done, _ = await asyncio.wait(
                {heard, listening}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            heard.cancel()
            if listening in done:
                listening.result()
            if not done:
                raise NotPlayable(self._silence())

    async def _heard_out(self, listening: asyncio.Task[None]) -> None:
        """Hear what is committed to its end: a fetch may bring a state before what led to it."""
        ends = await self._consumer.end_offsets(self._outputs())
        for partition, end in ends.items():
            while await self._consumer.position(partition) < end:
                if listening.done():
                    listening.result()
                await asyncio.sleep(POLL_MS / 1000)

    def _silence(self) -> str:
        late = [shard for shard, at in self._standing.items() if at == min(self._standing.values())]
        return (
            f"demo: shards {late} took nothing for {PATIENCE:.0f} s: does a daemon run on these "
            'topics, with clock = "events"?'
        )

    async def _listen(self, world: Day, tally: Count) -> None:
        """Hear what the daemon commits; in one fetch, orders before how far their shard is."""
        while True:
            fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
            for partition in sorted(fetched, key=lambda tp: tp.topic == self._topics.engine_state):
                for record in fetched[partition]:
                    self._take(world, tally, partition, record)
            if fetched:
                self._heard.set()

    def _take(self, world: Day, tally: Count, partition: TopicPartition, record: Any) -> None:
        if partition.topic == self._topics.liquidation_orders:
            world.hear(wire.read_decision(record.value))
        elif partition.topic == self._topics.risk_events:
            decision = wire.read_decision(record.value)
            tally.decision(decision)
            if isinstance(decision, WithdrawalUnpaid):
                # Who was not paid must hear it, though it asks nothing of the venue.
                world.hear(decision)
        elif record.key == b"shard" and record.value is not None:
            standing = msgspec.json.decode(record.value, type=Standing)
            self._standing[partition.partition] = standing.time

    def _outputs(self) -> list[TopicPartition]:
        names = (
            self._topics.liquidation_orders,
            self._topics.risk_events,
            self._topics.engine_state,
        )
        return [TopicPartition(name, shard) for name in names for shard in range(self.shards)]

    async def _refuse_used(self, counts: dict[str, int]) -> None:
        """Raise `NotPlayable` where an input holds records: older ones would come in between."""
        partitions = [
            TopicPartition(name, number)
            for name, count in counts.items()
            for number in range(count)
        ]
        ends = await self._consumer.end_offsets(partitions)
        if used := sorted({partition.topic for partition, end in ends.items() if end}):
            raise NotPlayable(f"demo: topic {', '.join(used)}: not empty; the day needs its own")
