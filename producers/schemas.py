"""JSON Schemas (2020-12) of everything on the topics, made from the types that read and write it.

A schema says what `wire` does, and in two things less: `wire` also reads decimals with an exponent,
blanks or underscores, which a schema does not name, and counts the digits of JSON numbers, which
no schema can.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from engine import decisions as d
from engine import events as e
from engine.watch import STANDINGS
from engine.wire import DIGITS_MAX, TEXT_MAX, WHOLE_MAX
from producers.account_risk import AccountRisk
from producers.kafka import CLOCK, ORDERS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SIGNIFICANT = rf"(?=[0.]*(?:[0-9]\.?){{0,{DIGITS_MAX}}}$)"
"""Looks ahead for no more digits than are read, zeros at the front not counted."""

BEYOND = 10**DIGITS_MAX

PLAIN = rf"[0-9]+(?:\.[0-9]{{1,{DIGITS_MAX}}})?$"

READ = {
    "Decimal": {
        "description": "An exact decimal: a string without an exponent, or a JSON number, read as "
        f"exactly the digits it has; at most {DIGITS_MAX} digits.",
        "anyOf": [
            {"type": "string", "pattern": rf"^[+-]?{SIGNIFICANT}{PLAIN}"},
            {"type": "number", "exclusiveMinimum": -BEYOND, "exclusiveMaximum": BEYOND},
        ],
    },
    "PositiveDecimal": {
        "description": "An exact decimal above 0, written as any other.",
        "anyOf": [
            {"type": "string", "pattern": rf"^\+?(?=[0.]*[1-9]){SIGNIFICANT}{PLAIN}"},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": BEYOND},
        ],
    },
}
"""The decimals of what is read."""

WRITTEN = {
    "Decimal": {
        "description": "An exact decimal, without an exponent.",
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]+)?$",
    }
}
"""The decimals of what is written."""

FIELDS = {
    "time": "Microseconds since 1970, UTC.",
    "expires": "Microseconds since 1970, UTC.",
    "version": "The version of this schema.",
    "account": "The account's id; the key of the record.",
    "sequence": "Grows by one: counted by account, by source and symbol, or as the event says.",
    "margin": "The margin group: cross, or isolated:SYMBOL.",
    "shard": "The number of a shard, which is its partition.",
    "seq": "The number of the event that caused this, of those that the shard was given.",
    "index": "Counts the decisions of one event from 0.",
}
"""What fields mean that many events and decisions have: records with a time."""

BAND = (
    "The band of the margin ratio by its bounds, which are the daemon's: below_1, 1_to_1.05, …, "
    "above_2 unless it says otherwise; none where nothing is required, unpriced."
)

CAUSE = {
    "topic": ("The topic of the record that caused this, or clock.", None),
    "partition": ("Its partition; not with clock.", "^[0-9]+$"),
    "offset": ("Its offset; not with clock.", "^[0-9]+$"),
}
"""The headers of what is decided, and what a value of each looks like."""


def schemas() -> dict[str, Schema]:
    """Return every schema by name; one refers to another as NAME.json."""
    line: Schema = {
        "$schema": DIALECT,
        "title": "event-log line",
        "description": "A line of an event log (`liquidator export`, `replay`): an event, and the "
        "shard that it was given to, null for every shard.",
        "type": "object",
        "properties": {
            "shard": {"type": ["integer", "null"], "minimum": 0},
            "event": {"$ref": "event.json"},
        },
        "required": ["shard", "event"],
        "additionalProperties": False,
    }
    topics = ("prices", "positions", "control")
    return {
        "prices": _read("prices", "What prices sources tell.", get_args(e.PriceEvent)),
        "positions": _read("positions", "What happens to accounts.", get_args(e.PositionEvent)),
        "control": _read(
            "control", "Rules and what is true of the whole venue.", get_args(e.ControlEvent)
        ),
        "event": {
            "$schema": DIALECT,
            "title": "event",
            "description": "Any event: what an entry of the journal holds, line by line.",
            "oneOf": [{"$ref": f"{topic}.json"} for topic in topics],
        },
        "event-log-line": line,
        "liquidation-orders": _written("liquidation-orders", "What a venue carries out.", ORDERS),
        "risk-events": _written(
            "risk-events", "Everything that is decided.", get_args(d.AnyDecision)
        ),
        "account-risk": _account_risk(),
        "decision-headers": _headers("decision-headers", CAUSE, ["topic"]),
        "dead-letter-headers": _headers(
            "dead-letter-headers",
            {**CAUSE, "reason": ("Which rule was broken, and how.", None)},
            ["topic", "partition", "offset", "reason"],
        ),
    }


def written(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _read(name: str, description: str, kinds: Sequence[type]) -> Schema:
    """Return the schema of events, one of them."""
    schema = _of(name, description, kinds, _Reader())
    for kind in schema["$defs"].values():
        if "version" in kind.get("properties", {}):
            kind["properties"]["version"] = {
                "description": FIELDS["version"],
                "const": e.SCHEMA_VERSION,
                "default": e.SCHEMA_VERSION,
            }
    if price := schema["$defs"].get("PriceUpdate"):
        price["properties"]["price"] = {"$ref": "#/$defs/PositiveDecimal"}
    return used(schema)


def _written(name: str, description: str, kinds: Sequence[type]) -> Schema:
    """Return the schema of decisions, one of them, whose every field is always there."""
    schema = _of(name, description, kinds, _Reader(read=False))
    for kind in schema["$defs"].values():
        if "properties" in kind:
            kind["required"] = list(kind["properties"])
    return used(schema)


def _account_risk() -> Schema:
    """Return the schema of what is told of accounts, whose every field is always there."""
    schema = _of("account-risk", "How near an account is.", [AccountRisk], _Reader(read=False))
    for kind in schema["$defs"].values():
        if "properties" in kind:
            kind["required"] = list(kind["properties"])
    record = schema["$defs"].pop("AccountRisk")
    group = schema["$defs"]["GroupRisk"]["properties"]
    group["state"] = {"enum": list(STANDINGS), "description": "What the group is counted as."}
    for of in (group, record["properties"]):
        of["band"] = {"type": "string", "description": BAND}
    return {"$schema": DIALECT, **record, "title": "account-risk", "$defs": schema["$defs"]}


def _of(name: str, description: str, kinds: Sequence[type], reader: _Reader) -> Schema:
    _, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "title": name,
        "description": description,
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
        "$defs": {**reader.decimals, **{key: reader.told(it) for key, it in components.items()}},
    }


def used(schema: Schema) -> Schema:
    """Leave out definitions that nothing leads to."""
    kinds, kept = schema["$defs"], {}
    left: list[Any] = [{key: part for key, part in schema.items() if key != "$defs"}]
    while left:
        text = json.dumps(left.pop())
        for key in re.findall(r'"#/\$defs/([^"]+)"', text):
            if key not in kept:
                kept[key] = kinds[key]
                left.append(kinds[key])
    return {**schema, "$defs": dict(sorted(kept.items()))}


def _headers(
    name: str, headers: Mapping[str, tuple[str, str | None]], required: list[str]
) -> Schema:
    properties: dict[str, Schema] = {}
    for header, (said, pattern) in headers.items():
        properties[header] = {"type": "string", "description": said}
        if pattern is not None:
            properties[header]["pattern"] = pattern
    return {
        "$schema": DIALECT,
        "title": name,
        "description": f"Headers of a record, each a text in UTF-8; {CLOCK} is no topic.",
        "type": "object",
        "properties": properties,
        "required": required,
    }


class _Reader:
    """Says of msgspec's schemas what `wire` demands besides, of what is read or written."""

    def __init__(self, *, read: bool = True) -> None:
        self.decimals: dict[str, Schema] = READ if read else WRITTEN
        self._read = read

    def told(self, schema: Schema) -> Schema:
        """Return a schema in full."""
        found = {key: value for key, value in schema.items() if key != "discriminator"}
        if "discriminator" in schema:
            found["oneOf"] = found.pop("anyOf")
        if "description" in found:
            found["description"] = _flowing(found["description"])
        for key in ("anyOf", "oneOf", "prefixItems"):
            if key in found:
                found[key] = [self.told(part) for part in found[key]]
        if isinstance(found.get("items"), dict):
            found["items"] = self.told(found["items"])
        if isinstance(found.get("additionalProperties"), dict):
            found["additionalProperties"] = self.told(found["additionalProperties"])
            if self._read:
                found["propertyNames"] = {"maxLength": TEXT_MAX}
        if "properties" in found:
            items = found["properties"].items()
            said = FIELDS if "time" in found["properties"] else {}
            found["properties"] = {
                name: {**_described(said.get(name)), **self.told(part)} for name, part in items
            }
        return self._value(found)

    def _value(self, found: Schema) -> Schema:
        """Return the schema of a value: which numbers and texts are taken."""
        if not self._read:
            found.pop("default", None)
        if found.get("format") == "decimal":
            rest = {key: it for key, it in found.items() if key not in ("type", "format")}
            return {"$ref": "#/$defs/Decimal", **rest}
        if found.get("type") == "integer" and self._read:
            found |= {"minimum": 0, "maximum": WHOLE_MAX - 1}
        if found.get("type") == "string" and self._read:
            found["maxLength"] = TEXT_MAX
        if len(found.get("enum", ())) == 1:
            found["const"] = found.pop("enum")[0]
        return found


def _described(description: str | None) -> Schema:
    return {} if description is None else {"description": description}


def _flowing(text: str) -> str:
    """Return a docstring as paragraphs of one line each."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))
