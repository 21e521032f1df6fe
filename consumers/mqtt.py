"""The bridge: prices from MQTT topics to the Kafka topic `prices`.

A message is acknowledged once Kafka has its price, or a newer one of the same source, symbol and
kind: until then the broker keeps it, and delivers it again after a crash. One write is under way at
a time; what comes meanwhile waits in slots, newest first, so that memory is bounded and a slow
Kafka makes prices fewer, not older. See docs/bridge.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiomqtt
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumers import logs
from consumers.config import Config, Http
from consumers.mqtt_acks import Subscriber, came_for
from consumers.mqtt_recovery import read_back
from consumers.mqtt_slots import NotNewer, Slots
from consumers.mqtt_sources import Malformed, Message, Price, Reader, Unwanted
from consumers.presence import require
from consumers.stopping import done_before
from consumers.web import Web, process_registry
from engine import wire
from producers import topics
from producers.kafka import Headers, client_faults
from producers.mqtt_line import Waits, said
from producers.mqtt_metrics import NO_SOURCE, BridgeMetrics

LETTERS_MAX = 1_000
"""Malformed messages that wait for Kafka; of those beyond, the ones of QoS 0 are not kept."""

LETTER_BYTES_MAX = 16 * 1024
"""What is kept of a malformed message; its header `bytes` says how long it was."""

START_SECONDS = 10.0
STOP_SECONDS = 5.0
CLOSE_SECONDS = 5.0

SILENT_SECONDS = 3.0
"""A write that takes longer is said to be without an answer; it goes on."""

STEPS_AT_ONCE = 100

log = structlog.get_logger()


class BridgeError(Exception):
    """The bridge cannot run on what it finds."""


class Letter(NamedTuple):
    """A message that cannot be read, as it came, and why."""

    topic: str
    payload: bytes
    headers: Headers


class Bridge:
    """Carry prices until `stop`; installs no signal handlers."""

    def __init__(self, config: Config) -> None:
        self.registry = process_registry()
        bridge = config.bridge
        self._config = config
        self._kafka = config.client()
        self._line = config.mqtt.line("bridge")
        self._readers = [Reader(source) for source in bridge.sources]
        self._metrics = BridgeMetrics(self.registry, [source.name for source in bridge.sources])
        self._dead_letters = topics.bridge_dead_letters(config.kafka.topic_prefix)
        self._slots = Slots()
        self._letters: list[Letter] = []
        self._unacknowledged: list[aiomqtt.Message] = []
        self._subscriber: Subscriber | None = None
        self._producer: AIOKafkaProducer | None = None
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._faults = {"kafka": "starting", "mqtt": "starting"}
        self._writing_since: float | None = None
        self._steps = 0
        http = Http(host=bridge.http_host, port=bridge.http_port)
        self._web = Web(http, self.registry, self.reasons)

    @property
    def port(self) -> int:
        """Where HTTP is served."""
        return self._web.port

    def stop(self) -> None:
        """Let `run` write what waits, and return."""
        self._stopping.set()
        self._wake.set()

    def reasons(self) -> list[str]:
        """Say why the bridge carries nothing; nothing when it does."""
        if self._stopping.is_set():
            return ["stopping"]
        found = [f"{part}: {fault}" for part, fault in self._faults.items() if fault]
        if self._writing_since is not None:
            silent = time.monotonic() - self._writing_since
            if silent > SILENT_SECONDS:
                found.append(f"kafka: no answer for {silent:.0f} s")
        return found

    async def run(self) -> None:
        """Serve, find out what was written before, and carry prices.

        Raises `BridgeError`, `TopicMissing`, `KafkaError` when it cannot begin.
        """
        if not self._readers:
            raise BridgeError("bridge.sources: none given; see docs/bridge.md")
        await self._web.start()
        telling = asyncio.create_task(logs.keep_telling())
        try:
            if await done_before(self._stopping, self._prepare()):
                await self._carry()
        finally:
            telling.cancel()
            await self._web.stop()

    async def _carry(self) -> None:
        listening = asyncio.create_task(self._listen())
        writing = asyncio.create_task(self._write())
        stopping = asyncio.create_task(self._stopping.wait())
        tasks = {listening, writing, stopping}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopping in done:
            # What it cannot write is not acknowledged either: the broker keeps it.
            await asyncio.wait({writing}, timeout=STOP_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2 * CLOSE_SECONDS)
        for task in done:
            task.result()

    async def _prepare(self) -> None:
        prices = self._config.topics.prices
        if faults := client_faults():
            raise BridgeError("\n".join(faults))
        await require(self._kafka, prices)
        await topics.ensure(self._kafka, self._dead_letters)
        found = await read_back(self._kafka, prices, self._readers, self._slots)
        log.info("bridge: recovered", prices=found)
        self._faults["kafka"] = ""

    # --- from MQTT

    async def _listen(self) -> None:
        """Stay connected: again and again, with growing waits, for as long as it takes."""
        waits = Waits()
        bridge = self._config.bridge
        options = self._line.options(
            session_expiry=bridge.session_expiry, in_flight=bridge.in_flight
        )
        while True:
            try:
                async with Subscriber(**options) as subscriber:
                    await self._receive(subscriber, waits)
            except aiomqtt.MqttError as error:
                self._disconnected(said(error))
            await asyncio.sleep(waits.next())

    async def _receive(self, subscriber: Subscriber, waits: Waits) -> None:
        """Take what comes over one connection; raises `MqttError` when it ends."""
        for topic in dict.fromkeys(reader.filter for reader in self._readers):
            await subscriber.listen(topic)
        self._connected(subscriber)
        waits.well()
        async for messages in subscriber.arrivals():
            for message in messages:
                self._take(message)

    def _connected(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._metrics.connected(True)
        self._faults["mqtt"] = ""
        log.info("bridge: connected", broker=self._line.place)

    def _disconnected(self, why: str) -> None:
        """Forget what the old connection would have acknowledged: the broker sends it again."""
        self._subscriber = None
        self._unacknowledged = []
        self._metrics.connected(False)
        self._faults["mqtt"] = f"no connection to {self._line.place}: {why}"
        log.warning("bridge: disconnected", broker=self._line.place, reason=why)

    def _take(self, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        came = time.time_ns() // 1000
        found = Message(str(message.topic), payload, bool(message.retain), came)
        readers = [
            reader
            for reader in self._readers
            if reader.matches(found.topic) and came_for(message, reader.filter)
        ]
        for reader in readers:
            self._read(reader, found, kept=message.qos > 0)
        if not readers:
            self._metrics.count(NO_SOURCE, "unmatched")
        if message.qos:
            # Many may wait for a Kafka that does not answer.
            message.payload = b""
            self._unacknowledged.append(message)
        self._wake.set()

    def _read(self, reader: Reader, message: Message, *, kept: bool) -> None:
        """Put a message where it belongs; `kept` when the broker has it until we are done."""
        name = reader.source.name
        try:
            price = reader.read(message)
            if reader.stale(price, message):
                self._metrics.count(name, "stale")
            elif self._slots.offer(price) is not None:
                self._metrics.count(name, "conflated")
        except NotNewer:
            self._metrics.count(name, "duplicate")
        except Unwanted:
            self._metrics.count(name, "unwanted")
        except Malformed as error:
            self._metrics.count(name, "malformed")
            self._bury(name, message, str(error), kept=kept)

    def _bury(self, source: str, message: Message, reason: str, *, kept: bool) -> None:
        if not kept and len(self._letters) >= LETTERS_MAX:
            self._metrics.letter_dropped()
            return
        headers = (
            ("mqtt-topic", message.topic.encode()),
            ("bytes", b"%d" % len(message.payload)),
            ("source", source.encode()),
            ("reason", reason.encode()),
        )
        self._letters.append(Letter(message.topic, message.payload[:LETTER_BYTES_MAX], headers))

    # --- to Kafka

    async def _write(self) -> None:
        """Write what waits, one write after another, until told to stop."""
        waits = Waits()
        stopping = False
        try:
            while not stopping:
                await self._wake.wait()
                self._wake.clear()
                stopping = self._stopping.is_set()
                await self._attempt(waits)
        finally:
            await self._close()

    async def _attempt(self, waits: Waits) -> None:
        """Write what waits; where that fails, wait a little, and begin with a new producer."""
        try:
            if self._producer is None:
                self._producer = await self._new_producer()
            await self._write_once(self._producer)
            waits.well()
        except (KafkaError, TimeoutError, OSError) as error:
            self._failed(error)
            # One that failed may be of no use any more, and says not whether.
            await self._close()
            await self._pause(waits.next())

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        await _closed(producer)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not once told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._kafka, acks="all", enable_idempotence=True)
        try:
            async with asyncio.timeout(START_SECONDS):
                await producer.start()
        except BaseException:
            await _closed(producer)
            raise
        return producer

    async def _write_once(self, producer: AIOKafkaProducer) -> None:
        """Write what waits now, and acknowledge it; put it back where that fails.

        The client tries again for as long as it takes, so that nothing is written twice.
        """
        prices, letters = self._slots.take(), self._letters
        acknowledged, subscriber = self._unacknowledged, self._subscriber
        self._letters, self._unacknowledged = [], []
        self._writing_since = time.monotonic()
        try:
            await self._send(producer, prices, letters)
        except BaseException:
            self._letters = letters + self._letters
            for price in self._slots.put_back(prices):
                self._metrics.count(price.event.source, "conflated")
            if subscriber is self._subscriber:
                self._unacknowledged = acknowledged + self._unacknowledged
            self._wake.set()
            raise
        finally:
            self._writing_since = None
        self._faults["kafka"] = ""
        for message in acknowledged:
            if subscriber is None or subscriber is not self._subscriber:
                break
            subscriber.acknowledge(message)
            await self._breathe()
        now = time.time()
        for price in prices:
            event = price.event
            self._metrics.forwarded(event.source, now, event.time / 1e6, price.came / 1e6)
            await self._breathe()
        self._metrics.waiting(len(self._slots), len(self._unacknowledged))

    async def _send(
        self, producer: AIOKafkaProducer, prices: Sequence[Price], letters: Sequence[Letter]
    ) -> None:
        topic, sent = self._config.topics.prices, []
        for event in (price.event for price in prices):
            key = event.symbol.encode()
            sent.append(await producer.send(topic, wire.write_event(event), key=key))
            await self._breathe()
        topic = self._dead_letters.name
        for it in letters:
            key, headers = it.topic.encode(), list(it.headers)
            sent.append(await producer.send(topic, it.payload, key=key, headers=headers))
            await self._breathe()
        await asyncio.gather(*sent)

    async def _breathe(self) -> None:
        """Let others run now and then: they share the loop."""
        self._steps += 1
        if self._steps % STEPS_AT_ONCE == 0:
            await asyncio.sleep(0)

    def _failed(self, error: BaseException) -> None:
        why = str(error) or type(error).__name__
        self._faults["kafka"] = why
        self._metrics.kafka_failed()
        self._metrics.waiting(len(self._slots), len(self._unacknowledged))
        log.warning("bridge: not written", reason=why, waiting=len(self._slots))


async def _closed(producer: Any) -> None:
    """Close a producer, within the limit: it would wait for brokers that are not there."""
    if producer is not None:
        closing = asyncio.create_task(producer.stop())
        _, late = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()


def run(config: Config) -> None:
    """Run the bridge until SIGTERM or SIGINT; raises what `Bridge.run` does."""
    logs.configure(config.log)
    asyncio.run(_run_until_signal(config))


async def _run_until_signal(config: Config) -> None:
    bridge = Bridge(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, bridge.stop)
    loop.add_signal_handler(signal.SIGHUP, _not_reloaded)
    await bridge.run()


def _not_reloaded() -> None:
    log.warning("bridge: not reloaded: a changed file needs a restart")
