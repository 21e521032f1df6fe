"""How much of one asset brings health to zero, where owning and owing it count differently.

Pure and exact. Health is in the numeraire, a balance in its asset, < 0 where it is owed, unrealised
results of positions that settle in it included at their weight (`Health.counted`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.money import ZERO, ceil_to, exact, floor_to

AMOUNT_STEP = Decimal("1e-18")
"""What amounts that come of a division are multiples of, unless a rule says otherwise."""


class Worth(NamedTuple):
    """What health counts for a unit of an asset that is owned, and for one that is owed; > 0."""

    owned: Decimal
    owed: Decimal

    def of(self, balance: Decimal) -> Decimal:
        """Return what a balance adds to health."""
        return balance * (self.owned if balance > 0 else self.owed)


@exact
def taken_to_zero(
    health: Decimal, balance: Decimal, worth: Worth, step: Decimal = AMOUNT_STEP
) -> Decimal:
    """Return how much can be taken before health is used up: first what is owned, then by owing.

    0 where there is none left; down, so that health does not pass zero (Mango v4,
    health/cache.rs:120).
    """
    if health <= 0:
        return ZERO
    owned = max(balance, ZERO)
    left = health - worth.of(owned)
    if left <= 0:
        return floor_to(health, step, worth.owned)
    return owned + floor_to(left, step, worth.owed)


@exact
def given_to_zero(
    health: Decimal, balance: Decimal, worth: Worth, step: Decimal = AMOUNT_STEP
) -> Decimal:
    """Return how much must be given until health is no longer negative: first to what is owed.

    0 where it is not; up, so that health reaches zero (Mango v4, health/cache.rs:151).
    """
    if health >= 0:
        return ZERO
    owed = max(-balance, ZERO)
    short = -health - owed * worth.owed
    if short <= 0:
        return ceil_to(-health, step, worth.owed)
    return owed + ceil_to(short, step, worth.owned)
