"""The command `liquidator doctor`."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consumers.cli_options import config_option, json_option

if TYPE_CHECKING:
    from consumers.doctor import Finding

SIGNS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@config_option
@json_option
def doctor(config_file: Path, as_json: bool) -> None:
    """Check what a daemon with this file needs, and say what to do about each fault.

    The file and its rules, Python and libraries, each broker by itself, topics and their copies,
    what the daemon's user may do, clocks, and the rules in force. It disturbs no daemon that runs:
    it joins a group of its own, and what it writes it aborts. Exit code 1 if a check failed;
    warnings are none.
    """
    from consumers import doctor as doctors
    from producers import report

    # What a check comes upon it tells itself.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    found = asyncio.run(doctors.examine(config_file))
    if as_json:
        checks = [{field: getattr(it, field) for field in it.__struct_fields__} for it in found]
        click.echo(report.to_json({"ok": not _failed(found), "checks": checks}))
    else:
        for item in found:
            sign = click.style(f"{item.status:<5}", fg=SIGNS[item.status])
            click.echo(f"{sign} {item.check}: {item.said}")
            if item.remedy and item.status != "ok":
                click.echo(f"      → {item.remedy}")
    sys.exit(1 if _failed(found) else 0)


def _failed(found: Sequence[Finding]) -> bool:
    return any(item.status == "fail" for item in found)
