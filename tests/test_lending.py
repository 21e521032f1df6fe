"""Loans against collateral: what may be repaid, what is seized, and that no rounding of it favours
the liquidator over the pool."""

from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.lending import (
    Backing,
    CloseFactor,
    Pledge,
    Recognition,
    Side,
    TargetHealth,
    TargetLoanToValue,
    absorb,
    backing,
    bad_debt,
    health_factor,
    leaves_dust,
    loan_to_value,
    repay_by_close_factor,
    repay_to_health,
    repay_to_loan_to_value,
    undercollateralized,
    unrealized_bad_debt,
    without_dust,
)
from engine.money import ONE, ZERO, Rounding, exact
from engine.seizure import (
    HealthBonus,
    HealthDiscount,
    Seizure,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
    discount_factor,
    in_proportion,
    linear_impact,
    pool_impact,
    protocol_fee,
    repay_for,
    safe_at_threshold,
    seize,
    seize_at_discount,
    toxic,
    toxic_above,
    toxic_above_decaying,
)

D = Decimal

amounts = st.integers(0, 10**9).map(Decimal)
debts = st.integers(1, 10**9).map(Decimal)
values = st.integers(1, 10**9).map(Decimal)
prices = st.integers(1, 10**6).map(lambda cents: D(cents) / 100)
percents = st.integers(0, 100).map(lambda percent: D(percent) / 100)
bonuses = st.integers(0, 30).map(lambda percent: D(percent) / 100)
# Assets of two, eight and no decimals, as coarse as their rounding shows.
units = st.sampled_from([ONE, D("0.01"), D("1e-8")])


@st.composite
def sides(draw: st.DrawFn) -> Side:
    unit = draw(units)
    return Side(draw(amounts) * unit, draw(prices), unit)


# --- health


@exact
@given(values, percents, values)
def test_health_is_compared_as_its_factor_is(
    worth: Decimal, threshold: Decimal, owed: Decimal
) -> None:
    state = backing([Pledge(worth, threshold)], owed)
    factor = health_factor(state)
    assert factor is not None
    assert undercollateralized(state) == (factor < 1)
    assert undercollateralized(state, at_equality=True) == (worth * threshold <= owed)


@exact
def test_what_owes_nothing_has_no_health_factor_and_is_not_liquidated() -> None:
    for at_equality in (False, True):
        assert not undercollateralized(Backing(ZERO, ZERO), at_equality=at_equality)
    assert health_factor(Backing(D(5), ZERO)) is None
    assert loan_to_value(ZERO, ZERO) == 0
    assert loan_to_value(ONE, ZERO) is None
    assert loan_to_value(ONE, D(3), D("0.01")) == D("0.34")
    assert backing([Pledge(D("3.9"), D("0.5"))] * 2, ONE, ONE) == (2, 1)


# --- how much


@exact
@pytest.mark.parametrize(
    ("owed", "collateral", "counted", "repay"),
    [
        ("5000", "9000", "7800", "4000"),  # half of all that is owed, 8,000
        ("3000", "9000", "7800", "3000"),  # all of one debt, that is less
        ("5000", "9000", "7600", "5000"),  # a health factor of 0.95
        ("1999", "9000", "7800", "1999"),  # a small debt
        ("5000", "1999", "7800", "5000"),  # a small collateral
    ],
)
def test_a_close_factor_ends_with_health_and_size(
    owed: str, collateral: str, counted: str, repay: str
) -> None:
    rule = CloseFactor(of_account=True, full_at=D("0.95"), full_below=D(2000))
    debt = Side(D(owed), ONE, D("0.01"))
    state = Backing(D(counted), D(8000))
    assert repay_by_close_factor(rule, debt, D(collateral), state) == D(repay)
    alone = CloseFactor(D("0.3"))
    assert repay_by_close_factor(alone, debt, D(collateral), state) == D("0.3") * D(owed)


@exact
@given(debts, percents, percents, bonuses, st.integers(0, 99))
def test_the_least_repayment_reaches_a_target_of_health(
    owed: Decimal, health: Decimal, threshold: Decimal, bonus: Decimal, extra: int
) -> None:
    rule, penalty = TargetHealth(ONE + D(extra) / 100), threshold * (ONE + bonus)
    state = Backing(health * owed, owed)
    price, step = D("3.33"), D("0.01")
    found = repay_to_health(rule, state, price, step, penalty)
    if found is None:
        assert penalty >= rule.target
        return
    short = [
        rule.target * (owed - part * price) - (state.counted - part * price * penalty)
        for part in (found, found - step)
    ]
    assert short[0] <= 0 < short[1] or found == 0


@exact
@given(values, values, percents, bonuses)
def test_a_repayment_reaches_a_target_of_loan_to_value(
    owed: Decimal, collateral: Decimal, target: Decimal, bonus: Decimal
) -> None:
    assume(0 < target * (ONE + bonus) < 1)
    step = D("0.0001")
    rule = TargetLoanToValue(target, full_above=ONE)
    repay = repay_to_loan_to_value(rule, owed, collateral, bonus, step)
    if owed >= collateral:
        assert repay == owed
    elif owed <= target * collateral:
        assert repay == 0
    elif repay == owed:
        assert owed * (ONE + bonus) >= collateral  # the bonus takes all collateral
    else:
        held = [collateral - part * (ONE + bonus) for part in (repay, repay + step)]
        assert owed - repay >= target * held[0]
        assert owed - repay - step <= target * held[1]


@exact
@pytest.mark.parametrize(
    ("target", "owed", "bonus", "repay"),
    [
        ("0.5", "60", "0.2", "25"),  # 35 are left against 70
        ("0.5", "60", "1", "60"),  # no repayment reaches it
        ("0", "60", "0.2", "60"),
        ("0.5", "90", "0", "80"),
        ("0.5", "95", "0", "95"),  # 90 would be more than nine tenths
    ],
)
def test_a_target_that_leaves_next_to_nothing_leaves_nothing(
    target: str, owed: str, bonus: str, repay: str
) -> None:
    rule = TargetLoanToValue(D(target))
    assert repay_to_loan_to_value(rule, D(owed), D(100), D(bonus)) == D(repay)


@exact
def test_a_debt_of_which_dust_would_be_left_is_repaid_whole() -> None:
    debt = Side(D(1000), D(2), ONE)
    assert without_dust(D(500), debt, D(1000)) == 500
    assert without_dust(D(501), debt, D(1000)) == 1000
    assert without_dust(D(1000), debt, D(1000)) == 1000
    assert leaves_dust(D(999), D(5000), D(1000))
    assert leaves_dust(D(5000), D(999), D(1000))
    assert not leaves_dust(D(1000), D(1000), D(1000))
    assert not leaves_dust(ZERO, D(1), D(1000))
    assert not leaves_dust(D(1), ZERO, D(1000))


# --- the bonus


@exact
@given(percents, percents, percents, percents, percents)
def test_a_bonus_grows_as_health_falls(
    most: Decimal, share: Decimal, at: Decimal, one: Decimal, other: Decimal
) -> None:
    assume(at < 1)
    rule = HealthBonus(most, share, at)
    low, high = sorted((one, other))
    assert most >= bonus_by_health(rule, low) >= bonus_by_health(rule, high) >= 0
    assert bonus_by_health(rule, at) == most
    assert bonus_by_health(rule, ONE) == bonus_by_health(rule, D(2)) == most * share


@exact
@given(percents, percents, percents)
def test_a_bonus_by_threshold_falls_with_it_and_is_safe_at_it(
    one: Decimal, other: Decimal, cursor: Decimal
) -> None:
    rule = ThresholdBonus(cursor, most=ONE)
    low, high = sorted((one, other))
    assume(cursor * (ONE - low) < 1)
    assert bonus_by_threshold(rule, low) >= bonus_by_threshold(rule, high) >= 0
    assert safe_at_threshold(low, bonus_by_threshold(rule, low))


@exact
@given(percents, values, values)
def test_a_discount_is_what_health_is_short_of(
    most: Decimal, counted: Decimal, owed: Decimal
) -> None:
    state = Backing(counted, owed)
    for rounding in ("down", "up"):
        factor = discount_factor(HealthDiscount(most, rounding=rounding), state)
        health = health_factor(state, rounding=rounding)
        assert health is not None
        assert factor == min(max(health, ONE - most), ONE)
    assert factor * owed >= min(counted, owed)


# --- the collateral


@exact
@given(
    amounts,
    bonuses,
    sides(),
    sides(),
    st.sampled_from([None, "debt", "collateral"]),
    st.sampled_from([None, "up"]),
)
def test_rounding_never_favours_the_liquidator(
    wanted: Decimal,
    bonus: Decimal,
    collateral: Side,
    debt: Side,
    rounded_in: Literal["debt", "collateral"] | None,
    quoted: Rounding | None,
) -> None:
    repay = wanted * debt.unit
    found = seize(repay, bonus, collateral, debt, rounded_in=rounded_in, quoted=quoted)
    assert 0 <= found.seized <= collateral.amount
    assert 0 <= found.repaid <= repay
    assert found.seized * collateral.price <= found.repaid * debt.price * (ONE + bonus)
    assert found.seized % collateral.unit == 0
    assert found.repaid % debt.unit == 0


@exact
@given(amounts, bonuses, sides(), sides())
def test_what_is_repaid_for_a_seizure_pays_for_it(
    wanted: Decimal, bonus: Decimal, collateral: Side, debt: Side
) -> None:
    seized = wanted * collateral.unit
    worth = seized * collateral.price
    repaid = repay_for(seized, bonus, collateral, debt)
    parts = [(repaid - less * debt.unit) * debt.price * (ONE + bonus) for less in (0, 1)]
    assert parts[0] >= worth >= 0
    assert worth > parts[1]
    quoted = [
        repay_for(seized, bonus, collateral, debt, quoted=rounding) for rounding in ("down", "up")
    ]
    assert repaid - debt.unit <= quoted[0] <= repaid <= quoted[1] <= repaid + debt.unit


@exact
@given(values, percents, values)
def test_a_seizure_at_a_discount_is_paid_and_never_more_than_there_is(
    repay: Decimal, factor: Decimal, collateral: Decimal
) -> None:
    found = seize_at_discount(repay, factor, collateral, ONE)
    assert found.seized <= collateral
    assert found.repaid <= repay
    assert found.seized * factor <= found.repaid


@exact
def test_nobody_is_asked_for_more_than_he_offered() -> None:
    """Rounding up twice makes 2 of the 0.9545 that 1.05 of collateral is worth less the bonus."""
    collateral, debt = Side(D("1.05"), ONE, D("0.01")), Side(D(9), ONE, ONE)
    assert repay_for(D("1.05"), D("0.1"), collateral, debt, quoted="up") == 2
    assert seize(ONE, D("0.1"), collateral, debt, quoted="up") == Seizure(ONE, D("1.05"))


@exact
def test_what_is_worth_nothing_is_seized_for_nothing() -> None:
    nothing, debt = Side(D(7), ZERO, ONE), Side(D(5), ONE, ONE)
    assert seize(D(5), D("0.1"), nothing, debt) == Seizure(ZERO, D(7))
    assert seize_at_discount(D(5), ZERO, D(7), ONE) == Seizure(ZERO, D(7))
    assert in_proportion(ONE, ZERO, D(7), ONE) == 0
    assert in_proportion(ONE, D(3), D(7), ONE) == 2


@exact
@given(amounts, bonuses, percents, st.sampled_from(["down", "up"]), st.booleans())
def test_a_fee_is_of_the_bonus_alone(
    seized: Decimal, bonus: Decimal, share: Decimal, rounding: Rounding, whole_bonus: bool
) -> None:
    fee = protocol_fee(seized, bonus, share, ONE, rounding, whole_bonus=whole_bonus)
    over = fee * (ONE + bonus) - seized * bonus * share  # times 1 + bonus
    assert over >= 0 if rounding == "up" else over <= 0
    assert abs(over) < (1 + whole_bonus) * (ONE + bonus)
    assert fee <= seized


# --- toxicity


@exact
@given(sides(), percents, values, percents, sides(), amounts, bonuses)
def test_a_liquidation_never_lowers_health_unless_it_is_toxic(
    collateral: Side,
    threshold: Decimal,
    other: Decimal,
    other_threshold: Decimal,
    debt: Side,
    wanted: Decimal,
    bonus: Decimal,
) -> None:
    """Nor does it take health, above the frontier, to below it."""
    pledges = [Pledge(collateral.value, threshold), Pledge(other, other_threshold)]
    before = backing(pledges, debt.value)
    assume(debt.amount and not toxic(before, threshold, bonus))
    repay = min(wanted * debt.unit, debt.amount)
    found = seize(repay, bonus, collateral, debt)
    kept = pledges[0]._replace(value=(collateral.amount - found.seized) * collateral.price)
    after = backing([kept, pledges[1]], debt.value - found.repaid * debt.price)
    assert after.counted * before.debt >= before.counted * after.debt
    assert not toxic(after, threshold, bonus)


@exact
@given(percents, bonuses, values, values, st.integers(100, 200))
def test_the_frontier_is_where_a_single_collateral_becomes_toxic(
    threshold: Decimal, bonus: Decimal, owed: Decimal, worth: Decimal, impact: int
) -> None:
    assume(threshold)
    state, price = backing([Pledge(worth, threshold)], owed), D(impact) / 100
    loan = loan_to_value(owed, worth)
    assert loan is not None
    if toxic(state, threshold, bonus, price):
        assert loan > toxic_above(bonus, price)
    else:
        assert loan <= toxic_above(bonus, price) + D("2e-18")


@exact
def test_a_bonus_that_decays_moves_the_frontier() -> None:
    assert toxic_above_decaying(D("0.1"), D("0.86")) > toxic_above(D("0.1"))
    assert safe_at_threshold(D("0.95"), D("0.05"))
    assert not safe_at_threshold(D("0.95"), D("0.06"))
    assert not safe_at_threshold(D("0.95"), impact=D("1.06"))
    assert pool_impact(D(5), D(100)) == D("1.1")
    assert pool_impact(D(1), D(3), D("0.01")) == D("1.67")
    assert toxic_above(D("0.08"), step=D("0.01")) == D("0.92")
    assert linear_impact(D(10), D("0.02"), D(4)) == D("1.05")
    assert linear_impact(D(10), D("0.02"), D(4), D("0.5")) == D("1.1")


# --- whole accounts


@exact
@given(debts, st.lists(st.tuples(sides(), percents), max_size=4), prices, units)
def test_an_absorbed_account_keeps_what_is_over_and_leaves_what_is_short(
    owed: Decimal, collaterals: list[tuple[Side, Decimal]], price: Decimal, unit: Decimal
) -> None:
    debt = Side(owed * unit, price, unit)
    found = absorb(debt, collaterals, D("1e-8"))
    assert found.credited == debt.amount + found.balance
    assert not found.balance * found.uncovered
    covered = (found.credited - found.uncovered) * price
    assert covered <= sum((side.value * factor for side, factor in collaterals), ZERO)


@exact
def test_an_absorbed_collateral_is_rounded_by_price_and_again_by_factor() -> None:
    half = (Side(ONE, D("0.037"), ONE), D("0.5"))  # 0.03, of which 0.01
    found = absorb(Side(D("0.05"), ONE, D("0.01")), [half, half], D("0.01"))
    assert found == (ZERO, D("0.05"), D("0.03"))
    assert absorb(Side(D("0.05"), ONE, D("0.01")), [half, half]).uncovered == D("0.02")


@exact
@pytest.mark.parametrize(
    ("held", "worth", "recognised"),
    [
        ([3, 2], 50, {"insolvent": 30}),
        ([1, 0], 0, {"no_value": 80, "insolvent": 80}),
        ([0, 0], 0, {"no_collateral": 80, "no_value": 80, "insolvent": 80}),
        ([3, 2], 90, {}),
    ],
)
def test_bad_debt_is_recognised_by_policy(
    held: list[int], worth: int, recognised: dict[Recognition, int]
) -> None:
    policies: tuple[Recognition, ...] = ("no_collateral", "no_value", "insolvent")
    for policy in policies:
        found = bad_debt(policy, map(Decimal, held), D(worth), D(80))
        assert found == recognised.get(policy, 0)
    assert unrealized_bad_debt(D(worth), D(80)) == max(80 - worth, 0)
