"""Who pays for a shortfall: which markets it belongs to, and which layer pays how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.money import ZERO, floor_to

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
