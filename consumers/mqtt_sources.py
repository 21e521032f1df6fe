"""Make prices of MQTT messages, as sources describe them; nothing here is connected to anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from consumers.mqtt_config import KIND, SYMBOL, Source, Unit
from engine import wire
from engine.events import PriceKind, PriceUpdate
from engine.money import EXACT

AHEAD_MAX = 60_000_000
"""A message's time may be this much after our clock, in microseconds: the daemon's `max_ahead`."""

KINDS = {kind: kind for kind in get_args(PriceKind)}
MICROSECONDS = {
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "ns": Decimal("0.001"),
}
DIGITS_MAX = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# A number keeps exactly the digits that it has.
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Malformed(ValueError):
    """A message is not what its source describes; the text says where."""


class Unwanted(Exception):
    """A message is sound, and of a symbol or a kind that the source does not name."""


class Message(NamedTuple):
    """What the bridge reads of an MQTT message; `came` is microseconds UTC."""

    topic: str
    payload: bytes
    retained: bool
    came: int


Order = Literal["sequence", "time", "arrival"]
"""What tells which of two messages is the newer one."""


class Price(NamedTuple):
    """A price as it was read; its sequence is 0 where the source has none.

    Its time is in microseconds UTC; a message that names none has the time at which it came.
    """

    event: PriceUpdate
    order: Order
    came: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What a newer price of takes this one's place."""
        return self.event.source, self.event.symbol, self.event.kind


class Reader:
    """One source, ready to read: which topics are its, and what their messages say."""

    def __init__(self, source: Source) -> None:
        self.source = source
        levels = source.topic.split("/")
        self.filter = "/".join("+" if level in (SYMBOL, KIND) else level for level in levels)
        self._symbol_at = levels.index(SYMBOL) if SYMBOL in levels else None
        self._kind_at = levels.index(KIND) if KIND in levels else None
        self._levels = levels
        self._order: Order = "sequence" if source.sequence else "time" if source.time else "arrival"

    def matches(self, topic: str) -> bool:
        """Tell whether messages on `topic` are of this source."""
        levels = topic.split("/")
        for number, wanted in enumerate(self._levels):
            if wanted == "#":
                return True
            if number >= len(levels):
                return False
            if wanted not in (SYMBOL, KIND, "+") and wanted != levels[number]:
                return False
        return len(levels) == len(self._levels)

    def read(self, message: Message) -> Price:
        """Return the price in a message.

        Raises `Malformed`, or `Unwanted` for what the source leaves out by name.
        """
        source, body = self.source, self._body(message.payload)
        levels = message.topic.split("/")
        symbol = self._name(levels, self._symbol_at, body, "symbol_path")
        symbol = self._mapped("symbols", symbol, source.symbols)
        kind = source.kind or self._kind(levels, body)
        event = PriceUpdate(
            time=self._time(message, body),
            symbol=symbol,
            kind=kind,
            price=_decimal("price", self._at(body, "price") if source.price else body),
            source=source.name,
            sequence=self._whole(body, "sequence") if source.sequence else 0,
            confidence=(
                _decimal("confidence", self._at(body, "confidence")) if source.confidence else None
            ),
        )
        try:
            # Whatever the daemon would refuse to read must not reach its topic.
            wire.read_event(wire.write_event(event), "prices")
        except wire.WireError as error:
            raise Malformed(f"{error.rule}: {error.detail}") from error
        if event.confidence is not None and event.confidence < 0:
            raise Malformed(f"confidence: {event.confidence} is below 0")
        if event.time > message.came + AHEAD_MAX:
            raise Malformed(f"time: {event.time} µs is ahead of the clock; is time_unit right?")
        return Price(event, self._order, message.came)

    def stale(self, price: Price, message: Message) -> bool:
        """Tell whether a price is too old; a retained one that has no time may be of any age."""
        source = self.source
        if not source.time:
            return message.retained
        return bool(source.max_age) and price.event.time < message.came - source.max_age * 1_000_000

    def _body(self, payload: bytes) -> Any:
        if not self.source.price:
            return payload.decode(errors="replace").strip()
        try:
            return _decoder.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError, ArithmeticError) as error:
            raise Malformed(f"payload: {error}") from error

    def _at(self, body: Any, key: str) -> Any:
        """Return what stands at the path that the source gives for `key`."""
        path: str = getattr(self.source, key)
        for step in path.split("."):
            try:
                body = body[int(step)] if isinstance(body, list) else body[step]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise Malformed(f"{key}: nothing at {path}") from error
        return body

    def _name(self, levels: Sequence[str], place: int | None, body: Any, key: str) -> str:
        found = levels[place] if place is not None else self._at(body, key)
        if not isinstance(found, str) or not found:
            raise Malformed(f"{key}: {_shown(found)} is no name")
        return found

    def _kind(self, levels: Sequence[str], body: Any) -> Any:
        kinds = self.source.kinds or KINDS
        return self._mapped("kinds", self._name(levels, self._kind_at, body, "kind_path"), kinds)

    def _mapped(self, key: str, name: str, names: Any) -> str:
        """Return our name for a name; raises `Unwanted` where names are given and it is not."""
        if not names:
            return name
        if name not in names:
            raise Unwanted(f"{key}: {name} is not named")
        return str(names[name])

    def _time(self, message: Message, body: Any) -> int:
        if not self.source.time:
            return message.came
        return microseconds(self._at(body, "time"), self.source.time_unit)

    def _whole(self, body: Any, key: str) -> int:
        number = _decimal(key, self._at(body, key))
        if number != number.to_integral_value():
            raise Malformed(f"{key}: {number} is not a whole number")
        return int(number)


def microseconds(value: Any, unit: Unit) -> int:
    """Return a time in microseconds UTC, rounded down; raises `Malformed`."""
    if unit != "iso":
        with localcontext(EXACT):
            return int(
                (_decimal("time", value) * MICROSECONDS[unit]).to_integral_value("ROUND_FLOOR")
            )
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Malformed(f"time: {_shown(value)} is not ISO 8601") from error
    if found.tzinfo is None:
        raise Malformed(f"time: {value} names no time zone")
    return (found - _EPOCH) // _MICROSECOND


def _decimal(key: str, value: Any) -> Decimal:
    """Return a number, or the number that a text holds."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise Malformed(f"{key}: {_shown(value)} is no number")
    # The library would also read underscores, spaces, and digits of every script.
    if isinstance(value, str) and not re.fullmatch(rf"[0-9.eE+-]{{1,{DIGITS_MAX}}}", value):
        raise Malformed(f"{key}: {_shown(value)} is no number")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise Malformed(f"{key}: {_shown(value)} is no number") from error
    if not number.is_finite() or number.adjusted() > DIGITS_MAX or number.adjusted() < -DIGITS_MAX:
        raise Malformed(f"{key}: {_shown(value)} is no number")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
