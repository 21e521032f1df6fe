"""What the daemon tells systemd, and the unit by which systemd runs it."""

from __future__ import annotations

import asyncio
import configparser
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumers import systemd
from consumers.config import Shards
from consumers.systemd import Notifier
from tests import services

UNIT = Path(__file__).parents[1] / "deploy" / "systemd" / "liquidator.service"


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.setblocking(False)
        yield heard


async def told(heard: socket.socket) -> list[str]:
    """Return the lines of the next datagram."""
    loop = asyncio.get_running_loop()
    return (await asyncio.wait_for(loop.sock_recv(heard, 4096), 5)).decode().split("\n")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A path for a socket: short, since the length of such a path is limited."""
    return os.path.relpath(tmp_path / "notify")


async def test_ready_is_said_once_when_nothing_stands_against_it(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "LOOK_SECONDS", 0.02)
    reasons = ["shard 0: restoring", "shard 1:\nno rules"]
    with listening(place) as heard:
        async with Notifier(lambda: reasons, bool, {"NOTIFY_SOCKET": place}):
            assert await told(heard) == ["STATUS=shard 0: restoring; shard 1: no rules"]
            reasons.clear()
            assert await told(heard) == ["STATUS=ready", "READY=1"]
            reasons.append("shard 0: 12.0 s behind")
            assert await told(heard) == ["STATUS=shard 0: 12.0 s behind"]
            reasons.clear()
            assert await told(heard) == ["STATUS=ready"]
        assert await told(heard) == ["STOPPING=1", "STATUS=stopping"]
        with pytest.raises(BlockingIOError):
            heard.recv(1)


async def test_the_watchdog_hears_of_a_loop_that_comes_round(place: str) -> None:
    environment = {
        "NOTIFY_SOCKET": place,
        "WATCHDOG_USEC": "60000",
        "WATCHDOG_PID": f"{os.getpid()}",
    }
    with listening(place) as heard:
        async with Notifier(list, bool, environment):
            assert await told(heard) == ["WATCHDOG=1", "STATUS=ready", "READY=1"]
            began = asyncio.get_running_loop().time()
            for _ in range(3):
                assert await told(heard) == ["WATCHDOG=1"]
            assert asyncio.get_running_loop().time() - began < 1


@pytest.mark.parametrize(("usec", "pid"), [("0", ""), ("x", ""), ("60000", "1")])
async def test_no_watchdog_that_is_not_meant_for_this_process(
    place: str, usec: str, pid: str
) -> None:
    environment = {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    with listening(place) as heard:
        async with Notifier(list, bool, environment):
            assert await told(heard) == ["STATUS=ready", "READY=1"]


async def test_a_socket_without_a_path_is_spoken_to() -> None:
    name = f"liquidator-{os.getpid()}"
    with listening(f"\0{name}") as heard:
        async with Notifier(list, bool, {"NOTIFY_SOCKET": f"@{name}"}):
            assert await told(heard) == ["STATUS=ready", "READY=1"]


async def test_what_systemd_could_not_take_is_told_again(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "LOOK_SECONDS", 0.02)
    async with Notifier(list, bool, {"NOTIFY_SOCKET": place}):
        await asyncio.sleep(0.1)
        with listening(place) as heard:
            assert await told(heard) == ["STATUS=ready", "READY=1"]


async def test_a_reload_is_told_from_its_begin_to_its_end(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "LOOK_SECONDS", 0.02)
    under_way = [True]
    with listening(place) as heard:
        async with Notifier(list, lambda: under_way[0], {"NOTIFY_SOCKET": place}) as notifier:
            await told(heard)
            notifier.reload()
            begun, since = await told(heard)
            assert begun == "RELOADING=1"
            assert since.startswith("MONOTONIC_USEC=")
            await asyncio.sleep(0.1)
            with pytest.raises(BlockingIOError):
                heard.recv(1)
            under_way[0] = False
            assert await told(heard) == ["READY=1"]


async def test_nobody_is_told_where_systemd_is_not() -> None:
    async with Notifier(lambda: pytest.fail("looked"), bool, {}) as notifier:
        notifier.reload()
        notifier.stopping()
        await asyncio.sleep(0)


def test_the_unit_gives_shards_the_time_that_they_ask_for() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > Shards().stop_timeout + 2 * 5
    assert float(service["WatchdogSec"]) > 10 * systemd.LOOK_SECONDS
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")


@pytest.mark.services
def test_systemd_accepts_the_unit_and_finds_it_hardly_exposed(tmp_path: Path) -> None:
    if reason := services.missing("systemd-analyze"):
        pytest.skip(reason)
    program = Path(sys.executable).with_name("liquidator")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/liquidator/bin/liquidator", str(program)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    assert rated.returncode == 0, rated.stdout + rated.stderr
