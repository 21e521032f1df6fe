"""What is told of accounts on `account-risk`: in the right numbers, when it changes, no more."""

from __future__ import annotations

import json
from decimal import Decimal as D
from decimal import localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from consumers.market import Scene, World
from consumers.risk_config import Risk
from consumers.risk_topic import Records, RiskTopic
from engine import events
from engine.core import Engine
from engine.decisions import LiquidationOrder
from engine.instruments import Perpetual
from engine.money import EXACT
from engine.ratio_screen import RatioScreen
from producers.account_risk import Bands, told_of
from tests.contract_schemas import faults
from tests.histories import History
from tests.kafka.day import give
from tests.story import Story, WholeEngine, of, only
from tests.twin import values

BOUNDS = tuple(D(bound) for bound in ("1", "1.05", "1.1", "1.25", "2"))
BTC_PERP = Perpetual("BTC-PERP", "USDT", 3, 1, D("0.1"), D("0.001"), D(1_000_000))
ETH_PERP = Perpetual("ETH-PERP", "USDT", 3, 2, D("0.01"), D("0.001"), D(1_000_000))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A topic's writer with its clock, and what it wrote last of each account."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        self.engine = engine
        self.clock = Clock()
        self.topic = RiskTopic(engine, Risk(**settings), self.clock)
        self.records: Records = {}
        self.count = 0

    def look(self, seconds: float = 1.0) -> dict[str, Any]:
        """Let time pass, look at the book, and return what is told."""
        self.clock.now += seconds
        self.topic.touched(self.engine.changed.accounts)
        self.engine.changed.accounts.clear()
        for _ in self.topic.look():
            pass
        records = self.topic.take()
        self.records |= records
        self.count += len(records)
        return {name: raw and json.loads(raw) for name, raw in records.items()}


def screened(engine: Engine) -> RatioScreen:
    screen = RatioScreen(engine)
    for _ in screen.steps():
        pass
    return screen


# --- the calculation


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_the_screen_is_near_the_exact_numbers(seed: int) -> None:
    whole, compared, sharp = WholeEngine(), 0, 0
    for place, (event, _) in enumerate(History(seed)):
        whole.apply(event)
        if place % 20 == 0 and whole.engine.ready:
            found = compare(whole.engine)
            compared, sharp = compared + found[0], sharp + found[1]
    assert compared > 20
    assert sharp > compared / 2, "errors that say nothing"


def compare(engine: Engine) -> tuple[int, int]:
    """Compare every row of the screen with its exact health; return how many need something, and
    of how many the band is certain."""
    screen, needing = screened(engine), 0
    every = slice(0, len(screen.equity))
    _, codes = Bands(BOUNDS).screened(screen, every)
    ratios = screen.ratios(every)[0]
    sharp = 0
    with localcontext(EXACT):
        for group in engine.book.all_groups():
            state, row = engine.health_of(group), group.row
            assert screen.standing[row] == engine.watch.standing_at(row)
            if state is None:
                assert np.isnan(ratios[row])
                continue
            error = screen.error[row] + 1e-12
            assert abs(float(state.margin_equity) - screen.equity[row]) <= error
            assert abs(float(state.maintenance) - screen.needs[row]) <= error
            needing += state.maintenance > 0
            sharp += state.maintenance > 0 and int(codes[row]) >= 0
    return needing, sharp


@pytest.mark.parametrize("seed", [0, 2])
def test_records_say_what_the_twin_says(seed: int) -> None:
    history, whole = History(seed), WholeEngine()
    for event, _ in history:
        whole.apply(event)
    told = Told(whole.engine)
    compared = 0
    for name, record in told.look().items():
        for group in record["groups"]:
            its = values.health(history.twin.world, history.twin.group(name, group["margin"]))
            if its is None:
                assert group["equity"] is None
                assert group["band"] == "unpriced"
                continue
            for field, expected in (
                ("equity", its.equity),
                ("margin_equity", its.margin_equity),
                ("maintenance", its.requirement),
            ):
                assert Fraction(group[field]) == expected
            if its.requirement > 0:
                ratio = its.margin_equity / its.requirement
                assert (
                    Fraction(group["ratio"])
                    <= ratio
                    < Fraction(group["ratio"]) + Fraction("0.0001")
                )
                assert group["band"] == band_of(ratio)
                compared += 1
    assert compared


def band_of(ratio: Fraction) -> str:
    """Return the name of a ratio's band, the naive way."""
    if ratio < 1:
        return "below_1"
    for low, high in (("1", "1.05"), ("1.05", "1.1"), ("1.1", "1.25"), ("1.25", "2")):
        if Fraction(low) <= ratio < Fraction(high):
            return f"{low}_to_{high}"
    return "above_2"


def test_liquidation_prices_are_where_the_group_is_liquidated() -> None:
    story = venue()
    story.deposit("alice", "USDT", "2000")
    story.fill("alice", "BTC-PERP", "1", "10000")
    story.fill("alice", "ETH-PERP", "-1", "1000")
    (group,) = Told(engine(story)).look()["alice"]["groups"]
    assert set(group["liquidation_prices"]) == {"BTC-PERP", "ETH-PERP"}
    prices = group["liquidation_prices"]["BTC-PERP"]
    assert prices["above"] is None
    story.price("BTC-PERP", prices["below"])
    assert not engine(story).liquidating
    story.price("BTC-PERP", str(D(prices["below"]) - D("0.1")))
    assert len(engine(story).liquidating) == 1


# --- when it is told


def venue() -> Story:
    """Return a story with prices of 10,000 and 1,000, and 10 % of maintenance."""
    story = Story(WholeEngine())
    story.rules(BTC_PERP, ETH_PERP, rate="0.1")
    story.price("BTC-PERP", "10000")
    story.price("ETH-PERP", "1000")
    return story


def engine(story: Story) -> Engine:
    found: Engine = story.machine.engine
    return found


def long(story: Story, account: str, deposit: str) -> None:
    """Let an account buy one BTC at 10,000: it needs 1,000."""
    story.deposit(account, "USDT", deposit)
    story.fill(account, "BTC-PERP", "1", "10000")


def test_an_account_is_told_of_when_it_changes_its_band_and_not_before() -> None:
    story = venue()
    long(story, "alice", "1500")
    story.deposit("bob", "USDT", "1000000")
    told = Told(engine(story))
    (record,) = told.look().values()
    assert (record["account"], record["band"], record["numeraire"]) == (
        "alice", "1.25_to_2", "USDT",
    )  # fmt: skip
    assert record["groups"][0]["ratio"] == "1.5"
    assert told.look() == {}
    story.price("BTC-PERP", "9950")
    assert told.look() == {}, "1.457 is in the same band"
    story.price("BTC-PERP", "9700")
    assert told.look()["alice"]["band"] == "1.1_to_1.25"
    assert told.look() == {}


def test_a_change_of_state_is_told() -> None:
    story = venue()
    long(story, "alice", "1500")
    told = Told(engine(story))
    assert told.look()["alice"]["groups"][0]["state"] == "healthy"
    story.price("BTC-PERP", "9400")
    (group,) = told.look()["alice"]["groups"]
    assert (group["band"], group["state"]) == ("below_1", "liquidating")
    assert group["liquidation_prices"] == {}
    story.deposit("alice", "USDT", "100000")
    (group,) = told.look()["alice"]["groups"]
    assert (group["band"], group["state"]) == ("above_2", "liquidating"), "an order is out"
    order = only(LiquidationOrder, of(LiquidationOrder, story.decided)).order_id
    story.tell(events.OrderClosed, account="alice", order_id=order, filled_size=D(0))
    (group,) = told.look()["alice"]["groups"]
    assert (group["band"], group["state"]) == ("above_2", "healthy")


def test_an_account_without_positions_is_flat_and_a_closed_one_gone() -> None:
    story = venue()
    long(story, "alice", "1500")
    story.deposit("bob", "USDT", "5")
    told = Told(engine(story))
    told.look()
    story.fill("alice", "BTC-PERP", "-1", "10000")
    record = told.look()["alice"]
    assert (record["band"], record["groups"]) == ("none", [])
    for account, amount in (("alice", "1500"), ("bob", "5")):
        story.tell(events.Withdrawal, account=account, asset="USDT", amount=D(amount))
        story.tell(events.AccountClosed, account=account)
    assert told.look() == {"alice": None}, "of bob nothing was ever told"
    assert told.look() == {}


def test_an_isolated_leg_is_a_group_of_its_own() -> None:
    story = venue()
    story.deposit("alice", "USDT", "5000")
    story.tell(events.MarginMoved, account="alice", symbol="BTC-PERP", amount=D(1050))
    story.fill("alice", "BTC-PERP", "1", "10000", margin="isolated:BTC-PERP")
    story.fill("alice", "ETH-PERP", "1", "1000")
    told = Told(engine(story))
    record = told.look()["alice"]
    bands = {group["margin"]: group["band"] for group in record["groups"]}
    assert bands == {"cross": "above_2", "isolated:BTC-PERP": "1.05_to_1.1"}
    assert record["band"] == "1.05_to_1.1", "the lowest"
    story.fill("alice", "BTC-PERP", "-1", "10000", margin="isolated:BTC-PERP")
    bands = {group["margin"]: group["band"] for group in told.look()["alice"]["groups"]}
    assert bands == {"cross": "above_2"}


def test_a_row_that_gets_another_owner_is_told_of() -> None:
    story = venue()
    long(story, "alice", "1500")
    told = Told(engine(story))
    told.look()
    row = engine(story).accounts["alice"].groups["cross"].row
    story.fill("alice", "BTC-PERP", "-1", "10000")
    story.tell(events.Withdrawal, account="alice", asset="USDT", amount=D(1500))
    story.tell(events.AccountClosed, account="alice")
    long(story, "carol", "1500")
    assert engine(story).accounts["carol"].groups["cross"].row == row
    found = told.look()
    assert found["alice"] is None
    assert found["carol"]["band"] == "1.25_to_2"


def test_a_missing_price_is_told() -> None:
    story = venue()
    long(story, "alice", "1500")
    story.deposit("alice", "BTC", "1")
    told = Told(engine(story))
    (group,) = told.look()["alice"]["groups"]
    assert (group["band"], group["state"], group["ratio"]) == ("unpriced", "unpriced", None)
    story.price("BTC", "10000", kind="index")
    assert told.look()["alice"]["band"] == "above_2"


# --- how often


def test_no_account_is_told_of_too_often_and_the_last_band_always() -> None:
    story = venue()
    long(story, "alice", "1500")
    told = Told(engine(story), min_interval=10.0)
    told.look()
    story.price("BTC-PERP", "9700")
    assert told.look() == {}
    assert told.topic.waiting == 1
    story.price("BTC-PERP", "9620")
    assert told.look() == {}
    story.price("BTC-PERP", "20000")
    assert told.look(seconds=8)["alice"]["band"] == "above_2"
    assert told.topic.waiting == 0


def test_what_came_back_while_it_waited_is_not_told() -> None:
    story = venue()
    long(story, "alice", "1500")
    told = Told(engine(story), min_interval=10.0)
    told.look()
    for price in ("9700", "10000"):
        story.price("BTC-PERP", price)
        assert told.look() == {}
    assert told.look(seconds=10) == {}
    assert told.topic.waiting == 0


def test_a_shard_tells_so_many_a_second_the_nearest_to_liquidation_first() -> None:
    story = venue()
    for place in range(30):
        long(story, f"a{place:02}", str(1010 + 40 * place))
    told = Told(engine(story), max_per_second=5.0)
    assert list(told.look()) == [f"a{place:02}" for place in range(5)]
    assert told.topic.waiting == 25
    assert len(told.look()) == 5
    assert len(told.look(seconds=0.2)) == 1
    while told.topic.waiting:
        told.look()
    assert told.count == 30


def test_those_who_are_gone_are_told_of_in_the_end_too() -> None:
    story = venue()
    for place in range(20):
        long(story, f"a{place:02}", "1500")
    told = Told(engine(story), max_per_second=20.0)
    told.look()
    for place in range(20):
        story.fill(f"a{place:02}", "BTC-PERP", "-1", "10000")
        story.tell(events.Withdrawal, account=f"a{place:02}", asset="USDT", amount=D(1500))
        story.tell(events.AccountClosed, account=f"a{place:02}")
    while told.look(seconds=0.1) or told.topic.waiting:
        pass
    assert set(told.records.values()) == {None}


def test_who_waits_long_comes_first() -> None:
    story = venue()
    for place in range(12):
        long(story, f"a{place:02}", "5000" if place == 0 else "1500")
    told = Told(engine(story), max_per_second=1.0, min_interval=0)
    names: list[str] = []
    for turn in range(12):
        names += told.look()
        # Those who are near cross a bound again and again.
        story.price("BTC-PERP", ("9700", "10000")[turn % 2])
    assert "a00" in names


# --- the whole of it


def test_at_the_end_of_a_crash_everything_is_told_and_known_again() -> None:
    world = World(Scene(accounts=150, symbols=3, start_minute=12 * 60 + 50, end_minute=13 * 60))
    told = Told(Engine(), max_per_second=20.0)
    for slot in world.play():
        for _, event in slot:
            for decision in give(told.engine, event):
                world.hear(decision)
        told.look(seconds=0.1)
    while told.look() or told.topic.waiting:
        pass
    for raw in told.records.values():
        assert raw is None or faults("account-risk", raw) == []
    bands = Bands(BOUNDS)
    known = {name: bands.read(raw) for name, raw in told.records.items() if raw is not None}
    exact = {name: told_of(told.engine, it, bands) for name, it in told.engine.accounts.items()}
    assert {name: it for name, it in known.items() if it} == {
        n: it for n, it in exact.items() if it
    }
    assert told.count > 1.2 * len(known), "bands were crossed"
    again = Told(told.engine)
    for name, raw in told.records.items():
        again.topic.recall(name, raw)
    assert again.look() == {}, "nothing changed meanwhile"


def test_what_changed_while_nobody_told_is_told() -> None:
    story = venue()
    for account in ("alice", "bob", "carol"):
        long(story, account, "1500")
    before = Told(engine(story))
    before.look()
    story.fill("carol", "BTC-PERP", "-1", "10000")
    story.tell(events.Withdrawal, account="carol", asset="USDT", amount=D(1500))
    story.tell(events.AccountClosed, account="carol")
    story.deposit("bob", "USDT", "10000")
    after = Told(engine(story))
    for name, raw in before.records.items():
        after.topic.recall(name, raw)
    found = after.look()
    assert sorted(found) == ["bob", "carol"]
    assert found["carol"] is None


def test_records_of_other_bands_or_forms_are_replaced() -> None:
    story = venue()
    for account in ("alice", "bob"):
        long(story, account, "1500")
    before = Told(engine(story), bands=(1.0, 3.0))
    before.look()
    after = Told(engine(story))
    after.topic.recall("alice", before.records["alice"])
    after.topic.recall("bob", b'{"form":"another"}')
    assert sorted(after.look()) == ["alice", "bob"]
    assert after.look() == {}


def test_a_book_that_grows_while_it_is_looked_at_is_looked_at_again() -> None:
    story = venue()
    long(story, "alice", "1500")
    told = Told(engine(story))
    look = told.topic.look()
    next(look)
    next(look)
    for place in range(200):
        long(story, f"a{place:03}", "1500")
    for _ in look:
        pass
    assert told.topic.take() == {}
    found: set[str] = set()
    while names := told.look():
        found |= set(names)
    assert len(found) == 201


def test_who_comes_near_meanwhile_does_not_wait_for_all_others() -> None:
    story = venue()
    for place in range(50):
        long(story, f"a{place:02}", "1500")
    told = Told(engine(story), max_per_second=1000.0)
    look = told.topic.look()
    while not (first := told.topic.take()):
        next(look)
    told.clock.now += 2
    for _ in look:
        pass
    assert len(first) + len(told.topic.take()) < 5
    assert told.topic.waiting > 45
    long(story, "zoe", "1010")
    assert next(iter(told.look())) == "zoe"
