"""The daemon's file: how the process runs, and nothing that can reach a decision.

What decides (instruments, profile, fund, halts) comes on the topic `control`. Durations are in
seconds. A secret is named by the file or environment variable that holds it, and never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from ssl import SSLError
from typing import Any, Literal

import msgspec

from consumers import config_environment, toml_file
from consumers.mqtt_config import Bridge, Mqtt, bridge_faults, mqtt_faults
from consumers.risk_config import Risk, risk_faults
from consumers.running_config import (
    Log,
    RulesFile,
    Shadow,
    log_faults,
    rules_faults,
    shadow_faults,
)
from consumers.secure_lines import Tls, login_faults, password, ssl_context, tls_faults
from consumers.toml_file import outside
from producers.ladder import PEGGED
from producers.topics import Topics, named, shadowed

LONGEST_SESSION = 45.0
"""Kafka ends a transaction after 60 s: by then the group must know that the process is gone."""

HOST = r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"
"""A host: its name, its IPv4 address, or its IPv6 address in brackets."""


class Sasl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the daemon is to the brokers: nobody without a name. The password is in one place."""

    username: str = ""
    password_file: str = ""
    password_env: str = ""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"


class Kafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The brokers and the group.

    With a `group_instance_id` a member that comes back within `session_timeout` finds its shards as
    it left them; without, the group shares them out at once when a member stops.
    """

    brokers: tuple[str, ...] = ("127.0.0.1:9092",)
    group: str = "liquidator"
    group_instance_id: str = ""
    session_timeout: float = 10.0
    topic_prefix: str = ""
    sasl: Sasl = Sasl()
    tls: Tls = Tls()


class Shards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How shards read, commit and recover.

    `commit_interval` bounds the wait of what decides nothing; decisions are committed at once. An
    event more than `max_ahead` after its record was written is refused. `fetch_wait` is the longest
    that a broker waits for something to send: longer is less work when idle, and later prices after
    a slow commit.
    """

    clock: Literal["wall", "events"] = "wall"
    partitioner: Literal["murmur2", "any"] = "murmur2"
    commit_interval: float = 0.1
    commit_timeout: float = 20.0
    max_ahead: float = 60.0
    fetch_wait: float = 0.05
    stop_timeout: float = 10.0


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where `/metrics`, `/livez`, `/readyz` and the status page are served; `/readyz` says no
    beyond `lag_max`."""

    host: str = "127.0.0.1"
    port: int = 9464
    lag_max: float = 10.0


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the status page is served, which names accounts; its ladder moves the prices of all
    assets but the numeraire and those that are `pegged` to it."""

    page: bool = True
    pegged: tuple[str, ...] = PEGGED


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the file says."""

    kafka: Kafka = Kafka()
    shards: Shards = Shards()
    http: Http = Http()
    status: Status = Status()
    rules: RulesFile = RulesFile()
    log: Log = Log()
    shadow: Shadow = Shadow()
    mqtt: Mqtt = Mqtt()
    bridge: Bridge = Bridge()
    risk: Risk = Risk()

    @property
    def topics(self) -> Topics:
        """The names of the topics."""
        names = named(self.kafka.topic_prefix)
        if self.shadow.enabled:
            return shadowed(names, self.shadow.prefix, own_control=self.shadow.own_control)
        return names

    @property
    def group(self) -> str:
        """The consumer group, which names the transactions too."""
        return f"{self.shadow.prefix if self.shadow.enabled else ''}{self.kafka.group}"

    def client(self) -> dict[str, Any]:
        """Return what every Kafka client is made with, secrets included.

        Raises `toml_file.FileFaults` when a certificate, key or password cannot be read.
        """
        kafka = self.kafka
        made: dict[str, Any] = {
            "bootstrap_servers": list(kafka.brokers),
            "security_protocol": _protocol(kafka),
        }
        try:
            if kafka.tls.enabled:
                made["ssl_context"] = ssl_context(kafka.tls)
            if kafka.sasl.username:
                made["sasl_mechanism"] = kafka.sasl.mechanism
                made["sasl_plain_username"] = kafka.sasl.username
                sasl = kafka.sasl
                made["sasl_plain_password"] = password(sasl.password_file, sasl.password_env)
        except (OSError, SSLError) as error:
            raise toml_file.FileFaults("kafka", [f"security: {error}"]) from error
        return made


def read(path: str | Path) -> Config:
    """Read and check the file at `path`, with what the environment overrides.

    Raises `toml_file.FileFaults` naming every fault, `OSError` when the file cannot be read.
    """
    draft, faults = drafted(path)
    if faults:
        raise toml_file.FileFaults(str(path), faults)
    return draft


def drafted(path: str | Path) -> tuple[Config, list[str]]:
    """Return what can be used of the file at `path`, and every fault of it.

    Raises `toml_file.FileFaults` when it is no TOML, `OSError` when it cannot be read.
    """
    tree = toml_file.parse(Path(path).read_bytes(), str(path))
    overridden, faults = config_environment.override(tree, Config, os.environ)
    faults += toml_file.form_faults(tree, Config)
    keys: set[toml_file.Key] = set()
    draft = toml_file.mended(tree, Config, keys)
    dropped = {".".join(map(str, key)) for key in keys}
    # A fault of form does not hide those of meaning, but what it drops has no meaning.
    meant = [*_faults(draft, dropped), *rules_faults(Path(path), draft.rules)]
    faults += [fault for fault in meant if fault.split(":")[0] not in dropped]
    return draft, [_with_origin(it, overridden) for it in faults]


def _with_origin(fault: str, overridden: dict[str, str]) -> str:
    """Name the variable that a faulty value comes from, where it is not the file."""
    variable = overridden.get(fault.split(":")[0].split("[")[0])
    return fault if variable is None else f"{fault} (from {variable})"


def _faults(config: Config, dropped: set[str]) -> Iterator[str]:
    """Yield every fault of meaning; none that rests on a key in `dropped` and another one."""
    yield from _kafka_faults(config.kafka)
    sasl = config.kafka.sasl
    passwords = (sasl.password_file, sasl.password_env)
    yield from login_faults("kafka.sasl", sasl.username, *passwords, dropped)
    yield from tls_faults("kafka.tls", config.kafka.tls, dropped)
    yield from _shards_faults(config.shards)
    yield from _http_faults(config.http)
    yield from log_faults(config.log)
    yield from shadow_faults(config.shadow)
    yield from mqtt_faults(config.mqtt, dropped)
    yield from bridge_faults(config.bridge, dropped)
    yield from risk_faults(config.risk)


def _kafka_faults(kafka: Kafka) -> Iterator[str]:
    if not kafka.brokers:
        yield "kafka.brokers: none given"
    for broker in kafka.brokers:
        address = re.fullmatch(rf"(?:{HOST}):([0-9]{{1,5}})", broker)
        if not address or not 0 < int(address[1]) < 65536:
            yield f"kafka.brokers: {broker!r} is not host:port"
    if not kafka.group:
        yield "kafka.group: empty"
    elif not re.fullmatch(r"[A-Za-z0-9._-]+", kafka.group):
        yield f"kafka.group: {kafka.group!r} has other than letters, digits, dot, _ and -"
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,200}", kafka.topic_prefix):
        yield f"kafka.topic_prefix: {kafka.topic_prefix!r} has what no topic's name may have"
    yield from outside("kafka.session_timeout", kafka.session_timeout, 1, LONGEST_SESSION)


def _shards_faults(shards: Shards) -> Iterator[str]:
    yield from outside("shards.commit_interval", shards.commit_interval, 0.001, 10)
    yield from outside("shards.commit_timeout", shards.commit_timeout, 1, LONGEST_SESSION)
    yield from outside("shards.max_ahead", shards.max_ahead, 0, 86_400)
    yield from outside("shards.fetch_wait", shards.fetch_wait, 0.001, 1)
    yield from outside("shards.stop_timeout", shards.stop_timeout, 0.1, 300)


def _http_faults(http: Http) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+", http.host):
        yield f"http.host: {http.host!r} is not the name or address of a host"
    yield from outside("http.port", http.port, 0, 65_535)
    yield from outside("http.lag_max", http.lag_max, 0.1, 86_400)


def _protocol(kafka: Kafka) -> str:
    if kafka.sasl.username:
        return "SASL_SSL" if kafka.tls.enabled else "SASL_PLAINTEXT"
    return "SSL" if kafka.tls.enabled else "PLAINTEXT"
