"""`liquidator waterfall`: who paid for what, by market, layer by layer, down to one liquidation."""

import json
import re
from decimal import Decimal as D
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from consumers import waterfall
from consumers.cli import main
from consumers.replay import decide
from engine import wire
from engine.core import Engine
from engine.events import AnyEvent, Recovered, WrittenOff
from engine.money import exact
from engine.waterfall_profile import FundRule, Waterfall
from producers import report, waterfall_report
from producers.event_log import EventLogWriter
from producers.waterfall_report import Scope
from producers.waterfall_tally import WaterfallTally
from tests import small_venue
from tests.histories import History
from tests.waterfall_story import Recorder, bankruptcy, treasury, venue

SEEDS = (1, 4, 11, 13, 21, 51)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of the small venue's morning."""
    return small_venue.write(tmp_path / "morning.jsonl.zst")


def liquidator(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["waterfall", *(str(argument) for argument in arguments)])


def said(*arguments: object) -> str:
    """Return what the command says where it must succeed."""
    result = liquidator(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_markets_say_who_paid_and_what_is_outstanding(log: Path) -> None:
    text = said(log)
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"│ BTC-PERP │ USDT  │ +122.44 │ 60.00 │ +0 │ +0 │ +62.44 │", text)
    assert re.search(r"│ BTC-PERP │ USDT  │ +62.44 │ +0 │ +0 │ +62.44 │ +0 │", text)
    assert re.search(
        r"│ BTC-PERP +│ USDT +│ market, stage backstop │ +1 │ +0.80 │ +7,080.00 │", text
    )
    assert "Reconciles: shortfall = fund + reserve + socialised + bad debt" in text


def test_numbers_are_exact_in_json(log: Path) -> None:
    found = json.loads(said(log, "--json"))
    (market,) = found["markets"]
    assert market == {
        "market": "BTC-PERP",
        "asset": "USDT",
        "shortfall": "122.441",
        "paid_by_fund": "60",
        "paid_by_reserve": "0",
        "socialised": "0",
        "bad_debt": "62.441",
        "recovered": "0",
        "written_off": "0",
        "paid_for_positions": "0",
        "outstanding": "62.441",
        "unrealised": "0",
        "holes": "0",
    }
    (total,) = found["totals"]
    assert {"market": "BTC-PERP", **total} == market
    (layer,) = found["layers"]
    assert (layer["layer"], layer["payments"], layer["paid"]) == ("fund", 1, "60")
    assert layer["left_after"] == "62.441"
    assert found["differences"] == []
    (shortfall,) = found["shortfalls"]
    assert shortfall["layers"] == [
        {"layer": "fund", "fund": "", "capacity": "60", "paid": "60", "remainder": "62.441"}
    ]
    assert shortfall["debt_id"] == "alice:debt:1"


def test_a_market_is_shown_alone(log: Path) -> None:
    found = json.loads(said(log, "--market", "ETH-PERP", "--json"))
    assert (found["markets"], found["shortfalls"]) == ([], [])
    assert [row["market"] for row in found["takers"]] == ["ETH-PERP"]
    assert "No shortfall." in said(log, "--market", "ETH-PERP")


def test_an_account_lists_its_liquidations(log: Path) -> None:
    text = said(log, "--account", "alice")
    assert re.search(r"│ alice:1 +│ cross +│ 2021-05-19 00:00:10 │ breach │ flat +│", text)
    found = json.loads(said(log, "--account", "dave", "--json"))
    assert [one["number"] for one in found["liquidations"]] == [1]
    assert found["shortfalls"] == []
    assert "markets" not in found
    assert "No shortfall." in said(log, "--account", "bob")


def test_one_liquidation_goes_from_its_evidence_to_what_nobody_paid(log: Path) -> None:
    text = said(log, "--liquidation", "alice:1")
    assert "margin equity 36 did not cover maintenance 36.144" in re.sub(r"\s+", " ", text)
    assert "mark BTC-PERP" in text
    for kind in ("LiquidationStarted", "LiquidationOrder", "Fill", "CancelOrder", "BadDebt"):
        assert kind in text
    assert re.search(r"│ fund +│ +60 │ +60 │ 62.441 │", text)
    assert re.search(r"│ bad debt alice:debt:1 │ +— │ 62.441 │ +0 │", text)
    found = json.loads(said(log, "--liquidation", "alice:1", "--json"))
    explained = CliRunner().invoke(
        main, ["explain", "--log", str(log), "alice:1:2:BTC-PERP", "--json"]
    )
    assert found["course"] == json.loads(explained.stdout)["course"]
    assert found["shortfalls"][0]["shortfall"] == "122.441"


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--market", "XRP-PERP"], 1, "waterfall: no market XRP-PERP"),
        (["--account", "nobody"], 1, "waterfall: no account nobody"),
        (["--liquidation", "alice:2"], 1, "waterfall: no liquidation alice:2"),
        (["--liquidation", "nobody:1"], 1, "waterfall: no account nobody"),
        (["--liquidation", "alice"], 1, "waterfall: alice is not ACCOUNT:NUMBER"),
        (["--account", "alice", "--liquidation", "alice:1"], 2, "one of them"),
        (["--config", "deploy/liquidator.toml"], 2, "a log takes none"),
    ],
)
def test_what_is_not_there_is_told(log: Path, options: list[str], code: int, text: str) -> None:
    result = liquidator(log, *options)
    assert (result.exit_code, text in result.stderr) == (code, True), result.output


def test_a_source_is_a_log_or_the_state(tmp_path: Path) -> None:
    assert "`state` needs --config" in liquidator("state").stderr
    result = liquidator(tmp_path / "none.jsonl")
    assert (result.exit_code, "does not exist" in result.stderr) == (2, True)


def written(machine: Recorder, path: Path) -> Path:
    """Write what an engine was told as an event log."""
    with EventLogWriter(path) as log:
        for event, _ in machine.told:
            log.write(0, wire.write_event(event))
    return path


def test_funds_have_names_and_others_share(tmp_path: Path) -> None:
    rules = Waterfall(fund=FundRule(by="market"), socialised="open_interest")
    machine, story = venue(rules, fund="BTCUSDT")
    bankruptcy(story)
    path = written(machine, tmp_path / "log")
    found = json.loads(said(path, "--json"))
    (market,) = found["markets"]
    assert (market["shortfall"], market["paid_by_fund"]) == ("104.45", "60")
    assert (market["socialised"], market["bad_debt"]) == ("44.45", "0")
    layers = [(row["layer"], row["fund"], row["paid"]) for row in found["layers"]]
    assert layers == [("fund", "BTCUSDT", "60"), ("open_interest", "", "44.45")]
    text = said(path)
    assert re.search(r'│ BTCUSDT │ USDT  │ fund "BTCUSDT" +│ +1 │ +1 │ 60.00 │ +44.45 │', text)
    one = said(path, "--liquidation", "alice:1")
    assert re.search(r'│ fund "BTCUSDT" +│ +60 │ +60 │ 44.45 │', one)
    assert re.search(r"│ open interest +│ +3,100 │ 44.45 │ +0 │", one)
    assert re.search(r"│   bob cross +│ +— │ 44.45 │ +— │", one)
    assert "BTCUSDT: shortfall 104.45 USDT = fund 60 + other accounts 44.45 + bad debt 0." in one


def test_a_layer_that_has_nothing_was_asked_all_the_same(tmp_path: Path) -> None:
    rules = Waterfall(fund=FundRule(by="market", then_venue=True), socialised="winners")
    machine, story = venue(rules)
    bankruptcy(story)
    path = written(machine, tmp_path / "log")
    (shortfall,) = json.loads(said(path, "--json"))["shortfalls"]
    layers = [tuple(layer.values()) for layer in shortfall["layers"]]
    assert layers[:2] == [
        ("fund", "BTCUSDT", "0", "0", "104.45"),
        ("fund", "", "60", "60", "44.45"),
    ]
    # Bob won enough to bear the rest, so nobody below him was asked.
    assert [layer[0] for layer in layers[2:]] == ["winners"]
    rows = json.loads(said(path, "--json"))["layers"]
    told = [(row["layer"], row["fund"], row["asked"], row["payments"]) for row in rows]
    assert told == [("fund", "BTCUSDT", 1, 0), ("fund", "", 1, 1), ("winners", "", 1, 1)]
    one = said(path, "--liquidation", "alice:1")
    assert re.search(r'│ fund "BTCUSDT" +│ +0 │ +0 │ 104.45 │', one)


def test_what_is_recovered_and_written_off_is_outstanding_no_more(tmp_path: Path) -> None:
    machine, story = venue(Waterfall())
    bankruptcy(story)
    treasury(story, Recovered, "40", 2)
    treasury(story, WrittenOff, "4", 3)
    text = said(written(machine, tmp_path / "log"))
    assert re.search(r"│ BTCUSDT │ USDT  │ +44.45 │ +40.00 │ +4.00 │ +0.45 │ +0 │", text)


def _told(events: list[AnyEvent]) -> tuple[Engine, WaterfallTally]:
    engine, tally = Engine(), WaterfallTally()
    for event in events:
        tally.fold(engine, event, decide(engine, event))
    return engine, tally


@pytest.mark.parametrize("seed", SEEDS)
def test_every_sum_of_a_history_agrees_with_the_ledger(seed: int, tmp_path: Path) -> None:
    events = [event for event, _ in History(seed)]
    engine, tally = _told(events)
    found = waterfall_report.losses([engine])
    assert list(waterfall_report.differences(found, tally)) == []
    _layers_add_up(tally)
    with EventLogWriter(tmp_path / "log") as log:
        for event in events:
            log.write(0, wire.write_event(event))
    for account, number in list(tally.lives)[:2]:
        one = waterfall.from_log(tmp_path / "log", None, f"{account}:{number}")
        assert one.story is not None
        assert one.story.started is not None
        told = sum(type(happened).__name__ == "Shortfall" for _, happened in one.story.course)
        booked = [b for b in tally.bookings if (b.account, b.number) == (account, number)]
        assert told == len(booked)


@exact
def _layers_add_up(tally: WaterfallTally) -> None:
    for booking in tally.bookings:
        left = booking.shortfall
        for one in booking.paid:
            assert D(0) <= one.paid == min(left, one.capacity)
            assert one.remainder == left - one.paid >= 0
            left = one.remainder
        assert left == booking.left == booking.bad_debt


@pytest.mark.slow
def test_the_histories_lose_something_in_several_ways() -> None:
    layers, debts = set(), 0
    for seed in range(60):
        _, tally = _told([event for event, _ in History(seed)])
        layers |= {one.layer for booking in tally.bookings for one in booking.paid if one.paid}
        debts += sum(booking.bad_debt > 0 for booking in tally.bookings)
        if layers >= {"fund", "lenders"} and debts:
            return
    raise AssertionError(f"no more than {layers}, {debts} bad debts")


def test_a_sum_that_does_not_agree_is_named(log: Path) -> None:
    found = waterfall.from_log(log, None, None)
    ledger = found.engines[0].ledger
    ledger.paid_by_fund["USDT", "BTC-PERP"] += 1
    ledger.recovered["USDT", "BTC-PERP"] += 63
    told = waterfall_report.data(found.engines, found.tally, Scope())["differences"]
    assert told == [
        "BTC-PERP: shortfall 122.441 USDT is not paid 61 + bad debt 62.441",
        "BTC-PERP: 0.559 USDT more was recovered than lost",
        "BTC-PERP: paid_by_fund is 61 USDT in the ledger and 60 in the decisions",
    ]
    assert not waterfall.show(found, Scope(), limit=1, as_json=False)


def test_a_file_that_is_no_log_has_no_answer(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("not a line\n")
    result = liquidator(empty)
    assert (result.exit_code, "no event in it" in result.stderr) == (1, True)


def test_lines_that_cannot_be_read_show_in_the_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "torn.jsonl"
    small_venue.write(log)
    with log.open("a") as out:
        out.write("torn\n")
    result = liquidator(log, "--json")
    assert (result.exit_code, json.loads(result.stdout)["unreadable"]) == (3, 1)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_is_broken_between_words(width: int) -> None:
    columns = ["Market", "Outstanding", "Written off", "Unrealised", "Recovered", "Of it holes"]
    made = report.table("Losses", [*columns, "Maintenance", "Used"], left=1)
    made.add_row("BTCUSDT", *["1,302.10"] * 6, "> 999 %")
    out = Console(width=width, file=StringIO())
    out.print(made)
    assert isinstance(out.file, StringIO)
    text = out.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for word in (*" ".join(columns).split(), "Maintenance", "1,302.10", "> 999 %"):
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text), word


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_number_is_never_broken(width: int) -> None:
    columns = ["Market", "Asset", "Taker", "Orders", "Filled", "Notional", "Forgone", "Paid for it"]
    made = report.table("Takers", columns, left=3, caption="Rounded.")
    numbers = ["2,315", "5,395,222,311.76", "207,499,871.98", "107,499,872.98", "9,331,412.55"]
    made.add_row("BTCUSDT", "USDT", "market, stage backstop", *numbers, style="bold")
    out = Console(width=width, file=StringIO())
    out.print(made)
    assert isinstance(out.file, StringIO)
    text = out.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for number in numbers:
        assert text.count(number) == 1, number
    tables = text.count("└")
    assert tables == {60: 5, 80: 2, 100: 1}[width]
    assert (text.count("BTCUSDT"), text.count("Takers")) == (tables, 1)
    assert text.index("Rounded.") > text.index("9,331,412.55")
