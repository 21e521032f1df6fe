"""The commands about a shadow: a daemon beside another engine, which acts on nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consumers import mishaps
from consumers.cli_options import Finite, config_option, json_option

if TYPE_CHECKING:
    from consumers.config import Config


@click.group()
def shadow() -> None:
    """Beside another engine: what this one would have done otherwise (`run --shadow`)."""


@shadow.command("create")
@config_option
def create(config_file: Path) -> None:
    """Create the topics that a shadow writes, as many partitions as `positions` has."""
    from producers import topics

    with _shadowed(config_file) as settings:
        client, names = settings.client(), settings.topics
        counts = asyncio.run(topics.partitions(client, [names.positions, names.prices]))
        if missing := [name for name in (names.positions, names.prices) if name not in counts]:
            raise click.ClickException(f"topic {', '.join(missing)}: does not exist")
        made = asyncio.run(topics.create(client, names, counts[names.positions]))
    for name in made:
        click.echo(f"created {name}")
    if not made:
        click.echo("all topics exist")


@shadow.command("report")
@config_option
@click.option(
    "--window",
    type=Finite(min=0),
    default=60.0,
    show_default=True,
    help="Seconds: what happened to one account within them is one liquidation.",
)
@click.option(
    "--tolerance",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="So many accounts that one side alone liquidated are no failure.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=25,
    show_default=True,
    help="How many of each list to show; JSON has all.",
)
@json_option
def report(config_file: Path, window: float, tolerance: int, limit: int, as_json: bool) -> None:
    """Compare the shadow's liquidations with the other engine's, as far as the shadow has read.

    The other's are known by its forced fills (with an order id), and by its orders where
    shadow.orders names their topic. Who began earlier, size and limit against its fills, and what
    one side alone liquidated. Exit code 1 when more accounts than --tolerance were liquidated by
    one side and never by the other.
    """
    from consumers import shadow as shadows
    from producers import report as reports
    from producers import shadow_report

    with _shadowed(config_file) as settings:
        told = asyncio.run(shadows.report(settings, round(window * shadows.SECOND)))
    if as_json:
        click.echo(reports.to_json(told))
    else:
        shadow_report.show(reports.console(), told, limit)
    sys.exit(1 if shadows.differences(told) > tolerance else 0)


def _shadowed(config_file: Path) -> AbstractContextManager[Config]:
    """Give the settings of a shadow, also where the file leaves it to `run --shadow`."""
    from consumers.running_config import ENABLE_SHADOW

    os.environ[ENABLE_SHADOW] = "true"
    return mishaps.settings(config_file)
