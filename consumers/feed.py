"""What every world of the demo sends: time, prices with their sequences, accounts with theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Protocol

from aiokafka.partitioner import murmur2

from engine.decisions import Decision
from engine.events import AnyEvent, PriceKind, PriceUpdate

Record = tuple[int | None, AnyEvent]
"""An event and its shard; None is every shard."""

SOURCE = "venue"


class Clock:
    """The world's time in microseconds UTC; each record takes one of its own."""

    def __init__(self, time: int) -> None:
        self.time = time

    def stamp(self) -> int:
        """Return the time of the next record."""
        self.time += 1
        return self.time

    def wait_until(self, time: int) -> None:
        """Move on to `time`; records never go back."""
        self.time = max(self.time, time)


class Day(Protocol):
    """What is played: records slot by slot, with an ear for what is decided about them."""

    clock: Clock
    prices: dict[str, Decimal]

    @property
    def last_price_time(self) -> int:
        """When the last price was published, microseconds UTC."""

    @property
    def shards(self) -> int:
        """Over how many shards accounts are spread."""

    @property
    def minutes(self) -> range:
        """The minutes of the day that are played."""

    def play(self) -> Iterator[list[Record]]:
        """Yield the records of each slot, in order of time."""

    def hear(self, decision: Decision) -> None:
        """Take in a decision; what it asks of the venue is answered in a later slot."""


class Count(Protocol):
    """Who counts what went in and came out."""

    def event(self, event: AnyEvent) -> None:
        """Count an event."""

    def decision(self, decision: Decision) -> None:
        """Count a decision."""


class Ticker:
    """Prices as they were last published, and the time of the last one."""

    def __init__(self, clock: Clock) -> None:
        self.last_time = 0
        self._clock = clock
        self._sequences: dict[str, int] = defaultdict(int)

    def publish(self, symbol: str, kind: PriceKind, price: Decimal) -> Record:
        """Return a price as the next record."""
        self._sequences[symbol] += 1
        self.last_time = self._clock.stamp()
        return None, PriceUpdate(
            symbol=symbol,
            kind=kind,
            price=price,
            source=SOURCE,
            sequence=self._sequences[symbol],
            time=self.last_time,
        )


class Accounts:
    """What every event about an account carries: whose, the next sequence, the next time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sequences: dict[str, int] = {}

    def stamped(self, account: str) -> dict[str, Any]:
        """Return the fields of the account's next event."""
        sequence = self._sequences.get(account, 0) + 1
        self._sequences[account] = sequence
        return {"account": account, "sequence": sequence, "time": self._clock.stamp()}


def shard_of(account: str, shards: int) -> int:
    """Return the partition of an account, as Kafka's Java client and its heirs choose it."""
    place: int = murmur2(account.encode()) & 0x7FFFFFFF
    return place % shards


class Shards:
    """Where accounts live, remembered."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._known: dict[str, int] = {}

    def of(self, account: str) -> int:
        """Return the shard of an account."""
        shard = self._known.get(account)
        if shard is None:
            shard = self._known[account] = shard_of(account, self.count)
        return shard
