"""Halt liquidation in a market, or everywhere, and resume it: say first what that changes."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from consumers import control, standing
from consumers.config import Config
from consumers.control import Published
from consumers.standing import Standing
from engine.core import Engine
from engine.events import Halt, Resume
from engine.rules import Rules
from producers.report import moment


class NotListed(LookupError):
    """There is no such market under the rules in force; the text names it and those like it."""


class Answer(NamedTuple):
    """What became of a request: whether it was sent, and what the operator should know."""

    sent: bool
    lines: list[str]


@control.again_if_fenced
async def ask(config: Config, event: Halt | Resume) -> Answer:
    """Send `event`, unless it changes nothing; its time is set here.

    Raises `NotListed`, `control.WouldBeRefused`, `TopicMissing`, `KafkaError`, `wire.WireError`.
    """
    control.require_own(config)
    client, topic = config.client(), config.topics.control
    published = await control.published(client, topic)
    shards = await standing.read(config)
    answer = judged(event, published, shards)
    if answer.sent:
        now = await standing.moment(config)
        timed = type(event)(time=now, symbol=event.symbol, by=event.by, reason=event.reason)
        await control.send(client, topic, [timed])
    return answer


def judged(
    event: Halt | Resume, published: Sequence[Published], shards: Sequence[Standing]
) -> Answer:
    """Say whether `event` changes anything after what was `published`, and what else holds.

    `shards` tell which markets were halted by their fuse. Raises `NotListed`.
    """
    engine = control.told([item.event for item in published if item.event is not None])
    _require_listed(engine, event.symbol)
    halted = engine.rules.halted_all if not event.symbol else event.symbol in engine.rules.halted
    tripped = sorted({name for item in shards if item.rules for name in item.rules.tripped})
    if isinstance(event, Halt):
        return _halted(event, engine.rules, published, halted)
    if event.symbol:
        tripped = [name for name in tripped if name == event.symbol]
    return _resumed(event, engine.rules, published, halted, tripped)


def _halted(event: Halt, rules: Rules, published: Sequence[Published], halted: bool) -> Answer:
    what = event.symbol or "everything"
    if halted:
        return Answer(False, [f"{what}: already halted {_since(published, event.symbol)}"])
    lines = [f"sent {control.named(event)}"]
    if event.symbol and rules.halted_all:
        lines.append(f"everything is halted already {_since(published, '')}")
        lines.append(f"{what}: stays halted when everything is resumed")
    return Answer(True, lines)


def _resumed(
    event: Resume, rules: Rules, published: Sequence[Published], halted: bool, tripped: list[str]
) -> Answer:
    what = event.symbol or "everything"
    if not halted and not tripped:
        lines = [f"{what}: is not halted"]
    else:
        lines = [f"sent {control.named(event)}"]
        if halted:
            lines.append(f"{what}: was halted {_since(published, event.symbol)}")
        lines += [f"{name}: its fuse had halted it" for name in tripped]
    if event.symbol and rules.halted_all:
        lines.append(f"everything: is still halted {_since(published, '')}")
    if not event.symbol:
        for name in sorted(rules.halted):
            lines.append(f"{name}: is still halted {_since(published, name)}")
    return Answer(halted or bool(tripped), lines)


def _since(published: Sequence[Published], symbol: str) -> str:
    """Say since when, by whom and why a scope is halted: the first halt after its last resume."""
    since: Halt | None = None
    for item in published:
        if isinstance(item.event, Resume) and item.event.symbol == symbol:
            since = None
        elif isinstance(item.event, Halt) and item.event.symbol == symbol and since is None:
            since = item.event
    if since is None:
        return ""
    by = f" by {since.by}" if since.by else ""
    return f"since {moment(since.time)} UTC{by}" + (f": {since.reason}" if since.reason else "")


def _require_listed(engine: Engine, symbol: str) -> None:
    """Raises `NotListed` unless `symbol` is empty, an instrument or a pool."""
    lending = engine.rules.lending
    names = [*engine.rules.derivatives, *(lending.pools if lending is not None else ())]
    if not symbol or symbol in names:
        return
    if not names:
        raise NotListed(f"{symbol}: nothing is listed yet: publish rules first")
    near = get_close_matches(symbol, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names[:20])}"
    raise NotListed(f"{symbol}: no instrument or pool of that name is in force; {hint}")
