"""Events, decisions and log lines to and from JSON, strictly.

An amount, size or price is a decimal string (a JSON number is read as exactly the digits it has).
What cannot be read is a `WireError` that names the record and the rule; nothing is guessed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, TypeVar

import msgspec

from engine import decisions as d
from engine import events as e
from engine.money import plain

Topic = Literal["prices", "positions", "control"]
T = TypeVar("T")

DIGITS_MAX = 30
"""Longest number that is read, in digits before and after the point."""

HEDGE_MODE = ("position_side", "positionSide")
"""Fields by which venues tell the long and the short leg of one symbol apart."""

TEXT_MAX = 256
"""Longest name, id or reason that is read, in characters: decisions and state repeat them."""

WHOLE_MAX = 2**53
"""Whole numbers below this are read: every JSON reader holds them exactly (as a time, year
2255)."""


class WireError(ValueError):
    """A record that cannot be read; `record` names it as far as it could be, `rule` what it
    broke."""

    def __init__(self, rule: str, detail: str, record: str = "") -> None:
        self.rule = rule
        self.detail = detail
        self.record = record
        super().__init__(f"wire: {record or 'record'}: {rule}: {detail}")


_DECODERS: dict[Topic | None, msgspec.json.Decoder[Any]] = {
    "prices": msgspec.json.Decoder(e.PriceEvent),
    "positions": msgspec.json.Decoder(e.PositionEvent),
    "control": msgspec.json.Decoder(e.ControlEvent),
    None: msgspec.json.Decoder(e.AnyEvent),
}
_DECISIONS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(d.AnyDecision)
_ENCODER = msgspec.json.Encoder()


def read_event(raw: bytes, topic: Topic | None = None) -> e.Event:
    """Return the event in `raw`, one that belongs on `topic` if given; raises `WireError`."""
    try:
        event: e.Event = _DECODERS[topic].decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if any(f"unknown field `{field}`" in str(error) for field in HEDGE_MODE):
            detail = "hedge mode: one net leg a margin group and symbol is all there is"
            raise WireError("hedge_mode", detail, _name(raw)) from None
        raise WireError("json", str(error), _name(raw)) from None
    if type(event) is e.PriceUpdate:
        _check_number("price", event.price, raw)
        if event.price <= 0:
            raise WireError("not_positive", f"price {event.price}", _name(raw))
        if event.confidence is not None:
            _check_number("confidence", event.confidence, raw)
        _check_whole("sequence", event.sequence, raw)
        _check_text("symbol", event.symbol, raw)
        _check_text("source", event.source, raw)
    else:
        _check_values(event, raw)
    _check_whole("time", event.time, raw)
    if event.version != e.SCHEMA_VERSION:
        raise WireError("version", f"{event.version}, this reads {e.SCHEMA_VERSION}", _name(raw))
    return event


def _check_values(value: Any, raw: bytes, name: str = "") -> None:
    if isinstance(value, Decimal):
        _check_number(name, value, raw)
    elif isinstance(value, int):
        _check_whole(name, value, raw)
    elif isinstance(value, str):
        _check_text(name, value, raw)
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            _check_values(getattr(value, field), raw, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(name, str(key), raw)
            _check_values(item, raw, str(key))
    elif isinstance(value, tuple):
        for item in value:
            _check_values(item, raw, name)


def _check_text(name: str, text: str, raw: bytes) -> None:
    if len(text) > TEXT_MAX:
        raise WireError("text", f"{name} has more than {TEXT_MAX} characters", _name(raw))


def _check_whole(name: str, number: int, raw: bytes) -> None:
    if not 0 <= number < WHOLE_MAX:
        raise WireError(name, f"{number} is not in 0..2^53", _name(raw))


def _check_number(name: str, number: Decimal, raw: bytes) -> None:
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise WireError("not_finite", f"{name} {number}", _name(raw))
    if len(digits) > DIGITS_MAX or not -DIGITS_MAX <= exponent <= DIGITS_MAX - len(digits):
        raise WireError("digits", f"{name} has more than {DIGITS_MAX} digits", _name(raw))


def _name(raw: bytes) -> str:
    """Name a record that is refused, as far as its bytes can be made out."""
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "unreadable"
    if not isinstance(fields, dict):
        return "not an object"
    kind, sequence = fields.get("type", "?"), fields.get("sequence", "?")
    subject = fields.get("account") or fields.get("symbol") or fields.get("pool") or "?"
    return f"{kind} {subject}#{sequence}"[:200]


def write_event(event: e.Event) -> bytes:
    """Return an event as one line of JSON."""
    return write(event)


def write_decision(decision: d.Decision) -> bytes:
    """Return a decision as one line of JSON."""
    return write(decision)


def read_decision(raw: bytes) -> d.Decision:
    """Return the decision in `raw`; raises `WireError`."""
    try:
        decision: d.Decision = _DECISIONS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError("json", str(error), _name(raw)) from None
    return decision


def write(value: Any) -> bytes:
    """Return a value as JSON in which every number of money is a plain decimal string."""
    return _ENCODER.encode(_plain(msgspec.to_builtins(value, builtin_types=(Decimal,))))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def read(raw: bytes, kind: type[T]) -> T:
    """Return a value that `write` wrote; raises `WireError`."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError("json", str(error)) from None
