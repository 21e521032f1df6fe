"""What the status page is told: the numbers of `/metrics`, and committed decisions."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from consumers import board
from consumers.board import Board
from consumers.config import Status
from consumers.lending_market import LendingScene, LendingWorld
from consumers.market import Scene, World
from engine import decisions as d
from engine.core import Engine
from producers.decisions_said import SAID, Noted
from producers.kafka import CLOCK, Cause
from producers.ladder import Picture
from producers.metrics import Metrics
from producers.status import ShardStatus
from producers.view import look
from tests.bench import book
from tests.kafka.day import give

CAUSE = Cause("positions", 1, 17)
SCENE = Scene(accounts=300, symbols=4, start_minute=760, end_minute=780, shards=2)


class Venue:
    """Engines with a board and metrics of them."""

    def __init__(self, world: World | LendingWorld, slots_max: int = 10**9) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.engines = [Engine(shard) for shard in range(world.scene.shards)]
        self.board = Board(self.shards, list, Status())
        for number, slot in enumerate(world.play()):
            for shard, event in slot:
                for engine in self.engines if shard is None else [self.engines[shard]]:
                    decisions = list(give(engine, event))
                    self.board.took((decision, CAUSE) for decision in decisions)
                    for decision in decisions:
                        world.hear(decision)
            if number == slots_max:
                break
        for engine in self.engines:
            self.show(engine)

    def shards(self) -> list[ShardStatus]:
        """Say that all run."""
        return [ShardStatus(engine.shard, "running", "", 0.5) for engine in self.engines]

    def show(self, engine: Engine) -> None:
        """Show a shard on the board and in metrics."""
        view = look(engine)
        self.metrics.show(engine.shard, view)
        self.board.show(engine.shard, view, self.board.picture(engine))

    def scraped(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """Return the sums of a metric over shards by labels."""
        found: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(generate_latest(self.registry).decode()):
            for sample in family.samples:
                if sample.name == name:
                    at = tuple(sample.labels[label] for label in by)
                    found[at] = found.get(at, 0.0) + sample.value
        return found


@pytest.fixture(scope="module")
def venue() -> Venue:
    return Venue(World(SCENE))


@pytest.fixture(scope="module")
def lender() -> Venue:
    return Venue(LendingWorld(LendingScene(accounts=100)), slots_max=1_000)


async def test_every_number_is_that_of_metrics(venue: Venue) -> None:
    shown = await venue.board.document()
    states = {(state,): count for state, count in shown["states"].items()}
    assert states == venue.scraped("liquidator_accounts", "state")
    for field, name in {
        "shortfall": "liquidator_shortfall_total",
        "bad_debt": "liquidator_bad_debt_total",
        "outstanding": "liquidator_bad_debt_outstanding",
        "recovered": "liquidator_bad_debt_recovered_total",
        "written_off": "liquidator_bad_debt_written_off_total",
        "unrealised": "liquidator_bad_debt_unrealised",
    }.items():
        nothing = {(loss["asset"],): 0.0 for loss in shown["losses"]}
        told = {(loss["asset"],): loss[field] for loss in shown["losses"]}
        assert told == pytest.approx(nothing | venue.scraped(name, "asset")), field
    paid = {
        (loss["asset"], layer): amount
        for loss in shown["losses"]
        for layer, amount in loss["paid"].items()
    }
    assert paid == pytest.approx(venue.scraped("liquidator_shortfall_paid_total", "asset", "layer"))
    assert sum(paid.values()) > 0, "a day without losses tests nothing"
    funds = {(fund["asset"], fund["fund"]): fund["held"] for fund in shown["funds"]}
    assert funds == pytest.approx(venue.scraped("liquidator_insurance_fund", "asset", "fund"))


async def test_markets_are_those_of_metrics(venue: Venue) -> None:
    markets = {market["market"]: market for market in (await venue.board.document())["markets"]}
    assert len(markets) == SCENE.symbols
    notional = venue.scraped("liquidator_position_notional", "market", "asset", "side")
    for (name, asset, side), value in notional.items():
        assert markets[name][side] == pytest.approx(value)
        assert markets[name]["asset"] == asset
    furthest = max(venue.engines, key=lambda engine: engine.time)
    for name, market in markets.items():
        mark = furthest.prices[name, "mark"]
        assert market["mark"] == float(mark.price)
        assert market["age_seconds"] == pytest.approx((furthest.time - mark.time) / 1e6)
        assert market["halted"] is False


async def test_the_book_holds_what_the_markets_do(venue: Venue) -> None:
    shown = await venue.board.document()
    told = shown["book"]
    parts = [*told["bands"], told["unpriced"], told["exempt"]]
    markets = sum(market["long"] + market["short"] for market in shown["markets"])
    assert sum(part["notional"] for part in parts) == pytest.approx(markets)
    groups = sum(part["groups"] for part in parts) + told["idle"]["groups"]
    assert groups == sum(shown["states"].values()) == sum(s["groups"] for s in shown["shards"])
    now = next(rung for rung in told["ladder"] if rung["move"] == 0)
    assert now["groups"] == told["bands"][0]["groups"]
    assert now["notional"] == pytest.approx(told["bands"][0]["notional"])
    assert told["shards"] == [0, 1]
    assert told["held"] == ["USDT"]


async def test_pools_are_those_of_metrics(lender: Venue) -> None:
    shown = await lender.board.document()
    pools = {pool["pool"]: pool for pool in shown["pools"]}
    for field in ("supplied", "borrowed", "cash", "deficit"):
        scraped = lender.scraped(f"liquidator_pool_{field}", "pool")
        assert {(name,): pool[field] for name, pool in pools.items()} == pytest.approx(scraped)
    assert sum(pool["borrowed"] for pool in pools.values()) > 0
    used = lender.scraped("liquidator_pool_utilization_ratio", "pool")
    assert {(name,): pool["utilization"] for name, pool in pools.items()} == pytest.approx(used)


async def test_the_latest_decisions_stand_first_and_are_few(venue: Venue) -> None:
    shown = (await venue.board.document())["decisions"]
    assert len(shown) == board.DECISIONS_SHOWN
    assert {one["type"] for one in shown} <= {kind.__name__ for kind in SAID}
    assert {one["cause"] for one in shown} == {"positions/1/17"}
    times = [one["time"] for one in shown]
    assert times == sorted(times, reverse=True)


async def test_a_shard_that_decides_much_leaves_room_for_the_others(venue: Venue) -> None:
    shown = Board(venue.shards, list, Status())
    shown.took([(structs.replace(_bad_debt(), shard=1, time=100), CAUSE)])
    late = [structs.replace(_bad_debt(), seq=seq, time=1) for seq in range(200)]
    shown.took((decision, CAUSE) for decision in late)
    told = (await shown.document())["decisions"]
    assert [one["shard"] for one in told] == [1] + [0] * (board.DECISIONS_SHOWN - 1)


@pytest.mark.parametrize("kind", SAID, ids=lambda kind: kind.__name__)
def test_every_decision_that_is_shown_can_be_said(kind: type[d.Decision]) -> None:
    hints = get_type_hints(kind)
    noted = Noted(kind(**{name: _some(hint) for name, hint in hints.items()}), Cause(CLOCK))
    shown = noted.shown()
    assert shown["said"]
    assert shown["cause"] == "clock"
    assert shown["type"] == kind.__name__


def _some(hint: Any) -> Any:
    """Return something of a type."""
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is tuple:
        return ()
    return {str: "x", int: 1, bool: False, Decimal: Decimal("1234567.50")}.get(hint)


def _bad_debt() -> d.BadDebt:
    return d.BadDebt(
        shard=0, seq=1, index=0, time=0, account="a", margin="cross", id="1", number=1,
        asset="USDT", market="BTCUSDT", cause="", amount=Decimal("1234567.50000001"),
    )  # fmt: skip


def test_amounts_are_said_exactly() -> None:
    assert Noted(_bad_debt(), None).shown()["said"] == "1,234,567.50000001 USDT in BTCUSDT"


def fresh(venue: Venue) -> Board:
    """Return another board on which the venue is shown."""
    shown = Board(venue.shards, list, Status())
    for engine in venue.engines:
        shown.show(engine.shard, look(engine), shown.picture(engine))
    return shown


async def test_a_shard_that_left_is_in_no_sum(venue: Venue) -> None:
    shown = fresh(venue)
    shown.took([(_bad_debt(), CAUSE)])
    whole = await shown.document()
    shown.drop(1)
    left = await shown.document()
    assert sum(left["states"].values()) == whole["shards"][0]["groups"]
    assert left["shards"][1]["groups"] is None
    assert left["book"]["shards"] == [0]
    assert left["decisions"] == whole["decisions"] != [], "what was decided stays decided"


async def test_what_is_not_pictured_is_not_drawn_and_the_rest_stands(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a book that nobody thought of")

    monkeypatch.setattr(board, "Picture", broken)
    shown = Board(venue.shards, lambda: ["stopping"], Status())
    engine = venue.engines[0]
    shown.show(0, look(engine), shown.picture(engine))
    document = await shown.document()
    assert document["book"] is None
    assert document["states"]["healthy"] > 0
    assert document["ready"] is False
    assert document["reasons"] == ["stopping"]


async def test_what_cannot_be_drawn_is_left_out(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise LookupError("a book that nobody thought of")

    shown = fresh(venue)
    monkeypatch.setattr(Picture, "draw", broken)
    document = await shown.document()
    assert document["book"] is None
    assert document["states"]["healthy"] > 0


async def test_a_book_is_drawn_when_asked_for_and_not_too_often(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, engine = Board(venue.shards, list, Status()), venue.engines[0]

    def pictured() -> Picture:
        picture = shown.picture(engine)
        assert picture is not None
        shown.show(0, look(engine), picture)
        return picture

    # As if drawing took no time, then as if it took so long that it must wait.
    monkeypatch.setattr(board, "STRETCH_SECONDS", 0.0)
    monkeypatch.setattr(board, "SHARE", 1e9)
    first = pictured()
    assert first.drawn is None, "nobody has asked"
    await shown.document()
    drawn = first.drawn
    await shown.document()
    assert first.drawn is drawn is not None, "nothing changed"
    monkeypatch.setattr(board, "SHARE", 1e-9)
    second = pictured()
    await shown.document()
    assert second.drawn is not None
    third = pictured()
    document = await shown.document()
    assert third.drawn is None
    assert document["book"] is not None, "what was drawn before is shown"


async def test_what_holds_is_as_new_as_what_was_just_seen(venue: Venue) -> None:
    shown = fresh(venue)
    first = await shown.document()
    await asyncio.sleep(0.02)
    second = await shown.document()
    assert second["shards"][0]["age_seconds"] > first["shards"][0]["age_seconds"]
    shown.holds(0)
    third = await shown.document()
    assert third["shards"][0]["age_seconds"] < second["shards"][0]["age_seconds"]
    assert third["shards"][1]["age_seconds"] >= second["shards"][1]["age_seconds"]


async def test_a_venue_without_accounts_has_a_page() -> None:
    engine = Engine()
    for event in book.rules():
        list(give(engine, event))
    shown = Board(lambda: [ShardStatus(0, "running", "", 0.0)], list, Status())
    shown.show(0, look(engine), shown.picture(engine))
    document = await shown.document()
    assert [rung["groups"] for rung in document["book"]["ladder"]] == [0] * 41
    assert document["markets"][0]["mark"] is None
    assert document["decisions"] == []
