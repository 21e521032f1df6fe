"""Metrics of who takes positions, who pays, and what holds liquidation or money back."""

from decimal import Decimal as D
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from engine import decisions as d
from engine import events as e
from engine.liquidation_profile import Fuses, LiquidationRule
from engine.waterfall_profile import Backstop, Deleveraging, FundRule, Waterfall
from producers.metrics import Metrics
from tests.story import of, only
from tests.test_metrics import Samples, labels, shown
from tests.waterfall_story import MARKET, Recorder, bankruptcy, treasury, venue

AT = labels(shard="0", market="BTCUSDT", asset="USDT")
IN_ALL = labels(shard="0", asset="USDT")


def scrape(machine: Recorder) -> Samples:
    """Return what is shown of everything that an engine was told, and of its state."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for _, decided in machine.told:
        metrics.fold(0, {}, decided, machine.engine.rules.derivatives)
    metrics.observe_state(0, machine.engine)
    return shown(registry)


def paid(found: Samples, layer: str) -> float:
    """Return what a layer paid for the market."""
    return found["liquidator_shortfall_paid_total"][
        labels(shard="0", market="BTCUSDT", asset="USDT", layer=layer)
    ]


def test_what_others_share_is_a_layer_of_its_own() -> None:
    machine, story = venue(
        Waterfall(fund=FundRule(by="market"), socialised="open_interest"), fund="BTCUSDT"
    )
    found = scrape(machine)
    assert (paid(found, "fund"), paid(found, "socialised")) == (0, 0)
    funds = found["liquidator_insurance_fund"]
    assert funds[labels(shard="0", asset="USDT", fund="BTCUSDT")] == 60
    assert funds[labels(shard="0", asset="USDT", fund="ETHUSDT")] == 0
    assert funds[labels(shard="0", asset="USDT", fund="")] == 0
    bankruptcy(story)
    found = scrape(machine)
    assert found["liquidator_shortfall_total"][AT] == 104.45
    assert (paid(found, "fund"), paid(found, "socialised")) == (60, 44.45)
    assert found["liquidator_loss_charges_total"][labels(shard="0")] == 1
    assert found["liquidator_bad_debt_total"][AT] == 0


def test_bad_debt_is_outstanding_recovered_or_written_off_and_closes_the_gate() -> None:
    machine, story = venue(Waterfall(gate=True))
    gate = labels(shard="0", asset="USDT")
    assert scrape(machine)["liquidator_withdrawal_gate_closed"][gate] == 0
    bankruptcy(story)
    found = scrape(machine)
    assert found["liquidator_bad_debt_outstanding"][AT] == 44.45
    assert found["liquidator_withdrawal_gate_closed"][gate] == 1
    treasury(story, e.Recovered, "40", 2)
    treasury(story, e.WrittenOff, "4.45", 3)
    found = scrape(machine)
    assert found["liquidator_bad_debt_total"][AT] == 44.45
    assert found["liquidator_bad_debt_recovered_total"][IN_ALL] == 40
    assert found["liquidator_bad_debt_written_off_total"][IN_ALL] == 4.45
    assert found["liquidator_bad_debt_outstanding"][AT] == 0
    assert found["liquidator_withdrawal_gate_closed"][gate] == 0


def test_what_the_fund_pays_for_positions_and_what_it_then_lacks_are_shown() -> None:
    rules = Waterfall(takers=("fund",), fund_account="fund")
    machine, story = venue(rules)
    story.tell(e.AccountOpened, account="fund", role="fund")
    story.deposit("fund", "USDT", "1")
    before = scrape(machine)
    assert before["liquidator_paid_for_positions_total"][IN_ALL] == 0
    assert before["liquidator_bad_debt_holes"][IN_ALL] == 0
    asked = only(d.TakeOver, story.price("BTCUSDT", "8900"))
    size, price = str(asked.size), str(asked.price)
    story.fill("fund", "BTCUSDT", size, price)
    story.fill("alice", "BTCUSDT", f"-{size}", price, order_id=asked.order_id)
    paid = only(d.PositionPaid, machine.told[-1][1]).amount
    assert paid == asked.size * (asked.price - 8900)
    assert scrape(machine)["liquidator_paid_for_positions_total"][IN_ALL] == float(paid)
    # The fund's account holds what it took at 9,000 with 1 and what it was paid.
    story.price("BTCUSDT", "8000")
    hole = asked.size * 900 - 1
    found = scrape(machine)
    assert found["liquidator_bad_debt_holes"][IN_ALL] == float(hole)
    assert found["liquidator_bad_debt_unrealised"][AT] >= float(hole)


def test_without_the_rules_nothing_of_them_is_shown() -> None:
    machine, story = venue(Waterfall())
    bankruptcy(story)
    found = scrape(machine)
    for name in ("withdrawal_gate_closed", "price_held", "forced_flow_ratio"):
        assert f"liquidator_{name}" not in found
    for name in ("transfer_notional_total", "paid_for_positions_total", "bad_debt_holes"):
        assert f"liquidator_{name}" not in found
    layers = {dict(at)["layer"] for at in found["liquidator_shortfall_paid_total"]}
    assert layers == {"fund"}


def test_a_held_price_and_a_tripped_breaker_are_shown() -> None:
    fuses = Fuses(max_jump=D("0.3"), max_share_of_oi_per_minute=D("0.5"))
    machine, story = venue(Waterfall(), liquidation=LiquidationRule(fuses=fuses))
    interest = {"symbol": "BTCUSDT", "long_size": D(1), "short_size": D("0.5")}
    story.tell(e.MarketState, **interest)
    held = labels(shard="0", symbol="BTCUSDT", kind="mark")
    market = labels(shard="0", market="BTCUSDT")
    found = scrape(machine)
    assert "liquidator_price_held" not in found
    assert found["liquidator_market_halted"][market] == 0
    story.price("BTCUSDT", "6000")
    found = scrape(machine)
    assert found["liquidator_price_held"][held] == 1
    assert found["liquidator_price_jumps_total"][labels(shard="0", kind="mark")] == 1
    bankruptcy(story)
    found = scrape(machine)
    assert "liquidator_price_held" not in found
    assert found["liquidator_forced_flow_ratio"][market] == 1
    assert found["liquidator_market_halted"][market] == 1
    assert found["liquidator_breakers_tripped_total"][labels(shard="0")] == 1
    story.tell(e.Resume, symbol="BTCUSDT")
    found = scrape(machine)
    assert found["liquidator_market_halted"][market] == 0
    assert found["liquidator_forced_flow_ratio"][market] == 0


def transfer(kind: type[Any], **fields: Any) -> Any:
    """Return a transfer of a position."""
    carried = {"shard": 0, "seq": 1, "index": 0, "time": 0, "account": "alice", "margin": "cross"}
    order = {"order_id": "alice:1:1:X", "number": 1, "side": "sell", "expires": 0, "replaces": ""}
    return kind(**carried, **order, **fields)


def take_over(symbol: str, size: str, price: str, layer: str) -> d.TakeOver:
    """Return a position that a taker is to take."""
    taker = {"taker": "pool", "taker_margin": "cross", "capacity": D(9)}
    about = {"symbol": symbol, "size": D(size), "price": D(price), "layer": layer}
    found: d.TakeOver = transfer(d.TakeOver, **about, **taker)
    return found


def deleverage(symbol: str, size: str, price: str, forgone: str) -> d.Deleverage:
    """Return a position that is closed against a counterparty."""
    who = {"counterparty": "bob", "counterparty_margin": "cross", "rank": 1, "score": D(1)}
    about = {"symbol": symbol, "size": D(size), "price": D(price), "forgone": D(forgone)}
    found: d.Deleverage = transfer(d.Deleverage, **about, **who)
    return found


@pytest.mark.parametrize(("style", "notional"), [("linear", 18_000), ("inverse", 2 / 9_000)])
def test_transfers_are_counted_by_who_takes_them(style: Any, notional: float) -> None:
    rules = Waterfall(
        takers=("backstop", "adl"),
        backstop=Backstop(account="pool", capacity=D(10**6)),
        adl=Deleveraging(),
    )
    machine, _ = venue(rules)
    before = scrape(machine)["liquidator_transfer_notional_total"]
    assert {dict(at)["layer"] for at in before} == {"backstop", "adl"}
    assert not any(before.values())
    instrument = type(MARKET)("X", "USDT", 3, 1, D(1), D(1), D(10), style=style)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    told = [
        take_over("X", "2", "9000", "backstop"),
        deleverage("X", "2", "9000", "12.5"),
        deleverage("X", "1", "9000", "0.5"),
    ]
    metrics.fold(0, {}, told, {"X": instrument})
    found = shown(registry)
    transfers = found["liquidator_transfers_total"]
    counts = [transfers[labels(shard="0", layer=n)] for n in ("netting", "fund", "backstop", "adl")]
    assert counts == [0, 0, 1, 2]
    sums = found["liquidator_transfer_notional_total"]
    at = {"shard": "0", "asset": "USDT"}
    assert sums[labels(**at, layer="backstop")] == pytest.approx(notional)
    assert sums[labels(**at, layer="adl")] == pytest.approx(1.5 * notional)
    assert found["liquidator_deleveraging_forgone_total"][labels(**at, market="X")] == 13


def test_an_order_that_lowers_health_is_counted_as_toxic() -> None:
    machine, story = venue(Waterfall(), liquidation=LiquidationRule(slippage={"*": D("0.2")}))
    story.price("ETHUSDT", "10000")
    story.fill("alice", "ETHUSDT", "0.5", "10000")
    story.price("BTCUSDT", "9055")
    orders = of(d.LiquidationOrder, story.decided)
    sums = scrape(machine)["liquidator_orders_total"]
    toxic = sum(value for at, value in sums.items() if dict(at)["toxic"] == "true")
    assert [order.toxic for order in orders] == [True]
    assert toxic == sum(sums.values()) == 1
