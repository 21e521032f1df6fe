"""The topics: made as shards need them, and every fault of them named."""

from __future__ import annotations

from typing import get_args

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.decisions import (
    AnyDecision,
    CancelOpenOrders,
    CancelOrder,
    SetOff,
    SupplyDrawn,
    WithdrawalGate,
)
from producers import topics
from producers.kafka import ORDERS
from tests.broker import Broker


def test_outputs_have_as_many_partitions_as_there_are_shards() -> None:
    names = topics.named("x-")
    counts = {layout.name: layout.partitions for layout in topics.layouts(names, 4, 2)}
    assert counts.pop("x-prices") == 2
    assert counts.pop("x-control") == 1
    assert set(counts.values()) == {4}
    assert len(counts) == 7


def test_what_a_venue_carries_out_is_told_to_it() -> None:
    """Whatever expires, is cancelled, is auctioned, moves what a customer has in a pool, or stops
    withdrawals."""
    acts = {
        kind
        for kind in get_args(AnyDecision)
        if {"expires", "auction_id"} & {*kind.__struct_fields__}
    }
    others = {CancelOrder, CancelOpenOrders, SetOff, SupplyDrawn, WithdrawalGate}
    assert acts | others == {*ORDERS}


@pytest.mark.kafka
async def test_what_is_made_is_without_fault(broker: Broker) -> None:
    client = {"bootstrap_servers": broker.bootstrap}
    names = topics.named("made-")
    assert await topics.check(client, names) == [f"topic {name}: does not exist" for name in names]
    made = await topics.create(client, names, 3, price_partitions=2)
    assert sorted(made) == sorted([*names, "made-heartbeat"])
    assert await topics.check(client, names) == []
    assert await topics.create(client, names, 3) == []
    assert (await topics.partitions(client, [names.prices, "nowhere"])) == {names.prices: 2}
    assert await topics.check(client, names, 4) == [
        f"topic {name}: has 3 partitions, needs 4"
        for name in names
        if name not in (names.prices, names.control)
    ]


@pytest.mark.kafka
async def test_every_fault_is_named(broker: Broker) -> None:
    client = {"bootstrap_servers": broker.bootstrap}
    names = topics.named("wrong-")
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    counts = {names.engine_state: 2, names.control: 2, names.journal: 5}
    await admin.create_topics([NewTopic(name, count, 1) for name, count in counts.items()])
    await admin.close()
    await topics.create(client, names, 2)
    assert sorted(await topics.check(client, names)) == [
        "topic wrong-control: has 2 partitions, needs 1",
        "topic wrong-engine-state: cleanup.policy is delete, needs compact",
        "topic wrong-engine-state: max.message.bytes is 1048588, needs 2097152",
        "topic wrong-journal: has 5 partitions, needs 2",
        "topic wrong-journal: max.message.bytes is 1048588, needs 2097152",
    ]
