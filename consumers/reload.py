"""Reload: read the daemon's file again, publish the rules that it names, change what may change.

All or nothing. A file with a fault, a key that needs a restart, or rules that the engine would
refuse leave everything as it is. Rules reach the engine as events on `control` and in no other way,
so that the journal has the change in its place.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Counter, Info

from consumers import control, daemon_files
from consumers.config import Config
from consumers.presence import TopicMissing
from consumers.rules import Rules
from consumers.toml_file import FileFaults
from producers.metric_families import INFO, RELOADS

CHANGEABLE = {
    "http.lag_max",
    "log.format",
    "log.level",
    "log.sample_per_second",
    "rules.file",
    "shards.commit_interval",
    "shards.commit_timeout",
    "shards.max_ahead",
    "shards.stop_timeout",
}
"""The keys that take effect while the daemon runs; every other one needs a restart."""

NAMES = {"kafka.group_instance_id", "mqtt.client_id", "mqtt.publish.instance"}
"""The keys by which each process is called otherwise."""

OUTCOMES = ("done", "refused", "failed")
"""Done; refused for what a file says; failed at the brokers, to be tried again."""

BY = "SIGHUP"

log = structlog.get_logger()


class NotTaken(Exception):
    """The files cannot be taken over; `faults` are all reasons, each naming file and key."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class Reloading:
    """Reload when asked to, one at a time; `use` takes over a sound configuration."""

    def __init__(
        self,
        config_file: Path | None,
        config: Config,
        use: Callable[[Config], None],
        registry: CollectorRegistry,
    ) -> None:
        self._file = config_file
        self._config = config
        self._use = use
        self._task: asyncio.Task[None] | None = None
        self._again = False
        family = RELOADS["liquidator_reloads"]
        self._outcomes = Counter(
            "liquidator_reloads", family.help, family.labels, registry=registry
        )
        for outcome in OUTCOMES:
            self._outcomes.labels(outcome)
        self._info = Info(
            "liquidator_config", INFO["liquidator_config_info"].help, registry=registry
        )
        self._info.info(_told(config))

    @property
    def under_way(self) -> bool:
        """Whether one is not over."""
        return self._task is not None and not self._task.done()

    def ask(self) -> None:
        """Begin a reload, or another one after that under way."""
        self._again = True
        if not self.under_way:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End a reload under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._again:
            self._again = False
            self._outcomes.labels(await self._reload()).inc()

    async def _reload(self) -> str:
        """Reload and return the outcome; the log tells the rest."""
        if self._file is None:
            log.error("reload refused", faults=["no file to read"])
            return "refused"
        try:
            config, rules = await asyncio.to_thread(read, self._file, self._config)
            sent = [] if rules is None else await control.publish_file(config, rules, by=BY)
        except (NotTaken, control.WouldBeRefused, TopicMissing) as error:
            log.error("reload refused", faults=str(error).splitlines())
            return "refused"
        except (KafkaError, OSError, TimeoutError) as error:
            log.error("reload failed", error=f"{type(error).__name__}: {error}")
            return "failed"
        changed = differences(self._config, config)
        # Before it may be a line that is written no more.
        log.info("reload done", changed=changed, sent=sent, hash=config_hash(config))
        self._config = config
        self._use(config)
        self._info.info(_told(config))
        return "done"


def _told(config: Config) -> dict[str, str]:
    return {"hash": config_hash(config), "shadow": str(config.shadow.enabled).lower()}


def read(path: Path, running: Config) -> tuple[Config, Rules | None]:
    """Return what the file says now, and the rules that it names.

    Raises `NotTaken` naming every fault of both and every key that needs a restart, `OSError` when
    a file cannot be read.
    """
    try:
        config, rules = daemon_files.read(path)
    except FileFaults as error:
        raise NotTaken(error.faults) from error
    faults = [
        f"{path}: {key}: was {before}, is {after} now: needs a restart"
        for key, before, after in _differences(running, config)
        if key not in CHANGEABLE
    ]
    if faults:
        raise NotTaken(faults)
    return config, rules


def differences(before: Config, after: Config) -> list[str]:
    """Return the keys in which two configurations differ."""
    return [key for key, _, _ in _differences(before, after)]


def config_hash(config: Config) -> str:
    """Return what tells two configurations apart: the same values, the same hash, but for the names
    of their processes."""
    values = {key: value for key, value in _flat(config).items() if key not in NAMES}
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()[:12]


def _differences(before: Config, after: Config) -> list[tuple[str, Any, Any]]:
    old, new = _flat(before), _flat(after)
    keys = [*old, *(key for key in new if key not in old)]
    return [(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, msgspec.Struct):
        return {path: value}
    found: dict[str, Any] = {}
    for field in value.__struct_fields__:
        found |= _flat(getattr(value, field), f"{path}.{field}" if path else field)
    return found
