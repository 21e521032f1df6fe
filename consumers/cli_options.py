"""Options and arguments that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
STATE = "state"
PASSED_OVER = 3
"""Exit code where lines of a log could not be read, and were passed over."""
LOG = click.Path(exists=True, dir_okay=False, allow_dash=True)

Command = Callable[..., Any]

config_option = click.option(
    "--config", "config_file", type=FILE, required=True, help="The daemon's file (TOML)."
)
day_option = click.option(
    "--day",
    type=click.Choice(["2021-05-19", "2022-05-luna"]),
    default="2021-05-19",
    show_default=True,
    help="Which crash: Bitcoin's of 19 May 2021, or LUNA's and UST's of 8 to 13 May 2022.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON; it is exact.")


def source_options(command: Command) -> Command:
    """Let a command read an event log, or what the daemon keeps on Kafka."""
    for option in (
        click.option(
            "--config",
            "config_file",
            type=FILE,
            help="Read what the daemon of this file keeps on Kafka.",
        ),
        click.option("--log", type=LOG, help="Replay this event log; - is standard input."),
    ):
        command = option(command)
    return command


def said(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return what was said about a change: something that can be read, if anything."""
    text = value.strip()
    if param.required and not text:
        raise click.BadParameter("empty", ctx, param)
    if not text.isprintable():
        raise click.BadParameter("has what cannot be printed", ctx, param)
    return text


def one_source(config_file: Path | None, log: str | None) -> None:
    """Raises `click.UsageError` unless one of the two is given."""
    if (config_file is None) == (log is None):
        raise click.UsageError("give --log or --config, one of them")


class LogOrState(click.Path):
    """An event log, or the word for what a daemon keeps on Kafka."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return STATE if value == STATE else super().convert(value, param, ctx)


LOG_OR_STATE = LogOrState(exists=True, dir_okay=False, allow_dash=True)


class Finite(click.FloatRange):
    """A number in a range; neither infinity nor "nan" is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found
