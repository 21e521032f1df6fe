"""Dutch auctions: prices fall, takers pay for what they get, and neither dust nor caps are passed
by."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.auction import (
    Decay,
    InFlight,
    KeeperPay,
    Reset,
    Take,
    keeper_pay,
    keeper_pay_again,
    needs_reset,
    price_at,
    room,
    start,
    start_price,
    storefront_amount,
    storefront_price,
    take,
)
from engine.money import ONE, ZERO, exact

D = Decimal
SECOND = 1_000_000
UNIT = D("0.001")

decays = st.sampled_from(
    [
        Decay("linear", duration=3600 * SECOND),
        Decay("stair_step", interval=90 * SECOND, cut=D("0.99")),
        Decay("exponential", cut=D("0.9992")),
    ]
)
times = st.lists(st.integers(0, 7200 * SECOND), min_size=2)
amounts = st.integers(1, 10**7).map(lambda units: units * UNIT)
prices = st.integers(1, 10**5).map(lambda cents: D(cents) / 100)


# --- the price


@exact
@given(decays, times, prices)
def test_a_price_starts_at_its_top_and_never_rises(
    rule: Decay, moments: list[int], top: Decimal
) -> None:
    read = [price_at(rule, top, elapsed) for elapsed in sorted([0, *moments])]
    assert read[0] == top
    assert all(0 <= later <= earlier for earlier, later in pairwise(read))


@exact
def test_the_shapes_of_a_price() -> None:
    linear = Decay("linear", duration=100)
    assert [price_at(linear, D(10), at) for at in (25, 100, 101)] == [D("7.5"), 0, 0]
    stairs = Decay("stair_step", interval=90, cut=D("0.5"))
    assert [price_at(stairs, D(10), at) for at in (89, 90, 180)] == [10, 5, D("2.5")]
    exponential = Decay("exponential", cut=D("0.5"))
    assert [price_at(exponential, D(8), at * SECOND) for at in (1, 2, 3)] == [4, 2, 1]
    assert price_at(Decay("linear", duration=3, step=D("0.01")), ONE, 1) == D("0.66")
    coarse = Decay("exponential", cut=D("0.5"), step=D("0.01"))
    assert price_at(coarse, D("0.05"), SECOND) == D("0.02")
    assert start_price(D("1.11"), D("1.2"), D("0.01")) == D("1.33")
    with pytest.raises(ValueError, match="-1 µs after its start"):
        price_at(linear, D(10), -1)


@exact
def test_an_auction_starts_anew_by_time_and_by_price() -> None:
    rule = Reset(3600, D("0.4"))
    assert not needs_reset(rule, D(10), D(4), 3600)
    assert needs_reset(rule, D(10), D(4), 3601)
    assert needs_reset(rule, D(10), D("3.99"), 0)


# --- takes


@exact
@given(amounts, prices, amounts, amounts, amounts)
def test_a_taker_pays_for_what_he_gets_and_leaves_no_dust(
    wanted: Decimal, price: Decimal, lot: Decimal, debt: Decimal, dust: Decimal
) -> None:
    found = take(wanted, price, lot, debt, dust, UNIT)
    if found is None:
        # Only all of it may be taken, which was not asked for.
        assert debt <= dust
        assert wanted < lot
        assert wanted * price < debt
        return
    assert found.debt + found.paid == debt
    assert found.lot + found.taken == lot
    assert min(found) >= 0
    assert found.taken <= wanted
    assert found.taken * price <= found.paid
    assert not found.debt or not found.lot or found.debt >= dust


@exact
def test_the_whole_lot_can_always_be_taken() -> None:
    assert take(D(9), D(1), D(5), D(10), D(20), UNIT) == Take(D(5), D(5), D(5), ZERO)
    assert take(D(4), D(1), D(5), D(10), D(20), UNIT) is None
    assert take(D(4), D(3), D(5), D(10), D(20), UNIT) == Take(D(10), D("3.333"), ZERO, D("1.667"))
    assert take(D(5), ZERO, D(5), D(10), D(20), UNIT) is None
    # Of a debt of 10 at least 4 are left: 6 are paid.
    assert take(D(4), D(2), D(9), D(10), D(4), UNIT) == Take(D(6), D(3), D(4), D(6))
    assert take(D(1), D(7), D(9), D(10), D(4), UNIT) == Take(D(6), D("0.857"), D(4), D("8.143"))


# --- the start


@exact
@given(amounts, amounts, amounts, st.integers(0, 30), amounts, st.integers(100, 300))
def test_what_goes_on_auction_fits_or_would_leave_dust(
    principal: Decimal, lot: Decimal, free: Decimal, percent: int, dust: Decimal, hundredths: int
) -> None:
    index, penalty = D(hundredths) / 100, D(percent) / 100
    found = start(principal, lot, index, penalty, free, dust, UNIT, UNIT, D("1e-9"))
    if found is None:
        return
    left = principal - found.principal
    assert 0 < found.principal <= principal
    assert 0 < found.lot <= lot
    assert found.lot * principal <= lot * found.principal
    assert found.debt == found.principal * index * (ONE + penalty)
    assert found.debt <= free or not left
    assert not left or min(left, found.principal) * index >= dust


@exact
def test_nothing_goes_on_auction_without_room_or_worth() -> None:
    def begin(free: str, *, lot: str = "50", dust: str = "10") -> object:
        return start(D(100), D(lot), ONE, D("0.1"), D(free), D(dust), UNIT, UNIT, UNIT)

    assert begin("0") is None
    assert begin("5") is None  # what fits is dust itself
    assert begin("55") == (D(50), D(25), D(55))
    assert begin("105") == (D(100), D(50), D(110))  # what would be left is dust
    assert begin("55", lot="0") is None
    coarse = start(D(100), D(50), ONE, D("0.1"), D("11"), ZERO, UNIT, D(10), UNIT)
    assert coarse is None  # collateral comes in tens, and 5 would go along
    limits = InFlight(D(100), D(30))
    assert room(limits, D(20), D(10)) == 20
    assert room(limits, D(90), D(10)) == 10
    assert room(limits, D(101), ZERO) == 0


# --- keepers and sales


@exact
def test_a_keeper_is_paid_and_not_for_ever() -> None:
    rule = KeeperPay(D(100), D("0.02"))
    assert keeper_pay(rule, D("110.01"), D("0.01")) == D("102.20")
    assert keeper_pay_again(rule, D(110), D(22), D(1), D(22), UNIT) == D("102.2")
    assert keeper_pay_again(rule, D(110), D(21), D(1), D(22), UNIT) == 0
    assert keeper_pay_again(rule, D(21), D(22), D(1), D(22), UNIT) == 0


@exact
@given(amounts, prices, st.integers(50, 100), st.integers(0, 100))
def test_a_buyer_at_a_discount_pays_for_what_he_gets(
    paid: Decimal, price: Decimal, liquidation_percent: int, percent: int
) -> None:
    cents = D("0.01")
    sale = storefront_price(price, percent * cents, liquidation_percent * cents, cents, D("1e-18"))
    assert sale <= price
    assert sale >= price / 2 - cents
    if sale:
        assert storefront_amount(paid, ONE, sale, UNIT) * sale <= paid


@exact
def test_a_discount_and_its_price_are_rounded_down() -> None:
    cents = D("0.01")
    assert storefront_price(D("9.99"), D("0.5"), D("0.8"), cents, cents) == D("8.99")
    assert storefront_price(ONE, D("0.333"), D("0.7"), D("0.001"), cents) == D("0.91")
