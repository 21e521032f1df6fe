"""Exact arithmetic and its named roundings."""

from decimal import Decimal as D
from decimal import Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.money import (
    EXACT,
    ceil_to,
    charge,
    credit,
    fits,
    floor_to,
    from_units,
    plain,
    to_units,
    unit_of,
)

amounts = st.decimals(-(10**12), 10**12, places=8)
divisors = st.decimals("0.0001", 10**6, places=4)
steps = st.sampled_from([D(1), D("0.5"), D("0.01"), D("0.00000001"), D(25)])


@given(amounts, steps, divisors, st.booleans())
def test_rounding_goes_the_way_it_says_and_less_than_a_step(value, step, divisor, negative):
    divisor = -divisor if negative else divisor
    with localcontext(EXACT):
        low, high = floor_to(value, step, divisor), ceil_to(value, step, divisor)
    true = Fraction(value) / Fraction(divisor)
    assert Fraction(low) <= true <= Fraction(high)
    assert true - Fraction(low) < Fraction(step)
    assert Fraction(high) - true < Fraction(step)
    assert Fraction(low) % Fraction(step) == 0


@given(amounts, divisors)
def test_credit_and_charge_are_against_the_account(value, divisor):
    unit = unit_of(8)
    with localcontext(EXACT):
        true = Fraction(value) / Fraction(divisor)
        assert (
            Fraction(credit(value, unit, divisor)) <= true <= Fraction(charge(value, unit, divisor))
        )


@given(amounts)
def test_units_and_back(amount):
    with localcontext(EXACT):
        assert from_units(to_units(amount, 8), 8) == amount


def test_a_rounding_that_nobody_named_is_an_error():
    with localcontext(EXACT), pytest.raises(Inexact):
        D(1) / D(3)


def test_units_refuse_what_they_cannot_hold():
    with localcontext(EXACT), pytest.raises(ValueError, match="more than 2 decimals"):
        to_units(D("0.005"), 2)


@pytest.mark.parametrize(
    ("amount", "decimals", "expected"),
    [
        ("1.50", 1, True),
        ("1.55", 1, False),
        ("1E+3", 0, True),
        ("1E-500", 8, False),
        ("NaN", 8, False),
    ],
)
def test_fits(amount, decimals, expected):
    assert fits(D(amount), decimals) is expected


@pytest.mark.parametrize(
    ("number", "text"),
    [("1E-8", "0.00000001"), ("1000.500", "1000.5"), ("-0.00", "0"), ("1E+3", "1000")],
)
def test_plain(number, text):
    assert plain(D(number)) == text
