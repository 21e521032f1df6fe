"""Read an event log: plain, gzip or Zstandard, told apart by their first bytes.

The lines are those that `producers.event_log` writes: `{"shard":0,"event":{…}}`, shard null meaning
every shard.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

import msgspec
import zstandard

from producers.event_log import STANDARD_STREAM

CHUNK = 1 << 16
LONGEST_LINE = 16 << 20
"""Bytes of a line; no record of Kafka's comes near."""

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"


class EventLogError(ValueError):
    """An event log, or one of its lines, cannot be read; the text names file and line."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    shard: int | None
    event: msgspec.Raw


class _Member(Protocol):
    """What a decompressor of either kind is."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


_decoder = msgspec.json.Decoder(_Line)


def read(path: str | Path) -> Iterator[tuple[int | None, bytes]]:
    """Give each event of the log with its shard; "-" reads standard input.

    Raises `EventLogError` at the first line that cannot be read, `OSError` when there is no file.
    """
    return iter(EventLogReader(path))


class EventLogReader:
    """Iterate over a log's events, each as (shard or None, JSON of the event).

    `line` is the number of the line that was given last, `position` the number of bytes read of the
    file as it is packed, `size` what there is of them, if that can be known. With `on_fault` a line
    that cannot be read is handed to it and passed over; without, it raises `EventLogError`, as a
    damaged or truncated archive always does.
    """

    def __init__(
        self, path: str | Path, on_fault: Callable[[EventLogError], None] | None = None
    ) -> None:
        self.path = str(path)
        self.line = 0
        self.position = 0
        self.size = _size(self.path)
        self._on_fault = on_fault

    def __iter__(self) -> Iterator[tuple[int | None, bytes]]:
        if self.path == STANDARD_STREAM:
            yield from self._events(cast(BufferedReader, sys.stdin.buffer))
            return
        with open(self.path, "rb") as file:
            yield from self._events(file)

    def fault(self, reason: object) -> EventLogError:
        """Return an error that names the file, the line given last, and `reason`."""
        return EventLogError(f"{self._name}: line {self.line}: {reason}")

    @property
    def _name(self) -> str:
        return "standard input" if self.path == STANDARD_STREAM else self.path

    def _events(self, file: BufferedReader) -> Iterator[tuple[int | None, bytes]]:
        for raw in _lines(self._unpacked(file)):
            self.line += 1
            if len(raw) > LONGEST_LINE:
                self._refuse(self.fault(f"longer than {LONGEST_LINE >> 20} MiB"))
                continue
            if not raw.strip():
                continue
            try:
                line = _decoder.decode(raw)
            except ValueError as error:
                self._refuse(self.fault(f"not a line of an event log: {error}"))
                continue
            if line.shard is not None and line.shard < 0:
                self._refuse(self.fault(f"shard {line.shard} is negative"))
                continue
            yield line.shard, bytes(line.event)

    def _refuse(self, error: EventLogError) -> None:
        if self._on_fault is None:
            raise error
        self._on_fault(error)

    def _packed(self, file: BufferedReader) -> Iterator[bytes]:
        while chunk := file.read1(CHUNK):
            self.position += len(chunk)
            yield chunk

    def _unpacked(self, file: BufferedReader) -> Iterator[bytes]:
        first = file.peek(len(ZSTD))
        if first.startswith(GZIP):
            return self._members(file, partial(zlib.decompressobj, wbits=zlib.MAX_WBITS | 16))
        if first.startswith(ZSTD):
            return self._members(file, zstandard.ZstdDecompressor().decompressobj)
        return self._packed(file)

    def _members(self, file: BufferedReader, new: Callable[[], _Member]) -> Iterator[bytes]:
        """Unpack what is a series of members: archives may be joined end to end."""
        member: _Member | None = None
        try:
            for chunk in self._packed(file):
                rest = chunk
                while rest:
                    member = member or new()
                    yield member.decompress(rest)
                    # Before the end of a member all input is taken up.
                    rest = member.unused_data if member.eof else b""
                    member = None if member.eof else member
        except (zlib.error, zstandard.ZstdError) as error:
            raise self.fault(f"the archive is damaged after this line: {error}") from error
        if member is not None:
            raise self.fault("the archive ends after this line, in the middle")


def _size(path: str) -> int | None:
    if path == STANDARD_STREAM:
        return None
    status = os.stat(path)
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Give line by line; of one that is too long, no more than shows that it is."""
    parts: list[bytes] = []
    length = 0
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join((*parts, end))
            parts, length = [], 0
        if length <= LONGEST_LINE:
            parts.append(rest)
            length += len(rest)
    if length:
        yield b"".join(parts)
