"""What the daemon writes to standard error: one JSON object a line, never more than bearable.

A committed decision is a line with what connects it: shard, seq and index of its own, topic,
partition and offset of its cause, account, order and number of its liquidation. Of each type of
line so many go out in a second; one more then says how many were left out. Lines of libraries count
by logger and text.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple, TextIO, cast

import msgspec
import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from consumers.running_config import Log
from engine import decisions as d
from engine.money import plain
from producers.kafka import CLOCK, Cause
from producers.report import moment

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": 30, "error": logging.ERROR}

QUIET = (d.Duplicate, d.Ignored, d.FeeCharged, d.LossCharged, d.MarginCall, d.CancelOpenOrders)
"""What comes too often, and says too little, to be read one by one."""

WARNED = (
    d.Anomaly,
    d.BreakerTripped,
    d.Gap,
    d.PriceHeld,
    d.Refused,
    d.Shortfall,
    d.SnapshotDifference,
    d.WithdrawalGate,
    d.WithdrawalUnpaid,
)
GRAVE = (d.BadDebt,)
WINDOW_SECONDS = 1.0
FIRST = ("timestamp", "level", "event")

log = structlog.get_logger()


class LeftOut(NamedTuple):
    """How many lines of a type a window left out."""

    of: str
    lines: int
    level: str
    seconds: float


class _Window:
    """A second's lines of one type: how many went out, and how many did not."""

    def __init__(self, began: float, level: str) -> None:
        self.began, self.level = began, level
        self.written = self.left_out = 0


class Sampling:
    """Count lines by type and second; safe to be asked by several threads."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._ended: list[LeftOut] = []

    def admits(self, kind: str, level: str, now: float) -> bool:
        """Tell whether one more line of a type may go out, and count it; `now` in seconds."""
        with self._lock:
            window = self._windows.get(kind)
            if window is None or now >= window.began + WINDOW_SECONDS:
                self._end(kind, now)
                window = self._windows[kind] = _Window(now, level)
            if window.written < self.per_second:
                window.written += 1
                return True
            window.left_out += 1
            return False

    def over(self, now: float, *, all_of_them: bool = False) -> list[LeftOut]:
        """Return what the windows that are over left out, and forget them."""
        with self._lock:
            for kind, window in list(self._windows.items()):
                if all_of_them or now >= window.began + WINDOW_SECONDS:
                    self._end(kind, now)
            ended, self._ended = self._ended, []
        return ended

    def _end(self, kind: str, now: float) -> None:
        window = self._windows.pop(kind, None)
        if window is not None and window.left_out:
            seconds = round(now - window.began, 3)
            self._ended.append(LeftOut(kind, window.left_out, window.level, seconds))


class _Stderr:
    """Standard error, where a line that cannot be written is lost, and nothing else: a full disk or
    a reader that is gone must not end what liquidates."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


_sampling = Sampling(Log().sample_per_second)
_shown = logging.INFO


def configure(settings: Log) -> None:
    """Write from now on as `settings` say, libraries' warnings included; may be called again."""
    global _shown
    _shown = LEVELS[settings.level]
    _sampling.per_second = settings.sample_per_second
    stamp: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shape: list[Any] = [structlog.processors.format_exc_info, _json]
    if settings.format == "text":
        shape = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[_sample, *stamp, *shape],
        wrapper_class=structlog.make_filtering_bound_logger(_shown),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Stderr())),
    )
    handler = logging.StreamHandler(_Stderr())
    handler.addFilter(_sample_library)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shape],
            foreign_pre_chain=[*stamp, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(_shown, logging.WARNING), force=True)


async def keep_telling() -> None:
    """Say once a second what was left out, until cancelled; then say the rest."""
    try:
        while True:
            await asyncio.sleep(WINDOW_SECONDS / 2)
            _tell(_sampling.over(time.monotonic()))
    finally:
        _tell(_sampling.over(time.monotonic(), all_of_them=True))


def decided(decisions: Iterable[tuple[d.Decision, Cause]]) -> None:
    """Write what was decided; call this only once it is committed."""
    now = time.monotonic()
    for decision, cause in decisions:
        level = _level(decision)
        kind = type(decision).__name__
        # What is not written costs nothing: a storm is when there is no time.
        if LEVELS[level] >= _shown and _sampling.admits(kind, level, now):
            log.log(LEVELS[level], kind, counted=True, **_fields(decision, cause))


def _level(decision: d.Decision) -> str:
    if isinstance(decision, QUIET):
        return "debug"
    if isinstance(decision, WARNED):
        return "warning"
    return "error" if isinstance(decision, GRAVE) else "info"


def _fields(decision: d.Decision, cause: Cause) -> dict[str, Any]:
    """Return what a decision says in single words and numbers, and what it answers."""
    found: dict[str, Any] = {}
    for field in decision.__struct_fields__:
        value = getattr(decision, field)
        # A line's own name is under "event".
        name = "record_type" if field == "event" else field
        if isinstance(value, Decimal):
            found[name] = plain(value)
        elif isinstance(value, str | int):
            found[name] = value
    found["time"] = moment(decision.time).replace(" ", "T") + "Z"
    if isinstance(decision, d.GroupDecision) and "number" not in found and "order_id" in found:
        # ACCOUNT:NUMBER:ATTEMPT:SYMBOL
        of_account = str(found["order_id"]).removeprefix(f"{decision.account}:")
        number = of_account.partition(":")[0]
        if number.isdecimal():
            found["number"] = int(number)
    return {**found, **({"topic": CLOCK} if cause.topic == CLOCK else cause._asdict())}


def _tell(left_out: Iterable[LeftOut]) -> None:
    for item in left_out:
        said = {"of": item.of, "count": item.lines, "seconds": item.seconds}
        log.log(LEVELS[item.level], "left out", counted=True, **said)


def _sample(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Drop a line of which there were enough; raises `structlog.DropEvent`."""
    if not event.pop("counted", False):
        level = method if method in LEVELS else "error"
        if not _sampling.admits(str(event.get("event")), level, time.monotonic()):
            raise structlog.DropEvent
    return event


def _sample_library(record: logging.LogRecord) -> bool:
    level = record.levelname.lower()
    kind = f"{record.name}: {str(record.msg)[:100]}"
    return _sampling.admits(kind, level if level in LEVELS else "error", time.monotonic())


def _json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    # What every line has comes first: lines are read by people too.
    first = {key: event[key] for key in FIRST if key in event}
    return orjson.dumps({**first, **event}, default=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    return str(value)
