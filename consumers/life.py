"""A shard from one recovery to the next: give the engine what arrives, commit what it decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from aiokafka.errors import ProducerFenced
from aiokafka.partitioner import murmur2

from consumers import logs
from consumers.batch import Batch
from consumers.board import Board
from consumers.config import Shards
from consumers.intake import Intake
from consumers.merge import POSITIONS, TOPIC_NAMES, Incoming
from consumers.recovery import OFFSETS_KEY, Progress
from consumers.risk_topic import RiskTopic
from engine import state, wire
from engine.core import Engine
from engine.decisions import Decision, Refused
from engine.events import AccountEvent, Event, ProfileChanged, TimePassed, TreasuryEvent
from engine.profile import RiskProfile
from producers.kafka import CLOCK, Cause, DeadLetter, Prepared, ShardWriter
from producers.ladder import Picture
from producers.metric_families import UNREADABLE, Refusal
from producers.metrics import Metrics
from producers.mqtt import Publisher
from producers.summary import outcome
from producers.topics import Topics
from producers.view import View, looked_at

# No stretch without a pause: heartbeats and other shards share the loop.
STRETCH_SECONDS = 0.002

# So many accounts are encoded in 20 ms, without a pause.
ACCOUNTS_MAX = 1_000

IDLE_SECONDS = 0.2
TICK_SECONDS = 1.0
OBSERVE_SECONDS = 1.0

# A look at a large book in a crash takes some tenths of a second, in which its shard waits: no more
# than this part of the time.
LOOK_SHARE = 0.05

ALL_OF_CONTROL = 2**63

log = structlog.get_logger()


class EngineFault(Exception):
    """The engine raised: a bug, named with the record that shows it."""


class UnknownOutcome(Exception):
    """A commit was not seen through: what it held may be written or not."""


class Life:
    """One engine with its reader and its writer; `lag_seconds` is how far behind it is."""

    def __init__(
        self,
        engine: Engine,
        progress: Progress,
        intake: Intake,
        writer: ShardWriter,
        topics: Topics,
        settings: Shards,
        metrics: Metrics,
        board: Board,
        risk: RiskTopic,
        publisher: Publisher | None = None,
    ) -> None:
        self.engine = engine
        self.lag_seconds = 0.0
        self._number = engine.shard
        self._progress = progress
        self._position = progress.position(engine.shard)
        self._intake = intake
        self._writer = writer
        self._topics = topics
        self._settings = settings
        self._metrics = metrics
        self._board = board
        self._publisher = publisher
        self._risk = risk
        self._batch = Batch()
        self._committing: asyncio.Task[None] | None = None
        self._stopping = False
        self._unseen = True
        self._view: View | None = None
        self._picture: Picture | None = None
        self._tick_at = self._pause_at = time.monotonic()
        self._lag_at = self._look_at = 0.0

    def use(self, settings: Shards) -> None:
        """Go on under other settings: intervals and limits."""
        self._settings = settings
        self._intake.limit_ahead(settings.max_ahead)

    def stop(self) -> None:
        """Let `run` commit what was applied, and return."""
        self._stopping = True

    async def run(self) -> None:
        """Finish what the last event left, then take records until told to stop.

        Raises `EngineFault`, `UnknownOutcome`, `ProducerFenced`, `KafkaError`.
        """
        try:
            await self._finish(self._progress.cause, time.monotonic())
            while not self._stopping:
                await self._intake.fetch(self._patience())
                await self._work()
                await self._observe()
            await self._commit()
        except asyncio.CancelledError:
            if self._committing is not None:
                self._committing.cancel()
            raise
        finally:
            # What is under way is seen through: readers wait at a transaction that stays open.
            await self._committed()

    def _patience(self) -> float:
        if not self._batch:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, self._batch.due(time.monotonic(), self._settings.commit_interval))

    async def _work(self) -> None:
        """Take what is here, and commit what must not wait."""
        await self._hear()
        while not self._stopping and (record := self._next()) is not None:
            await self._take(record)
            if self._full:
                await self._commit()
            else:
                await self._breathe()
        await self._tick()
        self._batch.tell(self._risk.take(), time.monotonic())
        if self._batch and not self._batch.due(time.monotonic(), self._settings.commit_interval):
            await self._commit()

    @property
    def _full(self) -> bool:
        """Whether no more belongs into one transaction."""
        return self._batch.full or len(self.engine.changed.accounts) >= ACCOUNTS_MAX

    async def _breathe(self) -> None:
        """Let others run now and then; commit decisions as soon as the last commit is through."""
        if time.monotonic() < self._pause_at + STRETCH_SECONDS:
            return
        await self._hear()
        if self._committing is None and self._batch.urgent:
            await self._commit()
        await asyncio.sleep(0)
        self._pause_at = time.monotonic()

    def _next(self) -> Incoming | None:
        """Choose the next record: control alone until the rules are whole, then by time."""
        merge, engine = self._intake.merge, self.engine
        if not self._progress.opened:
            # The rules come as several events of one time, and all before what they rule.
            record = merge.take_control(engine.time if engine.ready else ALL_OF_CONTROL)
            if record is not None or not engine.ready:
                return record
        return merge.take()

    async def _take(self, record: Incoming) -> None:
        source = record.source
        topic = getattr(self._topics, TOPIC_NAMES[source.topic])
        cause = Cause(topic, source.partition, record.offset)
        self._progress.took(source, record.offset)
        self._progress.cause = cause
        if record.event is None:
            self._refuse(record, UNREADABLE, "unreadable", record.refusal)
        elif misplaced := self._misplaced(record.event, record.key):
            self._refuse(record, type(record.event).__name__, "misplaced", misplaced)
        else:
            await self._give(record.event, record.value, cause, record)

    def _refuse(self, record: Incoming, kind: str, refusal: Refusal, reason: str) -> None:
        self._batch.count(kind, "refused", time.monotonic())
        self._bury(record, refusal, reason)

    def _bury(self, record: Incoming, refusal: Refusal, reason: str) -> None:
        """Add a dead letter; of what every shard reads, shard 0 reports, or whom it names."""
        # Only the shard of a treasury can refuse what moves it.
        reporter = record.event.shard if isinstance(record.event, TreasuryEvent) else 0
        if self._number == reporter or record.source.topic == POSITIONS:
            letter = DeadLetter(self._progress.cause, record.key, record.value, reason)
            self._batch.bury(letter, TOPIC_NAMES[record.source.topic], refusal)

    def _misplaced(self, event: Event, key: bytes | None) -> str:
        """Say why an event is not this shard's: an account in two of them would be liquidated
        twice, and no shard of several sees all of a pool, or who else bears a loss."""
        if isinstance(event, ProfileChanged):
            return beyond_one_shard(event.profile, self._progress.partitions)
        if (
            self._settings.partitioner == "any"
            or not isinstance(event, AccountEvent)
            or event.account in self.engine.accounts
        ):
            return ""
        account = event.account.encode()
        if key != account:
            return f"key: {key!r} is not the account {event.account}"
        home = (murmur2(account) & 0x7FFFFFFF) % self._progress.partitions
        if home != self._number:
            return f"partition: account {event.account} belongs in {home}, not {self._number}"
        return ""

    async def _give(
        self, event: Event, raw: bytes, cause: Cause, record: Incoming | None = None
    ) -> None:
        """Give the engine one event, the clock's if there is no record, and see it decided."""
        came = time.monotonic() if record is None else record.fetched
        decisions = self._decide(lambda: self.engine.apply(event), cause, came)
        for decision in decisions:
            if isinstance(decision, Refused) and record is not None:
                self._bury(record, "refused", f"{decision.rule}: {decision.detail}")
        self._batch.count(type(event).__name__, outcome(decisions), time.monotonic())
        self._batch.journal(raw)
        await self._finish(cause, came)

    async def _finish(self, cause: Cause, came: float) -> None:
        """Decide what the last event left undecided, slice by slice."""
        while self._decide(self.engine.proceed, cause, came):
            if self._full:
                await self._commit()
            await asyncio.sleep(0)

    def _decide(
        self, step: Callable[[], list[Decision]], cause: Cause, came: float
    ) -> list[Decision]:
        try:
            decisions = step()
        except Exception as error:
            record = f"{cause.topic}/{cause.partition}/{cause.offset}"
            log.exception("engine: bug", shard=self._number, record=record)
            raise EngineFault(f"record {record}: {type(error).__name__}: {error}") from error
        if decisions:
            self._batch.decided(decisions, cause, came, time.monotonic())
        return decisions

    async def _tick(self) -> None:
        """Let time pass by the clock while nothing else says what time it is."""
        now, wall = time.monotonic(), time.time_ns() // 1000
        if self._settings.clock != "wall" or now < self._tick_at + TICK_SECONDS:
            return
        if self._intake.merge.drained and self.engine.ready and wall > self.engine.time:
            self._tick_at = now
            event = TimePassed(time=wall)
            self._progress.cause = Cause(CLOCK)
            await self._give(event, wire.write_event(event), self._progress.cause)

    async def _commit(self) -> None:
        """Begin to write what was applied, in one transaction; one at a time is under way.

        Meanwhile the engine goes on: should the commit fail, the engine goes too.
        """
        await self._committed()
        batch = self._batch
        batch.tell(self._risk.take(), time.monotonic())
        if not batch:
            return
        output = batch.output
        self._risk.touched(self.engine.changed.accounts)
        output.state = state.changes(self.engine)
        output.state[OFFSETS_KEY] = self._progress.record()
        position = self._progress.position(self._number)
        if position != self._position:
            output.position = self._position = position
        prepared = self._writer.prepare(output)
        self._batch = Batch()
        self._committing = asyncio.create_task(self._write(prepared, batch))
        await self._look()

    async def _hear(self) -> None:
        """Take note of the commit under way if it is through, and above all if it failed."""
        if self._committing is not None and self._committing.done():
            await self._committed()

    async def _committed(self) -> None:
        """Wait until what is under way is written, and show the state that it left."""
        if self._committing is not None:
            committing, self._committing = self._committing, None
            await committing
        if self._view is not None:
            self._show(self._view)
            self._view = None

    async def _write(self, prepared: Prepared, batch: Batch) -> None:
        """Write one transaction; counted once it is committed."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await self._writer.commit(prepared)
        except ProducerFenced:
            raise
        except Exception as error:
            raise UnknownOutcome(f"commit: {type(error).__name__}: {error}") from error
        seconds = time.monotonic() - began
        decisions = [decision for decision, _ in batch.output.decisions]
        listed = self.engine.rules.derivatives
        self._metrics.fold(self._number, batch.events, decisions, listed, batch.buried)
        self._metrics.observe_times(self._number, batch.detected, seconds)
        logs.decided(batch.output.decisions)
        self._board.took(batch.output.decisions)
        if self._publisher is not None:
            self._publisher.committed(batch.output.decisions)
        told = len(batch.output.account_risk)
        self._metrics.observe_account_risk(self._number, told, self._risk.waiting)

    async def _look(self) -> None:
        """Look at the state that is being committed, once a second at most.

        It is looked at in parts: others run in between, and the engine waits.
        """
        began = time.monotonic()
        if not self.engine.ready or began < self._look_at:
            self._unseen = True
            return
        self._unseen = False
        parts = looked_at(self.engine)
        while True:
            try:
                next(parts)
            except StopIteration as done:
                self._view = done.value
                break
            await asyncio.sleep(0)
        self._picture = self._board.picture(self.engine)
        spent = time.monotonic() - began
        self._look_at = began + max(OBSERVE_SECONDS, spent / LOOK_SHARE)

    async def _observe(self) -> None:
        """Show how the shard stands, once a second."""
        now = time.monotonic()
        if now < self._lag_at + OBSERVE_SECONDS:
            return
        self._lag_at = now
        lags = await self._intake.lag()
        self.lag_seconds = max(lag.seconds for lag in lags.values())
        self._metrics.observe_lag(self._number, lags)
        self._metrics.observe_account_risk(self._number, 0, self._risk.waiting)
        if self._batch or self._committing is not None:
            return
        if not self._unseen:
            self._board.holds(self._number)
            return
        await self._look()
        await self._committed()

    def _show(self, view: View) -> None:
        """Show a state that is committed."""
        self._metrics.show(self._number, view)
        self._board.show(self._number, view, self._picture)
        if self._publisher is not None:
            self._publisher.show(self._number, view)


def beyond_one_shard(profile: RiskProfile, count: int) -> str:
    """Say which rule of a profile several shards cannot follow: none of them sees all accounts."""
    waterfall = profile.waterfall
    rules = {
        "lending: a pool needs": profile.lending is not None,
        "waterfall takers: who takes positions needs": bool(waterfall.takers),
        "waterfall socialised: who else bears a loss needs": bool(waterfall.socialised),
        "waterfall gate: what is unpaid in all needs": waterfall.gate,
    }
    found = next((rule for rule, given in rules.items() if given), "")
    return f"{found} one shard, and these are {count}" if found and count > 1 else ""
