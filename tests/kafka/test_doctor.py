"""Doctor on a real broker: sound, and with each fault that it is to find."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError

from consumers import doctor, rules
from consumers.doctor import Finding
from producers import topics
from tests.broker import Broker, acls
from tests.broker.acls import Right
from tests.kafka.plant import Plant
from tests.services import free_port
from tests.test_cli import RULES, cli


def of(found: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in found if finding.check == check]


@pytest.fixture
async def plant(broker: Broker, tmp_path: Path) -> AsyncIterator[Plant]:
    async with Plant(broker.bootstrap, tmp_path, 2, clock="wall") as made:
        yield made


async def until_told(plant: Plant) -> None:
    """Wait until the broker tells of both faults, in every one of its answers."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(UnknownTopicOrPartitionError):
                told = " ".join(await topics.check(plant.client, plant.topics))
                if "does not exist" in told and "cleanup.policy" in told:
                    return
            await asyncio.sleep(0.1)


def test_versions_are_compared_as_numbers() -> None:
    assert doctor.within("0.14.0", ">=0.14,<0.15")
    assert not doctor.within("0.9", ">=0.14")
    assert not doctor.within("0.15", "<0.15,>=0.14")
    assert doctor.within("3.11.2", ">=3.11")
    assert doctor.within("1.0rc1", "==1.0")
    assert doctor._parts('aiokafka[lz4]<0.15,>=0.14; extra == "dev"') == (
        "aiokafka",
        "<0.15,>=0.14",
        ' extra == "dev"',
    )


async def test_every_fault_of_the_file_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "liquidator.toml"
    path.write_text('[kafka]\ngroup = ""\n[http]\nport = -1\n')
    found = of(await doctor.examine(path), "config")
    assert [(item.status, item.said.split(": ")[1]) for item in found] == [
        ("fail", "kafka.group"),
        ("fail", "http.port"),
    ]


@pytest.mark.kafka
async def test_a_sound_venue_passes_and_is_not_disturbed(plant: Plant) -> None:
    await plant.put([(None, event) for event in rules.events(rules.read(RULES), 1_000)])
    process = await plant.start()
    await process.until_joined()
    told = json.loads(await cli("doctor", "--config", process.config, "--json"))
    assert told["ok"]
    assert {item["status"] for item in told["checks"]} == {"ok"}, told
    checks = [item["check"].split()[0] for item in told["checks"]]
    expected = ["python", "libraries", "config", "broker", "topics", "copies", "rights", "clock"]
    assert checks == [*expected, "rules"]
    assert await process.reasons() == []
    assert await plant.decisions() == [[], []]
    assert await process.terminate() == 0
    assert process.log.read_text().count('"fenced"') == 0
    assert await cli("doctor", "--config", process.config) != ""


@pytest.mark.kafka
async def test_each_fault_is_named_with_its_remedy(plant: Plant) -> None:
    config = plant.config(brokers=[plant.client["bootstrap_servers"], f"127.0.0.1:{free_port()}"])
    admin = AIOKafkaAdminClient(**plant.client)
    await admin.start()
    await admin.delete_topics([plant.topics.dead_letters])
    wrong = {"cleanup.policy": "delete"}
    resource = ConfigResource(ConfigResourceType.TOPIC, plant.topics.engine_state, wrong)
    await admin.alter_configs([resource])
    await admin.close()
    await until_told(plant)
    found = await doctor.examine(config, clock=lambda: time.time() - 3)
    alive, dead = (item for item in found if item.check.startswith("broker "))
    assert (alive.status, dead.status) == ("ok", "fail")
    assert "does not answer" in dead.said
    said = [item.said for item in of(found, "topics")]
    assert f"topic {plant.topics.dead_letters}: does not exist" in said
    assert f"topic {plant.topics.engine_state}: cleanup.policy is delete, needs compact" in said
    (clock,) = of(found, "clock")
    assert clock.status == "warn"
    assert float(clock.said.split()[3]) == pytest.approx(3, abs=0.2)
    assert "behind the broker's" in clock.said
    (in_force,) = of(found, "rules")
    assert in_force.status == "fail"
    assert "liquidator rules publish" in in_force.remedy
    assert [item.status for item in of(found, "rights")] == ["ok"]
    assert all(item.remedy for item in found if item.status != "ok")
    ahead = await doctor.examine(config, clock=lambda: time.time() + 100)
    assert [(item.status, "ahead of" in item.said) for item in of(ahead, "clock")] == [
        ("fail", True)
    ]
    assert "→ liquidator topics create" in await cli("doctor", "--config", config, code=1)


ROOT = Path(__file__).parents[2]

SECURED = {
    "listener.security.protocol.map": (
        "PLAINTEXT:PLAINTEXT,EXTRA:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:root",
    "listener.name.extra.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.extra.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_root="sesame" user_nobody="sesame" user_some="sesame" user_all="sesame";'
    ),
}


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Broker]:
    """A broker whose second listener asks who one is, and allows only what is allowed."""
    if reason := Broker.missing():
        pytest.skip(reason)
    port = free_port()
    made = Broker(tmp_path / "broker", extra_listener=port, settings=SECURED)
    made.extra_port = port
    with made:
        yield made


def rights_of(plant: Plant, user: str) -> list[Right]:
    """Return what a user is allowed: "all" what a daemon needs, "some" a part of it."""
    prefix, names = plant.prefix, plant.topics
    seen = [Right(it, "topic", prefix) for it in ("Describe", "DescribeConfigs")]
    if user == "all":
        used = [Right(it, "topic", prefix) for it in ("Read", "Write")]
        owned = [Right("Read", "group", prefix), Right("Write", "transactional id", prefix)]
        return [*seen, *used, *owned, Right("Describe", "transactional id", prefix)]
    read = (names.prices, names.control, names.engine_state, names.account_risk)
    written = (names.risk_events, names.dead_letters, names.journal, names.account_risk)
    return [
        *seen,
        *(Right("Read", "topic", name) for name in read),
        *(Right("Write", "topic", name) for name in (*written, names.engine_state)),
        Right("Write", "transactional id", prefix),
        Right("Describe", "transactional id", prefix),
    ]


@pytest.mark.kafka
async def test_what_is_denied_is_named(
    secured: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIQUIDATOR_PASSWORD", "sesame")
    async with Plant(secured.bootstrap, tmp_path, 1) as plant:
        path = plant.config(brokers=[f"127.0.0.1:{secured.extra_listener}"])
        rules = tmp_path / "rules.toml"
        rules.write_text((ROOT / "deploy" / "rules.toml").read_text())
        plain, names = f'rules.file = "{rules}"\n{path.read_text()}', plant.topics
        denied = {
            "root": [],
            "all": [],
            "some": [
                f"Read on topic {names.positions}: denied",
                f"Read on topic {names.journal}: denied",
                f"Write on topic {names.liquidation_orders}: denied",
                f"Write on topic {names.control}: denied",
                f"Read on group {plant.prefix}group-doctor: denied",
            ],
            "nobody": [f"Describe on topic {name}: denied" for name in names],
        }
        for user in ("all", "some"):
            await acls.allow(secured.port, user, rights_of(plant, user))
        for user, expected in denied.items():
            login = f'username = "{user}"\npassword_env = "LIQUIDATOR_PASSWORD"'
            sasl = f'[kafka.sasl]\nmechanism = "PLAIN"\n{login}\n'
            path.write_text(plain.replace("[shards]", f"{sasl}[shards]"))
            found = of(await doctor.examine(path), "rights")
            wrong = [item.said for item in found if item.status == "fail"]
            assert [": ".join(said.split(": ")[:2]) for said in wrong] == expected, user
        monkeypatch.setenv("LIQUIDATOR_PASSWORD", "wrong")
        found = await doctor.examine(path)
        assert found[-1].status == "fail"
        assert "Authentication" in found[-1].said
