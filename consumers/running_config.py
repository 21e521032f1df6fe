"""What the daemon's file says about running: rules to publish on reload, its log, its shadow."""

from __future__ import annotations

import re
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


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beside another engine: read what it reads, write to topics of our own, act on nothing.

    With `own_control` rules come from a prefixed topic of our own too. `orders` is the topic of the
    other engine's orders, where it writes them as this one does.
    """

    enabled: bool = False
    prefix: str = "shadow-"
    own_control: bool = False
    orders: str = ""


ENABLE_SHADOW = "LIQUIDATOR_SHADOW_ENABLED"
"""The variable that `--shadow` sets; a reload finds it again."""


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


def shadow_faults(shadow: Shadow) -> Iterator[str]:
    """Yield every fault of meaning."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", shadow.prefix):
        yield f"shadow.prefix: {shadow.prefix!r} is empty or has what no topic's name may have"
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,249}", shadow.orders):
        yield f"shadow.orders: {shadow.orders!r} has what no topic's name may have"


def log_faults(log: Log) -> Iterator[str]:
    """Yield every fault of meaning."""
    yield from outside("log.sample_per_second", log.sample_per_second, 1, 100_000)
