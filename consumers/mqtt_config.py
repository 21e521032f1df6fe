"""The parts of the daemon's file that are about MQTT: the broker, what the daemon publishes there,
and where the bridge finds prices.

Durations are in seconds. A path leads into a JSON payload: keys, and numbers of elements counted
from 0, with dots between them.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from ssl import SSLError
from typing import Literal

import msgspec

from consumers import toml_file
from consumers.secure_lines import Tls, login_faults, password, ssl_context, tls_faults
from consumers.toml_file import outside
from engine.events import PriceKind
from engine.wire import TEXT_MAX
from producers.mqtt_line import Line

SYMBOL, KIND = "{symbol}", "{kind}"
"""Levels of a topic's template that say something."""

AGE_MAX = 7 * 86_400
"""The longest that a price may be of use, or that a broker keeps a session."""

IN_FLIGHT_MAX = 10_000
"""Messages that the broker lets one client hold unacknowledged, at most: it keeps them too."""

Unit = Literal["s", "ms", "us", "ns", "iso"]


class Publish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the daemon publishes: under `prefix`, as `instance` (the host's name if empty).

    Alerts beyond `alerts_max` that wait for the broker are dropped, oldest first.
    """

    enabled: bool = False
    prefix: str = "liquidator"
    instance: str = ""
    interval: float = 5.0
    alerts_max: int = 1_000


class Mqtt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MQTT broker, and who we are to it: `client_id` begins the name of every session."""

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = "liquidator"
    username: str = ""
    password_file: str = ""
    password_env: str = ""
    keepalive: float = 30.0
    tls: Tls = Tls()
    publish: Publish = Publish()

    @property
    def instance(self) -> str:
        """What this process is called in topics."""
        return self.publish.instance or re.sub(r"[+#/\s]", "-", socket.gethostname())

    def line(self, role: str) -> Line:
        """Return what a connection is made with, secrets included; `role` tells ours apart.

        Raises `toml_file.FileFaults` when a certificate, key or password cannot be read.
        """
        try:
            secret = password(self.password_file, self.password_env) if self.username else None
            context = ssl_context(self.tls) if self.tls.enabled else None
        except (OSError, SSLError) as error:
            raise toml_file.FileFaults("mqtt", [f"security: {error}"]) from error
        return Line(
            self.host,
            self.port,
            f"{self.client_id}-{role}",
            self.username or None,
            secret,
            context,
            round(self.keepalive),
        )


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of messages: `name` is what the engine calls their source.

    Levels of `topic` may be `{symbol}`, `{kind}` and `+`, the last one `#`. Without a path for
    `price` the whole payload is the price. `max_age` of 0 is no limit.
    """

    name: str = ""
    topic: str = ""
    symbol_path: str = ""
    kind: Literal["", PriceKind] = ""
    kind_path: str = ""
    price: str = ""
    time: str = ""
    time_unit: Unit = "ms"
    sequence: str = ""
    confidence: str = ""
    max_age: float = 60.0
    symbols: dict[str, str] = {}
    kinds: dict[str, PriceKind] = {}


class Bridge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How `liquidator bridge` runs.

    The broker keeps what it did not get acknowledged for `session_expiry` after the bridge has
    gone, and sends at most `in_flight` messages ahead of acknowledgements.
    """

    http_host: str = "127.0.0.1"
    http_port: int = 9465
    session_expiry: float = 3_600.0
    in_flight: int = 1_000
    sources: tuple[Source, ...] = ()


def mqtt_faults(mqtt: Mqtt, dropped: set[str]) -> Iterator[str]:
    """Yield every fault of the broker's part; none that rests on a key in `dropped` and another."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+", mqtt.host):
        yield f"mqtt.host: {mqtt.host!r} is not the name or address of a host"
    yield from outside("mqtt.port", mqtt.port, 1, 65_535)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", mqtt.client_id):
        yield f"mqtt.client_id: {mqtt.client_id!r} is not letters, digits, dot, _ and -"
    yield from outside("mqtt.keepalive", mqtt.keepalive, 1, 3_600)
    passwords = (mqtt.password_file, mqtt.password_env)
    yield from login_faults("mqtt", mqtt.username, *passwords, dropped)
    yield from tls_faults("mqtt.tls", mqtt.tls, dropped)
    publish = mqtt.publish
    if not re.fullmatch(r"[^+#\s\0$][^+#\s\0]*(?<!/)", publish.prefix):
        yield f"mqtt.publish.prefix: {publish.prefix!r} cannot begin a topic"
    if not re.fullmatch(r"[^+#/\s\0]*", publish.instance):
        yield f"mqtt.publish.instance: {publish.instance!r} is not one level of a topic"
    yield from outside("mqtt.publish.interval", publish.interval, 0.1, 3_600)
    yield from outside("mqtt.publish.alerts_max", publish.alerts_max, 1, 100_000)


def bridge_faults(bridge: Bridge, dropped: set[str]) -> Iterator[str]:
    """Yield every fault of the bridge's part; none of a source's key that is in `dropped`."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+", bridge.http_host):
        yield f"bridge.http_host: {bridge.http_host!r} is not the name or address of a host"
    yield from outside("bridge.http_port", bridge.http_port, 0, 65_535)
    yield from outside("bridge.session_expiry", bridge.session_expiry, 0, AGE_MAX)
    yield from outside("bridge.in_flight", bridge.in_flight, 1, IN_FLIGHT_MAX)
    for place, source in enumerate(bridge.sources, start=1):
        at = f"bridge.sources[{source.name or place}]"
        for key, fault in _source_faults(source):
            if f"bridge.sources.{place}.{key}" not in dropped:
                yield f"{at}.{key}: {fault}"
    names = Counter(source.name for source in bridge.sources if source.name)
    for name, count in names.items():
        if count > 1 and not _one_sequence(bridge, name):
            yield f"bridge.sources[{name}].sequence: all sources of one name have one, or none"


def _one_sequence(bridge: Bridge, name: str) -> bool:
    """Tell whether sources of one name agree: numbers of the bridge's and the venue's would mix."""
    return len({bool(it.sequence) for it in bridge.sources if it.name == name}) == 1


def _source_faults(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the key and what is wrong with it."""
    if not re.fullmatch(rf"\S{{1,{TEXT_MAX}}}", source.name):
        yield "name", f"{source.name!r} is no name: up to {TEXT_MAX} characters without spaces"
    levels = source.topic.split("/")
    of_topic = list(_topic_faults(source.topic, levels))
    yield from of_topic
    if not of_topic and (SYMBOL in levels) == bool(source.symbol_path):
        yield "topic", f"the symbol is {SYMBOL} in it, or at symbol_path: one of them"
    if (KIND in levels) + bool(source.kind_path) + bool(source.kind) != 1:
        yield "kind", f"it is {KIND} in topic, at kind_path, or fixed here: one of them"
    if source.kinds and source.kind:
        yield "kinds", "has no effect while kind is fixed"
    paths = ("symbol_path", "kind_path", "price", "time", "sequence", "confidence")
    for key in paths:
        path = getattr(source, key)
        if path and "" in path.split("."):
            yield key, f"{path!r} is not keys with dots between them"
        if path and key != "price" and not source.price:
            yield key, "has no effect while the whole payload is the price"
    for theirs, ours in source.symbols.items():
        if not theirs or not re.fullmatch(rf"\S{{1,{TEXT_MAX}}}", ours):
            yield "symbols", f"{theirs!r} = {ours!r} is no name for a name"
    if not 0 <= source.max_age <= AGE_MAX:
        yield "max_age", f"{source.max_age:g} is not in [0, {AGE_MAX}]"


def _topic_faults(topic: str, levels: list[str]) -> Iterator[tuple[str, str]]:
    if not topic or topic.startswith("$") or "\0" in topic:
        yield "topic", f"{topic!r} is no topic of prices"
    for level in levels:
        if level not in (SYMBOL, KIND, "+", "#") and re.search(r"[{}+#]", level):
            yield "topic", f"{level!r}: {SYMBOL}, {KIND}, + and # are whole levels"
    if "#" in levels[:-1]:
        yield "topic", "# may only be the last level"
    for level in (SYMBOL, KIND):
        if levels.count(level) > 1:
            yield "topic", f"{level} twice"
