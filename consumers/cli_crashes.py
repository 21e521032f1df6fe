"""The commands that play a crash: once, or once under each of many policies."""

from __future__ import annotations

import os
from typing import Any

import click

from consumers import mishaps
from consumers.cli_options import Finite, day_option, json_option


@click.command()
@click.option(
    "--speed",
    type=Finite(min=0, min_open=True),
    help="Seconds of the day in one second; as fast as possible when not given.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Spread the accounts over this many engines.",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False),
    help="Keep the event log here (.gz and .zst are packed), for `liquidator replay`.",
)
@click.option(
    "--kafka",
    metavar="HOST:PORT",
    help="Play through real topics into a daemon that runs elsewhere, instead of in this process.",
)
@click.option(
    "--mqtt",
    metavar="HOST:PORT",
    help="With --kafka: publish the prices over MQTT; `liquidator bridge` carries them to Kafka.",
)
@click.option(
    "--book",
    type=click.Choice(["thin", "deep", "lending"]),
    default="thin",
    show_default=True,
    help="How much a market of perpetuals takes before its price gives way; or a lending market.",
)
@day_option
@click.option(
    "--profile",
    metavar="NAME",
    help="Margin the day by this profile, shipped or a file, instead of the demo's own.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the population.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Serve metrics and the status page on this port meanwhile; 0 takes a free one.",
)
@json_option
def demo(**options: Any) -> None:
    """Play a crash that was, 19 May 2021: who is liquidated, what is lost, who pays."""
    from consumers import demo as day
    from consumers.toml_file import FileFaults

    try:
        with mishaps.unfinished(options["log"]):
            day.run(**options)
    except FileFaults:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.command()
@day_option
@click.option(
    "--rule",
    "rules",
    type=click.Choice(["sizing", "price", "adl"]),
    multiple=True,
    help="Compare these only; repeatable. All when not given.",
)
@click.option(
    "--accounts",
    type=click.IntRange(min=100),
    default=4_000,
    show_default=True,
    help="Size of the world, which has 20,000; book and funds shrink with it.",
)
@click.option(
    "--book",
    type=click.Choice(["thin", "deep"]),
    default="thin",
    show_default=True,
    help="How much a market takes before its price gives way.",
)
@click.option(
    "--profile",
    metavar="NAME",
    help="Change this profile, shipped or a file, instead of the day's own.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the population.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    help="Processes to spread the runs over; when not given, as many as there are processors.",
)
@json_option
def compare(**options: Any) -> None:
    """Compare liquidation policies on a crash that was: who loses how much under each.

    How much is closed, at what limit, and who takes what the market does not: one rule is changed
    at a time, everything else is the same, people and prices too.
    """
    from consumers import compare as runs

    runs.run(**options)
