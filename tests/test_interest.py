"""Interest: rates rise with use, indices never fall, and no rounding is lost or made."""

from decimal import Decimal
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.interest import (
    YEAR,
    Accrual,
    Index,
    Ramp,
    RateCurve,
    Shares,
    growth,
    index_at,
    kinked_rate,
    nested_taylor_growth,
    power,
    present_value,
    principal_value,
    ramped,
    rate_per,
    simple_interest,
    supply_rate,
    taylor_growth,
    touched,
    utilization,
)
from engine.money import EXACT, ONE, exact

D = Decimal
SECOND = 1_000_000
STEP = D("1e-18")

methods = st.sampled_from(["linear", "compound", "taylor", "taylor_nested"])
# A thousandth of a billionth a second, 0.003 % a year, to ten times the amount in a year.
rates = st.integers(10**6, 3 * 10**11).map(lambda units: units * STEP)
times = st.lists(st.integers(0, 10**6).map(lambda seconds: seconds * SECOND), min_size=1)
fractions = st.integers(0, 10**6).map(lambda millionths: D(millionths) / 10**6)
amounts = st.integers(1, 10**24).map(Decimal)


def by_the_second(method: str) -> Accrual:
    return Accrual(method, SECOND)


# --- indices


@exact
@given(methods, rates, times)
def test_an_index_never_falls_between_touches(method: str, rate: Decimal, steps: list[int]) -> None:
    index = Index(ONE, rate, 0)
    read = [index_at(by_the_second(method), index, now) for now in accumulate(steps)]
    assert all(later >= earlier for earlier, later in pairwise([ONE, *read]))


@exact
@given(methods, st.lists(st.tuples(rates, st.integers(0, 10**12)), min_size=1))
def test_an_index_never_falls_over_touches(method: str, told: list[tuple[Decimal, int]]) -> None:
    index = Index(ONE, told[0][0], 0)
    now = 0
    for rate, elapsed in told:
        now += elapsed
        before = index_at(by_the_second(method), index, now)
        written = touched(by_the_second(method), index, now, rate)
        assert before >= written.value >= index.value
        assert index_at(by_the_second(method), written, now) == before
        index = written


@exact
@given(rates, rates, times, st.integers(0, 10**7))
def test_compounding_is_the_same_under_any_split_of_time(
    first: Decimal, second: Decimal, steps: list[int], fraction: int
) -> None:
    """A touch that changes no rate changes nothing, nor do parts of a second get lost."""
    rule = Accrual("compound", SECOND)
    once = often = Index(ONE, first, 0)
    now = 0
    for step in steps:
        now += step + fraction
        often = touched(rule, often, now, first)
    once, often = (touched(rule, index, now, second) for index in (once, often))
    assert once == often
    assert index_at(rule, once, now + SECOND) == index_at(rule, often, now + SECOND)


@exact
def test_a_touch_that_changes_the_rate_keeps_the_part_of_a_period_that_has_run() -> None:
    rule = Accrual("compound", SECOND)
    index = touched(rule, Index(ONE, D("0.1"), 0), 3 * SECOND // 2, D("0.2"))
    assert index == (D("1.1"), D("0.2"), SECOND)
    assert index_at(rule, index, 2 * SECOND) == D("1.32")


@exact
@given(st.integers(1, 2000), st.integers(0, 12), st.integers(0, 12))
def test_a_power_is_exact_and_composes_where_nothing_is_rounded(
    thousandths: int, first: int, second: int
) -> None:
    base, finest = D(thousandths).scaleb(-3), D("1e-90")
    whole = power(base, first + second, finest)
    assert whole == base ** (first + second)
    assert whole == power(base, first, finest) * power(base, second, finest)


@exact
@given(st.integers(0, 10**27).map(lambda units: units * D("1e-27")))
def test_an_expansion_stays_below_the_exponential(x: Decimal) -> None:
    wide = EXACT.copy()
    wide.prec, wide.traps = 60, dict.fromkeys(wide.traps, False)
    whole = wide.subtract(wide.exp(x), ONE)
    # Of the third order: the fourth is at most x⁴/24·e.
    missing = x**4 / 8 + 3 * D("1e-27")
    assert whole - missing <= taylor_growth(x, D("1e-27")) <= whole
    assert abs(nested_taylor_growth(x, D("1e-27")) - taylor_growth(x, D("1e-27"))) <= D("5e-27")


@exact
def test_a_rate_below_nothing_and_a_time_that_runs_backwards_are_refused() -> None:
    rule = Accrual()
    for rate, elapsed in ((D("-0.01"), 1), (D("0.01"), -1)):
        with pytest.raises(ValueError, match=r"would let an index fall"):
            growth(rule, rate, elapsed)
    with pytest.raises(ValueError, match="exponent -1 is negative"):
        power(ONE, -1)


@exact
def test_a_year_of_each_method() -> None:
    rate = D("0.1")
    assert growth(Accrual("linear"), rate, YEAR) == rate
    assert growth(Accrual("compound"), rate, YEAR) == rate
    assert growth(Accrual("compound"), rate, 2 * YEAR - 1) == rate
    assert growth(Accrual("taylor"), rate, YEAR) == D("0.105166666666666666666666666")
    assert growth(Accrual("taylor_nested"), rate, YEAR) == D("0.105166666666666666666666667")
    assert simple_interest(D(100), rate, YEAR // 4, D("0.01")) == D("2.5")


# --- rates


@exact
@given(fractions, fractions, fractions, st.booleans())
def test_a_rate_never_falls_with_use_and_has_no_step_at_the_kink(
    kink: Decimal, one: Decimal, other: Decimal, whole: bool
) -> None:
    curve = RateCurve(D("0.01"), kink, D("0.04"), D("0.75"), whole_slopes=whole)
    low, high = sorted((one, other))
    assert D("0.01") <= kinked_rate(curve, low) <= kinked_rate(curve, high)
    above = kinked_rate(curve, kink + STEP) - kinked_rate(curve, kink)
    assert 0 <= above <= STEP * 10**6


@exact
def test_a_curve_by_unit_of_use_and_over_the_whole_of_each_side() -> None:
    by_unit = RateCurve(D("0.01"), D("0.8"), D("0.05"), D("0.3"))
    assert [kinked_rate(by_unit, D(u)) for u in ("0", "0.4", "0.8", "0.9", "1")] == [
        D(rate) for rate in ("0.01", "0.03", "0.05", "0.08", "0.11")
    ]
    over = RateCurve(D("0.01"), D("0.8"), D("0.04"), D("0.6"), whole_slopes=True)
    assert [kinked_rate(over, D(u)) for u in ("0", "0.4", "0.8", "0.9", "1")] == [
        D(rate) for rate in ("0.01", "0.03", "0.05", "0.35", "0.65")
    ]


@exact
@given(st.integers(0, 10**12), st.integers(1, 10**12), fractions, rates)
def test_suppliers_never_earn_more_than_borrowers_pay(
    borrowed: int, supplied: int, reserve: Decimal, rate: Decimal
) -> None:
    borrowed = min(borrowed, supplied)
    used = utilization(D(borrowed), D(supplied))
    earned = supply_rate(rate, used, reserve)
    assert earned * supplied <= rate * borrowed * (1 - reserve)


@exact
def test_nothing_supplied_is_not_used() -> None:
    assert utilization(D(5), D(0)) == 0
    assert utilization(D(1), D(3), D("0.01"), "up") == D("0.34")
    assert rate_per(D("0.1"), 3, D("0.001")) == D("0.033")


# --- amounts


@exact
@given(amounts, amounts, amounts)
def test_nobody_gains_by_turning_assets_into_shares_and_back(
    assets: Decimal, shares: Decimal, amount: Decimal
) -> None:
    pool = Shares(assets, shares, ONE, D(10**6))
    assert pool.to_assets(pool.to_shares(amount, ONE, "down"), ONE, "down") <= amount
    assert pool.to_assets(pool.to_shares(amount, ONE, "up"), ONE, "up") >= amount


@exact
@given(amounts, st.integers(1, 10**6).map(lambda units: ONE + units * D("1e-6")))
def test_nobody_gains_by_turning_a_balance_into_principal(amount: Decimal, index: Decimal) -> None:
    assert present_value(principal_value(amount, index, ONE), index, ONE) <= amount
    assert present_value(-principal_value(-amount, index, ONE), index, ONE, "up") >= amount


# --- ramps


@exact
@given(st.integers(1, 10_000), st.integers(0, 10_000), st.integers(1, 10**9), times)
def test_a_threshold_falls_to_its_target_and_never_rises(
    start: int, target: int, duration: int, steps: list[int]
) -> None:
    step = D("0.0001")
    ramp = Ramp(start * step, 10**12, duration)
    places = [0, 10**12 - duration, *accumulate(steps), 10**12]
    read = [ramped(ramp, target * step, now, step) for now in sorted(places)]
    assert all(later <= earlier for earlier, later in pairwise(read))
    assert read[0] == max(ramp.start, target * step)
    assert read[-1] == target * step


@exact
def test_a_threshold_on_its_way_down_is_rounded_down() -> None:
    ramp = Ramp(D("0.9"), 3000, 3000)
    assert [ramped(ramp, D("0.4"), now, D("0.01")) for now in (1000, 1500, 2000)] == [
        D(read) for read in ("0.73", "0.65", "0.56")
    ]
    assert ramped(Ramp(D("0.4"), 3000, 3000), D("0.9"), 0, D("0.01")) == D("0.9")
