"""Seizures that are toxic because what is seized has to be sold: the numbers of toxic-cpamm-5-5 and
toxic-dynamic-5 (tests/cases/lending.json), planned by the engine."""

from decimal import Decimal as D
from typing import Any

import pytest

from engine.lending import CloseFactor
from engine.lending_profile import Bonus, Terms
from engine.money import exact, floor_to
from engine.profile import Collateral
from engine.seizure import FixedBonus, HealthBonus, HealthDiscount, ThresholdBonus, toxic_above
from producers.loan_outlook import toxic_below
from tests.loan_account import Account

DEPTH = D(100_000_000)
CENT = D("0.01")
DECAYING = HealthBonus(D("0.1"), least_share=D(0))


def five_millions(owed: D, bonus: Bonus, threshold: str, depth: D | None = DEPTH) -> Account:
    """Collateral worth 5,000,000 that is sold to a pool with 100,000,000 of the debt's asset."""
    terms = Terms(D("0.7"), D(threshold), bonus, depth=depth)
    return Account(
        {"ETH": "5000"}, {"USD": f"{owed}"}, {"ETH": "1000"}, terms={"ETH": terms},
        repay=CloseFactor(),
    )  # fmt: skip


def is_toxic(account: Account) -> bool:
    (found,) = account.seizures()
    return bool(found.toxic)


@exact
def test_a_fixed_bonus_is_toxic_above_the_frontier_of_the_case() -> None:
    """λ = 1.1: above 1 ÷ (1.05·1.1) = 0.8658008658… of loan to value; without it 1 ÷ 1.05."""
    bonus = FixedBonus(D("0.05"))
    safe = floor_to(5_000_000 * D("0.8658008658008656"), CENT)
    assert not is_toxic(five_millions(safe, bonus, "0.8"))
    assert is_toxic(five_millions(safe + CENT, bonus, "0.8"))
    assert not is_toxic(five_millions(safe + CENT, bonus, "0.8", None))
    without = floor_to(5_000_000 * toxic_above(D("0.05")), CENT)
    assert not is_toxic(five_millions(without, bonus, "0.8", None))
    assert is_toxic(five_millions(without + CENT, bonus, "0.8", None))


@exact
def test_a_decaying_bonus_is_toxic_above_the_frontier_of_the_case() -> None:
    """Above (1 + 0.1·0.86·1.1) ÷ (1.1·1.1) = 0.9046280991…"""
    safe = floor_to(5_000_000 * D("0.9046280991735536"), CENT)
    assert not is_toxic(five_millions(safe, DECAYING, "0.86"))
    assert is_toxic(five_millions(safe + CENT, DECAYING, "0.86"))


@exact
@pytest.mark.parametrize(("owed", "falls"), [("4250000", False), ("4400000", True)])
def test_what_is_toxic_is_what_the_sale_itself_brings_about(owed: str, falls: bool) -> None:
    """4,000 are repaid for 4.2, of which the pool's price falls from 1,000: with 100,000 of the
    collateral in it, to 1,000 ÷ (1 + 4.2 ÷ 100,000)²."""
    bonus, price = FixedBonus(D("0.05")), D("999.916005291")
    assert is_toxic(five_millions(D(owed), bonus, "0.8")) is falls
    left = (D(5000) - D("4.2")) * price
    assert (left * D(owed) < 5_000_000 * (D(owed) - 4000)) is falls


@exact
def test_the_impact_is_of_what_is_supplied_and_weighs_beside_the_borrow_weight() -> None:
    """4,000 ETH weigh 1.08. A debt that counts a quarter more counts so in what is repaid too:
    toxic above 4,000,000 ÷ (1.05·1.08), as without it."""
    terms = Terms(D("0.7"), D("0.8"), FixedBonus(D("0.05")), depth=DEPTH)
    for owed, expected in (("3527336.86", False), ("3527336.87", True)):
        account = Account(
            {"ETH": "4000"}, {"USD": owed}, {"ETH": "1000"}, terms={"ETH": terms},
            collateral={
                "USD": Collateral(borrow_weight=D("1.25")), "ETH": Collateral(), "BTC": Collateral()
            },
            repay=CloseFactor(D("0.1")),
        )  # fmt: skip
        assert is_toxic(account) is expected


IMPACT = D("1.1")


@exact
@pytest.mark.parametrize(
    ("rule", "threshold", "expected"),
    [
        (FixedBonus(D("0.05")), "0.8", "0.924"),  # 0.8·1.05·1.1
        (ThresholdBonus(cursor=D(0)), "0.8", "0.88"),
        (DECAYING, "0.86", "0.950666910286862779"),  # 0.86 ÷ 0.9046280991…
        (HealthBonus(D("0.1"), D("0.5")), "0.9", "1.0395"),  # above 1: 0.9·1.05·1.1
        (HealthDiscount(D("0.15")), "0.81", "0.943927963353136"),  # √0.891
        (HealthDiscount(D("0.15")), "0.95", "1.045"),  # above 1 there is no discount
    ],
)
def test_the_frontier_of_health_is_told_with_the_impact(
    rule: Any, threshold: str, expected: str
) -> None:
    found = toxic_below(rule, D(threshold), impact=IMPACT)
    assert abs(found - D(expected)) < D("1e-14")
