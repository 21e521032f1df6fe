"""When the next orders of a liquidation wait: cooldowns, sizes that grow with time, toxic plans."""

from decimal import Decimal as D
from typing import Any

import pytest
from msgspec import structs

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.instruments import Perpetual
from engine.lending import CloseFactor
from engine.liquidation_profile import (
    Cooldown,
    LeastReduction,
    LiquidationRule,
    Portion,
    SizeRamp,
)
from engine.profile import Trigger
from engine.state import digest, records, restore
from engine.waterfall_profile import Backstop, Waterfall
from tests.loan_story import LoanStory, pool
from tests.story import Story, WholeEngine, of, only

SECOND = 1_000_000
MARKET = Perpetual("X", "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=D(0))
NOBODY = Waterfall(takers=("backstop",), backstop=Backstop("nobody", D(1)))
"""A backstop that is not there."""
SIDES = pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])


class Market(Story):
    """Ann holds 10 at 100, long or short, with 110; a tenth is maintenance."""

    def __init__(self, side: int, **rule: Any) -> None:
        super().__init__(WholeEngine())
        self.side = side
        trigger = Trigger(stop_buffer=D(0))
        liquidation = LiquidationRule(**rule)
        rules = {"trigger": trigger, "liquidation": liquidation, "waterfall": NOBODY}
        self.rules(MARKET, rate="0.1", **rules)
        self.at("0")
        self.deposit("ann", "USDT", "110")
        self.fill("ann", "X", str(10 * side), "100")

    def at(self, loss: str) -> list[Any]:
        """Move the mark by so much against her, and return the orders."""
        price = D(100) - self.side * D(loss)
        return of(d.LiquidationOrder, self.price("X", str(price)))

    def closes(self, order: d.LiquidationOrder, size: str | None = None) -> list[Any]:
        """Fill an order at its mark, and return the next ones."""
        price, closed = str(order.decided_mark), -self.side * (D(size) if size else order.size)
        return of(
            d.LiquidationOrder,
            self.fill("ann", "X", str(closed), price, order_id=order.order_id),
        )

    def wait(self, time: int) -> list[Any]:
        """Let time pass, and return the orders."""
        self.time += time - 1
        return of(d.LiquidationOrder, self.tell(e.TimePassed))

    @property
    def engine(self) -> Engine:
        """The engine that all of it is told to."""
        return self.machine.engine

    @property
    def liquidation(self) -> Any:
        """What is known of the liquidation."""
        return self.engine.group_of("ann", "cross").liquidation

    def counted(self, standing: str) -> int:
        """Return how many groups have a standing."""
        return self.engine.watch.counts()[standing]


# --- cooldown

COOLING = {"sizing": Portion(D("0.05")), "cooldown": Cooldown(30 * SECOND)}


@SIDES
def test_after_a_part_the_next_one_waits(side):
    market = Market(side, **COOLING)
    (order,) = market.at("2")
    due = market.time + 30 * SECOND
    assert order.size == D("0.5")
    assert market.closes(order) == []
    assert (market.liquidation.waits, market.counted("cooldown")) == ("cooldown", 1)
    assert market.at("2.1") == []
    assert market.wait(due - market.time - 1) == []
    (second,) = market.wait(1)
    assert (second.size, second.time, second.stage) == (D("0.47"), due, "limit")
    assert market.liquidation.waits == ""


@SIDES
def test_a_critical_account_does_not_wait_and_goes_whole(side):
    """9.5 left with 109 of cash: two thirds of maintenance are passed at 94.85, or 104.50."""
    market = Market(side, **COOLING)
    (order,) = market.at("2")
    market.closes(order)
    assert market.at("4.4" if side < 0 else "5.1") == []
    (whole,) = market.at("4.6" if side < 0 else "5.2")
    assert whole.size == D("9.5")


@SIDES
def test_an_order_that_was_not_filled_does_not_have_the_next_one_wait(side):
    """It expires into the backstop, which knows no pause and no parts."""
    market = Market(side, **COOLING)
    (order,) = market.at("2")
    assert market.wait(6 * SECOND) == []
    ended = {"account": "ann", "order_id": order.order_id, "filled_size": D(0)}
    (next_one,) = of(d.LiquidationOrder, market.tell(e.OrderClosed, **ended))
    assert (next_one.size, next_one.stage) == (D(10), "backstop")


def test_other_rules_end_the_pauses_that_the_old_ones_made():
    """They are no rule's any more, whether they were a cooldown's or a toxic plan's."""
    for rule, loss in ((COOLING, "2"), ({**DEAR, "toxic": "halt"}, "7")):
        market = Market(1, **rule)
        for order in market.at(loss):
            assert not market.closes(order)
        assert market.liquidation.waits in ("cooldown", "toxic")
        profile = market.engine.rules.in_force
        told = market.tell(e.ProfileChanged, profile=profile)
        assert not of(d.LiquidationOrder, told)
        plain = structs.replace(profile, liquidation=LiquidationRule())
        told = market.tell(e.ProfileChanged, profile=plain)
        assert only(d.LiquidationOrder, told).account == "ann"


def test_a_whole_order_has_nothing_wait():
    market = Market(1, sizing=Portion(D("0.05"), whole_below=D(2000)), cooldown=Cooldown(SECOND))
    (order,) = market.at("2")
    assert order.size == 10
    assert market.liquidation.cooling_until is None


def test_a_cooldown_ends_as_it_would_have_where_the_engine_was_restored_meanwhile():
    market = Market(1, **COOLING)
    (order,) = market.at("2")
    market.closes(order)
    again = restore(0, records(market.engine).items())
    assert digest(again) == digest(market.engine)
    event = e.TimePassed(time=market.time + 40 * SECOND)
    first, second = market.engine.apply(event), again.apply(event)
    assert first == second
    assert only(d.LiquidationOrder, first).size == D("0.47")
    assert digest(again) == digest(market.engine)


# --- sizes that grow with time

RAMPED = {"sizing": LeastReduction(SizeRamp(D("0.1"), 60 * SECOND))}


@SIDES
def test_what_was_restored_counts_and_more_is_allowed_with_time(side):
    """Shortage 8 of 98 (12 of 102): a tenth of it at once, six tenths after half a minute."""
    market = Market(side, **RAMPED)
    (order,) = market.at("2")
    assert order.size == D("0.09" if side > 0 else "0.12")
    assert market.closes(order) == []
    freed = order.size * (D("9.8") if side > 0 else D("10.2"))
    assert market.liquidation.freed == freed
    assert market.liquidation.waits == "cooldown"
    assert market.wait(SECOND // 2) == []
    opened = market.liquidation.opened_at
    market.wait(opened + 30 * SECOND - market.time - 1)
    assert market.liquidation.waits == ""


def test_the_whole_of_a_shortage_is_restored_in_steps():
    market = Market(1, **RAMPED)
    (order,) = market.at("2")
    sizes = [order.size]
    while market.liquidation is not None:
        for found in market.closes(order) or market.wait(10 * SECOND):
            order = found
            sizes.append(found.size)
    assert sizes == [D("0.09"), D("0.13"), D("0.14"), D("0.13"), D("0.14"), D("0.14"), D("0.05")]
    assert sum(sizes) == D("0.82")


# --- toxic

DEAR = {"fee_rate": D("0.05"), "sizing": Portion(D("0.2"))}


@SIDES
def test_what_lowers_health_says_so(side):
    """A fee of 5 % frees 10 %: below half of maintenance each part makes it worse."""
    assert [order.toxic for order in Market(side, **DEAR).at("5.5")] == [False]
    assert [order.toxic for order in Market(side, **DEAR).at("7")] == [True]


@SIDES
def test_a_toxic_plan_is_held_back_until_a_price_heals_it(side):
    market = Market(side, **DEAR, toxic="halt")
    assert market.at("7") == []
    assert (market.liquidation.waits, market.counted("toxic")) == ("toxic", 1)
    assert market.at("6.5") == []
    assert market.at("5.5") == []
    assert market.wait(SECOND) == []
    (order,) = market.wait(5 * SECOND - 2)
    assert (order.toxic, order.size) == (False, 2)
    assert market.counted("toxic") == 0


def test_a_fill_of_its_own_while_it_is_due_lets_a_toxic_plan_go_once():
    market = Market(1, **DEAR, toxic="halt")
    assert market.at("7") == []
    market.time += 6 * SECOND
    orders = of(d.LiquidationOrder, market.fill("ann", "X", "-2", "94.6"))
    assert [order.size for order in orders] == [D("1.6")]


@SIDES
def test_a_toxic_plan_is_held_back_no_longer_than_there_is_equity(side):
    market = Market(side, **DEAR, toxic="halt")
    assert market.at("7") == []
    assert market.at("11.5") == []
    (order,) = market.wait(SECOND - 1)
    assert (order.toxic, order.size) == (False, 10)


@SIDES
@pytest.mark.parametrize(
    ("toxic", "size", "stage"), [("full", 10, "limit"), ("take_over", 2, "backstop")]
)
def test_a_toxic_plan_goes_whole_or_is_passed_on(side, toxic, size, stage):
    (order,) = Market(side, **DEAR, toxic=toxic).at("7")
    assert (order.size, order.stage, order.toxic) == (size, stage, toxic == "take_over")


# --- toxic seizures


def borrower(bonus: dict[str, str], **rule: Any) -> LoanStory:
    """Bea owes 1,500 USD against ETH and EUR at a threshold of 0.8."""
    story = LoanStory()
    pools = {"USD": pool("USD")}
    pools |= {coin: pool(coin, "0.8", bonus=bonus.get(coin, "0.05")) for coin in ("ETH", "EUR")}
    rules = {"liquidation": LiquidationRule(**rule), "waterfall": NOBODY}
    repay = CloseFactor(D("0.5"), D(0))
    story.market(pools, {"ETH": "2000", "EUR": "1"}, repay=repay, **rules)
    story.supply("lena", "USD", "5000")
    story.supply("bea", "ETH", "1")
    return story


def test_a_toxic_seizure_is_held_back_until_a_price_heals_it():
    """A bonus of 20 % at a threshold of 0.8 is toxic below a health factor of 0.96: 1,800."""
    story = borrower({"ETH": "0.2"}, toxic="halt")
    story.borrow("bea", "USD", "1500")
    assert [type(one) for one in story.price("ETH", "1750", "index")] == [d.LiquidationStarted]
    group = story.engine.group_of("bea", "cross")
    assert group.liquidation.waits == "toxic"
    assert story.price("ETH", "1790", "index") == []
    order = only(d.CollateralLiquidation, story.price("ETH", "1810", "index"))
    assert (order.repay, order.toxic) == (D(750), False)
    assert group.liquidation.waits == ""


@pytest.mark.parametrize("toxic", ["full", "take_over"])
def test_a_toxic_seizure_takes_all_that_is_owed(toxic):
    story = borrower({"ETH": "0.2"}, toxic=toxic)
    story.borrow("bea", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1750", "index"))
    assert (order.seize, order.repay) == (1, D("1458.333334"))  # 1,750 ÷ 1.2
    assert order.toxic


@pytest.mark.parametrize(("toxic", "collateral"), [("tag", "ETH"), ("halt", "EUR")])
def test_what_is_held_back_leaves_another_collateral_to_be_seized(toxic, collateral):
    """ETH, the larger, has the bonus that lowers health; EUR has not."""
    story = borrower({"ETH": "0.2"}, toxic=toxic)
    story.supply("bea", "EUR", "1000")
    story.borrow("bea", "USD", "2300")
    order = only(d.CollateralLiquidation, story.price("ETH", "1700", "index"))
    assert (order.collateral, order.toxic) == (collateral, collateral == "ETH")
