"""How much of what is owned, owed or gained counts in margin equity."""

from __future__ import annotations

from fractions import Fraction

from engine.profile import Collateral
from tests.twin.amounts import ONE, RATE_STEP, ZERO, ceil, floor, root
from tests.twin.books import World

DISCOUNT = Fraction(11, 10)
BLEND = Fraction(8, 10)


def weight(world: World, asset: str, amount: Fraction, price: Fraction, context: str) -> Fraction:
    """Return the weight of an amount of an asset in a context."""
    rule = world.rules.source.collateral.get(asset)
    if rule is None:
        return ZERO if amount > 0 else ONE
    supplied, borrowed = world.pools.get(asset, (ZERO, ZERO))
    if amount > 0:
        return _owned(rule, amount, supplied * price, context)
    return _owed(rule, -amount, borrowed * price, context)


def _owned(rule: Collateral, amount: Fraction, deposits: Fraction, context: str) -> Fraction:
    haircut = rule.haircut
    if context != "maintenance" and rule.initial_haircut is not None:
        haircut = rule.initial_haircut
    found = ONE - Fraction(haircut)
    if context == "entry" and rule.deposits_from is not None:
        start = Fraction(rule.deposits_from)
        if deposits > start:
            found = floor(found * start / deposits, RATE_STEP)
    return discounted(found, Fraction(rule.size_factor), amount)


def _owed(rule: Collateral, amount: Fraction, borrows: Fraction, context: str) -> Fraction:
    found = Fraction(rule.borrow_weight)
    if context != "maintenance" and rule.initial_borrow_weight is not None:
        found = Fraction(rule.initial_borrow_weight)
    if context == "entry" and rule.borrows_from is not None:
        start = Fraction(rule.borrows_from)
        if borrows > start:
            found = ceil(found * borrows / start, RATE_STEP)
    factor = Fraction(rule.size_factor)
    return max(found, BLEND * found + factor * root(amount)) if factor else found


def discounted(found: Fraction, factor: Fraction, amount: Fraction) -> Fraction:
    """Return a weight, no more than 1.1 ÷ (1 + factor·√amount)."""
    if not factor:
        return found
    return min(found, floor(DISCOUNT / (1 + factor * root(amount)), RATE_STEP))


def profit(world: World, gained: Fraction, context: str) -> Fraction:
    """Return what counts of a profit, or the whole of a loss."""
    rule = world.rules.source.profit
    if gained <= 0:
        return gained
    if context == "maintenance":
        return gained * Fraction(rule.weight)
    share = Fraction(rule.weight if rule.initial_weight is None else rule.initial_weight)
    counted = gained * discounted(share, Fraction(rule.initial_size_factor), gained)
    return counted if rule.initial_cap is None else min(counted, Fraction(rule.initial_cap))
