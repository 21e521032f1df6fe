"""The part of the AsyncAPI document about MQTT: what the daemon publishes. See docs/bridge.md."""

from __future__ import annotations

from typing import Any

from engine.decisions import Decision
from producers.mqtt import ALERTS, OFFLINE, ONLINE
from producers.schemas import Schema

BINDING = "0.2.0"

_AMOUNT: Schema = {"type": "number", "description": "In the asset, rounded as a gauge shows it."}
_ASSET: Schema = {"type": "string"}


def _table(**properties: Any) -> Schema:
    """Return the schema of an object whose keys are all there."""
    return {"type": "object", "required": list(properties), "properties": properties}


_OF_MARKET = {"type": "array", "items": _table(market=_ASSET, asset=_ASSET, amount=_AMOUNT)}

STATE = _table(
    shard={"type": "integer"},
    instance={"type": "string"},
    time={"type": "integer", "description": "Engine time, µs since 1970."},
    accounts={
        "type": "object",
        "description": "Margin groups by state.",
        "additionalProperties": {"type": "number"},
    },
    bad_debt_outstanding=_OF_MARKET,
    bad_debt_unrealised=_OF_MARKET,
    fund={"type": "array", "items": _table(asset=_ASSET, fund=_ASSET, amount=_AMOUNT)},
    halted={"type": "array", "items": {"type": "string"}},
)

ALERT: Schema = {
    "type": "object",
    "description": "A decision as on risk-events, with the record that it answers.",
    "required": ["type", *Decision.__struct_fields__, "caused_by"],
    "properties": {
        "type": {"enum": [kind.__name__ for kind in ALERTS]},
        "caused_by": {
            "type": "object",
            "required": ["topic"],
            "properties": {
                "topic": {"type": "string"},
                "partition": {"type": "integer"},
                "offset": {"type": "integer"},
            },
        },
    },
}

SERVER: Schema = {
    "host": "{broker}",
    "protocol": "mqtt",
    "protocolVersion": "5",
    "description": "The MQTT broker, where `mqtt.publish` is enabled.",
    "variables": {"broker": {"default": "127.0.0.1:1883"}},
}


def channels() -> dict[str, Schema]:
    """Return what the daemon publishes, under the prefix of `mqtt.publish`."""
    instance = {"instance": {"description": "`mqtt.publish.instance`, or the host's name."}}
    shard = {"shard": {"description": "The partition of `positions`."}}
    kind = {"type": {"description": "The type of the decision."}}
    return {
        "mqtt_status": _channel(
            "liquidator/{instance}/status", instance, "Whether a process is there.", "Status"
        ),
        "mqtt_state": _channel(
            "liquidator/state/{shard}", shard, "How a shard stands, when it changed.", "ShardState"
        ),
        "mqtt_alerts": _channel(
            "liquidator/alerts/{type}", kind, "What somebody should be called for.", "Alert"
        ),
    }


def operations() -> dict[str, Schema]:
    """Return that the daemon sends all of it, and what is retained."""
    return {
        f"send_{name}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": channel["summary"],
            "bindings": {
                "mqtt": {"qos": 1, "retain": name != "mqtt_alerts", "bindingVersion": BINDING}
            },
            "messages": [{"$ref": f"#/channels/{name}/messages/{message}"}],
        }
        for name, channel in channels().items()
        for message in channel["messages"]
    }


def messages() -> dict[str, Schema]:
    """Return every message by name of its type."""
    return {
        "Status": {
            "summary": "Retained; `offline` is the will too.",
            "contentType": "text/plain",
            "payload": {"type": "string", "enum": [ONLINE, OFFLINE]},
        },
        "ShardState": {"summary": "Retained; the last committed state.", "payload": STATE},
        "Alert": {"summary": "A committed decision.", "payload": ALERT},
    }


def _channel(address: str, parameters: Schema, summary: str, message: str) -> Schema:
    return {
        "address": address,
        "summary": summary,
        "servers": [{"$ref": "#/servers/mqtt"}],
        "parameters": parameters,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }
