"""The contracts say what is read and written: neither more, nor less."""

from __future__ import annotations

import copy
import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from consumers.cli import main
from consumers.market import Scene
from consumers.replay import decide
from engine import decisions as d
from engine import events as e
from engine import wire
from engine.core import Engine
from producers import asyncapi_mqtt, contracts, kafka, mqtt, topics
from producers.kafka import Cause, DeadLetter, Output
from producers.view import look
from tests.commands import said
from tests.contract_schemas import CONTRACTS, faults, schema
from tests.histories import History
from tests.kafka.day import play

TOPIC_OF = {
    kind.__name__: topic
    for topic, union in (
        ("prices", e.PriceEvent),
        ("positions", e.PositionEvent),
        ("control", e.ControlEvent),
    )
    for kind in get_args(union)
}
SEEDS = (2, 11, 3)
"""Histories that together tell of nearly everything there is."""
CRASH = Scene(accounts=120, symbols=3, start_minute=12 * 60 + 55, end_minute=13 * 60 + 1)


@cache
def told() -> tuple[list[e.AnyEvent], list[d.AnyDecision]]:
    """Return the events and decisions of some histories."""
    events: list[e.AnyEvent] = []
    decisions: list[d.AnyDecision] = []
    for seed in SEEDS:
        for event, decided in History(seed):
            events.append(event)
            decisions += decided
    return events, decisions


@cache
def examples() -> dict[str, bytes]:
    """Return the longest event of each type, as it is written."""
    found: dict[str, bytes] = {}
    given_up = e.WrittenOff(
        time=1, shard=0, asset="USDT", market="BTC", amount=Decimal(1), sequence=1
    )
    for event in (*told()[0], e.TimePassed(time=1), given_up):
        raw, kind = wire.write_event(event), type(event).__name__
        found[kind] = max(found.get(kind, b""), raw, key=len)
    return dict(sorted(found.items()))


def test_what_is_committed_is_what_is_made() -> None:
    made = contracts.texts()
    here = {str(path.relative_to(CONTRACTS)) for path in CONTRACTS.rglob("*") if path.is_file()}
    command = "run `liquidator contracts write docs/contracts`"
    assert here - {"README.md"} == set(made), command
    for name, text in made.items():
        assert (CONTRACTS / name).read_text() == text, f"{name}: {command}"


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONTRACTS / "schemas").iterdir())])
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    for kind in schema(name).get("$defs", {}).values():
        assert kind.get("description"), kind


@pytest.mark.slow
def test_every_event_of_histories_is_as_its_schema_says() -> None:
    for event in told()[0]:
        kind, raw = type(event).__name__, wire.write_event(event)
        # A profile is large, and there are many.
        if kind != "ProfileChanged" or raw == examples()[kind]:
            assert faults(TOPIC_OF[kind], raw, kind) == []
    assert set(examples()) == set(TOPIC_OF)


@pytest.mark.parametrize("kind", TOPIC_OF)
def test_an_event_belongs_on_one_topic(kind: str) -> None:
    raw = examples()[kind]
    for topic in ("prices", "positions", "control"):
        assert (faults(topic, raw) == []) == (topic == TOPIC_OF[kind])
    line = b'{"shard":null,"event":%b}' % raw
    assert faults("event", raw) == faults("event-log-line", line) == []
    assert faults("event-log-line", b'{"shard":-1,"event":%b}' % raw)


def test_every_decision_of_histories_and_a_crash_is_as_its_schema_says() -> None:
    written = [wire.write_decision(decision) for decision in told()[1]]
    written += [raw for of_shard in play(CRASH).decisions for raw in of_shard]
    seen: dict[str, bytes] = {}
    for raw in written:
        kind = json.loads(raw)["type"]
        if kind not in seen or len(raw) > len(seen[kind]):
            seen[kind] = raw
            assert faults("risk-events", raw, kind) == []
    orders = {kind.__name__ for kind in kafka.ORDERS}
    for kind, raw in seen.items():
        assert faults("risk-events", raw) == []
        assert (faults("liquidation-orders", raw) == []) == (kind in orders)
    unseen = {kind.__name__ for kind in get_args(d.AnyDecision)} - set(seen)
    assert len(unseen) <= 4, unseen


def test_headers_are_as_their_schemas_say() -> None:
    cause = Cause("positions", 3, 17)
    call = next(decision for decision in told()[1] if isinstance(decision, d.MarginCall))
    output = Output(
        decisions=[(call, cause), (call, Cause(kafka.CLOCK))],
        dead_letters=[DeadLetter(cause, b"alice", b"{", "json: damaged")],
    )
    names = topics.named()
    written = kafka.records(names, output)
    for topic, file in ((names.risk_events, "decision"), (names.dead_letters, "dead-letter")):
        for record in written[topic]:
            headers = {key: value.decode() for key, value in record.headers}
            assert faults(f"{file}-headers", json.dumps(headers).encode()) == []
    assert faults("dead-letter-headers", b'{"topic":"positions","partition":"x"}')


VALUES: tuple[Any, ...] = (
    None,
    True,
    "",
    "x",
    "x" * wire.TEXT_MAX,
    "x" * (wire.TEXT_MAX + 1),
    0,
    -1,
    2**53 - 1,
    2**53,
    1.5,
    10**30,
    "1.5",
    "-0.001",
    "+2",
    "0",
    "-1",
    "0.000",
    "NaN",
    "Infinity",
    "12,5",
    "0x1",
    "9" * 30,
    "9" * 31,
    "0." + "0" * 29 + "1",
    "0." + "0" * 30 + "1",
    "1." + "5" * 29,
    "1." + "5" * 30,
    "000" + "9" * 30,
    [],
    {},
    [1],
    {"x": "1"},
    {"x" * (wire.TEXT_MAX + 1): "1"},
    "cross",
    "mark",
    2,
)
"""What a field may say where a schema can tell what `wire` would: decimals in plain notation,
whole numbers without a point."""


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value of a tree."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else ()
    items = enumerate(tree) if isinstance(tree, list) else items
    for key, value in items:
        found += _places(value, (*path, key))
    return found


@given(data=st.data())
@settings(max_examples=150)
def test_a_schema_refuses_what_is_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(examples())))
    tree = copy.deepcopy(json.loads(examples()[kind]))
    *way, last = data.draw(st.sampled_from(_places(tree)))
    at = tree
    for key in way:
        at = at[key]
    act = data.draw(st.sampled_from(["put", "put", "put", "drop", "add"]))
    if act == "put":
        at[last] = data.draw(st.sampled_from(VALUES))
    elif act == "drop":
        del at[last]
    elif isinstance(at, dict):
        at["unknown"] = data.draw(st.sampled_from(VALUES))
    raw = json.dumps(tree).encode()
    try:
        wire.read_event(raw, TOPIC_OF[kind])
        refused = ""
    except wire.WireError as error:
        refused = str(error)
    assert bool(faults(TOPIC_OF[kind], raw)) == bool(refused), (refused, raw[:2000])


@pytest.mark.parametrize("number", ['"1e3"', '" 1 "', '"1_0"', '".5"', '"5."'])
def test_what_a_schema_does_not_name_is_read_all_the_same(number: str) -> None:
    raw = _deposit(number)
    wire.read_event(raw, "positions")
    assert faults("positions", raw)


@pytest.mark.parametrize("number", ["1." + "5" * 30, "1e-31"])
def test_what_no_schema_can_say_is_refused_all_the_same(number: str) -> None:
    raw = _deposit(number)
    assert faults("positions", raw) == []
    with pytest.raises(wire.WireError, match="digits"):
        wire.read_event(raw, "positions")


def _deposit(number: str) -> bytes:
    rest = '"type":"Deposit","time":1,"account":"a","sequence":1,"asset":"USDT"'
    return f'{{{rest},"amount":{number}}}'.encode()


def test_the_document_holds_together() -> None:
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text())
    for reference in _references(document):
        file, _, pointer = reference.partition("#")
        target = document if not file else json.loads((CONTRACTS / file).read_text())
        for key in filter(None, pointer.split("/")):
            target = target[key]
    channels = document["channels"]
    over_kafka = [*topics.named(), topics.bridge_dead_letters().name]
    over_mqtt = ["status", "state", "alerts"]
    assert [it["address"] for it in channels.values()][: len(over_kafka)] == over_kafka
    assert [name for name in channels if name.startswith("mqtt_")] == [
        f"mqtt_{name}" for name in over_mqtt
    ]
    assert len(channels) == len(over_kafka) + len(over_mqtt)
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"].rpartition("/")[2]
        said = {message["$ref"].rpartition("/")[2] for message in operation["messages"]}
        assert said == set(channels[channel]["messages"])
    sent = [it for it in document["operations"].values() if it["action"] == "send"]
    assert len(sent) == len(channels) - 3


def test_what_goes_out_over_mqtt_is_as_the_document_says() -> None:
    engine = Engine(shard=0)
    for event, _ in History(SEEDS[0]):
        decide(engine, event)
    state = json.loads(json.dumps({"shard": 0, "instance": "a", **mqtt._standing(look(engine))}))
    assert state["fund"]
    assert not list(Draft202012Validator(asyncapi_mqtt.STATE).iter_errors(state))
    alerts = [one for one in told()[1] if isinstance(one, mqtt.ALERTS)]
    assert {type(one).__name__ for one in alerts} >= {"Anomaly", "BadDebt", "LossShared"}
    validator = Draft202012Validator(asyncapi_mqtt.ALERT)
    for one in alerts:
        for cause in (Cause("prices", 0, 7), Cause(kafka.CLOCK)):
            assert not list(validator.iter_errors(json.loads(mqtt._alert(one, cause))))


def test_topics_are_kept_as_they_are_created() -> None:
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text())
    for layout in topics.layouts(topics.named(), 2):
        channel = document["channels"][layout.name.replace("-", "_")]
        kept = channel["bindings"]["kafka"]["topicConfiguration"]
        assert set(kept) == set(layout.settings)
        for name, value in layout.settings.items():
            assert kept[name] == ([value] if name == "cleanup.policy" else int(value))


def _references(tree: Any) -> list[str]:
    if isinstance(tree, list):
        return [reference for part in tree for reference in _references(part)]
    if not isinstance(tree, dict):
        return []
    own = [tree["$ref"]] if "$ref" in tree else []
    return own + [reference for part in tree.values() for reference in _references(part)]


def test_the_commands(tmp_path: Path) -> None:
    assert said("contracts", "show").splitlines() == list(contracts.texts())
    for name in ("positions", "Fill"):
        shown = CliRunner().invoke(main, ["contracts", "show", name]).stdout
        assert json.loads(shown)["title"] == name
    wrong = said("contracts", "show", "Fil", code=1)
    assert re.search(r"contract Fil: there is none; did you mean Fill\?", wrong)
    said("contracts", "write", tmp_path / "new" / "place")
    for name, text in contracts.texts().items():
        assert (tmp_path / "new" / "place" / name).read_text() == text


def test_a_type_brings_what_it_needs() -> None:
    raw = examples()["PositionSnapshot"]
    alone = json.loads(contracts.text_of("PositionSnapshot") or "")
    assert Draft202012Validator(alone).is_valid(json.loads(raw))
    assert set(alone["$defs"]) == {"Decimal", "GroupSnapshot", "LegSnapshot"}
