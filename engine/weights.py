"""What an asset and an unrealised profit count for in margin equity; pure and exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from engine.money import ONE
from engine.profile import Collateral, Profit
from engine.requirement import borrows_scale, deposits_scale, size_discount, size_premium

Context = Literal["maintenance", "initial", "entry"]
"""What health is taken for: to be liquidated, to stop at initial weights, to open or withdraw."""


def weight(
    rule: Collateral,
    amount: Decimal,
    context: Context = "maintenance",
    price: Decimal = ONE,
    pool: tuple[Decimal, Decimal] | None = None,
) -> Decimal:
    """Return what a unit of `amount` of an asset counts.

    `price` is the asset's in the numeraire, `pool` its deposits and borrows where they are told.
    """
    if amount > 0:
        haircut = rule.haircut
        if context != "maintenance" and rule.initial_haircut is not None:
            haircut = rule.initial_haircut
        counts = ONE - haircut
        if context == "entry" and rule.deposits_from is not None and pool is not None:
            counts = deposits_scale(counts, rule.deposits_from, pool[0] * price)
        return size_discount(counts, rule.size_factor, amount) if rule.size_factor else counts
    counts = rule.borrow_weight
    if context != "maintenance" and rule.initial_borrow_weight is not None:
        counts = rule.initial_borrow_weight
    if context == "entry" and rule.borrows_from is not None and pool is not None:
        counts = borrows_scale(counts, rule.borrows_from, pool[1] * price)
    return size_premium(counts, rule.size_factor, -amount) if rule.size_factor else counts


def counted(rule: Profit, amount: Decimal, context: Context = "maintenance") -> Decimal:
    """Return what an unrealised result, less its requirement where the rule says so, counts."""
    if amount <= 0:
        return amount
    if context == "maintenance":
        return amount * rule.weight
    share = rule.weight if rule.initial_weight is None else rule.initial_weight
    worth = amount * size_discount(share, rule.initial_size_factor, amount)
    return worth if rule.initial_cap is None else min(worth, rule.initial_cap)
