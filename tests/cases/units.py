"""Numbers of contracts, which are whole numbers of small units, as decimals and back."""

from __future__ import annotations

from decimal import Decimal

from tests.cases.accounts import Inputs, number

WAD, RAY, RAD, BPS, USD8 = 18, 27, 45, 4, 8
"""Decimals of contracts' numbers: rad is wad times ray; prices and values in dollars often have
eight."""

SECOND = 1_000_000


def of(inputs: Inputs, name: str, decimals: int = 0) -> Decimal:
    """Return a number that a contract keeps with so many decimals."""
    return number(inputs[name]).scaleb(-decimals)


def whole(value: Decimal, decimals: int) -> Decimal:
    """Return a value as a contract keeps it."""
    return value.scaleb(decimals)


def step_of(decimals: int) -> Decimal:
    """Return the smallest unit of what has so many decimals."""
    return Decimal(1).scaleb(-decimals)


def unit_of(inputs: Inputs, name: str) -> Decimal:
    """Return the smallest unit of a token of which `name` says how many make a whole."""
    return step_of(number(inputs[name]).adjusted())


def unit_of_decimals(inputs: Inputs, name: str) -> Decimal:
    """Return the smallest unit of a token by its decimals, six where they are not told, as a
    dollar's are."""
    return step_of(int(number(inputs.get(f"{name}_decimals", 6))))


def as_float(inputs: Inputs, name: str) -> Decimal:
    """Return a number just as a source that computes in floats has it: of a logarithm the sixteenth
    digit of what it is taken of is the fifteenth of the result."""
    return Decimal.from_float(float(number(inputs[name])))


def microseconds(inputs: Inputs, name: str) -> int:
    """Return a time that a contract keeps in seconds."""
    return int(number(inputs[name])) * SECOND
