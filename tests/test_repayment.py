"""Plans of liquidations of loans: how much, of which pair, at which bonus, what is left, what is
lost."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.lending import (
    CloseFactor,
    FullRepayment,
    TargetHealth,
    TargetLoanToValue,
    WholeAccount,
)
from engine.lending_profile import Dust, Terms
from engine.margin import Health, health
from engine.money import ZERO, exact, floor_to
from engine.repayment import health_of
from engine.seizure import FixedBonus, HealthBonus, HealthDiscount, ThresholdBonus
from tests.loan_account import BTC, ETH, FIXED, USD, Account, eth_account

CENT = USD.unit


# --- how much


@exact
def test_a_close_factor_repays_its_share():
    assert eth_account(repay=CloseFactor()).seizure() == ("500 USD", "0.45 ETH")


@exact
def test_a_close_factor_repays_all_at_a_low_health():
    deep = CloseFactor(full_at=D("0.95"))
    assert eth_account(repay=deep).seizure() == ("500 USD", "0.45 ETH")
    # Health 0.944: all is repaid, as far as the collateral goes.
    assert eth_account("1180", repay=deep).seizure() == ("1000 USD", "0.9152 ETH")


@exact
def test_a_target_health_is_reached_and_no_more():
    account = eth_account(repay=TargetHealth(D("1.05")))
    # (1.05·1000 − 960) ÷ (1.05 − 0.8·1.08) = 483.870…
    assert account.seizure() == ("483.88 USD", "0.4354 ETH")


@exact
def test_a_target_out_of_reach_takes_all():
    rich = Terms(D("0.9"), D("0.95"), FixedBonus(D("0.1")))
    account = eth_account("1050", repay=TargetHealth(D("1.04")), terms={"ETH": rich})
    # 1000·1.1 is worth more than 1 ETH at 1,050: all of it, for 1050/1.1.
    assert account.seizure() == ("954.55 USD", "1 ETH")


@exact
def test_a_target_loan_to_value_is_reached():
    account = eth_account(repay=TargetLoanToValue(D("0.7")))
    # (1000 − 0.7·1200) ÷ (1 − 0.7·1.08) = 655.737…
    assert account.seizure() == ("655.73 USD", "0.5901 ETH")
    tight = TargetLoanToValue(D("0.7"), full_above=D("0.6"))
    assert eth_account(repay=tight).seizure() == ("1000 USD", "0.9 ETH")


@exact
def test_full_repayment_takes_what_the_collateral_pays():
    assert eth_account().seizure() == ("1000 USD", "0.9 ETH")
    assert eth_account("1000").seizure() == ("925.93 USD", "1 ETH")


@exact
def test_a_whole_account_is_taken_whatever_it_owes():
    account = Account(
        {"ETH": "1", "BTC": "0.1"},
        {"USD": "1000"},
        {"ETH": "1200", "BTC": "2000"},
        repay=WholeAccount(),
    )
    found = [(one.repay, one.seize, one.collateral, one.toxic) for one in account.seizures()]
    assert found == [
        (D("1111.12"), D(1), "ETH", False),
        (D("185.19"), D("0.1"), "BTC", False),
    ]


@exact
def test_a_debt_too_small_to_be_left_is_repaid_too():
    half = {"repay": CloseFactor()}
    assert eth_account(**half, pool={"least_debt": D(500)}).seizure()[0] == "500 USD"
    assert eth_account(**half, pool={"least_debt": D("500.01")}).seizure()[0] == "1000 USD"


@exact
def test_at_least_one_unit_of_collateral_is_taken():
    """A group barely below its threshold, or with a debt of a unit, has a pair all the same."""
    barely = eth_account("1249.99", repay=TargetHealth())
    # Health short of 1 by 0.008 USD: 0.06 USD would restore it, and take nothing.
    assert barely.seizure() == ("0.13 USD", "0.0001 ETH")
    tiny = Account({"ETH": "1"}, {"USD": "0.02"}, {"ETH": "100"}, repay=CloseFactor())
    assert tiny.seizure() == ("0.01 USD", "0.0001 ETH")


# --- bonus


@exact
@pytest.mark.parametrize(
    ("bonus", "expected"),
    [
        (FixedBonus(D("0.05")), "0.05"),
        # 0.02 + (0.1 − 0.02)·(1 − 0.96) ÷ (1 − 0.5)
        (HealthBonus(D("0.1"), D("0.2"), D("0.5")), "0.0264"),
        (ThresholdBonus(), "0.063829787234042553"),  # 1 ÷ (1 − 0.3·0.2) − 1
        (HealthDiscount(D("0.15")), "0.041666666666666666"),  # 1 ÷ 0.96 − 1
        (HealthDiscount(D("0.01")), "0.010101010101010101"),
    ],
)
def test_the_bonus_of_each_rule(bonus, expected):
    account = eth_account(terms={"ETH": Terms(D("0.7"), D("0.8"), bonus)})
    assert health_of(account.state) == D("0.96")
    (found,) = account.seizures()
    assert found.bonus == D(expected)
    assert found.seize == floor_to(1000 * (1 + found.bonus), ETH.unit, D(1200))


@exact
def test_the_pool_keeps_its_share_of_the_bonus():
    shared = Terms(D("0.7"), D("0.8"), FIXED, protocol_fee=D("0.5"))
    (found,) = eth_account(terms={"ETH": shared}).seizures()
    assert (found.seize, found.fee) == (D("0.9"), D("0.0334"))  # 0.9·0.08÷1.08·0.5, up
    assert found.paid_in == "cash"
    (found,) = eth_account(terms={"ETH": shared}, pool_cash="0.8665").seizures()
    assert found.paid_in == "supply"
    (found,) = eth_account(terms={"ETH": shared}, pool_cash="0.8666").seizures()
    assert found.paid_in == "cash"


# --- dust


@exact
@pytest.mark.parametrize(
    ("remedy", "expected"),
    [
        # Of the debt 200 would be left: enough. Below, of the collateral 220·… too.
        ("all", ("800 USD", "0.72 ETH")),
        ("leave", ("800 USD", "0.72 ETH")),
    ],
)
def test_what_leaves_enough_is_left_alone(remedy, expected):
    account = eth_account(repay=CloseFactor(D("0.8")), dust=Dust(D(200), remedy))
    assert account.seizure() == expected


@exact
def test_dust_of_a_debt_is_taken_or_not_made():
    part = CloseFactor(D("0.8"))
    account = eth_account(repay=part, dust=Dust(D("200.01"), "all"))
    assert account.seizure() == ("1000 USD", "0.9 ETH")
    account = eth_account(repay=part, dust=Dust(D("250"), "leave"))
    assert account.seizure() == ("750 USD", "0.675 ETH")


@exact
def test_dust_of_a_collateral_is_taken_or_not_made():
    part = CloseFactor(D("0.9"))
    # 0.0281 ETH would be left, worth 28 USD, of a debt with 100 left.
    account = eth_account("1000", repay=part, dust=Dust(D(50), "all"))
    assert account.seizure() == ("925.93 USD", "1 ETH")
    account = eth_account("1000", repay=part, dust=Dust(D(50), "leave"))
    assert account.seizure() == ("879.62 USD", "0.9499 ETH")
    # Nothing can be repaid that leaves so much of both: all of it.
    account = eth_account("1000", repay=part, dust=Dust(D(1100), "leave"))
    assert account.seizure() == ("925.93 USD", "1 ETH")


# --- which


def two_by_two(**rules: Any) -> Account:
    low = Terms(D("0.4"), D("0.5"), FIXED)
    return Account(
        {"ETH": "1", "BTC": "0.3"},
        {"USD": "700", "ETH": "0.5"},
        {"ETH": "1000", "BTC": "2000"},
        terms={"BTC": low},
        **rules,
    )


@exact
@pytest.mark.parametrize(
    ("rules", "debt", "collateral"),
    [
        ({}, "USD", "ETH"),
        ({"debt_first": "smallest"}, "ETH", "ETH"),
        ({"collateral_first": "lowest_threshold"}, "USD", "BTC"),
        ({"debt_first": "smallest", "collateral_first": "lowest_threshold"}, "ETH", "BTC"),
    ],
)
def test_which_debt_and_which_collateral_come_first(rules, debt, collateral):
    (found,) = two_by_two(**rules).seizures()
    assert (found.pool, found.collateral) == (debt, collateral)


@exact
def test_what_is_halted_or_does_not_count_is_passed_over():
    account = two_by_two()
    account.rules.halted = {"USD", "ETH"}
    assert account.seizures() == []
    account.rules.halted = {"ETH"}
    assert account.seizure()[0].endswith("USD")
    assert account.seizure()[1].endswith("BTC")
    account.rules.halted = set()
    loans = dict(account.holdings.loans)
    loans["ETH"] = loans["ETH"]._replace(enabled=False)
    account.holdings = account.holdings._replace(loans=loans)
    assert account.seizure()[1].endswith("BTC")


# --- toxic


def worked_number_g(order: str) -> Account:
    """Collateral 100 at 0.5 and 100 at 0.95, debt 150, bonus 8 % (docs/money.md)."""
    terms = {
        "ETH": Terms(D("0.4"), D("0.5"), FIXED),
        "BTC": Terms(D("0.9"), D("0.95"), FIXED),
    }
    supplied = {"ETH": "100", "BTC": "100"}
    prices = {"ETH": "1", "BTC": "1.0001"} if order == "BTC" else {"ETH": "1", "BTC": "0.9999"}
    return Account(
        supplied, {"USD": "150"}, prices, terms=terms, repay=CloseFactor(D("0.1333333333333333"))
    )


@exact
def test_a_seizure_that_lowers_health_is_toxic():
    (found,) = worked_number_g("BTC").seizures()
    assert (found.collateral, found.repay, found.toxic) == ("BTC", D("19.99"), True)
    (found,) = worked_number_g("ETH").seizures()
    assert (found.collateral, found.toxic) == ("ETH", False)


@exact
def test_a_repayment_of_all_debts_is_not_toxic():
    terms = {"BTC": Terms(D("0.9"), D("0.95"), FIXED)}
    account = Account({"BTC": "100"}, {"USD": "90"}, {"BTC": "0.94"}, terms=terms)
    (found,) = account.seizures()
    assert (found.repay, found.toxic) == (D("87.04"), True)
    account = Account({"BTC": "100"}, {"USD": "85"}, {"BTC": "0.94"}, terms=terms)
    (found,) = account.seizures()
    assert (found.repay, found.toxic) == (D(85), False)
    # All of the collateral, a rounding short of what the bonus asks: nothing is left all the same.
    account = Account({"BTC": "97.659574"}, {"USD": "85"}, {"BTC": "0.94"}, terms=terms)
    (found,) = account.seizures()
    assert (found.repay, found.seize, found.toxic) == (D(85), D("97.659574"), False)


# --- for every rule

units = st.integers(0, 10**7)
repay_rules = st.sampled_from(
    [
        CloseFactor(),
        CloseFactor(of_account=True, full_at=D("0.5"), full_below=D(100)),
        TargetHealth(D("1.1")),
        TargetLoanToValue(D("0.5")),
        FullRepayment(),
    ]
)
bonuses = st.sampled_from(
    [
        FIXED,
        HealthBonus(D("0.1"), D("0.2"), D("0.5")),
        ThresholdBonus(),
        HealthDiscount(D("0.15")),
    ]
)
dusts = st.sampled_from([None, Dust(D(10)), Dust(D(100), "leave")])
prices = st.integers(1, 10**6).map(lambda cents: D(cents) / 100)


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """A group below its threshold, with a debt or two and a collateral or two."""
    threshold = D(draw(st.integers(30, 90))) / 100
    terms = {
        name: Terms(ZERO, threshold + shift, draw(bonuses), draw(st.sampled_from([ZERO, D("0.1")])))
        for name, shift in (("ETH", ZERO), ("BTC", D("0.05")))
    }
    supplied = {"ETH": draw(units) * ETH.unit, "BTC": draw(units) * BTC.unit}
    at = {"ETH": draw(prices), "BTC": draw(prices)}
    counted = sum((supplied[a] * at[a] * terms[a].liquidation_threshold for a in supplied), ZERO)
    debt = CENT + floor_to(counted * draw(st.integers(100, 150)), CENT, D(100))
    also = draw(units) // 10 * ETH.unit
    return Account(
        {name: str(amount) for name, amount in supplied.items()},
        {"USD": str(debt), "ETH": str(draw(st.sampled_from([ZERO, also])))},
        {name: str(price) for name, price in at.items()},
        terms=terms,
        repay=draw(repay_rules),
        dust=draw(dusts),
        rounded_in=draw(st.sampled_from([None, "debt", "collateral"])),
        debt_first=draw(st.sampled_from(["largest", "smallest"])),
        collateral_first=draw(st.sampled_from(["largest", "lowest_threshold"])),
    )


def after(account: Account, found: Any) -> Health | None:
    """Return the health of a group once a seizure is carried out."""
    loans = dict(account.holdings.loans)
    paid = loans[found.pool]
    loans[found.pool] = paid._replace(owed=paid.owed - found.repay)
    had = loans[found.collateral]
    loans[found.collateral] = had._replace(supplied=had.supplied - found.seize)
    return health(account.holdings._replace(loans=loans), account.rules, account.markets)


@exact
@given(accounts())
def test_no_plan_takes_more_than_there_is_or_favours_the_liquidator(account: Account) -> None:
    state = account.state
    assert state.margin_equity < state.maintenance
    found = account.seizures()
    if not found:
        assert account.lost()
        return
    (one,) = found
    held, owed = account.holdings.loans[one.collateral], account.holdings.loans[one.pool]
    assert 0 < one.seize <= held.supplied
    assert 0 <= one.fee <= one.seize
    assert 0 <= one.repay <= owed.owed
    at = {loan.pool: loan.price for loan in state.loans}
    assert one.seize * at[one.collateral] <= one.repay * at[one.pool] * (1 + one.bonus)


@exact
@given(accounts())
def test_a_plan_that_is_not_toxic_does_not_lower_health(account: Account) -> None:
    before, found = account.state, account.seizures()
    if not found or found[0].toxic:
        return
    then = after(account, found[0])
    assert then is not None
    if then.maintenance:
        assert then.margin_equity * before.maintenance >= before.margin_equity * then.maintenance
