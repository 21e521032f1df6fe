"""Who takes a position that the market does not, told to the engine: the fund's account, the
backstop, those in profit on the other side."""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import pytest
from msgspec import structs

from engine import decisions, events, invariants, state
from engine.decisions import Decision
from engine.instruments import Perpetual
from engine.liquidation_profile import LiquidationRule
from engine.profile import RiskProfile
from engine.survey import survey
from engine.waterfall_profile import Backstop, Deleveraging, FundRule, Waterfall
from tests.story import Machine, Story, WholeEngine, engine_of, of, only
from tests.twin import Twin

X = Perpetual("X", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0), underlying="X")
XQ = structs.replace(X, name="XQ")
INVERSE = structs.replace(X, name="XI", settle="BTC", style="inverse", size_decimals=0, lot=D(1))

FUND = Waterfall(takers=("fund",), fund_account="fund")
AT_BANKRUPTCY = Waterfall(takers=("fund", "adl"), fund_account="fund", adl=Deleveraging())
AT_MARK = Waterfall(takers=("adl",), adl=Deleveraging(price="mark"))
BACKSTOP = Waterfall(takers=("backstop",), backstop=Backstop("vault", D(1000)))


def opened(story: Story, account: str, role: str) -> None:
    story.tell(events.AccountOpened, account=account, role=role)


def venue(
    waterfall: Waterfall, *, fund: str = "40", machine: Machine | None = None, **rules: Any
) -> Story:
    """A long of 10 at 100, worth 100 at 90, and who stands on the other side; the mark is 100."""
    story = Story(machine or WholeEngine())
    story.rules(X, XQ, INVERSE, rate="0.01", waterfall=waterfall, **rules)
    story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(fund))
    opened(story, "fund", "fund")
    opened(story, "vault", "backstop")
    story.deposit("vault", "USDT", "1000")
    for account, money, size in (("long", 100, 10), ("one", 1000, -7), ("two", 100, -3)):
        story.deposit(account, "USDT", str(money))
        story.fill(account, "X", str(size), "100")
    story.price("X", "100")
    return story


def taken(decided: Sequence[Decision]) -> list[tuple[str, str, D, D]]:
    """Return who takes what: layer, account, size, price."""
    found = []
    for one in decided:
        if isinstance(one, decisions.TakeOver):
            found.append((one.layer, one.taker, one.size, one.price))
        elif isinstance(one, decisions.Deleverage):
            found.append(("adl", one.counterparty, one.size, one.price))
    return found


def closed(story: Story, order_id: str, filled: str = "0") -> list[Decision]:
    """Have the venue refuse what was asked of it; return what is decided."""
    account, about = order_id.partition(":")[0], {"filled_size": D(filled), "reason": "rejected"}
    return story.tell(events.OrderClosed, account=account, order_id=order_id, **about)


def carry_out(story: Story, decided: Sequence[Decision]) -> list[Decision]:
    """Fill every transfer, the counterparty first, as a venue does; return what is decided."""
    out: list[Decision] = []
    for one in decided:
        if not isinstance(one, decisions.TakeOver | decisions.Deleverage):
            continue
        other, margin = (
            (one.taker, one.taker_margin)
            if isinstance(one, decisions.TakeOver)
            else (one.counterparty, one.counterparty_margin)
        )
        signed = one.size if one.side == "buy" else -one.size
        price = str(one.price)
        out += story.fill(other, one.symbol, str(-signed), price, margin=margin)
        out += story.fill(
            one.account, one.symbol, str(signed), price, margin=one.margin, order_id=one.order_id
        )
        if isinstance(story.machine, WholeEngine):
            invariants.check(story.machine.engine)
    return out


BOTH = pytest.mark.parametrize("machine", [WholeEngine, Twin])
"""The engine, and its naive twin."""


@BOTH
def test_c_the_fund_takes_what_it_can_pay_and_the_winners_the_rest_at_the_bankruptcy_price(
    machine: type[Machine],
) -> None:
    story = venue(AT_BANKRUPTCY, machine=machine())
    decided = story.price("X", "80")
    assert taken(decided) == [
        ("fund", "fund", 4, 90),
        ("adl", "two", 3, 90),
        ("adl", "one", 3, 90),
    ]
    assert not of(decisions.LiquidationOrder, decided)
    assert only(decisions.TakeOver, decided).capacity == 4
    assert [one.forgone for one in of(decisions.Deleverage, decided)] == [30, 30]

    after = carry_out(story, decided)
    assert not of(decisions.Shortfall, after) + of(decisions.BadDebt, after)
    assert only(decisions.LiquidationEnded, after).reason == "flat"
    told = story.machine
    assert told.ledger("fund") == {}
    assert told.cash("fund") == {"USDT": 40}  # beside four, bought at 90 and worth 80
    assert told.cash("long") == {}
    assert told.cash("two") == {"USDT": 100 + 30}
    assert told.cash("one") == {"USDT": 1000 + 30}


@BOTH
def test_c_at_the_mark_nobody_forgoes_anything_and_the_shortfall_is_whole(
    machine: type[Machine],
) -> None:
    story = venue(AT_MARK, machine=machine())
    decided = story.price("X", "80")
    assert taken(decided) == [("adl", "two", 3, 80), ("adl", "one", 7, 80)]
    assert [one.forgone for one in of(decisions.Deleverage, decided)] == [0, 0]
    after = carry_out(story, decided)
    shortfall = only(decisions.Shortfall, after)
    assert (shortfall.market, shortfall.amount) == ("X", 100)
    assert only(decisions.FundDraw, after).amount == 40
    assert only(decisions.BadDebt, after).amount == 60


def test_what_nobody_takes_goes_to_the_market_in_one_order():
    story = venue(FUND)
    decided = story.price("X", "80")
    order = only(decisions.LiquidationOrder, decided)
    assert (order.size, order.stage, order.limit_price, order.bankruptcy_price) == (
        6,
        "backstop",
        76,
        90,
    )
    takeover = only(decisions.TakeOver, decided)
    assert (takeover.order_id, takeover.replaces) == ("long:1:1:X", "")
    assert (order.order_id, order.replaces) == ("long:1:2:X", "")


@pytest.mark.parametrize(("fund", "expected"), [("1", [("fund", "fund", 10, 90)]), ("0", [])])
def test_a_fund_takes_all_of_what_is_not_beyond_its_bankruptcy_price_an_empty_one_nothing(
    fund: str, expected: list[tuple[str, str, int, int]]
) -> None:
    """An order that was not filled at its limit goes to stage backstop at a mark above 90."""
    story = venue(FUND, fund=fund)
    story.price("X", "90.5")
    assert [o.stage for o in of(decisions.LiquidationOrder, story.decided)] == ["limit"]
    story.time += 6_000_000
    story.tell(events.TimePassed)
    decided = story.tell(
        events.OrderClosed,
        account="long",
        order_id="long:1:1:X",
        filled_size=D(0),
        reason="cancelled",
    )
    assert taken(decided) == expected
    assert all(one.replaces == "long:1:1:X" for one in of(decisions.TakeOver, decided))


@BOTH
def test_a_fund_that_fell_meanwhile_pays_what_it_has(machine: type[Machine]) -> None:
    story = venue(FUND, machine=machine())
    decided = story.price("X", "80")
    story.price("X", "70")
    carry_out(story, decided)
    # At 70 four lots lose 80; the fund had 40.
    paid = only(decisions.PositionPaid, story.decided)
    assert (paid.order_id, paid.market, paid.amount, paid.capacity) == ("long:1:1:X", "X", 40, 40)
    assert story.machine.ledger("fund") == {}
    assert story.machine.cash("fund") == {"USDT": 40}


def test_what_live_transfers_hold_of_the_fund_is_not_promised_twice():
    story = venue(FUND, fund="60")
    story.deposit("late", "USDT", "100")
    story.fill("late", "X", "10", "100")
    decided = story.price("X", "80")
    assert taken(decided) == [("fund", "fund", 6, 90)]
    sizes = [(o.account, o.size) for o in of(decisions.LiquidationOrder, decided)]
    assert sizes == [("late", 4), ("long", 10)]


@BOTH
def test_a_fund_takes_as_much_notional_as_it_has_room_for(machine: type[Machine]) -> None:
    """At 80 two hundred are two lots and a half of the ten."""
    bounded = structs.replace(FUND, fund=FundRule(capacity=D(200)))
    story = venue(bounded, fund="1000", machine=machine())
    decided = story.price("X", "80")
    assert taken(decided) == [("fund", "fund", D("2.5"), 90)]
    carry_out(story, decided)
    story.deposit("late", "USDT", "100")
    assert taken(story.fill("late", "X", "10", "100")) == []


@BOTH
def test_what_the_account_of_the_fund_lacks_is_not_behind_it_any_more(
    machine: type[Machine],
) -> None:
    """Four taken at a mark of 80 lose forty at 70, and of a hundred there are sixty: three lots
    lose that."""
    story = venue(FUND, machine=machine())
    carry_out(story, story.price("X", "80"))
    story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(100))
    story.price("X", "70")
    story.deposit("late", "USDT", "100")
    assert taken(story.fill("late", "X", "10", "100")) == [("fund", "fund", 3, 90)]


def test_what_a_taker_lacks_is_told_as_a_hole_in_what_is_unrealised() -> None:
    """Four lots taken at 90 for a fund of forty lose forty more at 70."""
    story = venue(FUND)
    decided = story.price("X", "80")
    carry_out(story, decided)
    order = only(decisions.LiquidationOrder, decided)
    story.fill("long", "X", "-6", "80", order_id=order.order_id)
    assert survey(engine_of(story)).holes == {}
    story.price("X", "70")
    found = survey(engine_of(story))
    assert found.holes == found.unrealised == {("USDT", "X"): 40}


@BOTH
def test_a_backstop_takes_no_more_than_it_can_bear(machine: type[Machine]) -> None:
    """A lot taken at 90 loses ten at 80: with 25 behind them two and a half, then no more."""
    story = venue(BACKSTOP, machine=machine())
    story.tell(events.Withdrawal, account="vault", asset="USDT", amount=D(975))
    decided = story.price("X", "80")
    assert taken(decided) == [("backstop", "vault", D("2.5"), 90)]
    story.deposit("late", "USDT", "100")
    assert taken(story.fill("late", "X", "10", "100")) == []
    carry_out(story, decided)
    story.deposit("next", "USDT", "100")
    assert taken(story.fill("next", "X", "10", "100")) == []


@BOTH
def test_what_is_promised_to_a_transfer_pays_no_shortfall(machine: type[Machine]) -> None:
    """Forty of fifty are promised for four lots: ten are left for who lacks 49."""
    story = venue(FUND, machine=machine())
    decided = story.price("X", "80")
    story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(10))
    story.deposit("poor", "USDT", "1")
    lost = story.tell(events.Withdrawal, account="poor", asset="USDT", amount=D(50))
    draw = only(decisions.FundDraw, lost)
    assert (draw.amount, draw.capacity) == (10, 10)
    assert only(decisions.BadDebt, lost).amount == 39
    carry_out(story, decided)
    assert story.machine.ledger("fund") == {}
    assert story.machine.cash("fund") == {"USDT": 40}


@BOTH
def test_what_a_fund_pays_for_positions_counts_in_the_cap_of_a_market(
    machine: type[Machine],
) -> None:
    capped = structs.replace(FUND, fund=FundRule(caps={"X": D(40)}))
    story = venue(capped, fund="1000", machine=machine())
    decided = story.price("X", "80")
    assert taken(decided) == [("fund", "fund", 4, 90)]
    story.deposit("late", "USDT", "100")
    assert taken(story.fill("late", "X", "10", "100")) == []
    carry_out(story, decided)
    assert story.machine.ledger("paid_for_positions") == {("USDT", "X"): 40}
    story.deposit("next", "USDT", "100")
    assert taken(story.fill("next", "X", "10", "100")) == []


def test_a_backstop_takes_as_much_notional_as_it_has_room_for():
    story = venue(BACKSTOP)
    story.fill("vault", "XQ", "-2", "100")
    story.price("XQ", "100")
    decided = story.price("X", "80")
    # 1,000 less 200 held leave ten lots of 80.
    assert taken(decided) == [("backstop", "vault", 10, 90)]
    assert only(decisions.TakeOver, decided).capacity == 10
    carry_out(story, decided)
    story.deposit("late", "USDT", "100")
    decided = story.fill("late", "X", "10", "100")
    assert taken(decided) == []
    assert only(decisions.LiquidationOrder, decided).size == 10


@BOTH
def test_what_a_backstop_is_asked_to_take_needs_room_as_what_it_holds(
    machine: type[Machine],
) -> None:
    story = venue(BACKSTOP, machine=machine())
    assert taken(story.price("X", "80")) == [("backstop", "vault", 10, 90)]
    story.deposit("late", "USDT", "100")
    # 1,000 less ten lots of 80 that are live leave two and a half.
    decided = story.fill("late", "X", "10", "100")
    assert taken(decided) == [("backstop", "vault", D("2.5"), 90)]


def test_a_short_is_taken_over_and_deleveraged_as_a_long_is():
    story = Story(WholeEngine())
    story.rules(X, rate="0.01", waterfall=AT_BANKRUPTCY)
    story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(40))
    opened(story, "fund", "fund")
    for account, money, size in (("short", 100, -10), ("bull", 1000, 10), ("bear", 1000, -1)):
        story.deposit(account, "USDT", str(money))
        story.fill(account, "X", str(size), "100")
    decided = story.price("X", "120")
    assert taken(decided) == [("fund", "fund", 4, 110), ("adl", "bull", 6, 110)]
    assert only(decisions.Deleverage, decided).forgone == 60
    after = carry_out(story, decided)
    assert not of(decisions.Shortfall, after)
    assert story.machine.cash("bull") == {"USDT": 1060}


def test_an_inverse_long_is_taken_over_and_deleveraged():
    """Bankrupt at 8,000 (0.025 BTC behind 1,000 contracts of 1 USD at 10,000), marked at 5,000."""
    story = Story(WholeEngine())
    story.rules(INVERSE, rate="0.01", waterfall=AT_BANKRUPTCY)
    story.price("BTC", "5000", "index")
    story.tell(events.FundMoved, shard=0, asset="BTC", amount=D("0.03"))
    opened(story, "fund", "fund")
    for account, coins, size in (("long", "0.025", 1000), ("short", "1", -1000)):
        story.deposit(account, "BTC", coins)
        story.fill(account, "XI", str(size), "10000")
    decided = story.price("XI", "5000")
    # A contract loses 1 ÷ 5,000 − 1 ÷ 8,000 = 0.000075 BTC: the fund can pay for 400.
    assert taken(decided) == [("fund", "fund", 400, 8000), ("adl", "short", 600, 8000)]
    assert only(decisions.Deleverage, decided).forgone == D("0.045")
    after = carry_out(story, decided)
    assert not of(decisions.Shortfall, after)
    assert story.machine.ledger("fund") == {}


def test_a_position_that_nets_against_another_of_its_account_does_so_first():
    story = venue(FUND, liquidation=LiquidationRule(netting=True))
    story.tell(events.MarginMoved, account="long", symbol="X", amount=D(50))
    story.fill("long", "X", "-4", "100", margin="isolated:X")
    decided = story.price("X", "95.3")
    assert taken(decided) == [("netting", "long", 4, D("95.3"))]
    assert only(decisions.TakeOver, decided).taker_margin == "isolated:X"
    assert not of(decisions.LiquidationOrder, decided)
    after = carry_out(story, decided)
    order = only(decisions.LiquidationOrder, after)
    assert (order.size, order.stage) == (6, "limit")


def test_netting_that_the_venue_does_not_do_is_not_tried_again():
    story = venue(FUND, liquidation=LiquidationRule(netting=True))
    story.tell(events.MarginMoved, account="long", symbol="X", amount=D(50))
    story.fill("long", "X", "-4", "100", margin="isolated:X")
    story.price("X", "94")
    story.time += 20_000_000
    decided = story.tell(events.TimePassed)
    assert [one.reason for one in of(decisions.CancelOrder, decided)] == ["expired"]
    assert taken(decided) == [("fund", "fund", 10, 95)]


def test_once_the_market_found_nobody_nothing_is_netted_any_more():
    story = venue(FUND, liquidation=LiquidationRule(netting=True))
    order = only(decisions.LiquidationOrder, story.price("X", "90.5"))
    story.time += 5_000_000
    assert only(decisions.CancelOrder, story.tell(events.TimePassed)).reason == "expired"
    story.tell(events.MarginMoved, account="long", symbol="X", amount=D(4))
    story.fill("long", "X", "-4", "90.5", margin="isolated:X")
    assert {layer for layer, *_ in taken(closed(story, order.order_id))} == {"fund"}


def test_who_begins_to_be_liquidated_waits_for_the_transfers_against_it():
    """A short that is deleveraged is breached in turn: nothing of it is closed twice."""
    story = venue(AT_BANKRUPTCY, fund="0")
    story.deposit("one", "USDT", "1")
    decided = story.price("X", "80")
    assert taken(decided) == [("adl", "two", 3, 90), ("adl", "one", 7, 90)]
    story.tell(events.Withdrawal, account="two", asset="USDT", amount=D(100))
    started = story.tell(events.Withdrawal, account="two", asset="USDT", amount=D(60))
    assert of(decisions.LiquidationStarted, started)
    assert not of(decisions.LiquidationOrder, started)
    invariants.check(engine_of(story))
    one = of(decisions.Deleverage, decided)[0]
    closed = story.tell(
        events.OrderClosed,
        account="long",
        order_id=one.order_id,
        filled_size=D(0),
        reason="rejected",
    )
    order = only(decisions.LiquidationOrder, closed)
    assert (order.account, order.size) == ("two", 3)


def test_an_account_that_is_to_take_something_is_not_closed():
    story = venue(FUND)
    story.price("X", "80")
    refused = only(decisions.Refused, story.tell(events.AccountClosed, account="fund"))
    assert refused.rule == "not_empty"


@BOTH
def test_a_late_fill_of_a_transfer_is_applied_and_nothing_is_paid_for_it(
    machine: type[Machine],
) -> None:
    """Neither by the fund, nor as a liquidation fee."""
    story = venue(FUND, machine=machine(), liquidation=LiquidationRule(fee_rate=D("0.01")))
    decided = story.price("X", "80")
    only_one = only(decisions.TakeOver, decided)
    closed(story, only_one.order_id)
    story.deposit("long", "USDT", "1000")
    late = story.fill("long", "X", "-4", "90", order_id=only_one.order_id)
    assert only(decisions.Anomaly, late).kind == "late"
    assert not of(decisions.FeeCharged, late)
    assert story.machine.ledger("fund") == {"USDT": 40}
    if isinstance(story.machine, WholeEngine):
        invariants.check(story.machine.engine)


def test_who_does_not_answer_is_not_asked_again():
    story = venue(BACKSTOP)
    assert taken(story.price("X", "80")) == [("backstop", "vault", 10, 90)]
    for _ in range(2):
        story.time += 6_000_000
        decided = story.tell(events.TimePassed)
    assert taken(decided) == []
    assert only(decisions.LiquidationOrder, decided).size == 10


@BOTH
def test_a_position_that_is_not_netted_goes_on_to_the_market(machine: type[Machine]) -> None:
    story = venue(FUND, machine=machine(), liquidation=LiquidationRule(netting=True))
    story.tell(events.MarginMoved, account="long", symbol="X", amount=D(50))
    story.fill("long", "X", "-4", "100", margin="isolated:X")
    netting = only(decisions.TakeOver, story.price("X", "95.3"))
    order = only(decisions.LiquidationOrder, closed(story, netting.order_id))
    assert (order.size, order.stage, order.replaces) == (10, "limit", netting.order_id)


def test_nobody_takes_who_is_not_there_or_is_being_liquidated_itself():
    story = venue(structs.replace(FUND, fund_account="nobody"))
    assert taken(story.price("X", "80")) == []
    story = venue(structs.replace(FUND, fund_account="long"))
    assert taken(story.price("X", "80")) == []


@BOTH
def test_who_is_liquidated_takes_nothing_though_it_has_equity(machine: type[Machine]) -> None:
    """Worth 5 with ten lots at 90.5, which need 9.05: the fund could pay for four of another's,
    and does once that is over."""
    story = venue(structs.replace(FUND, fund_account="taker"), machine=machine())
    story.deposit("taker", "USDT", "100")
    story.fill("taker", "XQ", "10", "100")
    order = only(decisions.LiquidationOrder, story.price("XQ", "90.5"))
    assert order.account == "taker"
    assert taken(story.price("X", "80")) == []
    story.fill("taker", "XQ", "-10", "90.5", order_id=order.order_id)
    story.deposit("late", "USDT", "100")
    assert taken(story.fill("late", "X", "10", "100")) == [("fund", "taker", 4, 90)]


def restored(story: Story) -> None:
    """Put the engine down and take it up again from its state."""
    machine = story.machine
    assert isinstance(machine, WholeEngine)
    machine.engine = state.restore(0, state.records(machine.engine).items())


@pytest.mark.parametrize("ranking", ["binance", "bitmex", "hyperliquid", "pro_rata", "water_fill"])
def test_a_restart_while_transfers_are_live_changes_nothing(ranking: Any) -> None:
    adl = Deleveraging(ranking=ranking)
    digests = []
    for cut in (False, True):
        story = venue(structs.replace(AT_BANKRUPTCY, adl=adl))
        decided = story.price("X", "80")
        if cut:
            restored(story)
        story.deposit("late", "USDT", "100")
        story.fill("late", "X", "10", "100")
        if cut:
            restored(story)
        carry_out(story, decided)
        digests.append((state.digest(engine_of(story)), taken(story.decided)))
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.parametrize("ranking", ["binance", "bitmex", "hyperliquid", "pro_rata", "water_fill"])
def test_a_restart_between_two_slices_changes_nothing(ranking: Any) -> None:
    """A hundred are bankrupt at once: more than one slice decides."""
    adl = Deleveraging(ranking=ranking)
    outcomes = []
    for cut in (False, True):
        story = venue(structs.replace(AT_BANKRUPTCY, adl=adl))
        for number in range(100):
            story.deposit(f"more{number}", "USDT", "20")
            story.fill(f"more{number}", "X", "2", "100")
            story.deposit(f"other{number}", "USDT", str(100 + number))
            story.fill(f"other{number}", "X", "-1.5", "100")
        engine = engine_of(story)
        price = events.PriceUpdate(
            time=story.time + 1,
            symbol="X",
            kind="mark",
            source="venue",
            sequence=story.sequences["PriceUpdate X"] + 1,
            price=D(80),
        )
        decided = engine.apply(price)
        slices = 1
        while True:
            if cut:
                engine = state.restore(0, state.records(engine).items())
            more = engine.proceed()
            if not more:
                break
            decided, slices = decided + more, slices + 1
        assert slices > 1
        outcomes.append((decided, state.digest(engine)))
    assert outcomes[0] == outcomes[1]


def test_profiles_without_takers_do_as_before() -> None:
    story = venue(Waterfall())
    decided = story.price("X", "80")
    assert taken(decided) == []
    assert only(decisions.LiquidationOrder, decided).size == 10
    profile = engine_of(story).rules.in_force
    assert isinstance(profile, RiskProfile)
    assert profile.waterfall == Waterfall()
