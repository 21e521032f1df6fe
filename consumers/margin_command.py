"""Put one account under one profile and say where it stands: an engine, its events, its decisions.

What is printed is what the engine makes of the account when it is told of it all at once; nothing
is computed here but the precision of instruments that nobody defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import click
import msgspec

from consumers import account_file, account_loans, profiles, rules
from consumers.account_file import AccountFile, Reading
from consumers.account_instruments import Listing, listing
from consumers.account_scene import Scene, events, missing
from consumers.replay import decide
from consumers.toml_file import FileFaults
from engine import events as e
from engine import wire
from engine.core import Engine
from engine.decisions import CancelOpenOrders, Decision, Refused
from engine.money import exact
from engine.profile import RiskProfile
from producers import margin_report, report

SOURCE = "account file"
"""Who says the prices, unless the profile wants them of somebody else."""


def run(
    path: Path,
    profile_name: str | None,
    rules_file: Path | None,
    moved: Mapping[str, Decimal],
    *,
    as_json: bool,
) -> None:
    """Print where the account in the file at `path` stands, at `moved` prices by name.

    Raises `FileFaults` naming every fault, `profiles.NoSuchProfile`, `OSError`, and
    `click.UsageError` for what is asked for and makes no sense.
    """
    known = None if rules_file is None else rules.read(rules_file)
    if profile_name is not None:
        profile = profiles.read(profile_name)
    elif known is not None:
        profile = known.profile
    else:
        raise click.UsageError("give --profile, or --rules with the profile of that file")
    found = outcome(path, account_file.read(path), profile, known, moved)
    if as_json:
        click.echo(report.to_json(found))
    else:
        margin_report.show(report.console(), found, profile_name or str(rules_file))


@exact
def outcome(
    path: Path,
    reading: Reading,
    profile: RiskProfile,
    known: rules.Rules | None,
    moved: Mapping[str, Decimal],
) -> dict[str, object]:
    """Return the report on an account; raises as `run` does."""
    found = listing(reading.file, profile, known, moved)
    faults = [*reading.faults, *found.faults]
    file = _at_prices(reading.file, found, moved)
    faults += account_loans.faults(file, profile)
    time = 0 if reading.lost("time") else account_file.moment_of(file.time)
    scene = Scene(file, profile, found, time)
    faults += missing(scene, reading)
    if not faults and (strangers := list(_strangers(reading.file, found, moved))):
        raise click.UsageError("\n".join(strangers))
    engine = Engine()
    faults = faults or list(_refused(scene, engine))
    if faults:
        raise FileFaults(str(path), faults)
    account = engine.accounts[file.account]
    groups = [
        margin_report.group_data(engine, group, file.pools)
        for group in account.ordered_groups()
        if group.cash or group.symbols or group.open_orders or group.loans
    ]
    decisions = _decided(scene, engine)
    return margin_report.data(engine, file.account, groups, decisions)


def _refused(scene: Scene, engine: Engine) -> Iterator[str]:
    """Tell an engine all of a scene, and yield what it refuses, with its rule."""
    refused = False
    for key, event in events(scene):
        if refused and not isinstance(event, e.ProfileChanged | e.InstrumentListed):
            # What is not listed is refused again and again.
            return
        try:
            event = wire.read_event(wire.write_event(event))
        except wire.WireError as error:
            refused = True
            yield f"{key}: {error.rule}: {error.detail}"
            continue
        for told in decide(engine, event):
            if isinstance(told, Refused):
                refused = True
                yield f"{key}: {told.rule}: {told.detail}"


def _decided(scene: Scene, engine: Engine) -> list[Decision]:
    """Return what is decided of the account once it is a trader's, that may be liquidated."""
    sequence = engine.accounts[scene.file.account].sequence + 1
    trader = e.AccountOpened(time=scene.time, account=scene.file.account, sequence=sequence)
    decisions = decide(engine, trader)
    return [*decisions, *_once_cancelled(engine, decisions)]


def _once_cancelled(engine: Engine, decisions: list[Decision]) -> Iterator[Decision]:
    """Yield what is decided once the venue has cancelled the own orders of liquidated groups."""
    for decision in decisions:
        if isinstance(decision, CancelOpenOrders) and decision.number:
            sequence = engine.accounts[decision.account].sequence + 1
            answer = e.OrdersCancelled(
                time=engine.time,
                account=decision.account,
                sequence=sequence,
                margin=decision.margin,
            )
            yield from decide(engine, answer)


def _at_prices(file: AccountFile, found: Listing, moved: Mapping[str, Decimal]) -> AccountFile:
    """Return the file with marks, forwards and index prices replaced where they are `moved`."""
    marks, prices, options = dict(file.marks), dict(file.prices), dict(file.options)
    for name, price in moved.items():
        for symbol in _named(name, file, found):
            if symbol in options:
                options[symbol] = msgspec.structs.replace(options[symbol], forward=price)
            else:
                marks[symbol] = price
        if name in found.assets:
            prices[name] = price
    return msgspec.structs.replace(file, marks=marks, prices=prices, options=options)


def _named(name: str, file: AccountFile, found: Listing) -> list[str]:
    """Return the symbols that a name of `--price` is of: by themselves, or by underlying."""
    known = {*file.symbols(), *file.marks, *file.options}
    return [
        symbol
        for symbol, listed in found.derivatives.items()
        if symbol in known and name in (symbol, listed.underlying)
    ]


def _strangers(file: AccountFile, found: Listing, moved: Mapping[str, Decimal]) -> Iterator[str]:
    for name in moved:
        if name not in found.assets and not _named(name, file, found):
            yield f"--price {name}: the account has no symbol, underlying or asset of that name"
