"""Candidates are in their ranking however few of them are valued, whatever changes meanwhile."""

from decimal import Decimal as D
from decimal import localcontext
from random import Random

import pytest

from engine import events as e
from engine.book import Group
from engine.decisions import Side
from engine.deleveraging import (
    LEVEL_STEP,
    Candidate,
    _above,
    _down_to_a_level,
    candidate,
)
from engine.money import EXACT
from engine.water_screen import Open, WaterScreen
from tests.story import Story, engine_of
from tests.test_deleveraging import RANKINGS, XI, XQ, X, venue

SIDES: tuple[tuple[str, Side], ...] = (("X", "buy"), ("X", "sell"), ("XQ", "buy"), ("XI", "buy"))


def crowded(ranking: str, random: Random, count: int = 60) -> Story:
    """Return a venue where many hold positions of all kinds, some of them hedged, some alike."""
    story = venue(ranking, X, XQ, XI)
    story.price("BTC", "100", "index")
    for symbol in ("X", "XQ", "XI"):
        story.price(symbol, "100")
    for name in ("u1", "u3", "u2"):
        story.deposit(name, "USDT", "500")
        for symbol, size in (("X", "-10"), ("XI", "-10")):
            story.fill(name, symbol, size, "105")
    for number in range(count):
        name = f"t{number}"
        story.deposit(name, "USDT", str(random.randint(100, 3000)))
        story.deposit(name, "BTC", str(random.randint(1, 20)))
        for symbol in random.sample(["X", "XQ", "XI"], random.randint(1, 3)):
            size = random.choice([-1, 1]) * random.randint(1, 60 if symbol == "XI" else 20)
            story.fill(name, symbol, str(size), str(random.randint(90, 110)))
    return story


def ranked(story: Story, symbol: str, side: Side) -> list[Candidate]:
    """Return every candidate in its place, each valued by itself."""
    engine = engine_of(story)
    found = (candidate(engine, group, symbol, side) for group in engine.book.all_groups())
    return sorted(one for one in found if one is not None)


def in_turn(story: Story, symbol: str, side: Side, without: frozenset[Group]) -> list[Candidate]:
    """Return the candidates as they are asked."""
    found = engine_of(story).candidates.of(engine_of(story), symbol, side, without)
    asked = [*found.among(hedged=False), *found.among(hedged=True)]
    assert [found.rank(one) for one in asked] == list(range(1, len(asked) + 1))
    return asked


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("seed", range(3))
def test_who_is_valued_late_is_still_in_its_place(ranking: str, seed: int) -> None:
    random = Random(f"{ranking} {seed}")
    story = crowded(ranking, random)
    engine = engine_of(story)
    with localcontext(EXACT):
        for symbol, side in SIDES:
            expected = ranked(story, symbol, side)
            without = frozenset(one.group for one in random.sample(expected, len(expected) // 3))
            kept = [one for one in expected if one.group not in without]
            assert in_turn(story, symbol, side, without) == kept
            assert kept
            for one in random.sample(expected, min(5, len(expected))):
                engine.book.add_cash(one.group, "USDT", D(random.randint(-50, 900)))
                engine.candidates.forget(one.group)
            assert in_turn(story, symbol, side, frozenset()) == ranked(story, symbol, side)


@pytest.mark.parametrize("ranking", ["binance", "bitmex", "hyperliquid"])
def test_only_who_may_be_the_next_is_valued(monkeypatch: pytest.MonkeyPatch, ranking: str) -> None:
    story = crowded(ranking, Random(ranking))
    engine, valued = engine_of(story), []

    def counted(*about: object) -> Candidate | None:
        valued.append(about)
        return candidate(*about)

    monkeypatch.setattr("engine.candidates.candidate", counted)
    with localcontext(EXACT):
        found = engine.candidates.of(engine, "X", "buy", frozenset())
        first = next(found.among(hedged=False))
        assert first == ranked(story, "X", "buy")[0]
    assert 0 < len(valued) < 12


def test_who_has_nothing_free_keeps_its_rank_and_is_passed() -> None:
    story = venue("bitmex")
    for name, money in (("a", "100"), ("b", "1000"), ("long", "110"), ("longer", "105")):
        story.deposit(name, "USDT", money)
    story.fill("a", "X", "-5", "100")
    story.fill("b", "X", "-50", "100")
    story.fill("long", "X", "5", "100")
    story.fill("longer", "X", "5", "100")
    decided = story.price("X", "70")
    asked = [(one.account, one.counterparty, one.rank) for one in decided if hasattr(one, "rank")]
    assert asked == [("longer", "a", 1), ("long", "b", 2)]
    assert story.tell(e.TimePassed) == []


@pytest.mark.parametrize("seed", range(20))
def test_leverages_come_down_to_the_lowest_level_that_is_enough(seed: int) -> None:
    random, lot = Random(seed), D("0.001")
    story = crowded("water_fill", random)
    with localcontext(EXACT):
        found = engine_of(story).candidates.of(engine_of(story), "X", "buy", frozenset())
        everybody = [(one, found.free(one)) for one in found.among(hedged=False)]
        size = random.choice([lot, D(random.randint(1, 200)), D(random.randint(1, 99)) * lot])

        def taken(level: D) -> dict[Candidate, D]:
            parts = {one: _above(level, one, free, lot) for one, free in everybody}
            return {one: part for one, part in parts.items() if part}

        level = D(0)
        while sum(taken(level).values()) > size:
            level += LEVEL_STEP
        parts = dict(_down_to_a_level(size, lot, found, hedged=False))
        assert {one: part for one, part in parts.items() if part} == taken(level)


def told(screen: WaterScreen) -> list[object]:
    """Return what a screen holds, to be compared."""
    columns = [column.tolist() for column in (screen.lots, screen.inverse, screen.most)]
    return [list(screen.ranked), list(screen.free), screen.whole, *columns]


@pytest.mark.parametrize("seed", range(5))
def test_floats_are_those_of_who_has_something_free_now(seed: int) -> None:
    random, lot = Random(seed), D("0.001")
    story = crowded("water_fill", random)
    with localcontext(EXACT):
        everybody = ranked(story, "X", "buy")
        kept, free = Open(lot), dict.fromkeys(everybody, D(0))
        for _ in range(60):
            one = random.choice(everybody)
            if free[one]:
                free[one] = random.choice([D(0), free[one] - lot])
                kept.leave(one, free[one])
            else:
                free[one] = random.choice([D(0), one.size])
                kept.put(one, free[one])
            anew = Open(lot)
            for other in everybody:
                anew.put(other, free[other])
            assert told(kept.screen([])) == told(anew.screen([]))
        absent = random.sample(everybody, len(everybody) // 2)
        least = random.choice([lot, max(free.values())])
        assert kept.screen(absent).whole == sum(free[one] for one in everybody if one not in absent)
        assert kept.screen(absent).with_free(least) == [
            (one, free[one]) for one in everybody if free[one] >= least and one not in absent
        ]
