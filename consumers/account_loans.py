"""The loans of an account file: what is wrong with them, and what an engine is told of them.

A pool is brought to the state that the file says by others, who lend to it and borrow of it what
the account itself did not. Of a pool that the file says nothing of they lend just what the account
borrowed, so that it has in cash what the account supplied.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from consumers.account_file import AccountFile, HeldGroup, Pool
from engine import events as e
from engine.lending_profile import Lending
from engine.profile import RiskProfile

ZERO = Decimal(0)


class Told(NamedTuple):
    """An event, and the key of the file that it comes from."""

    key: str
    event: e.Event


class _Own(NamedTuple):
    """What the account itself supplied to a pool and owes it, all margin groups together."""

    supplied: Decimal
    owed: Decimal


def faults(file: AccountFile, profile: RiskProfile) -> Iterator[str]:
    """Yield what does not agree with the profile, or in itself."""
    lending = profile.lending
    for path, group in file.located_groups():
        if lending is None:
            if group.loans or group.category:
                yield f"{path}loans: profile {profile.name} has no pools"
            continue
        for pool in group.loans:
            if pool not in lending.pools:
                yield f"{path}loans.{pool}: no pool of profile {profile.name}"
        if group.category and group.category not in lending.categories:
            yield f"{path}category: {group.category} is no category of profile {profile.name}"
    if lending is None:
        return
    for name, told in file.pools.items():
        if name in lending.pools:
            yield from _pool_faults(f"pools.{name}", told, _own(file, name))


def _pool_faults(path: str, pool: Pool, own: _Own) -> Iterator[str]:
    if min(pool.supplied, pool.borrowed, pool.cash or ZERO) < 0:
        return
    for key, all_told, its in (
        ("supplied", pool.supplied, own.supplied),
        ("borrowed", pool.borrowed, own.owed),
    ):
        if all_told < its:
            yield f"{path}.{key}: {all_told} is less than the {its} of the account itself"
    left = pool.supplied - pool.borrowed
    if pool.cash is None and left < 0:
        yield f"{path}.borrowed: {pool.borrowed} is more than the {pool.supplied} that are supplied"
    if pool.cash is not None and pool.cash < left:
        yield (
            f"{path}.cash: {pool.cash} is less than the {left} that are supplied and not borrowed"
        )


def needed(file: AccountFile, profile: RiskProfile) -> set[str]:
    """Return the assets whose price the loans cannot do without."""
    lending = profile.lending
    found: set[str] = set()
    for _, group in file.located_groups():
        for name, loan in group.loans.items():
            if lending is None or name not in lending.pools:
                continue
            category = lending.category_of(group.margin, group.category)
            backs = loan.supplied and loan.collateral and lending.terms_of(name, category)
            if loan.owed or backs:
                found.add(lending.pools[name].asset)
    return found


def concerned(file: AccountFile, lending: Lending) -> list[str]:
    """Return the pools that the file says anything of, by name."""
    named = {pool for _, group in file.located_groups() for pool in group.loans}
    return sorted((named | set(file.pools)) & set(lending.pools))


def events(file: AccountFile, lending: Lending, time: int) -> Iterator[Told]:
    """Yield what others and the account supplied, then what they borrowed; the account's own events
    carry no sequence yet."""
    pools = concerned(file, lending)
    lenders, borrowers = _Other(file, "lenders", time), _Other(file, "borrowers", time)
    for other in (lenders, borrowers) if pools else ():
        yield Told("pools", other.opened())
    for number, pool in enumerate(pools, start=1):
        key, asset, told = f"pools.{pool}", lending.pools[pool].asset, file.pools.get(pool)
        own = _own(file, pool)
        lent = own.owed if told is None else told.supplied - own.supplied
        yield from lenders.lend(key, pool, asset, lent)
        if told is not None and told.cash is not None:
            amount = told.cash + told.borrowed - told.supplied
            if amount:
                yield Told(f"{key}.cash", _reserve(time, number, pool, asset, amount))
    yield from _supplies(file, lending, time)
    for pool in pools:
        if (told := file.pools.get(pool)) is not None:
            owed = told.borrowed - _own(file, pool).owed
            yield from borrowers.borrow(f"pools.{pool}", pool, owed)
    for path, group in file.located_groups():
        for pool, loan in group.loans.items():
            if loan.owed:
                borrow = e.Borrow(
                    time=time, account=file.account, sequence=0, pool=pool, amount=loan.owed,
                    margin=group.margin,
                )  # fmt: skip
                yield Told(f"{path}loans.{pool}.owed", borrow)


def _reserve(time: int, number: int, pool: str, asset: str, amount: Decimal) -> e.FundMoved:
    return e.FundMoved(time=time, shard=0, asset=asset, amount=amount, sequence=number, pool=pool)


def _supplies(file: AccountFile, lending: Lending, time: int) -> Iterator[Told]:
    """Yield what the account supplied, which of it backs no debt, and its categories."""
    for path, group in file.located_groups():
        about: dict[str, Any] = {
            "time": time,
            "account": file.account,
            "sequence": 0,
            "margin": group.margin,
        }
        for pool, loan in group.loans.items():
            key = f"{path}loans.{pool}"
            if loan.supplied:
                # Pools are paid by the cross group, whichever group the loan is of.
                deposit = e.Deposit(
                    time=time, account=file.account, sequence=0, amount=loan.supplied,
                    asset=lending.pools[pool].asset,
                )  # fmt: skip
                yield Told(f"{key}.supplied", deposit)
                supplied = e.Supplied(**about, pool=pool, amount=loan.supplied)
                yield Told(f"{key}.supplied", supplied)
            if not loan.collateral:
                disabled = e.CollateralEnabled(**about, pool=pool, enabled=False)
                yield Told(f"{key}.collateral", disabled)
        if group.category:
            chosen = e.CategoryChosen(**about, category=group.category)
            yield Told(f"{path}category", chosen)


class _Other:
    """An account beside the one of the file, which nothing is decided about."""

    def __init__(self, file: AccountFile, name: str, time: int) -> None:
        # An account's name has 64 characters at most.
        own = f"{file.account[:50]}.{name}"
        self._account = own if own != file.account else f"{file.account[:49]}.{name}"
        self._time = time
        self._sequence = 0

    def _about(self) -> dict[str, Any]:
        self._sequence += 1
        return {"time": self._time, "account": self._account, "sequence": self._sequence}

    def opened(self) -> e.AccountOpened:
        """Return the event that opens it."""
        return e.AccountOpened(**self._about(), role="exempt")

    def lend(self, key: str, pool: str, asset: str, amount: Decimal) -> Iterator[Told]:
        """Yield the events by which it lends an amount, if it is any."""
        if amount:
            yield Told(key, e.Deposit(**self._about(), asset=asset, amount=amount))
            yield Told(key, e.Supplied(**self._about(), pool=pool, amount=amount))

    def borrow(self, key: str, pool: str, amount: Decimal) -> Iterator[Told]:
        """Yield the event by which it borrows an amount, if it is any."""
        if amount:
            yield Told(key, e.Borrow(**self._about(), pool=pool, amount=amount))


def amounts(group: HeldGroup) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Return what a margin group supplied and owes, by pool."""
    supplied = {pool: loan.supplied for pool, loan in group.loans.items() if loan.supplied}
    return supplied, {pool: loan.owed for pool, loan in group.loans.items() if loan.owed}


def _own(file: AccountFile, pool: str) -> _Own:
    held = [group.loans[pool] for _, group in file.located_groups() if pool in group.loans]
    supplied, owed = (loan.supplied for loan in held), (loan.owed for loan in held)
    return _Own(sum(supplied, ZERO), sum(owed, ZERO))
