"""A daemon that systemd started tells it when it is ready, that it lives, and that it goes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from consumers.market import venue_rules
from consumers.rules import events as rules_events
from tests.broker import Broker
from tests.kafka.plant import Plant

pytestmark = pytest.mark.kafka


async def until_told(heard: socket.socket, line: str, seconds: float = 30) -> list[str]:
    """Return what was told up to a line, in order."""
    found: list[str] = []
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        while line not in found:
            found += (await loop.sock_recv(heard, 4096)).decode().split("\n")
    return found


async def test_a_daemon_tells_systemd_how_it_is(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"liquidator-daemon-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        heard.setblocking(False)
        async with Plant(broker.bootstrap, tmp_path, 1) as plant:
            daemon = await plant.start()
            before = await until_told(heard, "STATUS=shard 0: no rules")
            assert "READY=1" not in before
            now = time.time_ns() // 1000
            await plant.put([(None, event) for event in rules_events(venue_rules(), now)])
            assert "STATUS=ready" in await until_told(heard, "READY=1")
            await until_told(heard, "WATCHDOG=1")
            began = time.monotonic()
            for _ in range(3):
                await until_told(heard, "WATCHDOG=1")
            assert time.monotonic() - began < 2
            daemon.send(signal.SIGHUP)
            await until_told(heard, "RELOADING=1")
            await until_told(heard, "READY=1")
            code = asyncio.create_task(daemon.terminate())
            after = await until_told(heard, "STOPPING=1")
            assert "READY=1" not in after
            assert await code == 0
