"""Fuses: a bad print liquidates nobody, and a market that liquidation itself drives is halted."""

from decimal import Decimal as D
from typing import Any

import pytest

from engine import decisions as d
from engine import events as e
from engine import state
from engine.instruments import Option, Perpetual
from engine.liquidation_profile import Fuses, LiquidationRule
from engine.profile import Entry, RiskProfile
from engine.profile_faults import faults
from tests.story import Story, WholeEngine, engine_of, of, only

SECOND = 1_000_000
MINUTE = 60 * SECOND

LINEAR = Perpetual("BTCUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0))
OTHER = Perpetual("ETHUSDT", "USDT", 3, 2, D("0.01"), D("0.001"), D(10**6), taker_fee=D(0))
INVERSE = Perpetual(
    "BTCUSD", "BTC", 0, 1, D("0.1"), D(1), D(10**9),
    style="inverse", multiplier=D(100), taker_fee=D(0),
)  # fmt: skip

JUMP = Fuses(max_jump=D("0.3"))
FLOW = Fuses(max_share_of_oi_per_minute=D("0.1"))


def market(fuses: Fuses, *, netting: bool = False, **fields: Any) -> Story:
    """Return a venue of three perpetuals with the fuses."""
    told = Story(WholeEngine())
    rule = LiquidationRule(fuses=fuses, netting=netting)
    told.rules(LINEAR, OTHER, INVERSE, rate="0.004", liquidation=rule, **fields)
    return told


def position(story: Story, account: str, size: str, money: str) -> None:
    """Open a linear position at 10,000 with so much money."""
    story.deposit(account, "USDT", money)
    story.fill(account, "BTCUSDT", size, "10000")


# --- held prices


@pytest.mark.parametrize(("size", "print_"), [("1", "5000"), ("-1", "20000")])
def test_one_bad_print_costs_nobody_anything(size: str, print_: str) -> None:
    story = market(JUMP)
    position(story, "a", size, "3000")
    story.price("BTCUSDT", "10000")
    held = only(d.PriceHeld, story.price("BTCUSDT", print_))
    assert (held.symbol, held.kind, held.price, held.last, held.source, held.time) == (
        "BTCUSDT", "mark", D(print_), D(10000), "venue", story.time,
    )  # fmt: skip
    assert story.price("BTCUSDT", "9990") == []
    assert engine_of(story).markets.held == {}
    assert not of(d.LiquidationStarted, story.decided)


@pytest.mark.parametrize(
    ("size", "first", "second"), [("1", "5000", "4500"), ("-1", "20000", "26000")]
)
def test_a_second_print_that_agrees_makes_it_true(size: str, first: str, second: str) -> None:
    story = market(JUMP)
    position(story, "a", size, "3000")
    story.price("BTCUSDT", "10000")
    only(d.PriceHeld, story.price("BTCUSDT", first))
    decided = story.price("BTCUSDT", second)
    assert only(d.LiquidationOrder, decided).decided_mark == D(second)
    assert not of(d.PriceHeld, decided)
    assert engine_of(story).markets.held == {}


@pytest.mark.parametrize(
    ("size", "first", "second"), [("100", "5000", "4500"), ("-100", "20000", "26000")]
)
def test_an_inverse_position_waits_for_the_second_print_too(
    size: str, first: str, second: str
) -> None:
    story = market(JUMP)
    story.deposit("a", "BTC", "0.45")
    story.price("BTC", "10000", "index")
    story.fill("a", "BTCUSD", size, "10000", fee_asset="BTC")
    story.price("BTCUSD", "10000")
    assert not of(d.LiquidationStarted, story.price("BTCUSD", first))
    assert of(d.LiquidationStarted, story.price("BTCUSD", second))


@pytest.mark.parametrize(
    ("price", "holds"),
    [("13000", False), ("13000.1", True), ("7000", False), ("6999.9", True)],
)
def test_a_price_at_the_very_limit_counts(price: str, holds: bool) -> None:
    story = market(JUMP)
    story.price("BTCUSDT", "10000")
    assert bool(of(d.PriceHeld, story.price("BTCUSDT", price))) is holds
    assert engine_of(story).markets.price("BTCUSDT", "mark") == D("10000" if holds else price)


@pytest.mark.parametrize(
    ("second", "holds"),
    [("6500", False), ("6500.1", True), ("3500", False), ("3499.9", True)],
)
def test_what_agrees_is_measured_from_the_held_price(second: str, holds: bool) -> None:
    story = market(JUMP)
    story.price("BTCUSDT", "10000")
    story.price("BTCUSDT", "5000")
    again = of(d.PriceHeld, story.price("BTCUSDT", second))
    assert [held.price for held in again] == ([D(second)] if holds else [])
    held = engine_of(story).markets.held
    assert [one.price for one in held.values()] == ([D(second)] if holds else [])


def test_the_same_print_again_is_no_second_one() -> None:
    story = market(JUMP)
    story.price("BTCUSDT", "10000")
    for _ in range(20):
        assert not only(d.PriceHeld, story.price("BTCUSDT", "5000")).believed
    assert story.price("BTCUSDT", "5000.1") == []


@pytest.mark.parametrize(
    ("gap", "believed"),
    [
        (1_000_000, [False] * 10 + [True]),
        (2_500_000, [False] * 4 + [True]),
        (60_000_000, [False] * 4 + [True]),
    ],
)
@pytest.mark.parametrize("factor", ["1.5", "1"])
def test_prices_that_stay_away_are_believed_after_five_and_ten_seconds(
    gap: int, believed: list[bool], factor: str
) -> None:
    """They run away, each too far from the one before, or say the same again and again."""
    story = market(JUMP)
    story.price("BTCUSDT", "10000")
    said, price = [], D(20000)
    for _ in believed:
        story.time += gap - 1
        said.append(only(d.PriceHeld, story.price("BTCUSDT", str(price))).believed)
        price = (price * D(factor)).quantize(D("0.1"))
    assert said == believed
    assert engine_of(story).markets.held == {}
    assert engine_of(story).markets.price("BTCUSDT", "mark") > 10000


def test_prints_that_alternate_are_held_every_time() -> None:
    story = market(JUMP)
    position(story, "a", "1", "3000")
    story.price("BTCUSDT", "10000")
    for _ in range(9):
        story.time += 5 * SECOND
        assert only(d.PriceHeld, story.price("BTCUSDT", "5000")).last == 10000
        assert not story.price("BTCUSDT", "10000")


def test_prints_that_agree_with_nothing_change_nothing() -> None:
    story = market(JUMP)
    position(story, "a", "1", "3000")
    story.price("BTCUSDT", "10000")
    for price in ("5000", "20000", "2000", "50000"):
        assert only(d.PriceHeld, story.price("BTCUSDT", price)).last == 10000
    assert not of(d.LiquidationStarted, story.decided)


def test_a_bad_index_print_takes_no_collateral() -> None:
    story = market(JUMP)
    story.deposit("a", "BTC", "1")
    story.price("BTC", "10000", "index")
    story.fill("a", "BTCUSDT", "-0.5", "10000")
    story.price("BTCUSDT", "10000")
    assert only(d.PriceHeld, story.price("BTC", "10", "index")).kind == "index"
    assert not of(d.LiquidationStarted, story.price("BTC", "10100", "index"))
    story.price("BTC", "10", "index")
    assert of(d.LiquidationStarted, story.price("BTC", "9", "index"))


def test_marks_index_prices_and_symbols_are_held_apart() -> None:
    story = market(JUMP)
    for symbol, kind in (("BTCUSDT", "mark"), ("BTCUSDT", "index"), ("ETHUSDT", "mark")):
        story.price(symbol, "10000", kind)
    story.price("BTCUSDT", "5000")
    assert of(d.PriceHeld, story.price("BTCUSDT", "5000", "index"))
    assert of(d.PriceHeld, story.price("ETHUSDT", "5000"))
    assert not of(d.PriceHeld, story.price("BTCUSDT", "5001"))


def test_a_first_price_a_last_trade_and_an_option_are_never_held() -> None:
    story = market(JUMP)
    option = Option(
        "BTC-C", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6),
        underlying="BTC", strike=D(10000), kind="call", expiry=10**15,
    )  # fmt: skip
    engine_of(story).list_instrument(option)
    for symbol, kind in (("BTCUSDT", "last"), ("BTC-C", "index")):
        for price in ("10000", "5000", "10000"):
            story.price(symbol, price, kind)
    assert not of(d.PriceHeld, story.decided)


def test_a_held_price_takes_its_place_in_the_sequence_and_in_time() -> None:
    story = market(JUMP)
    position(story, "a", "1", "500")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9520"))
    story.time = order.expires - 1
    decided = story.price("BTCUSDT", "4000")
    assert [type(one) for one in decided] == [d.CancelOrder, d.PriceHeld]
    story.sequences["PriceUpdate BTCUSDT"] -= 1
    assert of(d.Duplicate, story.price("BTCUSDT", "4000"))


def test_a_held_price_feeds_no_average() -> None:
    story = market(JUMP, entry=Entry(average_window=MINUTE))
    story.price("BTCUSDT", "10000")
    story.time += MINUTE
    story.price("BTCUSDT", "10000")
    before = dict(engine_of(story).markets.averages)
    story.time += MINUTE // 2
    story.price("BTCUSDT", "5000")
    assert engine_of(story).markets.averages == before


def test_a_profile_without_the_fuse_forgets_what_was_held() -> None:
    story = market(JUMP)
    story.price("BTCUSDT", "10000")
    story.price("BTCUSDT", "5000")
    profile = engine_of(story).rules.in_force
    for fuses in (Fuses(), JUMP):
        rule = LiquidationRule(fuses=fuses)
        story.tell(e.ProfileChanged, profile=replaced(profile, liquidation=rule))
    assert of(d.PriceHeld, story.price("BTCUSDT", "5000"))


def replaced(profile: RiskProfile, **fields: Any) -> RiskProfile:
    """Return a profile with other fields."""
    known = {name: getattr(profile, name) for name in profile.__struct_fields__}
    return RiskProfile(**{**known, **fields})


# --- flow


def crowd(story: Story, interest: str = "100") -> str:
    """Have a long of 20 at 10,000 breached in a market of so much open interest; return its
    order."""
    position(story, "short", "-20", "10000000")
    position(story, "a", "20", "9450")
    story.tell(e.MarketState, symbol="BTCUSDT", long_size=D(interest), short_size=D(interest))
    return str(only(d.LiquidationOrder, story.price("BTCUSDT", "9530")).order_id)


def close(story: Story, order: str, size: str, account: str = "a") -> list[Any]:
    """Fill a part of an order at 9,530."""
    return list(story.fill(account, "BTCUSDT", size, "9530", order_id=order))


def test_flow_at_exactly_the_share_goes_on_and_a_lot_more_halts() -> None:
    story = market(FLOW)
    order = crowd(story)
    assert not of(d.BreakerTripped, close(story, order, "-10"))
    decided = close(story, order, "-0.001")
    tripped = only(d.BreakerTripped, decided)
    assert (tripped.symbol, tripped.flow, tripped.open_interest) == ("BTCUSDT", D("10.001"), 100)
    assert [(one.order_id, one.reason) for one in of(d.CancelOrder, decided)] == [(order, "halted")]


def test_the_larger_side_is_the_open_interest_and_an_untold_one_is_none() -> None:
    story = market(FLOW)
    order = crowd(story)
    story.tell(e.MarketState, symbol="BTCUSDT", long_size=D(50), short_size=D(120))
    assert not of(d.BreakerTripped, close(story, order, "-12"))
    assert only(d.BreakerTripped, close(story, order, "-1")).open_interest == 120
    story = market(FLOW)
    order = crowd(story, "0")
    assert not of(d.BreakerTripped, close(story, order, "-19"))
    assert engine_of(story).markets.flow == {}


@pytest.mark.parametrize(("second", "trips"), [(60, True), (61, False)])
def test_a_fill_leaves_the_window_with_the_sixtieth_second_after_its_own(
    second: int, trips: bool
) -> None:
    story = market(FLOW)
    order = crowd(story)
    story.time = SECOND
    for _ in range(2):
        close(story, order, "-5")
    story.time = second * SECOND
    assert bool(of(d.BreakerTripped, close(story, order, "-1"))) is trips
    flow = engine_of(story).markets.flow["BTCUSDT"]
    assert flow == ([(1, 10), (second, 1)] if trips else [(second, 1)])


def test_transfers_are_no_flow() -> None:
    story = market(FLOW, netting=True)
    story.deposit("a", "USDT", "9450")
    story.fill("a", "BTCUSDT", "20", "10000")
    story.tell(e.MarginMoved, account="a", symbol="BTCUSDT", amount=D(1000))
    story.fill("a", "BTCUSDT", "-2", "10000", margin="isolated:BTCUSDT")
    story.tell(e.MarketState, symbol="BTCUSDT", long_size=D(5), short_size=D(5))
    transfer = only(d.TakeOver, story.price("BTCUSDT", "9530"))
    for _ in range(2):  # The second one is late.
        close(story, transfer.order_id, "-2")
    assert engine_of(story).markets.flow == {}


def test_only_forced_fills_count_and_what_they_close() -> None:
    story = market(FLOW)
    order = crowd(story)
    story.fill("short", "BTCUSDT", "15", "9530")
    assert not of(d.BreakerTripped, story.decided)
    decided = close(story, order, "-25")  # Turns the position: 20 were closed.
    assert only(d.BreakerTripped, decided).flow == 20


def test_resume_lets_go_on_and_begins_to_count_anew() -> None:
    story = market(FLOW)
    order = crowd(story)
    close(story, order, "-11")
    story.tell(e.OrderClosed, account="a", order_id=order, filled_size=D(11), reason="cancelled")
    assert not story.tell(e.TimePassed)
    again = only(d.LiquidationOrder, story.tell(e.Resume, symbol="BTCUSDT")).order_id
    assert not of(d.BreakerTripped, close(story, again, "-8"))


@pytest.mark.parametrize(("scope", "counted"), [("", []), ("BTCUSDT", []), ("ETHUSDT", [5])])
def test_the_end_of_another_halt_leaves_the_count(scope: str, counted: list[int]) -> None:
    story = market(FLOW)
    close(story, crowd(story), "-5")
    story.tell(e.Resume, symbol=scope)
    flow = engine_of(story).markets.flow
    assert [size for _, size in flow.get("BTCUSDT", [])] == counted


def test_a_breaker_says_nothing_in_a_market_that_is_halted_already() -> None:
    story = market(FLOW)
    order = crowd(story)
    story.tell(e.Halt, symbol="BTCUSDT")
    assert not of(d.BreakerTripped, close(story, order, "-15"))
    story.tell(e.Resume, symbol="BTCUSDT")
    assert not of(d.BreakerTripped, close(story, order, "-1"))


def test_nothing_but_resume_lifts_the_halt_of_an_operator() -> None:
    story = market(FLOW)
    order = crowd(story)
    close(story, order, "-15")
    story.tell(e.Halt, symbol="BTCUSDT")
    story.tell(e.OrderClosed, account="a", order_id=order, filled_size=D(15), reason="cancelled")
    story.time += 10 * MINUTE
    story.tell(e.TimePassed)
    story.price("BTCUSDT", "9520")
    profile = engine_of(story).rules.in_force
    story.tell(e.ProfileChanged, profile=replaced(profile, liquidation=LiquidationRule()))
    story.tell(e.Resume, symbol="")
    assert engine_of(story).rules.halted == {"BTCUSDT"}
    assert len(of(d.LiquidationOrder, story.decided)) == 1
    assert of(d.LiquidationOrder, story.tell(e.Resume, symbol="BTCUSDT"))


@pytest.mark.parametrize("scope", ["", "BTCUSDT"])
def test_a_market_that_its_fuse_halted_is_resumed_with_all_others(scope: str) -> None:
    story = market(FLOW)
    order = crowd(story)
    close(story, order, "-11")
    story.tell(e.OrderClosed, account="a", order_id=order, filled_size=D(11), reason="cancelled")
    story.tell(e.Resume, symbol="ETHUSDT")
    assert engine_of(story).rules.halted == {"BTCUSDT"}
    assert only(d.LiquidationOrder, story.tell(e.Resume, symbol=scope)).size == 9
    assert engine_of(story).rules.halted == engine_of(story).rules.tripped == set()


def test_other_markets_go_on() -> None:
    story = market(FLOW)
    story.deposit("b", "USDT", "1000")
    story.fill("b", "ETHUSDT", "1", "10000")
    close(story, crowd(story), "-11")
    assert only(d.LiquidationOrder, story.price("ETHUSDT", "9000")).symbol == "ETHUSDT"


def test_flow_and_held_prices_outlive_a_restart() -> None:
    story = market(Fuses(max_jump=D("0.3"), max_share_of_oi_per_minute=D("0.1")))
    order = crowd(story)
    close(story, order, "-6")
    close(story, order, "-4")
    story.price("BTCUSDT", "5000")
    records = state.records(engine_of(story))
    story.machine.engine = state.restore(0, records.items())
    assert state.records(engine_of(story)) == records
    assert only(d.BreakerTripped, close(story, order, "-1")).flow == 11
    assert not of(d.PriceHeld, story.price("BTCUSDT", "5100"))


# --- what is wrong with a rule


@pytest.mark.parametrize(
    ("fuses", "said"),
    [
        (Fuses(max_jump=D(0)), "liquidation: fuses: max_jump 0 not in (0, 1)"),
        (Fuses(max_jump=D(1)), "liquidation: fuses: max_jump 1 not in (0, 1)"),
        (
            Fuses(max_share_of_oi_per_minute=D("-0.1")),
            "liquidation: fuses: max_share_of_oi_per_minute -0.1 not in (0, 1)",
        ),
    ],
)
def test_a_fuse_is_a_part_of_something(fuses: Fuses, said: str) -> None:
    profile = engine_of(market(JUMP)).rules.in_force
    assert faults(profile) == []
    assert faults(replaced(profile, liquidation=LiquidationRule(fuses=fuses))) == [said]
