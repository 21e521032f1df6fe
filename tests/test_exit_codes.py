"""What every command exits with, as docs/operations.md says."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from consumers.cli import main
from consumers.running_config import ENABLE_SHADOW
from tests.commands import said
from tests.small_venue import write
from tests.test_cli import RULES, commands

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "operations.md"

TEN_MISTAKES = """
[kafka]
brokers = ["nowhere"]
group = ""
session_timeout = 600
topic_prefix = "a b"
brokres = []
[shards]
clock = "sun"
commit_interval = 0
max_ahead = "long"
[http]
port = 70000
[log]
level = "loud"
"""
NAMED = (
    "kafka.brokres",
    "shards.clock",
    "shards.max_ahead",
    "log.level",
    "kafka.brokers",
    "kafka.group",
    "kafka.topic_prefix",
    "kafka.session_timeout",
    "shards.commit_interval",
    "http.port",
)
REQUIRED = {"--reason": "drill", "--by": "ana"}
ARGUMENTS = {"order": "a:1:1:P", "source": "state", "account": "a", "file": str(RULES)}


def found(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


ALL = [path for path in commands(main) if not isinstance(found(path), click.Group)]
CONFIGURED = [
    path for path in ALL if any("--config" in parameter.opts for parameter in found(path).params)
]


@pytest.fixture(autouse=True)
def no_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no variable behind that a command sets for its own process."""
    monkeypatch.setenv(ENABLE_SHADOW, "false")


def ended(path: tuple[str, ...], config: Path) -> Result:
    """Run a command with a configuration and whatever else it needs."""
    given = ["--yes"] if path == ("halt",) else []
    for parameter in found(path).params:
        if isinstance(parameter, click.Argument) and parameter.name in ARGUMENTS:
            given.append(ARGUMENTS[parameter.name])
        if parameter.required and parameter.opts[0] in REQUIRED:
            given += [parameter.opts[0], REQUIRED[parameter.opts[0]]]
    return CliRunner().invoke(main, [*path, *given, "--config", str(config)])


def test_every_command_has_its_exit_codes_documented() -> None:
    table = DOCS.read_text().partition("## Exit codes")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(documented) == sorted(" ".join(path) for path in ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_wrong_usage_is_2(path: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, [*path, "--no-such-option"]).exit_code == 2


@pytest.mark.parametrize("path", CONFIGURED, ids=" ".join)
def test_ten_mistakes_are_refused_with_ten_named_faults(
    path: tuple[str, ...], tmp_path: Path
) -> None:
    config = tmp_path / "liquidator.toml"
    config.write_text(TEN_MISTAKES)
    result = ended(path, config)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.output.splitlines() if f"{config}: " in line]
    assert [line.partition(f"{config}: ")[2].split(": ")[0] for line in lines] == [*NAMED]
    assert len(NAMED) == 10


@pytest.mark.parametrize(
    "path", [path for path in CONFIGURED if path not in (("run",), ("bridge",))], ids=" ".join
)
def test_brokers_that_do_not_answer_are_1(path: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "liquidator.toml"
    config.write_text('[kafka]\nbrokers = ["127.0.0.1:9"]\n')
    result = ended(path, config)
    assert result.exit_code == 1, result.output
    assert "answer" in result.output


def test_lines_that_were_passed_over_are_3(tmp_path: Path) -> None:
    log = write(tmp_path / "day.jsonl")
    assert "applied" in said("audit", "--log", log)
    with log.open("a") as lines:
        lines.write("nonsense\n")
    assert CliRunner().invoke(main, ["audit", "--log", str(log)]).exit_code == 3
    assert CliRunner().invoke(main, ["replay", str(log)]).exit_code == 3


@pytest.mark.parametrize("path", [("halt",), ("resume",), ("rules", "publish")], ids=" ".join)
def test_a_shadow_does_not_change_what_it_only_reads(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENABLE_SHADOW)
    shadowed = tmp_path / "shadow.toml"
    shadowed.write_text('[kafka]\nbrokers = ["127.0.0.1:9"]\n[shadow]\nenabled = true\n')
    result = ended(path, shadowed)
    assert result.exit_code == 1
    assert "belongs to the engine that this one shadows" in result.output
