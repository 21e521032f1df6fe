"""The event log: what is written comes back, and what is broken says where."""

import gzip
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from consumers.event_log import LONGEST_LINE, EventLogError, EventLogReader, read
from producers.event_log import EventLogWriter

EVENTS = [
    (0, b'{"type":"TimePassed","time":1}'),
    (3, '{"type":"Halt","time":2,"reason":"µ"}'.encode()),
    (None, b'{"type":"TimePassed","time":3}'),
]
NAMES = ["log.jsonl", "log.jsonl.gz", "log.jsonl.zst"]


def written(path: Path, times: int = 1) -> Path:
    with EventLogWriter(path) as log:
        for _ in range(times):
            for shard, event in EVENTS:
                log.write(shard, event)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_comes_back(tmp_path: Path, name: str) -> None:
    assert list(read(written(tmp_path / name, times=5_000))) == EVENTS * 5_000


@pytest.mark.parametrize("name", NAMES)
def test_the_same_events_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    first, second = written(tmp_path / name), written(tmp_path / "other" / name)
    assert first.read_bytes() == second.read_bytes()


def test_packing_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    packed = written(tmp_path / "log.jsonl.zst").rename(tmp_path / "log.txt")
    assert list(read(packed)) == EVENTS


@pytest.mark.parametrize("name", NAMES)
def test_logs_may_be_joined_end_to_end(tmp_path: Path, name: str) -> None:
    one = written(tmp_path / name).read_bytes()
    (tmp_path / "two").write_bytes(one + one)
    assert list(read(tmp_path / "two")) == EVENTS * 2


def test_a_line_end_inside_an_event_does_not_split_it(tmp_path: Path) -> None:
    with EventLogWriter(tmp_path / "log") as log:
        log.write(1, b'{\r\n  "time": 1\n}')
    assert list(read(tmp_path / "log")) == [(1, b'{    "time": 1 }')]


def test_the_reader_counts_lines_and_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl.gz")
    reader = EventLogReader(path)
    assert len(list(reader)) == reader.line == 3
    assert reader.position == reader.size == path.stat().st_size


BROKEN = [
    (b'{"shard":0,"event":{"time":1}', "not a line of an event log"),
    (b'{"shard":"0","event":{}}', "Expected `int | null`, got `str`"),
    (b'{"shard":0}', "missing required field `event`"),
    (b'{"shard":0,"event":{},"offset":3}', "unknown field `offset`"),
    (b'{"shard":-1,"event":{}}', "shard -1 is negative"),
    (b"\xff\xfe", "not a line of an event log"),
]


@pytest.mark.parametrize(("line", "reason"), BROKEN)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = written(tmp_path / "log")
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(EventLogError, match="log: line 4: ") as caught:
        list(read(path))
    assert reason in str(caught.value)


def test_a_broken_line_can_be_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "log")
    path.write_bytes(b"rubbish\n\n" + path.read_bytes())
    faults: list[EventLogError] = []
    assert list(EventLogReader(path, on_fault=faults.append)) == EVENTS
    assert [str(fault).split(": ")[1] for fault in faults] == ["line 1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_without_end_is_refused_and_passed_over(tmp_path: Path, name: str) -> None:
    endless = tmp_path / f"endless-{name}"
    with EventLogWriter(endless) as log:
        log.write(0, b'{"reason":"%b"}' % (b"x" * (LONGEST_LINE * 4)))
    whole = written(tmp_path / name).read_bytes()
    endless.write_bytes(whole + endless.read_bytes() + whole)
    with pytest.raises(EventLogError, match="line 4: longer than 16 MiB"):
        list(read(endless))
    faults: list[EventLogError] = []
    assert list(EventLogReader(endless, on_fault=faults.append)) == EVENTS * 2
    assert len(faults) == 1


def test_the_longest_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = b'{"shard":0,"event":{}}'
    path.write_bytes(b"\n" + line.ljust(LONGEST_LINE) + b"\n" + line)
    assert list(read(path)) == [(0, b"{}")] * 2


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_truncated_archive_is_no_shorter_log(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, times=5_000)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(EventLogError, match="ends after this line, in the middle"):
        list(EventLogReader(path, on_fault=lambda fault: None))


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, times=5_000)
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(EventLogError):
        list(EventLogReader(path, on_fault=lambda fault: None))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_standard_input_is_read_however_it_is_packed(tmp_path: Path, pack) -> None:
    show = "from consumers.event_log import read; print(list(read('-')))"
    packed = pack(written(tmp_path / "log").read_bytes())
    done = subprocess.run([sys.executable, "-c", show], input=packed, capture_output=True)
    assert done.stdout.decode().strip() == str(EVENTS)


def test_standard_output_takes_a_log() -> None:
    write = (
        "from producers.event_log import EventLogWriter as W\nwith W('-') as w: w.write(2, b'{}')"
    )
    done = subprocess.run([sys.executable, "-c", write], capture_output=True)
    assert done.stdout == b'{"shard":2,"event":{}}\n'


@pytest.mark.parametrize("name", NAMES)
def test_a_log_that_was_not_finished_does_not_look_like_one(tmp_path: Path, name: str) -> None:
    kept = written(tmp_path / name).read_bytes()
    log = EventLogWriter(tmp_path / name)
    with suppress(RuntimeError), log:
        log.write(0, b"{}")
        raise RuntimeError
    assert (tmp_path / name).read_bytes() == kept
    assert (tmp_path / f"{name}.part").exists()
