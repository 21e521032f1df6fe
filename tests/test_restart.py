"""One log, one outcome: whole, in slices, cut anywhere by a restart, under any hash seed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from engine import core, state, wire
from engine.core import Engine
from engine.events import AnyEvent, Event
from tests.histories import History

FAST = range(2)

Between = Callable[[Engine], Engine]


@cache
def log_of(seed: int) -> tuple[AnyEvent, ...]:
    """Return the events of a history."""
    return tuple(event for event, _ in History(seed))


def run(log: Iterable[Event], between: Between = lambda engine: engine) -> tuple[bytes, str]:
    """Return decisions and digest of a log; `between` is given the engine after every slice."""
    engine, decided = Engine(shard=0), []
    for event in log:
        decided += engine.apply(event)
        engine = between(engine)
        while more := engine.proceed():
            decided += more
            engine = between(engine)
    return b"\n".join(map(wire.write_decision, decided)), state.digest(engine)


@cache
def whole(seed: int) -> tuple[bytes, str]:
    """Return decisions and digest of a history that nothing interrupts."""
    return run(log_of(seed))


def restarted(engine: Engine) -> Engine:
    """Start again from the whole state."""
    return state.restore(engine.shard, state.records(engine).items())


class Store:
    """A compacted topic: the newest record of each key, none for a deleted one."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def restart(self, engine: Engine) -> Engine:
        """Store what changed, and start again from what is stored."""
        self.commit(engine)
        return self.start()

    def start(self) -> Engine:
        """Start from what is stored."""
        return state.restore(0, self.records.items())

    def commit(self, engine: Engine) -> None:
        """Store what changed."""
        for key, record in state.changes(engine).items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record
        assert dict(sorted(self.records.items())) == state.records(engine)


@pytest.mark.parametrize("seed", FAST)
@pytest.mark.parametrize("groups_a_slice", [1, 2])
def test_a_slice_more_or_less_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, seed: int, groups_a_slice: int
) -> None:
    expected = whole(seed)
    monkeypatch.setattr(core, "SLICE", groups_a_slice)
    assert run(log_of(seed)) == expected


@pytest.mark.parametrize("seed", FAST)
def test_a_restart_after_every_slice_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    log, expected = log_of(seed), whole(seed)
    monkeypatch.setattr(core, "SLICE", 1)
    assert run(log, restarted) == expected
    assert run(log, Store().restart) == expected


@pytest.mark.parametrize("seed", FAST)
@pytest.mark.parametrize("events_a_commit", [1, 7, 500])
def test_commits_of_any_size_and_crashes_between_them_change_nothing(
    seed: int, events_a_commit: int
) -> None:
    """A crash loses what was not committed: those events are given again, from the last commit."""
    log, chance = log_of(seed), Random(f"{seed} {events_a_commit}")
    store, engine = Store(), Engine(shard=0)
    committed: list[bytes] = []
    begun: list[bytes] = []
    start = place = crashes = 0
    while place < len(log):
        decided = list(engine.apply(log[place]))
        while more := engine.proceed():
            decided += more
        begun += map(wire.write_decision, decided)
        place += 1
        if place - start == events_a_commit or place == len(log):
            store.commit(engine)
            committed += begun
            start, begun = place, []
        if chance.random() < 0.05 and crashes < 20:
            crashes += 1
            engine, place, begun = store.start(), start, []
    assert crashes > 3
    assert (b"\n".join(committed), state.digest(engine)) == whole(seed)


@pytest.mark.slow
def test_a_restart_after_every_slice_changes_nothing_at_length(
    monkeypatch: pytest.MonkeyPatch, seeds: range
) -> None:
    monkeypatch.setattr(core, "SLICE", 1)
    for seed in seeds:
        log = log_of(len(FAST) + seed)
        assert run(log, Store().restart) == run(log), f"seed {len(FAST) + seed}"


def test_events_that_went_through_json_are_the_same_events() -> None:
    log = [event for event in log_of(0) if _readable(event)]
    read = [wire.read_event(wire.write_event(event)) for event in log]
    assert len(log) > 100
    assert run(read) == run(log)


def _readable(event: AnyEvent) -> bool:
    """Tell whether a reader lets an event in; some mistakes of a history end there."""
    try:
        wire.read_event(wire.write_event(event))
    except wire.WireError:
        return False
    return True


def outcome(seeds: Iterable[int]) -> str:
    """Return one line that stands for decisions and state of several histories."""
    runs = [whole(seed) for seed in seeds]
    decided = hashlib.sha256(b"\n".join(decisions for decisions, _ in runs)).hexdigest()
    return f"{decided} {state.run_digest(digest for _, digest in runs)}"


@pytest.mark.slow
def test_two_hash_seeds_give_one_outcome() -> None:
    code = "from tests.test_restart import FAST, outcome; print(outcome(FAST[:1]))"
    lines = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert lines[0] == lines[1]
    assert lines[0].split()
