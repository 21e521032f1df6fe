"""A replay gives every shard its events, passes over what it cannot read, and checks as it goes."""

import os
import pty
import subprocess
import sys
import termios
from decimal import Decimal
from pathlib import Path

import pytest

from consumers.event_log import EventLogError
from consumers.replay import BrokenInvariant, Replay, decide
from engine import state, wire
from engine.core import Engine
from engine.decisions import Decision
from engine.events import Deposit
from tests import small_venue


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of the small venue's morning."""
    return small_venue.write(tmp_path / "morning.jsonl")


def replayed(path: Path, **options: object) -> Replay:
    replay = Replay(**options)
    replay.run(path)
    return replay


def test_a_replay_decides_what_an_engine_decides(log: Path) -> None:
    engine = Engine()
    decided = [decide(engine, event) for _, event in small_venue.morning()]
    told: list[list[Decision]] = []
    replay = replayed(log, on_decisions=lambda engine, event, made: told.append(list(made)))
    assert told == decided
    assert sum(map(len, told)) > 10
    assert replay.digests() == [state.digest(engine)]


def test_every_packing_gives_the_same_digest(tmp_path: Path, log: Path) -> None:
    digests = {tuple(replayed(log).digests())}
    for name in ("morning.jsonl.gz", "morning.jsonl.zst"):
        digests.add(tuple(replayed(small_venue.write(tmp_path / name)).digests()))
    assert len(digests) == 1


def moved_to(shard: int) -> list[small_venue.Line]:
    """Return the morning with erin on another shard, so that it is first heard of late."""
    return [
        (shard if getattr(event, "account", "") == "erin" else place, event)
        for place, event in small_venue.morning()
    ]


def test_a_shard_that_comes_late_was_told_what_all_are_told(tmp_path: Path) -> None:
    path = small_venue.write(tmp_path / "log", moved_to(3))
    late, known = replayed(path), replayed(path, shards=4)
    assert len(late.engines) == 4
    assert late.digests() == known.digests()
    assert late.engines[3].accounts.keys() == {"erin"}
    assert late.engines[1].prices == late.engines[3].prices == late.engines[0].prices
    assert late.engines[2].ledger.fund == late.engines[3].ledger.fund == {}


def test_a_shard_beyond_those_told_is_a_fault(tmp_path: Path) -> None:
    path = small_venue.write(tmp_path / "log", moved_to(3))
    with pytest.raises(EventLogError, match=r"line 14: shard 3: .* told of 2 shards"):
        replayed(path, shards=2)


def test_a_number_of_shards_out_of_reason_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"shard":10000000,"event":{"type":"TimePassed","time":1}}')
    with pytest.raises(EventLogError, match="line 1: shard 10000000: beyond 4095"):
        replayed(tmp_path / "log")


POISON = [
    b'{"shard":0,"event":{"type":"Deposit","time":1}',
    b'{"shard":0,"event":{"type":"Depositt","time":1}}',
    b'{"shard":0,"event":{"type":"Deposit","time":1,"account":"alice","sequence":9,"asset":"USDT",'
    b'"amount":"NaN"}}',
    b'{"shard":0,"event":3}',
    b"\xff",
]


def test_what_cannot_be_read_is_named_and_changes_nothing(tmp_path: Path, log: Path) -> None:
    whole = log.read_bytes().splitlines()
    poisoned = tmp_path / "poisoned"
    poisoned.write_bytes(b"\n".join(whole[:20] + POISON + whole[20:]))
    faults: list[str] = []
    replay = replayed(poisoned, on_fault=lambda fault: faults.append(str(fault)))
    assert replay.digests() == replayed(log).digests()
    assert replay.summary.unreadable == len(POISON) == len(faults)
    for number, fault in enumerate(faults, start=21):
        assert fault.startswith(f"{poisoned}: line {number}: ")
    assert "Deposit alice#9: not_finite: amount NaN" in faults[2]


def test_without_an_ear_for_faults_the_first_one_ends_the_replay(log: Path) -> None:
    log.write_bytes(b"rubbish\n" + log.read_bytes())
    with pytest.raises(EventLogError, match="line 1: not a line of an event log"):
        replayed(log)


def test_a_broken_invariant_names_line_shard_and_sentence(log: Path) -> None:
    replay = Replay(check_every=1)

    def steal(engine: Engine, event: object, decisions: object) -> None:
        if isinstance(event, Deposit):
            engine.ledger.fund["USDT"] -= Decimal("0.00000001")

    replay = Replay(check_every=1, on_decisions=steal)
    with pytest.raises(
        BrokenInvariant, match=r"line 12: shard 0: invariant broken: USDT: value is conserved"
    ):
        replay.run(log)


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_invariants_hold_all_morning(log: Path, every: int) -> None:
    checks: list[int] = []
    replay = Replay(check_every=every)
    check = replay.check
    replay.check = lambda reader: (checks.append(reader.line), check(reader))[1]
    replay.run(log)
    last = len(small_venue.morning())
    assert checks == [*range(every, last + 1, every), last]


def test_the_summary_counts_what_happened(log: Path) -> None:
    found = replayed(log).summary.as_data()
    assert found["events"]["PriceUpdate"] == {"applied": 9}
    assert found["decisions"]["LiquidationOrder"] == 4
    assert (found["liquidations"], found["accounts_liquidated"]) == (3, 3)
    by_market = {(row["market"], row["asset"]): row for row in found["markets"]}
    assert by_market["BTC-PERP", "USDT"] == {
        "market": "BTC-PERP",
        "asset": "USDT",
        "liquidations": 1,
        "orders": 2,
        "fills": 2,
        "notional": "8882",
        "shortfall": "122.441",
        "paid_by_fund": "60",
        "paid_by_reserve": "0",
        "socialised": "0",
        "bad_debt": "62.441",
    }
    assert by_market["BTCUSD-PERP", "BTC"]["notional"] == "1.09938434"


def test_the_summary_tells_refused_duplicate_and_gap_apart(tmp_path: Path) -> None:
    lines = small_venue.morning()
    erin = next(event for _, event in lines if getattr(event, "account", "") == "erin")
    extra = [
        (0, erin),
        (0, Deposit(time=erin.time, account="erin", sequence=5, asset="USDT", amount=Decimal(1))),
        (0, Deposit(time=erin.time, account="erin", sequence=6, asset="XYZ", amount=Decimal(1))),
    ]
    path = small_venue.write(tmp_path / "log", lines + extra)
    counts = replayed(path).summary.as_data()["events"]["Deposit"]
    assert counts == {"applied": 5, "duplicate": 1, "gap": 1, "refused": 1}


def test_progress_is_shown_on_a_terminal_only(log: Path) -> None:
    command = [sys.executable, "-m", "consumers.cli", "replay", str(log)]
    quiet = subprocess.run(command, capture_output=True)
    assert quiet.stderr == b""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=slave, check=True)
        assert b"replay: 100%" in os.read(master, 65536)
    finally:
        os.close(master)
        os.close(slave)


def test_decisions_are_written_as_they_are_read(log: Path) -> None:
    command = [sys.executable, "-m", "consumers.cli", "replay", "--json", "-"]
    done = subprocess.run(command, input=log.read_bytes(), capture_output=True, check=True)
    engine = Engine()
    decided = [made for _, event in small_venue.morning() for made in decide(engine, event)]
    assert [wire.read_decision(line) for line in done.stdout.splitlines()] == decided
    assert b"Digest: " in done.stderr
