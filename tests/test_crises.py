"""What must hold after every event of a crisis does, over seeded crises.

`LIQUIDATOR_SEEDS` times three crises run in `make test`, twenty in `make check`.
"""

import os
from collections import Counter
from typing import Any

import pytest

from tests.crises import Crisis
from tests.crises.checks import Checks

MANY = 3 * int(os.environ.get("LIQUIDATOR_SEEDS", "100"))
PART = 50


def play(seed: int) -> Counter[str]:
    """Play a crisis, checking all after every event; return how often each decision was made."""
    crisis = Crisis(seed)
    checks = Checks(crisis.engine)
    found: Counter[str] = Counter()
    for event, decided in crisis:
        checks.after(event, decided)
        found.update(type(one).__name__ for one in decided)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_crisis(seed: int) -> None:
    play(seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(0, MANY, PART))
def test_many_crises(part: int) -> None:
    for seed in range(part, part + PART):
        try:
            play(seed)
        except Exception as error:
            raise AssertionError(f"crisis {seed}") from error


@pytest.mark.slow
def test_crises_have_everything_in_them() -> None:
    found: Counter[Any] = sum((play(seed) for seed in range(150)), Counter())
    for name in WANTED:
        assert found[name] >= 3, (name, found)


WANTED = (
    "LiquidationOrder",
    "TakeOver",
    "Deleverage",
    "CollateralSale",
    "Shortfall",
    "FundDraw",
    "LossShared",
    "LossCharged",
    "BadDebt",
    "WithdrawalGate",
    "PriceHeld",
    "BreakerTripped",
    "FeeCharged",
)
