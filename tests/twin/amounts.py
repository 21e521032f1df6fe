"""Fractions, rounded where semantics.md says so, and their way back into decimals."""

from decimal import Decimal
from fractions import Fraction
from math import isqrt

ZERO = Fraction(0)
ONE = Fraction(1)
RATE_STEP = Fraction(1, 10**12)


def floor(value: Fraction, unit: Fraction) -> Fraction:
    """Round to a multiple of `unit`, towards −∞."""
    return value // unit * unit


def ceil(value: Fraction, unit: Fraction) -> Fraction:
    """Round to a multiple of `unit`, towards +∞."""
    return -(-value // unit) * unit


def nearest(value: Fraction, unit: Fraction) -> Fraction:
    """Round to the nearest multiple of `unit`, the upper one of two."""
    return floor(value + unit / 2, unit)


def root(value: Fraction, unit: Fraction = RATE_STEP) -> Fraction:
    """Return the square root, rounded up to a multiple of `unit`."""
    squares = int(ceil(value, unit * unit) / (unit * unit))
    below = isqrt(squares)
    return (below if below * below == squares else below + 1) * unit


def clamp(value: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """Return the number of [low, high] that is nearest to `value`."""
    return max(low, min(value, high))


def decimal(value: Fraction) -> Decimal:
    """Write a fraction whose denominator divides a power of ten as a decimal, exactly."""
    twos = (value.denominator & -value.denominator).bit_length() - 1
    rest, fives = value.denominator >> twos, 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    if rest != 1:
        raise ArithmeticError(f"{value} is no decimal number")
    places = max(twos, fives)
    return Decimal(f"{value.numerator * 10**places // value.denominator}E-{places}")


def decimals_of(places: int) -> Fraction:
    """Return the smallest unit of something kept to `places` decimals."""
    return Fraction(1, 10**places)


def whole(value: Decimal, unit: Fraction) -> bool:
    """Tell whether `value` is a number and a multiple of `unit`."""
    return value.is_finite() and Fraction(value) % unit == 0
