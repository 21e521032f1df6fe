"""What the daemon says over HTTP."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.resources import files

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from consumers import web
from consumers.config import Http
from producers.metrics import Metrics


@asynccontextmanager
async def pages(
    reasons: list[str], document: web.Document | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve, and open a session to what is served."""
    registry = CollectorRegistry()
    Metrics(registry)
    server = web.Web(Http(port=0), registry, lambda: reasons, document)
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


async def some() -> dict[str, object]:
    """Return something to be shown."""
    return {"time": 1.5}


async def test_the_status_page_may_run_its_own_script_alone() -> None:
    async with pages([], some) as session:
        async with session.get("/") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            policy, page = answer.headers["Content-Security-Policy"], await answer.text()
            assert answer.headers["Cache-Control"] == "no-store"
        async with session.get("/status.json") as answer:
            assert await answer.json() == {"time": 1.5}
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind in ("style", "script"):
        inside = page.split(f"<{kind}>")[1].split(f"</{kind}>")[0]
        digest = b64encode(sha256(inside.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
        assert page.count(f"<{kind}") == 1
    assert "unsafe" not in policy


def test_the_page_asks_nobody_else_and_writes_no_markup() -> None:
    page = files("consumers").joinpath("status.html").read_text("utf-8")
    without_names = page.replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"^\s*//.*$", "", without_names, flags=re.MULTILINE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|style=", page)


async def test_no_page_where_it_is_not_wanted() -> None:
    async with pages([]) as session:
        for path in ("/", "/status.json"):
            async with session.get(path) as answer:
                assert answer.status == 404
