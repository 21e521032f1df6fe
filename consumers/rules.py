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
from engine.events import (
    ControlEvent,
    FundMoved,
    InstrumentListed,
    ProfileChanged,
    Recovered,
    TreasuryEvent,
    WrittenOff,
)
from engine.instruments import Asset, Future, Listed, Option, Perpetual
from engine.money import fits, plain
from engine.profile import RiskProfile, margin_rule


class FundDeposit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` comes into (> 0) or leaves (< 0) a fund of `shard`, the venue's or the one named,
    once a `sequence`."""

    shard: int
    asset: str
    amount: Decimal
    sequence: int
    fund: str = ""


class DebtSettled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` of the bad debt of a market is recovered, or written off, in `shard`; counted in the
    sequence of its funds."""

    shard: int
    asset: str
    market: str
    amount: Decimal
    sequence: int


TREASURY: dict[str, type[Recovered | WrittenOff]] = {
    "recovered": Recovered,
    "written_off": WrittenOff,
}
"""What settles bad debt, by table."""


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a rules file says."""

    profile: RiskProfile
    assets: tuple[Asset, ...]
    perpetuals: tuple[Perpetual, ...] = ()
    futures: tuple[Future, ...] = ()
    options: tuple[Option, ...] = ()
    fund: tuple[FundDeposit, ...] = ()
    recovered: tuple[DebtSettled, ...] = ()
    written_off: tuple[DebtSettled, ...] = ()

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
    # A shard counts all of its treasury in one sequence: the tables go out as one.
    return found + [event for _, event in sorted(_treasury(rules, time), key=_sequence)]


def _treasury(rules: Rules, time: int) -> Iterator[tuple[str, TreasuryEvent]]:
    """Yield what moves funds and settles bad debt, each with its place in the file."""
    for place, deposit in enumerate(rules.fund, start=1):
        yield f"fund[{place}]", FundMoved(time=time, **msgspec.structs.asdict(deposit))
    for name, kind in TREASURY.items():
        for place, settled in enumerate(getattr(rules, name), start=1):
            yield f"{name}[{place}]", kind(time=time, **msgspec.structs.asdict(settled))


def _sequence(placed: tuple[str, TreasuryEvent]) -> int:
    return placed[1].sequence


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
    paths += [path for path, _ in sorted(_treasury(rules, 0), key=_sequence)]
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
    settled: list[list[Table[DebtSettled]]]
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
            settled=[tables(tree.get(name), DebtSettled, name) for name in TREASURY],
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
    yield from _treasury_faults(draft)


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
    fund = venue.waterfall.fund
    for key, named in (("groups", fund.groups), ("caps", fund.caps)):
        for market in named:
            if market not in [*draft.symbols, *pools]:
                yield f"profile.waterfall.fund.{key}.{market}: nothing is listed under that name"
    closing = venue.liquidation
    for key, named in (("pace.in_flight", closing.pace.in_flight), ("slippage", closing.slippage)):
        for market in named:
            if market not in draft.symbols:
                yield f"profile.liquidation.{key}.{market}: nothing is listed under that name"
    for symbol in venue.prices.symbols:
        if symbol not in draft.asset_names + draft.symbols:
            yield f"profile.prices.symbols.{symbol}: nothing is listed under that name"


def _treasury_faults(draft: _Draft) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    lists: list[list[Table[FundDeposit]] | list[Table[DebtSettled]]] = [draft.fund, *draft.settled]
    for of in lists:
        last: dict[int, int] = {}
        for table in of:
            item: FundDeposit | DebtSettled = table.item
            for key, fault in _move_faults(draft, item, last):
                if table.has(key):
                    yield f"{table.path}.{key}: {fault}"
            if not (table.has("shard") and table.has("sequence")):
                continue
            last[item.shard] = item.sequence
            other = taken.setdefault((item.shard, item.sequence), table.path)
            if not other.startswith(table.path.partition("[")[0]):
                yield f"{table.path}.sequence: {item.sequence} of that shard is that of {other}"


def _move_faults(
    draft: _Draft, move: FundDeposit | DebtSettled, last: dict[int, int]
) -> Iterator[tuple[str, str]]:
    """Yield each fault with its key; `last` is the sequence before, of each shard."""
    if move.asset not in draft.asset_names:
        yield "asset", f"{move.asset} is not among the assets"
    for asset in draft.assets:
        decimals = asset.item.decimals if asset.has("decimals") else -1
        if asset.item.name == move.asset and 0 <= decimals <= 18:
            if not fits(move.amount, decimals):
                yield "amount", f"{plain(move.amount)} has more than {decimals} decimals"
            break
    if move.amount == 0:
        yield "amount", "zero"
    if isinstance(move, DebtSettled) and move.amount < 0:
        yield "amount", f"{plain(move.amount)} is negative"
    for key in ("shard", "sequence"):
        if (number := getattr(move, key)) < 0:
            yield key, f"{number} is negative"
    before = last.get(move.shard)
    if before is not None and move.sequence <= before:
        yield "sequence", f"{move.sequence} does not come after {before} of that shard"
