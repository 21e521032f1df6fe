"""The topic `control`: put rules on it, and read what it has put in force."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from consumers import rules as rules_file
from consumers import standing
from consumers.config import Config
from consumers.journal import committed
from consumers.life import beyond_one_shard
from consumers.presence import require
from consumers.replay import decide
from consumers.rules import Rules
from engine import wire
from engine.core import Engine
from engine.decisions import Refused
from engine.events import (
    ControlEvent,
    FundMoved,
    Halt,
    InstrumentListed,
    ProfileChanged,
    Recovered,
    Resume,
    TreasuryEvent,
    WrittenOff,
)
from engine.money import plain
from producers.topics import Client, partitions

TRIES = 10
PAUSE_SECONDS = 0.5

FENCED = (ProducerFenced, KafkaError)
"""What the client raises when another sender came between: a broker that is about to tell an old
one off may answer something unknown instead, which is a plain `KafkaError`."""

P = ParamSpec("P")
T = TypeVar("T")


class WouldBeRefused(ValueError):
    """The engine would refuse what was to be sent; the text says what and why."""


class Published(NamedTuple):
    """A record of the topic; `written` is when Kafka took it, in milliseconds. What cannot be read
    has no event."""

    offset: int
    written: int
    event: ControlEvent | None


def again_if_fenced(
    sending: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let `sending`, which reads what is published, judges and sends, begin anew where another
    sender came between; raises the last `KafkaError` when others keep doing so."""

    @wraps(sending)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return await sending(*args, **kwargs)
            except KafkaError as error:
                if type(error) not in FENCED:
                    raise
            asyncio.get_running_loop().set_exception_handler(_unless_fenced)
            # Not all at once again.
            await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))
        return await sending(*args, **kwargs)

    return repeated


def _unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody asked for; a fenced client leaves behind futures that say so again."""
    if type(context.get("exception")) not in FENCED:
        loop.default_exception_handler(context)


def require_own(config: Config) -> None:
    """Raises `WouldBeRefused` for a shadow that reads the control of another engine."""
    if config.shadow.enabled and not config.shadow.own_control:
        raise WouldBeRefused(
            f"{config.topics.control}: belongs to the engine that this one shadows: use that "
            "engine's file, or set shadow.own_control"
        )


async def in_force(client: Client, topic: str) -> Engine:
    """Return an engine without accounts that was told all of `topic`.

    Raises `TopicMissing`, `KafkaError`.
    """
    return told(await _events(client, topic))


def told(events: Sequence[ControlEvent]) -> Engine:
    """Return an engine without accounts that was told `events`."""
    engine = Engine()
    for event in events:
        decide(engine, event)
    return engine


async def publish_file(config: Config, rules: Rules, *, by: str, reason: str = "") -> list[str]:
    """Do as `publish` does, at the time and on the topic that the daemon's file asks for.

    Raises `WouldBeRefused` also for rules that so many shards cannot follow.
    """
    require_own(config)
    client, topics = config.client(), config.topics
    await require(client, topics.control)
    count = (await partitions(client, [topics.positions])).get(topics.positions, 1)
    if fault := beyond_one_shard(rules.profile, count):
        raise WouldBeRefused(fault)
    moment = await standing.moment(config)
    return await publish(client, topics.control, rules, by=by, reason=reason, moment=moment)


@again_if_fenced
async def publish(
    client: Client,
    topic: str,
    rules: Rules,
    *,
    by: str = "",
    reason: str = "",
    moment: int | None = None,
) -> list[str]:
    """Send what of `rules` is not in force, and name each event that was sent.

    `moment` is the time of the events in microseconds UTC, now if not given. Raises
    `WouldBeRefused`, sending nothing, when the engine would refuse one of them, and `TopicMissing`,
    `KafkaError`.
    """
    published = await _events(client, topic)
    moment = time.time_ns() // 1000 if moment is None else moment
    # Replaying all that was published takes longer than a loop may be held.
    sent = await asyncio.to_thread(changes, rules_file.events(rules, moment), published)
    sent = [msgspec.structs.replace(event, by=by, reason=reason) for event in sent]
    await send(client, topic, sent)
    return [named(event) for event in sent]


async def send(client: Client, topic: str, events: Sequence[ControlEvent]) -> None:
    """Write `events` in one transaction; raises `wire.WireError` for what nobody could read,
    `ProducerFenced` when another sender came between, and `KafkaError`."""
    records = [wire.write_event(event) for event in events]
    for record in records:
        wire.read_event(record, "control")
    if not records:
        return
    producer = AIOKafkaProducer(**client, transactional_id=f"{topic}-rules")
    try:
        await producer.start()
        # All at once: a shard that waits for its rules must not begin with a part of them.
        async with producer.transaction():
            for record in records:
                await producer.send_and_wait(topic, record, partition=0)
    finally:
        await producer.stop()


def changes(
    events: Sequence[ControlEvent], published: Sequence[ControlEvent]
) -> list[ControlEvent]:
    """Return those of `events` that change something after all that was `published`.

    Raises `WouldBeRefused` when the engine would refuse one.
    """
    engine = told(published)
    found = [event for event in events if not _told(event, engine, published)]
    for event in found:
        # What a fund holds, and what is owed to it, is known to its shard alone.
        refusals = [] if isinstance(event, TreasuryEvent) else decide(engine, event)
        for refusal in refusals:
            if isinstance(refusal, Refused):
                raise WouldBeRefused(f"{named(event)}: {refusal.rule}: {refusal.detail}")
    return found


def _told(event: ControlEvent, engine: Engine, published: Sequence[ControlEvent]) -> bool:
    """Tell whether `event` says nothing new."""
    match event:
        case ProfileChanged():
            return engine.rules.profile == event.profile
        case InstrumentListed():
            return engine.rules.definition(event.instrument.name) == event.instrument
        case FundMoved() | Recovered() | WrittenOff():
            return _moved(event, published)
    return False


def _moved(event: TreasuryEvent, published: Sequence[ControlEvent]) -> bool:
    """Tell whether a treasury was already moved so; raises `WouldBeRefused` if otherwise so far."""
    moves = [move for move in published if isinstance(move, TreasuryEvent)]
    moves = [move for move in moves if move.shard == event.shard]
    # Who said so, why and when is not what was said.
    same = {"time": event.time, "by": event.by, "reason": event.reason}
    if any(msgspec.structs.replace(move, **same) == event for move in moves):
        return True
    last = max((move.sequence for move in moves), default=None)
    if last is not None and event.sequence <= last:
        raise WouldBeRefused(
            f"{named(event)}: sequence {event.sequence} is taken, the next one is {last + 1}"
        )
    return False


async def published(client: Client, topic: str) -> list[Published]:
    """Return every record of the topic; raises `TopicMissing`, `KafkaError`."""
    await require(client, topic)
    found = []
    async for record in committed(client, TopicPartition(topic, 0)):
        try:
            event = cast(ControlEvent, wire.read_event(record.value or b"", "control"))
        except wire.WireError:
            event = None
        found.append(Published(record.offset, record.timestamp, event))
    return found


async def _events(client: Client, topic: str) -> list[ControlEvent]:
    """Return every event of the topic that can be read; the others are dead letters elsewhere."""
    return [item.event for item in await published(client, topic) if item.event is not None]


def named(event: ControlEvent) -> str:
    """Say what an event changes, in a few words."""
    match event:
        case ProfileChanged():
            return f'ProfileChanged "{event.profile.name}"'
        case InstrumentListed():
            return f"InstrumentListed {event.instrument.name}"
        case FundMoved():
            fund = f'the fund "{event.fund}"' if event.fund else "the fund"
            return f"FundMoved {plain(event.amount)} {event.asset} in {fund} of shard {event.shard}"
        case Recovered() | WrittenOff():
            return (
                f"{type(event).__name__} {plain(event.amount)} {event.asset} of {event.market} in "
                f"shard {event.shard}"
            )
        case Halt() | Resume():
            return f"{type(event).__name__} {event.symbol or 'everything'}"
    return type(event).__name__
