"""Doctor: what keeps a daemon from running well here, and what to do about it.

It changes nothing and disturbs no daemon: it joins a group of its own, and aborts what it writes.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal

import msgspec

from consumers import config as config_files
from consumers import daemon_files
from consumers.config import Config
from consumers.toml_file import FileFaults
from producers.kafka import client_faults

Status = Literal["ok", "warn", "fail"]
Clock = Callable[[], float]
"""Seconds since 1970."""

INSTALL = "install again from requirements.lock: pip install --require-hashes -r requirements.lock"


class Finding(msgspec.Struct, frozen=True):
    """One check: what was found, and what to do where it is not well."""

    check: str
    status: Status
    said: str
    remedy: str = ""


async def examine(config_file: Path, clock: Clock = time.time) -> list[Finding]:
    """Check everything that a daemon with this file needs, as far as it can be reached."""
    found = [*_python(), *_libraries()]
    config, of_file = _file(config_file)
    found += of_file
    if config is not None:
        from consumers import doctor_kafka, doctor_mqtt

        found += await doctor_kafka.examine(config, config_file, clock)
        found += await doctor_mqtt.examine(config)
    return found


def _python() -> list[Finding]:
    wanted = metadata("liquidator")["Requires-Python"]
    here = platform.python_version()
    if within(here, wanted):
        return [Finding("python", "ok", here)]
    return [Finding("python", "fail", f"{here}, needs {wanted}", f"run with Python {wanted}")]


def _libraries() -> list[Finding]:
    found = []
    for requirement in requires("liquidator") or ():
        name, wanted, marker = _parts(requirement)
        if "extra ==" in marker:
            continue
        try:
            here = version(name)
        except PackageNotFoundError:
            found.append(Finding(name, "fail", "not installed", INSTALL))
            continue
        if not within(here, wanted):
            found.append(Finding(name, "fail", f"{here}, needs {wanted}", INSTALL))
    if not found:
        found.append(Finding("libraries", "ok", "all in the versions asked for"))
    for fault in client_faults():
        remedy = "install a wheel of aiokafka for this platform, or a C compiler and build it"
        found.append(Finding("aiokafka", "fail", fault, remedy))
    return found


def _parts(requirement: str) -> tuple[str, str, str]:
    """Return name, versions and condition of a requirement."""
    asked, _, marker = requirement.partition(";")
    match = re.fullmatch(r"\s*([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^)]*)\)?\s*", asked)
    if match is None:
        return requirement, "", marker
    return match[1], match[2], marker


def within(here: str, wanted: str) -> bool:
    """Tell whether a version meets every one of some bounds, such as ">=0.14,<0.15"."""
    for bound in filter(None, (part.strip() for part in wanted.split(","))):
        match = re.fullmatch(r"(>=|<=|==|<|>)\s*([\d.]+).*", bound)
        if match is None:
            continue
        left, right = _numbers(here), _numbers(match[2])
        length = max(len(left), len(right))
        left, right = (pair + (0,) * (length - len(pair)) for pair in (left, right))
        holds = {
            ">=": left >= right,
            "<=": left <= right,
            "==": left == right,
            "<": left < right,
            ">": left > right,
        }
        if not holds[match[1]]:
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    head = re.match(r"[\d.]*", text)
    return tuple(int(part) for part in (head[0] if head else "").split(".") if part)


def _file(config_file: Path) -> tuple[Config | None, list[Finding]]:
    """Return the configuration, if it is sound, and what is wrong with it and its rules file."""
    remedy = "correct the file; `liquidator check-config` names the same faults"
    found: list[Finding] = []
    try:
        daemon_files.read(config_file)
    except FileFaults as error:
        found = [Finding("config", "fail", fault, remedy) for fault in error.faults]
    try:
        # Brokers can be asked whatever the rules file says.
        config = config_files.read(config_file)
        config.client()
    except FileFaults as error:
        faults = [Finding("config", "fail", fault, remedy) for fault in error.faults]
        return None, found or faults
    return config, found or [Finding("config", "ok", f"{config_file}: sound")]
