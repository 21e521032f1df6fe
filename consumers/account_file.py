"""One account in a file (JSON): what it holds and the prices it is at, for `liquidator margin`.

The numeraire is the profile's: a balance under the name "numeraire" is in whatever that is, so one
file can be put under any profile. Instruments that neither the file nor a rules file defines are
taken to be linear perpetuals that settle in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from consumers.toml_file import FileFaults, Key, form_faults, mended
from engine.events import CROSS

NUMERAIRE = "numeraire"
"""The name of a balance in the profile's numeraire, whatever that is."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HeldLeg(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One leg: signed size (long > 0), and what it cost in the settlement asset (signed as the
    size, or as minus the size if inverse) or its average price of entry."""

    symbol: str
    size: Decimal
    cost: Decimal | None = None
    entry_price: Decimal | None = None


class OwnOrders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The account's own resting orders in a symbol, unsigned sizes."""

    symbol: str
    buy: Decimal = Decimal(0)
    sell: Decimal = Decimal(0)


class HeldLoan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is supplied to and owed to a pool, with interest, in its asset; `collateral`: whether
    the supply backs debts."""

    supplied: Decimal = Decimal(0)
    owed: Decimal = Decimal(0)
    collateral: bool = True


class HeldGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One margin group: "cross", or "isolated:NAME" for one isolated leg or loan."""

    margin: str = CROSS
    balances: dict[str, Decimal] = {}
    legs: tuple[HeldLeg, ...] = ()
    open_orders: tuple[OwnOrders, ...] = ()
    loans: dict[str, HeldLoan] = {}
    category: str = ""


class OptionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an option is valued by: implied volatility of a year, forward, discount factor."""

    iv: Decimal
    forward: Decimal
    discount: Decimal = Decimal(1)


class Interest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Open interest of the whole venue, unsigned sizes."""

    long: Decimal
    short: Decimal


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all together supplied to and borrowed from a pool, in its asset.

    `cash` is what the pool can pay out; not given, it is all that was supplied and not borrowed.
    """

    supplied: Decimal
    borrowed: Decimal
    cash: Decimal | None = None


class AccountFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that an account file says; balances, legs, open orders, loans and category are the cross
    group's.

    `marks` by symbol, `prices` (in the numeraire) by asset, `time` as text or in microseconds UTC.
    """

    account: str = "account"
    time: int | str = 0
    balances: dict[str, Decimal] = {}
    legs: tuple[HeldLeg, ...] = ()
    open_orders: tuple[OwnOrders, ...] = ()
    loans: dict[str, HeldLoan] = {}
    category: str = ""
    groups: tuple[HeldGroup, ...] = ()
    marks: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}
    options: dict[str, OptionInput] = {}
    open_interest: dict[str, Interest] = {}
    pools: dict[str, Pool] = {}
    instruments: tuple[dict[str, Any], ...] = ()

    def located_groups(self) -> list[tuple[str, HeldGroup]]:
        """Return every margin group with the path of its keys."""
        found = []
        held = (self.balances, self.legs, self.open_orders, self.loans, self.category)
        if any(held) or not self.groups:
            cross = HeldGroup(CROSS, *held)
            found.append(("", cross))
        found += [(f"groups[{n}].", group) for n, group in enumerate(self.groups, start=1)]
        return found

    def symbols(self) -> list[str]:
        """Return every symbol that is held or ordered, by name."""
        groups = [group for _, group in self.located_groups()]
        named = {leg.symbol for group in groups for leg in group.legs}
        return sorted(named | {own.symbol for group in groups for own in group.open_orders})


class Reading(NamedTuple):
    """An account file as far as it can be read: its faults, and the keys that cannot be used."""

    file: AccountFile
    faults: list[str]
    dropped: set[Key]

    def lost(self, *key: str | int) -> bool:
        """Tell whether a key, or what it stands in, is there and cannot be used."""
        return any(key[:end] in self.dropped for end in range(1, len(key) + 1))


def read(path: str | Path) -> Reading:
    """Read the account file at `path`; what its faults are is in the answer.

    Raises `FileFaults` when it is no JSON object at all, `OSError` when it cannot be read.
    """
    tree, faults = _tree(Path(path).read_bytes(), str(path))
    dropped: set[Key] = set()
    found = Reading(mended(tree, AccountFile, dropped), faults, dropped)
    faults += form_faults(tree, AccountFile)
    faults += _faults(found)
    return found


def moment_of(time: int | str) -> int:
    """Return a time in microseconds UTC; text is ISO 8601, UTC unless it says otherwise.

    Raises `ValueError` for text that is no time.
    """
    if isinstance(time, int):
        return time
    at = datetime.fromisoformat(time)
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def _tree(raw: bytes, file: str) -> tuple[dict[str, Any], list[str]]:
    """Return the tree of keys, and those that are given more than once."""
    twice: list[str] = []

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        twice.extend(f"{key}: given {count} times" for key, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        tree = json.loads(raw, parse_float=Decimal, object_pairs_hook=table)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise FileFaults(file, [f"not JSON: {error}"]) from error
    if not isinstance(tree, dict):
        raise FileFaults(file, ["not an account: expected an object"])
    return tree, twice


def _faults(found: Reading) -> Iterator[str]:
    file = found.file
    try:
        if moment_of(file.time) < 0:
            yield f"time: {file.time} is before 1970"
    except ValueError:
        found.dropped.add(("time",))
        yield f"time: {file.time!r} is neither microseconds nor ISO 8601"
    groups = file.located_groups()
    keys: list[Key] = [("groups", n) for n in range(1, len(file.groups) + 1)]
    located = list(zip([()] * (len(groups) - len(keys)) + keys, groups, strict=True))
    named = [group.margin for key, (_, group) in located if not found.lost(*key, "margin")]
    for margin, count in Counter(named).items():
        if count > 1:
            yield f"groups: {count} of margin {margin}"
    for key, (path, group) in located:
        yield from _group_faults(path, key, group, found)
    for table in ("marks", "prices"):
        for name, price in getattr(file, table).items():
            if price <= 0:
                yield f"{table}.{name}: {price} is not above zero"
    for name, pool in file.pools.items():
        for field in ("supplied", "borrowed", "cash"):
            if (getattr(pool, field) or 0) < 0:
                yield f"pools.{name}.{field}: {getattr(pool, field)} is negative"
    for symbol in file.options:
        if symbol in file.marks:
            yield f"marks.{symbol}: an option's mark follows from options.{symbol}"


def _group_faults(path: str, at: Key, group: HeldGroup, found: Reading) -> Iterator[str]:
    for place, leg in enumerate(group.legs, start=1):
        name = f"{path}legs[{place}]"
        if leg.size == 0:
            yield f"{name}.size: zero"
        unread = any(found.lost(*at, "legs", place, key) for key in ("cost", "entry_price"))
        if (leg.cost is None) == (leg.entry_price is None) and not unread:
            yield f"{name}: give cost or entry_price, one of them"
        if leg.entry_price is not None and leg.entry_price <= 0:
            yield f"{name}.entry_price: {leg.entry_price} is not above zero"
    yield from _repeated(f"{path}legs", (leg.symbol for leg in group.legs))
    yield from _repeated(f"{path}open_orders", (own.symbol for own in group.open_orders))
    for place, own in enumerate(group.open_orders, start=1):
        for side in ("buy", "sell"):
            if getattr(own, side) < 0:
                yield f"{path}open_orders[{place}].{side}: {getattr(own, side)} is negative"
    for pool, loan in group.loans.items():
        for side in ("supplied", "owed"):
            if getattr(loan, side) < 0:
                yield f"{path}loans.{pool}.{side}: {getattr(loan, side)} is negative"


def _repeated(path: str, symbols: Iterable[str]) -> Iterator[str]:
    for symbol, count in Counter(symbols).items():
        # What cannot be read has no name.
        if symbol and count > 1:
            yield f"{path}: {count} entries for {symbol}; legs and orders are net, one of a symbol"
