"""A process that waits for a broker without an answer ends when it is told to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import free_port, listens

ROOT = Path(__file__).parents[1]

SOURCE = """
[[bridge.sources]]
name = "venue"
topic = "venue/{symbol}/{kind}"
"""


@pytest.fixture
def silent() -> Iterator[int]:
    """Return a port where connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("command", ["run", "bridge"])
def test_a_stop_while_brokers_say_nothing_is_a_good_end(
    tmp_path: Path, silent: int, command: str
) -> None:
    http, bridge = free_port(), free_port()
    config = tmp_path / "liquidator.toml"
    config.write_text(
        f'[kafka]\nbrokers = ["127.0.0.1:{silent}"]\n[http]\nport = {http}\n'
        f"[bridge]\nhttp_port = {bridge}\n{SOURCE}"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "consumers.cli", command, "--config", config],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while not listens(bridge if command == "bridge" else http):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
