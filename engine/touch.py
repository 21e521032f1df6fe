"""A pool while something changes it: touched, changed, and written again.

docs/semantics.md, 10, has every formula. Whoever moves anything in a pool does it here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import pools
from engine.book import Group
from engine.money import ZERO, ceil_to, floor_to
from engine.pools import Indices, LendingPool

if TYPE_CHECKING:
    from engine.core import Engine


class Touch:
    """A pool while an event changes it: interest is booked up to engine time first, and `close`
    writes its indices at the rates of its new utilisation.

    `index` are the pool's indices, `unit` the smallest amount of its asset. Every method moves as
    much on one side of the pool as on the other; what rounding leaves is dust.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.rule = engine.rules.pool(name)
        self.asset = self.rule.asset
        self.unit = engine.rules.assets[self.asset].unit
        state = engine.markets.lending.get(name) or pools.new_pool(engine.time)
        self.index: Indices = pools.indices(self.rule, state, engine.time)
        self.state: LendingPool = pools.booked(self.rule, state, self.index, self.unit)

    def supplied_by(self, group: Group) -> Decimal:
        """Return what a group has supplied, with interest."""
        held = self.engine.book.loan_of(group, self.name)
        return pools.supplied_amount(held.supplied, self.index, self.unit)

    def owed_by(self, group: Group) -> Decimal:
        """Return what a group owes, with interest."""
        held = self.engine.book.loan_of(group, self.name)
        return pools.owed_amount(self.rule, held.owed, self.index, self.unit)

    def add_supply(self, group: Group, amount: Decimal) -> None:
        """Give a group the supply that an amount buys, down, for the pool."""
        principal = floor_to(amount, self.unit, self.index.supply)
        self._change_supply(group, principal, amount)

    def take_supply(self, group: Group, amount: Decimal) -> bool:
        """Take an amount of a group's supply, up, for the pool; tell whether it had less."""
        has = self.supplied_by(group)
        if amount >= has:
            principal = self.engine.book.loan_of(group, self.name).supplied
        else:
            principal = ceil_to(amount, self.unit, self.index.supply)
        self._change_supply(group, -principal, -amount)
        return amount > has

    def add_debt(self, group: Group, amount: Decimal) -> None:
        """Have a group owe an amount, up, for the pool."""
        principal = ceil_to(amount, self.unit, self.index.borrow)
        self._change_debt(group, principal, amount)

    def take_debt(self, group: Group, amount: Decimal) -> Decimal:
        """Take an amount off a group's debt, down, for the pool; return what it was, at most all
        that was owed."""
        owed = self.owed_by(group)
        if amount >= owed:
            principal = self.engine.book.loan_of(group, self.name).owed
        else:
            principal = floor_to(amount, self.unit, self.index.borrow)
        self._change_debt(group, -principal, -min(amount, owed))
        return min(amount, owed)

    def give_up(self, group: Group, amount: Decimal) -> None:
        """Strike an amount off a group's debt, up, so that no more than the rest is owed."""
        held = self.engine.book.loan_of(group, self.name).owed
        principal = held
        if amount < self.owed_by(group):
            principal = min(held, ceil_to(amount, self.unit, self.index.borrow))
        self._change_debt(group, -principal, -amount)
        group.given_up[self.name] = group.given_up.get(self.name, ZERO) + amount

    def move(self, **changes: Decimal) -> None:
        """Change what the pool holds by amounts, by field."""
        moved = {name: getattr(self.state, name) + change for name, change in changes.items()}
        self.state = self.state._replace(**moved)

    def socialise(self, amount: Decimal) -> tuple[Decimal, Decimal]:
        """Have lenders bear an amount, which may take others under their thresholds; return the
        supply index before and after."""
        before = self.state.booked_supply
        self.state = pools.socialised(self.state, amount, self.engine.time)
        self.index = Indices(self.state.booked_supply, self.index.borrow)
        self.engine.look_at(self.engine.book.suppliers(self.name))
        self.engine.others_changed(health=True)
        self.engine.candidates.forget_all()
        return before, self.state.booked_supply

    def accrue(self, told: Indices) -> None:
        """Book interest up to indices that the venue told."""
        self.state = pools.booked(self.rule, self.state, told, self.unit)
        self.index = told

    def close(self) -> None:
        """Write the pool."""
        engine = self.engine
        after = pools.written(self.rule, self.state, engine.time)
        engine.markets.lending[self.name] = after
        engine.changed.markets.add(self.name)
        engine.look_at(engine.watch.pool_written(self.name, after))

    def _change_supply(self, group: Group, principal: Decimal, amount: Decimal) -> None:
        held = self.engine.book.loan_of(group, self.name)
        self._store(group, held.supplied + principal, held.owed)
        dust = amount - principal * self.index.supply
        self.move(supplied=principal, dust=dust)

    def _change_debt(self, group: Group, principal: Decimal, amount: Decimal) -> None:
        held = self.engine.book.loan_of(group, self.name)
        self._store(group, held.supplied, held.owed + principal)
        self.move(borrowed=principal, dust=principal * self.index.borrow - amount)

    def _store(self, group: Group, supplied: Decimal, owed: Decimal) -> None:
        self.engine.book.set_loan(group, self.name, supplied, owed)
        self.engine.touch(group)
