"""What the daemon's file says about running: the rules that a reload publishes, and its log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from consumers.toml_file import outside


class RulesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The venue's rules file, beside the daemon's unless its path is absolute: on SIGHUP what it
    changes is published to `control`."""

    file: str = ""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to standard error: from which level on, at most how many lines a second of
    each type, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    sample_per_second: int = 20
    format: Literal["json", "text"] = "json"


def rules_path(config_file: Path, rules: RulesFile) -> Path:
    """Return where the rules file is."""
    return config_file.parent / rules.file


def rules_faults(config_file: Path, rules: RulesFile) -> Iterator[str]:
    """Yield why the rules file cannot be read, if it cannot."""
    if rules.file:
        path = rules_path(config_file, rules)
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            yield f"rules.file: {path}: {error.strerror}"


def log_faults(log: Log) -> Iterator[str]:
    """Yield every fault of meaning."""
    yield from outside("log.sample_per_second", log.sample_per_second, 1, 100_000)
