"""What account holders do with loans: lend, borrow to the brink, repay, choose terms."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from engine import events
from tests.histories.listing import quantity
from tests.twin.amounts import ZERO, decimal, floor
from tests.twin.books import Group, World
from tests.twin.pools import (
    LoanHealth,
    has_backing,
    loans_of,
    owed_now,
    pool_names,
    rules,
    supplied_now,
)
from tests.twin.values import health

if TYPE_CHECKING:
    from tests.histories.history import History

LENDER = "lender"
KEEPER = "keeper"


class Borrowers:
    """Lenders, borrowers, and a keeper who takes collateral over."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance
        self.listing = history.listing

    @property
    def world(self) -> World:
        """What the twin knows."""
        return self.history.twin.world

    @property
    def pools(self) -> dict[str, str]:
        """The asset of each pool."""
        assert self.listing.market is not None
        return self.listing.market.pools

    def open(self) -> None:
        """Fill the pools, and let some borrow."""
        for name, role in ((KEEPER, "backstop"), (LENDER, "trader")):
            self._do(partial(self._of, name, events.AccountOpened, role=role))
        for pool, asset in self.pools.items():
            if self.chance.random() < 0.9:
                amount = self._worth(asset, 1_000, 8_000)
                self._do(partial(self._of, LENDER, events.Deposit, asset=asset, amount=amount))
                self._do(partial(self._of, LENDER, events.Supplied, pool=pool, amount=amount))
        for name in self.history.customers.names:
            for _ in range(1 if self.history.trades else 2):
                self._do(partial(self._lend, name))
                self._do(partial(self._borrow, name))

    def act(self) -> None:
        """Let somebody do something."""
        name = self.chance.choice(self.history.customers.names)
        if self.chance.random() < 0.12:
            name = LENDER
        acts: dict[Callable[[str], events.AnyEvent], float] = {
            self._lend: 0.24,
            self._borrow: 0.32,
            self._redeem: 0.12,
            self._repay: 0.14,
            self._enable: 0.06,
            self._choose: 0.05,
            self._brink: 0.2,
        }
        act = self.chance.choices(list(acts), list(acts.values()))[0]
        self._do(partial(act, name))

    def _do(self, make: Callable[[], events.AnyEvent]) -> None:
        self.history.queue.append(make)

    def _of(self, name: str, kind: type, **fields: object) -> events.AnyEvent:
        return self.history.of(name, kind, **fields)

    # --- what there is

    def _worth(self, asset: str, low: float, high: float) -> Decimal:
        price = self.history.market.prices.get(asset, 1.0)
        amount = self.chance.uniform(low, high) / price
        return quantity(amount, self.listing.assets[asset].decimals)

    def _pool(self, *, lends: bool = False) -> str:
        market = self.listing.market
        assert market is not None
        names = [name for name in self.pools if market.lends(name) or not lends]
        if lends and self.chance.random() < 0.03:
            names = list(self.pools)
        return self.chance.choice(names)

    def _group(self, name: str) -> Group:
        """Return one of the groups that loans of an account are in, mostly the cross group."""
        margins = ["cross"] * (3 if self.history.trades else 1)
        for market in (*(self.listing.market.categories if self.listing.market else ()), "BTC"):
            if market in self.pools or market in self.listing.contracts:
                margins.append(f"isolated:{market}")
        account = self.world.accounts.get(name)
        indebted = [g.margin for g in account.groups.values() if g.loans] if account else []
        margin = self.chance.choice([*margins, *indebted])
        return (account.groups.get(margin) if account else None) or Group(name, margin)

    def _backed(self, name: str) -> Group:
        """Return a group with a supply that counts, if the account has one."""
        account = self.world.accounts.get(name)
        groups = account.ordered_groups() if account and self.world.policy else []
        backed = [group for group in groups if has_backing(self.world, group)]
        return self.chance.choice(backed) if backed else self._group(name)

    def _loans(self, group: Group) -> list[LoanHealth]:
        if self.world.policy is None or not pool_names(self.world):
            return []
        return loans_of(self.world, group, "maintenance") or []

    def _room(self, group: Group) -> float:
        """Return for how much more a group may borrow by its initial requirement."""
        context = self.chance.choice(("initial", "initial", "maintenance"))
        now = health(self.world, group, context) if self.world.policy else None
        return 0.0 if now is None else float(now.margin_equity - now.requirement)

    # --- what they do

    def _lend(self, name: str) -> events.AnyEvent:
        pool = self._pool()
        asset = self.pools[pool]
        account = self.world.accounts.get(name)
        cash = account.group("cross").cash.get(asset, ZERO) if account else ZERO
        decimals = self.listing.assets[asset].decimals
        amount = quantity(max(0.0, float(cash)) * self.chance.choice((1.0, 0.9, 0.5)), decimals)
        group = self._group(name)
        if not amount or self.chance.random() < 0.1:
            amount = self._worth(asset, 100, 1_500)
            if self.chance.random() < 0.9:
                self._do(partial(self._supply, name, pool, amount, group.margin))
                return self._of(name, events.Deposit, asset=asset, amount=amount)
        return self._supply(name, pool, amount, group.margin)

    def _supply(self, name: str, pool: str, amount: Decimal, margin: str) -> events.AnyEvent:
        return self._of(name, events.Supplied, pool=pool, amount=amount, margin=margin)

    def _borrow(self, name: str) -> events.AnyEvent:
        group, pool = self._backed(name), self._pool(lends=True)
        asset = self.pools[pool]
        price = self.history.market.prices.get(asset, 1.0)
        room = self._room(group)
        if room <= 0 and self.chance.random() < 0.9:
            return self._lend(name)
        worth = max(1.0, room) * self.chance.choice((0.5, 0.9, 0.97, 1.0, 1.03))
        amount = quantity(worth / price, self.listing.assets[asset].decimals)
        held = self.world.lending.get(pool)
        if held is not None and 0 < held.cash < amount and self.chance.random() < 0.8:
            amount = decimal(held.cash)
        amount = max(amount, Decimal(1).scaleb(-self.listing.assets[asset].decimals))
        if self.chance.random() < 0.8:
            # What is borrowed is mostly spent, or it would just be set off against the debt.
            self._do(partial(self._spend, name, asset, amount))
        return self._of(name, events.Borrow, pool=pool, amount=amount, margin=group.margin)

    def _spend(self, name: str, asset: str, amount: Decimal) -> events.AnyEvent:
        account = self.world.accounts.get(name)
        cash = account.group("cross").cash.get(asset, ZERO) if account else ZERO
        if cash > 0:
            amount = min(amount, decimal(cash))
        return self._of(name, events.Withdrawal, asset=asset, amount=amount)

    def _redeem(self, name: str) -> events.AnyEvent:
        group = self._group(name)
        held = [loan for loan in self._loans(group) if loan.supplied > 0]
        if not held:
            return self._lend(name)
        loan = self.chance.choice(held)
        part = self.chance.choice((1.0, 1.0, 0.2, 0.6, 1.2))
        amount = self._part(loan.supplied, loan.asset, part)
        return self._of(name, events.Redeemed, pool=loan.pool, amount=amount, margin=group.margin)

    def _repay(self, name: str) -> events.AnyEvent:
        account = self.world.accounts.get(name)
        groups = account.ordered_groups() if account else []
        if not (indebted := [group for group in groups if _owing(group)]):
            return self._borrow(name)
        group = self.chance.choice(indebted)
        owed = _owing(group)
        pool = self.chance.choice(owed)
        total = owed_now(self.world, group, pool) + group.loans[pool].given_up
        part = self.chance.choice((1.0, 1.0, 0.3, 0.7, 1.1))
        amount = self._part(total, self.pools[pool], part)
        return self._of(name, events.Repay, pool=pool, amount=amount, margin=group.margin)

    def _part(self, amount: Fraction, asset: str, part: float) -> Decimal:
        exact = decimal(amount)
        decimals = self.listing.assets[asset].decimals
        drawn = exact if part == 1.0 else quantity(float(exact) * part, decimals)
        return max(drawn, Decimal(1).scaleb(-decimals))

    def _brink(self, name: str) -> events.AnyEvent:
        """Take back what is just enough, or a unit more or less, to be healthy or not."""
        group = self._backed(name)
        now = health(self.world, group) if self.world.policy else None
        held = [loan for loan in now.loans if loan.threshold and loan.supplied > 0] if now else []
        if now is None or not held or not group.debts():
            return self._borrow(name)
        loan = self.chance.choice(held)
        unit = self.world.unit(loan.asset)
        assert loan.threshold is not None
        spare = (now.margin_equity - now.requirement) / (loan.threshold * loan.price)
        amount = floor(spare, unit) + self.chance.choice((-1, 0, 0, 1)) * unit
        if amount <= 0 or amount > supplied_now(self.world, group, loan.pool):
            return self._redeem(name)
        return self._of(
            name, events.Redeemed, pool=loan.pool, amount=decimal(amount), margin=group.margin
        )

    def _enable(self, name: str) -> events.AnyEvent:
        group = self._group(name)
        pool = self.chance.choice(sorted(group.loans) or list(self.pools))
        enabled = self.chance.random() < 0.6
        return self._of(
            name, events.CollateralEnabled, pool=pool, enabled=enabled, margin=group.margin
        )

    def _choose(self, name: str) -> events.AnyEvent:
        known = rules(self.world).categories if pool_names(self.world) else ()
        category = self.chance.choice(["", *known])
        group = self._group(name)
        return self._of(name, events.CategoryChosen, category=category, margin=group.margin)


def _owing(group: Group) -> list[str]:
    """Return the pools that a group owes, or whose debts were given up."""
    return [pool for pool, loan in sorted(group.loans.items()) if loan.owed or loan.given_up]
