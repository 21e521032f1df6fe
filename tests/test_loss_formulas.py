"""Venues' own formulas of who bears a loss: nothing is lost on the way, and the same one by one."""

from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.auction import Decay, decay_time, price_at, throughput_time
from engine.deleveraging_formulas import fraction_taken, overshoot, profit_on_cash
from engine.lending import Side
from engine.loss_sharing import (
    Claims,
    TokenFund,
    cover_result,
    haircut,
    index_delta,
    insolvent_payout,
)
from engine.money import exact, floor_to
from engine.stability_pool import (
    PRODUCT_STEP,
    Deposit,
    Deposits,
    Penalties,
    deposited,
    gained_by,
    left_of,
    settle_loan,
    take_debt,
)

WAD = D(1).scaleb(-18)
SECOND = 1_000_000


def amounts(low: str = "0", high: str = "1000") -> st.SearchStrategy[D]:
    return st.decimals(D(low), D(high), places=2)


# --- the stability pool


@exact
@given(
    amounts("1"),
    amounts("0", "20"),
    amounts("0", "1500"),
    amounts("1", "2000"),
    st.decimals(D(0), D("0.3"), places=2),
    st.decimals(D(0), D("0.3"), places=2),
)
def test_a_loan_is_shared_out_and_nothing_is_left(
    debt: D, lot: D, available: D, price: D, pool: D, others: D
) -> None:
    penalties = Penalties(pool, others)
    sides = Side(debt, D(1), WAD), Side(lot, price, WAD)
    found = settle_loan(*sides, available, penalties)
    assert min(found) >= 0
    assert found.debt_to_pool == min(debt, available)
    assert found.debt_to_pool + found.debt_to_others == debt
    assert found.to_pool + found.to_keeper + found.to_others + found.surplus == lot
    assert found.to_pool * price <= found.debt_to_pool * (1 + pool)
    assert found.to_others * price <= found.debt_to_others * (1 + others)
    # The owner gets something back only once both have got all they may.
    if found.surplus:
        for taken, part, penalty in (
            (found.to_pool, found.debt_to_pool, pool),
            (found.to_others, found.debt_to_others, others),
        ):
            spare = part * (1 + penalty) - (taken + WAD) * price
            assert spare < 0 or (found.debt_to_others and taken == found.to_pool)


offsets = st.lists(
    st.tuples(amounts("1", "1000"), st.decimals(D(0), D(1), places=3), amounts("0", "50")),
    min_size=1,
    max_size=10,
)


@exact
@given(offsets)
def test_product_and_sum_say_what_each_deposit_has_become(events: list[tuple[D, D, D]]) -> None:
    """Against deposits that are touched one by one: never more, and less by roundings alone.

    One more is made before each debt; one unit of the asset stays in the pool, as Liquity has it.
    """
    pool, deposits = Deposits(D(0)), list[tuple[Deposit, Fraction, Fraction]]()
    for amount, part, collateral in events:
        pool, deposit = deposited(pool, amount)
        deposits.append((deposit, Fraction(amount), Fraction(0)))
        debt = floor_to((pool.total - 1) * part, WAD)
        total = Fraction(pool.total)
        deposits = [
            (
                one,
                left - left * Fraction(debt) / total,
                gained + Fraction(collateral) * left / total,
            )
            for one, left, gained in deposits
        ]
        pool = take_debt(pool, debt, collateral)
    for deposit, left, gained in deposits:
        assert 0 <= left - Fraction(left_of(deposit, pool, WAD)) <= Fraction(2 * WAD)
        assert 0 <= gained - Fraction(gained_by(deposit, pool, WAD)) <= Fraction(2 * WAD)
    assert sum(left_of(deposit, pool, WAD) for deposit, _, _ in deposits) <= pool.total
    assert PRODUCT_STEP < pool.product <= 1


@exact
def test_a_deposit_outlives_eight_scales_and_no_more() -> None:
    pool, deposit = deposited(Deposits(D(0)), D("1e20"))
    for scale in range(10):
        if scale < 9:
            assert left_of(deposit, pool, WAD * WAD * WAD * WAD * WAD) > 0
        pool = take_debt(pool, pool.total - pool.total.scaleb(-10), D(0))
        pool = pool._replace(total=D("1e20"))
    assert pool.scale > 8
    assert left_of(deposit, pool, WAD * WAD * WAD * WAD * WAD) == 0


@exact
def test_a_pool_is_never_emptied() -> None:
    for debt in (D(10), D(11), D(-1)):
        with pytest.raises(ValueError, match=r"stability pool: .* of 10 offset"):
            take_debt(Deposits(D(10)), debt, D(1))


# --- what each bears


@exact
@given(amounts("0.01"), amounts(), st.sampled_from((D("0.01"), D("0.000001"))))
def test_an_index_collects_the_loss_and_at_most_a_step_of_each_more(
    loss: D, shares: D, step: D
) -> None:
    moved = index_delta(loss, shares, step)
    if not shares:
        assert moved is None
        return
    assert moved is not None
    assert loss <= moved * shares < loss + shares * step


@exact
@given(amounts(), amounts(), amounts("0", "2500"), amounts())
def test_a_haircut_leaves_claims_that_are_covered(
    equity: D, unvested: D, assets: D, fund: D
) -> None:
    found = haircut(Claims(equity, unvested), assets, fund)
    left = equity * (1 - found.part) + unvested - found.burned
    assert 0 <= found.burned <= unvested
    assert 0 <= found.part <= 1
    assert left <= assets + fund + found.uncovered
    # No more is cut than must be: to the step of the part.
    if found.burned:
        assert left > assets + fund - equity * WAD - WAD
    # Equity is cut only once nothing is unvested any more, and the fund is empty.
    if found.part:
        assert (found.burned, found.paid_by_fund) == (unvested, fund)
    assert found.uncovered == 0  # equity covers any shortage that is a part of the claims


@exact
@given(
    st.decimals(D(-500), D(500), places=2),
    amounts("0", "500"),
    st.integers(0, 700),
    st.integers(1, 600),
    st.decimals(D("0.01"), D(1), places=2),
)
def test_a_bidder_is_paid_more_the_longer_nobody_bids(
    value: D, requirement: D, elapsed: int, length: int, share: D
) -> None:
    def payout(time: int) -> D:
        return insolvent_payout(value, value - requirement, time, length, share, D("0.01"))

    paid = payout(elapsed)
    assert paid <= payout(elapsed + 1) <= payout(length)
    short, least = max(requirement - value, D(0)), max(-value, D(0))
    if short:
        assert (least - D("0.01")) * share - D("0.01") <= paid <= short * share
    else:
        assert paid == 0


funds = st.builds(
    TokenFund,
    st.integers(0, 60).map(D),
    amounts("0.5", "5"),
    st.sampled_from((D(0), D("0.05"))),
)


@exact
@given(amounts("-100", "10"), amounts(), amounts(), amounts(), amounts("0.5", "5"), funds)
def test_a_negative_result_is_covered_in_order_and_never_twice(
    result: D, payable: D, needed: D, most: D, price: D, fund: TokenFund
) -> None:
    found = cover_result(result, payable, needed, most, price, fund)
    if result >= 0:
        assert found is None
        return
    assert found is not None
    assert min(found) >= 0
    assert found.paid + found.taken <= most
    assert found.paid <= payable
    assert found.paid + found.taken + found.shared <= -result
    assert found.taken + found.shared <= needed
    assert found.tokens <= fund.tokens
    if found.tokens:
        # A taker is paid at least what it takes, with the fee; at most a token more.
        cost, charged = found.taken * price * (1 + fund.fee), found.tokens * fund.price
        assert cost <= charged < cost + fund.price + D("1e-9")
    if found.taken or found.shared:
        assert found.paid == min(payable, -result)
    if found.shared:
        assert found.tokens == fund.tokens


# --- deleveraging


@exact
@given(st.lists(amounts("0.01"), min_size=1, max_size=6), amounts())
def test_the_same_part_of_everybody_is_enough(capacities: list[D], needed: D) -> None:
    whole = sum(capacities, D(0))
    part = fraction_taken(needed, whole)
    assert 0 <= part <= 1
    given_ = sum((part * one for one in capacities), D(0))
    assert given_ >= min(needed, whole)
    assert given_ - min(needed, whole) <= whole * WAD
    assert fraction_taken(needed, D(0)) == 1


@exact
@given(st.lists(st.tuples(amounts(), amounts()), max_size=6))
def test_overshoot_is_what_was_taken_less_what_was_needed(waves: list[tuple[D, D]]) -> None:
    needed, taken = [one for one, _ in waves], [other for _, other in waves]
    assert overshoot(needed, taken) + sum(needed) == sum(taken)
    with pytest.raises(ValueError, match="zip"):
        overshoot([*needed, D(1)], taken)


@exact
@given(amounts("-500", "500"), amounts("0.01"), amounts("0.01"))
def test_who_profits_most_for_what_it_put_in_ranks_first(profit: D, cash: D, more: D) -> None:
    unit, step = D("0.01"), D("1e-12")
    score = profit_on_cash(profit, cash, unit)
    assert score * cash <= max(profit, D(0)) < (score + step) * cash or profit < 0
    assert profit_on_cash(profit, cash + more, unit) <= score
    assert profit_on_cash(profit + more, cash, unit) >= score
    assert profit_on_cash(profit, D(0), unit) == profit_on_cash(profit, unit, unit)


# --- auctions in a chain


@exact
@given(
    st.decimals(D("0.5"), D("0.999"), places=3),
    st.decimals(D(1), D(3), places=2),
    st.integers(1, 300),
)
def test_when_an_auction_has_come_down_to_the_market(cut: D, buffer: D, seconds: int) -> None:
    rule = Decay("stair_step", interval=seconds * SECOND, cut=cut)
    time = decay_time(cut, buffer, D(seconds))
    steps = int(time // seconds)
    assert price_at(rule, buffer, (steps + 1) * seconds * SECOND) <= 1
    if time:
        assert price_at(rule, buffer, steps * seconds * SECOND) >= 1 - D("1e-15")


@exact
@given(amounts("0.01"), amounts("0.01"), amounts("0", "50"))
def test_batches_take_a_cycle_each(debt: D, limit: D, cycle: D) -> None:
    in_all = throughput_time(debt, limit, cycle)
    assert debt * cycle <= in_all * limit < (debt + limit) * cycle or not cycle
