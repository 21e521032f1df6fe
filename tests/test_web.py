"""What the daemon says over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from consumers import web
from consumers.config import Http
from producers.metrics import Metrics


@asynccontextmanager
async def pages(reasons: list[str]) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve, and open a session to what is served."""
    registry = CollectorRegistry()
    Metrics(registry)
    server = web.Web(Http(port=0), registry, lambda: reasons)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield session
    finally:
        await server.stop()


async def test_ready_when_there_is_no_reason_not_to_be() -> None:
    reasons = ["shard 0: restoring", "shard 1: no rules"]
    async with pages(reasons) as session:
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert await answer.json() == {"ready": False, "reasons": reasons}
        reasons.clear()
        async with session.get("/readyz") as answer:
            assert answer.status == 200
            assert await answer.json() == {"ready": True, "reasons": []}


async def test_metrics_are_in_prometheus_format() -> None:
    async with pages([]) as session, session.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "liquidator_build_info" in await answer.text()


async def test_alive_while_the_heart_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(web, "BEAT_SECONDS", 0.05)
    async with pages([]) as session:
        async with session.get("/livez") as answer:
            assert answer.status == 200
        monkeypatch.setattr(web, "BEAT_SECONDS", 60)
        await asyncio.sleep(0.4)
        async with session.get("/livez") as answer:
            assert answer.status == 503
            assert (await answer.json())["alive"] is False
