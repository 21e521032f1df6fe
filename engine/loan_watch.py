"""What loans do to the screens: prices by principals and indices, and interest ahead of time.

Interest takes a group over a threshold without a price. A screen is therefore kept as it may be at
a horizon, an hour ahead: what debts can grow by until then is in it beforehand, at a bound on
prices and rates. Whom that takes over a threshold is looked at again when it could come to that;
at the horizon everybody's interest is drawn further. Floats that may only over-include.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.book import Group
from engine.loan_values import indices_now
from engine.profile import HOUR

if TYPE_CHECKING:
    from engine.book import Book
    from engine.lending_profile import Lending, PoolRule
    from engine.margin import Health
    from engine.markets import Markets
    from engine.pools import LendingPool
    from engine.rules import Rules

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

HORIZON = HOUR
"""How far ahead interest is reckoned with, in microseconds, while rates are what they usually
are."""

HEADROOM = 4.0
"""Rates and prices may go up by this factor before interest ahead is reckoned anew: no price goes
further before its holders are noted again (`watch.STRAYED`, both ways), nor a rate."""

GROWTH = 0.1
"""An index grows by no more than this until the horizon; so its growth may be taken for linear."""


class LoanNote(NamedTuple):
    """What loans add to a group's screens: gross value, what is rounded, and by how much
    maintenance and margin equity may grow a microsecond, in the numeraire."""

    gross: float
    rounded: float
    raised: float
    gained: float


NO_LOANS = LoanNote(0.0, 0.0, 0.0, 0.0)


class LoanWatch:
    """Loans of one shard's book, as the screens see them."""

    def __init__(self, book: Book, rules: Rules, markets: Markets) -> None:
        self._book = book
        self._rules = rules
        self._markets = markets
        self._backed: dict[str, Floats] = {}
        self._due: dict[str, Floats] = {}
        self._speeds: dict[str, tuple[float, float]] = {}
        self._written: dict[str, tuple[float, float]] = {}
        self._ramps: dict[str, tuple[int, float]] = {}
        self._heap: list[tuple[int, int, Group]] = []
        self._waiting: dict[Group, int] = {}
        self._order = itertools.count()
        self.horizon = 0

    def new_rules(self, size: int) -> None:
        """Take over changed rules, with room for so many rows; every group is noted after."""
        lending, now = self._rules.lending, self._markets.now
        pools = lending.pools if lending else {}
        self._backed = {name: np.zeros(size) for name in pools}
        self._due = {name: np.zeros(size) for name in pools}
        self._speeds, self._ramps = {}, {}
        self._heap, self._waiting = [], {}
        for name in pools:
            self._measure(name)
            ramps = list(_ramps(lending, name, now)) if lending else []
            if ramps:
                self._ramps[name] = max(until for until, _ in ramps), max(s for _, s in ramps)
        self.horizon = now + self._ahead()

    def grow(self, room: int) -> None:
        """Make room for more rows."""
        for columns in (self._backed, self._due):
            for name, column in columns.items():
                columns[name] = np.concatenate([column, np.zeros(room)])

    def _measure(self, name: str) -> None:
        """Bound the speeds of a pool's indices, a microsecond, and note where they stand."""
        at = indices_now(name, self._rules, self._markets)
        self._written[name] = (float(at.supply), float(at.borrow))
        state = self._markets.lending.get(name)
        speeds = (0.0, 0.0) if state is None else speeds_of(self._rules.pool(name), state)
        self._speeds[name] = (HEADROOM * speeds[0], HEADROOM * speeds[1])

    def _ahead(self) -> int:
        """Return how far ahead no index grows by more than `GROWTH` at its bound."""
        fastest = max(
            (
                speed / index
                for name, speeds in self._speeds.items()
                for speed, index in zip(speeds, self._written[name], strict=True)
                if index
            ),
            default=0.0,
        )
        return HORIZON if fastest * HORIZON <= GROWTH else max(1, int(GROWTH / fastest))

    def note(self, row: int, state: Health) -> LoanNote:
        """Take over a group's loans."""
        if not self._due:
            return NO_LOANS
        for column in (*self._backed.values(), *self._due.values()):
            column[row] = 0.0
        gross = rounded = raised = gained = 0.0
        for loan in state.loans:
            decimals = self._book.pools[loan.pool]
            lent = float(self._book.supplied_column(loan.pool)[row]) * 10.0**-decimals
            due = float(self._book.owed_column(loan.pool)[row]) * 10.0**-decimals
            backed, owing = lent * float(loan.threshold), due * float(loan.weight)
            self._backed[loan.pool][row], self._due[loan.pool][row] = backed, owing
            price = float(loan.price)
            gross += (float(loan.supplied) + float(loan.owed) * float(loan.weight)) * price
            rounded += 10.0**-decimals * price * (1.0 + float(loan.weight))
            supply, borrow = self._speeds[loan.pool]
            raised += owing * borrow * price * HEADROOM
            gained += backed * supply * price * HEADROOM
            if backed and loan.pool in self._ramps:
                raised += float(loan.supplied) * price * HEADROOM * self._ramps[loan.pool][1]
        return LoanNote(gross, rounded, raised, gained)

    def moved(self, asset: str, rows: Rows, step: float) -> tuple[Floats, Floats] | None:
        """Return what a step of an asset's price adds to margin equity and maintenance of rows;
        none where thresholds are on their way, and everybody is to be looked at."""
        lending = self._rules.lending
        gained, raised = np.zeros(len(rows)), np.zeros(len(rows))
        for name, rule in lending.pools.items() if lending else ():
            if rule.asset != asset:
                continue
            if name in self._ramps and self._backed[name][rows].any():
                return None
            at = indices_now(name, self._rules, self._markets)
            gained += _times(self._backed[name][rows], float(at.supply) * step)
            raised += _times(self._due[name][rows], float(at.borrow) * step)
        return gained, raised

    def wait(self, group: Group, slack: float, speed: float) -> None:
        """Have a group looked at when what it has left may be used up, at a speed a microsecond,
        if that is before the horizon."""
        ahead = max(1.0, slack / speed * 0.999) if slack > 0 else 1.0
        if ahead > self.horizon - self._markets.now:
            return
        due = self._markets.now + int(ahead)
        if due < self._waiting.get(group, self.horizon + 1):
            self._waiting[group] = due
            heapq.heappush(self._heap, (due, next(self._order), group))

    def due(self, now: int) -> list[Group]:
        """Return the groups whose time has come."""
        found: dict[Group, None] = {}
        while self._heap and self._heap[0][0] <= now:
            due, _, group = heapq.heappop(self._heap)
            if self._waiting.get(group) == due:
                del self._waiting[group]
                found[group] = None
        return list(found)

    def draw_further(self, now: int) -> tuple[Floats, Floats]:
        """Move the horizon, and return by how much maintenance and margin equity may have grown
        since interest was last reckoned, and may until then, over all rows."""
        before_all = dict(self._written)
        for name in self._due:
            self._measure(name)
        ahead = self._ahead()
        self.horizon = now + ahead
        raised, gained = self._nothing()
        for name in self._due:
            before, after, speeds = before_all[name], self._written[name], self._speeds[name]
            price = self._price_bound(self._rules.pool(name))
            grown = (after[1] - before[1] + speeds[1] * ahead) * price
            raised += _times(self._due[name], grown)
            gained += _times(self._backed[name], (after[0] - before[0] + speeds[0] * ahead) * price)
        return raised, gained

    def written(self, name: str, state: LendingPool) -> tuple[Floats, Floats] | None:
        """Return what interest until the horizon is more where a pool's rates passed their
        bounds, over all rows; none where they did not."""
        speeds = speeds_of(self._rules.pool(name), state)
        bounds = self._speeds[name]
        if speeds[0] <= bounds[0] and speeds[1] <= bounds[1]:
            return None
        self._speeds[name] = (
            max(bounds[0], HEADROOM * speeds[0]),
            max(bounds[1], HEADROOM * speeds[1]),
        )
        self.horizon = min(self.horizon, self._markets.now + self._ahead())
        left = self.horizon - self._markets.now
        price = self._price_bound(self._rules.pool(name))
        raised = self._due[name] * (self._speeds[name][1] * left * price)
        return raised, self._backed[name] * (self._speeds[name][0] * left * price)

    def told(self, name: str, supply: float, borrow: float) -> tuple[Floats, Floats]:
        """Return what a pool's indices that grew by so much add to maintenance and margin equity,
        over all rows."""
        price = self._price_bound(self._rules.pool(name))
        return self._due[name] * (borrow * price), self._backed[name] * (supply * price)

    def ramps_over(self, now: int) -> list[Group]:
        """Return who supplied to pools whose thresholds are or were on their way."""
        found: list[Group] = []
        for name, (until, _) in list(self._ramps.items()):
            found += self._book.suppliers(name)
            if until <= now:
                del self._ramps[name]
        return found

    def forget(self, group: Group) -> None:
        """Stop waiting for a group that is no more."""
        self._waiting.pop(group, None)

    def equity(self) -> tuple[Floats, Floats, Floats]:
        """Return what loans add to the equity of all rows, gross, and by how much it is rounded."""
        size = self._book.capacity
        equity, gross, rounded = np.zeros(size), np.zeros(size), np.zeros(size)
        for name, decimals, supplied, owed in self._book.loan_columns():
            at = indices_now(name, self._rules, self._markets)
            worth = float(self._rules.price_of(self._rules.pool(name).asset, self._markets) or 0)
            unit = 10.0**-decimals * worth
            lent, due = supplied * (float(at.supply) * unit), owed * (float(at.borrow) * unit)
            equity += lent - due
            gross += lent + due
            rounded += 2 * unit * ((supplied != 0) | (owed != 0))
        return equity, gross, rounded

    def levels(self) -> tuple[Floats, Floats, Floats]:
        """Return what supplies add to the margin equity of all rows, debts to maintenance, and by
        how much either is rounded; NaN where a price is missing. Thresholds on their way are those
        when a group was last noted."""
        counted, required = self._nothing()
        rounded = np.zeros(len(counted))
        for name in self._due:
            at, rule = indices_now(name, self._rules, self._markets), self._rules.pool(name)
            price = self._rules.price_of(rule.asset, self._markets)
            worth = float("nan") if price is None else float(price)
            unit = 10.0 ** -self._book.pools[name] * worth if name in self._book.pools else 0.0
            held = (self._backed[name] != 0) | (self._due[name] != 0)
            weight = float(self._rules.in_force.collateral_of(rule.asset).borrow_weight)
            rounded[held] += unit * max(1.0, weight)
            counted += _times(self._backed[name], float(at.supply) * worth)
            required += _times(self._due[name], float(at.borrow) * worth)
        return counted, required, rounded

    def counted(self) -> Iterator[tuple[str, Rows, Floats, Floats]]:
        """Yield each pool with the rows of its suppliers and debtors, and what supplies and debts
        count for, in the asset, as they were noted, with interest until now."""
        for name, backed in self._backed.items():
            due, at = self._due[name], indices_now(name, self._rules, self._markets)
            rows = np.flatnonzero((backed != 0) | (due != 0))
            yield name, rows, backed[rows] * float(at.supply), due[rows] * float(at.borrow)

    def _nothing(self) -> tuple[Floats, Floats]:
        size = len(next(iter(self._due.values()))) if self._due else 0
        return np.zeros(size), np.zeros(size)

    def _price_bound(self, rule: PoolRule) -> float:
        return HEADROOM * float(self._rules.price_of(rule.asset, self._markets) or 0)


def _times(held: Floats, by: float) -> Floats:
    """Return held·by, where nothing stays nothing, be the index beyond all floats."""
    product: Floats = np.multiply(held, by, out=np.zeros_like(held), where=held != 0)
    return product


def _ramps(lending: Lending, pool: str, now: int) -> Iterator[tuple[int, float]]:
    """Yield the end of every ramp of a supply that is not over, and its fall a microsecond."""
    rules = [lending.pools[pool].collateral]
    rules += [category.collateral.get(pool) for category in lending.categories.values()]
    for terms in rules:
        if terms is not None and terms.ramp is not None and terms.ramp.until > now:
            fall = float(terms.ramp.start - terms.liquidation_threshold)
            yield terms.ramp.until, max(0.0, fall) / terms.ramp.duration


def speeds_of(rule: PoolRule, state: LendingPool) -> tuple[float, float]:
    """Return how fast a pool's supply and borrow index grow, a microsecond, at most as long as
    neither has doubled."""
    borrow = 2.0 * float(state.borrow.rate) * float(state.borrow.value) / rule.accrual.period
    if rule.supply_rates is not None or rule.supply_accrual is not None:
        period = (rule.supply_accrual or rule.accrual).period
        return 2.0 * float(state.supply.rate) * float(state.supply.value) / period, borrow
    if not state.supplied:
        return 0.0, borrow
    return borrow * float(state.borrowed) / float(state.supplied), borrow
