"""What a reload takes over, and what it refuses whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers import config, reload
from consumers.reload import NotTaken

EXAMPLE = Path(__file__).parents[1] / "deploy" / "liquidator.toml"
RULES = EXAMPLE.with_name("rules.toml")


def taken(directory: Path, text: str) -> config.Config:
    """Return what a reload of `text` takes over from the defaults."""
    path = directory / "liquidator.toml"
    path.write_text(text)
    return reload.read(path, config.Config())[0]


def refused(directory: Path, text: str) -> list[str]:
    with pytest.raises(NotTaken) as raised:
        taken(directory, text)
    return raised.value.faults


def test_what_may_change_is_taken_over(tmp_path: Path) -> None:
    text = '[shards]\ncommit_interval = 1\nmax_ahead = 5\n[log]\nlevel = "error"\n'
    found = taken(tmp_path, text)
    assert reload.differences(config.Config(), found) == [
        "shards.commit_interval",
        "shards.max_ahead",
        "log.level",
    ]
    assert reload.config_hash(found) != reload.config_hash(config.Config())
    named = config.Config(kafka=config.Kafka(group_instance_id="b"))
    assert reload.config_hash(named) == reload.config_hash(config.Config())
    assert reload.config_hash(config.read(EXAMPLE)) == reload.config_hash(config.Config())


def test_every_key_that_may_change_is_one() -> None:
    assert set(reload._flat(config.Config())) >= reload.CHANGEABLE


def test_every_key_that_needs_a_restart_is_named(tmp_path: Path) -> None:
    faults = refused(
        tmp_path,
        '[kafka]\ngroup = "other"\n[shards]\nclock = "events"\ncommit_interval = 1\n'
        "[http]\nport = 1\n",
    )
    assert [fault.split(": ")[1] for fault in faults] == [
        "kafka.group",
        "shards.clock",
        "http.port",
    ]
    assert all(fault.endswith("needs a restart") for fault in faults)


def test_rules_with_faults_are_not_taken(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES.read_text().replace("lot = 1\n", "lot = 0\n").replace("USDT", "USD", 1))
    faults = refused(tmp_path, '[rules]\nfile = "rules.toml"\n')
    assert len(faults) > 1
    assert all(fault.startswith(f"{rules}: ") for fault in faults)
    assert "rules.file: " in refused(tmp_path, '[rules]\nfile = "nowhere.toml"\n')[0]
    of_both = refused(tmp_path, '[rules]\nfile = "rules.toml"\n[http]\nport = -1\n')
    assert of_both[0] == f"{tmp_path / 'liquidator.toml'}: http.port: -1 is not in [0, 65535]"
    assert of_both[1:] == faults
