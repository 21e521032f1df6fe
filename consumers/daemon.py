"""The daemon: member of a group that shares the shards, and what serves its state over HTTP.

Ownership and reading are apart. A consumer that is subscribed to `positions`, and reads nothing,
says which shards are ours; each shard reads with a consumer of its own. A shard that is still ours
after a rebalance goes on without a pause: had another process started it meanwhile, ours would be
fenced at its next commit.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from prometheus_client import CollectorRegistry

from consumers import logs
from consumers.board import Board
from consumers.config import Config
from consumers.reload import Reloading
from consumers.shard import Shard
from consumers.stopping import done_before
from consumers.systemd import Notifier
from consumers.web import Web, process_registry
from producers import topics
from producers.kafka import client_faults
from producers.metrics import Metrics
from producers.mqtt import Publisher
from producers.status import ShardStatus

# A poll that never ends keeps the membership: one that never polls leaves after five minutes.
POLL_MS = 3_600_000
CLOSE_SECONDS = 5.0

log = structlog.get_logger()


class StartError(Exception):
    """The daemon cannot run on what it finds; every fault is named."""


@dataclass
class Running:
    """A shard and its task; `granted` is the assignment in which it was last started."""

    shard: Shard
    task: asyncio.Task[None]
    granted: int


class Daemon(ConsumerRebalanceListener):
    """Run the shards that the group assigns, until `stop`; installs no signal handlers."""

    def __init__(self, config: Config, config_file: Path | None = None) -> None:
        self.registry = process_registry()
        self._config = config
        self._client = config.client()
        self._metrics = Metrics(self.registry)
        self._publisher = _publisher(config, self.registry)
        self._running: dict[int, Running] = {}
        self._ours: set[int] = set()
        self._assignments = 0
        self._changed = asyncio.Event()
        self._stopping = False
        self._member: AIOKafkaConsumer | None = None
        self._board = Board(self.shards, self.reasons, config.status)
        document = self._board.document if config.status.page else None
        self._web = Web(config.http, self.registry, self.reasons, document)
        self._reloading = Reloading(config_file, config, self._use, self.registry)

    @property
    def port(self) -> int:
        """Where HTTP is served."""
        return self._web.port

    def stop(self) -> None:
        """Let `run` commit what was applied, leave the group, and return."""
        self._stopping = True
        self._changed.set()

    @property
    def reloading(self) -> bool:
        """Whether a reload is under way."""
        return self._reloading.under_way

    def reload(self) -> None:
        """Read the file again, and take over what may change while this runs."""
        self._reloading.ask()

    def _use(self, config: Config) -> None:
        """Go on under another configuration, from one moment to the next."""
        self._config = config
        logs.configure(config.log)
        for running in self._running.values():
            running.shard.use(config)

    async def run(self) -> None:
        """Serve, join the group, and run the shards that it assigns.

        Raises `StartError` naming every fault of client and topics, `KafkaError` when membership
        fails.
        """
        await self._web.start()
        telling = asyncio.create_task(logs.keep_telling())
        try:
            # Until shards run, nothing but `stop` changes.
            if not await done_before(self._changed, self._prepare()):
                return
            if self._publisher is not None:
                self._publisher.start()
            self._member = self._new_member()
            polling = asyncio.create_task(self._poll(self._member))
            polling.add_done_callback(lambda _: self._changed.set())
            try:
                await self._follow(polling)
            finally:
                await self._stop_shards(list(self._running))
                polling.cancel()
                leaving = asyncio.create_task(self._member.stop())
                await asyncio.wait({polling, leaving}, timeout=CLOSE_SECONDS)
        finally:
            telling.cancel()
            if self._publisher is not None:
                await self._publisher.stop()
            await self._reloading.stop()
            await self._web.stop()

    async def _prepare(self) -> None:
        faults = client_faults() + await topics.check(self._client, self._config.topics)
        if faults:
            raise StartError("\n".join(faults))
        await self._count_shards()

    def reasons(self) -> list[str]:
        """Say why this process is not ready; nothing when it is."""
        if self._stopping:
            return ["stopping"]
        if not self._assignments:
            return ["no assignment"]
        found = []
        for number in sorted(self._ours):
            running = self._running.get(number)
            reason = "starting" if running is None else self._reason(running.shard)
            if reason:
                found.append(f"shard {number}: {reason}")
        return found

    def shards(self) -> list[ShardStatus]:
        """Return how each of our shards is."""
        found = []
        for number in sorted(self._ours):
            running = self._running.get(number)
            if running is None:
                found.append(ShardStatus(number, "starting", "", 0.0))
            else:
                shard = running.shard
                found.append(ShardStatus(number, shard.status, shard.reason, shard.lag_seconds))
        return found

    def _reason(self, shard: Shard) -> str:
        if shard.status != "running":
            return f"{shard.status}: {shard.reason}" if shard.reason else shard.status
        if not shard.ruled:
            return "no rules"
        if shard.lag_seconds > self._config.http.lag_max:
            return f"{shard.lag_seconds:.1f} s behind"
        return ""

    # --- membership

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Do nothing: what is lost is known when the new assignment comes."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take note; a listener must not wait."""
        assert self._member is not None
        self._member.pause(*assigned)
        self._ours = {partition.partition for partition in assigned}
        self._assignments += 1
        log.info("assigned", shards=sorted(self._ours))
        self._changed.set()

    def _new_member(self) -> AIOKafkaConsumer:
        kafka = self._config.kafka
        return AIOKafkaConsumer(
            **self._client,
            group_id=self._config.group,
            group_instance_id=kafka.group_instance_id or None,
            session_timeout_ms=round(kafka.session_timeout * 1000),
            # A member hears of others that come or go in the answer to its heartbeat.
            heartbeat_interval_ms=round(min(1.0, kafka.session_timeout / 4) * 1000),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )

    async def _poll(self, member: AIOKafkaConsumer) -> None:
        """Stay a member; raises `KafkaError` when the group will not have us."""
        member.subscribe([self._config.topics.positions], listener=self)
        await member.start()
        while True:
            await member.getmany(timeout_ms=POLL_MS)

    async def _follow(self, polling: asyncio.Task[None]) -> None:
        """Start and stop shards as assignments come."""
        while not self._stopping:
            await self._changed.wait()
            self._changed.clear()
            if polling.done():
                return polling.result()
            if not self._stopping:
                for number in sorted(self._ours):
                    self._start_shard(number)
                await self._stop_shards([n for n in self._running if n not in self._ours])

    # --- shards

    async def _count_shards(self) -> None:
        """Have the metrics say how many shards there are, whoever runs them."""
        name = self._config.topics.positions
        counts = await topics.partitions(self._client, [name])
        self._metrics.observe_partitions(counts[name])

    def _start_shard(self, number: int) -> None:
        """Start a shard that is not running; one that was fenced only if assigned anew."""
        before = self._running.get(number)
        if before is not None:
            fenced = before.task.done() and before.shard.status == "fenced"
            if not fenced or before.granted == self._assignments:
                return
        onlookers = (self._metrics, self._board, self._publisher)
        shard = Shard(number, self._config, self._client, *onlookers)
        task = asyncio.create_task(shard.run())
        task.add_done_callback(lambda _: self._changed.set())
        self._running[number] = Running(shard, task, self._assignments)

    async def _stop_shards(self, numbers: list[int]) -> None:
        """Let shards commit what they applied, within the limit, and forget them."""
        leaving = [self._running.pop(number) for number in numbers]
        if not leaving:
            return
        for running in leaving:
            running.shard.stop()
        tasks = {running.task for running in leaving}
        _, late = await asyncio.wait(tasks, timeout=self._config.shards.stop_timeout)
        for task in late:
            task.cancel()
        closing = {asyncio.create_task(running.shard.closed()) for running in leaving}
        await asyncio.wait(late | closing, timeout=CLOSE_SECONDS)
        for number in numbers:
            self._metrics.withdraw(number)


def _publisher(config: Config, registry: CollectorRegistry) -> Publisher | None:
    """Return what tells MQTT, if the configuration wants it; a shadow tells its own topics."""
    mqtt, publish = config.mqtt, config.mqtt.publish
    if not publish.enabled:
        return None
    before = config.shadow.prefix if config.shadow.enabled else ""
    return Publisher(
        mqtt.line(f"{before}{mqtt.instance}"),
        f"{before}{publish.prefix}",
        mqtt.instance,
        publish.interval,
        publish.alerts_max,
        registry,
    )


def run(config: Config, config_file: Path | None = None) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reloads `config_file`.

    Raises what `Daemon.run` does.
    """
    logs.configure(config.log)
    asyncio.run(_run_until_signal(config, config_file))


async def _run_until_signal(config: Config, config_file: Path | None) -> None:
    daemon = Daemon(config, config_file)
    loop = asyncio.get_running_loop()
    async with Notifier(daemon.reasons, lambda: daemon.reloading) as systemd:

        def stop() -> None:
            systemd.stopping()
            daemon.stop()

        def reload() -> None:
            daemon.reload()
            systemd.reload()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, reload)
        await daemon.run()
