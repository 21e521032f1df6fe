"""The commands about risk profiles: what is shipped, what one says, what differs, what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from consumers.cli_options import FILE, json_option


@click.group()
def profiles() -> None:
    """Risk profiles: those that come with this, your own, what differs, brackets of an exchange."""


@profiles.command("list")
@json_option
def profiles_list(as_json: bool) -> None:
    """List the shipped profiles."""
    from consumers import profiles as files
    from producers import profile_report, report

    found = {name: files.read(name) for name in files.shipped()}
    if as_json:
        click.echo(report.to_json({name: files.data(item) for name, item in found.items()}))
    else:
        profile_report.listing(report.console(), found)


@profiles.command("show")
@click.argument("name")
@click.argument("symbols", nargs=-1)
@json_option
def profiles_show(name: str, symbols: tuple[str, ...], as_json: bool) -> None:
    """Show the profile NAME: a shipped one, or a file. SYMBOLS choose whose requirements."""
    from consumers import profiles as files
    from producers import profile_report, report

    profile = files.read(name)
    if missing := [item for item in symbols if not files.has(profile, item)]:
        raise click.ClickException(f"{name}: has no entry for {', '.join(missing)}")
    if as_json:
        click.echo(report.to_json(files.data(profile)))
    else:
        profile_report.show(report.console(), profile, symbols)


@profiles.command("diff")
@click.argument("a")
@click.argument("b")
@json_option
def profiles_diff(a: str, b: str, as_json: bool) -> None:
    """Name each key in which the profiles A and B differ, with both values."""
    from consumers import profiles as files
    from producers import profile_report, report

    found = files.differences(files.read(a), files.read(b))
    if as_json:
        click.echo(report.to_json([difference._asdict() for difference in found]))
    else:
        profile_report.differences(report.console(), (a, b), found)


@profiles.command("check")
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
def profiles_check(names: tuple[str, ...]) -> None:
    """Check profiles and name every fault."""
    from consumers import profiles as files
    from consumers.toml_file import FileFaults

    faults: list[str] = []
    for name in names:
        try:
            profile = files.read(name)
        except FileFaults as error:
            faults += error.faults
        else:
            click.echo(f'{name}: sound: profile "{profile.name}"')
    if faults:
        raise click.ClickException("\n".join(faults))


@profiles.command("brackets")
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "form",
    type=click.Choice(["binance", "ccxt", "tiers"]),
    required=True,
    help="Of Binance's GET /fapi/v1/leverageBracket, of ccxt's fetch_leverage_tiers, or a table of "
    "tiers by contract: floor, cap, mmr, max_leverage, cum.",
)
def profiles_brackets(file: Path, form: Literal["binance", "ccxt", "tiers"]) -> None:
    """Write an exchange's leverage brackets, JSON in FILE, as [requirements] of a profile.

    Each row's cumulative amount is checked; a row that breaks it is named, and nothing is written.
    """
    from consumers import leverage_brackets

    found = leverage_brackets.requirements(file.read_bytes(), form, str(file))
    click.echo(leverage_brackets.to_toml(found), nl=False)
