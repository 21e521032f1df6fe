"""Put one account under one profile and say where it stands: an engine, its events, its decisions.

What is printed is what the engine makes of the account when it is told of it all at once; nothing
is computed here but the precision of instruments that nobody defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from consumers import account_file, profiles, rules
from consumers.account_file import NUMERAIRE, AccountFile, HeldGroup, HeldLeg, Reading
from consumers.account_instruments import Listing, listing
from consumers.replay import decide
from consumers.toml_file import FileFaults
from engine import events as e
from engine import wire
from engine.core import Engine
from engine.decisions import CancelOpenOrders, Decision, Refused
from engine.margin import fill_cost
from engine.money import exact, unit_of
from engine.profile import RiskProfile
from producers import margin_report, report

SOURCE = "account file"
"""Who says the prices, unless the profile wants them of somebody else."""


class Told(NamedTuple):
    """An event, and the key of the file that it comes from."""

    key: str
    event: e.Event


class Scene(NamedTuple):
    """An account under a profile, with everything it is to be told."""

    file: AccountFile
    profile: RiskProfile
    listing: Listing
    time: int

    @property
    def positions_sequence(self) -> int:
        """The number, in the account, of the event that tells its positions."""
        return 2 + sum(len(group.open_orders) for _, group in self.file.located_groups())

    def asset(self, name: str) -> str:
        """Return the asset that a balance of the file is in."""
        return self.profile.numeraire if name == NUMERAIRE else name


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
    time = 0 if reading.lost("time") else account_file.moment_of(file.time)
    scene = Scene(file, profile, found, time)
    faults += _missing(scene, reading)
    if not faults and (strangers := list(_strangers(reading.file, found, moved))):
        raise click.UsageError("\n".join(strangers))
    engine = Engine()
    faults = faults or list(_refused(scene, engine))
    if faults:
        raise FileFaults(str(path), faults)
    account = engine.accounts[file.account]
    groups = [
        margin_report.group_data(engine, group)
        for group in account.ordered_groups()
        if group.cash or group.symbols or group.open_orders
    ]
    decisions = _decided(scene, engine)
    return margin_report.data(engine, file.account, groups, decisions)


def _refused(scene: Scene, engine: Engine) -> Iterator[str]:
    """Tell an engine all of a scene, and yield what it refuses, with its rule."""
    refused = False
    for key, event in _events(scene):
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
    sequence = scene.positions_sequence + 1
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


def _missing(scene: Scene, reading: Reading) -> Iterator[str]:
    """Yield every price that the account cannot do without, but for those that cannot be read."""
    file, found, profile = scene.file, scene.listing, scene.profile
    held = [symbol for symbol in file.symbols() if symbol in found.derivatives]
    timeless = scene.time == 0 and not reading.lost("time")
    if timeless and any(map(found.is_option, held)):
        yield "time: missing; what an option is worth depends on it"
    for symbol in filter(None, held):
        table = "options" if found.is_option(symbol) else "marks"
        if symbol not in getattr(file, table) and not reading.lost(table, symbol):
            yield f"{table}.{symbol}: missing; it is held or ordered"
    needed = {found.derivatives[symbol].settle for symbol in held}
    for _, group in file.located_groups():
        for name, amount in group.balances.items():
            if amount < 0 or scene.asset(name) in profile.collateral:
                needed.add(scene.asset(name))
    for asset in sorted(needed - {profile.numeraire} - file.prices.keys()):
        if not reading.lost("prices", asset):
            yield f"prices.{asset}: missing; it counts, in {profile.numeraire}"


def _events(scene: Scene) -> Iterator[Told]:
    file, found, time = scene.file, scene.listing, scene.time
    yield Told("profile", e.ProfileChanged(time=time, profile=scene.profile))
    for instrument in [*found.assets.values(), *found.derivatives.values()]:
        yield Told(instrument.name, e.InstrumentListed(time=time, instrument=instrument))
    yield from _market_events(scene)
    # Nothing is decided about an exempt account: it can be looked at as it is told.
    opened = e.AccountOpened(time=time, account=file.account, sequence=1, role="exempt")
    yield Told("account", opened)
    sequence = 1
    for path, group in file.located_groups():
        for place, own in enumerate(group.open_orders, start=1):
            sequence += 1
            orders = e.OpenOrders(
                time=time,
                account=file.account,
                sequence=sequence,
                symbol=own.symbol,
                margin=group.margin,
                buy_size=own.buy,
                sell_size=own.sell,
            )
            yield Told(f"{path}open_orders[{place}]", orders)
    snapshot = e.PositionSnapshot(
        time=time,
        account=file.account,
        sequence=scene.positions_sequence,
        groups=tuple(_group(scene, group) for _, group in file.located_groups()),
    )
    yield Told("groups", snapshot)


def _market_events(scene: Scene) -> Iterator[Told]:
    file, found, time = scene.file, scene.listing, scene.time
    for asset, price in file.prices.items():
        if asset in found.assets and asset != scene.profile.numeraire:
            yield Told(f"prices.{asset}", _price(scene, asset, "index", price))
    for symbol, price in file.marks.items():
        if symbol in found.derivatives:
            yield Told(f"marks.{symbol}", _price(scene, symbol, "mark", price))
    for symbol, told in file.options.items():
        if symbol in found.derivatives:
            mark = e.OptionMark(
                time=time,
                symbol=symbol,
                iv=told.iv,
                forward=told.forward,
                discount=told.discount,
                source=scene.profile.source_of(symbol, "mark"),
                sequence=1,
            )
            yield Told(f"options.{symbol}", mark)
    for symbol, interest in file.open_interest.items():
        if symbol in found.derivatives:
            told_of = e.MarketState(
                time=time, symbol=symbol, long_size=interest.long, short_size=interest.short
            )
            yield Told(f"open_interest.{symbol}", told_of)
    for asset, pool in file.pools.items():
        if asset in found.assets:
            state = e.PoolState(
                time=time, pool=asset, supplied=pool.supplied, borrowed=pool.borrowed
            )
            yield Told(f"pools.{asset}", state)


def _price(scene: Scene, symbol: str, kind: e.PriceKind, price: Decimal) -> e.PriceUpdate:
    return e.PriceUpdate(
        time=scene.time,
        symbol=symbol,
        kind=kind,
        price=price,
        source=scene.profile.source_of(symbol, kind),
        sequence=1,
    )


def _group(scene: Scene, group: HeldGroup) -> e.GroupSnapshot:
    balances = {scene.asset(name): amount for name, amount in group.balances.items() if amount}
    legs = tuple(
        e.LegSnapshot(leg.symbol, leg.size, _cost(scene, leg))
        for leg in sorted(group.legs, key=lambda leg: leg.symbol)
    )
    return e.GroupSnapshot(margin=group.margin, balances=balances, legs=legs)


def _cost(scene: Scene, leg: HeldLeg) -> Decimal:
    """Return what a leg cost: as given, or what its size is worth at the price of entry."""
    if leg.cost is not None or leg.entry_price is None:
        return leg.cost or Decimal(0)
    listed = scene.listing.derivatives[leg.symbol]
    unit = unit_of(scene.listing.assets[listed.settle].decimals)
    return fill_cost(listed, leg.size, leg.entry_price, unit)
