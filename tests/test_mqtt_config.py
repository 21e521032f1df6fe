"""The parts of the daemon's file about MQTT: what is wrong is named by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers import config
from tests.test_config import faults

SOUND = """
[[bridge.sources]]
name = "venue"
topic = "venue/{symbol}"
kind = "mark"
"""


def test_a_source_that_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "liquidator.toml"
    path.write_text(SOUND)
    assert config.read(path).bridge.sources[0].topic == "venue/{symbol}"


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ('topic = ""', "topic: '' is no topic of prices"),
        ('topic = "$SYS/{symbol}"', "topic: '$SYS/{symbol}' is no topic of prices"),
        ('topic = "venue/mark-{symbol}"', "topic: 'mark-{symbol}': {symbol}, {kind}, + and #"),
        ('topic = "venue/#/{symbol}"', "topic: # may only be the last level"),
        ('topic = "{symbol}/{symbol}"', "topic: {symbol} twice"),
        ('topic = "venue"', "topic: the symbol is {symbol} in it, or at symbol_path: one of them"),
        ('symbol_path = "s"\nprice = "p"', "topic: the symbol is {symbol} in it, or at symbol_"),
        ('kind = ""', "kind: it is {kind} in topic, at kind_path, or fixed here: one of them"),
        ('kind_path = "k"\nprice = "p"', "kind: it is {kind} in topic, at kind_path, or fixed"),
        ('kind = "middle"', "kind: 'middle' is none of "),
        ('kinds = { markPrice = "mark" }', "kinds: has no effect while kind is fixed"),
        ('price = "data..p"', "price: 'data..p' is not keys with dots between them"),
        ('sequence = "s"', "sequence: has no effect while the whole payload is the price"),
        ('symbols = { BTC = "" }', "symbols: 'BTC' = '' is no name for a name"),
        ("max_age = -1", "max_age: -1 is not in [0, 604800]"),
        ('time_unit = "minutes"', "time_unit: 'minutes' is none of "),
        ('name = "a b"', "name: 'a b' is no name"),
        ('pirce = "p"', "pirce: unknown key; did you mean price?"),
    ],
)
def test_what_is_wrong_with_a_source_is_named(tmp_path: Path, keys: str, fault: str) -> None:
    given = dict(line.split(" = ", 1) for line in SOUND.split("]]\n")[1].splitlines())
    given |= dict(line.split(" = ", 1) for line in keys.splitlines())
    text = "\n".join(f"{key} = {value}" for key, value in given.items())
    (found,) = faults(tmp_path, f"[[bridge.sources]]\n{text}")
    name = "a b" if "a b" in keys else "venue"
    assert found.startswith(f"bridge.sources[{name}].{fault}")


def test_sources_of_one_name_are_numbered_alike(tmp_path: Path) -> None:
    numbered = SOUND + 'price = "p"\nsequence = "s"'
    (found,) = faults(tmp_path, SOUND + numbered)
    assert found == "bridge.sources[venue].sequence: all sources of one name have one, or none"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[mqtt]\nhost = "a b"', "mqtt.host: 'a b' is not the name or address of a host"),
        ("[mqtt]\nport = 0", "mqtt.port: 0 is not in [1, 65535]"),
        ('[mqtt]\nclient_id = ""', "mqtt.client_id: '' is not letters"),
        ("[mqtt]\nkeepalive = 0", "mqtt.keepalive: 0 is not in [1, 3600]"),
        ('[mqtt]\nusername = "u"', "mqtt: needs password_file or password_env, one of them"),
        ('[mqtt]\npassword_env = "X"', "mqtt.username: there is a password and no name"),
        ('[mqtt.tls]\nca_file = "/x"', "mqtt.tls.ca_file: has no effect while enabled is not true"),
        ('[mqtt.publish]\nprefix = "a/"', "mqtt.publish.prefix: 'a/' cannot begin a topic"),
        ('[mqtt.publish]\nprefix = "+"', "mqtt.publish.prefix: '+' cannot begin a topic"),
        ('[mqtt.publish]\ninstance = "a/b"', "mqtt.publish.instance: 'a/b' is not one level"),
        ("[mqtt.publish]\ninterval = 0", "mqtt.publish.interval: 0 is not in [0.1, 3600]"),
        ("[mqtt.publish]\nalerts_max = 0", "mqtt.publish.alerts_max: 0 is not in [1, 100000]"),
        ("[bridge]\nin_flight = 0", "bridge.in_flight: 0 is not in [1, 10000]"),
        ("[bridge]\nsession_expiry = -1", "bridge.session_expiry: -1 is not in [0, 604800]"),
        ("[bridge]\nhttp_port = 70000", "bridge.http_port: 70000 is not in [0, 65535]"),
    ],
)
def test_what_is_wrong_elsewhere_is_named(tmp_path: Path, text: str, fault: str) -> None:
    found = faults(tmp_path, text)
    assert any(it.startswith(fault) for it in found), found
