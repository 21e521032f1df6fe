"""Run real servers on loopback: Mosquitto, Prometheus, Alertmanager, and a headless browser.

A call blocks until it is done: inside an event loop say `await asyncio.to_thread(server.start)`.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Debian keeps servers where only root looks.
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


class ServiceError(Exception):
    """A server could not be started or stopped; the text ends with what it wrote last."""


def program(name: str) -> str | None:
    """Return where the program is, nothing where it is not installed."""
    return shutil.which(name, path=SEARCHED)


def missing(*names: str) -> str | None:
    """Say which programs are not installed, if any are not."""
    lacking = [name for name in names if program(name) is None]
    return f"no {', '.join(lacking)}; run .ci/ensure-services" if lacking else None


class Server:
    """One server process that listens on `port` of 127.0.0.1 and logs into `directory`.

    It can be stopped or killed, and started again on the same data. `name` is what its errors and
    its log are called by.
    """

    error: type[Exception] = ServiceError

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        port: int,
        environment: Mapping[str, str] | None = None,
        name: str = "",
    ) -> None:
        self.directory = directory
        self.port = port
        self.name = name or Path(command[0]).name
        self.log = directory / f"{self.name}.log"
        self._command = [program(command[0]) or command[0], *command[1:]]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is spoken to over HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that runs; raises `ServiceError` when none does."""
        if self._process is None:
            raise ServiceError(f"{self._command[0]}: not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, seconds_max: float = 30) -> None:
        """Start the server, again after a stop or a kill, and wait until it serves."""
        if self.running:
            raise self.error(f"{self._place}: already running")
        # Whoever answers there would be taken for this server.
        if listens(self.port):
            raise self.error(f"{self._place}: the port is in use")
        self._prepare()
        self._process = self._launch(self._command)
        try:
            self._wait_ready(seconds_max)
        except BaseException:
            self.kill()
            raise

    def stop(self, seconds_max: float = 30) -> None:
        """Stop the server as an operator would (SIGTERM)."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._fault(f"still running {seconds_max} s after SIGTERM") from None

    def kill(self) -> None:
        """Kill the server where it stands (SIGKILL); its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        """Wait until the process ends and return its exit code."""
        if self._process is None:
            raise self.error(f"{self._place}: not started")
        return self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _place(self) -> str:
        return f"{self.name} 127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        """Make what the process needs to find."""

    def _ready(self) -> bool:
        """Tell whether it serves."""
        return listens(self.port)

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for whoever started the server; it decides when the server stops.
                start_new_session=True,
            )

    def _wait_ready(self, seconds_max: float) -> None:
        deadline = time.monotonic() + seconds_max
        while not self._ready():
            if not self.running:
                raise self._fault("ended at start")
            if time.monotonic() > deadline:
                raise self._fault(f"not ready after {seconds_max} s")
            time.sleep(0.05)

    def _fault(self, what: str, lines: int = 30) -> Exception:
        """Return an error that ends with what the process wrote last."""
        written = self.log.read_text(errors="replace") if self.log.exists() else ""
        tail = "\n".join(written.splitlines()[-lines:])
        return self.error(f"{self._place}: {what}\n{tail}")


def free_port() -> int:
    """Choose a port of 127.0.0.1 on which nothing listens.

    It lies below the range from which the system takes the ports of outgoing connections: a client
    that keeps trying a closed port inside that range sooner or later connects to itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
