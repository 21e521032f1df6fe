"""A rules file: what a venue lists and its risk profile, read whole, sent as control events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from consumers import profiles, toml_file
from consumers.drafts import Table, tables
from engine import instruments, profile_faults, wire
from engine.events import ControlEvent, FundMoved, InstrumentListed, ProfileChanged
from engine.instruments import Asset, Future, Listed, Option, Perpetual
from engine.money import fits, plain
from engine.profile import RiskProfile, margin_rule


class FundDeposit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` comes into (> 0) or leaves (< 0) the fund of `shard`, or that of a market or group
    of markets which is named, once a `sequence`."""

    shard: int
    asset: str
    amount: Decimal
    sequence: int
    fund: str = ""


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a rules file says."""

    profile: RiskProfile
    assets: tuple[Asset, ...]
    perpetuals: tuple[Perpetual, ...] = ()
    futures: tuple[Future, ...] = ()
    options: tuple[Option, ...] = ()
    fund: tuple[FundDeposit, ...] = ()

    @property
    def derivatives(self) -> tuple[Listed, ...]:
        """Perpetuals, then futures, then options."""
        return self.perpetuals + self.futures + self.options


def read(path: str | Path) -> Rules:
    """Read and check the rules file at `path`.

    Raises `toml_file.FileFaults` naming every fault, `OSError` when the file cannot be read.
    """
    return parse(Path(path).read_bytes(), str(path))


def parse(raw: bytes, file: str) -> Rules:
    """Read and check `raw`, the content of `file`.

    The profile is a table, or the name of one that is shipped or in a file: of that counts what it
    says of what is listed. Raises `toml_file.FileFaults` naming every fault.
    """
    tree = toml_file.parse(raw, file)
    if isinstance(tree.get("profile"), str):
        tree["profile"] = _named(tree, file)
    faults = list(toml_file.form_faults(tree, Rules))
    faults += _faults(_Draft.of(tree))
    if faults:
        raise toml_file.FileFaults(file, faults)
    rules = msgspec.convert(tree, Rules)
    if faults := list(_refusals(rules)):
        raise toml_file.FileFaults(file, faults)
    return rules


def events(rules: Rules, time: int) -> list[ControlEvent]:
    """Return the control events that put `rules` in force, in the order in which they must go out.

    `time` is in microseconds UTC. The profile goes before derivatives, which are listed only when a
    rule of margin for them is in force, and after assets where it has pools of them.
    """
    profile = ProfileChanged(time=time, profile=rules.profile)
    listed = rules.assets + rules.derivatives
    found: list[ControlEvent] = [
        InstrumentListed(time=time, instrument=instrument) for instrument in listed
    ]
    found.insert(_place_of_profile(rules), profile)
    for deposit in rules.fund:
        found.append(FundMoved(time=time, **msgspec.structs.asdict(deposit)))
    return found


def _place_of_profile(rules: Rules) -> int:
    """Return how many assets are listed before the profile is put in force."""
    return 0 if rules.profile.lending is None else len(rules.assets)


def _refusals(rules: Rules) -> Iterator[str]:
    """Yield what of `rules` no shard could read."""
    paths = [f"assets[{asset.name}]" for asset in rules.assets]
    paths += [f"perpetuals[{perpetual.name}]" for perpetual in rules.perpetuals]
    paths += [f"futures[{future.name}]" for future in rules.futures]
    paths += [f"options[{option.name}]" for option in rules.options]
    paths.insert(_place_of_profile(rules), "profile")
    paths += [f"fund[{place}]" for place, _ in enumerate(rules.fund, start=1)]
    for path, event in zip(paths, events(rules, time=0), strict=True):
        try:
            wire.read_event(wire.write_event(event), "control")
        except wire.WireError as error:
            yield f"{path}: {error.rule}: {error.detail}"


def _named(tree: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the tree of the profile that `tree` names, for what it lists."""
    draft = _Draft.of(tree)
    underlyings = [table.item.underlying for table in draft.derivatives]
    try:
        return profiles.tree_for(tree["profile"], draft.asset_names, draft.symbols + underlyings)
    except profiles.NoSuchProfile as error:
        raise toml_file.FileFaults(file, [f"profile: {error}"]) from error


class _Draft(NamedTuple):
    """What can be read of a file that may have faults of form, and every name that it lists."""

    profile: Table[RiskProfile] | None
    assets: list[Table[Asset]]
    derivatives: list[Table[Perpetual] | Table[Future] | Table[Option]]
    fund: list[Table[FundDeposit]]
    asset_names: list[str]
    symbols: list[str]

    @classmethod
    def of(cls, tree: dict[str, Any]) -> Self:
        venues = tables([tree.get("profile")], RiskProfile, "profile")
        perpetuals = tables(tree.get("perpetuals"), Perpetual, "perpetuals")
        futures = tables(tree.get("futures"), Future, "futures")
        options = tables(tree.get("options"), Option, "options")
        return cls(
            profile=venues[0]._replace(path="profile") if venues else None,
            assets=tables(tree.get("assets"), Asset, "assets"),
            derivatives=[*perpetuals, *futures, *options],
            fund=tables(tree.get("fund"), FundDeposit, "fund"),
            asset_names=_names(tree.get("assets")),
            symbols=[
                name
                for kind in ("perpetuals", "futures", "options")
                for name in _names(tree.get(kind))
            ],
        )


def _names(items: Any) -> list[str]:
    listed = items if isinstance(items, list) else []
    names = [item.get("name") for item in listed if isinstance(item, dict)]
    return [name for name in names if isinstance(name, str)]


def _faults(draft: _Draft) -> Iterator[str]:
    venue = draft.profile
    for asset in draft.assets:
        yield from asset.faults(instruments.faults(asset.item))
    for table in draft.derivatives:
        instrument = table.item
        yield from table.faults(instruments.faults(instrument))
        if table.has("settle") and instrument.settle not in draft.asset_names:
            yield f"{table.path}.settle: {instrument.settle} is not among the assets"
        if venue is not None and table.has("name") and not _has_margin(venue, instrument):
            yield f"{table.path}: profile.requirements and profile.portfolios have no entry for it"
    for name, count in Counter(draft.asset_names + draft.symbols).items():
        if count > 1:
            yield f"{name}: listed {count} times"
    if venue is not None:
        yield from venue.faults(profile_faults.faults(venue.item))
        yield from _reference_faults(draft, venue)
    yield from _fund_faults(draft)


def _has_margin(venue: Table[RiskProfile], instrument: Listed) -> bool:
    """Tell whether the profile has a rule of margin for an instrument, as far as it can be read."""
    if not (venue.has("requirements") and venue.has("portfolios")):
        return True
    option = isinstance(instrument, Option)
    names = instrument.name, instrument.underlying
    return margin_rule(venue.item, *names, option=option) is not None


def _reference_faults(draft: _Draft, table: Table[RiskProfile]) -> Iterator[str]:
    """Yield every name in the profile that stands for nothing the file lists."""
    venue = table.item
    if table.has("numeraire") and venue.numeraire not in draft.asset_names:
        yield f"profile.numeraire: {venue.numeraire} is not among the assets"
    for asset in venue.collateral:
        if asset not in draft.asset_names:
            yield f"profile.collateral.{asset}: not among the assets"
    listed = {"*", *draft.symbols, *(item.item.underlying for item in draft.derivatives)}
    for name in ("requirements", "portfolios"):
        for symbol in getattr(venue, name):
            if symbol not in listed:
                yield f"profile.{name}.{symbol}: nothing is listed under that name or underlying"
    pools = venue.lending.pools if venue.lending is not None else {}
    for name, pool in pools.items():
        if pool.asset not in draft.asset_names:
            yield f"profile.lending.pools.{name}.asset: {pool.asset} is not among the assets"
    for symbol in venue.prices.symbols:
        if symbol not in draft.asset_names + draft.symbols:
            yield f"profile.prices.symbols.{symbol}: nothing is listed under that name"


def _fund_faults(draft: _Draft) -> Iterator[str]:
    last: dict[int, int] = {}
    for table in draft.fund:
        for key, fault in _deposit_faults(draft, table.item, last):
            if table.has(key):
                yield f"{table.path}.{key}: {fault}"
        if table.has("shard") and table.has("sequence"):
            last[table.item.shard] = table.item.sequence


def _deposit_faults(
    draft: _Draft, deposit: FundDeposit, last: dict[int, int]
) -> Iterator[tuple[str, str]]:
    """Yield each fault with its key; `last` is the sequence before, of each shard."""
    if deposit.asset not in draft.asset_names:
        yield "asset", f"{deposit.asset} is not among the assets"
    for asset in draft.assets:
        decimals = asset.item.decimals if asset.has("decimals") else -1
        if asset.item.name == deposit.asset and 0 <= decimals <= 18:
            if not fits(deposit.amount, decimals):
                yield "amount", f"{plain(deposit.amount)} has more than {decimals} decimals"
            break
    if deposit.amount == 0:
        yield "amount", "zero"
    for key in ("shard", "sequence"):
        if (number := getattr(deposit, key)) < 0:
            yield key, f"{number} is negative"
    before = last.get(deposit.shard)
    if before is not None and deposit.sequence <= before:
        yield "sequence", f"{deposit.sequence} does not come after {before} of that shard"
