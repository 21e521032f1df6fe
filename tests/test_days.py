"""The days that can be played: their bars, and LUNA's end in small."""

import asyncio
import re
from collections import defaultdict
from decimal import Decimal as D
from importlib.resources import files

import click
import pytest

from consumers import bars, demo, demo_screen, market
from consumers.crashes import CRASHES, LUNA, MAY_2021
from consumers.demo import Embedded, Pace
from consumers.market import Scene, World
from consumers.tally import Tally, findings
from engine import instruments, invariants, profile_faults
from engine.decisions import Duplicate, Gap, Ignored, Refused
from engine.events import Fill, PriceUpdate

# Too long for `make check`.
pytestmark = pytest.mark.slow

SYMBOLS = ("LUNAUSDT", "USTUSDT", "BTCUSDT")
END = Scene(day=LUNA.name, accounts=300, start_minute=LUNA.minutes - 120)
"""The last two hours: LUNA from 0.0006 to 0.00005."""


# --- bars


def test_the_sample_is_small_and_reaches_to_the_last_bar_of_luna():
    folder = files("deploy").joinpath(bars.FOLDER, LUNA.name)
    packed = {item.name: len(item.read_bytes()) for item in folder.iterdir()}
    assert sorted(packed) == sorted(f"{symbol}.csv.zst" for symbol in SYMBOLS)
    assert sum(packed.values()) < 100_000
    assert {len(bars.load(symbol, LUNA.name).bars) for symbol in SYMBOLS} == {1_736}


@pytest.mark.parametrize(
    ("symbol", "high", "low"),
    [("LUNAUSDT", 77.5, 0.00004), ("UST" + "USDT", 0.9999, 0.225), ("BTCUSDT", 36_146.3, 26_700)],
)
def test_prices_are_those_that_were(symbol, high, low):
    found = bars.load(symbol, LUNA.name).bars
    assert max(bar.high for bar in found) == high
    assert min(bar.low for bar in found) == low


def test_a_sample_that_is_too_short_is_not_played(monkeypatch):
    longer = {LUNA.name: LUNA.__class__(**{**fields(LUNA), "minutes": LUNA.minutes + 5})}
    monkeypatch.setattr(bars, "CRASHES", longer)
    with pytest.raises(ValueError, match=r"bars LUNAUSDT: 1736 of 1737"):
        bars.load.__wrapped__("LUNAUSDT", LUNA.name)
    assert len(bars.load.__wrapped__("USTUSDT", LUNA.name).bars) == 1_737


def fields(struct) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


@pytest.mark.parametrize("day", CRASHES)
def test_the_minutes_of_a_bar_go_its_way(day):
    crash = CRASHES[day]
    history = bars.load("BTCUSDT", day)
    for bar in (0, 100, crash.minutes // crash.minutes_a_bar - 1):
        first = bar * crash.minutes_a_bar
        minutes = range(first, first + crash.minutes_a_bar)
        way = [price for minute in minutes for price in history.path(minute)]
        ticks = crash.ticks_a_minute * crash.minutes_a_bar
        assert way == bars.path(history.of_day(first), ticks, crash.wick)
        assert history.opening(first) == history.of_day(first).open
        before = [history.path(minute)[-1] for minute in minutes]
        assert [history.opening(minute) for minute in minutes[1:]] == before[:-1]


def test_steps_of_five_minutes_are_no_larger_than_those_of_one():
    """The same market at the same volatility would be, were it BTC's on both days."""

    def step(day: str) -> float:
        crash = CRASHES[day]
        found = bars.load("BTCUSDT", day).bars[: crash.bars_before]
        ticks = crash.ticks_a_minute * crash.minutes_a_bar
        sizes = [abs(bars.path(bar, ticks)[0] / bar.open - 1) for bar in found]
        moves = [abs(bar.close / bar.open - 1) / crash.minutes_a_bar**0.5 for bar in found]
        return sum(sizes) / sum(moves)

    assert step(LUNA.name) == pytest.approx(step(MAY_2021.name), rel=0.35)


# --- the world


def test_the_rules_have_no_fault_and_every_lot_at_every_tick_is_a_whole_number_of_units():
    found = market.venue_rules(None, LUNA.name)
    assert profile_faults.faults(found.profile) == []
    assert [instruments.faults(item) for item in (*found.assets, *found.perpetuals)] == [[]] * 5
    for perpetual in found.perpetuals:
        assert perpetual.lot * perpetual.tick >= D("1e-8")


@pytest.fixture(scope="module")
def end():
    """Play LUNA's last two hours; the decisions come last."""
    world = World(END)
    tally = Tally(frozenset(trader.account for trader in world.traders if trader.long))
    decisions: list[object] = []
    hear = world.hear
    world.hear = lambda decision: (decisions.append(decision), hear(decision))[1]
    embedded = Embedded(world, tally)
    asyncio.run(embedded.run(Pace(world.clock.time, None)))
    return world, embedded, tally, decisions


def test_the_engine_follows_luna_to_its_end(end):
    world, embedded, tally, decisions = end
    objections = (Refused, Duplicate, Gap, Ignored)
    assert [decision for decision in decisions if isinstance(decision, objections)] == []
    (engine,) = embedded.engines
    invariants.check(engine)
    held = defaultdict(D)
    for account in engine.accounts.values():
        for group in account.groups.values():
            for symbol, leg in group.legs.items():
                held[symbol] += leg.size
    assert set(held) == set(SYMBOLS)
    assert not any(held.values())
    assert world.prices["LUNAUSDT"] == D("0.00005")
    assert world.clock.time < LUNA.begin + LUNA.minutes * 60 * market.SECOND
    assert tally.summary(world.scene, 1.0, None).liquidations > 30
    assert {row.market for row in tally.summary(world.scene, 1.0, None).markets} >= {"LUNAUSDT"}


def test_marks_come_six_times_a_minute():
    world = World(Scene(day=LUNA.name, accounts=100, end_minute=7))
    records = [event for slot in world.play() for _, event in slot]
    marks = [event for event in records if isinstance(event, PriceUpdate) and event.kind == "mark"]
    assert len(marks) == 3 * (1 + 7 * 6)
    assert world.slots == 1 + 3 * 7 * 6
    sizes = {event.symbol for event in records if isinstance(event, Fill)}
    assert sizes == set(SYMBOLS)


def test_no_figure_of_luna_is_expected(end):
    world, _, tally, _ = end
    found = findings(tally.summary(world.scene, 1.0, None))
    assert [finding.inside for finding in found] == [None] * 5
    assert found[2].name == "liquidated notional, 11 May"


def test_the_command_shows_luna_with_dates_and_small_prices(monkeypatch, capsys):
    def scene(**given):
        return Scene(**{**given, "accounts": 60, "start_minute": LUNA.minutes - 420})

    monkeypatch.setattr(demo, "Scene", scene)
    monkeypatch.setattr(demo_screen, "SHOW", 0.0)
    demo.run(day=LUNA.name)
    out = capsys.readouterr().out
    assert re.search(r"05-1[23] [0-9:]{8} UTC  LUNA +0\.000", out)
    for word in ("LUNA, 8 to 13 May 2022, thin book", "LUNAUSDT", "coindesk.com", "Digest: "):
        assert word in out


def test_the_lending_market_is_of_one_day():
    with pytest.raises(click.UsageError, match="is of 19 May 2021"):
        demo.run(book="lending", day=LUNA.name)
