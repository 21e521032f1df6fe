"""Who paid for what: from an event log, from what the daemon keeps, or of one liquidation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click
from tqdm import tqdm

from consumers import inspection
from consumers.replay import Replay
from consumers.story import LiquidationStory
from engine.core import Engine
from engine.decisions import Decision
from engine.events import Event
from producers import report, waterfall_report
from producers.course import as_data, beginning, course_data, evidence, show_course
from producers.waterfall_report import Scope
from producers.waterfall_tally import WaterfallTally


class NotFound(LookupError):
    """There is no such market, account or liquidation."""


class Found(NamedTuple):
    """What a source tells: engines as it leaves them; of a log also the fold of its decisions, the
    course of the liquidation that was asked for, and how many lines could not be read."""

    engines: Sequence[Engine]
    tally: WaterfallTally | None = None
    story: LiquidationStory | None = None
    unreadable: int = 0


def liquidation_named(text: str) -> tuple[str, int]:
    """Return the account and number of `ACCOUNT:NUMBER`; raises `NotFound`."""
    account, _, number = text.rpartition(":")
    if not account or not number.isdecimal():
        raise NotFound(f"waterfall: {text} is not ACCOUNT:NUMBER")
    return account, int(number)


def from_log(path: str | Path, account: str | None, liquidation: str | None) -> Found:
    """Return what a log tells; raises `NotFound` and what `Replay.run` does."""
    story = None
    if liquidation is not None:
        account, number = liquidation_named(liquidation)
        story = LiquidationStory(account, number)
    tally = WaterfallTally(account)
    replay = Replay(
        on_decisions=_told(tally, story),
        on_fault=lambda fault: tqdm.write(str(fault), file=sys.stderr),
    )
    replay.run(path)
    found = Found(replay.engines, tally, story, replay.summary.unreadable)
    if not any(engine.seq for engine in replay.engines):
        raise NotFound(f"waterfall: {path}: no event in it")
    if account is not None and not _known(found, account):
        raise NotFound(f"waterfall: no account {account}")
    if story is not None and story.started is None:
        raise NotFound(f"waterfall: no liquidation {liquidation}")
    return found


def _known(found: Found, account: str) -> bool:
    """Tell whether there is an account, or was one that was liquidated."""
    lives = found.tally.lives if found.tally is not None else ()
    return any(account in engine.accounts for engine in found.engines) or any(
        name == account for name, _ in lives
    )


def _told(
    tally: WaterfallTally, story: LiquidationStory | None
) -> Callable[[Engine, Event, Sequence[Decision]], None]:
    def after(engine: Engine, event: Event, decisions: Sequence[Decision]) -> None:
        tally.fold(engine, event, decisions)
        if story is not None:
            story.after(engine, event, decisions)

    return after


async def from_kafka(config_file: Path, account: str | None, liquidation: str | None) -> Found:
    """Return what the daemon's state says; of an account or liquidation, what its journal does.

    Raises `NotFound`, `TopicMissing`, `KafkaError`.
    """
    from consumers import config, export

    if account is None and liquidation is None:
        return Found(await inspection.from_state(config_file))
    with TemporaryDirectory(prefix="liquidator-") as directory:
        log = Path(directory) / "journal.jsonl.zst"
        await export.write(config.read(config_file), str(log))
        return from_log(log, account, liquidation)


def show(found: Found, scope: Scope, *, limit: int, as_json: bool) -> bool:
    """Print what was asked for, and tell whether its sums agree; raises `NotFound`."""
    if scope.market is not None and not _listed(found.engines, scope.market):
        raise NotFound(f"waterfall: no market {scope.market}")
    if found.story is not None and found.tally is not None:
        _show_liquidation(found.story, found.tally, scope, as_json=as_json)
        return True
    told = waterfall_report.data(found.engines, found.tally, scope)
    told["unreadable"] = found.unreadable
    if as_json:
        click.echo(report.to_json(told))
    else:
        waterfall_report.show(report.console(), told, limit)
    return not told.get("differences")


def _listed(engines: Sequence[Engine], market: str) -> bool:
    for engine in engines:
        rules = engine.rules
        pools = rules.lending.pools if rules.lending is not None else {}
        if market in rules.derivatives or market in pools or market in rules.assets:
            return True
    return False


def _show_liquidation(
    story: LiquidationStory, tally: WaterfallTally, scope: Scope, *, as_json: bool
) -> None:
    """Print one liquidation from its evidence to what nobody paid."""
    started = story.started
    if started is None:
        raise NotFound(f"waterfall: no liquidation {story.account}:{story.number}")
    bookings = [
        booking
        for booking in waterfall_report.of_scope(tally, scope)
        if booking.number == story.number
    ]
    if as_json:
        told: dict[str, Any] = {
            "started": as_data(started),
            "course": course_data(story.course),
            "waits": story.waits,
            "shortfalls": [waterfall_report.booking_data(booking) for booking in bookings],
        }
        click.echo(report.to_json(told))
        return
    out = report.console()
    out.print(beginning(started))
    out.print(evidence(started))
    show_course(out, story.course, story.waits)
    waterfall_report.show_layers(out, bookings, story.course)
