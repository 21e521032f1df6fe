"""What must hold after every event of a crisis does, over seeded crises.

`LIQUIDATOR_SEEDS` times three crises run in `make test`, twenty in `make check`.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from engine import decisions as d
from engine.core import Engine
from tests.crises import Crisis
from tests.crises.checks import Checks

MANY = 3 * int(os.environ.get("LIQUIDATOR_SEEDS", "100"))
PART = 50


def play(seed: int) -> Counter[str]:
    """Play a crisis, checking all after every event; return how often there was what."""
    crisis = Crisis(seed)
    checks = Checks(crisis.engine)
    found: Counter[str] = Counter()
    for event, decided in crisis:
        checks.after(event, decided)
        found.update(name for one in decided for name in _names(one))
        found.update(_waits(crisis.engine))
    return found


def _names(one: d.Decision) -> Iterator[str]:
    """Yield the kind of a decision, and what is special about it."""
    yield type(one).__name__
    if isinstance(one, d.LiquidationOrder) and one.toxic:
        yield "a toxic order"
    if isinstance(one, d.FundDraw | d.PositionPaid) and one.amount == one.capacity:
        yield "a fund that ran out"


def _waits(engine: Engine) -> Iterator[str]:
    """Yield what each liquidation that waits does so for."""
    for group in engine.liquidating:
        if group.liquidation is not None and group.liquidation.waits:
            yield f"waits: {group.liquidation.waits}"


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
    found = sum((play(seed) for seed in range(150)), Counter[str]())
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
    "PositionPaid",
    "a toxic order",
    "a fund that ran out",
    "waits: halted",
    "waits: capped",
    "waits: promised",
    "waits: cooldown",
    "waits: toxic",
)
