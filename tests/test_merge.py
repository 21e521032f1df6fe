"""The merge: one order for a log at rest, however it is cut into fetches."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consumers.merge import CONTROL, POSITIONS, PRICES, Incoming, Merge, Source
from engine.events import TimePassed

SOURCES = (Source(CONTROL, 0), Source(POSITIONS, 3), Source(PRICES, 0), Source(PRICES, 1))
UNREADABLE = None

Log = dict[Source, list[Incoming]]


def record(source: Source, offset: int, time: int | None) -> Incoming:
    """Return a record with a time, or one that cannot be used."""
    event = None if time is None else TimePassed(time=time)
    return Incoming(source, offset, None, b"", event, "" if event else "why", 0, 0.0)


def log_of(*times: list[int | None]) -> Log:
    """Return a log with these times in each source."""
    return {
        source: [record(source, offset, time) for offset, time in enumerate(of_source)]
        for source, of_source in zip(SOURCES, times, strict=False)
    }


def simple_order(log: Log) -> list[Incoming]:
    """Merge a whole log the slow way: look at all the heads, take the first."""
    rest = {source: list(records) for source, records in log.items()}
    found = []
    while any(rest.values()):
        heads = [records[0] for records in rest.values() if records]
        unusable = [head for head in heads if head.event is None]
        if unusable:
            first = min(unusable, key=attrgetter("source"))
        else:
            first = min(heads, key=lambda head: (head.event.time, head.source))
        found.append(rest[first.source].pop(0))
    return found


def fetched(log: Log, chance: Random, most: int) -> Iterator[Incoming]:
    """Push a log in seeded pieces, take what the merge gives in between."""
    merge = Merge(log)
    position = dict.fromkeys(log, 0)
    while any(position[source] < len(log[source]) for source in log) or not merge.drained:
        source = chance.choice(list(log))
        count = chance.randint(0, most)
        merge.push(source, log[source][position[source] : position[source] + count])
        position[source] = min(len(log[source]), position[source] + count)
        merge.at_end(source, position[source] == len(log[source]))
        for _ in range(chance.randint(0, 3 * most)):
            if (taken := merge.take()) is None:
                break
            yield taken


times = st.lists(st.one_of(st.integers(0, 12), st.none()), max_size=12)


@given(st.lists(times, min_size=1, max_size=4), st.integers(0, 2**32), st.integers(1, 5))
def test_a_log_at_rest_has_one_order(times: list[list[int | None]], seed: int, most: int) -> None:
    log = log_of(*times)
    assert list(fetched(log, Random(seed), most)) == simple_order(log)


def test_the_smallest_time_goes_first_and_ties_go_by_topic_then_partition() -> None:
    log = log_of([5], [5], [5], [5, 4])
    order = [str(record) for record in simple_order(log)]
    assert order == ["control/0/0", "positions/3/0", "prices/0/0", "prices/1/0", "prices/1/1"]
    assert [str(record) for record in fetched(log, Random(1), 3)] == order


def test_what_cannot_be_used_goes_as_soon_as_it_heads_its_partition() -> None:
    log = log_of([9], [1, UNREADABLE, 2])
    order = [str(record) for record in fetched(log, Random(1), 3)]
    assert order == ["positions/3/0", "positions/3/1", "positions/3/2", "control/0/0"]


def test_nothing_overtakes_a_partition_that_has_more() -> None:
    control, positions = SOURCES[:2]
    merge = Merge([control, positions])
    merge.push(positions, [record(positions, 0, 7)])
    merge.at_end(positions, True)
    assert merge.blocked
    assert merge.take() is None, "nobody knows yet whether control is at its end"
    merge.push(control, [record(control, 0, 3)])
    assert str(merge.take()) == "control/0/0"
    assert merge.take() is None
    merge.at_end(control, True)
    assert str(merge.take()) == "positions/3/0"
    assert merge.drained
    assert not merge.blocked


def test_control_alone_is_taken_up_to_a_time() -> None:
    control, positions = SOURCES[:2]
    merge = Merge([control, positions])
    merge.push(positions, [record(positions, 0, 1)])
    merge.push(control, [record(control, 0, 3), record(control, 1, None), record(control, 2, 4)])
    assert str(merge.take_control(3)) == "control/0/0"
    assert str(merge.take_control(0)) == "control/0/1", "it has no time that could be too late"
    assert merge.take_control(3) is None
    assert str(merge.take()) == "positions/3/0"


def test_memory_is_bounded_by_what_is_asked_for() -> None:
    control, positions = SOURCES[:2]
    merge = Merge([control, positions])
    merge.push(positions, [record(positions, offset, 1) for offset in range(5)])
    assert merge.below(5) == [control]
    assert merge.below(6) == [control, positions]
    assert merge.waiting(positions) == 5
    assert str(merge.oldest(positions)) == "positions/3/0"
    assert merge.oldest(control) is None
