"""The worst minutes of the demo's day, played into a real daemon that real servers watch."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from consumers.market import Scene, World
from consumers.player import Pace, Player
from consumers.tally import Tally
from producers import topics
from tests.broker import Broker
from tests.kafka.plant import Plant
from tests.services import Server, alertmanager, prometheus

SCENE = Scene(
    accounts=800,
    symbols=6,
    start_minute=12 * 60 + 44,
    end_minute=13 * 60 + 4,
    # Its fund and its ranking take positions, so that every layer is seen.
    profile="bybit",
)
SPEED = 45.0
"""Seconds of the day in one second."""

CALM_SECONDS = 3.0
"""Scrapes before the day and after it, so that all of it lies between two samples."""


class CrashDay:
    """A broker's topics, the daemon on them, Prometheus, Alertmanager and who hears of it; `began`
    and `ended` are when the day was played, in seconds since 1970."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        self._plant = Plant(broker.bootstrap, directory, 1, commit_interval=0.01)
        self._broker = broker
        # A name of its own: after a kill it is given its shard again at once.
        self.config = self._plant.config("only")
        port = int(self.config.read_text().rpartition("port = ")[2])
        command = [sys.executable, "-m", "consumers.cli", "run", "--config", str(self.config)]
        root = str(Path(__file__).parents[2])
        self.daemon = Server(command, directory, port, {"PYTHONPATH": root})
        self.receiver = alertmanager.Receiver()
        self.alertmanager = alertmanager.server(directory, self.receiver.port)
        self.prometheus = prometheus.server(directory, [port], self.alertmanager.port)
        self.began = self.ended = 0.0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything and play the day."""
        with ExitStack() as stack:
            plant = self._plant
            asyncio.run(topics.create(plant.client, plant.topics, plant.shards))
            for one in (self.receiver, self.alertmanager, self.daemon, self.prometheus):
                stack.enter_context(one)
            self.began = time.time()
            asyncio.run(self._play())
            self.ended = time.time()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    async def _play(self) -> None:
        world = World(SCENE)
        async with Player(self._broker.bootstrap, self._plant.prefix) as player:
            pace = Pace(world.clock.time, SPEED)
            await asyncio.sleep(CALM_SECONDS)
            await player.run(world, Tally(frozenset()), pace)
            await asyncio.sleep(CALM_SECONDS)
