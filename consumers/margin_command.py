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
from consumers.account_file import NUMERAIRE, AccountFile, HeldGroup, HeldLeg
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
    file: AccountFile,
    profile: RiskProfile,
    known: rules.Rules | None,
    moved: Mapping[str, Decimal],
) -> dict[str, object]:
    """Return the report on an account; raises as `run` does."""
    found = listing(file, profile, known, moved)
    if found.faults:
        raise FileFaults(str(path), found.faults)
    file = _at_prices(file, found, moved)
    scene = Scene(file, profile, found, account_file.moment_of(file.time))
    if faults := list(_missing(scene)):
        raise FileFaults(str(path), faults)
    engine, decisions = Engine(), []
    faults = []
    for key, event in _events(scene):
        if faults and not isinstance(event, e.ProfileChanged | e.InstrumentListed):
            # What is not listed is refused again and again.
            break
        try:
            event = wire.read_event(wire.write_event(event))
        except wire.WireError as error:
            faults.append(f"{key}: {error.rule}: {error.detail}")
            continue
        decisions = decide(engine, event)
        told = (one for one in decisions if isinstance(one, Refused))
        faults += [f"{key}: {refused.rule}: {refused.detail}" for refused in told]
    if faults:
        raise FileFaults(str(path), faults)
    account = engine.accounts[file.account]
    decided = {getattr(decision, "margin", "") for decision in decisions}
    groups = [
        margin_report.group_data(engine, group)
        for group in account.ordered_groups()
        # A loss that was booked leaves nothing behind, yet it is to be told.
        if group.cash or group.symbols or group.open_orders or group.margin in decided
    ]
    decisions = [*decisions, *_once_cancelled(engine, decisions)]
    return margin_report.data(engine, file.account, groups, decisions)


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
    known = {*file.symbols(), *marks, *options}
    for name, price in moved.items():
        symbols = [
            symbol
            for symbol, listed in found.derivatives.items()
            if symbol in known and name in (symbol, listed.underlying)
        ]
        if not symbols and name not in found.assets:
            raise click.UsageError(
                f"--price {name}: the account has no symbol, underlying or asset of that name"
            )
        for symbol in symbols:
            if symbol in options:
                options[symbol] = msgspec.structs.replace(options[symbol], forward=price)
            else:
                marks[symbol] = price
        if name in found.assets:
            prices[name] = price
    return msgspec.structs.replace(file, marks=marks, prices=prices, options=options)


def _missing(scene: Scene) -> Iterator[str]:
    """Yield every price that the account cannot do without."""
    file, found, profile = scene.file, scene.listing, scene.profile
    if scene.time == 0 and any(map(found.is_option, file.symbols())):
        yield "time: missing; what an option is worth depends on it"
    for symbol in file.symbols():
        if found.is_option(symbol):
            if symbol not in file.options:
                yield f"options.{symbol}: missing; it is held or ordered"
        elif symbol not in file.marks:
            yield f"marks.{symbol}: missing; it is held or ordered"
    needed = {found.derivatives[symbol].settle for symbol in file.symbols()}
    for _, group in file.located_groups():
        for name, amount in group.balances.items():
            if amount < 0 or scene.asset(name) in profile.collateral:
                needed.add(scene.asset(name))
    for asset in sorted(needed - {profile.numeraire} - file.prices.keys()):
        yield f"prices.{asset}: missing; it counts, in {profile.numeraire}"


def _events(scene: Scene) -> Iterator[Told]:
    file, found, time = scene.file, scene.listing, scene.time
    yield Told("profile", e.ProfileChanged(time=time, profile=scene.profile))
    for instrument in [*found.assets.values(), *found.derivatives.values()]:
        yield Told(instrument.name, e.InstrumentListed(time=time, instrument=instrument))
    yield from _market_events(scene)
    yield Told("account", e.AccountOpened(time=time, account=file.account, sequence=1))
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
        sequence=sequence + 1,
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
