"""What a test of the daemon needs: topics of its own, records in, records out, and processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from consumers import journal
from consumers.feed import Record
from engine import state, wire
from engine.events import AnyEvent, ControlEvent, PriceUpdate
from producers import topics
from producers.topics import Topics
from tests.services import free_port

Counts = dict[tuple[str, int], int]
"""How many records each (topic, partition) holds."""

_numbers = itertools.count()


class Plant:
    """Topics on a broker, and the daemon's processes that work on them."""

    def __init__(self, bootstrap: str, directory: Path, shards: int, **settings: Any) -> None:
        self.client = {"bootstrap_servers": bootstrap}
        self.shards = shards
        self.directory = directory
        self.prefix = f"{directory.name}-{next(_numbers)}-"
        self.topics: Topics = topics.named(self.prefix)
        self.settings: dict[str, Any] = {"clock": "events", **settings}
        self.sections: dict[str, dict[str, Any]] = {}
        self.progress = Progress(self.client, self.topics.engine_state, shards)
        self.processes: list[Process] = []

    async def __aenter__(self) -> Plant:
        await topics.create(self.client, self.topics, self.shards)
        await self.progress.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        for process in self.processes:
            await process.kill()
        await self.progress.stop()

    def config(self, name: str = "", **kafka: Any) -> Path:
        """Write a configuration and return its path."""
        path = self.directory / f"{name or 'liquidator'}.toml"
        kafka = {
            "brokers": [self.client["bootstrap_servers"]],
            "topic_prefix": self.prefix,
            "group": f"{self.prefix}group",
            **({"group_instance_id": name} if name else {}),
            **kafka,
        }
        shown = {"http": {"port": free_port()}}
        sections = {"kafka": kafka, "shards": self.settings, **self.sections, **shown}
        lines = []
        for section, table in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    async def start(self, name: str = "", **kafka: Any) -> Process:
        """Start `liquidator run` in a process of its own."""
        return await self.start_from(self.config(name, **kafka))

    async def start_from(self, config: Path) -> Process:
        """Start `liquidator run` with a configuration that was written."""
        process = Process(config)
        self.processes.append(process)
        await process.start()
        return process

    # --- records in

    async def put(self, records: Iterable[Record]) -> None:
        """Produce a log, in its order, as a venue would: accounts by key."""
        await self.put_raw([self.place(shard, event) for shard, event in records])

    def place(self, shard: int | None, event: AnyEvent) -> tuple[str, int, bytes | None, bytes]:
        """Return topic, partition, key and value of an event."""
        raw = wire.write_event(event)
        if isinstance(event, PriceUpdate):
            return self.topics.prices, 0, event.symbol.encode(), raw
        if isinstance(event, ControlEvent):
            return self.topics.control, 0, None, raw
        assert shard is not None
        return self.topics.positions, shard, event.account.encode(), raw

    async def put_raw(self, places: Iterable[tuple[str, int, bytes | None, bytes]]) -> None:
        """Produce records at given places, in order."""
        async with AIOKafkaProducer(
            **self.client, enable_idempotence=True, linger_ms=5, max_batch_size=1 << 18
        ) as producer:
            sent = [
                await producer.send(topic, value, key, partition)
                for topic, partition, key, value in places
            ]
            await asyncio.gather(*sent)

    # --- records out

    async def read(self, topic: str) -> list[list[ConsumerRecord[bytes, bytes]]]:
        """Return the committed records of every partition of a topic."""
        return [
            [r async for r in journal.committed(self.client, TopicPartition(topic, shard))]
            for shard in range(self.shards)
        ]

    async def decisions(self) -> list[list[bytes]]:
        """Return what every shard decided, in order."""
        read = await self.read(self.topics.risk_events)
        return [[record.value for record in of_shard] for of_shard in read]

    async def digest(self) -> str:
        """Return the digest of the state topic."""
        records = await journal.read_state(self.client, self.topics.engine_state)
        digests = []
        for shard in range(self.shards):
            records[shard].pop("offsets", None)
            digests.append(state.digest(state.restore(shard, records[shard].items())))
        return state.run_digest(digests)

    async def until_taken(self, wanted: Counts, part: float = 1, seconds: float = 90) -> None:
        """Wait until shards have committed such a part of so many records of their inputs."""
        async with asyncio.timeout(seconds):
            while self.taken(wanted) < part:
                self.check()
                await self.progress.read()

    def taken(self, wanted: Counts) -> float:
        """Return the part of `wanted` that shards have committed."""
        total = done = 0
        for (name, partition), count in wanted.items():
            for shard in [partition] if name == "positions" else range(self.shards):
                total += count
                done += min(count, self.progress.next[shard].get(name, {}).get(str(partition), 0))
        return done / total

    def check(self) -> None:
        """Raise if a process ended by itself."""
        for process in self.processes:
            process.check()

    def counts(self, records: Iterable[Record]) -> Counts:
        """Return how many records of a log each input holds."""
        found: Counts = {}
        names = {getattr(self.topics, name): name for name in ("prices", "positions", "control")}
        for shard, event in records:
            topic, partition, _, _ = self.place(shard, event)
            at = (names[topic], partition)
            found[at] = found.get(at, 0) + 1
        return found


class Progress:
    """The next offset of every input of every shard, as committed."""

    def __init__(self, client: dict[str, Any], topic: str, shards: int) -> None:
        self.next: list[dict[str, dict[str, int]]] = [{} for _ in range(shards)]
        self._partitions = [TopicPartition(topic, shard) for shard in range(shards)]
        self._client = client

    async def start(self) -> None:
        """Begin at the beginning."""
        self._consumer = AIOKafkaConsumer(
            **self._client, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await self._consumer.start()
        self._consumer.assign(self._partitions)

    async def read(self, seconds_max: float = 0.5) -> None:
        """Take in what was committed meanwhile."""
        batches = await self._consumer.getmany(timeout_ms=round(seconds_max * 1000))
        for partition, records in batches.items():
            for record in records:
                if record.key == b"offsets":
                    self.next[partition.partition] = json.loads(record.value)["next"]

    async def stop(self) -> None:
        """Close the connection."""
        await self._consumer.stop()


class Process:
    """One `liquidator run`, or another `command` of such a kind."""

    def __init__(self, config: Path, command: str = "run") -> None:
        self.config = config
        self.command = command
        self.log = config.with_suffix(".log")
        self.port = json.loads(config.read_text().rpartition("port = ")[2])
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, or start again."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "consumers.cli",
                    self.command,
                    "--config",
                    str(self.config),
                ),
                stderr=log,
                stdout=log,
                env={**os.environ, "PYTHONHASHSEED": "random"},
            )

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raise if it ended by itself."""
        if self._process is not None and self._process.returncode not in (None, -signal.SIGKILL):
            code = self._process.returncode
            raise AssertionError(
                f"{self.command} ended, code {code}\n{self.log.read_text()[-4000:]}"
            )

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it where it stands."""
        if self.running:
            assert self._process is not None
            self._process.kill()
            await self._process.wait()

    async def terminate(self, seconds_max: float = 20, number: int = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        return await asyncio.wait_for(process.wait(), seconds_max)

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a page."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def reasons(self) -> list[str]:
        """Return why it is not ready."""
        found: list[str] = json.loads((await self.get("/readyz"))[1])["reasons"]
        return found

    async def until_joined(self, seconds: float = 30) -> None:
        """Wait until the group has assigned it something, or nothing."""
        async with asyncio.timeout(seconds):
            while True:
                self.check()
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    if await self.reasons() != ["no assignment"]:
                        return
                await asyncio.sleep(0.05)
