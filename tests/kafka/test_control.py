"""An operator halts, resumes and looks back: what is sent, what is not, and who did it."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec.structs import replace

from consumers import config, control, halts, rules
from consumers.control import Published
from consumers.halts import NotListed, judged
from consumers.journal import committed
from consumers.standing import Standing
from engine import events as e
from engine import wire
from engine.state import RulesRecord
from producers.event_log import EventLogWriter
from tests import small_venue
from tests.broker import Broker
from tests.commands import said
from tests.kafka.plant import Plant
from tests.test_cli import RULES, cli

HALT = ("--reason", "feed is down", "--by", "ana")


def published(*more: e.ControlEvent) -> list[Published]:
    """Return the small venue's rules and what followed, as they stand on `control`."""
    told = [event for _, event in small_venue.morning() if isinstance(event, e.ControlEvent)]
    return [Published(number, 0, event) for number, event in enumerate([*told, *more])]


def tripped(*names: str) -> Sequence[Standing]:
    return [Standing(0, RulesRecord(None, [], [], False, [], None, {}, list(names)))]


def test_a_second_halt_names_the_first() -> None:
    first = e.Halt(time=0, symbol="BTC-PERP", by="ana", reason="feed is down")
    again = judged(e.Halt(time=1, symbol="BTC-PERP", by="bo"), published(first, first), ())
    assert not again.sent
    since = "since 1970-01-01 00:00:00 UTC by ana: feed is down"
    assert again.lines == [f"BTC-PERP: already halted {since}"]
    all_of_it = judged(e.Halt(time=1), published(first), ())
    assert all_of_it.sent
    resumed = judged(e.Resume(time=1), published(first, e.Halt(time=2)), ())
    assert resumed.sent
    assert resumed.lines[-1] == f"BTC-PERP: is still halted {since}"


def test_what_is_not_halted_is_not_resumed_unless_its_fuse_halted_it() -> None:
    resume = e.Resume(time=1, symbol="BTC-PERP")
    assert not judged(resume, published(), tripped("ETH-PERP")).sent
    assert judged(resume, published(), tripped("BTC-PERP")).sent
    assert judged(e.Resume(time=1), published(), tripped("BTC-PERP")).sent
    everything = judged(resume, published(e.Halt(time=1, by="ana")), ())
    assert not everything.sent
    assert everything.lines[-1].startswith("everything: is still halted since")


def test_an_unknown_market_is_refused_by_name() -> None:
    with pytest.raises(NotListed, match=r"BTC-PREP: no instrument.*did you mean BTC-PERP"):
        judged(e.Halt(time=1, symbol="BTC-PREP"), published(), ())


def test_a_log_says_who_changed_what(tmp_path: Path) -> None:
    """Two shards' journals hold the changes twice, in one order; each is listed once."""
    path = tmp_path / "day.jsonl"
    changes = [item.event for item in published() if item.event is not None]
    halts: list[Any] = [
        e.Halt(time=9, symbol="BTC-PERP", by="ana", reason="drill"),
        e.Halt(time=9, symbol="NOBODY", by="bo"),
    ]
    with EventLogWriter(str(path)) as log:
        for shard in (0, 1):
            for event in (*changes, *halts):
                log.write(shard, wire.write_event(event))
    rows = json.loads(said("audit", "--log", path, "--json"))
    assert [row["what"] for row in rows[-2:]] == ["Halt BTC-PERP", "Halt NOBODY"]
    assert len(rows) == len([c for c in changes if isinstance(c, e.OperatorEvent)]) + 2
    assert (rows[-2]["by"], rows[-2]["reason"], rows[-2]["outcome"]) == ("ana", "drill", "applied")
    assert rows[-1]["outcome"].startswith("refused: ")
    assert "drill" in said("audit", "--log", path)


@pytest.mark.kafka
async def test_an_operator_halts_resumes_and_looks_back(broker: Broker, tmp_path: Path) -> None:
    async with Plant(broker.bootstrap, tmp_path, shards=2, clock="wall") as plant:
        use = ("--config", plant.config())
        by = ("--by", "cy", "--reason", "first rules")
        await cli("rules", "publish", RULES, *use, *by)
        await plant.start()
        assert "no instrument or pool" in await cli("halt", "BTC", *HALT, *use, code=1)
        assert await cli("halt", "BTC-PERP", *HALT, *use) == "sent Halt BTC-PERP\n"
        again = await cli("halt", "BTC-PERP", *HALT, *use)
        assert "already halted since" in again
        assert "nothing sent" in again
        assert "Aborted" in await cli("halt", *HALT, *use, code=1)
        await cli("halt", *HALT, "--yes", *use)
        resumed = await cli("resume", "--by", "bo", *use)
        assert "BTC-PERP: is still halted since" in resumed
        await plant.put([(None, e.FundMoved(time=1, shard=1, asset="USDT", amount=-1, sequence=1))])
        control = TopicPartition(plant.topics.control, 0)
        last = [record.offset async for record in committed(plant.client, control)][-1]
        await plant.until_taken({("control", 0): last + 1})
        rows = json.loads(await cli("audit", *use, "--json"))
        assert [row["offset"] for row in rows] == sorted(row["offset"] for row in rows)
        assert {(row["by"], row["reason"]) for row in rows[:-4]} == {("cy", "first rules")}
        told = [(row["what"], row["by"], row["outcome"]) for row in rows[-4:]]
        assert told[:3] == [
            ("Halt BTC-PERP", "ana", "applied"),
            ("Halt everything", "ana", "applied"),
            ("Resume everything", "bo", "applied"),
        ]
        assert told[3][2].startswith("refused: fund: ")
        assert "first rules" in await cli("audit", *use)


@pytest.mark.kafka
async def test_who_is_fenced_while_he_sends_reads_judges_and_sends_again(
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rivals = 3

    class Fenced(AIOKafkaProducer):
        async def send_and_wait(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal rivals
            if rivals:
                rivals -= 1
                name = f"{plant.topics.control}-rules"
                async with AIOKafkaProducer(**plant.client, transactional_id=name) as rival:
                    await rival.begin_transaction()
            return await super().send_and_wait(*args, **kwargs)

    monkeypatch.setattr(control, "AIOKafkaProducer", Fenced)
    async with Plant(broker.bootstrap, tmp_path, shards=1, clock="wall") as plant:
        settings = config.read(plant.config())
        await control.publish_file(settings, rules.read(RULES), by="cy")
        assert rivals == 0
        rivals = 2
        answer = await halts.ask(settings, e.Halt(time=0, symbol="BTC-PERP", by="ana"))
        assert (rivals, answer.lines) == (0, ["sent Halt BTC-PERP"])
        told = await control.published(plant.client, plant.topics.control)
        assert [type(item.event) for item in told].count(e.Halt) == 1
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.kafka
async def test_operators_who_halt_at_once_are_all_heard(broker: Broker, tmp_path: Path) -> None:
    """Each may end the other's transaction, and that one begins anew."""
    async with Plant(broker.bootstrap, tmp_path, shards=1, clock="wall") as plant:
        settings, scopes = config.read(plant.config()), ("BTC-PERP", "BTCUSD-PERP", "")
        await control.publish_file(settings, rules.read(RULES), by="cy")
        asked = [e.Halt(time=0, symbol=scope, by="ana") for scope in scopes]
        answers = await asyncio.gather(*(halts.ask(settings, halt) for halt in asked))
        assert [answer.sent for answer in answers] == [True] * 3
        told = (await control.in_force(plant.client, plant.topics.control)).rules
        assert (told.halted_all, set(told.halted)) == (True, {"BTC-PERP", "BTCUSD-PERP"})


@pytest.mark.kafka
async def test_what_became_of_a_change_is_told_only_where_it_is_known(
    broker: Broker, tmp_path: Path
) -> None:
    """A move twice is a duplicate, as in the log; refusals are forgotten with the dead letters."""
    async with Plant(broker.bootstrap, tmp_path, shards=1, clock="wall") as plant:
        use = ("--config", plant.config())
        moved = e.FundMoved(time=1, shard=0, asset="USDT", amount=Decimal(5), sequence=7)
        too_much = replace(moved, amount=Decimal(-(10**12)), sequence=8)
        await cli("rules", "publish", RULES, *use)
        moves: list[e.AnyEvent] = [moved, moved, too_much, too_much]
        await plant.put([(None, event) for event in moves])
        await plant.put_raw([(plant.topics.control, 0, None, b"{")])
        count = (await control.published(plant.client, plant.topics.control))[-1].offset + 1
        await plant.start()
        await plant.until_taken({("control", 0): count})

        async def outcomes() -> list[str]:
            rows = json.loads(await cli("audit", *use, "--json"))
            return [row["outcome"].partition(":")[0] for row in rows]

        told = ["applied", "duplicate", "refused", "duplicate", "refused"]
        assert (await outcomes())[-5:] == told
        log = tmp_path / "day.jsonl"
        await cli("export", *use, "-o", log)
        rows = json.loads(await cli("audit", "--log", log, "--json"))
        assert [row["outcome"].partition(":")[0] for row in rows[-4:]] == told[:4]

        letters = TopicPartition(plant.topics.dead_letters, 0)
        admin = AIOKafkaAdminClient(**plant.client)
        await admin.start()
        await admin.delete_records({letters: RecordsToDelete(before_offset=-1)})
        await admin.close()
        gone = "taken; whether refused is known no more"
        assert (await outcomes())[-5:] == [gone, "duplicate", gone, "duplicate", "not applied"]
        # A dead letter that is left tells of its time: what came later was applied.
        last = replace(moved, sequence=9)
        await plant.put_raw([(plant.topics.control, 0, None, b"{")])
        await plant.until_taken({("control", 0): count + 1})
        await plant.put([(None, last)])
        await plant.until_taken({("control", 0): count + 2})
        assert (await outcomes())[-3:] == ["not applied", "refused", "applied"]
