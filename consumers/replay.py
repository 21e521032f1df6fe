"""Give an event log to engines, one a shard, as the live stream would."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from tqdm import tqdm

from consumers.event_log import EventLogError, EventLogReader
from engine import invariants, state, wire
from engine.core import Engine
from engine.decisions import Decision
from engine.events import Event
from producers import report as reports
from producers.summary import Summary

OnDecisions = Callable[[Engine, Event, Sequence[Decision]], None]
OnEvent = Callable[[Engine, Event], None]
OnFault = Callable[[EventLogError], None]

SHARDS_MAX = 4096
"""More shards than this in one log is a damaged number, not a cluster."""


class BrokenInvariant(AssertionError):
    """A sentence that must hold does not; the text names file, line, shard and sentence."""


class Replay:
    """Engines, by shard, and what they did with a log.

    Without `shards` there are as many as the highest shard of the log asks for. `check_every` is a
    number of events; 0 checks nothing.
    """

    def __init__(
        self,
        shards: int | None = None,
        check_every: int = 0,
        before: OnEvent | None = None,
        on_decisions: OnDecisions | None = None,
        on_fault: OnFault | None = None,
    ) -> None:
        self.engines = [Engine(shard=shard) for shard in range(shards or 1)]
        self.summary = Summary()
        self._before = before
        self._on_decisions = on_decisions
        self._on_fault = on_fault
        self._fixed = shards is not None
        self._check_every = check_every
        self._given = 0
        # Every event for all shards so far, for a shard whose first own event is still to come.
        self._shared: list[Event] = []

    def run(self, path: str | Path) -> None:
        """Apply every event of the log at `path`, or of standard input if that is "-".

        An event that cannot be read is handed to `on_fault` and passed over, as the live stream
        does. Raises `EventLogError` when there is no `on_fault`, `BrokenInvariant` when a check
        fails, `OSError` when the file cannot be read.
        """
        log = EventLogReader(path, on_fault=self._refuse)
        with tqdm(desc="replay", total=log.size, unit="B", unit_scale=True, disable=None) as bar:
            for shard, raw in log:
                bar.update(log.position - bar.n)
                try:
                    event = wire.read_event(raw)
                    engines = self._engines_for(shard)
                except ValueError as error:
                    self._refuse(log.fault(error))
                    continue
                self._give(event, engines, shared=shard is None)
                if self._check_every and self._given % self._check_every == 0:
                    self.check(log)
        if self._check_every:
            self.check(log)

    def check(self, log: EventLogReader) -> None:
        """Check the invariants of every shard; raises `BrokenInvariant`."""
        for engine in self.engines:
            try:
                invariants.check(engine)
            except AssertionError as error:
                text = f"shard {engine.shard}: invariant broken: {error}"
                raise BrokenInvariant(str(log.fault(text))) from error

    def digests(self) -> list[str]:
        """Return the state digest of each shard."""
        return [state.digest(engine) for engine in self.engines]

    def _engines_for(self, shard: int | None) -> list[Engine]:
        if shard is None:
            return self.engines
        if shard >= len(self.engines):
            self._grow(shard)
        return [self.engines[shard]]

    def _grow(self, shard: int) -> None:
        if self._fixed:
            raise ValueError(f"shard {shard}: the replay was told of {len(self.engines)} shards")
        if shard >= SHARDS_MAX:
            raise ValueError(f"shard {shard}: beyond {SHARDS_MAX - 1}")
        for new in range(len(self.engines), shard + 1):
            engine = Engine(shard=new)
            self.engines.append(engine)
            for event in self._shared:
                self._apply(engine, event)

    def _give(self, event: Event, engines: Sequence[Engine], shared: bool) -> None:
        if shared and not self._fixed:
            self._shared.append(event)
        for engine in engines:
            self._apply(engine, event)
        self._given += 1

    def _refuse(self, fault: EventLogError) -> None:
        self.summary.unreadable += 1
        if self._on_fault is None:
            raise fault
        self._on_fault(fault)

    def _apply(self, engine: Engine, event: Event) -> None:
        if self._before is not None:
            self._before(engine, event)
        decisions = decide(engine, event)
        self.summary.fold(engine, event, decisions)
        if self._on_decisions is not None:
            self._on_decisions(engine, event, decisions)


def report(
    file: str,
    *,
    shards: int | None,
    check_every: int,
    strict: bool,
    as_json: bool,
    summary_file: str | None,
) -> int:
    """Replay `file`, print what happened, and return the number of events that were passed over.

    With `as_json` the decisions go to standard output and the summary to standard error. Raises
    what `Replay.run` does.
    """
    replay = Replay(
        shards,
        check_every,
        on_decisions=_write_decisions if as_json else None,
        on_fault=None if strict else _tell,
    )
    replay.run(file)
    digests = replay.digests()
    told = (replay.summary, digests, state.run_digest(digests))
    if summary_file is not None:
        text = reports.to_json(reports.summary_data(*told))
        with click.open_file(summary_file, "w") as out:
            print(text, file=out)
    console = reports.console(sys.stderr if as_json else sys.stdout)
    reports.show_summary(console, *told)
    if check_every:
        console.print(f"Invariants: held after every {check_every:,} events and at the end")
    return replay.summary.unreadable


def _write_decisions(engine: Engine, event: Event, decisions: Sequence[Decision]) -> None:
    for decision in decisions:
        sys.stdout.buffer.write(wire.write_decision(decision) + b"\n")


def _tell(fault: EventLogError) -> None:
    tqdm.write(str(fault), file=sys.stderr)


def decide(engine: Engine, event: Event) -> list[Decision]:
    """Apply `event` and decide all of its slices."""
    decisions = list(engine.apply(event))
    while more := engine.proceed():
        decisions += more
    return decisions
