"""The worked numbers of docs/money.md, exactly, told to the engine and to its naive twin."""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import pytest

from engine import decisions, events
from engine.decisions import Decision
from engine.instruments import Perpetual
from engine.lending import Pledge, Side, backing, loan_to_value
from engine.liquidation_price import liquidation_prices
from engine.money import exact, nearest_to
from engine.profile import Collateral, Trigger
from engine.seizure import seize, toxic, toxic_above
from tests.story import Story, WholeEngine, of, only
from tests.twin import Twin


def linear(name: str, *, fee: str = "0", decimals: int = 1) -> Perpetual:
    return Perpetual(name, "USDT", 3, decimals, D("0.1"), D("0.001"), D(10**6), taker_fee=D(fee))


def inverse(name: str) -> Perpetual:
    return Perpetual(name, "BTC", 0, 6, D("0.5"), D(1), D(10**9), style="inverse", taker_fee=D(0))


@pytest.fixture(params=[WholeEngine, Twin])
def story(request: pytest.FixtureRequest) -> Story:
    return Story(request.param())


def a_long_and_a_short(story: Story, decimals: int = 1) -> None:
    story.rules(linear("BTCUSDT", fee="0.0005", decimals=decimals), rate="0.004")
    story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(60))
    for account, money, size in (("long", "1000", "1"), ("short", "2000", "-1")):
        story.deposit(account, "USDT", money)
        story.fill(account, "BTCUSDT", size, "10000")
    story.price("BTCUSDT", "10000")


def test_a_liquidation_price() -> None:
    machine = WholeEngine()
    story = Story(machine)
    a_long_and_a_short(story, decimals=4)
    engine = machine.engine
    holdings = engine.accounts["long"].groups["cross"].holdings
    found = liquidation_prices("BTCUSDT", holdings, engine.rules, engine.markets)
    # 9,000 ÷ 0.996 = 9,036.144578…, shown towards the healthy side.
    assert (found.below, found.above) == (D("9036.1446"), None)


def test_a_one_tick_inside_the_liquidation_price_and_one_outside(story: Story) -> None:
    a_long_and_a_short(story)
    assert not of(decisions.LiquidationStarted, story.price("BTCUSDT", "9036.2"))
    started = only(decisions.LiquidationStarted, story.price("BTCUSDT", "9036.1"))
    assert (started.equity, started.maintenance) == (D("36.1"), D("36.1444"))


def test_a_shortfall_that_the_fund_pays_in_part(story: Story) -> None:
    a_long_and_a_short(story)
    order = only(decisions.LiquidationOrder, story.price("BTCUSDT", "9036.1"))
    assert (order.side, order.size, order.stage) == ("sell", 1, "limit")
    assert (order.bankruptcy_price, order.limit_price) == (9000, D("9004.6"))

    decided = story.fill("long", "BTCUSDT", "-1", "8900", "4.45", order_id=order.order_id)
    story.fill("short", "BTCUSDT", "1", "8900")
    shortfall = only(decisions.Shortfall, decided)
    assert (shortfall.asset, shortfall.market, shortfall.amount) == (
        "USDT",
        "BTCUSDT",
        D("104.45"),
    )
    draw = only(decisions.FundDraw, decided)
    assert (draw.amount, draw.capacity) == (60, 60)
    assert only(decisions.BadDebt, decided).amount == D("44.45")
    assert only(decisions.LiquidationEnded, decided).reason == "flat"

    ledger, key = story.machine.ledger, ("USDT", "BTCUSDT")
    assert story.machine.cash("long") == {}
    assert story.machine.cash("short") == {"USDT": 3100}
    assert (ledger("fund"), ledger("fees")) == ({}, {"USDT": D("4.45")})
    assert ledger("shortfall") == {key: D("104.45")}
    assert ledger("paid_by_fund") == {key: 60}
    assert ledger("bad_debt") == {key: D("44.45")}
    assert 3100 + D("4.45") - D("44.45") == 3060 == 1000 + 2000 + 60


def inverse_position(story: Story, size: str, coins: str, **rules: Any) -> Sequence[Decision]:
    story.rules(inverse("BTCUSD"), rate="0.1", **rules)
    story.price("BTC", "10000", "index")
    story.deposit("alice", "BTC", coins)
    story.fill("alice", "BTCUSD", size, "10000")
    return story.price("BTCUSD", "10000")


def test_b_an_inverse_long(story: Story) -> None:
    at_once = Trigger(at_equality=True)
    order = only(
        decisions.LiquidationOrder, inverse_position(story, "10000", "0.1", trigger=at_once)
    )
    # 9,090.909 090 909… for a sale is shown rounded up.
    assert (order.bankruptcy_price, order.limit_price) == (D("9090.909091"), 9091)


def test_b_an_inverse_long_is_under_water_at_9000(story: Story) -> None:
    assert not of(decisions.LiquidationStarted, inverse_position(story, "10000", "0.1"))
    started = only(decisions.LiquidationStarted, story.price("BTCUSD", "9000"))
    (balance,) = started.balances
    assert (balance.asset, balance.net) == ("BTC", D("-0.01111112"))
    assert started.equity == D("-0.01111112") * 10_000


def test_b_an_inverse_short_with_its_whole_value_cannot_go_bankrupt(story: Story) -> None:
    halved = {"USDT": Collateral(), "BTC": Collateral(haircut=D("0.95"))}
    order = only(
        decisions.LiquidationOrder, inverse_position(story, "-10000", "1", collateral=halved)
    )
    assert (order.side, order.stage, order.bankruptcy_price) == ("buy", "limit", None)


def test_d_equity_is_shared_over_the_legs(story: Story) -> None:
    story.rules(linear("A"), linear("B"), rate="0.02")
    story.deposit("alice", "USDT", "200")
    for symbol in ("A", "B"):
        story.fill("alice", symbol, "1", "1000")
    story.price("A", "910")
    decided = story.price("B", "910")
    assert only(decisions.LiquidationStarted, decided).equity == 20
    orders = of(decisions.LiquidationOrder, decided)
    assert [(o.symbol, o.bankruptcy_price, o.limit_price) for o in orders] == [
        ("A", 900, 900),
        ("B", 900, 900),
    ]


def test_e_collateral_is_sold_just_enough(story: Story) -> None:
    halved = {"USDT": Collateral(), "BTC": Collateral(haircut=D("0.5"))}
    story.rules(linear("X"), rate="0.01", collateral=halved)
    story.price("BTC", "30000", "index")
    story.deposit("alice", "BTC", "1")
    story.fill("alice", "X", "1", "50000")
    order = only(decisions.LiquidationOrder, story.price("X", "31000"))
    decided = story.fill("alice", "X", "-1", "30000", order_id=order.order_id)
    assert story.machine.cash("alice") == {"BTC": 1, "USDT": -20_000}
    sale = only(decisions.CollateralSale, decided)
    assert (sale.asset, sale.amount, sale.for_asset) == ("BTC", D("0.66666667"), "USDT")
    decided = story.tell(
        events.CollateralSold,
        account="alice",
        margin="cross",
        asset="BTC",
        amount=sale.amount,
        for_asset="USDT",
        proceeds=D(20_000),
        order_id=sale.order_id,
    )
    assert only(decisions.LiquidationEnded, decided).reason == "flat"
    assert story.machine.cash("alice") == {"BTC": D("0.33333333")}
    assert story.machine.ledger("shortfall") == {}


def test_f_the_wallet_does_not_pay_for_an_isolated_leg(story: Story) -> None:
    story.rules(linear("X"), rate="0.01")
    story.deposit("alice", "USDT", "1100")
    story.tell(events.MarginMoved, account="alice", symbol="X", amount=D(100))
    story.fill("alice", "X", "1", "1000", margin="isolated:X")
    order = only(decisions.LiquidationOrder, story.price("X", "905"))
    decided = story.fill("alice", "X", "-1", "850", margin="isolated:X", order_id=order.order_id)
    assert only(decisions.Shortfall, decided).amount == 50
    assert story.machine.cash("alice") == {"USDT": 1000}
    assert story.machine.cash("alice", "isolated:X") == {}


@exact
def test_g_a_repayment_is_toxic_far_below_the_frontier_of_a_single_collateral() -> None:
    pledges = [Pledge(D(100), D("0.5")), Pledge(D(100), D("0.95"))]
    before = backing(pledges, D(150))
    assert nearest_to(before.counted, D("0.0001"), before.debt) == D("0.9667")
    seized = seize(D(20), D("0.08"), Side(D(100), D(1), D("0.01")), Side(D(150), D(1), D("0.01")))
    assert seized == (D(20), D("21.6"))
    left = pledges[1]._replace(value=D(100) - seized.seized)
    after = backing([pledges[0], left], D(150) - seized.repaid)
    assert nearest_to(after.counted, D("0.0001"), after.debt) == D("0.9575")
    assert toxic(before, D("0.95"), D("0.08"))
    assert not toxic(before, D("0.5"), D("0.08"))  # seizing the first would raise it
    assert loan_to_value(D(150), D(200)) == D("0.75")
    assert nearest_to(toxic_above(D("0.08")), D("0.001")) == D("0.926")
