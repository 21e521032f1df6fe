"""Black-76: published prices, parity, monotonicity, the limits at expiry, roundings."""

from decimal import Decimal as D
from math import erf, exp, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.instruments import Option, faults
from engine.options import (
    OptionInputs,
    black_76,
    moved_volatility,
    payoff,
    value,
    valued,
    volatility_move,
)
from engine.profile import DAY, Portfolio

EXPIRY = 1_700_000_000_000_000
RULE = Portfolio(price_moves=(D(0),), volatility_moves=(D(0),))

# E. G. Haug, The Complete Guide to Option Pricing Formulas, McGraw-Hill 1998, page 24: options on a
# future with strike 100 at 10 % interest. Years, volatility; calls and puts at 90, 100 and 110. The
# last digit there is that of an approximate normal distribution.
HAUG_TABLE = [
    (0.1, 0.15, (0.0205, 1.8734, 9.9413), (9.9210, 1.8734, 0.0408)),
    (0.1, 0.25, (0.3150, 3.1217, 10.3556), (10.2155, 3.1217, 0.4551)),
    (0.1, 0.35, (0.9474, 4.3693, 11.1381), (10.8479, 4.3693, 1.2376)),
    (0.5, 0.15, (0.8069, 4.0232, 10.5769), (10.3192, 4.0232, 1.0646)),
    (0.5, 0.25, (2.7026, 6.6997, 12.7857), (12.2149, 6.6997, 3.2734)),
    (0.5, 0.35, (4.9329, 9.3679, 15.3086), (14.4452, 9.3679, 5.7963)),
]


def option(kind: str = "call", strike: str = "100", **changes) -> Option:
    fields = {"size_decimals": 1, "price_decimals": 4, "tick": D("0.0001"), "lot": D("0.1")}
    fields |= {"largest_size": D(1_000_000), "underlying": "BTC", "expiry": EXPIRY}
    return Option("O", "USDT", **(fields | changes), kind=kind, strike=D(strike))


def inputs(iv="0.25", forward="100", discount="1", days: float = 182.5) -> OptionInputs:
    return OptionInputs(D(iv), D(forward), D(discount), EXPIRY - round(days * DAY))


@pytest.mark.parametrize(("years", "volatility", "calls", "puts"), HAUG_TABLE)
def test_haugs_table_of_black_76(years, volatility, calls, puts):
    for call, prices in ((True, calls), (False, puts)):
        for forward, price in zip((90, 100, 110), prices, strict=True):
            found = black_76(call, forward, 100.0, volatility, years, exp(-0.1 * years))
            assert found == pytest.approx(price, abs=1e-4)


@pytest.mark.parametrize("call", [True, False])
def test_haugs_example_on_brent_blend(call):
    """Haug 1998, 1.1.3: nine months, future and strike 19, interest 10 %, volatility 28 %."""
    assert black_76(call, 19, 19, 0.28, 0.75, exp(-0.075)) == pytest.approx(1.7011, abs=5e-5)


def test_hulls_example_on_crude_oil():
    """J. Hull, Options, Futures, and Other Derivatives, chapter on futures options: a put of four
    months, future and strike 20, interest 9 %, volatility 25 %: 1.12."""
    assert round(black_76(False, 20, 20, 0.25, 4 / 12, exp(-0.03)), 2) == 1.12


prices = st.floats(1, 1e6)
volatilities = st.floats(0, 5)
times = st.floats(0, 5)


@given(prices, prices, volatilities, times, st.floats(0.01, 2))
def test_put_call_parity(forward, strike, volatility, years, discount):
    """A call less a put is a forward: C − P = D·(F − K)."""
    call = black_76(True, forward, strike, volatility, years, discount)
    put = black_76(False, forward, strike, volatility, years, discount)
    rounding = 1e-12 * max(forward, strike)
    assert call - put == pytest.approx(discount * (forward - strike), abs=rounding)


@given(prices, prices, volatilities, times)
def test_a_value_lies_between_its_payoff_and_what_it_can_bring(forward, strike, volatility, years):
    rounding = 1e-12 * max(forward, strike)
    call = black_76(True, forward, strike, volatility, years)
    put = black_76(False, forward, strike, volatility, years)
    assert max(forward - strike, 0) - rounding <= call <= forward + rounding
    assert max(strike - forward, 0) - rounding <= put <= strike + rounding


@given(prices, prices, volatilities, times, st.floats(1, 2), st.sampled_from([True, False]))
def test_values_rise_with_volatility_and_time_and_follow_the_forward(
    forward, strike, volatility, years, factor, call
):
    rounding = 1e-12 * max(forward, strike)
    here = black_76(call, forward, strike, volatility, years)
    assert black_76(call, forward, strike, volatility * factor, years) >= here - rounding
    assert black_76(call, forward, strike, volatility, years * factor) >= here - rounding
    higher = black_76(call, forward * factor, strike, volatility, years)
    assert (higher - here) * (1 if call else -1) >= -rounding * factor


@pytest.mark.parametrize(("volatility", "years"), [(0.0, 1.0), (0.5, 0.0)])
def test_without_volatility_or_time_an_option_is_its_discounted_payoff(volatility, years):
    assert black_76(True, 110.0, 100.0, volatility, years, 0.9) == pytest.approx(9)
    assert black_76(True, 90.0, 100.0, volatility, years, 0.9) == 0
    assert black_76(False, 90.0, 100.0, volatility, years, 0.9) == pytest.approx(9)
    assert black_76(False, 110.0, 100.0, volatility, years, 0.9) == 0


@pytest.mark.parametrize("volatility", [1e-300, 1e-9, 30.0, 1e30])
def test_the_extremes_of_volatility_are_the_limits(volatility):
    """Almost none is the payoff; endless is worth the forward, or the strike."""
    call = black_76(True, 110.0, 100.0, volatility, 1.0)
    put = black_76(False, 110.0, 100.0, volatility, 1.0)
    assert (call, put) == pytest.approx((10, 0) if volatility < 1 else (110, 100))


def test_a_value_is_rounded_once_to_the_nearest_price_unit():
    """At the money F·(2·Φ(v·√T/2) − 1), here 100·erf(0.25·√0.5/√8) = 100·erf(0.0625)."""
    assert round(100 * erf(0.0625), 4) == 7.0432
    assert value(option(), inputs()) == D("7.0432")
    assert value(option(price_decimals=2), inputs()) == D("7.04")


def test_the_upper_one_of_two_is_taken():
    """At expiry the value is F − K; 0.375 and 0.125 lie halfway between hundredths."""
    at_expiry = inputs(forward="100.375", days=0)
    assert value(option(price_decimals=2), at_expiry) == D("0.38")
    assert value(option(price_decimals=2), inputs(forward="100.125", days=0)) == D("0.13")


def test_a_worthless_option_is_worth_nothing_whatever_its_digits():
    far = option(strike="1000000")
    assert value(far, inputs(iv="0.1")) == 0
    assert value(far, inputs(iv="0.2", days=1)) == 0


def test_an_option_quoted_in_coin_is_worth_the_same_in_coin():
    there = inputs(iv="0.6", forward="40000", days=30)
    in_quote = value(option(strike="42000"), there)
    in_coin = value(option(strike="42000", style="inverse", price_decimals=12), there)
    assert in_coin * 40000 == pytest.approx(in_quote, abs=D("0.0001"))


def test_time_runs_down_to_expiry_and_no_further():
    values = [value(option(), inputs(days=days)) for days in (100, 10, 1, 0.001, 0, -5)]
    assert values == sorted(values, reverse=True)
    assert values[-2:] == [0, 0]


def test_a_value_at_another_volatility_and_forward_keeps_the_rest():
    marked = inputs(discount="0.5")
    assert valued(option(), 0.25, D(100), marked) == value(option(), marked)
    assert valued(option(), 0.0, D(120), marked) == 10


@pytest.mark.parametrize(
    ("kind", "style", "price", "brings"),
    [
        ("call", "linear", "130", (30, 1)),
        ("call", "linear", "70", (0, 1)),
        ("put", "linear", "70", (30, 1)),
        ("call", "inverse", "130", (30, 130)),
        ("put", "inverse", "130", (0, 130)),
    ],
)
def test_payoff(kind, style, price, brings):
    assert payoff(option(kind, style=style), D(price)) == brings


def test_deribits_volatility_move_at_fifteen_days():
    """Base move 40 %, 15 days, exponent 0.5: 0.40·√2 (Deribit's documentation rounds to 0.566)."""
    assert volatility_move(D("0.40"), 15, D("0.5")) == pytest.approx(0.566, abs=5e-4)


@pytest.mark.parametrize(
    ("days", "factor"),
    [(30, 1), (7.5, 2), (1, 30**0.5), (0.25, 30**0.5), (0, 30**0.5), (120, 0.25)],
)
def test_moves_grow_towards_expiry_and_shrink_beyond_a_month(days, factor):
    """Exponents 0.5 below 30 days and 1 above; less than a day counts as one."""
    rule = Portfolio((D(0),), (D(0),), near_exponent=D("0.5"), far_exponent=D(1))
    moved = moved_volatility(option(), inputs(iv="0.5", days=days), D("0.1"), rule)
    assert moved == pytest.approx(0.5 * (1 + 0.1 * factor))


def test_absolute_moves_are_points_and_no_volatility_is_below_zero():
    rule = Portfolio((D(0),), (D(0),), volatility="absolute")
    marked = inputs(iv="0.5", days=30)
    assert moved_volatility(option(), marked, D("0.25"), rule) == 0.75
    assert moved_volatility(option(), marked, D("-0.75"), rule) == 0
    assert moved_volatility(option(), marked, D("-1.5"), RULE) == 0


def test_no_number_of_a_mark_that_can_be_read_breaks_the_formula():
    widest = [1e-30, 1.0, 1e30]
    for forward in widest:
        for strike in widest:
            for volatility in (0.0, *widest):
                for years in (0.0, 1e-13, 285.0):
                    found = black_76(True, forward, strike, volatility, years, 2.0)
                    assert -1e-12 * strike <= found < inf, (forward, strike, volatility, years)


def test_a_faulty_definition_is_named():
    assert faults(option()) == []
    found = faults(option(strike="0", underlying="", expiry=0))
    assert found == [
        "underlying '': an option needs one",
        "strike 0: not positive",
        "expiry 0: not positive",
    ]
