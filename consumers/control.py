"""The topic `control`: put rules on it, and read what it has put in force."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition

from consumers import rules as rules_file
from consumers.journal import committed
from consumers.presence import require
from consumers.replay import decide
from consumers.rules import Rules
from engine import wire
from engine.core import Engine
from engine.decisions import Refused
from engine.events import (
    ControlEvent,
    FundMoved,
    InstrumentListed,
    ProfileChanged,
    Recovered,
    TreasuryEvent,
    WrittenOff,
)
from engine.money import plain
from producers.topics import Client


class WouldBeRefused(ValueError):
    """The engine would refuse what was to be sent; the text says what and why."""


async def in_force(client: Client, topic: str) -> Engine:
    """Return an engine without accounts that was told all of `topic`.

    Raises `TopicMissing`, `KafkaError`.
    """
    engine = Engine()
    for event in await _published(client, topic):
        decide(engine, event)
    return engine


async def publish(client: Client, topic: str, rules: Rules) -> list[str]:
    """Send what of `rules` is not in force, and name each event that was sent.

    Raises `WouldBeRefused`, sending nothing, when the engine would refuse one of them, and
    `TopicMissing`, `KafkaError`.
    """
    published = await _published(client, topic)
    sent = changes(rules_file.events(rules, time.time_ns() // 1000), published)
    producer = AIOKafkaProducer(**client, transactional_id=f"{topic}-rules")
    try:
        await producer.start()
        # All at once: a shard that waits for its rules must not begin with a part of them.
        async with producer.transaction():
            for event in sent:
                await producer.send_and_wait(topic, wire.write_event(event), partition=0)
    finally:
        await producer.stop()
    return [_named(event) for event in sent]


def changes(
    events: Sequence[ControlEvent], published: Sequence[ControlEvent]
) -> list[ControlEvent]:
    """Return those of `events` that change something after all that was `published`.

    Raises `WouldBeRefused` when the engine would refuse one.
    """
    engine = Engine()
    for event in published:
        decide(engine, event)
    found = [event for event in events if not _told(event, engine, published)]
    for event in found:
        # What a fund holds, and what is owed to it, is known to its shard alone.
        refusals = [] if isinstance(event, TreasuryEvent) else decide(engine, event)
        for refusal in refusals:
            if isinstance(refusal, Refused):
                raise WouldBeRefused(f"{_named(event)}: {refusal.rule}: {refusal.detail}")
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
    if any(msgspec.structs.replace(move, time=event.time) == event for move in moves):
        return True
    last = max((move.sequence for move in moves), default=None)
    if last is not None and event.sequence <= last:
        raise WouldBeRefused(
            f"{_named(event)}: sequence {event.sequence} is taken, the next one is {last + 1}"
        )
    return False


async def _published(client: Client, topic: str) -> list[ControlEvent]:
    """Return every event of the topic that can be read; the others are dead letters elsewhere."""
    await require(client, topic)
    found = []
    async for record in committed(client, TopicPartition(topic, 0)):
        try:
            event = wire.read_event(record.value or b"", "control")
        except wire.WireError:
            continue
        found.append(cast(ControlEvent, event))
    return found


def _named(event: ControlEvent) -> str:
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
    return type(event).__name__
