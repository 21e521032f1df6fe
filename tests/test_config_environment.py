"""The environment overrides keys of the daemon's file, and is checked like it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from consumers import config
from consumers.config_environment import override, variables
from consumers.toml_file import FileFaults


class Source(msgspec.Struct, frozen=True):
    url: str = ""


class Bridge(msgspec.Struct, frozen=True):
    sources: tuple[Source, ...] = ()


class File(msgspec.Struct):
    bridge: Bridge = Bridge()


def read(directory: Path, text: str = "") -> config.Config:
    """Read a file of this content."""
    path = directory / "liquidator.toml"
    path.write_text(text)
    return config.read(path)


def test_a_variable_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LIQUIDATOR_KAFKA_BROKERS": "one:9092, two:9093",
        "LIQUIDATOR_KAFKA_GROUP_INSTANCE_ID": "liquidator-0",
        "LIQUIDATOR_KAFKA_TLS_ENABLED": "true",
        "LIQUIDATOR_KAFKA_SESSION_TIMEOUT": "7.5",
        "LIQUIDATOR_SHARDS_CLOCK": "events",
        "LIQUIDATOR_HTTP_PORT": "0",
        "LIQUIDATOR_RISK_BANDS": "1.1, 2",
    }.items():
        monkeypatch.setenv(name, value)
    found = read(tmp_path, 'kafka.group = "mine"\nkafka.brokers = ["three:1"]\nhttp.port = 1')
    assert found.kafka.brokers == ("one:9092", "two:9093")
    assert (found.kafka.group, found.kafka.group_instance_id) == ("mine", "liquidator-0")
    assert (found.kafka.tls.enabled, found.kafka.session_timeout) == (True, 7.5)
    assert (found.shards.clock, found.http.port) == ("events", 0)
    assert found.risk.bands == (1.1, 2)


def test_a_fault_names_the_variable_that_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "LIQUIDATOR_KAFKA_BROKERS": "one",
        "LIQUIDATOR_KAFKA_GROUPS": "x",
        "LIQUIDATOR_KAFKA_SESSION_TIMEOUT": "soon",
        "LIQUIDATOR_SHARDS_CLOCK": "sun",
        "LIQUIDATOR_HTTP_PORT": "70000",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FileFaults) as raised:
        read(tmp_path, "shards.fetch_wait = 2")
    found = [fault.partition(": ")[2] for fault in raised.value.faults]
    assert len(found) == 6
    for part, variable in (
        ("kafka.brokers: 'one' is not host:port", "BROKERS"),
        ("kafka.session_timeout: ", "SESSION_TIMEOUT"),
        ("shards.clock: ", "CLOCK"),
        ("http.port: 70000 is not in", "PORT"),
    ):
        (fault,) = [fault for fault in found if fault.startswith(part)]
        assert fault.endswith(f"{variable})")
    assert "shards.fetch_wait: 2 is not in [0.001, 1]" in found
    unknown = "LIQUIDATOR_KAFKA_GROUPS: an environment variable that names no key"
    assert f"{unknown}; did you mean LIQUIDATOR_KAFKA_GROUP?" in found


def test_what_speaks_of_no_section_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIQUIDATOR_SEEDS", "LIQUIDATOR_PORT", "LIQUIDATOR_SERVICE_HOST", "KAFKA_GROUP"):
        monkeypatch.setenv(name, "1")
    assert read(tmp_path) == config.Config()


def test_a_section_that_is_misspelt_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIQUIDATOR_KAFK_BROKERS", "one:9092")
    with pytest.raises(FileFaults, match="did you mean LIQUIDATOR_KAFKA_BROKERS"):
        read(tmp_path)


def test_a_table_that_is_none_stays_the_files_fault() -> None:
    tree = {"kafka": 3}
    assert override(tree, config.Config, {"LIQUIDATOR_KAFKA_GROUP": "x"}) == ({}, [])
    assert tree == {"kafka": 3}


def test_every_plain_key_has_a_variable_of_its_own() -> None:
    names = variables(config.Config)
    assert len(set(names)) == len(names)
    for name in names:
        tree: dict[str, object] = {}
        taken, faults = override(tree, config.Config, {name: "1"})
        assert faults == []
        (key,) = taken
        assert name == "LIQUIDATOR_" + key.upper().replace(".", "_")


def test_tables_in_an_array_are_not_overridden() -> None:
    assert variables(File) == []
    _, faults = override({}, File, {"LIQUIDATOR_BRIDGE_SOURCES": "x"})
    assert len(faults) == 1
