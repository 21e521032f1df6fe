"""The daemon's log: lines that parse, that lead from a record to an order, and are bounded."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from consumers import logs
from consumers.replay import decide
from consumers.running_config import Log
from engine import decisions as d
from engine.core import Engine
from producers.kafka import CLOCK, Cause
from tests import small_venue

RESERVED = {"level", "timestamp", "counted", *Cause._fields}
CAUSE = Cause("positions", 3, 77)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as other tests know it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs._sampling.over(0, all_of_them=True)
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    logs._shown = logging.INFO
    logs._sampling.per_second = Log().sample_per_second


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def order(index: int = 0, account: str = "a:b") -> d.CancelOrder:
    return d.CancelOrder(
        shard=3,
        seq=9,
        index=index,
        time=1_621_382_400_000_001,
        account=account,
        margin="cross",
        order_id=f"{account}:12:2:BTC-PERP",
        reason="expired",
    )


def test_a_decision_leads_from_its_record_to_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log())
    logs.decided([(order(), CAUSE), (order(1), Cause(CLOCK))])
    first, second = lines(capsys)
    assert list(first)[:3] == ["timestamp", "level", "event"]
    stamp = first.pop("timestamp")
    assert stamp.endswith("Z")
    assert abs((datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds()) < 60
    assert first == {
        "event": "CancelOrder",
        "level": "info",
        "shard": 3,
        "seq": 9,
        "index": 0,
        "time": "2021-05-19T00:00:00.000001Z",
        "account": "a:b",
        "margin": "cross",
        "order_id": "a:b:12:2:BTC-PERP",
        "number": 12,
        "reason": "expired",
        "topic": "positions",
        "partition": 3,
        "offset": 77,
    }
    assert second["topic"] == "clock"
    assert "offset" not in second


async def test_a_storm_is_bounded_and_what_is_left_out_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Log(sample_per_second=20))
    telling = asyncio.create_task(logs.keep_telling())
    await asyncio.sleep(0)
    for start in range(0, 10_000, 250):
        logs.decided([(order(start + number), CAUSE) for number in range(250)])
        await asyncio.sleep(0.001)
    logging.getLogger("aiokafka").warning("alone")
    for number in range(3_000):
        logging.getLogger("aiokafka").warning("broker %d went away", number)
    telling.cancel()
    await asyncio.wait({telling})
    written = lines(capsys)
    told = Counter(line["event"] for line in written)
    left_out: Counter[str] = Counter()
    for line in written:
        if line["event"] == "left out":
            left_out[line["of"]] += line["count"]
    assert told["CancelOrder"] < 200
    assert told["CancelOrder"] + left_out["CancelOrder"] == 10_000
    of_library = sum(count for event, count in told.items() if "went away" in event)
    assert of_library < 200
    assert of_library + left_out["aiokafka: broker %d went away"] == 3_000
    assert told["alone"] == 1


def test_lines_below_the_level_are_neither_written_nor_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Log(level="warning"))
    logs.decided([(order(), CAUSE)] * 100)
    structlog.get_logger().info("shard")
    logging.getLogger("aiokafka").error("lost")
    assert [line["event"] for line in lines(capsys)] == ["lost"]
    assert logs._sampling.over(0, all_of_them=True) == []


def test_every_decision_of_a_morning_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log(level="debug", sample_per_second=100_000))
    engine = Engine()
    count = 0
    for _, event in small_venue.morning():
        found = decide(engine, event)
        logs.decided([(decision, CAUSE) for decision in found])
        count += len(found)
    assert len(lines(capsys)) == count > 15


def test_no_decision_has_a_field_that_a_line_needs_itself() -> None:
    for kind in d.AnyDecision.__args__:
        assert not RESERVED & set(kind.__struct_fields__)


def test_an_exception_is_one_line_and_text_is_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Log())
    try:
        raise ValueError("no\nsuch thing")
    except ValueError:
        structlog.get_logger().exception("shard: bug", shard=1)
    (line,) = lines(capsys)
    assert "ValueError: no\nsuch thing" in line["exception"]
    logs.configure(Log(format="text"))
    logs.decided([(order(), CAUSE)])
    assert "CancelOrder" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("closed")])
def test_a_log_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A shard tells how it is, and what was committed, in the midst of its work."""

    class Broken:
        def write(self, text: str) -> int:
            raise error

        def flush(self) -> None:
            raise error

    monkeypatch.setattr(sys, "stderr", Broken())
    logs.configure(Log())
    logs.decided([(order(), CAUSE)])
    structlog.get_logger().info("shard", status="running")
    logging.getLogger("aiokafka").warning("a broker is gone")
