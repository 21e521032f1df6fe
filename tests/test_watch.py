"""The screens may name a group too many, never one too few: prices that are hard on floats."""

from decimal import Decimal as D
from random import Random

import pytest

from engine import events, invariants, state
from engine.instruments import Perpetual
from tests.story import Story, WholeEngine

LINEAR = Perpetual("LIN", "USDT", 3, 8, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0))
INVERSE = Perpetual(
    "INV", "BTC", 0, 8, D("0.5"), D(1), D(10**9), style="inverse", multiplier=D(100), taker_fee=D(0)
)


def crowd(instrument: Perpetual, count: int = 60) -> tuple[Story, WholeEngine]:
    """Open small positions of many leverages in one instrument at 10,000."""
    machine, chance = WholeEngine(), Random(instrument.name)
    story = Story(machine)
    story.rules(instrument, rate="0.004")
    story.price("BTC", "10000", kind="index")
    story.price(instrument.name, "10000")
    for number in range(count):
        account, side = f"a{number}", chance.choice((1, -1))
        inverse = instrument.style == "inverse"
        size = D(side * chance.randint(1, 3)) / (1 if inverse else 10)
        worth = abs(size) * (D("0.01") if inverse else 10_000)
        margin = worth * chance.randint(800, 30_000) / 100_000
        story.deposit(account, instrument.settle, str(margin.quantize(D("0.00000001"))))
        story.fill(account, instrument.name, str(size), "10000")
    return story, machine


@pytest.mark.parametrize("instrument", [LINEAR, INVERSE], ids=lambda i: i.style)
def test_small_steps_over_small_positions_overlook_nobody(instrument: Perpetual) -> None:
    """One unit of the coin can be more than the float error of so small a group."""
    story, machine = crowd(instrument)
    chance, price = Random(7), D(10_000)
    for _ in range(400):
        price += D(chance.randint(-1100, 1000)) / 40
        story.price(instrument.name, str(price))
        invariants.check(machine.engine)
    assert len(story.decided) > 5


@pytest.mark.parametrize("instrument", [LINEAR, INVERSE], ids=lambda i: i.style)
@pytest.mark.parametrize("glitch", ["0.00000001", "0.0001", "1000000000000000"])
def test_a_price_that_was_far_away_and_came_back_overlooks_nobody(
    instrument: Perpetual, glitch: str
) -> None:
    story, machine = crowd(instrument, 30)
    # Halted, so that the glitch itself ends nobody.
    story.tell(events.Halt)
    story.price(instrument.name, glitch)
    story.price(instrument.name, "10000")
    story.tell(events.Resume)
    for step in range(200):
        story.price(instrument.name, str(10_000 - 7 * step))
        invariants.check(machine.engine)


def test_an_index_that_was_far_away_and_came_back_overlooks_nobody() -> None:
    story, machine = crowd(INVERSE, 30)
    for price in ("0.00000001", "10000", "1000000000000", "10000"):
        story.price("BTC", price, kind="index")
        invariants.check(machine.engine)
    for step in range(200):
        story.price("INV", str(10_000 - 7 * step))
        invariants.check(machine.engine)


def test_a_price_that_went_far_away_after_a_restart_overlooks_nobody() -> None:
    """A first price after a restart is compared with the one that state knows."""
    story, machine = crowd(LINEAR, 30)
    machine.engine = state.restore(0, state.records(machine.engine).items())
    for price in ("1000000000000000", "10000", "9500", "9300"):
        story.price("LIN", price)
        invariants.check(machine.engine)
