"""Who pays for a shortfall: which markets it belongs to, and which layer pays how much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.money import ZERO, ceil_to, floor_to

Layer = tuple[str, str]
"""What kind of layer, and of a fund its name."""


class Payment(NamedTuple):
    """What one layer pays, and what it could have paid."""

    layer: Layer
    capacity: Decimal
    amount: Decimal


def allocate(amount: Decimal, capacities: Mapping[Layer, Decimal]) -> tuple[list[Payment], Decimal]:
    """Return what each layer pays, in their order, and what nobody pays.

    Each layer pays min(remaining, its capacity); none below starts before.
    """
    remaining = amount
    payments: list[Payment] = []
    for layer, capacity in capacities.items():
        paid = min(remaining, max(capacity, ZERO))
        payments.append(Payment(layer, capacity, paid))
        remaining -= paid
        assert not remaining or paid == max(capacity, ZERO), "none below starts before"
    return payments, remaining


def split(amount: Decimal, weights: Mapping[str, Decimal], unit: Decimal) -> dict[str, Decimal]:
    """Split `amount` in proportion to positive `weights`, each part rounded down to `unit`.

    The last by name takes what rounding leaves.
    """
    total = sum(weights.values(), ZERO)
    names = sorted(weights)
    parts = {name: floor_to(amount * weights[name], unit, total) for name in names[:-1]}
    parts[names[-1]] = amount - sum(parts.values(), ZERO)
    return parts


def shares(
    amount: Decimal, bearers: Sequence[tuple[Decimal, Decimal]], unit: Decimal
) -> list[Decimal]:
    """Return what each of those who are able to bear something is charged of an amount.

    In proportion to their weights, the first of each pair, rounded up; who is not able to bear its
    part (the second) bears what it can, and the others share what is left. In all at least
    min(amount, what they are able to), and less than a unit each more than that.
    """
    charges = [ZERO] * len(bearers)
    left, remaining = amount, list(range(len(bearers)))
    while remaining:
        total = sum((bearers[place][0] for place in remaining), ZERO)
        parts = {place: ceil_to(left * bearers[place][0], unit, total) for place in remaining}
        exhausted = [place for place in remaining if parts[place] > bearers[place][1]]
        if not exhausted:
            for place in remaining:
                charges[place] = parts[place]
            break
        for place in exhausted:
            charges[place] = bearers[place][1]
            left -= charges[place]
            remaining.remove(place)
    return charges
