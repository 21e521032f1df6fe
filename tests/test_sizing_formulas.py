"""Venues' own formulas of how much is closed, and what it costs: what they promise, and the same by
the engine's margin and planning."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.fee_formulas import fund_delta, ramped_fee, spot_fund_fee
from engine.liquidation import Liquidation
from engine.liquidation_profile import LeastReduction, LiquidationRule, Portion
from engine.margin import Health
from engine.money import ceil_to, exact
from engine.perp_reduction import Perpetual, Reduction, ReductionRule, reduce_perpetual
from engine.planning import plan_orders
from engine.profile import Collateral, Profit, Trigger
from engine.sizing_formulas import (
    Closed,
    Leg,
    exchange_to_zero,
    left_of_limit,
    liability_to_cover,
    portion_bounds,
    room_in_window,
    size_to_cover,
    window_limit,
)
from engine.weighted_balance import AMOUNT_STEP, Worth, given_to_zero, taken_to_zero
from tests.cases.accounts import USD, Account, Position, account, complement, flat

LOT = D(1).scaleb(-18)
"""The lot of accounts as cases have them."""

UNIT = D("0.01")


def numbers(low: str, high: str, places: int = 2) -> st.SearchStrategy[D]:
    return st.decimals(D(low), D(high), places=places)


weights = numbers("0.1", "0.95")
worths = st.builds(lambda owned, more: Worth(owned, owned + more), weights, numbers("0", "2"))


# --- the balance that brings health to zero


@exact
@given(numbers("-50", "50"), numbers("-50", "50"), worths)
def test_what_is_taken_leaves_nothing_of_health(health: D, balance: D, worth: Worth) -> None:
    taken = taken_to_zero(health, balance, worth)
    after = health - worth.of(balance) + worth.of(balance - taken)
    if health <= 0:
        assert taken == 0
    else:
        assert 0 <= after < AMOUNT_STEP * worth.owed


@exact
@given(numbers("-50", "50"), numbers("-50", "50"), worths)
def test_what_is_given_just_lifts_health_to_zero(health: D, balance: D, worth: Worth) -> None:
    given_ = given_to_zero(health, balance, worth)
    after = health - worth.of(balance) + worth.of(balance + given_)
    if health >= 0:
        assert given_ == 0
    else:
        assert 0 <= after < AMOUNT_STEP * worth.owed


# --- the perpetual that is reduced in five steps


def perp_account(
    lots: D, value: D, quote: D, cash: D, other: D, base: D, overall: D, owned: D
) -> Account:
    return account(
        {USD: cash, "OTHER": other},
        [Position("X", lots, value, flat(None, complement(base)), cost=-quote)],
        prices={"OTHER": D(1)},
        collateral={
            USD: Collateral(haircut=complement(owned), borrow_weight=2 - owned),
            "OTHER": Collateral(),
        },
        profit=Profit(weight=overall, after_requirement=True),
    )


def surplus(state: Health) -> D:
    return state.margin_equity - state.maintenance


perps = st.fixed_dictionaries(
    {
        "lots": st.integers(-40, 40).filter(bool).map(D),
        "value": numbers("0.5", "4"),
        "quote": numbers("-40", "40"),
        "cash": numbers("-40", "20"),
        "other": numbers("-20", "20"),
        "base": weights,
        "overall": st.one_of(st.just(D(0)), numbers("0", "0.9")),
        "owned": st.one_of(st.just(D(1)), weights),
    }
)


def reduced(held: dict[str, D], most_lots: D, most_settled: D, fee: D) -> Reduction:
    state = perp_account(**held).health
    base, owned = held["base"], held["owned"]
    return reduce_perpetual(
        Perpetual(held["lots"], held["value"], held["quote"]),
        surplus(state),
        state.counted[USD],
        ReductionRule(base, 2 - base, held["overall"], Worth(owned, 2 - owned), settling_fee=fee),
        most_lots,
        most_settled,
    )


def after(held: dict[str, D], done: Reduction) -> Health:
    left = held["lots"] - done.lots.copy_sign(held["lots"])
    kept = {"lots": left, "quote": held["quote"] + done.quote, "cash": held["cash"] + done.cash}
    return perp_account(**{**held, **kept}).health


@exact
@given(perps, st.integers(0, 50), st.integers(0, 60), numbers("0", "0.3"))
def test_a_reduction_never_lowers_health_nor_passes_its_limits(
    held: dict[str, D], most_lots: int, most_settled: int, fee: D
) -> None:
    before = surplus(perp_account(**held).health)
    done = reduced(held, D(most_lots), D(most_settled), fee)
    assert 0 <= done.lots <= min(abs(held["lots"]), most_lots)
    assert done.lots == done.lots.to_integral_value()
    assert 0 <= done.settled <= most_settled
    assert done.cash == done.settled * (1 - fee)
    assert surplus(after(held, done)) >= before
    if before >= 0:
        assert done == (0, 0, 0, 0)


@exact
@given(perps, numbers("0", "0.3"))
def test_without_limits_health_reaches_zero_or_nothing_more_would_raise_it(
    held: dict[str, D], fee: D
) -> None:
    done = reduced(held, D(1000), D(1000), fee)
    left = after(held, done)
    if surplus(left) >= -ReductionRule(D(1), D(1), D(0), Worth(D(1), D(1))).spare:
        return
    assert done.lots == abs(held["lots"])
    result = held["quote"] + held["lots"] * held["value"] - done.settled
    assert result <= AMOUNT_STEP or 1 - fee <= held["overall"]


@exact
@given(perps, numbers("0", "0.3"))
def test_a_reduction_closes_no_lot_more_than_health_needs(held: dict[str, D], fee: D) -> None:
    """With one lot fewer allowed health stays below zero, or more has to be settled."""
    done = reduced(held, D(1000), D(1000), fee)
    assume(done.lots)
    fewer = reduced(held, done.lots - 1, done.settled, fee)
    assert surplus(after(held, fewer)) < 0


def test_a_lot_whose_closing_costs_what_it_counts_is_not_closed() -> None:
    rule = ReductionRule(D("0.9"), D("1.1"), D(0), Worth(D(1), D(1)), closing_fee=D("0.1"))
    for lots in (D(1), D(-1)):
        with pytest.raises(ValueError, match="reduction: a lot that counts"):
            reduce_perpetual(Perpetual(lots, D(1), D(0)), D(-1), D(-1), rule, D(1), D(1))


# --- what covers a shortage


@exact
@given(
    st.sampled_from((1, -1)),
    numbers("1", "2000"),
    numbers("0.05", "0.5"),
    numbers("0", "0.02"),
    numbers("0", "0.02"),
    numbers("0.01", "0.99"),
)
def test_the_formula_closes_what_the_engine_plans(
    side: int, price: D, ratio: D, taker_fee: D, fund_fee: D, part: D
) -> None:
    """The engine looks for the fewest lots that restore a group, the formula divides: a lot apart
    at most, as it rounds down."""
    size, freed = D(3), ratio - taker_fee - fund_fee
    assume(freed > 0)
    shortage = part * size * price * freed
    cash = size * price * ratio - shortage - side * size * price
    made = account(
        {USD: cash},
        [Position("X", side * size, price, flat(None, ratio), taker_fee=taker_fee)],
        decimals=30,
        trigger=Trigger(stop_buffer=D(0)),
        liquidation=LiquidationRule(sizing=LeastReduction(), fee_rate=fund_fee),
    )
    assume(made.health.equity > 0)  # else all is closed, whatever would do
    plan = plan_orders(made.health, *made, Liquidation(1, "breach", ""))
    (order,) = plan.orders
    found = size_to_cover(shortage, ratio, taker_fee, fund_fee, price, D(1), LOT)
    assert found is not None
    assert found <= order.size <= found + LOT


legs = st.builds(Leg, weights, numbers("1", "1.2"))
liabilities = st.builds(Leg, numbers("1.05", "1.6"), numbers("0.8", "1"))


@exact
@given(numbers("0.01", "900"), legs, liabilities, numbers("0.5", "2000"), numbers("0", "0.05"))
def test_a_liability_that_is_taken_over_frees_no_more_than_the_shortage(
    shortage: D, asset: Leg, liability: Leg, price: D, fee: D
) -> None:
    step = D("0.000000001")
    found = liability_to_cover(shortage, asset, liability, price, fee, step)
    kept = liability.weight * liability.multiplier - asset.weight * asset.multiplier
    if found is None:
        assert kept < price  # nothing to free, to the rounding of weights
        return
    rest = price * (kept - fee * liability.weight * liability.multiplier)
    assert found == step or found * rest <= (shortage + step) * liability.multiplier
    assert found >= step


@exact
@given(
    numbers("-50", "0"),
    st.builds(Leg, weights, numbers("1", "1.05")),
    st.builds(Leg, numbers("1.2", "1.6"), numbers("1", "1.05")),
    numbers("0.5", "50"),
    numbers("0.5", "50"),
    numbers("0", "60"),
    numbers("0", "60"),
)
def test_an_exchange_lifts_health_to_zero_unless_something_runs_out(
    health: D, asset: Leg, liability: Leg, price: D, debt_price: D, owned: D, owed: D
) -> None:
    found = exchange_to_zero(health, asset, liability, price, debt_price, owned, owed)
    if not (owned and owed):
        assert found is None
        return
    assert found is not None
    assert 0 <= found.repaid <= owed
    assert 0 <= found.taken <= owned
    charged = debt_price * asset.multiplier * liability.multiplier
    assert found.taken * price >= found.repaid * charged
    gained = found.repaid * liability.weight * debt_price - found.taken * asset.weight * price
    if gained + health < -1000 * AMOUNT_STEP:
        assert found.repaid == owed or (owned - found.taken) * price <= 1000 * AMOUNT_STEP


@exact
@given(numbers("0", "1"), numbers("0", "500"), numbers("0", "1000"))
def test_a_portion_is_within_the_position(share: D, least: D, notional: D) -> None:
    bounds = portion_bounds(Portion(share, least), notional, UNIT)
    assert 0 <= bounds.least <= bounds.most <= notional
    assert bounds.least == min(least, notional)
    assert bounds.most in (bounds.least, share * notional - share * notional % UNIT)


# --- limits in a while


@exact
@given(numbers("0", "900"), numbers("0", "900"))
def test_of_a_limit_is_left_what_was_not_used(limit: D, used: D) -> None:
    if used > limit:
        with pytest.raises(ValueError, match=r"limit: .* used"):
            left_of_limit(limit, used)
    else:
        assert left_of_limit(limit, used) + used == limit


@exact
@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 40), numbers("0", "90")), max_size=12),
)
def test_no_window_of_time_sees_more_closed_than_its_limit(
    window: int, calls: list[tuple[int, D]]
) -> None:
    limit = window_limit(D("0.007"), D("0.003"), D(1000), D("0.5"), window)
    assert limit == 5 * window
    now, closed = 0, list[Closed]()
    for later, wanted in calls:
        now += later
        room = room_in_window(limit, closed, window, now)
        assert 0 <= room <= limit
        closed.append(Closed(now, min(room, wanted)))
        within = [one.size for one in closed if now - window < one.time <= now]
        assert sum(within) <= limit
        # What there was no room for is closed as soon as what stood in its way is old enough.
        assert room_in_window(limit, closed, window, now + window) == limit


# --- fees


@exact
@given(numbers("0", "0.1", 4), numbers("0", "0.1", 4), st.integers(0, 5000), st.integers(0, 2000))
def test_a_liquidators_fee_only_grows_with_time(base: D, more: D, elapsed: int, grace: int) -> None:
    def fee(time: int) -> D:
        return ramped_fee(base, base + more, time, grace, D("0.000001"))

    assert base <= fee(elapsed) <= fee(elapsed + 1) <= base + more
    if elapsed < grace:
        assert fee(elapsed) == base


@exact
@given(numbers("-900", "900"), numbers("-900", "900"), numbers("0", "1", 3))
def test_the_fund_gets_what_a_fill_left_and_pays_what_it_lacked(
    proceeds: D, quote: D, rate: D
) -> None:
    delta = fund_delta(proceeds, quote, rate, UNIT)
    # What the account is left with is never less than its share allowed, nor more where it lacked.
    assert proceeds - delta >= quote
    if proceeds <= quote:
        assert proceeds - delta == quote
    else:
        assert 0 <= delta <= rate * abs(proceeds)


@exact
@given(numbers("0.01", "90"), numbers("0.1", "20"), legs, liabilities, numbers("1", "2000"))
def test_the_funds_fee_never_keeps_an_account_in_liquidation(
    shortage: D, amount: D, asset: Leg, liability: Leg, price: D
) -> None:
    fee = spot_fund_fee(shortage, amount, asset, liability, price, D("0.05"))
    assert 0 <= fee <= D("0.05")
    if fee:
        lm = liability.multiplier
        freed = liability.weight * (1 - fee) * lm - asset.weight * asset.multiplier
        # The weight of the collateral and the shortage are rounded down on the way.
        assert freed * amount * price >= (shortage - D("0.000003") * amount * price) * lm


@pytest.mark.parametrize(
    "changed",
    [
        {"price": D(0)},
        {"ratio": D("0.01"), "liquidator_fee": D("0.02")},
        {"ratio": D("0.02"), "liquidator_fee": D("0.01"), "fund_fee": D("0.01")},
    ],
)
@exact
def test_where_no_size_frees_enough_there_is_none(changed: dict[str, Any]) -> None:
    told = {
        "shortage": D(1),
        "ratio": D("0.1"),
        "liquidator_fee": D(0),
        "fund_fee": D(0),
        "price": D(100),
        "quote_price": D(1),
        "step": UNIT,
    }
    assert size_to_cover(**told) == ceil_to(D("0.1"), UNIT)
    assert size_to_cover(**{**told, **changed}) is None
