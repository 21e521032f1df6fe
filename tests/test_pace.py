"""Pace: never more orders than a market is given at a time, the riskiest first."""

from decimal import Decimal as D
from typing import Any

import pytest

from engine import decisions as d
from engine import events as e
from engine import state
from engine.instruments import Perpetual
from engine.liquidation_profile import Cooldown, LiquidationRule, Pace, Portion
from engine.profile_faults import faults
from engine.waterfall_profile import Backstop, Deleveraging, Waterfall
from tests.story import Story, WholeEngine, engine_of, of, only
from tests.test_guard import LINEAR, OTHER, replaced

SECOND = 1_000_000
NOBODY_TAKES = Waterfall()


def venue(pace: Pace, waterfall: Waterfall = NOBODY_TAKES, **fields: Any) -> Story:
    """Return a venue with two linear perpetuals at such a pace."""
    told = Story(WholeEngine())
    told.time = 10 * SECOND
    rule = LiquidationRule(pace=pace, **fields)
    told.rules(LINEAR, OTHER, rate="0.004", liquidation=rule, waterfall=waterfall)
    told.price("BTCUSDT", "10000")
    told.price("ETHUSDT", "10000")
    return told


def crowd(story: Story, symbol: str = "BTCUSDT", side: int = 1, **money: str) -> None:
    """Open a position of 1 at 10,000 for each account, with its money."""
    for account, amount in money.items():
        story.deposit(account, "USDT", amount)
        story.fill(account, symbol, str(side), "10000")


def sent(decided: Any) -> list[tuple[str, D]]:
    """Return who has orders, with their sizes."""
    return [(one.account, one.size) for one in of(d.LiquidationOrder, decided)]


def ended(story: Story, account: str, order: str, filled: str = "0") -> list[Any]:
    """Have the venue close an order."""
    about = {"order_id": order, "filled_size": D(filled), "reason": "expired"}
    return list(story.tell(e.OrderClosed, account=account, **about))


# --- counts


@pytest.mark.parametrize(("side", "price"), [(1, "9700"), (-1, "10300")])
def test_one_order_an_event_goes_to_the_riskiest(side: int, price: str) -> None:
    story = venue(Pace(per_event=1))
    crowd(story, side=side, a="330", b="310", c="320", d="5000")
    assert sent(story.price("BTCUSDT", price)) == [("b", 1)]
    survey = engine_of(story).watch.counts()
    assert (survey["capped"], survey["liquidating"]) == (2, 1)
    assert sent(story.tell(e.TimePassed)) == [("c", 1)]
    assert sent(story.tell(e.TimePassed)) == [("a", 1)]
    assert sent(story.tell(e.TimePassed)) == []


def test_any_event_is_an_event() -> None:
    story = venue(Pace(per_event=1))
    crowd(story, a="330", b="310", c="320", d="325")
    story.price("BTCUSDT", "9700")
    story.sequences["PriceUpdate BTCUSDT"] -= 1
    duplicate = story.price("BTCUSDT", "9700")
    assert [type(one) for one in duplicate] == [d.Duplicate, d.LiquidationOrder]
    refused = story.tell(e.Halt, symbol="NOTHING")
    assert [type(one) for one in refused] == [d.Refused, d.LiquidationOrder]
    ignored = story.tell(
        e.PriceUpdate, source="elsewhere", symbol="BTCUSDT", kind="mark", price=D(1)
    )
    assert [type(one) for one in ignored][-1] is d.LiquidationOrder


def test_orders_of_several_legs_are_counted_each() -> None:
    story = venue(Pace(per_event=3))
    for account, money in (("a", "300"), ("b", "320")):
        crowd(story, **{account: money})
        story.fill(account, "ETHUSDT", "1", "10000")
    decided = story.price("BTCUSDT", "9600")
    assert [account for account, _ in sent(decided)] == ["a", "a", "b"]
    assert engine_of(story).watch.counts()["capped"] == 0


def test_a_second_of_engine_time_has_its_own_count_however_long_the_silence() -> None:
    story = venue(Pace(per_second=2))
    crowd(story, a="301", b="302", c="303", d="304", e="305", f="306")
    story.time = 20 * SECOND - 1
    assert len(sent(story.price("BTCUSDT", "9690"))) == 2
    story.time = 21 * SECOND - 2
    assert sent(story.tell(e.TimePassed)) == []
    assert [account for account, _ in sent(story.tell(e.TimePassed))] == ["c", "d"]
    story.time += 3600 * SECOND
    decided = story.tell(e.TimePassed)
    assert len(of(d.CancelOrder, decided)) == 4
    # The four are free again, unanswered: the riskiest of all six go.
    assert [account for account, _ in sent(decided)] == ["a", "b"]


def test_who_recovers_while_waiting_needs_no_order() -> None:
    story = venue(Pace(per_second=1))
    crowd(story, a="301", b="320")
    story.price("BTCUSDT", "9710")
    end = only(d.LiquidationEnded, [x for x in story.price("BTCUSDT", "9900") if x.account == "b"])
    assert end.reason == "healthy"


def test_who_comes_to_be_the_riskiest_goes_first() -> None:
    """The one in coin moves with another market."""
    story = venue(Pace(per_second=1))
    crowd(story, a="301")
    crowd(story, b="310")
    crowd(story, "ETHUSDT", c="312")
    story.price("ETHUSDT", "9720")
    story.price("BTCUSDT", "9710")
    story.price("ETHUSDT", "9650")
    story.time += SECOND
    assert sent(story.tell(e.TimePassed)) == [("a", 1)]


@pytest.mark.parametrize("sizes", [("1", "2"), ("2", "1")])
def test_of_two_at_the_same_ratio_the_larger_goes_first(sizes: tuple[str, str]) -> None:
    story = venue(Pace(per_event=1))
    crowd(story, c="300")
    for account, size in zip("ab", sizes, strict=True):
        story.deposit(account, "USDT", str(310 * D(size)))
        story.fill(account, "BTCUSDT", size, "10000")
    assert [account for account, _ in sent(story.price("BTCUSDT", "9700"))] == ["c"]
    assert [size for _, size in sent(story.tell(e.TimePassed))] == [2]
    assert [size for _, size in sent(story.tell(e.TimePassed))] == [1]


# --- what is in flight


def test_in_flight_an_order_is_cut_to_the_room_and_the_next_one_waits() -> None:
    story = venue(Pace(in_flight={"BTCUSDT": D(15000)}))
    crowd(story, a="310", b="315", c="330")
    decided = story.price("BTCUSDT", "9700")
    assert sent(decided) == [("a", 1), ("b", D("0.546"))]  # 5,300 / 9,700, in lots
    (first, second) = [one.order_id for one in of(d.LiquidationOrder, decided)]
    assert sent(story.fill("a", "BTCUSDT", "-0.2", "9700", order_id=first)) == [("c", D("0.2"))]
    decided = story.fill("b", "BTCUSDT", "-0.546", "9700", order_id=second)
    assert sent(decided) == [("b", D("0.454"))]


@pytest.mark.parametrize(("limit", "orders"), [("10000", ["1", "0.010"]), ("9999.99", ["1"])])
def test_room_below_a_hundredth_of_the_limit_is_none(limit: str, orders: list[str]) -> None:
    story = venue(Pace(in_flight={"*": D(limit)}))
    crowd(story, a="110", b="120")
    assert [size for _, size in sent(story.price("BTCUSDT", "9900"))] == [D(x) for x in orders]


def test_a_market_without_a_limit_and_one_of_its_own_go_on() -> None:
    story = venue(Pace(in_flight={"BTCUSDT": D(9000)}))
    crowd(story, a="310", b="320")
    crowd(story, "ETHUSDT", c="330", d="335")
    story.price("ETHUSDT", "9700")
    decided = story.price("BTCUSDT", "9700")
    assert sent(decided) == [("a", D("0.927"))]
    assert [account for account, _ in sent(story.decided)] == ["c", "d", "a"]


def test_an_inverse_market_is_limited_in_its_coin() -> None:
    inverse = Perpetual(
        "BTCUSD", "BTC", 0, 1, D("0.1"), D(1), D(10**9),
        style="inverse", multiplier=D(100), taker_fee=D(0),
    )  # fmt: skip
    story = venue(Pace(in_flight={"BTCUSD": D("1.5")}))
    story.tell(e.InstrumentListed, instrument=inverse)
    story.price("BTC", "10000", "index")
    story.price("BTCUSD", "10000")
    for account, size in (("a", "100"), ("b", "-100")):
        story.deposit(account, "BTC", "0.0312")
        story.fill(account, "BTCUSD", size, "10000", fee_asset="BTC")
    assert sent(story.price("BTCUSD", "9700")) == [("a", D(100))]
    story = venue(Pace(in_flight={"BTCUSD": D("0.5")}))
    story.tell(e.InstrumentListed, instrument=inverse)
    story.price("BTC", "10000", "index")
    story.price("BTCUSD", "10000")
    story.deposit("a", "BTC", "0.0312")
    story.fill("a", "BTCUSD", "100", "10000", fee_asset="BTC")
    # A contract is 100 / 9,700 = 0.01030928 BTC, up: 48 of them are less than 0.5.
    assert sent(story.price("BTCUSD", "9700")) == [("a", D(48))]


def test_what_is_cancelled_is_in_flight_until_the_venue_says_so() -> None:
    story = venue(Pace(in_flight={"*": D(9750)}))
    crowd(story, a="310", b="320")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9700"))
    story.time = order.expires - 1
    assert only(d.CancelOrder, story.tell(e.TimePassed)).account == "a"
    again = ended(story, "a", order.order_id)
    assert sent(again) == [("a", 1)]
    story.time += 6 * SECOND
    assert sent(story.tell(e.TimePassed)) == []


def test_an_order_that_is_never_answered_frees_its_room() -> None:
    story = venue(Pace(in_flight={"*": D(9750)}))
    crowd(story, a="310", b="320")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9700"))
    story.time = order.expires
    story.tell(e.TimePassed)
    story.time += 5 * SECOND
    decided = story.tell(e.TimePassed)
    assert only(d.Anomaly, decided).kind == "unacknowledged"
    assert len(sent(decided)) == 1


# --- when nobody fills


def test_after_orders_that_nobody_filled_one_probes_at_a_time_until_a_fill() -> None:
    story = venue(Pace(unfilled=2), order_ttl=60 * SECOND)
    crowd(story, a="310", b="320", c="330", d="340")
    orders = of(d.LiquidationOrder, story.price("BTCUSDT", "9690"))
    assert len(orders) == 4
    ids = {one.account: one.order_id for one in orders}
    assert sent(ended(story, "d", ids["d"])) == [("d", 1)]
    assert sent(ended(story, "c", ids["c"])) == []
    assert sent(ended(story, "b", ids["b"])) == []
    (probe,) = of(d.LiquidationOrder, ended(story, "a", ids["a"]) + story.decided)[-1:]
    assert probe.account == "d"  # Sent before the market fell silent.
    assert engine_of(story).markets.unfilled == {"BTCUSDT": 4}
    assert [x for x, _ in sent(ended(story, "d", probe.order_id))] == ["a"]
    (probe,) = of(d.LiquidationOrder, story.decided)[-1:]
    decided = story.fill("a", "BTCUSDT", "-0.1", "9690", order_id=probe.order_id)
    assert [account for account, _ in sent(decided)] == ["b", "c", "d"]
    assert engine_of(story).markets.unfilled == {}


def test_an_order_that_finds_nobody_in_its_time_is_counted_once_when_it_expires() -> None:
    story = venue(Pace(unfilled=5))
    crowd(story, a="310")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9690"))
    story.time = order.expires
    story.tell(e.TimePassed)
    assert engine_of(story).markets.unfilled == {"BTCUSDT": 1}
    ended(story, "a", order.order_id)
    assert engine_of(story).markets.unfilled == {"BTCUSDT": 1}


def test_an_order_that_was_called_back_says_nothing_of_its_market() -> None:
    story = venue(Pace(unfilled=1))
    crowd(story, a="310", b="100000")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9690"))
    story.tell(e.Halt, symbol="")
    ended(story, "a", order.order_id)
    (again,) = of(d.LiquidationOrder, story.tell(e.Resume, symbol=""))
    story.deposit("a", "USDT", "1000")
    assert [one.reason for one in of(d.CancelOrder, story.decided)] == ["halted", "healthy"]
    ended(story, "a", again.order_id)
    assert engine_of(story).markets.unfilled == {}


def test_another_market_is_not_held_back() -> None:
    story = venue(Pace(unfilled=1))
    crowd(story, a="310", b="320")
    crowd(story, "ETHUSDT", c="330", d="340")
    first = of(d.LiquidationOrder, story.price("BTCUSDT", "9690"))
    ended(story, first[0].account, first[0].order_id)
    assert len(sent(story.price("ETHUSDT", "9690"))) == 2


def test_a_profile_that_does_not_count_the_unfilled_forgets_them() -> None:
    story = venue(Pace(unfilled=1))
    crowd(story, a="310")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9690"))
    ended(story, "a", order.order_id)
    profile = engine_of(story).rules.in_force
    story.tell(e.ProfileChanged, profile=replaced(profile, liquidation=LiquidationRule()))
    assert engine_of(story).markets.unfilled == {}


# --- halts


def test_who_waits_is_woken_by_the_end_of_a_halt() -> None:
    story = venue(Pace(per_event=1))
    crowd(story, a="310", b="320", c="330")
    assert sent(story.price("BTCUSDT", "9690")) == [("a", 1)]
    story.tell(e.Halt, symbol="BTCUSDT")
    assert engine_of(story).watch.counts()["halted"] == 2
    assert sent(story.tell(e.TimePassed)) == []
    assert sent(story.tell(e.Resume, symbol="BTCUSDT")) == [("b", 1)]
    assert sent(story.tell(e.TimePassed)) == [("c", 1)]


def test_a_halt_of_one_market_lets_orders_in_another_go() -> None:
    story = venue(Pace(per_second=1))
    crowd(story, a="300")
    crowd(story, b="100")
    story.fill("b", "ETHUSDT", "1", "10000")
    story.price("BTCUSDT", "9690")
    story.time += SECOND
    story.tell(e.Halt, symbol="BTCUSDT")
    story.time += SECOND
    story.tell(e.TimePassed)
    assert {one.symbol for one in of(d.LiquidationOrder, story.decided) if one.account == "b"} == {
        "ETHUSDT"
    }


# --- those who take positions


def test_who_sinks_deeper_while_waiting_is_taken_over_without_room_within_a_second() -> None:
    rule = Waterfall(takers=("backstop",), backstop=Backstop("taker", D(10**6), D("0.5")))
    story = venue(Pace(in_flight={"*": D(9750)}), rule)
    story.deposit("taker", "USDT", "1000000")
    crowd(story, a="310", b="320")
    story.price("BTCUSDT", "9710")
    assert engine_of(story).watch.counts()["capped"] == 1
    assert story.price("BTCUSDT", "9690") == []
    story.time += SECOND - 3
    assert story.tell(e.TimePassed) == []
    decided = story.tell(e.TimePassed)
    taken = only(d.TakeOver, decided)
    assert (taken.account, taken.layer, taken.size) == ("b", "backstop", 1)
    assert sent(decided) == []


def test_a_fund_that_comes_to_have_means_takes_over_without_room() -> None:
    story = venue(Pace(in_flight={"*": D(9600)}), Waterfall(takers=("fund",), fund_account="taker"))
    story.deposit("taker", "USDT", "1000000")
    crowd(story, a="310", b="320")
    story.price("BTCUSDT", "9600")
    story.tell(e.FundMoved, shard=0, asset="USDT", amount=D(1000))
    story.time += SECOND
    decided = story.tell(e.TimePassed)
    assert only(d.TakeOver, decided).account == "b"


def test_who_waits_is_planned_anew_for_another_market_once_its_own_is_halted() -> None:
    story = venue(Pace(in_flight={"BTCUSDT": D(9700)}))
    crowd(story, a="310", b="620")
    story.fill("b", "ETHUSDT", "0.9", "10000")
    story.price("ETHUSDT", "9700")
    story.price("BTCUSDT", "9690")
    assert sent(story.decided) == [("a", 1)]
    story.tell(e.Halt, symbol="BTCUSDT")
    story.time += SECOND
    assert sent(story.tell(e.TimePassed)) == [("b", D("0.9"))]


def test_who_waits_is_planned_anew_once_another_leg_is_needed_too() -> None:
    story = venue(Pace(in_flight={"BTCUSDT": D(9700)}))
    crowd(story, a="310", b="425")
    story.fill("b", "ETHUSDT", "0.9", "10000")
    story.price("BTCUSDT", "9645")
    assert sent(story.decided) == [("a", 1)]
    assert sent(story.price("ETHUSDT", "9940")) == []
    story.time += SECOND
    assert sent(story.tell(e.TimePassed)) == [("b", D("0.9"))]


def test_a_limit_below_a_lot_lets_a_lot_go_at_a_time() -> None:
    story = venue(Pace(in_flight={"*": D(5)}))  # A lot is worth 9.70.
    crowd(story, a="310", b="320")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9700"))
    assert (order.account, order.size) == ("a", D("0.001"))
    assert sent(story.tell(e.TimePassed)) == []
    decided = story.fill("a", "BTCUSDT", "-0.001", "9700", order_id=order.order_id)
    assert sent(decided) == [("a", D("0.001"))]


def test_a_part_of_what_is_closed_whole_says_that_it_is_toxic() -> None:
    """Of 20 against 38.8, a fifth costs nearly 8 and frees as much: it goes out all the same, for a
    critical account does not wait for room for all of it."""
    pauses = {"sizing": Portion(D("0.2")), "cooldown": Cooldown(30 * SECOND, D("0.9"))}
    story = venue(Pace(in_flight={"*": D(2000)}), fee_rate=D("0.004"), toxic="halt", **pauses)
    crowd(story, a="320")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9700"))
    assert (order.toxic, order.stage) == (True, "limit")
    assert D("0.2") < order.size < D("0.21")
    assert not only(d.LiquidationOrder, _whole(pauses).price("BTCUSDT", "9700")).toxic


def _whole(pauses: dict[str, Any]) -> Story:
    story = venue(Pace(), fee_rate=D("0.004"), toxic="halt", **pauses)
    crowd(story, a="320")
    return story


def test_another_group_of_the_account_is_set_off_without_room_within_a_second() -> None:
    story = venue(Pace(in_flight={"*": D(9700)}), netting=True)
    crowd(story, a="310", b="320")
    story.price("BTCUSDT", "9690")
    story.deposit("b", "USDT", "28")
    story.tell(e.MarginMoved, account="b", symbol="BTCUSDT", amount=D(28))
    story.fill("b", "BTCUSDT", "-0.4", "9690", margin="isolated:BTCUSDT")
    story.time += SECOND
    decided = story.tell(e.TimePassed)
    transfer = only(d.TakeOver, decided)
    assert (transfer.account, transfer.margin, transfer.layer) == ("b", "cross", "netting")


def test_a_restored_engine_has_nothing_to_decide_where_nobody_takes_a_step() -> None:
    """The one that waits is so near to nothing that floats cannot tell whether takers are asked."""
    story = venue(Pace(per_event=1), Waterfall(takers=("adl",), adl=Deleveraging()))
    crowd(story, a="300.00001", b="290")
    assert sent(story.price("BTCUSDT", "9700")) == [("b", 1)]
    engine = engine_of(story)
    assert (engine.watch.counts()["capped"], engine.undecided) == (1, False)
    assert not state.restore(0, state.records(engine).items()).undecided


# --- what is wrong with a rule


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        (Pace(per_event=0), "per_event 0 not positive"),
        (Pace(per_second=-1), "per_second -1 not positive"),
        (Pace(unfilled=0), "unfilled 0 not positive"),
        (Pace(in_flight={"*": D(0)}), "in_flight *: 0 not positive"),
    ],
)
def test_a_pace_lets_something_go(pace: Pace, said: str) -> None:
    profile = engine_of(venue(Pace(per_event=1))).rules.in_force
    found = faults(replaced(profile, liquidation=LiquidationRule(pace=pace)))
    assert found == [f"liquidation: pace: {said}"]
