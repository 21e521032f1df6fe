"""The status page in a real browser: of a daemon that took the crash day from a real broker, and
of whatever text accounts are named by."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from consumers.board import DECISIONS_SHOWN, Board
from consumers.config import Http, Status
from consumers.market import Scene
from consumers.web import Web
from engine import decisions as d
from engine.core import Engine
from producers.decisions_said import SAID
from producers.kafka import Cause
from producers.status import ShardStatus
from producers.view import look
from tests.bench import book
from tests.broker import Broker
from tests.kafka.day import Day, give, play
from tests.kafka.plant import Plant, Process
from tests.services import missing
from tests.services.chromium import Browser

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(missing("chromium") is not None, reason=str(missing("chromium"))),
]

SCENE = Scene(accounts=400, symbols=6, start_minute=12 * 60 + 40, end_minute=13 * 60, shards=2)

NAMES = {kind.__name__ for kind in SAID}

READ = """Object.fromEntries([...document.querySelectorAll("[data-of]")].map((one) =>
    [one.dataset.of, [Number(one.dataset.value), one.innerText.trim()]]))"""

EVIL = '<img src=x onerror="document.title=1">"\'</td><script>document.title="evil"</script>'


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with Browser(tmp_path) as started:
        yield started


def read(picture: bytes) -> tuple[int, int, float]:
    """Return width and height of a PNG, and the part of it that differs from what is beside it."""
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    at, packed = 8, b""
    while at < len(picture):
        (size,), kind = struct.unpack(">I", picture[at : at + 4]), picture[at + 4 : at + 8]
        packed += picture[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    filtered = zlib.decompress(packed)
    return width, height, 1 - filtered.count(0) / len(filtered)


async def sums(process: Process, name: str, *by: str) -> dict[str, float]:
    """Return what the daemon's metrics say, summed over its shards, by labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families((await process.get("/metrics"))[1]):
        for sample in family.samples:
            if sample.name == name:
                at = ":".join(sample.labels[label] for label in by)
                found[at] = found.get(at, 0.0) + sample.value
    return found


def shown(value: float) -> str:
    """Write an amount as the page does."""
    if 0 < abs(value) < 1:
        return f"{value:.4g}"
    return f"{value:,.0f}" if value == 0 or abs(value) >= 10_000 else f"{value:,.2f}"


async def same(process: Process, of: dict[str, list[Any]]) -> None:
    """Compare what the page shows with what is scraped."""
    states = await sums(process, "liquidator_accounts", "state")
    assert {
        key.removeprefix("state:"): value for key, (value, _) in of.items() if "state" in key
    } == states
    assert of["groups"] == [sum(states.values()), f"{sum(states.values()):,.0f}"]
    for key, name in {
        "shortfall": "liquidator_shortfall_total",
        "bad_debt": "liquidator_bad_debt_total",
        "outstanding": "liquidator_bad_debt_outstanding",
        "unrealised": "liquidator_bad_debt_unrealised",
    }.items():
        value = (await sums(process, name, "asset"))["USDT"]
        assert of[f"{key}:USDT"][0] == pytest.approx(value), key
        assert of[f"{key}:USDT"][1] == f"{shown(of[f'{key}:USDT'][0])} USDT"
    paid = await sums(process, "liquidator_shortfall_paid_total", "layer", "asset")
    assert of["paid:fund:USDT"][0] == pytest.approx(paid["fund:USDT"]) != 0


async def no_wider_than_the_window(browser: Browser) -> None:
    wide = "[document.documentElement.scrollWidth, innerWidth]"
    content, window = await browser.evaluate(wide)
    assert content <= window


@pytest.mark.kafka
async def test_the_crash_day_on_a_page(broker: Broker, browser: Browser, tmp_path: Path) -> None:
    day = play(SCENE)
    async with Plant(broker.bootstrap, tmp_path, SCENE.shards) as plant:
        await plant.put(day.records)
        process = await plant.start()
        await plant.until_taken(plant.counts(day.records))
        url = f"http://127.0.0.1:{process.port}/"
        await browser.size(1280)
        await browser.open(url)
        times = ends(day)
        await until_shown(process, times)
        seen = f"last && {times}.every((time, at) => last.shards[at].engine_time === time)"
        await browser.until(f"{seen} && last.ready")
        await same(process, await browser.evaluate(READ))
        rows = await browser.evaluate("document.querySelectorAll('#decisions tbody tr').length")
        assert rows == DECISIONS_SHOWN
        assert await browser.evaluate("document.querySelectorAll('rect.rung').length") == 41
        await only_committed(plant, process)
        for width, dark in ((1280, False), (390, True), (360, False)):
            await browser.size(width, dark=dark)
            await asyncio.sleep(0.3)
            await no_wider_than_the_window(browser)
            picture = await browser.picture()
            got, height, drawn = read(picture)
            assert (got, height > 1000) == (width, True)
            assert drawn > 0.01, "an empty picture"
        assert browser.complaints == []
        await process.kill()
        await browser.until("document.getElementById('told').innerText.includes('No answer')", 20)
        assert await browser.evaluate("document.title") == "(!) liquidator: unreachable"


async def only_committed(plant: Plant, process: Process) -> None:
    """Check that the last committed decisions are shown, and the records that caused them."""
    committed = []
    for records in await plant.read(plant.topics.risk_events):
        for record in records:
            body = orjson.loads(record.value)
            headers = {name: value.decode() for name, value in record.headers}
            caused = "/".join(headers[name] for name in ("topic", "partition", "offset"))
            place = [body[name] for name in ("time", "shard", "seq", "index")]
            if body["type"] in NAMES:
                committed.append((place, body["type"], body.get("account", ""), caused))
    latest = [rest for _, *rest in sorted(committed, reverse=True)[:DECISIONS_SHOWN]]
    told = orjson.loads((await process.get("/status.json"))[1])["decisions"]
    assert [[one["type"], one["account"], one["cause"]] for one in told] == latest


def ends(day: Day) -> list[float]:
    """Return the engine time of every shard when it has taken everything."""
    return [
        max(event.time for of, event in day.records if of in (None, shard)) / 1e6
        for shard in range(day.shards)
    ]


async def until_shown(process: Process, times: list[float]) -> None:
    """Wait until every shard is shown as it was at a time, and so is the book."""
    async with asyncio.timeout(20):
        while True:
            told = orjson.loads((await process.get("/status.json"))[1])
            reached = [one["engine_time"] for one in told["shards"]]
            if reached == times and told["book"] and told["book"]["engine_time"] == max(times):
                return
            await asyncio.sleep(0.2)


class Small:
    """A served page of a small book, and what is wrong with it."""

    def __init__(self) -> None:
        self.engine = Engine()
        events = [*book.rules(), *book.accounts(50), *book.first_prices()]
        for event in events:
            list(give(self.engine, event))
        self.reasons: list[str] = []
        self.shards = [ShardStatus(0, "running", "", 0.1)]
        self.board = Board(lambda: self.shards, lambda: self.reasons, Status())
        self.fails = False
        self.web = Web(Http(port=0), CollectorRegistry(), lambda: self.reasons, self.document)
        self.show()

    def show(self) -> None:
        """Show the book as it is."""
        self.board.show(0, look(self.engine), self.board.picture(self.engine))

    async def document(self) -> dict[str, Any]:
        """Return what the page shows, or fail."""
        if self.fails:
            raise ConnectionError("a daemon that cannot answer")
        return await self.board.document()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.web.port}/"


@pytest.fixture
async def small() -> AsyncIterator[Small]:
    served = Small()
    await served.web.start()
    yield served
    await served.web.stop()


async def test_foreign_text_stays_text(browser: Browser, small: Small) -> None:
    small.reasons = [f"shard 0: {EVIL}"]
    small.shards = [ShardStatus(0, "down", EVIL, 0.1)]
    small.board.took(
        [
            (
                d.BadDebt(
                    shard=0, seq=1, index=0, time=0, account=EVIL, margin=EVIL, id=EVIL, number=1,
                    asset=EVIL, market=EVIL, cause="", amount=Decimal("12.50"),
                ),
                Cause(EVIL, 0, 1),
            )
        ]
    )  # fmt: skip
    await browser.open(small.url)
    await browser.until("document.querySelectorAll('#decisions tbody tr').length === 1")
    assert await browser.evaluate("document.querySelectorAll('main img, main script').length") == 0
    row = await browser.evaluate("document.querySelector('#decisions tbody tr').innerText")
    assert row.count(EVIL) == 5
    assert EVIL in await browser.evaluate("document.getElementById('told').innerText")
    assert await browser.evaluate("document.title") == "(!) liquidator: not ready"
    for width in (1280, 360):
        await browser.size(width)
        await no_wider_than_the_window(browser)
    assert browser.complaints == []


async def test_what_is_old_is_called_old(browser: Browser, small: Small) -> None:
    told = "document.getElementById('told').innerText"
    await browser.open(small.url)
    await browser.until("last !== null")
    assert await browser.evaluate(told) == ""
    await browser.until(f"{told}.includes('its numbers are')", 20)
    small.board.holds(0)
    await browser.until(f"{told} === ''")
    small.board.drop(0)
    await browser.until(f"{told}.includes('nothing of it is in these numbers')")
    small.fails = True
    await browser.until(f"{told}.includes('No answer from the daemon for')", 20)
    assert await browser.evaluate("document.getElementById('main').className") == "stale"
    small.fails = False
    await browser.until("document.getElementById('main').className === ''")
