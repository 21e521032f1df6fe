"""How much of which leg is closed: venues' worked numbers, and what holds of every plan."""

from decimal import Decimal as D
from decimal import localcontext
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from engine.instruments import Perpetual
from engine.liquidation_profile import (
    Cooldown,
    Everything,
    LeastReduction,
    LiquidationRule,
    LowerTier,
    Portion,
    SizeRamp,
    WholeLegs,
)
from engine.money import EXACT
from engine.planning import Plan
from engine.profile import Bracket, Requirement
from engine.sizing import Goal, allowed
from tests.sizing_books import Case, case, distressed, fee_rates

LEAST = LiquidationRule(sizing=LeastReduction())
FLAT = {"*": Requirement((Bracket(D(10**6), initial_rate=D(1), maintenance_rate=D("0.1")),))}
"""A tenth of notional, whatever the size."""


def one_leg(rule: LiquidationRule, size: str, part: str, lot: str = "0.01", **fields) -> Case:
    """Return one leg of a perpetual at 100 with a taker fee of 1 %."""
    listed = Perpetual("X", "USDT", 3, 2, D("0.1"), D(lot), D(10**6), taker_fee=D("0.01"))
    fields.setdefault("requirements", FLAT)
    return case({"X": (D(size), D(100))}, D(part), {"X": D(100)}, rule, listed, **fields)


# --- the fewest lots


@pytest.mark.parametrize("size", ["10", "-10"])
@pytest.mark.parametrize(("lot", "closed"), [("0.001", "1.25"), ("0.01", "1.25"), ("0.1", "1.3")])
def test_a_shortage_is_covered_as_drift_covers_it(size, lot, closed):
    """Shortage 10 of a requirement of 100; each unit frees 10 − 2 of fees: 1.25, up to lots (Drift
    v2, math/liquidation.rs:32)."""
    rule = structs.replace(LEAST, fee_rate=D("0.01"))
    found = one_leg(rule, size, "0.9", lot)
    assert found.shortage == 10
    (order,) = found.plan().orders
    assert (order.size, order.side) == (D(closed), "sell" if D(size) > 0 else "buy")
    assert found.plan().partial


def test_a_leg_that_closing_would_not_heal_is_closed_whole():
    """Fees of 12 % cost more than the 10 % that closing frees."""
    found = one_leg(structs.replace(LEAST, fee_rate=D("0.11")), "10", "0.9")
    plan = found.plan()
    assert [order.size for order in plan.orders] == [10]
    assert not plan.partial


@pytest.mark.parametrize("size", ["10", "-10"])
@pytest.mark.parametrize(("part", "closed"), [("0.9", "1.38"), ("0.7", "4.13"), ("0.6", "10")])
def test_a_bracket_less_is_enough_where_closing_all_is_not(size, part, closed):
    """Of 1,000 the half beyond 500 frees 20 %, the rest 2 %, for fees of 12 %. Lacking 11 of 110,
    11 ÷ 8 lots are enough, of 33 there 33 ÷ 8; 40 are all that the upper half frees beyond its
    fees, and 44 nothing heals."""
    caps = (("500", "0.02"), ("100000", "0.2"))
    steps = tuple(
        Bracket(D(cap), initial_rate=D(1), maintenance_rate=D(rate)) for cap, rate in caps
    )
    found = one_leg(
        structs.replace(LEAST, fee_rate=D("0.11")), size, part,
        requirements={"*": Requirement(steps)},
    )  # fmt: skip
    assert [order.size for order in found.plan().orders] == [D(closed)]


def test_of_two_legs_the_first_goes_whole_and_the_second_as_far_as_needed():
    """Legs of 1,000 and 500: the first frees 100 − 10 of fees of a shortage of 99, the second needs
    one more lot for the 9 left: 9 ÷ 9 = 1."""
    listed = [
        Perpetual(name, "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=D("0.01"))
        for name in ("X", "Y")
    ]
    legs = {"X": (D(10), D(100)), "Y": (D(-5), D(100))}
    marks = {"X": D(100), "Y": D(100)}
    found = case(legs, D("0.34"), marks, LEAST, *listed, requirements=FLAT)
    assert found.shortage == 99
    assert [(order.symbol, order.size) for order in found.plan().orders] == [("X", 10), ("Y", 1)]


@given(st.data())
def test_so_many_lots_restore_and_one_less_does_not(data):
    rule = structs.replace(LEAST, fee_rate=data.draw(fee_rates))
    found = data.draw(distressed(rule))
    plan = found.plan()
    rates = {order.symbol: order.fee_rate for order in plan.orders}
    last = plan.orders[-1]
    lot, whole = (
        found.rules.derivatives[last.symbol].lot,
        abs(found.holdings.legs[last.symbol].size),
    )
    taken = {order.symbol: order.size for order in plan.orders}
    for order in plan.orders[:-1]:
        assert order.size == abs(found.holdings.legs[order.symbol].size)
    after = found.closed(taken, rates).shortage
    if after > 0:
        assert len(plan.orders) == len(found.holdings.legs)
        assert last.size == whole
        return
    lots = max(1, int(whole / lot)) if last.size == whole else int(last.size / lot)
    if lots > 1:
        fewer = {**taken, last.symbol: (lots - 1) * lot}
    else:
        fewer = {symbol: size for symbol, size in taken.items() if symbol != last.symbol}
    assert found.closed(fewer, rates).shortage > 0


@given(st.data())
def test_where_the_requirement_is_a_line_no_search_finds_fewer(data):
    rule = structs.replace(LEAST, fee_rate=data.draw(fee_rates))
    found = data.draw(distressed(rule, marginal=True))
    assume(len(found.holdings.legs) == 1)
    (order,) = found.plan().orders
    lot, settle = found.rules.derivatives[order.symbol].lot, found.rules.settle_of(order.symbol)
    # Requirement, fee and released cost are rounded to units: where closing frees as much as it
    # costs, that is all there is between one size and another.
    rounding = 3 * settle.unit * found.health.prices[settle.name]
    rates = {order.symbol: order.fee_rate}
    for lots in data.draw(st.lists(st.integers(1, 3000), max_size=5)):
        # What would leave less than a lot is the whole leg, and no fewer lots than that.
        if order.size - lots * lot >= lot:
            assert found.closed({order.symbol: lots * lot}, rates).shortage > -rounding


# --- whatever the sizing

SIZINGS = (
    WholeLegs(), Everything(), LeastReduction(), LowerTier(), Portion(D("0.2")),
    Portion(D("0.05"), D(3000), D(8000)), LeastReduction(SizeRamp(D("0.1"), 60_000_000)),
)  # fmt: skip


@given(st.data())
def test_never_more_than_a_leg_and_never_less_than_a_lot_is_left_of_it(data):
    sizing = data.draw(st.sampled_from(SIZINGS))
    found = data.draw(distressed(LiquidationRule(sizing=sizing, fee_rate=data.draw(fee_rates))))
    plan = found.plan(data.draw(st.integers(0, 10**8)))
    assert plan.orders
    assert len({order.symbol for order in plan.orders}) == len(plan.orders)
    for order in plan.orders:
        held, lot = (
            found.holdings.legs[order.symbol].size,
            found.rules.derivatives[order.symbol].lot,
        )
        assert 0 < order.size <= abs(held)
        assert order.side == ("sell" if held > 0 else "buy")
        left = abs(held) - order.size
        assert left == 0 or (left >= lot and order.size % lot == 0)
    whole = all(o.size == abs(found.holdings.legs[o.symbol].size) for o in plan.orders)
    assert plan.partial is not whole


@given(st.data())
def test_what_is_not_tagged_toxic_leaves_no_account_riskier(data):
    """Margin equity over maintenance does not fall by a fill at the marks, fees paid."""
    sizing = data.draw(st.sampled_from(SIZINGS))
    rule = LiquidationRule(sizing=sizing, fee_rate=data.draw(fee_rates))
    found = data.draw(distressed(rule))
    orders = found.plan(30_000_000).orders
    rates = {order.symbol: order.fee_rate for order in orders}
    before = found.health
    after = found.closed({order.symbol: order.size for order in orders}, rates).health
    with localcontext(EXACT):
        falls = after.margin_equity * before.maintenance < before.margin_equity * after.maintenance
    assert {order.toxic for order in orders} == {after.maintenance > 0 and falls}


@given(st.data())
@settings(max_examples=50)
def test_toxic_plans_wait_go_whole_or_are_passed_on_as_the_profile_has_it(data):
    sizing = data.draw(st.sampled_from([LeastReduction(), Portion(D("0.2"))]))
    rule = LiquidationRule(sizing=sizing, fee_rate=D("0.0125"))
    found = data.draw(distressed(rule))
    tagged = found.plan()

    def under(toxic):
        found.rules.put_in_force(
            structs.replace(found.rules.in_force, liquidation=structs.replace(rule, toxic=toxic))
        )
        return found.plan()

    toxic = tagged.orders[0].toxic
    halted, full, passed_on = under("halt"), under("full"), under("take_over")
    if not toxic:
        assert halted == full == passed_on == tagged
        return
    assert halted in (full, Plan(waits="toxic"))
    assert {order.symbol for order in full.orders} == set(found.holdings.legs)
    assert not any(order.toxic for order in full.orders)
    assert not full.partial
    assert [order.size for order in passed_on.orders] == [order.size for order in tagged.orders]
    assert {(order.stage, order.toxic) for order in passed_on.orders} == {("backstop", True)}


def test_what_has_no_equity_left_or_is_critical_is_closed_whole_and_is_never_toxic():
    rule = LiquidationRule(
        sizing=Portion(D("0.2")), cooldown=Cooldown(30_000_000, D("0.5")), toxic="halt"
    )
    sized = {part: one_leg(rule, "10", part).plan() for part in ("0", "0.49", "0.51")}
    assert [plan.orders[0].size for plan in sized.values()] == [10, 10, 2]
    assert one_leg(rule, "10", "0.51").plan(backstop=True).orders[0].size == 10


# --- tiers and portions


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("size", "closed"),
    [("15", "5"), ("10", "8"), ("10.005", "0.01"), ("2.001", "0.01"), ("2", "2"), ("1.5", "1.5")],
)
def test_a_position_is_reduced_to_the_next_lower_tier(sign, size, closed):
    """At 10,000 the tiers of 20,000 and 100,000 USDT end at 2 and 10; the lowest goes whole."""
    rule = LiquidationRule(sizing=LowerTier())
    legs = {"LIN": (sign * D(size), D(10_000))}
    found = case(legs, D("0.5"), {"LIN": D(10_000)}, rule)
    assert [order.size for order in found.plan().orders] == [D(closed)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("size", "closed"), [("15000", "5000"), ("10001", "1"), ("2000", "2000")])
def test_an_inverse_position_is_reduced_to_the_next_lower_tier(sign, size, closed):
    """Contracts of 10 USD at 10,000: tiers of 2 and 10 BTC end at 2,000 and 10,000 contracts."""
    rule = LiquidationRule(sizing=LowerTier())
    legs = {"INV": (sign * D(size), D(10_000))}
    found = case(legs, D("0.5"), {"INV": D(10_000)}, rule)
    (order,) = found.plan().orders
    assert order.size == D(closed)


def test_tiers_by_size_are_told_apart_by_size():
    tiers = tuple(
        Bracket(D(cap), initial_rate=D(1), maintenance_rate=D(rate))
        for cap, rate in (("1", "0.01"), ("5", "0.02"))
    )
    rule = LiquidationRule(sizing=LowerTier())
    found = one_leg(
        rule, "3", "0.5", requirements={"*": Requirement(tiers, measure="size", marginal=False)}
    )
    assert [order.size for order in found.plan().orders] == [2]


@pytest.mark.parametrize(
    ("size", "portion", "closed"),
    [
        ("10", Portion(D("0.2")), "2"),
        ("10", Portion(D("0.2"), least=D(500)), "5"),
        ("10", Portion(D("0.2"), least=D(5000)), "10"),
        ("10", Portion(D("0.2"), whole_below=D(1000)), "10"),
        ("10", Portion(D("0.2"), whole_below=D("999.99")), "2"),
        ("10", Portion(D("0.00001")), "0.01"),
        ("0.015", Portion(D("0.9")), "0.015"),
        ("0.005", Portion(D("0.2")), "0.005"),
    ],
)
def test_a_portion_goes_by_notional_in_lots(size, portion, closed):
    """At 100, in lots of 0.01; whole where no lot would be left (dYdX v4, Hyperliquid)."""
    for sign in (1, -1):
        found = one_leg(LiquidationRule(sizing=portion), str(sign * D(size)), "0.5")
        assert [order.size for order in found.plan().orders] == [D(closed)]


# --- which leg


def test_the_leg_that_frees_most_for_its_cost_goes_first():
    """B needs less than A, but closing it costs a tenth: 5 ÷ 0.5 beats 10 ÷ 2."""
    listed = [
        Perpetual(name, "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=D(fee))
        for name, fee in (("A", "0.01"), ("B", "0.005"))
    ]
    legs = {"A": (D(1), D(100)), "B": (D("-0.5"), D(100))}
    marks = {"A": D(100), "B": D(100)}
    rule = LiquidationRule(legs="cost", slippage={"A": D("0.01"), "*": D("0.005")})
    found = case(legs, D("0.9"), marks, rule, *listed, requirements=FLAT)
    assert [order.symbol for order in found.plan().orders] == ["B"]
    by_size = structs.replace(rule, legs="maintenance")
    found = case(legs, D("0.9"), marks, by_size, *listed, requirements=FLAT)
    assert [order.symbol for order in found.plan().orders] == ["A"]


@given(st.data())
def test_legs_that_stand_alone_go_by_what_they_free_per_cost(data):
    rule = LiquidationRule(sizing=Everything(), legs="cost", slippage={"INV": D("0.01")})
    found = data.draw(distressed(rule))
    state = found.health
    rates = {"LIN": D("0.0005"), "LIN2": D("0.0005"), "INV": D("0.0105")}
    with localcontext(EXACT):
        costs = {
            leg.symbol: rates[leg.symbol] * leg.notional * state.prices[leg.settle]
            for leg in state.legs
        }
        required = {leg.symbol: leg.required for leg in state.legs}
        order = [planned.symbol for planned in found.plan().orders]
        for one, other in pairwise(order):
            assert required[one] * costs[other] >= required[other] * costs[one]


# --- what grows with time

RAMP = SizeRamp(D("0.1"), 60_000_000, D(50))


@pytest.mark.parametrize(
    ("lacking", "freed", "elapsed", "left"),
    [
        (100, 0, 0, 90),
        (100, 0, 30_000_000, 40),
        (50, 50, 30_000_000, 40),
        (100, 0, 54_000_000, 0),
        (100, 0, 10**9, 0),
        (49, 0, 0, 0),
        (-1, 0, 0, 0),
    ],
)
def test_what_may_be_restored_grows_with_time(lacking, freed, elapsed, left):
    """A tenth at once, all within 54 s, what was restored before included (Drift v2,
    math/liquidation.rs:368)."""
    goal = allowed(RAMP, D(lacking), D(freed), elapsed)
    assert goal is not None
    assert goal.numerator == left * goal.divisor


def test_nothing_may_be_restored_while_more_was_already():
    assert allowed(RAMP, D(90), D(10), 0) is None
    assert allowed(RAMP, D(90), D(10), 1) == Goal(D("5399999900"), D(60_000_000))


def test_a_plan_that_is_allowed_nothing_waits():
    """Shortage 60: a tenth of it is 6, which 0.67 lots of 10 − 1 free."""
    rule = LiquidationRule(sizing=LeastReduction(RAMP))
    found = one_leg(rule, "10", "0.4")
    assert [order.size for order in found.plan().orders] == [D("0.67")]
    assert [order.size for order in found.plan(24_000_000).orders] == [D("3.34")]
    waiting = found.plan(0, freed=D(10))
    assert (waiting.orders, waiting.waits) == ((), "cooldown")
