"""How people deal with the pools of the demo's lending market, and what cash the pools have.

Every pool is called as its asset. Cash is known from what was sent and refused, as everybody can
know it who looks at a pool: nobody borrows what is not there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal

from consumers.feed import Accounts, Shards
from engine.decisions import SetOff, SupplyDrawn, WithdrawalUnpaid
from engine.events import (
    CROSS,
    AnyEvent,
    Borrow,
    CollateralSold,
    Deposit,
    FundMoved,
    PositionEvent,
    Redeemed,
    Repay,
    Seized,
    Supplied,
    Withdrawal,
)
from engine.money import ZERO, credit, exact, unit_of

UNIT = unit_of(8)
"""What amounts are whole numbers of, in every asset here."""
MINUTE = 60_000_000
SPARE = Decimal("1.02")
"""A pool must have this multiple of what is borrowed or asked for again: others come too."""
MOST_ROUNDS = 40
NEARLY = Decimal("0.9998")
"""The part of what may be borrowed that each round of a loop borrows."""
SETTLED = MINUTE
"""After this time without a refusal a withdrawal was paid."""
PATIENCE = 10 * MINUTE
"""How long who was not paid waits before looking again."""
ENOUGH = Decimal("0.01")
"""The part of what is wanted for which it is worth asking again."""

Action = Callable[[], list[PositionEvent]]


class LoanDesk:
    """Deposits, loans, and the cash of every pool, by shard."""

    def __init__(self, accounts: Accounts, shards: Shards) -> None:
        self.cash: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
        self._accounts = accounts
        self._shards = shards
        self._unpaid: dict[tuple[str, str], Decimal] = {}

    # --- what is known

    def note(self, event: AnyEvent) -> None:
        """Take down what an event moves in a pool."""
        if isinstance(event, FundMoved):
            self.cash[event.shard, event.pool] += event.amount
        elif isinstance(event, Supplied | Repay):
            self._move(event.account, event.pool, event.amount)
        elif isinstance(event, Borrow | Redeemed):
            self._move(event.account, event.pool, -event.amount)
        elif isinstance(event, Seized):
            self._move(event.account, event.pool, event.repaid)
            if not event.liquidator:
                self._move(event.account, event.collateral, event.fee - event.seized)

    def hear(self, decision: SetOff | SupplyDrawn | WithdrawalUnpaid) -> None:
        """Take down what the engine moved between an account and a pool, or a pool did not pay."""
        drawn = isinstance(decision, SupplyDrawn)
        self._move(decision.account, decision.pool, -decision.amount if drawn else decision.amount)
        if isinstance(decision, WithdrawalUnpaid):
            self._unpaid[decision.account, decision.pool] = decision.amount

    def was_paid(self, account: str, pool: str) -> bool:
        """Tell whether the last withdrawal was paid; a refusal is told once."""
        return self._unpaid.pop((account, pool), None) is None

    def there(self, account: str, pool: str) -> Decimal:
        """Return what the pool of an account's shard has to give, with something to spare."""
        return credit(self.cash[self._shards.of(account), pool], UNIT, SPARE)

    def _move(self, account: str, pool: str, amount: Decimal) -> None:
        self.cash[self._shards.of(account), pool] += amount

    # --- what people do

    def lent(self, account: str, pool: str, amount: Decimal) -> list[PositionEvent]:
        """Bring in an amount and supply it."""
        return [
            Deposit(asset=pool, amount=amount, **self._accounts.stamped(account)),
            Supplied(pool=pool, amount=amount, **self._accounts.stamped(account)),
        ]

    def borrowed(
        self, account: str, supplied: Mapping[str, Decimal], owed: Mapping[str, Decimal]
    ) -> list[PositionEvent]:
        """Bring in collateral, borrow against it and take what was borrowed away; nobody does
        where a pool has too little."""
        if any(self.there(account, pool) < amount for pool, amount in owed.items()):
            return []
        found: list[PositionEvent] = []
        for pool, amount in supplied.items():
            found += self.lent(account, pool, amount)
        for pool, amount in owed.items():
            stamped = self._accounts.stamped
            found.append(Borrow(pool=pool, amount=amount, **stamped(account)))
            found.append(Withdrawal(asset=pool, amount=amount, **stamped(account)))
        return found

    @exact
    def looped(
        self,
        account: str,
        supplied: tuple[str, Decimal],
        owed: tuple[str, Decimal],
        most: Decimal,
        rate: Decimal,
    ) -> list[PositionEvent]:
        """Borrow, exchange at `rate` and supply again, round by round, until so much is owed.

        `most` is what may be owed of what is supplied. Who finds too little cash stops there.
        """
        (pool, equity), (coin, debt) = supplied, owed
        found = self.lent(account, pool, equity)
        borrowed = ZERO
        for _ in range(MOST_ROUNDS):
            may = credit(equity * most * NEARLY, UNIT, rate) - borrowed
            amount = min(debt - borrowed, may)
            gone = ZERO if coin == pool else borrowed
            if amount <= 0 or self.there(account, coin) < gone + amount:
                break
            borrowed += amount
            found.append(Borrow(pool=coin, amount=amount, **self._accounts.stamped(account)))
            again = amount if coin == pool else credit(amount * rate, UNIT)
            if coin != pool:
                found.append(self._exchanged(account, coin, amount, pool, again))
            found.append(Supplied(pool=pool, amount=again, **self._accounts.stamped(account)))
            equity += again
        return found

    def _exchanged(
        self, account: str, coin: str, amount: Decimal, pool: str, proceeds: Decimal
    ) -> CollateralSold:
        return CollateralSold(
            margin=CROSS,
            asset=coin,
            amount=amount,
            for_asset=pool,
            proceeds=proceeds,
            **self._accounts.stamped(account),
        )


class Withdrawals:
    """Who wants his money back: asks for it, takes it away where it is paid, else asks again for
    what there is."""

    def __init__(
        self, desk: LoanDesk, accounts: Accounts, later: Callable[[int, Action], None]
    ) -> None:
        self._desk = desk
        self._accounts = accounts
        self._later = later

    def ask(
        self, account: str, pool: str, amount: Decimal, paid: Callable[[Decimal], None]
    ) -> list[PositionEvent]:
        """Ask for an amount once; `paid` is told when it was."""
        self._later(SETTLED, lambda: self._settled(account, pool, amount, paid))
        return [Redeemed(pool=pool, amount=amount, **self._accounts.stamped(account))]

    def leave(self, account: str, pool: str, amount: Decimal) -> list[PositionEvent]:
        """Ask for an amount, and go on until all of it was paid."""
        left = amount

        def paid(part: Decimal) -> None:
            nonlocal left
            left -= part

        def again() -> list[PositionEvent]:
            if not left:
                return []
            self._later(PATIENCE, again)
            there = min(left, credit(self._desk.there(account, pool), UNIT))
            return self.ask(account, pool, there, paid) if there >= left * ENOUGH else []

        self._later(PATIENCE, again)
        return self.ask(account, pool, amount, paid)

    def _settled(
        self, account: str, pool: str, amount: Decimal, paid: Callable[[Decimal], None]
    ) -> list[PositionEvent]:
        if not self._desk.was_paid(account, pool):
            return []
        paid(amount)
        return [Withdrawal(asset=pool, amount=amount, **self._accounts.stamped(account))]
