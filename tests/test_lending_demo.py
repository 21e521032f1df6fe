"""The demo's lending market: prices, people, liquidators, and a day that is played and replayed."""

import asyncio
import json
import os
import subprocess
import sys
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path
from random import Random

import click
import pytest

from consumers import bars, borrowers, coins, demo, demo_screen, event_log, lending_screen, stage
from consumers.demo import Embedded, Pace
from consumers.feed import Accounts, Clock, Shards
from consumers.lending_market import LARGEST, LendingScene, LendingWorld, market_rules, pools_of
from consumers.liquidators import GAIN, Liquidators, Member
from consumers.loan_desk import LoanDesk, Withdrawals
from consumers.player import Player
from consumers.replay import Replay
from engine import invariants, wire
from engine.decisions import (
    Anomaly,
    CancelOrder,
    CollateralLiquidation,
    Duplicate,
    Gap,
    Ignored,
    LiquidationStarted,
    Refused,
    SetOff,
    SupplyDrawn,
    WithdrawalUnpaid,
)
from engine.events import AccountEvent, OrderClosed, Redeemed, Seized, Withdrawal
from engine.venue import Conditions
from tests.broker import Broker
from tests.kafka.plant import Plant

CRASH = LendingScene(accounts=120, start_minute=765, end_minute=785)
FALL = LendingScene(accounts=40, coins=3, start_minute=150, end_minute=450)
"""The hours in which the token falls; with a book that takes all of it within them."""
TINY = LendingScene(accounts=60, coins=4, start_minute=770, end_minute=774)


class Played:
    """A scene played to its end, with all that was decided."""

    def __init__(self, scene: LendingScene, every: int) -> None:
        self.scene = scene
        self.stage = stage.staged(scene)
        self.decisions, self.first = [], 0
        world = self.stage.world
        embedded = Embedded(world, self.stage.tally, self.stage.observer)
        hear = world.hear
        world.hear = lambda decision: (self.decisions.append(decision), hear(decision))[1]
        (self.engine,) = embedded.engines
        self.taken = []
        for number, records in enumerate(world.play()):
            for shard, event in records:
                embedded._give(shard, event)
                if isinstance(event, Seized):
                    self.taken.append(event)
            if number == 0:
                self.first = len(self.decisions)
            if number % every == 0:
                invariants.check(self.engine)
            self.stage.observer.look(embedded.engines, world.clock.time)
        self.stage.observer.end(embedded.engines, world.clock.time)
        self.summary = self.stage.summary(1.0, "digest")


@pytest.fixture(scope="module")
def crash():
    return Played(CRASH, every=100)


@pytest.fixture(scope="module")
def fall():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(coins.DEPTH_OF, coins.TOKEN, (coins.TOKEN, 8.0))
        return Played(FALL, every=1_000)


# --- prices


@pytest.mark.parametrize(("minute", "price"), [(0, 76), (150, 143), (360, 72)])
def test_the_token_goes_the_way_of_venus(minute, price):
    assert coins.first_price("GOV", minute) == pytest.approx(price)


def test_the_token_falls_to_its_low_and_never_jumps():
    path = [p for m in range(bars.MINUTES) for p in coins.path("GOV", m, 12)]
    assert min(path) == pytest.approx(coins.TOKEN_LOW)
    assert max(path) == pytest.approx(143)
    moves = [abs(after / before - 1) for before, after in pairwise(path)]
    assert max(moves) < 0.15


def test_a_pegged_coin_gives_way_as_bitcoin_falls():
    day = [coins.history("BTC").of_day(minute) for minute in range(bars.MINUTES)]
    high, low = D(str(day[0].open)), D(str(min(bar.low for bar in day)))
    assert coins.pegged_price("USDC", D(1), high, 5) == 1
    assert coins.pegged_price("USDC", D(1), low, 5) == D("0.99")
    assert coins.pegged_price("BETH", D(2000), (high + low) / 2, 2) == D(1950)
    assert coins.pegged_price("BETH", D(2000), low / 2, 2) == D(1900)


# --- people


def test_debts_are_as_large_in_all_as_they_are_meant_to_be():
    thresholds = {
        pool: float(rule.collateral.liquidation_threshold)
        for pool, rule in pools_of(market_rules()).items()
    }
    drawn = borrowers.borrowers(Random(7), 500, {"BTC": 5.0, "ETH": 4.0, "XRP": 1.0}, thresholds)
    debts = sum(sum(borrower.owed.values()) for borrower in drawn)
    assert debts == pytest.approx(500 * borrowers.DEBT_PER_BORROWER)
    loops = sum(borrower.loop for borrower in drawn) / 500
    assert loops == pytest.approx(borrowers.LOOPS, abs=0.05)
    for borrower in drawn:
        if not borrower.loop:
            counted = sum(value * thresholds[pool] for pool, value in borrower.supplied.items())
            assert counted / sum(borrower.owed.values()) >= 1 + borrowers.LEAST_DISTANCE - 1e-9


def test_every_pool_of_every_shard_has_lenders_enough():
    world = LendingWorld(LendingScene(accounts=60, shards=4, start_minute=765, end_minute=766))
    places = {(world._shards.of(lender.account), lender.asset) for lender in world.lenders}
    assert places >= {(shard, pool) for shard in range(4) for pool in borrowers.UTILIZATION}
    assert {member.shard for member in world.liquidators.members} == {0, 1, 2, 3}
    next(world.play())
    assert min(world._desk.cash.values()) > 0


def test_nobody_is_liquidated_before_a_price_has_moved(crash, fall):
    for played in (crash, fall):
        opening = played.decisions[: played.first]
        assert not any(isinstance(decision, LiquidationStarted) for decision in opening)


# --- the day


def test_the_engine_has_nothing_to_object_to(crash, fall):
    objections = (Refused, Duplicate, Gap, Ignored, Anomaly)
    for played in (crash, fall):
        assert [d for d in played.decisions if isinstance(d, objections)] == []


def test_the_crash_has_all_that_a_loan_can_meet(crash):
    summary = crash.summary
    assert summary.accounts_liquidated > 5
    assert summary.takes > 10
    assert summary.partial_takes > 0
    assert summary.closed_offers > 0
    assert len(summary.seizures) > 3
    assert summary.withdrawals_unpaid > 0
    assert summary.bonus > 0


def test_liquidators_gain_and_get_no_more_than_was_offered(crash, fall):
    for played in (crash, fall):
        offers = {d.order_id: d for d in played.decisions if isinstance(d, CollateralLiquidation)}
        assert played.stage.world.liquidators.gained > 0
        for event in played.taken:
            offer = offers[event.order_id]
            assert 0 < event.repaid <= offer.repay
            assert 0 < event.seized <= offer.seize


def test_the_largest_borrower_leaves_bad_debt(fall):
    summary, ledger = fall.summary, fall.engine.ledger
    assert summary.largest.seized == D(26_667)
    assert summary.largest.shortfall > summary.largest.borrowed / 10
    assert summary.shortfall == summary.largest.shortfall
    assert summary.toxic_share > 0.3
    assert summary.unrealised_worst > summary.unrealised_end == 0
    rows = {row.asset: row for row in summary.losses}
    assert set(rows) == {"BTC", "ETH"}
    for asset, row in rows.items():
        assert row.shortfall == ledger.shortfall[asset, asset] > 0
        assert row.paid_by_reserve == ledger.paid_by_reserve[asset, asset] > 0
        assert row.outstanding == ledger.bad_debt[asset, asset] > 0
        assert row.shortfall == row.paid_by_reserve + row.outstanding
        assert fall.engine.markets.lending[asset].deficit == row.outstanding
    (group,) = fall.engine.accounts[LARGEST].groups.values()
    assert not group.loans
    assert group.given_up == {asset: row.shortfall for asset, row in rows.items()}


def test_the_world_knows_the_cash_of_every_pool(crash, fall):
    for played in (crash, fall):
        cash = {pool: held.cash for pool, held in played.engine.markets.lending.items()}
        known = {pool: amount for (_, pool), amount in played.stage.world._desk.cash.items()}
        assert known == cash


def test_a_lender_who_was_not_paid_asks_again_for_what_there_is(crash):
    refused = {(d.account, d.pool) for d in crash.decisions if isinstance(d, WithdrawalUnpaid)}
    assert refused
    rows = {row.pool: row for row in crash.summary.pools}
    for pool in {pool for _, pool in refused}:
        assert rows[pool].unpaid_amount > 0
        assert rows[pool].asked >= rows[pool].unpaid > 0


def test_the_sums_were_checked(crash):
    assert crash.summary.checks >= 2


# --- the same again


def test_a_log_of_three_shards_gives_the_same_digest_again(tmp_path):
    path = tmp_path / "lending.jsonl.zst"
    scene = LendingScene(accounts=60, coins=4, start_minute=770, end_minute=774, shards=3)
    summary = asyncio.run(demo.play(scene, log=str(path)))
    replay = Replay(3)
    replay.run(path)
    assert demo.state.run_digest(replay.digests()) == summary.digest
    assert replay.summary.unreadable == 0
    times = []
    for shard, raw in event_log.read(path):
        event = wire.read_event(raw)
        times.append(event.time)
        assert (shard is not None) == isinstance(event, AccountEvent)
    assert times == sorted(set(times))
    assert len(times) == summary.events


@pytest.mark.slow
def test_two_hash_seeds_give_one_digest_and_another_seed_another():
    code = (
        "import asyncio; from consumers import demo; from tests.test_lending_demo import TINY;"
        "print(asyncio.run(demo.play(TINY)).digest)"
    )
    lines = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    (digest,) = lines
    assert len(digest) == 64
    other = LendingScene(seed=2, accounts=60, coins=4, start_minute=770, end_minute=774)
    assert asyncio.run(demo.play(other)).digest != digest


# --- liquidators


def offer(paid_in="cash", repay="1000", seize="0.55", number=1) -> CollateralLiquidation:
    """Return an offer of ETH at 2,000 for USDT, with a bonus of 10 %."""
    return CollateralLiquidation(
        shard=0, seq=1, index=0, time=0, account="alice", margin="cross",
        order_id=f"alice:1:{number}:USDT", number=1, pool="USDT", repay=D(repay),
        collateral="ETH", seize=D(seize), fee=D(0), bonus=D("0.1"), health_factor=D("0.97"),
        toxic=False, paid_in=paid_in, expires=60, replaces="",
    )  # fmt: skip


def dealers(capital=10**6) -> Liquidators:
    return Liquidators(
        [Member("liquidator-001", 0, D(capital)), Member("liquidator-002", 0, D(capital) / 2)],
        market_rules().assets,
        Accounts(Clock(0)),
    )


def at(price, time=1_000, depth=10**6) -> Conditions:
    return Conditions(D(price), depth, time)


def test_an_offer_that_pays_is_taken_at_once_and_whole():
    dealing = dealers()
    dealing.hear(offer())
    (event,) = dealing.session("ETH", at(2000))
    assert (event.repaid, event.seized, event.liquidator) == (D(1000), D("0.55"), "")
    assert dealing.session("ETH", at(2000, 2_000)) == []


def test_an_offer_that_does_not_pay_is_left_until_it_does():
    dealing = dealers()
    dealing.hear(offer())
    assert dealing.session("ETH", at(1820)) == []
    assert dealing.session("ETH", at(1825, 2_000)) == []
    (event,) = dealing.session("ETH", at(1860, 3_000))
    assert event.repaid == 1000


def test_a_thin_book_is_sold_into_down_to_what_still_earns():
    dealing = dealers()
    dealing.hear(offer(repay="1000000", seize="550"))
    (event,) = dealing.session("ETH", at(2000, depth=50_000))
    # The last coin goes at 1,000,000 · 1.005 ÷ 550 = 1,827.27, 8.636 % below the mark.
    sold = D("0.086364") * 100 * 50_000 / 2000
    assert event.seized == pytest.approx(sold, rel=D("1e-4"))
    assert event.repaid == pytest.approx(sold * 1000 / D("0.55"), rel=D("1e-4"))
    assert event.seized / event.repaid <= D("0.00055")
    (later,) = dealing.session("ETH", at(2000, 60_000_000, depth=50_000))
    assert later.seized == pytest.approx(sold / 2, rel=D("1e-3"))


def test_a_take_is_no_larger_than_capital_and_ties_it_for_a_while():
    dealing = dealers(capital=400)
    dealing.hear(offer())
    taken = [dealing.session("ETH", at(2000, time)) for time in (1_000, 2_000, 3_000)]
    assert [event.repaid for events in taken for event in events] == [D(400), D(200)]
    (event,) = dealing.session("ETH", at(2000, 300_001_000))
    assert event.repaid == 400


def test_what_a_pool_has_no_cash_for_is_taken_as_a_claim_and_sold_when_it_is_paid():
    dealing = dealers()
    dealing.hear(offer(paid_in="supply"))
    (event,) = dealing.session("ETH", at(2000))
    assert (event.liquidator, event.seized) == ("liquidator-001", D("0.55"))
    member = dealing.members[0]
    assert member.free(10**12) == 10**6 - 1000
    claim = member.claims["ETH"]
    assert D("0.5499999") < claim < D("0.55")
    dealing.redeemed(member, "ETH", claim / 2)
    assert member.free(10**12) == 10**6 - 500
    dealing.redeemed(member, "ETH", member.claims["ETH"])
    assert member.free(10**12) == 10**6


def test_a_cancelled_offer_is_closed_with_what_was_taken_of_it():
    dealing = dealers(capital=400)
    dealing.hear(offer())
    dealing.session("ETH", at(2000))
    cancel = CancelOrder(
        shard=0, seq=2, index=0, time=2, account="alice", margin="cross",
        order_id="alice:1:1:USDT", reason="expired",
    )  # fmt: skip
    dealing.hear(cancel)
    (closed,) = dealing.session("ETH", at(2000, 2_000))
    assert isinstance(closed, OrderClosed)
    assert closed.filled_size == 400
    assert dealing.session("ETH", at(2000, 400_000_000)) == []


def test_the_least_gain_is_what_the_limit_says():
    dealing = dealers()
    dealing.hear(offer(repay="100000", seize="55"))
    price = 100_000 * (1 + GAIN) / 55
    assert dealing.session("ETH", at(round(price - 1, 2), depth=10**9)) == []
    (event,) = dealing.session("ETH", at(round(price + 1, 2), 2_000, depth=10**9))
    assert event.repaid > 0


# --- withdrawals


def test_who_is_refused_waits_and_takes_what_there_is():
    accounts, due = Accounts(Clock(0)), []
    desk = LoanDesk(accounts, Shards(1))
    for event in desk.lent("alice", "USDT", D(100)):
        desk.note(event)
    desk.cash[0, "USDT"] = D(51)
    withdrawals = Withdrawals(desk, accounts, lambda pause, action: due.append((pause, action)))

    def then(place: int) -> list[object]:
        events = due.pop(place)[1]()
        for event in events:
            desk.note(event)
        return events

    (asked,) = withdrawals.leave("alice", "USDT", D(100))
    assert isinstance(asked, Redeemed)
    desk.note(asked)
    desk.hear(
        WithdrawalUnpaid(
            shard=0, seq=1, index=0, time=1, account="alice", margin="cross",
            pool="USDT", amount=D(100), cash=D(51),
        )
    )  # fmt: skip
    assert desk.cash[0, "USDT"] == 51
    assert then(1) == []
    (again,) = then(0)
    assert again.amount == 50
    assert due[1][0] == 60_000_000
    (taken,) = then(1)
    assert isinstance(taken, Withdrawal)
    assert taken.amount == 50
    desk.cash[0, "USDT"] = D("0.5")
    assert then(0) == [], "for a hundredth of it nobody asks"


def test_a_desk_hears_what_the_engine_moves_by_itself():
    desk = LoanDesk(Accounts(Clock(0)), Shards(1))
    said = {"shard": 0, "seq": 1, "index": 0, "time": 1, "account": "alice", "margin": "cross"}
    desk.hear(SetOff(pool="USDT", amount=D(7), **said))
    desk.hear(SupplyDrawn(pool="USDT", amount=D(3), **said))
    assert desk.cash == {(0, "USDT"): D(4)}
    assert desk.was_paid("alice", "USDT")


# --- what a person sees


@pytest.fixture
def short_day(monkeypatch):
    """Make the command play a few minutes of the crash."""

    def scene(**given):
        return LendingScene(accounts=60, coins=4, start_minute=770, end_minute=774, **given)

    monkeypatch.setattr(demo, "LendingScene", scene)
    monkeypatch.setattr(demo_screen, "SHOW", 0.0)


def test_the_command_prints_what_the_day_came_to(short_day, capsys):
    demo.run(book="lending")
    out = capsys.readouterr().out
    for words in (
        "bad debt by asset", "Collateral seized by asset", "Used at worst", "largest borrower",
        "Checked 2 times", "thedefiant.io", "Digest: ", "--book lending",
    ):  # fmt: skip
        assert words in out
    lines = (line for line in out.splitlines() if "://" not in line and "Digest" not in line)
    assert max(map(len, lines)) <= 100


def test_the_command_writes_json_alone(short_day, capsys):
    demo.run(book="lending", seed=3, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["book"], found["seed"], len(found["digest"])) == ("lending", 3, 64)
    assert D(found["repaid"]) == pytest.approx(sum(D(r["repaid"]) for r in found["seizures"]))


def test_the_lending_market_takes_no_other_profile():
    with pytest.raises(click.UsageError, match="pools of its own"):
        demo.run(book="lending", profile="bybit")


def test_the_lending_market_is_of_one_shard():
    with pytest.raises(click.UsageError, match="one shard"):
        demo.run(book="lending", shards=2)


def test_a_line_of_the_day_says_what_is_lost(fall):
    line = fall.stage.view.line("06:00:00 UTC", D(39_500))
    assert line.startswith("06:00:00 UTC  BTC 39,500  liquidated    ")
    assert len(line) <= 100
    figures = dict(fall.stage.view.figures())
    assert figures["shortfall"] == f"{fall.summary.shortfall:,.0f} USDT"
    assert figures["unrealised bad debt"] == "0 USDT"


@pytest.mark.parametrize(("left", "inside"), [("49e6", False), ("60e6", True), ("111e6", False)])
def test_what_the_largest_borrower_leaves_has_a_band(fall, left, inside):
    largest = fall.summary.largest
    changed = type(largest)(largest.borrowed, largest.repaid, largest.seized, D(left), D(0))
    fields = {name: getattr(fall.summary, name) for name in fall.summary.__struct_fields__}
    summary = type(fall.summary)(**{**fields, "largest": changed})
    assert lending_screen.findings(summary)[-1].inside is inside


def test_the_full_market_is_told_from_others():
    assert LendingScene().whole
    assert LendingScene(seed=4, shards=4).whole
    assert not CRASH.whole
    assert LendingScene(accounts=1_500).scale == 0.5
    assert stage.staged(TINY, embedded=False).observer is None


def test_a_part_of_a_day_runs_at_its_pace():
    scene = LendingScene(accounts=40, coins=2, start_minute=770, end_minute=771)
    set_up = stage.staged(scene)
    embedded = Embedded(set_up.world, set_up.tally, set_up.observer)
    asyncio.run(embedded.run(Pace(set_up.world.clock.time, None)))
    assert set_up.summary(1.0, None).checks >= 1


@pytest.mark.kafka
async def test_the_market_is_played_into_a_daemon(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, 1, commit_interval=0.01) as plant:
        process = await plant.start()
        async with Player(broker.bootstrap, plant.prefix) as live:
            scene = LendingScene(
                accounts=60, coins=4, start_minute=770, end_minute=774, shards=live.shards
            )
            set_up = stage.staged(scene, embedded=False)
            await live.run(set_up.world, set_up.tally, Pace(set_up.world.clock.time, None))
        assert await process.terminate() == 0
        summary = set_up.summary(1.0, None)
        assert summary.takes > 0
        assert summary.withdrawals_unpaid > 0
        assert (summary.refused, summary.checks, summary.unrealised_worst) == (0, 0, None)
        decided = [wire.read_decision(raw) for shard in await plant.decisions() for raw in shard]
        assert sum(isinstance(d, CollateralLiquidation) for d in decided) == summary.offers
