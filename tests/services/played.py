"""Play a crash and serve its metrics: `python -m tests.services.played derivatives 9464`.

Every rule that has a metric is in force. When the crash is over a file `played` says so, and what
it came to is served on.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from consumers import demo, market
from consumers.config import Config
from consumers.feed import Record
from consumers.lending_market import LendingScene
from consumers.market import SECOND, Scene, World
from consumers.player import Pace
from consumers.reload import Reloading
from consumers.stage import AnyScene, staged
from engine.core import Engine
from engine.decisions import Decision, LiquidationOrder
from engine.events import AnyEvent, Event, Halt, Resume
from producers.metrics import Lag, histogram
from producers.mqtt_metrics import BridgeMetrics, PublishMetrics

SPEED = 150.0
"""Seconds of the day in one second."""

DEMO = Path(market.__file__).parents[1] / "deploy" / "profiles" / "demo.toml"

EVERYTHING = """
[profile.waterfall]
takers = ["fund", "backstop", "adl"]
fund_account = "treasury"
backstop = { account = "vault", capacity = 20_000 }
adl = { ranking = "bitmex", price = "bankruptcy" }
socialised = "open_interest"
gate = true

[profile.volatility]
reference = { "*" = 0.04 }
interval = 60_000_000
decay = 0.97
lookback_days = 30
lookback_share = 0.25
floor = 1
cap = 3
rise = 1
fall = 0.1
step = 0.1
"""


class Gauge(demo.Gauge):
    """The demo's metrics with what only a daemon has: times, and how far it is behind."""

    def __init__(self, engines: list[Engine]) -> None:
        super().__init__(engines)
        self._since = time.perf_counter()
        self._times: list[float] = []
        self._loop = histogram("liquidator_loop_lag_seconds", self.registry)

    def note(self, shard: int, event: AnyEvent, decisions: list[Decision]) -> None:
        super().note(shard, event, decisions)
        now = time.perf_counter()
        orders = [one for one in decisions if isinstance(one, LiquidationOrder)]
        self._times += [now - self._since] * len(orders)
        self._since = now

    def observe(self) -> None:
        began = time.perf_counter()
        super().observe()
        for engine in self._engines:
            inputs = (("prices", 0), ("positions", engine.shard), ("control", 0))
            self._metrics.observe_times(engine.shard, self._times, time.perf_counter() - began)
            self._metrics.observe_lag(engine.shard, {at: Lag(0, 0.0) for at in inputs})
            self._metrics.observe_account_risk(engine.shard, 1, 0)
            self._metrics.grant(engine.shard, running=True)
        self._metrics.observe_partitions(len(self._engines))
        self._loop.observe(time.perf_counter() - began)
        self._times.clear()


class Halting(World):
    """The crash, in which an operator halts a market for ten minutes."""

    def play(self) -> Iterator[list[Record]]:
        market = self.symbols[-1]
        begin = self.clock.time
        asked: list[Event] = [
            Halt(time=begin + 300 * SECOND, symbol=market, reason="maintenance"),
            Resume(time=begin + 900 * SECOND, symbol=market),
        ]
        for slot in super().play():
            yield slot
            while asked and self.clock.time >= asked[0].time:
                at = {"time": self.clock.time}
                yield [(None, msgspec.structs.replace(asked.pop(0), **at))]


def scene_of(book: str, directory: Path) -> AnyScene:
    """Return the crash that is played; a profile that it needs is written into `directory`."""
    if book == "lending":
        return LendingScene(accounts=120, start_minute=765, end_minute=785)
    profile = directory / "everything.toml"
    profile.write_text(DEMO.read_text() + EVERYTHING)
    return Scene(
        accounts=400, symbols=5, start_minute=765, end_minute=785, profile=str(profile), shards=1
    )


def carry(registry: CollectorRegistry, seconds: float) -> None:
    """Show what a bridge shows that carries a price now and then, and loses its connections."""
    metrics = BridgeMetrics(registry, ["venue"])
    metrics.connected(False)
    until = time.time() + seconds
    while (now := time.time()) < until:
        metrics.connected(True)
        metrics.forwarded("venue", now, now - 0.2, now - 0.01)
        metrics.count("venue", "conflated")
        metrics.waiting(1, 2)
        time.sleep(0.1)


def main(book: str, port: int) -> None:
    """Play, and serve until somebody ends the process."""
    if book == "bridge":
        registry = CollectorRegistry()
        start_http_server(port, "127.0.0.1", registry)
        carry(registry, 8)
    else:
        play(book, port)
    Path("played").touch()
    while True:
        time.sleep(60)


def play(book: str, port: int) -> None:
    """Play a crash of derivatives or of loans to its end."""
    scene = scene_of(book, Path.cwd())
    stage = staged(scene)
    world = Halting(scene) if isinstance(scene, Scene) else stage.world
    embedded = demo.Embedded(world, stage.tally, stage.observer)
    demo.OBSERVE = 0.2
    gauge = Gauge(embedded.engines)
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=gauge.registry)
    PublishMetrics(gauge.registry)
    Reloading(None, Config(), lambda config: None, gauge.registry)
    start_http_server(port, "127.0.0.1", gauge.registry)
    asyncio.run(embedded.run(Pace(world.clock.time, SPEED), gauge=gauge))
    gauge.observe()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
