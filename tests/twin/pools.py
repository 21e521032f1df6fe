"""What a lending pool's indices are, what principals are worth, and the booking of interest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

from engine.interest import (
    Accrual,
    Index,
    index_at,
    kinked_rate,
    ramped,
    supply_rate,
    touched,
    utilization,
)
from engine.lending_profile import Lending, PoolRule, Terms
from engine.money import Rounding
from tests.twin.amounts import ONE, ZERO, ceil, decimal, floor, nearest
from tests.twin.books import Group, Pool, World

NO_RATE = decimal(ZERO)


def lending_of(world: World) -> Lending | None:
    """Return the rules of loans, if the profile has any."""
    return None if world.policy is None else world.policy.source.lending


def pool_names(world: World) -> list[str]:
    """Return the pools that the profile names."""
    lending = lending_of(world)
    return [] if lending is None else list(lending.pools)


def rules(world: World) -> Lending:
    """Return the rules of loans where there are some."""
    lending = lending_of(world)
    assert lending is not None
    return lending


def rule_of(world: World, name: str) -> PoolRule:
    """Return the rule of a pool."""
    return rules(world).pools[name]


def unit_of(world: World, name: str) -> Fraction:
    """Return the unit of the asset that a pool lends."""
    return world.unit(rule_of(world, name).asset)


# --- indices and amounts


def indices(world: World, name: str) -> tuple[Fraction, Fraction]:
    """Return what one principal supplied, and one owed, have grown to by now."""
    rule, pool = rule_of(world, name), world.lending.get(name)
    if pool is None:
        return ONE, ONE
    if rule.accrued_by == "venue":
        return Fraction(pool.supply.value), Fraction(pool.borrow.value)
    borrow = Fraction(index_at(rule.accrual, pool.borrow, world.time))
    if (own := _own_accrual(rule)) is not None:
        return Fraction(index_at(own, pool.supply, world.time)), borrow
    if not pool.supplied:
        return pool.booked_supply, borrow
    earned = pool.borrowed * (borrow - pool.booked_borrow) * (1 - Fraction(rule.reserve_factor))
    gained = floor(earned / pool.supplied, Fraction(rule.accrual.index_step))
    return pool.booked_supply + gained, borrow


def _own_accrual(rule: PoolRule) -> Accrual | None:
    """Return how the supply index grows where it does not just share what borrowers owe."""
    if rule.supply_rates is None and rule.supply_accrual is None:
        return None
    return rule.supply_accrual or rule.accrual


def rounded(value: Fraction, unit: Fraction, rounding: Rounding) -> Fraction:
    """Round in a direction given by name."""
    return {"down": floor, "up": ceil, "nearest": nearest}[rounding](value, unit)


def supplied_now(world: World, group: Group, name: str) -> Fraction:
    """Return what a group has in a pool."""
    supply, _ = indices(world, name)
    return floor(group.loans[name].supplied * supply, unit_of(world, name))


def owed_now(world: World, group: Group, name: str) -> Fraction:
    """Return what a group owes to a pool."""
    _, borrow = indices(world, name)
    exact = group.loans[name].owed * borrow
    return rounded(exact, unit_of(world, name), rule_of(world, name).owed)


# --- touches


@contextmanager
def touch(world: World, name: str) -> Iterator[Pool]:
    """Book a pool's interest, let its amounts be changed, then write indices and rates."""
    world.others_changed = True
    begun = Index(decimal(ONE), NO_RATE, world.time)
    pool = world.lending.setdefault(name, Pool(begun, begun))
    _book(world, name, pool, *indices(world, name))
    yield pool
    _write(world, name, pool)


def told_indices(world: World, name: str, supply: Fraction, borrow: Fraction) -> None:
    """Touch a pool at the indices that the venue tells."""
    with touch(world, name) as pool:
        _book(world, name, pool, supply, borrow)


def _book(world: World, name: str, pool: Pool, supply: Fraction, borrow: Fraction) -> None:
    rule, unit = rule_of(world, name), unit_of(world, name)
    owed = pool.borrowed * (borrow - pool.booked_borrow)
    earned = pool.supplied * (supply - pool.booked_supply)
    if rule.supply_rates is not None:
        kept = floor(owed - earned, unit)
    else:
        kept = floor(owed * Fraction(rule.reserve_factor), unit)
    pool.reserve += kept
    pool.dust += owed - earned - kept
    pool.booked_supply, pool.booked_borrow = supply, borrow


def _write(world: World, name: str, pool: Pool) -> None:
    rule, now = rule_of(world, name), world.time
    supply, borrow = decimal(pool.booked_supply), decimal(pool.booked_borrow)
    if rule.accrued_by == "venue":
        pool.supply, pool.borrow = Index(supply, NO_RATE, now), Index(borrow, NO_RATE, now)
        return
    borrowed = pool.borrowed * pool.booked_borrow
    whole = pool.supplied * pool.booked_supply
    if rule.utilization == "cash":
        whole = borrowed + pool.cash
    used = utilization(decimal(borrowed), decimal(whole))
    paid = kinked_rate(rule.rates, used)
    pool.borrow = touched(rule.accrual, pool.borrow, now, paid)
    own = _own_accrual(rule)
    if own is None:
        pool.supply = Index(supply, NO_RATE, now)
    elif rule.supply_rates is not None:
        pool.supply = touched(own, pool.supply, now, kinked_rate(rule.supply_rates, used))
    else:
        idle = borrowed + max(pool.cash, 0) + pool.deficit + pool.auctioned
        earning = utilization(decimal(borrowed), decimal(idle))
        earned = supply_rate(paid, earning, rule.reserve_factor)
        pool.supply = touched(own, pool.supply, now, earned)


# --- what loans are worth


@dataclass
class LoanHealth:
    """What a group has in a pool and owes it now, and how that counts in a context.

    `threshold` is None where the supply does not count; `price` 0 where there is none.
    """

    pool: str
    asset: str
    supplied: Fraction
    owed: Fraction
    price: Fraction
    threshold: Fraction | None
    weight: Fraction

    @property
    def worth(self) -> Fraction:
        """Return the value of what is supplied."""
        return self.supplied * self.price

    @property
    def debt(self) -> Fraction:
        """Return the value of what is owed."""
        return self.owed * self.price

    @property
    def counted(self) -> Fraction:
        """Return what the supply adds to margin equity."""
        return self.worth * (self.threshold or ZERO)

    @property
    def required(self) -> Fraction:
        """Return what the debt adds to the requirement."""
        return self.debt * self.weight


def category_of(world: World, group: Group) -> str:
    """Return the category chosen, or that of the group's own market."""
    own = group.margin.removeprefix("isolated:") if group.margin != "cross" else ""
    return group.category or (own if own in rules(world).categories else "")


def counting_terms(world: World, group: Group, name: str) -> Terms | None:
    """Return the terms at which a supply counts, none where it does not."""
    if not group.loans[name].enabled:
        return None
    category = rules(world).categories.get(category_of(world, group))
    if category is not None and name in category.collateral:
        return category.collateral[name]
    return rule_of(world, name).collateral


def has_backing(world: World, group: Group) -> bool:
    """Tell whether a group has a supply that counts."""
    return any(
        counting_terms(world, group, name) is not None
        for name, loan in sorted(group.loans.items())
        if loan.supplied
    )


def loans_of(world: World, group: Group, context: str) -> list[LoanHealth] | None:
    """Value every loan of a group by name of its pool; none if it is unpriced."""
    found = []
    for name in sorted(group.loans):
        loan = group.loans[name]
        if not loan.supplied and not loan.owed:
            continue
        asset = rule_of(world, name).asset
        terms = counting_terms(world, group, name)
        price = world.price(asset, "index")
        if price is None and (loan.owed or (terms is not None and loan.supplied)):
            return None
        found.append(
            LoanHealth(
                pool=name,
                asset=asset,
                supplied=supplied_now(world, group, name),
                owed=owed_now(world, group, name),
                price=ZERO if price is None else price,
                threshold=None if terms is None else _threshold(world, terms, context),
                weight=_weight(world, asset, context),
            )
        )
    return found


def _threshold(world: World, terms: Terms, context: str) -> Fraction:
    if context != "maintenance":
        return Fraction(terms.loan_to_value)
    if terms.ramp is None:
        return Fraction(terms.liquidation_threshold)
    return Fraction(ramped(terms.ramp, terms.liquidation_threshold, world.time))


def _weight(world: World, asset: str, context: str) -> Fraction:
    rule = world.rules.source.collateral_of(asset)
    if context != "maintenance" and rule.initial_borrow_weight is not None:
        return Fraction(rule.initial_borrow_weight)
    return Fraction(rule.borrow_weight)


def book_all(world: World) -> None:
    """Book the interest of every pool by the rules that end now."""
    for name, pool in world.lending.items():
        _book(world, name, pool, *indices(world, name))


def begin_anew(world: World) -> None:
    """Write the indices of every pool by the rules that begin now, forgetting what they lack."""
    for name in set(world.lending) - set(pool_names(world)):
        del world.lending[name]
    for name, pool in world.lending.items():
        pool.supply = Index(decimal(pool.booked_supply), NO_RATE, world.time)
        pool.borrow = Index(decimal(pool.booked_borrow), NO_RATE, world.time)
        _write(world, name, pool)
