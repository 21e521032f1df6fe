"""What a number of a profile must be, in words; each yields a fault, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

Faults = Iterator[str]

HUNDRED = Decimal(100)
"""Weights, factors and rates stay below it: more is a slip of the pen."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What accounts, pools and categories may be called: it is part of groups' and orders' names."""


def at(place: str, found: Iterable[str]) -> Faults:
    """Say where faults were found."""
    return (f"{place}: {fault}" for fault in found)


def within(value: Decimal, low: Decimal | int, high: Decimal | int) -> bool:
    """Tell whether low <= value < high."""
    return low <= value < high


def fraction(field: str, value: Decimal | None) -> Faults:
    """Yield a fault unless 0 <= value <= 1."""
    if value is not None and not (value == 1 or within(value, 0, 1)):
        yield f"{field} {value} not in [0, 1]"


def not_negative(field: str, value: Decimal | None) -> Faults:
    """Yield a fault for a value below 0."""
    if value is not None and value < 0:
        yield f"{field} {value} negative"


def positive(field: str, value: Decimal | int | None) -> Faults:
    """Yield a fault unless a value is above 0."""
    if value is not None and value <= 0:
        yield f"{field} {value} not positive"


def part(field: str, value: Decimal) -> Faults:
    """Yield a fault unless 0 <= value < 1."""
    if not within(value, 0, 1):
        yield f"{field} {value} not in [0, 1)"


def step(field: str, value: Decimal) -> Faults:
    """Yield a fault unless 0 < value < 1."""
    if not (within(value, 0, 1) and value > 0):
        yield f"{field} {value} not in (0, 1)"
