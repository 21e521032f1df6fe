"""What reports say of transfers, of parts that are closed, and of what waits."""

import json
import re
from decimal import Decimal as D
from pathlib import Path

from click.testing import CliRunner

from consumers.cli import main
from engine import decisions as d
from engine import events as e
from engine import wire
from engine.liquidation_profile import Bounded, Cooldown, Fuses, LiquidationRule, Portion
from engine.waterfall_profile import Backstop, Deleveraging, FundRule, Waterfall
from producers.event_log import EventLogWriter
from tests.story import Story, only
from tests.waterfall_story import Recorder, bankruptcy, treasury, venue

BACKSTOP = Waterfall(takers=("backstop",), backstop=Backstop("vault", D(10**6), D("0.6667")))
ORDER = "alice:1:1:BTCUSDT"


def said(machine: Recorder, tmp_path: Path, *arguments: str) -> str:
    """Return what a command says of all that an engine was told."""
    path = tmp_path / "log.jsonl"
    with EventLogWriter(path) as log:
        for event, _ in machine.told:
            log.write(0, wire.write_event(event))
    source = [str(path)] if arguments[0] == "waterfall" else ["--log", str(path)]
    result = CliRunner().invoke(main, [arguments[0], *source, *arguments[1:]])
    assert result.exit_code == 0, result.output
    return result.stdout


def flat(text: str) -> str:
    """Return text whose lines were wrapped as one line."""
    return re.sub(r"[\s│]+", " ", text)


def taken_over() -> tuple[Recorder, Story, d.TakeOver]:
    """Return a venue whose backstop is to take alice's long, bankrupt at 9,000, at a mark of
    8,990."""
    machine, story = venue(BACKSTOP)
    story.tell(e.AccountOpened, account="vault", role="backstop")
    story.deposit("vault", "USDT", "100000")
    return machine, story, only(d.TakeOver, story.price("BTCUSDT", "8990"))


def test_a_live_transfer_is_shown_with_its_taker(tmp_path: Path) -> None:
    machine, _, _ = taken_over()
    text = said(machine, tmp_path, "inspect", "alice")
    assert re.search(r"│ alice:1:1:BTCUSDT │ backstop: vault cross +│ sell │ +1 │ +0 │", text)
    assert "Live order" not in text
    found = json.loads(said(machine, tmp_path, "inspect", "alice", "--json"))
    (order,) = found["groups"][0]["liquidation"]["orders"]
    assert order["taker"] == {"layer": "backstop", "account": "vault", "margin": "cross"}
    assert order["fee_rate"] == "0"


def test_a_take_over_is_explained(tmp_path: Path) -> None:
    machine, story, asked = taken_over()
    story.fill("vault", "BTCUSDT", "1", "9000")
    story.fill("alice", "BTCUSDT", "-1", "9000", order_id=asked.order_id)
    text = flat(said(machine, tmp_path, "explain", ORDER))
    assert "sell 1 at 9,000 to the backstop (vault cross), which could take 111.234" in text
    assert "bankruptcy price: 9,000 ÷ (1 × 1) = 9,000, up to 0.1: 9,000" in text
    assert "the market does not take it at the limit: it goes over at 9,000" in text
    assert "No shortfall." in text
    told = json.loads(said(machine, tmp_path, "explain", ORDER, "--json"))
    assert told["order"]["type"] == "TakeOver"
    assert told["arithmetic"]["legs"][0]["bankruptcy_price"] == "9000"
    found = json.loads(said(machine, tmp_path, "waterfall", "--json"))
    (row,) = found["takers"]
    # The mark is 10 below what the backstop pays.
    assert (row["taker"], row["filled"], row["notional"], row["forgone"]) == (
        "backstop", "1", "9000", "10",
    )  # fmt: skip


def test_a_deleveraging_is_explained_with_what_it_takes(tmp_path: Path) -> None:
    machine, story = venue(Waterfall(takers=("adl",), adl=Deleveraging()))
    asked = only(d.Deleverage, story.price("BTCUSDT", "8990"))
    story.fill("bob", "BTCUSDT", "1", "9000")
    story.fill("alice", "BTCUSDT", "-1", "9000", order_id=asked.order_id)
    text = flat(said(machine, tmp_path, "explain", ORDER))
    assert "sell 1 at 9,000 against bob cross, rank 1 by" in text
    assert "the counterparty forgoes 1 at 8,990 less at 9,000: 10 USDT" in text
    found = json.loads(said(machine, tmp_path, "waterfall", "--json"))
    assert [(row["taker"], row["forgone"]) for row in found["takers"]] == [("adl", "10")]
    one = flat(said(machine, tmp_path, "waterfall", "--liquidation", "alice:1"))
    assert "who forgoes 10" in one
    assert "No shortfall." in one


def test_a_part_a_limit_by_the_mark_and_a_pause_are_told(tmp_path: Path) -> None:
    rule = LiquidationRule(
        sizing=Portion(D("0.2"), whole_below=D(1000)),
        cooldown=Cooldown(30_000_000),
        price=Bounded(D("0.001")),
    )
    machine, story = venue(Waterfall(), liquidation=rule)
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    text = flat(said(machine, tmp_path, "explain", ORDER))
    assert "size: 0.2 of 1 (0.2 of a position's notional, whole up to 1,000)" in text
    assert "stage limit, nearer to the mark 9,030: 9,021 (0.001 from the mark" in text
    story.fill("alice", "BTCUSDT", "-0.2", "9021", order_id=order.order_id)
    text = flat(said(machine, tmp_path, "inspect", "alice"))
    assert "waits: cooldown until" in text
    found = json.loads(said(machine, tmp_path, "inspect", "alice", "--json"))
    liquidation = found["groups"][0]["liquidation"]
    assert liquidation["waits_until"] == order.time + 30_000_000


def test_an_order_that_lowers_health_says_so(tmp_path: Path) -> None:
    machine, story = venue(Waterfall(), liquidation=LiquidationRule(slippage={"*": D("0.2")}))
    story.price("ETHUSDT", "10000")
    story.fill("alice", "ETHUSDT", "0.5", "10000")
    story.price("BTCUSDT", "9055")
    text = flat(said(machine, tmp_path, "explain", ORDER))
    assert "stage limit, toxic" in text
    assert "toxic: what is left after it has less margin for what it needs" in text


def test_the_book_shows_named_funds_gates_and_what_is_written_off(tmp_path: Path) -> None:
    machine, story = venue(Waterfall(fund=FundRule(by="market"), gate=True), fund="ETHUSDT")
    bankruptcy(story)
    treasury(story, e.WrittenOff, "4.45", 2)
    (shard,) = json.loads(said(machine, tmp_path, "inspect", "--json"))["shards"]
    assert shard["named_funds"][-1] == {"asset": "USDT", "fund": "ETHUSDT", "amount": "60"}
    # 100 are outstanding, and the funds of the asset hold 60 together.
    assert shard["gates_closed"] == ["USDT"]
    text = said(machine, tmp_path, "inspect")
    assert re.search(r"│ BTCUSDT │ USDT  │ +104.45 │ +0 │ +104.45 │ +4.45 │ +0 │", text)
    assert re.search(r"│ USDT  │ +60.00 │", text)


def test_a_held_price_and_a_halt_are_shown(tmp_path: Path) -> None:
    fuses = Fuses(max_jump=D("0.3"), max_share_of_oi_per_minute=D("0.5"))
    machine, story = venue(Waterfall(), liquidation=LiquidationRule(fuses=fuses))
    story.tell(e.MarketState, symbol="BTCUSDT", long_size=D(1), short_size=D("0.5"))
    assert "Halts" not in said(machine, tmp_path, "inspect")
    story.price("BTCUSDT", "6000")
    text = said(machine, tmp_path, "inspect")
    assert re.search(r"│ BTCUSDT │ mark held, 1 in a row │ 1970-[^│]+ │ +10,000 │ +6,000 │", text)
    (shard,) = json.loads(said(machine, tmp_path, "inspect", "--json"))["shards"]
    since = shard["held_prices"][0].pop("since")
    assert since == story.time
    about = {"symbol": "BTCUSDT", "kind": "mark", "count": 1}
    assert shard["held_prices"] == [{**about, "price": "6000", "in_force": "10000"}]
    bankruptcy(story)
    story.tell(e.Halt, symbol="ETHUSDT")
    text = said(machine, tmp_path, "inspect")
    assert re.search(r"│ BTCUSDT │ halted by the breaker +│", text)
    assert re.search(r"│ ETHUSDT │ halted by an operator +│", text)
    (shard,) = json.loads(said(machine, tmp_path, "inspect", "--json"))["shards"]
    assert (shard["halted"], shard["tripped"]) == (["BTCUSDT", "ETHUSDT"], ["BTCUSDT"])
    assert shard["held_prices"] == []


def test_the_last_word_on_a_liquidation_is_what_it_waits_for(tmp_path: Path) -> None:
    rule = LiquidationRule(sizing=Portion(D("0.2")), cooldown=Cooldown(30_000_000, D(0)))
    machine, story = venue(Waterfall(), liquidation=rule)
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "9030"))
    asked = (("waterfall", "--liquidation", "alice:1"), ("explain", order.order_id))
    assert all("It waits" not in said(machine, tmp_path, *one) for one in asked)
    story.fill("alice", "BTCUSDT", "-0.2", "9020", order_id=order.order_id)
    for command in asked:
        text = flat(said(machine, tmp_path, *command))
        assert "It waits (cooldown): a pause after a part is not over." in text
        assert json.loads(said(machine, tmp_path, *command, "--json"))["waits"] == "cooldown"
