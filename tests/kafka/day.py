"""An hour of the demo's day as a log, with what engines decided on it: what is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from consumers import feed
from consumers.feed import Record
from consumers.lending_market import LendingScene, LendingWorld
from consumers.market import Scene, World
from engine import state, wire
from engine.core import Engine
from engine.decisions import Decision
from engine.events import AnyEvent

SCENE = Scene(accounts=400, symbols=4, start_minute=12 * 60 + 30, end_minute=13 * 60 + 30, shards=4)


@dataclass
class Day:
    """A log, and what one engine a shard made of it."""

    shards: int
    records: list[Record] = field(default_factory=list)
    decisions: list[list[bytes]] = field(default_factory=list)
    digest: str = ""
    accounts: dict[str, bytes] = field(default_factory=dict)


def play(scene: Scene | LendingScene = SCENE) -> Day:
    """Play a scene with engines that answer each other, and note everything."""
    world: feed.Day = LendingWorld(scene) if isinstance(scene, LendingScene) else World(scene)
    engines = [Engine(shard) for shard in range(scene.shards)]
    day = Day(scene.shards, decisions=[[] for _ in engines])
    for slot in world.play():
        for shard, event in slot:
            day.records.append((shard, event))
            for engine in engines if shard is None else [engines[shard]]:
                for decision in give(engine, event):
                    day.decisions[engine.shard].append(wire.write_decision(decision))
                    world.hear(decision)
    day.digest = run_digest(engines)
    for engine in engines:
        records = state.records(engine).items()
        day.accounts |= {key: raw for key, raw in records if key.startswith("account/")}
    return day


def give(engine: Engine, event: AnyEvent) -> Iterator[Decision]:
    """Give an engine one event and see it decided."""
    yield from engine.apply(event)
    while more := engine.proceed():
        yield from more


def run_digest(engines: list[Engine]) -> str:
    """Return the digest of a run."""
    return state.run_digest([state.digest(engine) for engine in engines])
