"""What a margin group holds, as the calculations see it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple


class Leg(NamedTuple):
    """A net position: signed size, and its cost in the settlement asset."""

    size: Decimal
    cost: Decimal


class Loan(NamedTuple):
    """Principals that a group supplied to a pool and owes it, and whether the supply backs its
    debts."""

    supplied: Decimal
    owed: Decimal
    enabled: bool = True


class Holdings(NamedTuple):
    """What a margin group holds: cash by asset, legs and own open orders (buy, sell) by symbol,
    loans by pool and the category they are counted in."""

    cash: Mapping[str, Decimal]
    legs: Mapping[str, Leg]
    orders: Mapping[str, tuple[Decimal, Decimal]] = {}
    loans: Mapping[str, Loan] = {}
    category: str = ""
