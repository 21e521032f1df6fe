"""Serve `/metrics`, `/livez`, `/readyz`, and the status page with its `/status.json`."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from consumers.config import Http
from producers.metrics import histogram, rendered

BEAT_SECONDS = 0.1

PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What the page shows is for who asked, now."""

STALLED_SECONDS = 5.0
"""The event loop is dead for who looks when it did not come round for this long."""


Document = Callable[[], Awaitable[dict[str, Any]]]


def process_registry() -> CollectorRegistry:
    """Return a registry that shows the process itself."""
    registry = CollectorRegistry()
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    return registry


class Web:
    """The daemon's HTTP server; `reasons` says why the daemon is not ready, if it is not, and
    `document` what the status page shows, if there is one."""

    def __init__(
        self,
        http: Http,
        registry: CollectorRegistry,
        reasons: Callable[[], list[str]],
        document: Document | None = None,
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
        if document is not None:
            self._document = document
            self._page = files("consumers").joinpath("status.html").read_text("utf-8")
            self._page_headers = {**PRIVATE, "Content-Security-Policy": policy_of(self._page)}
            app.router.add_get("/", self._status)
            app.router.add_get("/status.json", self._status_json)
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

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(
            text=self._page, content_type="text/html", charset="utf-8", headers=self._page_headers
        )

    async def _status_json(self, request: web.Request) -> web.Response:
        return web.Response(
            body=orjson.dumps(await self._document()),
            content_type="application/json",
            headers=PRIVATE,
        )


def policy_of(page: str) -> str:
    """Return a Content-Security-Policy that lets a page run its own style and script, ask its own
    server, and nothing else."""
    style, script = (
        b64encode(sha256(re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[0].encode()).digest())
        for tag in ("style", "script")
    )
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{style.decode()}'",
            f"script-src 'sha256-{script.decode()}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _answer(body: dict[str, object]) -> web.Response:
    """Answer with the first entry's truth as the status."""
    well = next(iter(body.values()))
    return web.Response(
        body=orjson.dumps(body), status=200 if well else 503, content_type="application/json"
    )
