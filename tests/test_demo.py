"""The demo: a day played here, kept, shown, and played into a daemon."""

import asyncio
import json
from collections import Counter, defaultdict
from decimal import Decimal as D
from pathlib import Path

import aiohttp
import click
import pytest
from aiokafka import AIOKafkaProducer

from consumers import demo, demo_screen, event_log, market, player
from consumers.demo import Embedded, Pace
from consumers.market import Scene, World
from consumers.player import NotPlayable, Player
from consumers.replay import Replay
from consumers.tally import Summary, Tally, findings
from engine import invariants, wire
from engine.decisions import Anomaly, Duplicate, Gap, Ignored, LiquidationStarted, Refused
from engine.events import AccountEvent, Fill
from tests.broker import Broker
from tests.kafka.plant import Plant

CRASH = Scene(accounts=400, symbols=5, start_minute=765, end_minute=785)


def played(scene: Scene) -> tuple[World, Embedded, Tally, list[object]]:
    """Play a scene to its end and return all of it, the decisions last."""
    world = World(scene)
    tally = Tally(frozenset(trader.account for trader in world.traders if trader.long))
    decisions: list[object] = []
    hear = world.hear
    world.hear = lambda decision: (decisions.append(decision), hear(decision))[1]
    embedded = Embedded(world, tally)
    asyncio.run(embedded.run(Pace(world.clock.time, None)))
    return world, embedded, tally, decisions


@pytest.fixture(scope="module")
def crash():
    return played(CRASH)


def test_the_crash_has_all_that_a_liquidation_can_meet(crash):
    world, _, tally, decisions = crash
    summary = tally.summary(world.scene, 1.0, None)
    assert summary.liquidations > 50
    assert summary.shortfalls > 20
    assert summary.partial_fills > 20
    assert summary.expired_orders > 20
    assert summary.paid_by_fund > 0
    assert summary.bad_debt > 0
    assert summary.fund_lowest == 0
    assert len({row.market for row in summary.markets if row.shortfall}) == 5
    kinds = {decision.kind for decision in decisions if isinstance(decision, Anomaly)}
    assert "unacknowledged" in kinds


def test_the_engine_has_nothing_to_object_to(crash):
    _, embedded, _, decisions = crash
    objections = (Refused, Duplicate, Gap, Ignored)
    assert [decision for decision in decisions if isinstance(decision, objections)] == []
    for engine in embedded.engines:
        invariants.check(engine)


def test_the_engine_and_the_venue_hold_the_same_positions(crash):
    world, embedded, _, _ = crash
    (engine,) = embedded.engines
    held = {
        (account.id, group.margin, symbol): leg.size
        for account in engine.accounts.values()
        for group in account.groups.values()
        for symbol, leg in group.legs.items()
    }
    assert held == {key: size for key, size in world.exchange.positions.items() if size}
    sums: dict[str, D] = defaultdict(D)
    for (_, _, symbol), size in held.items():
        sums[symbol] += size
    assert not any(sums.values())


def test_what_was_counted_is_what_the_ledger_says(crash):
    world, embedded, tally, decisions = crash
    (engine,) = embedded.engines
    summary = tally.summary(world.scene, 1.0, None)
    ledger = engine.ledger
    for row in summary.markets:
        key = (row.asset, row.market)
        assert row.shortfall == ledger.shortfall.get(key, 0)
        assert row.paid_by_fund == ledger.paid_by_fund.get(key, 0)
        assert row.bad_debt == ledger.bad_debt.get(key, 0)
    assert summary.shortfall == sum(ledger.shortfall.values())
    assert summary.bad_debt == sum(ledger.bad_debt.values())
    assert summary.fund == ledger.fund["USDT"]
    assert summary.notional == sum(row.notional for row in summary.markets)
    started = {d.account for d in decisions if isinstance(d, LiquidationStarted)}
    assert summary.accounts_liquidated == len(started)


def test_a_log_of_four_shards_gives_the_same_digest_again(tmp_path):
    scene = Scene(accounts=300, symbols=3, start_minute=765, end_minute=775, shards=4)
    path = tmp_path / "day.jsonl.zst"
    summary = asyncio.run(demo.play(scene, log=str(path)))
    replay = Replay(4)
    replay.run(path)
    assert demo.state.run_digest(replay.digests()) == summary.digest
    assert replay.summary.unreadable == 0
    times, shards = [], Counter()
    for shard, raw in event_log.read(path):
        event = wire.read_event(raw)
        times.append(event.time)
        shards[shard] += 1
        assert (shard is not None) == isinstance(event, AccountEvent)
    assert times == sorted(set(times))
    assert set(shards) == {None, 0, 1, 2, 3}
    assert len(times) == summary.events


def test_a_fill_is_later_than_the_order_that_it_answers(crash):
    world = World(CRASH)
    ordered: dict[str, int] = {}
    hear = world.hear

    def note(decision):
        if hasattr(decision, "order_id"):
            ordered.setdefault(decision.order_id, decision.time)
        hear(decision)

    world.hear = note
    embedded = Embedded(world, Tally(frozenset()))
    answered = 0
    for records in world.play():
        for shard, event in records:
            if isinstance(event, Fill) and event.order_id:
                answered += 1
                assert event.time > ordered[event.order_id]
            embedded._give(shard, event)
    assert answered > 100


def test_the_same_scene_gives_the_same_digest_and_another_seed_another():
    scene = Scene(accounts=200, symbols=3, start_minute=770, end_minute=773)
    first, second = (asyncio.run(demo.play(scene)) for _ in range(2))
    assert first.digest == second.digest
    other = asyncio.run(demo.play(Scene(**{**as_dict(scene), "seed": 2})))
    assert other.digest != first.digest


def as_dict(scene: Scene) -> dict[str, object]:
    return {field: getattr(scene, field) for field in scene.__struct_fields__}


# --- the band


def summary_of(crash, **changes) -> Summary:
    world, _, tally, _ = crash
    found = tally.summary(world.scene, 1.0, "digest")
    return Summary(**{**{f: getattr(found, f) for f in found.__struct_fields__}, **changes})


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("accounts_liquidated_share", 0.24, 0),
        ("accounts_liquidated_share", 0.41, 0),
        ("long_share", 0.74, 1),
        ("fall_share", 0.56, 2),
        ("shortfall_share", 0.0081, 3),
        ("bad_debt", D(0), 4),
    ],
)
def test_a_figure_outside_its_band_is_called_so(crash, field, value, place):
    inside = {
        "accounts_liquidated_share": 0.3,
        "long_share": 0.8,
        "fall_share": 0.5,
        "shortfall_share": 0.005,
        "bad_debt": D(1),
    }
    good = findings(summary_of(crash, **inside))
    assert [finding.inside for finding in good] == [True] * 5
    bad = findings(summary_of(crash, **{**inside, field: value}))
    assert [finding.inside for finding in bad].index(False) == place


def test_the_deep_book_is_expected_to_leave_no_bad_debt(crash):
    verdicts = [f.inside for f in findings(summary_of(crash, book="deep", bad_debt=D(0)))]
    assert verdicts == [None, None, None, None, True]
    assert findings(summary_of(crash, book="deep", bad_debt=D(1)))[-1].inside is False


# --- what a person sees


@pytest.fixture
def short_day(monkeypatch):
    """Make the command play ten minutes of the crash."""

    def scene(**given):
        small = {"accounts": 200, "symbols": 3, "start_minute": 770, "end_minute": 840}
        return Scene(**{**small, **given})

    monkeypatch.setattr(demo, "Scene", scene)
    monkeypatch.setattr(demo_screen, "SHOW", 0.0)


def test_the_command_prints_the_day_its_table_its_band_and_its_digest(short_day, capsys):
    demo.run()
    out = capsys.readouterr().out
    assert "13:00:00 UTC  BTC" in out
    assert "liquidations and losses by market" in out
    for word in ("BTCUSDT", "All", "of them long", "beincrypto.com", "Digest: ", "--book deep"):
        assert word in out


def test_only_a_whole_day_by_its_own_rules_is_set_beside_what_is_expected(crash, capsys):
    for scene, told in ((Scene(), True), (CRASH, False), (Scene(profile="default"), False)):
        demo_screen.show_summary(summary_of(crash), scene)
        out = capsys.readouterr().out
        assert ("Expected" in out) is told
        assert "of them long" in out


def test_the_command_writes_json_alone(short_day, capsys):
    demo.run(as_json=True, book="deep", seed=3)
    found = json.loads(capsys.readouterr().out)
    assert (found["book"], found["seed"], len(found["digest"])) == ("deep", 3, 64)
    assert D(found["notional"]) == sum(D(row["notional"]) for row in found["markets"])


def test_the_command_refuses_what_does_not_go_together():
    with pytest.raises(click.UsageError, match="metrics of its own"):
        demo.run(kafka="127.0.0.1:1", shards=4)


def test_the_command_says_when_nobody_is_at_the_address(short_day):
    with pytest.raises(click.ClickException, match=r"no broker answers at 127\.0\.0\.1:1 "):
        demo.run(kafka="127.0.0.1:1")


async def test_metrics_are_served_meanwhile(capsys):
    scene = Scene(accounts=200, symbols=3, start_minute=770, end_minute=772)
    playing = asyncio.create_task(demo.play(scene, speed=60, port=0))
    while not (told := capsys.readouterr().err):
        await asyncio.sleep(0.01)
    url = told.split()[-1]
    shown = False
    async with aiohttp.ClientSession() as session:
        while not playing.done() and not shown:
            async with session.get(url) as answer:
                text = await answer.text()
            shown = 'liquidator_insurance_fund{asset="USDT",fund="",shard="0"} 10000.0' in text
            async with session.get(url.replace("metrics", "status.json")) as answer:
                funds = (await answer.json())["funds"]
            await asyncio.sleep(0.05)
    assert shown
    assert {"asset": "USDT", "fund": "", "held": 10_000.0} in funds
    summary = await playing
    assert summary.seconds >= 1.9


# --- into a daemon

# Through a broker answers come later, and not twice alike: a scene with many shortfalls has some.
LIVE = Scene(accounts=600, symbols=3, start_minute=767, end_minute=777)


@pytest.mark.kafka
async def test_the_day_is_played_into_a_daemon(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 2, commit_interval=0.01) as plant:
        process = await plant.start()
        async with Player(broker.bootstrap, plant.prefix) as live:
            assert live.shards == 2
            world = World(Scene(**{**as_dict(LIVE), "shards": 2}))
            tally = Tally(frozenset())
            await live.run(world, tally, Pace(world.clock.time, None))
        assert await process.terminate() == 0
        summary = tally.summary(world.scene, 1.0, None)
        assert summary.liquidations > 20
        assert summary.fills > 20
        assert summary.shortfalls > 0
        decided = [wire.read_decision(raw) for shard in await plant.decisions() for raw in shard]
        objections = (Refused, Duplicate, Gap, Ignored)
        assert [decision for decision in decided if isinstance(decision, objections)] == []
        counted = Counter(type(decision).__name__ for decision in decided)
        assert counted["LiquidationOrder"] == summary.orders
        assert counted["Shortfall"] == summary.shortfalls


@pytest.mark.kafka
async def test_a_day_needs_topics_of_its_own(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(NotPlayable, match="does not exist"):
        async with Player(broker.bootstrap, "nowhere-"):
            pass
    async with Plant(broker.bootstrap, tmp_path, 1) as plant:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
            await producer.send_and_wait(plant.topics.prices, b"{}")
        with pytest.raises(NotPlayable, match="prices: not empty"):
            async with Player(broker.bootstrap, plant.prefix):
                pass


@pytest.mark.kafka
async def test_a_day_that_nobody_takes_ends(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "PATIENCE", 0.5)
    async with (
        Plant(broker.bootstrap, tmp_path, 1) as plant,
        Player(broker.bootstrap, plant.prefix) as live,
    ):
        world = World(LIVE)
        with pytest.raises(NotPlayable, match="does a daemon run"):
            await live.run(world, Tally(frozenset()), Pace(world.clock.time, None))


def test_the_full_world_is_told_from_others():
    assert Scene().whole
    assert Scene(book="deep", seed=4, shards=4).whole
    assert not Scene(end_minute=60).whole
    assert market.Scene(accounts=10_000).scale == 0.5
