"""Write an event log: every event that engines were given, one a line, in order.

A line is `{"shard":0,"event":{…}}`; shard null means every shard. The name says how the file is
packed: `.gz`, `.zst`, or plain. The same events give the same bytes.
"""

from __future__ import annotations

import gzip
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import zstandard

STANDARD_STREAM = "-"
"""The name that means standard input or output."""


class EventLogWriter:
    """Write events to `path`, or plain to standard output when it is "-".

    Until all is well written the file is called `path`.part, so that no log is shorter than it
    looks. Raises `OSError` when the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.events = 0
        self._open = ExitStack()
        self._file: BinaryIO | None = None
        self._part: Path | None = None

    def write(self, shard: int | None, event: bytes) -> None:
        """Append one event, the JSON object as it came, for `shard` or for every shard."""
        assert self._file is not None, "event log: written outside `with`"
        # A line end inside JSON can only be white space between its tokens.
        flat = event.replace(b"\n", b" ").replace(b"\r", b" ")
        place = b"null" if shard is None else b"%d" % shard
        try:
            self._file.write(b'{"shard":%b,"event":%b}\n' % (place, flat))
        except OSError as error:
            self._name(error)
            raise
        self.events += 1

    def __enter__(self) -> Self:
        self._file = self._opened()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.path == STANDARD_STREAM:
            sys.stdout.flush()
        self._file = None
        try:
            self._open.close()
        except OSError as failure:
            self._name(failure)
            raise
        if kind is None and self._part is not None:
            self._part.replace(self.path)

    def _name(self, error: OSError) -> None:
        """Put the file's name into an error of writing, which comes without."""
        if self.path != STANDARD_STREAM and error.filename is None:
            error.filename = str(self._part or self.path)

    def _opened(self) -> BinaryIO:
        if self.path == STANDARD_STREAM:
            return sys.stdout.buffer
        raw = self._open.enter_context(self._written().open("wb"))
        if self.path.endswith(".gz"):
            # Neither the time of writing nor the name belongs to what was written.
            packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
            return cast(BinaryIO, self._open.enter_context(packed))
        if self.path.endswith(".zst"):
            compressor = zstandard.ZstdCompressor(level=6, write_checksum=True)
            return cast(BinaryIO, self._open.enter_context(compressor.stream_writer(raw)))
        return raw

    def _written(self) -> Path:
        """Return what is written to: a pipe or device itself, else a file of another name."""
        path = Path(self.path)
        if not path.exists() or path.is_file():
            self._part = path = path.with_name(f"{path.name}.part")
        return path
