"""What can be read and what is refused, with its reason."""

import json
from decimal import Decimal as D

import orjson
import pytest

from engine import wire
from engine.events import Deposit, MarketState, OptionMark, PoolState, PriceUpdate

PRICE = {
    "type": "PriceUpdate",
    "time": 1,
    "symbol": "BTCUSDT",
    "kind": "mark",
    "price": "50000.5",
    "source": "venue",
    "sequence": 7,
}
FILL = {
    "type": "Fill",
    "time": 1,
    "account": "alice",
    "sequence": 3,
    "symbol": "BTCUSDT",
    "margin": "cross",
    "size": "-1",
    "price": "50000",
    "fee": "0",
    "fee_asset": "USDT",
    "fill_id": "8812",
}


def test_a_price_is_read_and_written_back():
    event = wire.read_event(orjson.dumps(PRICE), "prices")
    assert event == PriceUpdate(
        time=1, symbol="BTCUSDT", kind="mark", price=D("50000.5"), source="venue", sequence=7
    )
    assert wire.read_event(wire.write_event(event)) == event


def test_what_options_are_valued_by_is_read_from_the_topic_of_prices():
    told = {"type": "OptionMark", "time": 1, "symbol": "BTC-C", "source": "venue", "sequence": 7}
    event = wire.read_event(orjson.dumps(told | {"iv": "0.6", "forward": "40000"}), "prices")
    numbers = {"iv": D("0.6"), "forward": D(40000), "discount": D(1)}
    assert event == OptionMark(time=1, symbol="BTC-C", source="venue", sequence=7, **numbers)
    assert wire.read_event(wire.write_event(event)) == event
    with pytest.raises(wire.WireError, match=r"OptionMark BTC-C#7: digits: iv has more"):
        wire.read_event(orjson.dumps(told | {"iv": "1e30", "forward": "40000"}))
    with pytest.raises(wire.WireError, match="json"):
        wire.read_event(wire.write_event(event), "control")


@pytest.mark.parametrize(
    "event",
    [
        MarketState(time=1, symbol="BTC-PERP", long_size=D(3), short_size=D("2.5")),
        PoolState(time=1, pool="USDT", supplied=D(3), borrowed=D("2.5")),
    ],
)
def test_what_is_told_of_markets_is_read_from_the_topic_of_control(event):
    raw = wire.write_event(event)
    assert wire.read_event(raw, "control") == event
    with pytest.raises(wire.WireError, match="json"):
        wire.read_event(raw, "positions")


def test_amounts_are_written_without_exponents():
    event = Deposit(time=1, account="a", sequence=1, asset="BTC", amount=D("1E-8"))
    assert b'"amount":"0.00000001"' in wire.write_event(event)


@pytest.mark.parametrize(
    ("base", "change", "rule", "named"),
    [
        (PRICE, {"price": "NaN"}, "not_finite", "BTCUSDT#7"),
        (PRICE, {"price": "Infinity"}, "not_finite", "BTCUSDT#7"),
        (PRICE, {"price": "0"}, "not_positive", "price 0"),
        (PRICE, {"price": "-1"}, "not_positive", "price -1"),
        (PRICE, {"price": "1e30"}, "digits", "price has more"),
        (PRICE, {"price": "1e-31"}, "digits", "price has more"),
        (PRICE, {"price": "12,5"}, "json", "Invalid decimal"),
        (PRICE, {"price": True}, "json", "price"),
        (PRICE, {"price": None}, "json", "price"),
        (PRICE, {"kind": "spot"}, "json", "kind"),
        (PRICE, {"type": "Prices"}, "json", "Prices"),
        (PRICE, {"colour": "red"}, "json", "colour"),
        (PRICE, {"sequence": "7"}, "json", "sequence"),
        (PRICE, {"time": 2**60}, "time", "not in 0..2^53"),
        (PRICE, {"time": -1}, "time", "not in 0..2^53"),
        (PRICE, {"sequence": 2**53}, "sequence", "not in 0..2^53"),
        (FILL, {"sequence": -1}, "sequence", "not in 0..2^53"),
        (FILL, {"sequence": 2**80}, "sequence", "not in 0..2^53"),
        (PRICE, {"time": 1.5}, "json", "time"),
        (PRICE, {"version": 2}, "version", "this reads 1"),
        (FILL, {"fee_asset": None}, "json", "fee_asset"),
        (FILL, {"position_side": "LONG"}, "hedge_mode", "alice#3"),
        (FILL, {"order_id": "x" * 257}, "text", "order_id has more"),
        (FILL, {"size": "1e400"}, "digits", "size"),
        (FILL, {"account": 5}, "json", "account"),
    ],
)
def test_refusals_name_the_record_and_the_rule(base, change, rule, named):
    topic = "prices" if base is PRICE else "positions"
    with pytest.raises(wire.WireError) as caught:
        wire.read_event(json.dumps({**base, **change}).encode(), topic)
    assert caught.value.rule == rule
    assert named in str(caught.value)


@pytest.mark.parametrize("field", sorted(set(FILL) - {"type"}))
def test_a_missing_field_is_named(field):
    rest = {key: value for key, value in FILL.items() if key != field}
    with pytest.raises(wire.WireError, match=field):
        wire.read_event(orjson.dumps(rest), "positions")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"type":"Fill"', b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'"x"'],
)
def test_what_is_no_event_is_refused_without_a_crash(raw):
    for topic in ("prices", "positions", "control", None):
        with pytest.raises(wire.WireError):
            wire.read_event(raw, topic)


def test_an_event_is_refused_on_a_topic_where_it_does_not_belong():
    with pytest.raises(wire.WireError, match="Fill"):
        wire.read_event(orjson.dumps(FILL), "prices")
