"""The life of a liquidation, told step by step to the engine and to its naive twin."""

from decimal import Decimal as D

import pytest

from engine import core
from engine import decisions as d
from engine import events as e
from engine.instruments import Perpetual
from tests.story import Story, WholeEngine, of, only
from tests.twin import Twin

SECOND = 1_000_000


@pytest.fixture(params=[WholeEngine, Twin])
def story(request: pytest.FixtureRequest) -> Story:
    told = Story(request.param())
    told.rules(
        Perpetual("BTCUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0)),
        rate="0.004",
    )
    told.tell(e.FundMoved, shard=0, asset="USDT", amount=D(1000))
    return told


def longs(story: Story, **money: str) -> None:
    """Open one long of 1 BTC at 10,000 for each account, with its money, against one short."""
    story.deposit("short", "USDT", "1000000")
    for account, amount in money.items():
        story.deposit(account, "USDT", amount)
        story.fill(account, "BTCUSDT", "1", "10000")
        story.fill("short", "BTCUSDT", "-1", "10000")
    story.price("BTCUSDT", "10000")


def at(story: Story, time: int) -> list[d.Decision]:
    """Let time pass until `time`, to the microsecond."""
    story.time = time - 1
    return list(story.tell(e.TimePassed))


def test_an_order_lives_to_the_microsecond_of_its_expiry_and_no_longer(story: Story) -> None:
    longs(story, a="1000")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    assert order.expires == story.time + 5 * SECOND
    assert at(story, order.expires - 1) == []
    cancel = only(d.CancelOrder, at(story, order.expires))
    assert (cancel.order_id, cancel.reason, cancel.time) == (
        order.order_id,
        "expired",
        order.expires,
    )


def test_an_unanswered_cancellation_ends_the_wait_to_the_microsecond(story: Story) -> None:
    longs(story, a="1000")
    first = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    at(story, first.expires)
    silence = first.expires + 5 * SECOND
    assert at(story, silence - 1) == []
    decided = at(story, silence)
    assert only(d.Anomaly, decided).kind == "unacknowledged"
    again = only(d.LiquidationOrder, decided)
    assert (again.stage, again.replaces, again.time) == ("backstop", first.order_id, silence)
    assert again.limit_price == D("8578.5")


@pytest.mark.parametrize("silence", [12 * SECOND, 7 * 86_400 * SECOND, 2**52])
def test_after_a_silence_timers_fired_at_their_own_times_and_one_order_goes_out(
    story: Story, silence: int
) -> None:
    longs(story, a="1000")
    first = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    decided = at(story, first.expires + silence)
    told = [(type(made).__name__, made.time - first.expires) for made in decided]
    assert told == [("CancelOrder", 0), ("Anomaly", 5 * SECOND), ("LiquidationOrder", silence)]


def test_a_liquidation_waits_for_missing_events_and_not_longer(story: Story) -> None:
    longs(story, a="1000")
    story.sequences["a"] += 1
    gap = only(d.Gap, story.tell(e.Deposit, account="a", asset="USDT", amount=D(1)))
    assert gap.received == gap.expected + 1
    since = story.time
    started = only(d.LiquidationStarted, story.price("BTCUSDT", "9020"))
    assert started.waits == "gap"
    assert at(story, since + 5 * SECOND - 1) == []
    assert only(d.LiquidationOrder, at(story, since + 5 * SECOND)).account == "a"


def test_a_snapshot_ends_the_wait(story: Story) -> None:
    longs(story, a="1000")
    story.sequences["a"] += 1
    story.tell(e.Deposit, account="a", asset="USDT", amount=D(1))
    story.price("BTCUSDT", "9020")
    leg = e.LegSnapshot("BTCUSDT", D(1), D(10_000))
    group = e.GroupSnapshot("cross", {"USDT": D(5000)}, (leg,))
    decided = story.tell(e.PositionSnapshot, account="a", groups=(group,))
    (change,) = only(d.SnapshotDifference, decided).changes
    assert (change.name, change.before, change.after) == ("USDT", 1001, 5000)
    assert only(d.LiquidationEnded, decided).reason == "healthy"


def test_a_halt_holds_back_what_breaches_and_resume_releases_the_riskiest_first(
    story: Story,
) -> None:
    longs(story, calm="1010", worst="990", bad="1000")
    story.tell(e.Halt, reason="outage")
    started = of(d.LiquidationStarted, story.price("BTCUSDT", "9020"))
    assert [(s.account, s.waits) for s in started] == [
        ("worst", "halted"),
        ("bad", "halted"),
        ("calm", "halted"),
    ]
    released = of(d.LiquidationOrder, story.tell(e.Resume))
    assert [order.account for order in released] == ["worst", "bad", "calm"]


def test_a_halt_cancels_what_is_live(story: Story) -> None:
    longs(story, a="1000")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    cancel = only(d.CancelOrder, story.tell(e.Halt, symbol="BTCUSDT"))
    assert (cancel.order_id, cancel.reason) == (order.order_id, "halted")


def test_a_price_that_comes_back_ends_a_liquidation(story: Story) -> None:
    longs(story, a="1000")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    assert only(d.CancelOrder, story.price("BTCUSDT", "9500")).reason == "healthy"
    closed = {"account": "a", "order_id": order.order_id, "filled_size": D(0)}
    assert only(d.LiquidationEnded, story.tell(e.OrderClosed, **closed)).reason == "healthy"


def test_own_open_orders_are_cancelled_first(story: Story) -> None:
    longs(story, a="1000")
    resting = {"symbol": "BTCUSDT", "margin": "cross", "buy_size": D(1), "sell_size": D(0)}
    story.tell(e.OpenOrders, account="a", **resting)
    decided = story.price("BTCUSDT", "9030")
    assert only(d.CancelOpenOrders, decided)
    assert not of(d.LiquidationOrder, decided)
    answered = story.tell(e.OrdersCancelled, account="a", margin="cross")
    assert only(d.LiquidationOrder, answered)


def test_a_fill_in_part_keeps_the_order_and_what_comes_late_is_still_a_fact(story: Story) -> None:
    longs(story, a="1000")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9020"))
    story.fill("a", "BTCUSDT", "-0.4", "9010", order_id=order.order_id)
    at(story, order.expires)
    closed = {"account": "a", "order_id": order.order_id, "filled_size": D("0.4")}
    again = only(d.LiquidationOrder, story.tell(e.OrderClosed, **closed))
    assert (again.size, again.stage) == (D("0.6"), "backstop")
    late = story.fill("a", "BTCUSDT", "-0.1", "9010", order_id=order.order_id)
    assert only(d.Anomaly, late).kind == "late"
    ended = story.fill("a", "BTCUSDT", "-0.6", "9010", order_id=again.order_id)
    assert only(d.Anomaly, ended).kind == "exceeds_position"


def test_a_margin_call_goes_out_once_until_it_is_forgotten(story: Story) -> None:
    longs(story, a="1000")
    assert only(d.MarginCall, story.price("BTCUSDT", "9045")).account == "a"
    assert not story.price("BTCUSDT", "9046")
    assert not story.price("BTCUSDT", "9060")
    assert only(d.MarginCall, story.price("BTCUSDT", "9045")).account == "a"


def test_slices_that_decide_nothing_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "SLICE", 1)
    told = Story(WholeEngine())
    told.rules(Perpetual("BTCUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6)), rate="0.004")
    longs(told, a="1000", b="1000", c="1000")
    assert len(of(d.MarginCall, told.price("BTCUSDT", "9045"))) == 3
    assert not told.price("BTCUSDT", "9500")
    assert len(of(d.MarginCall, told.price("BTCUSDT", "9045"))) == 3
