"""The fee of a liquidation: what is charged, to whom it goes, and that it never costs too much."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import decisions as d
from engine import invariants
from engine.instruments import Perpetual
from engine.liquidation_profile import Everything, LiquidationRule
from tests.story import Story, WholeEngine, only

LINEAR = Perpetual("X", "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=D(0))
INVERSE = Perpetual(
    "INV", "BTC", 0, 1, D("0.1"), D(1), D(10**9),
    style="inverse", multiplier=D(100), taker_fee=D(0),
)  # fmt: skip
SPLIT = {"fee_to_venue": D("0.25"), "fee_to_liquidator": D("0.5")}


def breached(size: str, **rule: Any) -> tuple[Story, d.LiquidationOrder]:
    """Return a position at 100 with 110 USDT, a tenth its maintenance, and the order it gets."""
    story = Story(WholeEngine())
    fields = {"sizing": Everything(), "fee_rate": D("0.02"), **rule}
    story.rules(LINEAR, INVERSE, rate="0.1", liquidation=LiquidationRule(**fields))
    story.price("X", "100")
    story.deposit("ann", "USDT", "110")
    story.fill("ann", "X", size, "100")
    mark = "98" if D(size) > 0 else "102"
    return story, only(d.LiquidationOrder, story.price("X", mark))


def closed(story: Story, order: d.LiquidationOrder, price: str) -> list[Any]:
    """Fill an order, and return the fees."""
    size = order.size if order.side == "buy" else -order.size
    decided = story.fill("ann", "X", str(size), price, order_id=order.order_id)
    invariants.check(story.machine.engine)
    return [one for one in decided if isinstance(one, d.FeeCharged)]


@pytest.mark.parametrize(("size", "price", "fee"), [("10", "98", "19.6"), ("-10", "102", "20.4")])
def test_the_venue_and_the_liquidator_have_their_parts_and_the_fund_the_rest(size, price, fee):
    story, order = breached(size, **SPLIT)
    (charged,) = closed(story, order, price)
    amount = D(fee)
    assert (charged.amount, charged.venue, charged.liquidator) == (amount, amount / 4, amount / 2)
    machine = story.machine
    assert machine.ledger("fees")["USDT"] == amount / 4
    assert machine.ledger("fund")["USDT"] == amount / 4
    assert machine.cash("ann") == {"USDT": D(90) - amount}


def test_parts_are_rounded_down_and_the_fund_gets_what_is_left_over():
    """2.94 units of a fee are 3, of which a quarter is none and half is one."""
    story, order = breached("10", fee_rate=D("3e-11"), **SPLIT)
    (charged,) = closed(story, order, "98")
    unit = D("1e-8")
    assert (charged.amount, charged.venue, charged.liquidator) == (3 * unit, 0, unit)
    assert story.machine.ledger("fund")["USDT"] == 2 * unit


def test_all_of_it_may_go_elsewhere():
    story, order = breached("10", fee_to_venue=D("0.5"), fee_to_liquidator=D("0.5"))
    (charged,) = closed(story, order, "98")
    assert charged.venue + charged.liquidator == charged.amount
    assert story.machine.ledger("fund") == {}


@given(
    st.sampled_from(["10", "-10"]),
    st.integers(1, 5000).map(lambda n: D(n) / 100),
    st.sampled_from([None, D("0.5"), D(1)]),
)
def test_a_fee_never_takes_equity_below_zero(size, loss, adaptive):
    """However bad the fill: what is charged is at most what is left."""
    story, order = breached(size, fee_adaptive=adaptive, **SPLIT)
    price = D(100) - loss if size == "10" else D(100) + loss
    fees = closed(story, order, str(price))
    left = D(110) - 10 * loss
    paid = sum((fee.amount for fee in fees), D(0))
    assert paid <= max(left, D(0))
    assert paid == min(max(left, D(0)), 10 * price * order.fee_rate)


def test_an_order_keeps_its_rate_and_one_that_is_not_live_pays_the_profile_s():
    """Shortage 8 of a requirement of 98: a tenth of (98 − 8) ÷ 980 is 0.9183 %, of at most 2 %."""
    story, order = breached("10", fee_adaptive=D("0.1"))
    assert order.fee_rate == D("0.009183")
    for size in ("-4", "-6"):
        story.fill("ann", "X", size, "98", order_id=order.order_id)
    assert story.machine.ledger("fund")["USDT"] == 10 * 98 * order.fee_rate
    story.fill("ann", "X", "1", "98")
    late = story.fill("ann", "X", "-1", "98", order_id=order.order_id)
    assert only(d.FeeCharged, late).amount == 98 * D("0.02")
