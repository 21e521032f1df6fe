"""Look at accounts as an event log leaves them, or as the daemon keeps them on Kafka."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from tqdm import tqdm

from consumers.replay import Replay
from engine.core import Engine
from engine.survey import Survey, survey
from producers import account_report, book_report, report


def from_log(path: str | Path) -> list[Engine]:
    """Return the engines that a log ends with; raises what `Replay.run` does."""
    replay = Replay(on_fault=lambda fault: tqdm.write(str(fault), file=sys.stderr))
    replay.run(path)
    return replay.engines


async def from_state(config_file: Path) -> list[Engine]:
    """Return the engines that the state topic holds, by shard.

    Raises `TopicMissing`, `KafkaError`.
    """
    from consumers import config, journal, presence, recovery
    from engine import state

    settings = config.read(config_file)
    client, topic = settings.client(), settings.topics.engine_state
    await presence.require(client, topic)
    engines = []
    shards = await journal.read_state(client, topic)
    for shard, records in sorted(shards.items()):
        records.pop(recovery.OFFSETS_KEY, None)
        engines.append(state.restore(shard, records.items()))
    return engines


def show_account(engines: Sequence[Engine], account: str, *, as_json: bool) -> None:
    """Print one account; raises `click.ClickException` when no shard has it."""
    for engine in engines:
        if account in engine.accounts:
            data = account_report.account_data(engine, engine.accounts[account])
            if as_json:
                click.echo(report.to_json(data))
            else:
                account_report.show_account(report.console(), data)
            return
    raise click.ClickException(f"inspect: no account {account}")


def show_book(engines: Sequence[Engine], *, limit: int, as_json: bool) -> None:
    """Print the whole book: what is held and owed, and the margin groups, riskiest first."""
    lines = book_report.book(engines)
    surveys = [survey(engine) for engine in engines]
    if as_json:
        by_shard = {engine.shard: engine for engine in engines}
        groups = [account_report.group_data(by_shard[line.shard], line.group) for line in lines]
        shards = [
            book_report.shard_data(engine, glance)
            for engine, glance in zip(engines, surveys, strict=True)
        ]
        click.echo(report.to_json({"shards": shards, "groups": groups}))
        return
    out = report.console()
    _print_book(out, engines, surveys)
    if lines:
        out.print(book_report.book_table(lines, limit))


def _print_book(out: Console, engines: Sequence[Engine], surveys: Sequence[Survey]) -> None:
    out.print(book_report.state_table(engines, surveys))
    for made in (
        book_report.market_table(engines, surveys),
        book_report.guard_table(engines),
        *book_report.pools(engines),
        book_report.debt_table(engines),
        book_report.ledger_table(engines),
        book_report.loss_table(engines, surveys),
    ):
        if made.row_count:
            out.print(made)
