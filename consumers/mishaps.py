"""What goes wrong from outside, in words instead of a traceback: which part, and which key."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from consumers.config import Config

NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Reporting(click.Group):
    """A group whose commands tell expected failures in words instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            # Click's own ways to end; the last one when whoever read the output has had enough.
            raise
        except _expected() as error:
            raise click.ClickException(_told(error)) from error


@contextmanager
def settings(config_file: Path) -> Iterator[Config]:
    """Give what the daemon's file says; inside, brokers that do not answer are named."""
    from aiokafka.errors import KafkaConnectionError

    from consumers import config

    found = config.read(config_file)
    try:
        yield found
    except KafkaConnectionError as error:
        brokers = ", ".join(found.kafka.brokers)
        raise click.ClickException(
            f"kafka: no broker answers at {brokers} ({config_file}: kafka.brokers)"
        ) from error


@contextmanager
def unfinished(log: str | None) -> Iterator[None]:
    """Say what is left of an event log that could not be written to its end."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        part = Path(f"{log}.part")
        if log is not None and part.exists():
            click.echo(f"{part}: left as it is, an unfinished event log", err=True)
        raise


def _expected() -> tuple[type[Exception], ...]:
    """Return what may go wrong; what belongs to Kafka only where its client was loaded."""
    from consumers.event_log import EventLogError
    from consumers.profiles import NoSuchProfile
    from consumers.replay import BrokenInvariant
    from consumers.toml_file import FileFaults
    from engine.wire import WireError

    kinds = [BrokenInvariant, EventLogError, FileFaults, NoSuchProfile, OSError]
    if "aiokafka" in sys.modules:
        from aiokafka.errors import KafkaError

        from consumers.presence import TopicMissing

        kinds += [KafkaError, TopicMissing, WireError]
    return tuple(kinds)


def _told(error: Exception) -> str:
    # A file that was opened by its name is in the error; standard output never is.
    if isinstance(error, OSError) and error.filename is None and error.errno in NOT_WRITTEN:
        return f"standard output: {error.strerror}"
    return str(error)
