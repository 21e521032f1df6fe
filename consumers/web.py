"""Serve `/metrics`, `/livez` and `/readyz`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from consumers.config import Http
from producers.metrics import histogram, rendered

BEAT_SECONDS = 0.1

STALLED_SECONDS = 5.0
"""The event loop is dead for who looks when it did not come round for this long."""


class Web:
    """The daemon's HTTP server; `reasons` says why the daemon is not ready, if it is not."""

    def __init__(
        self, http: Http, registry: CollectorRegistry, reasons: Callable[[], list[str]]
    ) -> None:
        self.port = http.port
        self._host = http.host
        self._registry = registry
        self._reasons = reasons
        self._lag = histogram("liquidator_loop_lag_seconds", registry)
        self._beat = time.monotonic()
        self._beating: asyncio.Task[None] | None = None
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Begin to serve; raises `OSError` when the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            place = f"http: cannot serve on {self._host}:{self.port} (http.host, http.port)"
            raise OSError(f"{place}: {error.strerror or error}") from error
        self.port = self._runner.addresses[0][1]
        self._beating = asyncio.create_task(self._keep_beating())

    async def stop(self) -> None:
        """Close every connection."""
        if self._beating is not None:
            self._beating.cancel()
        await self._runner.cleanup()

    async def _keep_beating(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            self._lag.observe(max(0.0, time.monotonic() - self._beat - BEAT_SECONDS))

    async def _metrics(self, request: web.Request) -> web.Response:
        parts = []
        for part in rendered(self._registry):
            parts.append(part)
            await asyncio.sleep(0)
        return web.Response(body=b"".join(parts), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _livez(self, request: web.Request) -> web.Response:
        late = time.monotonic() - self._beat
        return _answer({"alive": late < STALLED_SECONDS, "heartbeat_seconds": round(late, 3)})

    async def _readyz(self, request: web.Request) -> web.Response:
        reasons = self._reasons()
        return _answer({"ready": not reasons, "reasons": reasons})


def _answer(body: dict[str, object]) -> web.Response:
    """Answer with the first entry's truth as the status."""
    well = next(iter(body.values()))
    return web.Response(
        body=orjson.dumps(body), status=200 if well else 503, content_type="application/json"
    )
