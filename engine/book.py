"""Columns of balances and positions; `Account` and `Group`, the exact views of their rows.

Cash is a 64-bit column per asset over all margin groups, legs are one table of columns per symbol.
Both hold whole numbers of smallest units: they are the truth, and what numpy screens. A `Group`
reads its row as exact decimals and writes it through `Book`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.events import CROSS, Role
from engine.holdings import Holdings, Leg, Loan
from engine.instruments import Asset, Listed
from engine.leg_table import FIRST_CAPACITY, LegTable
from engine.money import ZERO, from_units, to_units

if TYPE_CHECKING:
    from engine.lending_profile import Lending
    from engine.liquidation import Liquidation


class History(NamedTuple):
    """What a liquidation of the group `margin` issued: the symbols of its attempts 1, 2, …, and
    which of these are transfers."""

    margin: str
    symbols: list[str]
    transfers: list[int]


class Account:
    """One account: identity, sequence, history of its orders, and its margin groups by name.

    `orders` holds, for each liquidation of the account, its margin group and the symbols of the
    orders it issued: an order id is made of these alone, and can be recognised for ever.
    """

    __slots__ = ("debts", "gap_since", "groups", "id", "orders", "role", "sequence")

    def __init__(self, account: str, sequence: int, role: Role = "trader") -> None:
        self.id = account
        self.role: Role = role
        self.sequence = sequence
        self.gap_since: int | None = None
        self.orders: dict[int, History] = {}
        self.debts = 0
        self.groups: dict[str, Group] = {}

    @property
    def protected(self) -> bool:
        """Whether the account is never liquidated."""
        return self.role in ("backstop", "fund", "exempt")

    def issued(self, order_id: str, margin: str | None, symbol: str | None) -> bool:
        """Tell whether this id was issued (for that margin group and symbol, where given)."""
        owner, _, rest = order_id.partition(":")
        parts = rest.split(":")
        if owner != self.id or len(parts) != 3:
            return False
        if not all(len(p) < 16 and p.isascii() and p.isdigit() for p in parts[:2]):
            return False
        number, attempt = int(parts[0]), int(parts[1])
        history = self.orders.get(number, History("", [], []))
        symbols = history.symbols
        if not 0 < attempt <= len(symbols) or order_id != self.order_id(number, attempt):
            return False
        return margin in (None, history.margin) and symbol in (None, symbols[attempt - 1])

    def transferred(self, order_id: str) -> bool:
        """Tell whether an id that was issued is that of a transfer."""
        _, number, attempt, _ = order_id.split(":")
        return int(attempt) in self.orders[int(number)].transfers

    def order_id(self, number: int, attempt: int) -> str:
        """Return the id of an order that this account's history holds."""
        return f"{self.id}:{number}:{attempt}:{self.orders[number].symbols[attempt - 1]}"

    def ordered_groups(self) -> list[Group]:
        """Return the groups, cross first, then isolated by name."""
        return sorted(self.groups.values(), key=lambda group: (group.margin != CROSS, group.margin))


class Group:
    """The exact view of one margin group."""

    __slots__ = (
        "account",
        "book",
        "called",
        "category",
        "disabled",
        "given_up",
        "last_market",
        "liquidation",
        "margin",
        "open_orders",
        "orders_told",
        "row",
        "session",
        "symbols",
    )

    def __init__(self, book: Book, account: Account, margin: str, row: int) -> None:
        self.book = book
        self.account = account
        self.margin = margin
        self.row = row
        self.symbols: list[str] = []
        self.called = False
        self.last_market = ""
        self.open_orders: dict[str, tuple[Decimal, Decimal]] = {}
        self.orders_told = False
        self.category = ""
        self.disabled: set[str] = set()
        self.given_up: dict[str, Decimal] = {}
        self.session: dict[str, Decimal] = {}
        self.liquidation: Liquidation | None = None

    @property
    def cash(self) -> dict[str, Decimal]:
        """Balances other than zero, in order of asset."""
        found = {}
        for name, decimals, column in self.book.cash_columns():
            units = int(column[self.row])
            if units:
                found[name] = from_units(units, decimals)
        return found

    @property
    def legs(self) -> dict[str, Leg]:
        """Legs by symbol, in order of symbol."""
        found = {}
        for symbol in self.symbols:
            leg = self.book.legs[symbol].read(self.row)
            if leg is not None:
                found[symbol] = leg
        return found

    @property
    def loans(self) -> dict[str, Loan]:
        """Principals by pool, in order of pool."""
        found = {}
        for pool, decimals, supplied, owed in self.book.loan_columns():
            lent, due = int(supplied[self.row]), int(owed[self.row])
            if lent or due:
                amounts = from_units(lent, decimals), from_units(due, decimals)
                found[pool] = Loan(*amounts, pool not in self.disabled)
        return found

    @property
    def holdings(self) -> Holdings:
        """What margin is computed of."""
        if not self.book.lends:
            return Holdings(self.cash, self.legs, self.open_orders)
        category = self.book.category_of(self)
        return Holdings(self.cash, self.legs, self.open_orders, self.loans, category)

    @property
    def key(self) -> tuple[str, str]:
        """What orders groups that are otherwise alike."""
        return (self.account.id, self.margin)


class Book:
    """All columns of one shard."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.groups: list[Group | None] = []
        self.legs: dict[str, LegTable] = {}
        self._assets: dict[str, Asset] = {}
        self._cash: dict[str, NDArray[np.int64]] = {}
        self._cash_columns: list[tuple[str, int, NDArray[np.int64]]] = []
        self._pools: dict[str, int] = {}
        self._supplied: dict[str, NDArray[np.int64]] = {}
        self._owed: dict[str, NDArray[np.int64]] = {}
        self._lending: Lending | None = None
        self._free: list[int] = []
        self._capacity = FIRST_CAPACITY

    @property
    def capacity(self) -> int:
        """How many group rows the columns have room for."""
        return self._capacity

    def list_asset(self, asset: Asset) -> None:
        """Make room for balances in `asset`."""
        self._assets[asset.name] = asset
        if asset.name not in self._cash:
            self._cash[asset.name] = np.zeros(self._capacity, np.int64)
        self._renew_cash_columns()

    def list_instrument(self, instrument: Listed) -> None:
        """Make room for legs in `instrument`."""
        table = self.legs.get(instrument.name)
        if table is None:
            self.legs[instrument.name] = LegTable(instrument, self._assets[instrument.settle])
        else:
            table.instrument = instrument

    def cash_columns(self) -> list[tuple[str, int, NDArray[np.int64]]]:
        """Return (asset, decimals, column of units) of every asset, in order of name."""
        return self._cash_columns

    def cash_column(self, asset: str) -> NDArray[np.int64]:
        """Return the column of balances of `asset`, in units, over all group rows."""
        return self._cash[asset]

    @property
    def lends(self) -> bool:
        """Whether there is any pool."""
        return bool(self._pools)

    @property
    def pools(self) -> Mapping[str, int]:
        """The decimals of every pool's asset, by pool."""
        return self._pools

    def supplied_column(self, pool: str) -> NDArray[np.int64]:
        """Return the column of principals supplied to a pool, in units, over all group rows."""
        return self._supplied[pool]

    def owed_column(self, pool: str) -> NDArray[np.int64]:
        """Return the column of principals owed to a pool, in units, over all group rows."""
        return self._owed[pool]

    def list_pools(self, lending: Lending) -> None:
        """Make room for principals in pools whose assets are listed."""
        self._lending = lending
        for pool in [name for name in self._pools if name not in lending.pools]:
            del self._pools[pool], self._supplied[pool], self._owed[pool]
        for pool, rule in lending.pools.items():
            asset = self._assets.get(rule.asset)
            if asset is None or pool in self._pools:
                continue
            self._pools[pool] = asset.decimals
            for columns in (self._supplied, self._owed):
                columns[pool] = np.zeros(self._capacity, np.int64)
        self._pools = dict(sorted(self._pools.items()))

    def loan_columns(self) -> Iterator[tuple[str, int, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (pool, decimals, principals supplied, principals owed) in units, by pool."""
        for pool, decimals in self._pools.items():
            yield pool, decimals, self._supplied[pool], self._owed[pool]

    def category_of(self, group: Group) -> str:
        """Return the category in which a group's loans are counted, none if empty."""
        if self._lending is None:
            return ""
        return self._lending.category_of(group.margin, group.category)

    def loan_of(self, group: Group, pool: str) -> Loan:
        """Return the principals of a group in a pool."""
        decimals = self._pools[pool]
        return Loan(
            from_units(int(self._supplied[pool][group.row]), decimals),
            from_units(int(self._owed[pool][group.row]), decimals),
            pool not in group.disabled,
        )

    def set_loan(self, group: Group, pool: str, supplied: Decimal, owed: Decimal) -> None:
        """Store the principals of a group in a pool."""
        decimals = self._pools[pool]
        self._supplied[pool][group.row] = to_units(supplied, decimals)
        self._owed[pool][group.row] = to_units(owed, decimals)

    def suppliers(self, pool: str) -> list[Group]:
        """Return the groups that supplied to a pool, in order of account and margin."""
        rows = self._supplied[pool].nonzero()[0].tolist()
        return sorted((self.at(row) for row in rows), key=lambda group: group.key)

    def borrowers(self, pool: str) -> list[Group]:
        """Return the groups that owe a pool, in order of account and margin."""
        rows = self._owed[pool].nonzero()[0].tolist()
        return sorted((self.at(row) for row in rows), key=lambda group: group.key)

    def open_account(self, account: Account) -> None:
        """Add an account, with an empty cross group."""
        self.accounts[account.id] = account
        self.group(account, CROSS)

    def close_account(self, account: Account) -> None:
        """Forget an empty account."""
        for group in list(account.groups.values()):
            self.drop_group(group)
        del self.accounts[account.id]

    def group(self, account: Account, margin: str) -> Group:
        """Return a margin group of an account, new and empty if it had none of that name."""
        group = account.groups.get(margin)
        if group is None:
            group = account.groups[margin] = Group(self, account, margin, self._new_row())
            self.groups[group.row] = group
        return group

    def drop_group(self, group: Group) -> None:
        """Forget an empty group and free its row."""
        del group.account.groups[group.margin]
        self.groups[group.row] = None
        self._free.append(group.row)

    def cash_of(self, group: Group, asset: str) -> Decimal:
        """Return one balance."""
        return from_units(int(self._cash[asset][group.row]), self._assets[asset].decimals)

    def set_cash(self, group: Group, asset: str, amount: Decimal) -> None:
        """Store one balance; raises if it is not a whole number of units."""
        self._cash[asset][group.row] = to_units(amount, self._assets[asset].decimals)

    def add_cash(self, group: Group, asset: str, amount: Decimal) -> None:
        """Change one balance by `amount`."""
        self.set_cash(group, asset, self.cash_of(group, asset) + amount)

    def leg_of(self, group: Group, symbol: str) -> Leg | None:
        """Return one leg, if there is one."""
        return self.legs[symbol].read(group.row)

    def set_leg(self, group: Group, symbol: str, size: Decimal, cost: Decimal) -> None:
        """Store one leg; a size of zero removes it."""
        if size == ZERO:
            self.legs[symbol].write(group.row, None)
            if symbol in group.symbols:
                group.symbols.remove(symbol)
            return
        self.legs[symbol].write(group.row, Leg(size, cost))
        if symbol not in group.symbols:
            group.symbols.append(symbol)
            group.symbols.sort()

    def holders(self, symbol: str) -> list[Group]:
        """Return the groups with a leg in `symbol`, in order of account and margin."""
        rows = self.legs[symbol].row_of
        return sorted((self.at(row) for row in rows), key=lambda group: group.key)

    def at(self, row: int) -> Group:
        """Return the group of a row."""
        group = self.groups[row]
        if group is None:
            raise LookupError(f"row {row} holds no group")
        return group

    def all_groups(self) -> Iterator[Group]:
        """Yield every group, by row."""
        return (group for group in self.groups if group is not None)

    def _new_row(self) -> int:
        if self._free:
            return self._free.pop()
        self.groups.append(None)
        if len(self.groups) > self._capacity:
            self._capacity *= 2
            for name, column in self._cash.items():
                self._cash[name] = np.concatenate([column, np.zeros_like(column)])
            for columns in (self._supplied, self._owed):
                for name, column in columns.items():
                    columns[name] = np.concatenate([column, np.zeros_like(column)])
            self._renew_cash_columns()
        return len(self.groups) - 1

    def _renew_cash_columns(self) -> None:
        self._cash_columns = [
            (name, self._assets[name].decimals, self._cash[name]) for name in sorted(self._cash)
        ]
