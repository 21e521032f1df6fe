"""Policies compared: what is counted, by hand and beside the engine's books; and the command."""

import asyncio
import json
import re
from decimal import Decimal as D
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import fields
from rich.console import Console

from consumers import compare, market
from consumers.cli import main
from consumers.costs import Costs, Outcome
from consumers.crashes import CRASHES, LUNA
from consumers.demo import Embedded, Pace
from consumers.market import Scene, World
from consumers.policies import BACKSTOP_ACCOUNT, BASELINE, FUND_ACCOUNT, POLICIES, Policy
from consumers.tally import Tally
from engine import profile_faults
from engine.decisions import (
    BadDebt,
    Deleverage,
    FeeCharged,
    FundDraw,
    LiquidationOrder,
    LiquidationStarted,
    LossShared,
    Shortfall,
    TakeOver,
)
from engine.events import Fill, FundMoved, InstrumentListed, PriceUpdate
from engine.instruments import Asset, Perpetual
from engine.margin import health

# Too long for `make check`.
pytestmark = pytest.mark.slow

CRASH = Scene(accounts=300, symbols=3, start_minute=765, end_minute=780)


# --- by hand


class Story:
    """A count of a few facts, with one linear and one inverse market."""

    def __init__(self) -> None:
        self.costs = Costs()
        self._times = 0
        usdt, btc = Asset("USDT", 8, D(10) ** 9), Asset("BTC", 8, D(10) ** 7)
        linear = Perpetual("BTCUSDT", "USDT", 3, 2, D("0.01"), D("0.001"), D(10) ** 6)
        inverse = Perpetual(
            "BTCUSD", "BTC", 0, 1, D("0.1"), D(1), D(10) ** 9, "inverse", multiplier=D(100)
        )
        for instrument in (usdt, btc, linear, inverse):
            self.costs.event(InstrumentListed(instrument=instrument, time=0))

    def mark(self, price: str, symbol: str = "BTCUSDT") -> None:
        self._times += 1
        self.costs.event(
            PriceUpdate(
                symbol=symbol,
                kind="mark",
                price=D(price),
                source="venue",
                sequence=self._times,
                time=0,
            )
        )

    def decided(self, kind: type[Any], **fields: Any) -> None:
        about = {"shard": 0, "seq": 1, "index": 0, "time": 0, "account": "a", "margin": "cross"}
        self.costs.decision(kind(**about, **fields))

    def ordered(self, order_id: str, side: str, size: str, mark: str, symbol="BTCUSDT") -> None:
        self.decided(
            LiquidationOrder,
            **self._order(order_id, side, size, symbol),
            limit_price=D(1),
            bankruptcy_price=None,
            stage="limit",
            reason="breach",
            decided_mark=D(mark),
        )

    def deleverage(self, order_id: str, side: str, size: str, price: str, forgone: str) -> None:
        self.decided(
            Deleverage,
            **self._order(order_id, side, size),
            price=D(price),
            counterparty=f"against {order_id}",
            counterparty_margin="cross",
            rank=1,
            score=D(1),
            forgone=D(forgone),
        )

    def take_over(self, order_id: str, side: str, size: str, price: str, layer: str) -> None:
        self.decided(
            TakeOver,
            **self._order(order_id, side, size),
            price=D(price),
            layer=layer,
            taker="taker",
            taker_margin="cross",
            capacity=D(9),
        )

    def _order(self, order_id: str, side: str, size: str, symbol: str = "BTCUSDT") -> dict:
        about = {"order_id": order_id, "number": 1, "symbol": symbol, "side": side}
        return {**about, "size": D(size), "expires": 0, "replaces": ""}

    def filled(
        self, order_id: str, size: str, price: str, fee: str = "0", symbol="BTCUSDT"
    ) -> None:
        self._times += 1
        self.costs.event(
            Fill(
                account="a",
                sequence=self._times,
                time=0,
                symbol=symbol,
                margin="cross",
                size=D(size),
                price=D(price),
                fee=D(fee),
                fee_asset="USDT",
                fill_id=str(self._times),
                order_id=order_id,
            )
        )


def test_a_trader_loses_the_way_from_the_mark_at_the_decision_and_both_fees():
    story = Story()
    story.mark("100")
    story.ordered("1", "sell", "2", "100")
    story.mark("98")
    story.filled("1", "-2", "97", fee="0.1")
    story.decided(
        FeeCharged,
        asset="USDT",
        amount=D("0.97"),
        order_id="1",
        venue=D("0.2"),
        liquidator=D("0.1"),
    )
    found = story.costs.outcome()
    assert (found.notional, found.fills) == (D(194), 1)
    assert (found.distance, found.slippage, found.fees) == (D(6), D(6), D("1.07"))
    assert found.losses == D("7.07")
    assert found.fund == D("0.67")


@pytest.mark.parametrize(
    ("side", "size", "price", "slippage"),
    [("sell", "-1", "103", -3), ("buy", "1", "97", -3), ("buy", "1", "103", 3)],
)
def test_a_fill_better_than_the_mark_is_as_far_from_it_and_with_the_other_sign(
    side, size, price, slippage
):
    story = Story()
    story.ordered("1", side, "1", "100")
    story.filled("1", size, price)
    found = story.costs.outcome()
    assert (found.distance, found.slippage, found.losses) == (D(3), D(slippage), D(3))


def test_an_inverse_fill_is_counted_in_coin():
    story = Story()
    story.ordered("1", "sell", "10", "20000", symbol="BTCUSD")
    story.filled("1", "-10", "19000", symbol="BTCUSD")
    # A thousand dollars: 0.05263157 of a coin at 19,000, and 0.05 at 20,000.
    found = story.costs.outcome()
    assert found.notional == D("0.05263157")
    assert found.distance == found.slippage == D("0.00263157")


@pytest.mark.parametrize(("last", "by_end"), [("80", 30), ("95", 0), ("110", -30)])
def test_a_counterparty_forgoes_what_it_would_have_had_then_and_by_the_end(last, by_end):
    """A bankrupt long of 4 is closed at 95, the mark at 90: half of it before that is over."""
    story = Story()
    story.mark("90")
    story.deleverage("1", "sell", "4", "95", forgone="20")
    story.filled("1", "-2", "95")
    story.mark(last)
    found = story.costs.outcome()
    assert (found.deleveraged, found.counterparties) == (D(190), 1)
    assert (found.forgone, found.forgone_by_end) == (D(10), D(by_end))
    # The trader itself got more than the mark.
    assert (found.distance, found.slippage) == (D(10), D(-10))


def test_a_long_counterparty_forgoes_a_rise():
    story = Story()
    story.mark("110")
    story.deleverage("1", "buy", "1", "105", forgone="5")
    story.filled("1", "1", "105")
    story.mark("120")
    found = story.costs.outcome()
    assert (found.forgone, found.forgone_by_end) == (D(5), D(15))


def test_the_fund_and_the_backstop_hold_what_they_took_to_the_end():
    story = Story()
    story.costs.event(FundMoved(asset="USDT", amount=D(100), time=0, sequence=1, shard=0))
    story.mark("90")
    story.take_over("1", "sell", "2", "95", layer="fund")
    story.filled("1", "-2", "95")
    story.take_over("2", "buy", "1", "88", layer="backstop")
    story.filled("2", "1", "88")
    story.take_over("3", "sell", "5", "90", layer="netting")
    story.filled("3", "-5", "90")
    story.mark("85")
    found = story.costs.outcome()
    assert (found.fund, found.backstop) == (D(100) - 2 * D(10), D(3))
    assert found.taken_over == D(190 + 88)
    assert (found.deleveraged, found.forgone) == (D(0), D(0))


def test_who_paid_a_shortfall_is_counted_and_fills_of_nobodys_order_are_not():
    story = Story()
    paid = {"asset": "USDT", "market": "BTCUSDT"}
    story.decided(Shortfall, number=1, amount=D(10), **paid)
    story.decided(FundDraw, amount=D(4), capacity=D(4), **paid)
    story.decided(
        LossShared, by="winners", amount=D(5), capacity=D(5), excess=D("0.00000002"), **paid
    )
    story.decided(BadDebt, id="a:debt:1", number=1, cause="breach", amount=D(1), **paid)
    story.filled("", "1", "100")
    story.filled("unknown", "1", "100")
    found = story.costs.outcome()
    assert (found.shortfall, found.paid_by_fund) == (D(10), D(4))
    assert (found.socialised, found.bad_debt) == (D(5), D(1))
    assert found.fund == D("-3.99999998")
    assert (found.fills, found.notional) == (0, D(0))


def test_an_account_counts_once_each_of_its_liquidations():
    story = Story()
    for number, reason in enumerate(("breach", "breach", "auto_convert"), start=1):
        story.decided(
            LiquidationStarted,
            number=number,
            reason=reason,
            waits="",
            equity=D(0),
            margin_equity=D(0),
            maintenance=D(1),
            legs=(),
            balances=(),
            marks=(),
        )
    found = story.costs.outcome()
    assert (found.liquidations, found.accounts_liquidated) == (2, 1)


# --- beside the engine's books


def policy(name: str) -> Policy:
    return next(policy for policy in POLICIES if policy.name == name)


def equity(engine: Any, account: str) -> D:
    """Return what an account's cross group is worth."""
    group = engine.accounts[account].groups.get("cross") if account in engine.accounts else None
    return D(0) if group is None else health(group, engine.rules, engine.markets).equity


@pytest.mark.parametrize(
    "name", ["whole legs", "least", "BitMEX", "fund, BitMEX", "backstop 2/3, BitMEX"]
)
def test_what_is_counted_is_what_the_books_say(name):
    scene = Scene(
        **{**{f: getattr(CRASH, f) for f in CRASH.__struct_fields__}, "policy": policy(name)}
    )
    world, costs, tally = World(scene), Costs(), Tally(frozenset())

    class Both:
        def event(self, event):
            costs.event(event)
            tally.event(event)

        def decision(self, decision):
            costs.decision(decision)
            tally.decision(decision)

    embedded = Embedded(world, Both())
    asyncio.run(embedded.run(Pace(world.clock.time, None)))
    (engine,) = embedded.engines
    ledger, found = engine.ledger, costs.outcome()
    assert found.liquidations > 20
    assert found.notional == tally.notional
    assert found.accounts_liquidated == tally.accounts_liquidated
    assert found.shortfall == sum(ledger.shortfall.values())
    assert found.paid_by_fund == sum(ledger.paid_by_fund.values())
    assert found.bad_debt == sum(ledger.bad_debt.values())
    assert found.fund == ledger.fund["USDT"] + equity(engine, FUND_ACCOUNT)
    waterfall = world.rules.profile.waterfall
    capacity = 0 if waterfall.backstop is None else waterfall.backstop.capacity
    assert found.backstop == equity(engine, BACKSTOP_ACCOUNT) - capacity
    assert bool(found.deleveraged) == (waterfall.adl is not None)
    assert bool(found.taken_over) == (len(waterfall.takers) > 1)
    assert found.losses >= abs(found.slippage) + found.fees


# --- the policies


@pytest.mark.parametrize("day", CRASHES)
def test_every_policy_is_sound_and_no_two_are_the_same(day):
    profile = market.venue_rules(None, day).profile
    applied = [policy.applied(profile, 0.2) for policy in POLICIES]
    assert [profile_faults.faults(item) for item in applied] == [[]] * len(POLICIES)
    baselines = [policy.rule for policy in POLICIES if policy.baseline]
    assert baselines == ["sizing", "price", "adl"]
    different = [
        item for item, policy in zip(applied, POLICIES, strict=True) if not policy.baseline
    ]
    assert all(item != profile for item in different)
    assert len({str(item) for item in different}) == len(different)
    assert len({policy.name for policy in POLICIES}) == len(POLICIES)


def test_the_baseline_is_the_days_own_rules():
    assert compare.play(with_policy(None)).outcome == compare.play(with_policy(BASELINE)).outcome


def with_policy(policy: Policy | None) -> Scene:
    return Scene(accounts=150, symbols=2, start_minute=770, end_minute=776, policy=policy)


def test_a_smaller_world_has_a_smaller_backstop():
    profile = market.venue_rules().profile
    applied = policy("backstop, BitMEX").applied(profile, 0.02)
    assert applied.waterfall.backstop.capacity == 1_000_000


# --- the command


def test_processes_do_not_change_what_comes_out(capsys):
    scene, some = with_policy(None), [BASELINE, policy("none"), policy("BitMEX")]
    alone, spread = (compare.compared(scene, some, jobs) for jobs in (1, 2))
    assert [row.policy for row in spread.rows] == ["whole legs", "none", "BitMEX"]
    assert [row.outcome for row in alone.rows] == [row.outcome for row in spread.rows]
    assert alone.rows[0].outcome == alone.rows[1].outcome != alone.rows[2].outcome
    told = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told] == ["1 of 2: whole legs", "2 of 2: BitMEX"] * 2


@pytest.fixture
def short(monkeypatch):
    """Make the command play a few minutes."""

    def scene(**given):
        begin = 770 if given["day"] != LUNA.name else LUNA.minutes - 30
        return Scene(**{**given, "start_minute": begin, "end_minute": begin + 5, "symbols": 2})

    monkeypatch.setattr(compare, "Scene", scene)


def test_the_command_prints_a_table_for_each_rule(short):
    called = CliRunner().invoke(main, ["compare", "--accounts", "120", "--jobs", "1"])
    assert called.exit_code == 0, called.output
    for word in (*compare.TITLES.values(), "120 accounts, seed 1", "leverage", "portion"):
        assert word in called.output


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_word_of_a_heading_is_broken(width: int, capsys):
    outcome = Outcome(**{field.name: D(1_033_000_000) for field in fields(Outcome)})
    rows = [compare.Row(policy.rule, policy.name, outcome, 1.0) for policy in POLICIES]
    for rule, title in compare.TITLES.items():
        out = Console(width=width)
        out.print(compare._table(title, [row for row in rows if row.rule == rule]))
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= width
        for word in " ".join(["Policy", *compare.COLUMNS[rule].values()]).split():
            assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said), word


def test_the_command_writes_json_of_one_rule(short):
    options = ["--day", LUNA.name, "--rule", "price", "--seed", "2", "--json"]
    called = CliRunner().invoke(main, ["compare", "--accounts", "120", "--jobs", "1", *options])
    assert called.exit_code == 0, called.output
    found = json.loads(called.stdout)
    assert (found["day"], found["seed"], found["accounts"]) == (LUNA.name, 2, 120)
    assert [row["policy"] for row in found["rows"]] == [
        policy.name for policy in POLICIES if policy.rule == "price"
    ]
    for row in found["rows"]:
        outcome = row["outcome"]
        assert D(outcome["losses"]) == D(outcome["distance"]) + D(outcome["fees"])
