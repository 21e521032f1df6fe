"""What MQTT messages say: topics, payloads, times, and everything that is wrong with them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from consumers.mqtt_config import Source
from consumers.mqtt_slots import NotNewer, Slots
from consumers.mqtt_sources import Malformed, Message, Price, Reader, Unwanted, microseconds
from engine.events import PriceUpdate
from producers import mqtt_line

NOW = 1_700_000_000_000_000


def source(**keys: Any) -> Source:
    """Return a source whose messages are JSON with the price at `p`."""
    given: dict[str, Any] = {"name": "venue", "topic": "venue/{symbol}", "kind": "mark"}
    return Source(**{**given, "price": "p", **keys})


def read(it: Source, payload: str, topic: str = "venue/BTC", *, retained: bool = False) -> Price:
    """Return the price that a message holds."""
    return Reader(it).read(Message(topic, payload.encode(), retained, NOW))


@pytest.mark.parametrize(
    ("template", "topic", "matched"),
    [
        ("venue/{symbol}/mark", "venue/BTC/mark", True),
        ("venue/{symbol}/mark", "venue/BTC/index", False),
        ("venue/{symbol}/mark", "venue/BTC/mark/x", False),
        ("venue/{symbol}/mark", "venue/BTC", False),
        ("+/+/{symbol}", "a/b/BTC", True),
        ("{symbol}/#", "BTC", True),
        ("{symbol}/#", "BTC/a/b", True),
    ],
)
def test_a_template_matches_as_mqtt_does(template: str, topic: str, matched: bool) -> None:
    assert Reader(source(topic=template)).matches(topic) is matched


def test_a_template_is_subscribed_to_with_wildcards() -> None:
    assert Reader(source(topic="v/+/{symbol}/{kind}/#", kind="")).filter == "v/+/+/+/#"


def test_everything_a_payload_may_say_is_read_exactly() -> None:
    it = source(
        topic="v/{kind}",
        symbol_path="data.0.s",
        kind="",
        price="data.0.p",
        time="E",
        time_unit="ms",
        sequence="u",
        confidence="data.0.c",
        symbols={"btcusdt": "BTC-PERP"},
        kinds={"markPrice": "mark"},
    )
    payload = (
        '{"E": 1699999999123, "u": "7", "data": '
        '[{"s": "btcusdt", "p": 0.10000000000000000555111512313, "c": "0.5"}]}'
    )
    assert read(it, payload, "v/markPrice").event == PriceUpdate(
        time=1_699_999_999_123_000,
        symbol="BTC-PERP",
        kind="mark",
        # More digits than a float holds, though not more than an event carries.
        price=Decimal("0.10000000000000000555111512313"),
        source="venue",
        sequence=7,
        confidence=Decimal("0.5"),
    )


def test_a_payload_may_be_the_price_alone() -> None:
    event = read(source(price=""), " 123.450\n").event
    assert (event.symbol, str(event.price), event.time) == ("BTC", "123.450", NOW)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1, "s", 1_000_000),
        (Decimal("1.5"), "s", 1_500_000),
        ("1699999999123", "ms", 1_699_999_999_123_000),
        (17, "us", 17),
        (1_999, "ns", 1),
        ("2023-11-14T22:13:20Z", "iso", 1_700_000_000_000_000),
        ("2023-11-14T23:13:20.000001+01:00", "iso", 1_700_000_000_000_001),
    ],
)
def test_times_of_every_unit(value: Any, unit: Any, expected: int) -> None:
    assert microseconds(value, unit) == expected


@pytest.mark.parametrize(
    ("keys", "payload", "said"),
    [
        ({}, "{", "payload: "),
        ({}, "\xff", "payload: "),
        ({}, "[" * 10_000, "payload: "),
        ({}, '{"q": 1}', "price: nothing at p"),
        ({"price": "a.b"}, '{"a": 1}', "price: nothing at a.b"),
        ({"price": "a.x"}, '{"a": [1]}', "price: nothing at a.x"),
        ({}, '{"p": true}', "price: True is no number"),
        ({}, '{"p": null}', "price: None is no number"),
        ({}, '{"p": "NaN"}', "price: 'NaN' is no number"),
        ({}, '{"p": "1e999999999"}', "price: '1e999999999' is no number"),
        ({}, '{"p": ' + "9" * 400 + "}", "price: "),
        ({}, '{"p": 0}', "not_positive: price 0"),
        ({}, '{"p": -1}', "not_positive: price -1"),
        ({}, '{"p": 1.' + "1" * 30 + "}", "digits: "),
        ({}, '{"p": "1_000"}', "price: '1_000' is no number"),
        ({}, '{"p": " 5 "}', "price: ' 5 ' is no number"),
        ({}, '{"p": "1e"}', "price: '1e' is no number"),
        ({"confidence": "c"}, '{"p": 1, "c": -1}', "confidence: -1 is below 0"),
        ({"price": ""}, "", "price: '' is no number"),
        ({"price": ""}, "\u0661", "price: '\u0661' is no number"),
        ({"time": "t"}, '{"p": 1, "t": "soon"}', "time: 'soon' is no number"),
        ({"time": "t"}, '{"p": 1, "t": -1}', "time: "),
        ({"time": "t"}, '{"p": 1, "t": 1700000000000000}', "time: "),
        ({"time": "t", "time_unit": "us"}, f'{{"p": 1, "t": {NOW + 61_000_000}}}', "is ahead"),
        ({"time": "t", "time_unit": "iso"}, '{"p": 1, "t": 5}', "time: 5 is not ISO 8601"),
        (
            {"time": "t", "time_unit": "iso"},
            '{"p": 1, "t": "2023-11-14T22:13:20"}',
            "names no time zone",
        ),
        ({"sequence": "s"}, '{"p": 1, "s": 1.5}', "sequence: 1.5 is not a whole number"),
        ({"sequence": "s"}, '{"p": 1, "s": -1}', "sequence: "),
        ({"sequence": "s"}, '{"p": 1, "s": 9007199254740992}', "sequence: "),
        ({"symbol_path": "s", "topic": "x"}, '{"p": 1, "s": 5}', "symbol_path: 5 is no name"),
        ({"symbol_path": "s", "topic": "x"}, '{"p": 1, "s": "' + "x" * 300 + '"}', "text: "),
    ],
)
def test_what_is_not_as_described_is_malformed_and_says_where(
    keys: dict[str, Any], payload: str, said: str
) -> None:
    with pytest.raises(Malformed) as raised:
        read(source(**keys), payload)
    assert said in str(raised.value)


def test_names_that_a_source_leaves_out_are_unwanted() -> None:
    with pytest.raises(Unwanted):
        read(source(symbols={"ETH": "ETH-PERP"}), '{"p": 1}')
    with pytest.raises(Unwanted):
        read(source(topic="v/{symbol}/{kind}", kind=""), '{"p": 1}', "v/BTC/funding")


@pytest.mark.parametrize(
    ("keys", "time", "retained", "stale"),
    [
        ({"max_age": 10.0}, NOW - 10_000_000, False, False),
        ({"max_age": 10.0}, NOW - 10_000_001, False, True),
        ({"max_age": 0.0}, 1, True, False),
        ({"time": ""}, 0, False, False),
        # A retained message without a time may be of last year.
        ({"time": ""}, 0, True, True),
    ],
)
def test_a_price_is_stale_by_its_own_time(
    keys: dict[str, Any], time: int, retained: bool, stale: bool
) -> None:
    reader = Reader(source(**{"time": "t", "time_unit": "us", **keys}))
    message = Message("venue/BTC", f'{{"p": 1, "t": {time}}}'.encode(), retained, NOW)
    assert reader.stale(reader.read(message), message) is stale


# --- slots


def price(
    number: int, order: Any = "sequence", kind: Any = "mark", time: int | None = None
) -> Price:
    """Return the price `number` of a source."""
    sequence = number if order == "sequence" else 0
    event = PriceUpdate(
        time=number if time is None else time,
        symbol="BTC",
        kind=kind,
        price=Decimal(number),
        source="venue",
        sequence=sequence,
    )
    return Price(event, order, came=1_000 + number)


def taken(slots: Slots) -> list[tuple[int, int]]:
    """Return price and sequence of what waits."""
    return [(int(it.event.price), it.event.sequence) for it in slots.take()]


def test_the_newest_of_a_key_waits_and_sequences_grow_through_all_kinds() -> None:
    slots = Slots()
    assert slots.offer(price(1)) is None
    assert slots.offer(price(2, kind="index")) is None
    replaced = slots.offer(price(3))
    assert replaced is not None
    assert replaced.event.sequence == 1
    assert taken(slots) == [(2, 2), (3, 3)]
    assert taken(slots) == []


def test_at_or_below_the_last_sequence_nothing_is_newer() -> None:
    slots = Slots()
    slots.offer(price(5))
    for number in (5, 4):
        with pytest.raises(NotNewer):
            slots.offer(price(number))


def test_without_sequences_time_decides_and_an_equal_time_is_newer_at_another_price() -> None:
    slots = Slots()
    slots.offer(price(5, "time"))
    for it in (price(4, "time"), price(5, "time")):
        with pytest.raises(NotNewer):
            slots.offer(it)
    slots.offer(price(6, "time", time=5))
    # Numbered one after another from the time of arrival on.
    assert taken(slots) == [(6, 1_006)]
    slots.offer(price(7, "time"))
    slots.offer(price(8, "time"))
    assert taken(slots) == [(8, 1_007)]


def test_by_arrival_whatever_comes_is_newer() -> None:
    slots = Slots()
    for _ in range(2):
        slots.offer(price(5, "arrival"))
    assert taken(slots) == [(5, 1_005)]


def test_what_could_not_be_written_waits_behind_nothing_newer_and_keeps_its_number() -> None:
    slots = Slots()
    slots.offer(price(1, "time"))
    slots.offer(price(2, "time", kind="index"))
    failed = slots.take()
    slots.offer(price(3, "time"))
    assert [int(it.event.price) for it in slots.put_back(failed)] == [1]
    assert taken(slots) == [(2, 1_002), (3, 1_003)]


def test_what_stands_in_kafka_is_not_written_again_and_numbers_go_on() -> None:
    slots = Slots()
    slots.recover(price(5)._replace(order="sequence").event)
    with pytest.raises(NotNewer):
        slots.offer(price(5))
    with pytest.raises(NotNewer):
        slots.offer(price(5, "time"))
    slots.offer(price(6, "time"))
    assert taken(slots) == [(6, 6)]


# --- waits


def test_waits_double_up_to_a_limit_and_begin_anew_after_a_good_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(mqtt_line.time, "monotonic", lambda: now[0])
    waits = mqtt_line.Waits()
    for limit in (0.25, 0.5, 1, 2, 4, 8, 16, 30, 30):
        assert limit / 2 <= waits.next() <= limit
    waits.well()
    now[0] += 1
    assert waits.next() >= 15
    waits.well()
    now[0] += 11
    assert waits.next() <= 0.25
