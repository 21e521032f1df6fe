"""The AsyncAPI document: which topics there are, who writes what on them, and how they are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

from engine import decisions as d
from engine import events as e
from producers import asyncapi_mqtt, schemas
from producers.kafka import ORDERS
from producers.schemas import Schema
from producers.topics import Layout, bridge_dead_letters, layouts, named

FORMAT = "application/schema+json;version=draft-2020-12"
BINDING = "0.5.0"
DESCRIPTION = """\
A risk daemon for venues that lend against collateral or run margined derivatives: it reads price
and position events, decides who must be liquidated, how much and at what limit, and who pays.

Topics that shards write have as many partitions as `positions`; shard p writes partition p of each.
What a shard writes at once (decisions, dead letters, state, offsets, journal) is one Kafka
transaction: readers must be `read_committed`. `topic_prefix` in the daemon's file is put before
every address.

Prices may also come by MQTT: see docs/bridge.md. The topic heartbeat is for `liquidator doctor`
alone.
"""


class Side(NamedTuple):
    """One topic as the daemon sees it; `kinds` are the messages, by name of their type."""

    field: str
    action: str
    summary: str
    key: str
    kinds: tuple[str, ...]
    partitions: str = "as positions"


def _names(union: Any) -> tuple[str, ...]:
    return tuple(kind.__name__ for kind in get_args(union))


ACCOUNT_KEY = "The account's id, UTF-8; murmur2 of it chooses the partition, as Java's client does."

SIDES = (
    Side("prices", "receive", "Prices of instruments and assets.",
         "Of no matter; the symbol keeps a symbol's prices in order.", _names(e.PriceEvent), "any"),
    Side("positions", "receive", "What happens to accounts.", ACCOUNT_KEY,
         _names(e.PositionEvent), "one a shard"),
    Side("control", "receive", "Rules, and what is true of the whole venue.", "None.",
         _names(e.ControlEvent), "1"),
    Side("liquidation_orders", "send", "Decisions that a venue carries out.",
         "The account's id, where there is one.", tuple(kind.__name__ for kind in ORDERS)),
    Side("risk_events", "send", "Every decision, orders included.",
         "The account's id, where there is one.", _names(d.AnyDecision)),
    Side("dead_letters", "send", "Records that were refused, as they came, and why.",
         "The record's own key.", ("DeadLetter",)),
    Side("journal", "send", "Every event given to the engine, in its order: many to a record.",
         "None.", ("JournalEntry",)),
    Side("engine_state", "send", "The whole state, by key: private to the daemon.",
         "What the record is of, such as account/ID.", ("StateRecord",)),
    Side("account_risk", "send", "How near each account is to liquidation, the last by key.",
         "The account's id.", ("AccountRisk",)),
    Side("bridge_dead_letters", "send", "What `liquidator bridge` could not read, as it came.",
         "The MQTT topic.", ("BridgeDeadLetter",), "1"),
)  # fmt: skip


def document() -> Schema:
    """Return the AsyncAPI 3.0 document; schemas are beside it, in schemas/."""
    kept = {one.name.replace("-", "_"): one for one in layouts(named(), 1)}
    kept["bridge_dead_letters"] = bridge_dead_letters()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "liquidator",
            "version": str(e.SCHEMA_VERSION),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{broker}",
                "protocol": "kafka",
                "description": "The brokers of the venue, 4.0 or later.",
                "variables": {"broker": {"default": "127.0.0.1:9092"}},
            },
            "mqtt": asyncapi_mqtt.SERVER,
        },
        "channels": {side.field: _channel(side, kept[side.field]) for side in SIDES}
        | asyncapi_mqtt.channels(),
        "operations": {f"{side.action}_{side.field}": _operation(side) for side in SIDES}
        | asyncapi_mqtt.operations(),
        "components": {"messages": dict(sorted((_messages() | asyncapi_mqtt.messages()).items()))},
    }


def _channel(side: Side, layout: Layout) -> Schema:
    binding: Schema = {"topicConfiguration": _configuration(layout), "bindingVersion": BINDING}
    if side.partitions.isdigit():
        binding["partitions"] = int(side.partitions)
    messages = {kind: {"$ref": f"#/components/messages/{kind}"} for kind in side.kinds}
    return {
        "address": layout.name,
        "title": layout.name,
        "summary": side.summary,
        "description": f"Partitions: {side.partitions}. Key: {side.key}",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": messages,
        "bindings": {"kafka": binding},
    }


def _configuration(layout: Layout) -> Schema:
    """Return the settings of a topic as a binding names them."""
    found: Schema = {}
    for name, value in layout.settings.items():
        found[name] = value.split(",") if name == "cleanup.policy" else int(value)
    return found


def _operation(side: Side) -> Schema:
    at = f"#/channels/{side.field}"
    return {
        "action": side.action,
        "channel": {"$ref": at},
        "summary": side.summary,
        "messages": [{"$ref": f"{at}/messages/{kind}"} for kind in side.kinds],
    }


def _messages() -> dict[str, Schema]:
    """Return every message by name of its type."""
    found = {
        "DeadLetter": _message(
            "A record that was not applied.", "The record's own key.", headers="dead-letter-headers"
        )
        | {"contentType": "application/octet-stream", "payload": {}},
        "BridgeDeadLetter": _message(
            "A message that names no price, with the headers mqtt-topic, bytes, source and reason.",
            "The MQTT topic.",
        )
        | {"contentType": "application/octet-stream", "payload": {}},
        "JournalEntry": _message(
            "Events, one JSON object a line (schemas/event.json), packed by Zstandard.", "None."
        )
        | {"contentType": "application/zstd", "payload": {}},
        "AccountRisk": _message(
            "An account when a margin group changed its band or state; no value: it is closed.",
            "The account's id.",
            "account-risk.json",
        ),
        "StateRecord": _message(
            "A record of state, or none where it was deleted; of no fixed form.", "Its name."
        )
        | {"payload": {}},
    }
    for side in SIDES[:3]:
        found |= _of_kinds(side, side.kinds)
    # An order is the same message on both topics.
    found |= _of_kinds(SIDES[4], SIDES[4].kinds, headers="decision-headers")
    return found


def _of_kinds(side: Side, kinds: Iterable[str], headers: str | None = None) -> dict[str, Schema]:
    file = side.field.replace("_", "-")
    told = schemas.schemas()[file]["$defs"]
    return {
        kind: _message(
            told[kind]["description"],
            side.key if "account" in told[kind]["properties"] else "None.",
            f"{file}.json#/$defs/{kind}",
            headers,
        )
        | {"name": kind, "title": kind}
        for kind in kinds
    }


def _message(
    description: str, key: str, schema: str | None = None, headers: str | None = None
) -> Schema:
    found: Schema = {
        "summary": description.partition("\n\n")[0],
        "bindings": {
            "kafka": {"key": {"type": "string", "description": key}, "bindingVersion": BINDING}
        },
    }
    if schema is not None:
        found["payload"] = _referred(schema)
    if headers is not None:
        found["headers"] = _referred(f"{headers}.json")
    return found


def _referred(schema: str) -> Schema:
    return {"schemaFormat": FORMAT, "schema": {"$ref": f"./schemas/{schema}"}}


def to_yaml(value: Any, indent: str = "") -> str:
    """Return a tree of JSON as YAML: in blocks, every scalar as JSON writes it."""
    if isinstance(value, dict) and value:
        return "".join(
            f"{indent}{_key(key)}:{_nested(item, indent)}" for key, item in value.items()
        )
    if isinstance(value, list) and value:
        return "".join(f"{indent}-{_nested(item, indent)}" for item in value)
    return f"{indent}{json.dumps(value, ensure_ascii=False)}\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]*", key) else json.dumps(key)


def _nested(value: Any, indent: str) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + to_yaml(value, indent + "  ")
    return " " + to_yaml(value)
