"""Run a real Kafka broker on loopback, for the tests and for a person.

One node that is broker and controller, from the jars that `Broker.fetch` copies into `.kafka/lib`.
A call blocks until it is done: inside an event loop say `await asyncio.to_thread(broker.start)`.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.services import Server, ServiceError, free_port

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".kafka"
LIB = CACHE / "lib"

JAVA_OPTIONS = (
    "-Xms128m",
    "-Xmx384m",
    # Two cores: the broker should leave them to the tests.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}",
)

SETTINGS = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": ("PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A broker that was killed may register again only when its old session has ended.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # The default of 128 MiB is allocated at start and does not fit the heap.
    "log.cleaner.dedupe.buffer.size": "2097152",
}


class BrokerError(ServiceError):
    """A broker could not be fetched, started or stopped."""


class Broker(Server):
    """One Kafka node whose data, configuration and log live in `directory`.

    With `extra_listener` the broker opens a second listener, on `extra_port`, and tells clients
    that come through it to connect to port `extra_listener`: that is where a `CuttableProxy`
    listens. `settings` adds to server.properties or replaces what stands there.
    """

    error = BrokerError

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        extra_listener: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        directory = directory.resolve()
        command = _java_running("kafka.Kafka", str(directory / "server.properties"))
        super().__init__(command, directory, port or free_port(), name="broker")
        self.extra_listener = extra_listener
        self.extra_port = free_port()
        self._controller_port = free_port()
        self._settings = dict(settings or {})

    @staticmethod
    def fetch() -> Path:
        """Copy the broker's jars into the cache, unless those of this pom are there."""
        if not _fetched():
            mvn = shutil.which("mvn")
            if mvn is None:
                raise BrokerError("broker: Maven (mvn) is missing and so are the jars")
            CACHE.mkdir(exist_ok=True)
            # Whole or not at all: an interrupted fetch must not look like a finished one.
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                fresh = Path(scratch) / "lib"
                print("Fetching Kafka from Maven's repository ...", flush=True)
                command = [mvn, "-q", "-B", "-f", str(HERE / "pom.xml")]
                command += ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
                maven = subprocess.run(command, capture_output=True, text=True, check=False)
                if maven.returncode != 0:
                    raise BrokerError(f"broker: Maven cannot fetch the jars\n{maven.stdout}")
                (fresh / "pom.sha256").write_text(_pom_digest())
                shutil.rmtree(LIB, ignore_errors=True)
                fresh.rename(LIB)
        return LIB

    @staticmethod
    def missing() -> str | None:
        """Say what keeps a broker from being started here, if anything does."""
        if shutil.which(_java()) is None:
            return "no Java; run .ci/ensure-java"
        if not _fetched():
            return "no Kafka jars; run .venv/bin/python -m tests.broker --fetch"
        return None

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def start(self, seconds_max: float = 90) -> None:
        """Start the broker, again after a stop or a kill, and wait until it serves clients."""
        super().start(seconds_max)

    def _prepare(self) -> None:
        properties = self._configure()
        if not (self.directory / "data" / "meta.properties").exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # One in 64 begins with a dash, which only a joined option takes.
            chosen = f"--cluster-id={cluster}"
            tool = ("kafka.tools.StorageTool", "format", chosen, "-c", str(properties))
            if self._launch(_java_running(*tool, "--ignore-formatted")).wait() != 0:
                raise self._fault("cannot format")

    def _ready(self) -> bool:
        return super()._ready() and _serves(self.bootstrap)

    def _configure(self) -> Path:
        listen = {"PLAINTEXT": self.port, "CONTROLLER": self._controller_port}
        advertise = {"PLAINTEXT": self.port}
        if self.extra_listener is not None:
            listen["EXTRA"] = self.extra_port
            advertise["EXTRA"] = self.extra_listener
        settings = {
            **SETTINGS,
            "log.dirs": str(self.directory / "data"),
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": _listeners(listen),
            "advertised.listeners": _listeners(advertise),
            **self._settings,
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def _java_running(*arguments: str) -> list[str]:
    return [_java(), *JAVA_OPTIONS, "-cp", f"{LIB}/*", *arguments]


def _pom_digest() -> str:
    return hashlib.sha256((HERE / "pom.xml").read_bytes()).hexdigest()


def _fetched() -> bool:
    stamp = LIB / "pom.sha256"
    return stamp.exists() and stamp.read_text() == _pom_digest()


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _serves(bootstrap: str) -> bool:
    """Tell whether an admin client sees a broker: an open port alone promises nothing."""

    async def ask() -> bool:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
        try:
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
        except KafkaError:
            return False
        finally:
            await admin.close()

    # A thread of its own, because the caller's may be running an event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()
