"""A lending pool: what it holds, and its indices, amounts and rates at a time; pure and exact.

Lenders and borrowers own principals; a principal times an index is what it has grown to. Between
two touches indices are computed from what was last written, so that time alone changes no state.
Interest is booked at touches, into what the pool owes and is owed; docs/semantics.md, 10, has the
formulas. Amounts are in the pool's asset.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.interest import (
    INDEX_STEP,
    Index,
    index_at,
    kinked_rate,
    supply_rate,
    touched,
    utilization,
)
from engine.lending_profile import PoolRule
from engine.money import ONE, ZERO, credit, floor_to, rounded

START = Index(ONE, ZERO, 0)


class LendingPool(NamedTuple):
    """The state of a pool.

    `supplied` and `borrowed` are sums of principals; `supply` and `borrow` the indices as written,
    `booked_supply` and `booked_borrow` their values up to which interest is booked. `reserve` is
    the pool's own, `dust` what rounding left, `deficit` bad debt that nobody bore, `auctioned` what
    auctions have to bring back, `adjusted` what snapshots changed. At all times, exactly: cash +
    borrowed·booked_borrow + auctioned + deficit = supplied·booked_supply + reserve + dust +
    adjusted.
    """

    cash: Decimal = ZERO
    supplied: Decimal = ZERO
    borrowed: Decimal = ZERO
    supply: Index = START
    borrow: Index = START
    booked_supply: Decimal = ONE
    booked_borrow: Decimal = ONE
    reserve: Decimal = ZERO
    dust: Decimal = ZERO
    deficit: Decimal = ZERO
    auctioned: Decimal = ZERO
    adjusted: Decimal = ZERO

    @property
    def imbalance(self) -> Decimal:
        """What the pool has too much, 0 unless something was booked on one side only."""
        has = self.cash + self.borrowed * self.booked_borrow + self.auctioned + self.deficit
        owes = self.supplied * self.booked_supply + self.reserve + self.dust + self.adjusted
        return has - owes


class Indices(NamedTuple):
    """What one unit of principal supplied, and one borrowed, have grown to."""

    supply: Decimal
    borrow: Decimal


def new_pool(now: int) -> LendingPool:
    """Return a pool that begins now."""
    begun = Index(ONE, ZERO, now)
    return LendingPool(supply=begun, borrow=begun)


def indices(rule: PoolRule, pool: LendingPool, now: int) -> Indices:
    """Return the indices at a time that is not before they were written."""
    if rule.accrued_by == "venue":
        return Indices(pool.supply.value, pool.borrow.value)
    borrow = index_at(rule.accrual, pool.borrow, now)
    if _own_index(rule):
        return Indices(index_at(rule.supply_accrual or rule.accrual, pool.supply, now), borrow)
    earned = pool.borrowed * (borrow - pool.booked_borrow) * (ONE - rule.reserve_factor)
    if not pool.supplied or not earned:
        return Indices(pool.booked_supply, borrow)
    gained = floor_to(earned, rule.accrual.index_step, pool.supplied)
    return Indices(pool.booked_supply + gained, borrow)


def _own_index(rule: PoolRule) -> bool:
    """Tell whether suppliers earn by an index of its own, not just what borrowers come to owe."""
    return rule.supply_rates is not None or rule.supply_accrual is not None


def supplied_amount(principal: Decimal, at: Indices, unit: Decimal) -> Decimal:
    """Return what a principal supplied is now, down to the unit, against who owns it."""
    return credit(principal * at.supply, unit)


def owed_amount(rule: PoolRule, principal: Decimal, at: Indices, unit: Decimal) -> Decimal:
    """Return what a principal borrowed is now, to the unit, as the pool rounds what is owed."""
    return rounded(principal * at.borrow, unit, rule.owed)


def utilized(rule: PoolRule, pool: LendingPool, at: Indices) -> Decimal:
    """Return what part of the pool is borrowed."""
    borrowed = pool.borrowed * at.borrow
    if rule.utilization == "supplied":
        return utilization(borrowed, pool.supplied * at.supply)
    return utilization(borrowed, borrowed + max(pool.cash, ZERO))


class Rates(NamedTuple):
    """What is paid and earned, per period of the indices they belong to."""

    supply: Decimal
    borrow: Decimal


def rates(rule: PoolRule, pool: LendingPool, at: Indices) -> Rates:
    """Return the rates that the pool's utilisation asks for; those of suppliers are 0 where they
    have no index of their own."""
    if rule.accrued_by == "venue":
        return Rates(ZERO, ZERO)
    used = utilized(rule, pool, at)
    paid = kinked_rate(rule.rates, used)
    if rule.supply_rates is not None:
        return Rates(kinked_rate(rule.supply_rates, used), paid)
    if rule.supply_accrual is not None:
        # What nobody pays interest on earns none: suppliers would be owed more than is paid.
        borrowed = pool.borrowed * at.borrow
        idle = max(pool.cash, ZERO) + pool.deficit + pool.auctioned
        earning = utilization(borrowed, borrowed + idle)
        return Rates(supply_rate(paid, earning, rule.reserve_factor), paid)
    return Rates(ZERO, paid)


def booked(rule: PoolRule, pool: LendingPool, at: Indices, unit: Decimal) -> LendingPool:
    """Return the pool with interest booked up to `at`: the reserve gets its part, rounding is
    dust."""
    owed = pool.borrowed * (at.borrow - pool.booked_borrow)
    earned = pool.supplied * (at.supply - pool.booked_supply)
    if rule.supply_rates is not None:
        kept = floor_to(owed - earned, unit)
    else:
        kept = floor_to(owed * rule.reserve_factor, unit)
    return pool._replace(
        booked_supply=at.supply,
        booked_borrow=at.borrow,
        reserve=pool.reserve + kept,
        dust=pool.dust + owed - earned - kept,
    )


def written(rule: PoolRule, pool: LendingPool, now: int) -> LendingPool:
    """Return the pool with its indices written now, at the rates of its utilisation."""
    at = Indices(pool.booked_supply, pool.booked_borrow)
    if rule.accrued_by == "venue":
        return pool._replace(supply=Index(at.supply, ZERO, now), borrow=Index(at.borrow, ZERO, now))
    due = rates(rule, pool, at)
    borrow = touched(rule.accrual, pool.borrow, now, due.borrow)
    if _own_index(rule):
        supply = touched(rule.supply_accrual or rule.accrual, pool.supply, now, due.supply)
    else:
        supply = Index(at.supply, ZERO, now)
    return pool._replace(supply=supply, borrow=borrow)


def socialised(pool: LendingPool, amount: Decimal, now: int) -> LendingPool:
    """Return the pool after its lenders bore an amount by their index, down, so that the dust of
    rounding is the pool's; `amount` is at most what `bearable` says."""
    after = floor_to(pool.supplied * pool.booked_supply - amount, INDEX_STEP, pool.supplied)
    return pool._replace(
        supply=Index(after, pool.supply.rate, now),
        booked_supply=after,
        dust=pool.dust + pool.supplied * (pool.booked_supply - after) - amount,
    )


def bearable(pool: LendingPool, unit: Decimal) -> Decimal:
    """Return what the lenders of a pool could lose, which leaves their index a trace above 0."""
    return max(ZERO, floor_to(pool.supplied * (pool.booked_supply - INDEX_STEP), unit))
