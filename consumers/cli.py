"""The command line: parse, hand over, and say in the exit code how it went.

Each command imports what it needs when it runs: `--help` is quick, and nothing but what talks to
Kafka loads its client.
"""

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import click

from consumers import mishaps
from consumers.cli_bridge import bridge
from consumers.cli_contracts import contracts
from consumers.cli_control import audit, by_option, halt, reason_option, resume
from consumers.cli_crashes import compare, demo
from consumers.cli_doctor import doctor
from consumers.cli_options import (
    FILE,
    LOG,
    PASSED_OVER,
    config_option,
    json_option,
    one_source,
    source_options,
)
from consumers.cli_profiles import profiles
from consumers.cli_shadow import shadow as shadow_commands
from consumers.cli_waterfall import waterfall

EXIT_CODES = """\b
Exit codes:
  0  done
  1  failed, or the answer is no: a fault in a file, a broken invariant, nothing of that name
  2  wrong usage
  3  replay went to the end, but passed over what it could not read
"""


@click.group(
    cls=mishaps.Reporting,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="liquidator", prog_name="liquidator")
def main() -> None:
    """Who must be liquidated, how much, at what limit, and who pays: live on Kafka, or replayed.

    New here? `liquidator demo` plays a real market crash in a minute and needs nothing else.
    """


@main.command()
@config_option
@click.option(
    "--shadow",
    is_flag=True,
    help="Beside another engine: read its inputs, write to topics of our own, act on nothing.",
)
def run(config_file: Path, shadow: bool) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP makes it read its file again.

    It takes the shards that the consumer group gives it. More of them, here or on other machines,
    share the work; one that dies is replaced by the others.

    On SIGHUP intervals, limits and the log change at once, and the rules that the file names are
    published. A faulty file, or a key that needs a restart, changes nothing and is named in the
    log.
    """
    from consumers import daemon, running_config

    if shadow:
        os.environ[running_config.ENABLE_SHADOW] = "true"
    try:
        with mishaps.settings(config_file) as settings:
            daemon.run(settings, config_file)
    except daemon.StartError as error:
        raise click.ClickException(str(error)) from error


@main.command("check-config")
@click.argument("file", type=FILE)
def check_config(file: Path) -> None:
    """Check the daemon's FILE, and the rules file that it names, and name every fault."""
    from consumers import daemon_files

    found, _ = daemon_files.read(file)
    found.client()
    found.mqtt.line("check")
    click.echo(f"{file}: sound")


@main.command()
@config_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="-",
    help="The event log to write (.gz and .zst are packed); standard output when not given.",
)
def export(config_file: Path, output: str) -> None:
    """Write the journal, every event that the daemon applied, into one event log.

    `liquidator replay` of it gives the daemon's own decisions back, exactly.
    """
    from consumers import export

    with mishaps.settings(config_file) as settings, mishaps.unfinished(output):
        count = asyncio.run(export.write(settings, output))
    click.echo(f"{count:,} events", err=True)


@main.command()
@click.argument("file", type=LOG)
@click.option(
    "--shards",
    type=click.IntRange(1, 4096),
    help="Number of engines; when not given, as many as the log speaks of.",
)
@click.option(
    "--check", is_flag=True, help="Check the invariants as it goes: value conserved, books agree."
)
@click.option(
    "--check-every",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="With --check: events between two checks; one more at the end.",
)
@click.option("--strict", is_flag=True, help="Stop at the first line that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Write each decision as a line of JSON.")
@click.option(
    "--summary",
    "summary_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the summary as JSON to this file.",
)
def replay(file: str, check: bool, check_every: int, **options: Any) -> None:
    """Replay the event log FILE (- is standard input), plain, gzip or Zstandard.

    Prints what happened and the digest of the final state: the same events give the same digest.
    With --json the decisions go to standard output and the summary to standard error.
    """
    from consumers.replay import report

    passed_over = report(file, check_every=check_every if check else 0, **options)
    sys.exit(PASSED_OVER if passed_over else 0)


@main.command()
@click.argument("account", required=False)
@source_options
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=25,
    show_default=True,
    help="How many margin groups of the book to list, riskiest first; JSON lists all.",
)
@json_option
def inspect(
    account: str | None, config_file: Path | None, log: str | None, limit: int, as_json: bool
) -> None:
    """Show ACCOUNT, or the whole book: equity, requirements, legs, loans, and where it breaks.

    From an event log, as it ends, or from the state that a daemon keeps on Kafka.
    """
    from consumers import inspection

    one_source(config_file, log)
    if log is not None:
        engines = inspection.from_log(log)
    else:
        with mishaps.settings(cast(Path, config_file)):
            engines = asyncio.run(inspection.from_state(cast(Path, config_file)))
    if account is not None:
        inspection.show_account(engines, account, as_json=as_json)
    else:
        inspection.show_book(engines, limit=limit, as_json=as_json)


@main.command()
@click.argument("order")
@source_options
@json_option
def explain(order: str, config_file: Path | None, log: str | None, as_json: bool) -> None:
    """Explain an order, sale, seizure or auction by its id, account:number:attempt:symbol.

    The evidence, the arithmetic of its size and limit, what became of it, and who paid. The symbol
    of a seizure or auction is the pool that it repays. With --config it reads the whole journal.
    """
    from consumers import explain as explanation

    one_source(config_file, log)
    try:
        if log is not None:
            found = explanation.from_log(order, log)
        else:
            with mishaps.settings(cast(Path, config_file)):
                found = asyncio.run(explanation.from_journal(order, cast(Path, config_file)))
    except explanation.NotFound as error:
        raise click.ClickException(str(error)) from error
    explanation.show(found, as_json=as_json)


def _prices(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Decimal]:
    """Return prices by name from `NAME=PRICE`, the last one of a name."""
    found = {}
    for value in values:
        name, _, number = value.rpartition("=")
        try:
            price = Decimal(number)
        except InvalidOperation:
            price = Decimal("nan")
        if not name or not price.is_finite() or price <= 0:
            raise click.BadParameter(f"{value} is not NAME=PRICE, a price above zero.", ctx, param)
        found[name] = price
    return found


@main.command()
@click.argument("file", type=FILE, metavar="ACCOUNT.json")
@click.option(
    "--profile", metavar="NAME", help="A shipped profile (`liquidator profiles list`), or a file."
)
@click.option(
    "--rules",
    "rules_file",
    type=FILE,
    help="A rules file with the instruments; its profile too, without --profile.",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="NAME=PRICE",
    callback=_prices,
    help="Put every symbol of that name or underlying, and the asset, at this price; repeatable.",
)
@json_option
def margin(
    file: Path,
    profile: str | None,
    rules_file: Path | None,
    prices: dict[str, Decimal],
    as_json: bool,
) -> None:
    """Show where the account in ACCOUNT.json stands under a profile, and why.

    Equity, every margin, the health factor, liquidation and bankruptcy prices, what may be borrowed
    and redeemed, what would be liquidated or seized now, how much and at what limit, and which
    bracket, weight and rule say so.
    """
    from consumers import margin_command

    margin_command.run(file, profile, rules_file, prices, as_json=as_json)


@main.group()
def topics() -> None:
    """Make the Kafka topics, or check them."""


@topics.command("create")
@config_option
@click.option(
    "--shards",
    type=click.IntRange(1, 4096),
    default=1,
    show_default=True,
    help="Partitions of `positions`; it cannot be changed later.",
)
@click.option(
    "--price-partitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of `prices`.",
)
@click.option(
    "--replication-factor",
    type=click.IntRange(min=1),
    help="Copies of each; when not given 3, or as many as there are brokers.",
)
def topics_create(config_file: Path, shards: int, **options: Any) -> None:
    """Create the topics that are missing; those that exist are left as they are."""
    from producers import topics as kafka_topics

    with mishaps.settings(config_file) as settings:
        creation = kafka_topics.create(settings.client(), settings.topics, shards, **options)
        made = asyncio.run(creation)
        faults = asyncio.run(kafka_topics.check(settings.client(), settings.topics, shards))
    for name in made:
        click.echo(f"created {name}")
    if faults:
        raise click.ClickException("\n".join(faults))
    if not made:
        click.echo("all topics exist, as asked for")


@topics.command("check")
@config_option
def topics_check(config_file: Path) -> None:
    """Check partitions and settings of the topics and name every fault."""
    from producers import topics as kafka_topics

    with mishaps.settings(config_file) as settings:
        faults = asyncio.run(kafka_topics.check(settings.client(), settings.topics))
    if faults:
        raise click.ClickException("\n".join(faults))
    click.echo("topics: sound")


@main.group()
def rules() -> None:
    """A venue's instruments and risk profile: check a file, publish it, show what is in force."""


@rules.command("check")
@click.argument("file", type=FILE)
def rules_check(file: Path) -> None:
    """Check the rules FILE by itself and name every fault."""
    from consumers import rules as rules_file

    found = rules_file.read(file)
    click.echo(
        f'{file}: sound: profile "{found.profile.name}", {len(found.assets)} assets, '
        f"{len(found.derivatives)} instruments, fund deposits: {len(found.fund)}"
    )


@rules.command("publish")
@click.argument("file", type=FILE)
@config_option
@by_option(required=False)
@reason_option(required=False)
def rules_publish(file: Path, config_file: Path, by: str, reason: str) -> None:
    """Put the rules FILE in force: send what changes to the topic `control`.

    The same content again changes nothing. What the engine would refuse is not sent.
    """
    from consumers import control
    from consumers import rules as rules_file

    found = rules_file.read(file)
    try:
        with mishaps.settings(config_file) as settings:
            sent = asyncio.run(control.publish_file(settings, found, by=by, reason=reason))
    except control.WouldBeRefused as error:
        raise click.ClickException(f"{file}: {error}") from error
    for line in sent:
        click.echo(f"sent {line}")
    if not sent:
        click.echo("nothing to send: all of it is in force")


@rules.command("show")
@config_option
@json_option
def rules_show(config_file: Path, as_json: bool) -> None:
    """Show the rules that the topic `control` has put in force."""
    from consumers import control
    from producers import report, rules_report

    with mishaps.settings(config_file) as settings:
        engine = asyncio.run(control.in_force(settings.client(), settings.topics.control))
    if as_json:
        click.echo(report.to_json(rules_report.data(engine.rules)))
    else:
        rules_report.show(report.console(), engine.rules)


main.add_command(halt)
main.add_command(resume)
main.add_command(audit)
main.add_command(doctor)
main.add_command(shadow_commands)
main.add_command(bridge)
main.add_command(demo)
main.add_command(compare)
main.add_command(profiles)
main.add_command(waterfall)
main.add_command(contracts)


if __name__ == "__main__":
    main()
