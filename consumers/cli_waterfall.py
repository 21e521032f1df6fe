"""The command `liquidator waterfall`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from consumers import mishaps
from consumers.cli_options import FILE, LOG_OR_STATE, PASSED_OVER, STATE, json_option


@click.command()
@click.argument("source", type=LOG_OR_STATE, metavar="LOG|state")
@click.option("--config", "config_file", type=FILE, help="With `state`: the daemon's file (TOML).")
@click.option("--market", help="Of this market or pool alone.")
@click.option("--account", help="The liquidations of this account, and what they lacked.")
@click.option(
    "--liquidation", metavar="ACCOUNT:NUMBER", help="One liquidation, from its evidence to its end."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=25,
    show_default=True,
    help="How many shortfalls to list, largest first; JSON lists all.",
)
@json_option
def waterfall(
    source: str,
    config_file: Path | None,
    market: str | None,
    account: str | None,
    liquidation: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show who paid for what: by market, layer by layer, down to one liquidation.

    From an event log (- is standard input), or, as `state`, from what the daemon of --config keeps
    on Kafka: its totals, and with --account or --liquidation its whole journal. Who took the
    positions, single shortfalls and what each layer could have paid stand in a log alone.
    """
    from consumers import waterfall as payers
    from producers.waterfall_report import Scope

    if account is not None and liquidation is not None:
        raise click.UsageError("give --account or --liquidation, one of them")
    if (source == STATE) == (config_file is None):
        raise click.UsageError("`state` needs --config, a log takes none")
    try:
        if config_file is None:
            found = payers.from_log(source, account, liquidation)
        else:
            with mishaps.settings(config_file):
                found = asyncio.run(payers.from_kafka(config_file, account, liquidation))
        agrees = payers.show(found, Scope(market, account), limit=limit, as_json=as_json)
    except payers.NotFound as error:
        raise click.ClickException(str(error)) from error
    if not agrees:
        sys.exit(1)
    sys.exit(PASSED_OVER if found.unreadable else 0)
