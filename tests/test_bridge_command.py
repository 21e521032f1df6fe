"""`liquidator bridge` and `demo --mqtt` as a user meets them: what is missing is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import said

EXAMPLE = Path(__file__).parents[1] / "deploy" / "liquidator.toml"


def test_without_sources_there_is_nothing_to_carry() -> None:
    command = [sys.executable, "-m", "consumers.cli", "bridge", "--config", str(EXAMPLE)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == f"Error: {EXAMPLE}: bridge.sources: none given; see docs/bridge.md\n"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--mqtt", "127.0.0.1:1883"], "--mqtt needs --kafka"),
        (["--mqtt", "nowhere", "--kafka", "127.0.0.1:1"], "--mqtt: 'nowhere' is not HOST:PORT"),
    ],
)
def test_a_demo_over_mqtt_needs_both_brokers(options: list[str], fault: str) -> None:
    assert fault in said("demo", *options, code=2)


def test_a_demo_names_the_mqtt_broker_that_does_not_answer() -> None:
    error = said("demo", "--mqtt", "127.0.0.1:1", "--kafka", "127.0.0.1:1", code=1)
    assert error.startswith("Error: mqtt: ")
    assert error.endswith(", at 127.0.0.1:1 (--mqtt)\n")
