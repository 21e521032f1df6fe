"""At what limit legs are closed, in which stage, and for which fee."""

from decimal import Decimal as D
from decimal import localcontext

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from engine.auction import Decay
from engine.closing import limit_price
from engine.instruments import Perpetual
from engine.liquidation_profile import (
    AtBankruptcy,
    Bounded,
    Everything,
    FallingPrice,
    LiquidationRule,
    PriceRamp,
)
from engine.money import EXACT
from engine.profile import Bracket, Requirement
from engine.waterfall_profile import Backstop, Waterfall
from tests.sizing_books import Case, case, distressed

MINUTE = 60_000_000
CURVE = {"*": Requirement((Bracket(D(10**6), initial_rate=D(1), maintenance_rate=D("0.05")),))}


def one_leg(rule: LiquidationRule, size: str, part: str = "0.8", **fields) -> Case:
    """Return a leg of a perpetual at 100 that needs 5 %; taker fee 1 %, tick 0.1."""
    listed = Perpetual("X", "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=D("0.01"))
    return case(
        {"X": (D(size), D(100))}, D(part), {"X": D(100)}, rule, listed, requirements=CURVE, **fields
    )


# --- limits


@pytest.mark.parametrize(
    ("price", "elapsed", "sell", "buy"),
    [
        (AtBankruptcy(), 0, "97", "102.9"),
        (Bounded(D("0.0125")), 0, "98.8", "101.2"),
        (Bounded(D("0.5")), 0, "97", "102.9"),
        (PriceRamp(D(0), D("0.02"), MINUTE), 0, "100", "100"),
        (PriceRamp(D(0), D("0.02"), MINUTE), MINUTE // 2, "99", "101"),
        (PriceRamp(D("0.005"), D("0.02"), MINUTE), MINUTE // 3, "99", "101"),
        (PriceRamp(D(0), D("0.02"), MINUTE), 5 * MINUTE, "98", "102"),
        (PriceRamp(D(0), D("0.2"), MINUTE), 5 * MINUTE, "97", "102.9"),
        (FallingPrice(Decay(duration=100 * MINUTE), MINUTE, premium=D("0.02")), 0, "102", "98"),
        (
            FallingPrice(Decay(duration=100 * MINUTE), MINUTE, premium=D("0.02")),
            2 * MINUTE,
            "100",
            "100",
        ),
        (FallingPrice(Decay(duration=100 * MINUTE), MINUTE), 99 * MINUTE, "97", "102.9"),
        (FallingPrice(Decay("stair_step", cut=D("0.99")), MINUTE), 1_500_000, "99", "101"),
    ],
)
def test_a_limit_gives_way_with_time_and_never_passes_the_one_at_bankruptcy(
    price, elapsed, sell, buy
):
    """Equity 4 % of notional, taker fee 1 %: a sell may go to 96 ÷ 0.99, a buy to 104 ÷ 1.01."""
    rule = LiquidationRule(price=price)
    for size, limit in (("10", sell), ("-10", buy)):
        (order,) = one_leg(rule, size).plan(elapsed).orders
        assert (order.limit, order.stage) == (D(limit), "limit")


def test_an_order_whose_share_covers_it_goes_by_the_rule_alone():
    """A long of 10 at 100 with 1,100 of equity and a requirement of 1,200 has no bankruptcy."""
    steep = {"*": Requirement((Bracket(D(10**6), initial_rate=D(1), maintenance_rate=D("0.99")),))}
    listed = Perpetual("X", "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=D("0.01"))

    def limit(price, size="10", part="1.02"):
        rule = LiquidationRule(price=price)
        found = case(
            {"X": (D(size), D(100))}, D(part), {"X": D(100)}, rule, listed, requirements=steep
        )
        (order,) = found.plan().orders
        return order.bankruptcy, order.limit, order.stage

    assert limit(AtBankruptcy()) == (None, D("95"), "limit")
    assert limit(Bounded(D("0.01"))) == (None, D("99"), "limit")


@given(st.data())
def test_no_rule_of_price_asks_for_less_than_the_share_of_equity(data):
    """Sells no lower, buys no higher than the limit at bankruptcy, where the stage is by limit."""
    price = data.draw(
        st.sampled_from(
            [
                Bounded(D("0.01")),
                PriceRamp(D(0), D("0.3"), MINUTE),
                FallingPrice(Decay(duration=MINUTE), MINUTE),
            ]
        )
    )
    found = data.draw(distressed(LiquidationRule(price=price, sizing=Everything())))
    state = found.health
    orders = found.plan(data.draw(st.integers(0, 2 * MINUTE))).orders
    with localcontext(EXACT):
        for order in orders:
            (leg,) = (leg for leg in state.legs if leg.symbol == order.symbol)
            bound = limit_price(leg, state, found.rules)
            if order.stage == "backstop" or bound is None:
                continue
            assert order.limit >= bound if order.side == "sell" else order.limit <= bound


def test_what_is_far_below_maintenance_goes_to_those_who_take_positions():
    below = Waterfall(("backstop",), backstop=Backstop("vault", D(10**6), D("0.6667")))
    rule = LiquidationRule(price=Bounded(D("0.001")))
    stages = [
        one_leg(rule, "10", part, waterfall=below).plan().orders[0].stage
        for part in ("0.66", "0.67")
    ]
    assert stages == ["backstop", "limit"]


# --- fees


@pytest.mark.parametrize("size", ["10", "-10"])
def test_the_fee_adapts_as_drift_s_does(size):
    """Shortage 20 of base 10 at 100, margin ratio 5 %, fee 1 %: 0.95·(0.05 − 0.01 − 0.02) = 1.9 %
    (Drift v2, math/liquidation.rs:401)."""
    rule = LiquidationRule(fee_rate=D("0.05"), fee_adaptive=D("0.95"))
    found = one_leg(rule, size, "0.6")
    assert found.shortage > 0
    assert [order.fee_rate for order in found.plan().orders] == [D("0.019")]


@pytest.mark.parametrize(
    ("part", "most", "rate"),
    [("0.6", "0.01", "0.01"), ("0.2", "0.05", "0"), ("0.21", "0.05", "0.000475")],
)
def test_an_adaptive_fee_is_never_above_the_rate_and_never_below_nothing(part, most, rate):
    rule = LiquidationRule(fee_rate=D(most), fee_adaptive=D("0.95"))
    assert [order.fee_rate for order in one_leg(rule, "10", part).plan().orders] == [D(rate)]


@given(st.data())
def test_an_adaptive_fee_never_undoes_what_closing_frees(data):
    """Where there is a fee, the leg closed at its mark with all fees paid leaves no shortage."""
    adaptive = data.draw(st.sampled_from([D("0.5"), D("0.95"), D(1)]))
    rule = LiquidationRule(fee_rate=D("0.05"), fee_adaptive=adaptive, sizing=Everything())
    found = data.draw(distressed(rule))
    orders = [order for order in found.plan().orders if order.fee_rate > 0]
    assume(orders)
    for order in orders:
        after = found.closed({order.symbol: order.size}, {order.symbol: order.fee_rate}).health
        assert after.margin_equity >= after.maintenance
        assert after.equity >= 0


@given(st.data())
def test_a_larger_share_is_a_larger_fee(data):
    rule = LiquidationRule(fee_rate=D("0.05"), fee_adaptive=D("0.5"), sizing=Everything())
    found = data.draw(distressed(rule))
    half = {order.symbol: order.fee_rate for order in found.plan().orders}
    whole = structs.replace(rule, fee_adaptive=D(1))
    found.rules.put_in_force(structs.replace(found.rules.in_force, liquidation=whole))
    for order in found.plan().orders:
        assert half[order.symbol] <= order.fee_rate <= D("0.05")
