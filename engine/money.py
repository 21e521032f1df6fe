"""Exact arithmetic: one decimal context, named rounding, limits of representation.

Every amount in the engine is a `Decimal` that is a whole number of its asset's smallest units;
every size is a whole number of its instrument's. Sums and products are exact (`Inexact` is
trapped), so only a division or a store can round, and each does so through a function below that
says in which direction and for whom.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
    localcontext,
)
from functools import cache, wraps
from math import isqrt
from typing import Literal, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

EXACT = Context(
    # The longest product is equity · requirement · mark of a bankruptcy price in another asset than
    # the numeraire: nine numbers of at most 30 digits each, before they are summed.
    prec=2048,
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, Underflow, Clamped, FloatOperation],
)
"""The engine's only decimal context; a rounding that nobody named raises `decimal.Inexact`."""

LARGEST_UNITS = 2**62 - 1
"""Amounts and sizes are kept as 64-bit whole numbers of smallest units, with room above the largest
that is allowed: a sum may pass it on the way to its result."""

ZERO = Decimal(0)
ONE = Decimal(1)

RATE_STEP = Decimal("1e-12")
"""What rates and weights that come of a division or a root are multiples of."""

Rounding = Literal["down", "up", "nearest"]
"""The direction in which a rule rounds; `nearest` is the upper of two that are equally near."""


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in the exact context, whatever the caller's context is."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(EXACT):
            return function(*args, **kwargs)

    return inside


def floor_to(value: Decimal, step: Decimal, divisor: Decimal = ONE) -> Decimal:
    """Return the largest multiple of `step` that is at most `value / divisor`."""
    whole, rest = divmod(value, divisor * step)
    if rest and (rest < 0) != (divisor < 0):
        whole -= 1
    return whole * step


def ceil_to(value: Decimal, step: Decimal, divisor: Decimal = ONE) -> Decimal:
    """Return the smallest multiple of `step` that is at least `value / divisor`."""
    return -floor_to(-value, step, divisor)


def nearest_to(value: Decimal, step: Decimal, divisor: Decimal = ONE) -> Decimal:
    """Return the multiple of `step` that is nearest to `value / divisor`, the upper one of two."""
    return floor_to(2 * value + divisor * step, step, 2 * divisor)


def rounded(value: Decimal, step: Decimal, rounding: Rounding, divisor: Decimal = ONE) -> Decimal:
    """Return the multiple of `step` that a rule makes of `value / divisor`."""
    if rounding == "down":
        return floor_to(value, step, divisor)
    return (ceil_to if rounding == "up" else nearest_to)(value, step, divisor)


def sqrt_up(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` that is at least √value; `value` is not negative."""
    squares = int(ceil_to(value, step * step) / (step * step))
    root = isqrt(squares)
    return (root + (root * root < squares)) * step


def credit(value: Decimal, unit: Decimal, divisor: Decimal = ONE) -> Decimal:
    """Round what an account receives or owns: down, against the account."""
    return floor_to(value, unit, divisor)


def charge(value: Decimal, unit: Decimal, divisor: Decimal = ONE) -> Decimal:
    """Round what an account pays or owes: up, against the account."""
    return ceil_to(value, unit, divisor)


@cache
def unit_of(decimals: int) -> Decimal:
    """Return the smallest unit of something kept to `decimals` decimals."""
    return Decimal((0, (1,), -decimals))


def from_units(units: int, decimals: int) -> Decimal:
    """Return the amount that `units` smallest units are."""
    return Decimal(units).scaleb(-decimals)


def to_units(amount: Decimal, decimals: int) -> int:
    """Return `amount` in smallest units.

    Raises `decimal.Inexact` or `ValueError` when it is not a whole number of them.
    """
    scaled = amount.scaleb(decimals)
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"{amount} has more than {decimals} decimals")
    return units


def fits(amount: Decimal, decimals: int) -> bool:
    """Tell whether `amount` has no more than `decimals` decimals (trailing zeros aside)."""
    unit = unit_of(decimals)
    if amount.same_quantum(unit):
        return True
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int):
        return False
    return exponent >= -decimals or amount == amount.quantize(unit, context=_ROUNDING)


_ROUNDING = Context(prec=2048)


def plain(value: Decimal) -> str:
    """Write `value` without an exponent and without superfluous zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
