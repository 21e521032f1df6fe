"""A shadow beside a live daemon: it decides the same, acts on nothing, and names differences."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from consumers import config, journal, rules, shadow
from consumers.running_config import ENABLE_SHADOW
from engine import decisions as d
from engine import events as e
from engine import wire
from producers import topics
from tests.broker import Broker
from tests.kafka.plant import Plant
from tests.kafka.test_reload import STRICTER
from tests.test_cli import RULES, cli

SECOND = 1_000_000
DEPOSITS = {"careful": 230, "bold": 210, "safe": 90_000}
"""What accounts bring that are long 1 BTC at 50,000, maintenance 200; under the stricter rules
225."""


@pytest.fixture(autouse=True)
def no_shadow() -> None:
    os.environ.pop(ENABLE_SHADOW, None)


class Venue:
    """Writes events with their sequences."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._last: dict[str, int] = {}

    async def tell(self, kind: type[e.AnyEvent], time: int, of: str, /, **fields: object) -> None:
        self._last[of] = self._last.get(of, 0) + 1
        numbered = {"time": time, "sequence": self._last[of], **fields}
        await self._plant.put([(0, kind(**numbered))])

    async def price(self, time: int, price: int) -> None:
        mark = {"symbol": "BTC-PERP", "kind": "mark", "source": "venue"}
        await self.tell(e.PriceUpdate, time, "price", price=Decimal(price), **mark)

    async def fill(self, time: int, account: str, size: int, price: int, order: str = "") -> None:
        traded = {"size": Decimal(size), "price": Decimal(price), "order_id": order}
        named = {"symbol": "BTC-PERP", "margin": "cross", "fill_id": f"{account}{time}"}
        paid = {"fee": Decimal(0), "fee_asset": "USDT"}
        await self.tell(e.Fill, time, account, account=account, **traded, **named, **paid)


@pytest.fixture
async def plant(broker: Broker, tmp_path: Path) -> AsyncIterator[Plant]:
    async with Plant(broker.bootstrap, tmp_path, 1) as made:
        await made.put([(None, event) for event in rules.events(rules.read(RULES), 1_000)])
        yield made


async def orders(plant: Plant) -> list[d.LiquidationOrder]:
    (records,) = await plant.read(plant.topics.liquidation_orders)
    read = [wire.read_decision(record.value) for record in records]
    return [decision for decision in read if isinstance(decision, d.LiquidationOrder)]


async def day(plant: Plant) -> None:
    """Liquidate who is bold: the daemon's order is filled half a second later."""
    venue = Venue(plant)
    await venue.price(SECOND, 50_000)
    for account, amount in DEPOSITS.items():
        paid = {"account": account, "asset": "USDT", "amount": Decimal(amount)}
        await venue.tell(e.Deposit, 2 * SECOND, account, **paid)
        await venue.fill(2 * SECOND, account, 1, 50_000)
    await venue.price(3 * SECOND, 49_989)
    async with asyncio.timeout(30):
        while not (sent := await orders(plant)):
            await asyncio.sleep(0.1)
    await venue.fill(3 * SECOND + SECOND // 2, "bold", -1, 49_985, sent[0].order_id)
    told = {"account": "bold", "order_id": sent[0].order_id, "filled_size": Decimal(1)}
    await venue.tell(e.OrderClosed, 3 * SECOND + SECOND // 2, "bold", **told)
    # Nobody answers what the shadow cancels: it waits for that as long as the rules say.
    await venue.price(20 * SECOND, 49_990)


def shadow_file(plant: Plant, **keys: object) -> Path:
    path = plant.config("beside")
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    path.write_text(f"[shadow]\nenabled = true\n{table}\n{path.read_text()}")
    return path


async def until_read(plant: Plant, path: Path, records: int) -> None:
    """Wait until the shadow has read so many of the positions."""
    from consumers import standing

    async with asyncio.timeout(30):
        while True:
            (shard,) = await standing.read(config.read(path))
            done = shard.position is not None and shard.position.time >= 20 * SECOND
            if done and shard.positions >= records:
                return
            await asyncio.sleep(0.2)


@pytest.mark.kafka
async def test_a_shadow_under_the_same_rules_liquidates_whom_the_other_does(plant: Plant) -> None:
    live = await plant.start("live")
    await day(plant)
    path = shadow_file(plant, orders=plant.topics.liquidation_orders)
    assert "created" in await cli("shadow", "create", "--config", path)
    process = await plant.start_from(path)
    await until_read(plant, path, 8)
    told = json.loads(await cli("shadow", "report", "--config", path, "--json"))
    assert told["totals"] == {
        "both": 1,
        "ours_first": 0,
        "theirs_first": 0,
        "median_lead_ms": 0.0,
        "only_ours": 0,
        "only_theirs": 0,
        "groups_of_one_side": 0,
    }
    (row,) = told["both"]
    assert row["account"] == "bold"
    order, fill = row["closed"]["BTC-PERP"].values()
    assert (order["size"], fill) == ("1", {"size": "1", "price": "49985"})
    settings = config.read(path)
    partition = TopicPartition(settings.topics.risk_events, 0)
    decided = [
        wire.read_decision(record.value)
        async for record in journal.committed(plant.client, partition)
    ]
    ended = [it for it in decided if isinstance(it, d.LiquidationEnded)]
    assert [it.account for it in ended] == ["bold"], "their fill ends our liquidation too"
    assert len(await orders(plant)) == 1, "the shadow's orders go to a topic of its own"
    assert live.running
    refused = await cli("halt", "--yes", "--by", "x", "--reason", "x", "--config", path, code=1)
    assert "belongs to the engine that this one shadows" in refused
    assert 'shadow="true"' in (await process.get("/metrics"))[1]


@pytest.mark.kafka
async def test_a_stricter_shadow_names_whom_it_alone_would_liquidate(
    plant: Plant, tmp_path: Path
) -> None:
    await plant.start("live")
    await day(plant)
    path = shadow_file(plant, own_control=True)
    await cli("shadow", "create", "--config", path)
    stricter = tmp_path / "stricter.toml"
    stricter.write_text(RULES.read_text().replace(*STRICTER))
    await cli("rules", "publish", stricter, "--config", path, "--by", "ana")
    await plant.start_from(path)
    await until_read(plant, path, 8)
    told = await cli("shadow", "report", "--config", path, code=1)
    assert "By the shadow alone:             1" in told
    assert "careful" in told
    assert "safe" not in told
    await cli("shadow", "report", "--config", path, "--tolerance", "1")
    (control,) = [
        [r async for r in journal.committed(plant.client, TopicPartition(plant.topics.control, 0))]
    ]
    assert b'"ana"' not in b"".join(record.value for record in control)


def test_the_variable_of_run_shadow_moves_outputs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENABLE_SHADOW, "true")
    read = config.read(RULES.with_name("liquidator.toml"))
    shared = [name for name in read.topics if not name.startswith("shadow-")]
    assert shared == ["prices", "positions", "control"]
    assert read.group == "shadow-liquidator"
    own = topics.shadowed(topics.named("x-"), "s-", own_control=True)
    assert (own.prices, own.control, own.journal) == ("x-prices", "s-x-control", "s-x-journal")


def test_a_liquidation_that_was_held_back_did_nothing() -> None:
    ours = shadow.Ours()
    at = {"shard": 0, "seq": 1, "index": 0, "account": "a", "margin": "cross"}
    evidence = dict.fromkeys(("equity", "margin_equity", "maintenance"), Decimal(1))
    held = {"reason": "breach", "waits": "halted", **evidence}
    for number in (1, 2):
        time = number * SECOND
        start = d.LiquidationStarted(
            time=time, number=number, legs=(), balances=(), marks=(), **held, **at
        )
        ours.take(start)
        if number == 2:
            sold = {"asset": "BTC", "for_asset": "USDT", "limit_price": Decimal(9)}
            order_id = {"order_id": "a:2:1:BTC", "replaces": "", "expires": 0, "number": 2}
            amount = {"amount": Decimal(3)}
            ours.take(d.CollateralSale(time=time + 5, **sold, **order_id, **amount, **at))
        ours.take(d.LiquidationEnded(time=time + 9, number=number, reason="healthy", **at))
    (acted,) = ours.ended()["a", "cross"]
    assert (acted.number, acted.began, acted.ended) == (2, 2 * SECOND + 5, 2 * SECOND + 9)


def test_fills_within_a_window_are_one_liquidation() -> None:
    theirs = shadow.Theirs(60 * SECOND)
    for at, size, price in ((0, 1, 100), (50, 3, 200), (200, 1, 50)):
        theirs.fill(
            e.Fill(
                time=at * SECOND,
                account="a",
                sequence=1,
                symbol="X",
                margin="cross",
                size=Decimal(-size),
                price=Decimal(price),
                fee=Decimal(0),
                fee_asset="U",
                fill_id="1",
                order_id="theirs-1",
            )
        )
    found = theirs.found()["a", "cross"]
    assert [(it.began, it.ended) for it in found] == [(0, 50 * SECOND), (200 * SECOND,) * 2]
    assert found[0].closed == {"X": shadow.Closed(Decimal(4), Decimal(175))}
    ours = {("a", "cross"): [shadow.Liquidation(1, 3 * SECOND, 4 * SECOND)]}
    told = shadow.compared(ours, {("a", "cross"): found}, 60 * SECOND)
    assert told["both"][0]["lead_ms"] == -3000
    assert [row["time"] for row in told["only_theirs"]] == [200 * SECOND]
    assert told["only_theirs"][0]["group_of_both"]
    assert shadow.differences(told) == 0
    assert shadow.differences(shadow.compared({}, theirs.found(), 60 * SECOND)) == 1
