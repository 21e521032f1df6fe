"""`liquidator demo`: play the day through engines in this process, or into a daemon elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, nullcontext
from decimal import Decimal
from typing import Literal

import click
import msgspec
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiomqtt import MqttError
from prometheus_client import CollectorRegistry

from consumers.board import Board
from consumers.config import Http, Status
from consumers.crashes import MAY_2021, DayName
from consumers.demo_screen import Screen
from consumers.feed import Count, Day
from consumers.lending_market import LendingScene
from consumers.lending_observer import Observer
from consumers.market import Book, Scene
from consumers.player import NotPlayable, Pace, Player
from consumers.replay import decide
from consumers.stage import AnyScene, AnySummary, show, staged
from consumers.web import Web
from engine import state, wire
from engine.core import Engine
from engine.decisions import Decision
from engine.events import AnyEvent
from producers import report
from producers.event_log import EventLogWriter
from producers.metrics import Metrics
from producers.mqtt_line import Line, said
from producers.mqtt_prices import PriceFeed
from producers.status import ShardStatus
from producers.summary import outcome

MQTT_TOPIC = "liquidator-demo"
"""Where prices are published: liquidator-demo/SYMBOL/KIND, as deploy/demo.toml has it."""

OBSERVE = 1.0
"""Seconds between two looks at an engine's state."""


def run(
    *,
    speed: float | None = None,
    shards: int = 1,
    log: str | None = None,
    kafka: str | None = None,
    mqtt: str | None = None,
    book: Book | Literal["lending"] = "thin",
    day: DayName = MAY_2021.name,
    seed: int = 1,
    port: int | None = None,
    profile: str | None = None,
    as_json: bool = False,
) -> None:
    """Play a whole crash and print what it came to.

    `speed` is seconds of it in one second; none is as fast as possible. `profile` is the name or
    the file of the profile by which it is margined, none the demo's own. Raises
    `ClickException` for what does not go together or when Kafka does not play its part, `OSError`
    when the log cannot be written or the port is taken.
    """
    scene = _scene(book, day, seed, shards, profile)
    if mqtt is not None and kafka is None:
        raise click.UsageError("--mqtt needs --kafka: a bridge carries the prices into a daemon")
    if kafka is None:
        summary = asyncio.run(play(scene, speed=speed, log=log, port=port, quiet=as_json))
    elif log is not None or port is not None or shards != 1:
        raise click.UsageError("with --kafka the daemon has shards, journal and metrics of its own")
    else:
        try:
            summary = asyncio.run(play_into(kafka, scene, mqtt=mqtt, speed=speed, quiet=as_json))
        except KafkaConnectionError as error:
            raise click.ClickException(f"kafka: no broker answers at {kafka} (--kafka)") from error
        except MqttError as error:
            raise click.ClickException(f"mqtt: {said(error)}, at {mqtt} (--mqtt)") from error
        except (KafkaError, NotPlayable) as error:
            raise click.ClickException(f"{kafka}: {error}") from error
    if as_json:
        print(report.to_json(msgspec.to_builtins(summary, builtin_types=(Decimal,))))
    else:
        show(summary, scene)


def _scene(
    book: Book | Literal["lending"], day: DayName, seed: int, shards: int, profile: str | None
) -> AnyScene:
    if book != "lending":
        return Scene(day=day, seed=seed, book=book, shards=shards, profile=profile)
    if day != MAY_2021.name:
        raise click.UsageError(f"--book lending is of {MAY_2021.title}: it takes no other --day")
    if profile is not None:
        raise click.UsageError("--book lending has pools of its own: it takes no --profile")
    if shards != 1:
        raise click.UsageError("--book lending needs one shard: a pool is in one place")
    return LendingScene(seed=seed)


async def play(
    scene: AnyScene,
    *,
    speed: float | None = None,
    log: str | None = None,
    port: int | None = None,
    quiet: bool = True,
) -> AnySummary:
    """Play `scene` through engines in this process, one a shard."""
    began = time.monotonic()
    stage = staged(scene)
    embedded = Embedded(stage.world, stage.tally, stage.observer)
    async with AsyncExitStack() as stack:
        writer = None if log is None else stack.enter_context(EventLogWriter(log))
        screen = None if quiet else stack.enter_context(Screen(stage.world, stage.view))
        gauge = None if port is None else Gauge(embedded.engines)
        if gauge is not None:
            await _serve(stack, gauge, port or 0)
        await embedded.run(Pace(stage.world.clock.time, speed), writer, screen, gauge)
    digest = state.run_digest(state.digest(engine) for engine in embedded.engines)
    return stage.summary(time.monotonic() - began, digest)


async def play_into(
    bootstrap: str,
    scene: AnyScene,
    *,
    mqtt: str | None = None,
    speed: float | None = None,
    quiet: bool = True,
) -> AnySummary:
    """Play `scene` into a daemon by way of the brokers at `bootstrap`; raises as `Player` does.

    Its topics say how many shards there are. Prices go by way of the broker at `mqtt` and a bridge,
    where there is one; raises `MqttError`.
    """
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        prices = None if mqtt is None else await stack.enter_async_context(_feed(mqtt))
        player = await stack.enter_async_context(Player(bootstrap, prices=prices))
        if isinstance(scene, LendingScene) and player.shards != 1:
            raise NotPlayable(f"demo: a pool needs one shard, and there are {player.shards}")
        stage = staged(msgspec.structs.replace(scene, shards=player.shards), embedded=False)
        with nullcontext() if quiet else Screen(stage.world, stage.view) as screen:
            pace = Pace(stage.world.clock.time, speed)
            await player.run(stage.world, stage.tally, pace, screen)
    return stage.summary(time.monotonic() - began, None)


def _feed(mqtt: str) -> PriceFeed:
    """Return what publishes prices at `mqtt`, a host and its port."""
    host, _, port = mqtt.rpartition(":")
    if not host or not port.isdecimal():
        raise click.UsageError(f"--mqtt: {mqtt!r} is not HOST:PORT")
    return PriceFeed(
        Line(host.strip("[]"), int(port), f"liquidator-demo-{os.getpid()}"), MQTT_TOPIC
    )


async def _serve(stack: AsyncExitStack, gauge: Gauge, port: int) -> None:
    web = Web(Http(port=port), gauge.registry, list, gauge.board.document)
    await web.start()
    stack.push_async_callback(web.stop)
    where = f"http://127.0.0.1:{web.port}/"
    print(f"status page: {where}\nmetrics: {where}metrics", file=sys.stderr)


class Embedded:
    """The day in this process."""

    def __init__(self, world: Day, tally: Count, observer: Observer | None = None) -> None:
        self.engines = [Engine(shard=shard) for shard in range(world.shards)]
        self._observer = observer
        self._world = world
        self._tally = tally
        self._log: EventLogWriter | None = None
        self._gauge: Gauge | None = None

    async def run(
        self,
        pace: Pace,
        log: EventLogWriter | None = None,
        screen: Screen | None = None,
        gauge: Gauge | None = None,
    ) -> None:
        """Play to the end; keep a log, show a picture and metrics where asked to."""
        self._log, self._gauge = log, gauge
        for records in self._world.play():
            for shard, event in records:
                self._give(shard, event)
            if self._observer is not None:
                self._observer.look(self.engines, self._world.clock.time)
            if pace.holds(self._world.clock.time):
                if screen is not None:
                    screen.show()
                if gauge is not None:
                    gauge.observe()
                await pace.wait(self._world.clock.time)
        if self._observer is not None:
            self._observer.end(self.engines, self._world.clock.time)
        if screen is not None:
            screen.show()

    def _give(self, shard: int | None, event: AnyEvent) -> None:
        if self._log is not None:
            self._log.write(shard, wire.write_event(event))
        self._tally.event(event)
        for engine in self.engines if shard is None else (self.engines[shard],):
            decisions = decide(engine, event)
            for decision in decisions:
                self._world.hear(decision)
                self._tally.decision(decision)
            if self._gauge is not None:
                self._gauge.note(engine.shard, event, decisions)


class Gauge:
    """Metrics and status page of engines in this process: counted as they decide, shown now and
    then."""

    def __init__(self, engines: list[Engine]) -> None:
        self.registry = CollectorRegistry()
        self._engines = engines
        self._metrics = Metrics(self.registry)
        self.board = Board(self._shards, list, Status())
        self._observed = 0.0
        self._events: dict[int, Counter[tuple[str, str]]] = {e.shard: Counter() for e in engines}
        self._decisions: dict[int, list[Decision]] = {e.shard: [] for e in engines}

    def note(self, shard: int, event: AnyEvent, decisions: list[Decision]) -> None:
        """Count one event and what was decided."""
        self._events[shard][type(event).__name__, outcome(decisions)] += 1
        self._decisions[shard] += decisions

    def observe(self) -> None:
        """Show once a second what was counted since the last time, and the state as it is."""
        if time.monotonic() < self._observed + OBSERVE:
            return
        self._observed = time.monotonic()
        for engine in self._engines:
            shard = engine.shard
            listed = engine.rules.derivatives
            self._metrics.fold(shard, self._events[shard], self._decisions[shard], listed)
            self.board.took((decision, None) for decision in self._decisions[shard])
            view = self._metrics.observe_state(shard, engine)
            if engine.ready:
                self.board.show(shard, view, self.board.picture(engine))
            self._events[shard].clear()
            self._decisions[shard].clear()

    def _shards(self) -> list[ShardStatus]:
        return [ShardStatus(engine.shard, "running", "", 0.0) for engine in self._engines]
