"""Risk profiles in files: the shipped ones by name, others by path; what differs between two."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from consumers import toml_file
from consumers.drafts import tables
from engine import profile_faults, wire
from engine.events import ProfileChanged
from engine.profile import RiskProfile

SUFFIX = ".toml"


class NoSuchProfile(LookupError):
    """Neither a shipped profile nor a file is called that."""


class Difference(NamedTuple):
    """A key with its value in either profile; none where the profile has no such key."""

    key: str
    before: Any
    after: Any


def shipped() -> list[str]:
    """Return the names of the profiles that come with the project."""
    return sorted(
        item.name.removesuffix(SUFFIX) for item in _place().iterdir() if item.name.endswith(SUFFIX)
    )


def margined() -> list[str]:
    """Return the names of those that margin derivatives; the others are lending markets alone."""
    return [name for name in shipped() if _margins(read(name))]


def _margins(profile: RiskProfile) -> bool:
    return bool(profile.requirements or profile.portfolios)


def read(name: str) -> RiskProfile:
    """Read the shipped profile called `name`, or the file at that path.

    A file holds a profile's tree, or is a rules file with such a tree under [profile]. Raises
    `NoSuchProfile`, or `toml_file.FileFaults` naming every fault.
    """
    return parse(*_content(name))


def tree_for(name: str, assets: Collection[str], symbols: Collection[str]) -> dict[str, Any]:
    """Return the tree of the profile `name` with what it says of these assets and symbols.

    `symbols` are names and underlyings of instruments. Raises as `read` does.
    """
    read(name)
    tree = _tree(*_content(name))[0]
    symbols = {"*", *symbols}
    for table, kept in (("requirements", symbols), ("portfolios", symbols), ("collateral", assets)):
        if table in tree:
            tree[table] = {key: rule for key, rule in tree[table].items() if key in kept}
    tree["conversion"] = [asset for asset in tree.get("conversion", ()) if asset in assets]
    if "lending" in tree:
        tree["lending"] = _lending_for(tree["lending"], assets)
    return tree


def _lending_for(tree: dict[str, Any], assets: Collection[str]) -> dict[str, Any]:
    """Return a lending market's tree with its pools of these assets.

    A category goes with its last collateral, and with the last pool that it lets borrow of: without
    any named it would let borrow of all.
    """
    pools = {name: rule for name, rule in tree["pools"].items() if rule["asset"] in assets}
    categories = {}
    for name, category in tree.get("categories", {}).items():
        named = category.get("borrowable", [])
        backs = {pool: rule for pool, rule in category["collateral"].items() if pool in pools}
        borrowable = [pool for pool in named if pool in pools]
        if backs and (borrowable or not named):
            categories[name] = {**category, "collateral": backs, "borrowable": borrowable}
    return {**tree, "pools": pools, "categories": categories}


def parse(raw: bytes, file: str) -> RiskProfile:
    """Read and check `raw`, the content of `file`; raises `toml_file.FileFaults`."""
    tree, path = _tree(raw, file)
    (draft,) = tables([tree], RiskProfile, "")
    faults = list(toml_file.form_faults(tree, RiskProfile, path))
    faults += draft._replace(path=path).faults(profile_faults.faults(draft.item))
    if faults:
        raise toml_file.FileFaults(file, faults)
    profile = msgspec.convert(tree, RiskProfile)
    try:
        wire.read_event(wire.write_event(ProfileChanged(time=0, profile=profile)), "control")
    except wire.WireError as error:
        raise toml_file.FileFaults(file, [f"{error.rule}: {error.detail}"]) from error
    return profile


def has(profile: RiskProfile, symbol: str) -> bool:
    """Tell whether a profile has an entry of its own for `symbol`, or a pool of that name."""
    pools = profile.lending.pools if profile.lending is not None else ()
    return symbol in profile.requirements or symbol in profile.portfolios or symbol in pools


def data(profile: RiskProfile) -> dict[str, Any]:
    """Return a profile as plain data; numbers of money are decimals."""
    made: dict[str, Any] = msgspec.to_builtins(profile, builtin_types=(Decimal,))
    return made


def differences(before: RiskProfile, after: RiskProfile) -> list[Difference]:
    """Return every key whose value differs, by path, in the order of the tree.

    Arrays of tables are compared table by table where they have as many.
    """
    return list(_differing(data(before), data(after), ""))


def _differing(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inside = f"{path}.{key}" if path else key
            yield from _differing(before.get(key), after.get(key), inside)
    elif _are_alike(before, after):
        for place, (old, new) in enumerate(zip(before, after, strict=True), start=1):
            yield from _differing(old, new, f"{path}[{place}]")
    elif before != after:
        yield Difference(path, before, after)


def _are_alike(before: Any, after: Any) -> bool:
    """Tell whether two values are arrays of as many tables, which can be compared one by one."""
    arrays = isinstance(before, list | tuple) and isinstance(after, list | tuple)
    return (
        arrays
        and len(before) == len(after)
        and all(isinstance(item, dict) for item in (*before, *after))
    )


def _content(name: str) -> tuple[bytes, str]:
    """Return what is in the file of a profile, and what it is called."""
    if name in shipped():
        return _place().joinpath(name + SUFFIX).read_bytes(), name + SUFFIX
    path = Path(name)
    if not path.is_file():
        raise NoSuchProfile(
            f"{name}: no profile of that name, and no file; shipped: {', '.join(shipped())}"
        )
    return path.read_bytes(), name


def _tree(raw: bytes, file: str) -> tuple[dict[str, Any], str]:
    """Return the tree of a profile, and the path under which it stands."""
    tree = toml_file.parse(raw, file)
    within = tree.get("profile")
    return (within, "profile") if isinstance(within, dict) else (tree, "")


def _place() -> Traversable:
    return files("deploy").joinpath("profiles")
