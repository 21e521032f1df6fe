"""The commands by which an operator halts and resumes liquidation, and looks who did so."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from consumers import mishaps
from consumers.cli_options import (
    PASSED_OVER,
    Command,
    config_option,
    json_option,
    one_source,
    said,
    source_options,
)

if TYPE_CHECKING:
    from engine.events import Halt, Resume


def by_option(*, required: bool) -> Callable[[Command], Command]:
    """Let a command say who gives it."""
    return click.option(
        "--by",
        required=required,
        default=None if required else "",
        metavar="NAME",
        callback=said,
        help="Who does this, for `liquidator audit`.",
    )


def reason_option(*, required: bool) -> Callable[[Command], Command]:
    """Let a command say why it is given."""
    return click.option(
        "--reason",
        required=required,
        default=None if required else "",
        callback=said,
        help="Why, for `liquidator audit`.",
    )


@click.command()
@click.argument("symbol", required=False, default="")
@reason_option(required=True)
@by_option(required=True)
@config_option
@click.option("--yes", is_flag=True, help="Do not ask before everything is halted.")
def halt(symbol: str, reason: str, by: str, config_file: Path, yes: bool) -> None:
    """Halt liquidation in SYMBOL, an instrument or a pool; everywhere when none is given.

    Live orders are cancelled and no new ones go out until `liquidator resume`. Accounts are valued
    on. What is halted already is told, and nothing is sent.
    """
    from engine.events import Halt

    if not symbol and not yes:
        click.confirm("Halt liquidation in every market?", abort=True, err=True)
    _ask(config_file, Halt(time=0, symbol=symbol, by=by, reason=reason))


@click.command()
@click.argument("symbol", required=False, default="")
@by_option(required=True)
@reason_option(required=False)
@config_option
def resume(symbol: str, by: str, reason: str, config_file: Path) -> None:
    """End the halt of SYMBOL; that of everything when none is given.

    Markets that were halted by name stay so until they are resumed by name; one that its fuse
    halted goes on with either. The riskiest accounts are liquidated first.
    """
    from engine.events import Resume

    _ask(config_file, Resume(time=0, symbol=symbol, by=by, reason=reason))


def _ask(config_file: Path, event: Halt | Resume) -> None:
    from consumers import control, halts

    try:
        with mishaps.settings(config_file) as settings:
            answer = asyncio.run(halts.ask(settings, event))
    except (halts.NotListed, control.WouldBeRefused) as error:
        raise click.ClickException(str(error)) from error
    for line in answer.lines:
        click.echo(line)
    if not answer.sent:
        click.echo("nothing sent")


@click.command()
@source_options
@json_option
def audit(config_file: Path | None, log: str | None, as_json: bool) -> None:
    """List who changed what, and when: rules, halts and resumes, moves of funds, write-offs.

    In the order of the topic `control`, or of an event log, with what became of each.
    """
    from consumers import audit as changes
    from producers import audit_report, report

    one_source(config_file, log)
    unreadable = 0
    if log is not None:
        rows, unreadable = changes.from_log(log)
    else:
        with mishaps.settings(cast(Path, config_file)) as settings:
            rows = asyncio.run(changes.from_kafka(settings))
    if as_json:
        click.echo(report.to_json(rows))
    elif rows:
        audit_report.show(report.console(), rows)
    else:
        click.echo("no changes")
    sys.exit(PASSED_OVER if unreadable else 0)
