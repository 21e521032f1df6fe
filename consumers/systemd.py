"""Tell systemd how the process is: ready, in which state, alive, on its way out.

The protocol is sd_notify(3): lines of KEY=value in one datagram to the socket that NOTIFY_SOCKET
names. Where nothing names one, nothing is told.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

LOOK_SECONDS = 1.0
"""How often the state is looked at; more often where the watchdog asks for more."""

ONE_LINE = {ord("\n"): " ", ord("\r"): " "}


class Notifier:
    """Tell systemd of a daemon inside `async with`; `reasons` says why it is not ready, `reloading`
    whether it still reads its configuration anew.

    WATCHDOG=1 comes from the event loop: one that stalls for WatchdogSec is ended by systemd.
    """

    def __init__(
        self,
        reasons: Callable[[], list[str]],
        reloading: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        found = os.environ if environment is None else environment
        self._reasons = reasons
        self._reloading = reloading
        self._address = _address(found.get("NOTIFY_SOCKET", ""))
        self._watched = _watchdog_seconds(found)
        self._ready = False
        self._told_reload = False
        self._status: str | None = None
        self._socket: socket.socket | None = None
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping()
        if self._looking is not None:
            self._looking.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def stopping(self) -> None:
        """Say that the process is on its way out."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def reload(self) -> None:
        """Say that the configuration is read anew; that it was read is said when it was."""
        since = f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
        self._told_reload = self._ready and self._tell("RELOADING=1", since)

    async def _look(self) -> None:
        pause = LOOK_SECONDS if self._watched is None else min(LOOK_SECONDS, self._watched / 3)
        while True:
            self._tell_state()
            await asyncio.sleep(pause)

    def _tell_state(self) -> None:
        """Tell what is new; what could not be told is told again."""
        reasons = self._reasons()
        status = "; ".join(reasons) or "ready"
        news = [] if self._watched is None else ["WATCHDOG=1"]
        if status != self._status:
            news.append(f"STATUS={status.translate(ONE_LINE)}")
        reloaded = self._told_reload and not self._reloading()
        ready = self._ready or not reasons
        if reloaded or ready > self._ready:
            news.append("READY=1")
        if news and self._tell(*news):
            self._status, self._ready = status, ready
            self._told_reload = self._told_reload and not reloaded

    def _tell(self, *lines: str) -> bool:
        """Send lines and tell whether they were taken; systemd may be busy, or gone."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True


def _address(named: str) -> str:
    """Return a socket's address; one in the abstract namespace is named with an @."""
    return "\0" + named[1:] if named.startswith("@") else named


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return within how many seconds systemd wants a sign of life from this process, if at all."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1_000_000
