"""When deleveraging begins and ends by what the insurance fund has lost."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import decisions, events, state
from engine.drawdown import NO_HISTORY, FundHistory, begins, deleverages, ends, followed
from engine.instruments import Perpetual
from engine.waterfall_profile import HOUR, Deleveraging, Drawdown, FundRule, Waterfall
from tests.story import USDT, Machine, Story, WholeEngine, engine_of, of
from tests.twin import Twin

RULE = Drawdown()
X = Perpetual("X", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0))
Changes = list[tuple[int, D]]


def history_of(changes: Changes, rule: Drawdown = RULE) -> FundHistory:
    found, amount = NO_HISTORY, D(0)
    for time, after in changes:
        found = followed(found, rule, time, amount, after)
        amount = after
    return found


def test_it_begins_beyond_the_start_and_ends_at_the_stop():
    assert not begins(RULE, D(100), D(70))
    assert begins(RULE, D(100), D("69.99"))
    assert not ends(RULE, D(100), D("74.99"))
    assert ends(RULE, D(100), D(75))


def test_a_stop_of_nothing_is_reached_at_the_peak():
    rule = Drawdown(stop=D(0))
    assert not ends(rule, D(100), D("99.99"))
    assert ends(rule, D(100), D(100))


def test_an_empty_fund_has_fallen_whatever_it_was():
    assert begins(RULE, D(0), D(0))
    assert not ends(RULE, D(0), D(0))
    assert deleverages(NO_HISTORY, RULE, 0, D(0))
    assert not deleverages(NO_HISTORY, RULE, 0, D(1))
    assert not history_of([(0, D(100))]).deleveraging


def test_between_stop_and_start_it_goes_on_as_it_was():
    assert not history_of([(0, D(100)), (1, D(72))]).deleveraging
    assert history_of([(0, D(100)), (1, D(69)), (2, D(72))]).deleveraging
    assert not history_of([(0, D(100)), (1, D(69)), (2, D(76))]).deleveraging


def test_a_peak_counts_until_its_slot_has_left_the_window():
    """Eight hours are 64 slots of seven and a half minutes; it was 100 all day, until it fell."""
    day, slot = 24 * HOUR, HOUR // 8
    changes = [(0, D(100)), (day, D(71))]
    assert history_of([*changes, (day + 1, D(69))]).deleveraging
    assert history_of([*changes, (day + RULE.window + slot - 1, D(69))]).deleveraging
    assert not history_of([*changes, (day + RULE.window + slot, D(69))]).deleveraging


def test_time_alone_ends_it():
    found, gone = history_of([(0, D(100)), (10, D(50))]), RULE.window + HOUR // 8
    assert deleverages(found, RULE, gone - 1, D(50))
    assert not deleverages(found, RULE, gone, D(50))
    # And a change then begins from there.
    assert not followed(found, RULE, gone, D(50), D(40)).deleveraging


def test_a_fund_that_falls_for_ever_is_remembered_by_a_sample_a_slot():
    falling = [(second * 1_000_000, D(100_000 - second)) for second in range(40_000)]
    found = history_of(falling)
    assert len(found.samples) <= 65
    assert deleverages(found, RULE, falling[-1][0], falling[-1][1]) is found.deleveraging


@st.composite
def fund_changes(draw: st.DrawFn) -> Changes:
    gaps = draw(st.lists(st.integers(0, 6 * HOUR), min_size=1, max_size=12))
    amounts = draw(st.lists(st.integers(0, 100), min_size=len(gaps), max_size=len(gaps)))
    time, found = 0, []
    for gap, amount in zip(gaps, amounts, strict=True):
        time += gap
        found.append((time, D(amount)))
    return found


def naive(changes: Changes, now: int) -> bool:
    """Tell whether deleveraging is on, by keeping everything that the fund ever was."""
    slot = RULE.window // 64

    def peak(known: Changes, at: int) -> D:
        since = (at // slot - 64) * slot
        older = [amount for time, amount in known if time < since]
        return max(older[-1:] + [amount for time, amount in known if time >= since])

    known: Changes = [(0, D(0))]
    on = False
    for time, amount in changes:
        held = known[-1][1]
        on = not held or (on and not ends(RULE, peak(known, time), held))
        known.append((time, amount))
        top = peak(known, time)
        on = begins(RULE, top, amount) or (on and not ends(RULE, top, amount))
    last = known[-1][1]
    return not last or (on and not ends(RULE, peak(known, now), last))


@given(fund_changes(), st.integers(0, 20 * HOUR))
def test_samples_that_are_dropped_are_no_peaks(changes: Changes, later: int) -> None:
    found, now = history_of(changes), changes[-1][0] + later
    assert deleverages(found, RULE, now, changes[-1][1]) is naive(changes, now)


def story_of(drawdown: Drawdown | None = RULE, rule: FundRule | None = None) -> Story:
    story = Story(WholeEngine())
    adl = Deleveraging(drawdown=drawdown)
    waterfall = Waterfall(takers=("adl",), adl=adl, fund=rule or FundRule())
    story.rules(X, rate="0.01", waterfall=waterfall)
    fund(story, "100")
    for account, money, size in (("long", "100", "10"), ("short", "1000", "-10")):
        story.deposit(account, "USDT", money)
        story.fill(account, "X", size, "100")
    return story


def fund(story: Story, amount: str, **fields: Any) -> None:
    story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(amount), **fields)


def test_positions_are_deleveraged_only_once_the_fund_has_fallen_far_enough():
    story = story_of()
    assert not of(decisions.Deleverage, story.price("X", "80"))
    story = story_of()
    fund(story, "-31")
    assert of(decisions.Deleverage, story.price("X", "80"))
    story = story_of(drawdown=None)
    assert of(decisions.Deleverage, story.price("X", "80"))


def test_an_empty_fund_stands_in_nobody_s_way():
    story = story_of()
    fund(story, "-100")
    assert of(decisions.Deleverage, story.price("X", "80"))


def test_the_fund_of_the_market_decides():
    by_market = FundRule(by="market")
    story = story_of(rule=by_market)
    fund(story, "100", fund="X")
    fund(story, "-100")
    assert not of(decisions.Deleverage, story.price("X", "80"))
    story = story_of(rule=by_market)
    fund(story, "100", fund="X")
    fund(story, "-31", fund="X")
    assert of(decisions.Deleverage, story.price("X", "80"))


def test_where_two_funds_pay_both_must_have_fallen():
    both = FundRule(by="market", then_venue=True)
    assert not of(decisions.Deleverage, story_of(rule=both).price("X", "80"))
    story = story_of(rule=both)
    fund(story, "-31")
    assert of(decisions.Deleverage, story.price("X", "80"))


def test_the_history_of_the_fund_is_state():
    story = story_of()
    fund(story, "-31")
    engine = engine_of(story)
    again = state.restore(0, state.records(engine).items())
    assert state.digest(again) == state.digest(engine)
    machine = story.machine
    assert isinstance(machine, WholeEngine)
    machine.engine = again
    assert of(decisions.Deleverage, story.price("X", "80"))


def test_without_the_rule_nothing_is_remembered():
    assert engine_of(story_of(drawdown=None)).ledger.histories == {}


@pytest.mark.parametrize("machine", [WholeEngine, Twin])
def test_a_fund_may_be_filled_before_there_is_a_profile(machine: type[Machine]) -> None:
    story = Story(machine())
    story.tell(events.InstrumentListed, instrument=USDT)
    moved = story.tell(events.FundMoved, shard=0, asset="USDT", amount=D(5))
    assert not of(decisions.Refused, moved)
    assert story.machine.ledger("fund") == {"USDT": 5}
