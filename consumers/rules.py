"""A rules file: what a venue lists and its risk profile, read whole, sent as control events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from consumers import toml_file
from consumers.toml_file import form_faults
from engine import instruments, profile
from engine.events import ControlEvent, FundMoved, InstrumentListed, ProfileChanged
from engine.instruments import Asset, Future, Listed, Perpetual
from engine.money import fits, plain
from engine.profile import RiskProfile

T = TypeVar("T", bound=msgspec.Struct)


class FundDeposit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` comes into (> 0) or leaves (< 0) the fund of `shard`, once a `sequence`."""

    shard: int
    asset: str
    amount: Decimal
    sequence: int


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a rules file says."""

    profile: RiskProfile
    assets: tuple[Asset, ...]
    perpetuals: tuple[Perpetual, ...] = ()
    futures: tuple[Future, ...] = ()
    fund: tuple[FundDeposit, ...] = ()

    @property
    def derivatives(self) -> tuple[Listed, ...]:
        """Perpetuals, then futures."""
        return self.perpetuals + self.futures


def read(path: str | Path) -> Rules:
    """Read and check the rules file at `path`.

    Raises `toml_file.FileFaults` naming every fault, `OSError` when the file cannot be read.
    """
    return parse(Path(path).read_bytes(), str(path))


def parse(raw: bytes, file: str) -> Rules:
    """Read and check `raw`, the content of `file`.

    Raises `toml_file.FileFaults` naming every fault.
    """
    tree = toml_file.parse(raw, file)
    faults = list(toml_file.form_faults(tree, Rules))
    faults += _faults(_Draft.of(tree))
    if faults:
        raise toml_file.FileFaults(file, faults)
    return msgspec.convert(tree, Rules)


def events(rules: Rules, time: int) -> list[ControlEvent]:
    """Return the control events that put `rules` in force, in the order in which they must go out.

    `time` is in microseconds UTC. The profile goes first: an instrument is listed only when
    brackets for it are in force.
    """
    found: list[ControlEvent] = [ProfileChanged(time=time, profile=rules.profile)]
    for instrument in rules.assets + rules.derivatives:
        found.append(InstrumentListed(time=time, instrument=instrument))
    for deposit in rules.fund:
        found.append(FundMoved(time=time, **msgspec.structs.asdict(deposit)))
    return found


class _Draft(NamedTuple):
    """What can be read of a file that may have faults of form, and every name that it lists."""

    profile: RiskProfile | None
    assets: list[Asset]
    perpetuals: list[Perpetual]
    futures: list[Future]
    fund: list[FundDeposit]
    asset_names: list[str]
    symbols: list[str]

    @classmethod
    def of(cls, tree: dict[str, Any]) -> Self:
        profiles = _sound([tree.get("profile")], RiskProfile)
        return cls(
            profile=profiles[0] if profiles else None,
            assets=_sound(tree.get("assets"), Asset),
            perpetuals=_sound(tree.get("perpetuals"), Perpetual),
            futures=_sound(tree.get("futures"), Future),
            fund=_sound(tree.get("fund"), FundDeposit),
            asset_names=_names(tree.get("assets")),
            symbols=_names(tree.get("perpetuals")) + _names(tree.get("futures")),
        )

    @property
    def derivatives(self) -> list[tuple[str, Listed]]:
        """Each with the path of its table."""
        found: list[tuple[str, Listed]] = []
        found += [(f"perpetuals[{item.name}]", item) for item in self.perpetuals]
        found += [(f"futures[{item.name}]", item) for item in self.futures]
        return found


def _sound(items: Any, kind: type[T]) -> list[T]:
    """Return those of `items` that have no fault of form."""
    if not isinstance(items, list):
        return []
    return [msgspec.convert(item, kind) for item in items if not any(form_faults(item, kind))]


def _names(items: Any) -> list[str]:
    tables = items if isinstance(items, list) else []
    names = [item.get("name") for item in tables if isinstance(item, dict)]
    return [name for name in names if isinstance(name, str)]


def _faults(draft: _Draft) -> Iterator[str]:
    for asset in draft.assets:
        yield from (f"assets[{asset.name}]: {fault}" for fault in instruments.faults(asset))
    for path, instrument in draft.derivatives:
        yield from (f"{path}: {fault}" for fault in instruments.faults(instrument))
        if instrument.settle not in draft.asset_names:
            yield f"{path}.settle: {instrument.settle} is not among the assets"
        if draft.profile is not None and instrument.name not in draft.profile.brackets:
            yield f"{path}: profile.brackets has no entry for it"
    for name, count in Counter(draft.asset_names + draft.symbols).items():
        if count > 1:
            yield f"{name}: listed {count} times"
    if draft.profile is not None:
        yield from (f"profile: {fault}" for fault in profile.faults(draft.profile))
        yield from _reference_faults(draft, draft.profile)
    yield from _fund_faults(draft)


def _reference_faults(draft: _Draft, venue: RiskProfile) -> Iterator[str]:
    """Yield every name in the profile that stands for nothing the file lists."""
    if venue.numeraire not in draft.asset_names:
        yield f"profile.numeraire: {venue.numeraire} is not among the assets"
    for asset in venue.collateral:
        if asset not in draft.asset_names:
            yield f"profile.collateral.{asset}: not among the assets"
    for symbol in venue.brackets:
        if symbol not in draft.symbols:
            yield f"profile.brackets.{symbol}: no perpetual or future of that name"
    for symbol in venue.prices.symbols:
        if symbol not in draft.asset_names + draft.symbols:
            yield f"profile.prices.symbols.{symbol}: nothing is listed under that name"


def _fund_faults(draft: _Draft) -> Iterator[str]:
    decimals = {asset.name: asset.decimals for asset in draft.assets}
    last: dict[int, int] = {}
    for place, deposit in enumerate(draft.fund, start=1):
        path = f"fund[{place}]"
        if deposit.asset not in draft.asset_names:
            yield f"{path}.asset: {deposit.asset} is not among the assets"
        if deposit.asset in decimals and not fits(deposit.amount, decimals[deposit.asset]):
            amount = plain(deposit.amount)
            yield f"{path}.amount: {amount} has more than {decimals[deposit.asset]} decimals"
        if deposit.amount == 0:
            yield f"{path}.amount: zero"
        if deposit.shard < 0:
            yield f"{path}.shard: {deposit.shard} is negative"
        if deposit.sequence <= last.get(deposit.shard, deposit.sequence - 1):
            before = last[deposit.shard]
            yield f"{path}.sequence: {deposit.sequence} does not come after {before} of that shard"
        last[deposit.shard] = deposit.sequence
