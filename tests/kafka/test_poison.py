"""What nobody should send harms nobody else, and is found again with its reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumers import journal
from tests.broker import Broker
from tests.kafka.day import play
from tests.kafka.plant import Plant, Process
from tests.kafka.poison import Placed, Poison

pytestmark = pytest.mark.kafka

ABOUT_RECORDS = {"Refused", "Duplicate", "Gap"}


def outcome(decisions: list[bytes]) -> list[dict[str, Any]]:
    """Return what was decided about the day's own accounts, whatever else was counted meanwhile."""
    found = []
    for raw in decisions:
        decision = json.loads(raw)
        if decision["type"] in ABOUT_RECORDS:
            continue
        if not decision.get("account", "").startswith("poison"):
            found.append({k: v for k, v in decision.items() if k not in ("seq", "index")})
    return found


async def test_poison_changes_nobody_else(broker: Broker, tmp_path: Path) -> None:
    day = play()
    symbol = play_symbol(day.records)
    placed = list(Poison(7, day.shards, symbol).among(day.records, every=40))
    assert sum(record.refused for record in placed) > 500
    async with Plant(broker.bootstrap, tmp_path, day.shards) as plant:
        await plant.put_raw(
            [(getattr(plant.topics, r.topic), r.partition, r.key, r.value) for r in placed]
        )
        process = await plant.start()
        await plant.until_taken(Counter((r.topic, r.partition) for r in placed))
        decided = await plant.decisions()
        for found, wanted in zip(decided, day.decisions, strict=True):
            assert outcome(found) == outcome(wanted)
        kept = await journal.read_state(plant.client, plant.topics.engine_state)
        accounts = {key: raw for of_shard in kept.values() for key, raw in of_shard.items()}
        assert {key: accounts[key] for key in day.accounts} == day.accounts
        await dead_letters_hold(plant, placed)
        await dead_letters_are_counted(process, placed)


async def dead_letters_hold(plant: Plant, placed: list[Placed]) -> None:
    """Every refused record is there once, as it came, with its place and a reason."""
    offsets: Counter[tuple[str, int]] = Counter()
    wanted = {}
    for record in placed:
        at = (getattr(plant.topics, record.topic), record.partition)
        if record.refused:
            wanted[(*at, offsets[at])] = (record.key, record.value or b"")
        offsets[at] += 1
    found = {}
    for shard, letters in enumerate(await plant.read(plant.topics.dead_letters)):
        for letter in letters:
            headers = dict(letter.headers)
            place = (
                headers["topic"].decode(),
                int(headers["partition"]),
                int(headers["offset"]),
            )
            assert place not in found, "twice"
            assert headers["reason"]
            assert shard == (place[1] if place[0] == plant.topics.positions else 0)
            found[place] = (letter.key, letter.value)
    assert found == wanted


async def dead_letters_are_counted(process: Process, placed: list[Placed]) -> None:
    """Each is counted once, by its topic, whichever shard wrote it."""
    _, page = await process.get("/metrics")
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(page):
        if family.name == "liquidator_dead_letters":
            for sample in family.samples:
                counts[sample.labels["topic"]] += round(sample.value)
    assert +counts == Counter(record.topic for record in placed if record.refused)


def play_symbol(records: list[Any]) -> str:
    """Return a symbol that is priced in a log."""
    return next(event.symbol for _, event in records if hasattr(event, "kind"))
