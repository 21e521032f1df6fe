"""Records that nobody should send, put among those of a day."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import orjson

from consumers.feed import Record, shard_of
from engine import wire
from engine.events import PriceUpdate

ASSET = "USDT"
LARGE = 900_000
YEAR = 365 * 86_400 * 1_000_000


class Placed(NamedTuple):
    """A record with its place; `refused` tells whether it belongs into the dead letters."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    refused: bool = False


class Poison:
    """A seeded source of bad records for a log with some shards."""

    def __init__(self, seed: int, shards: int, symbol: str) -> None:
        self._chance = Random(seed)
        self._shards = shards
        self._symbol = symbol
        self._number = 0

    def among(self, records: list[Record], every: int) -> Iterator[Placed]:
        """Give the records of a log, with some poison after one in `every`."""
        kinds = [self._prices, self._positions, self._control]
        last: Placed | None = None
        for place, (shard, event) in enumerate(records):
            raw = wire.write_event(event)
            if isinstance(event, PriceUpdate):
                last = Placed("prices", 0, event.symbol.encode(), raw)
            elif shard is None or not hasattr(event, "account"):
                last = Placed("control", 0, None, raw)
            else:
                last = Placed("positions", shard, event.account.encode(), raw)
            yield last
            # The rules first: before they are whole, nothing is looked at.
            if place > len(records) // 10 and place % every == 0:
                yield from self._chance.choice(kinds)(event.time, last)

    def _prices(self, time_now: int, last: Placed) -> Iterator[Placed]:
        good = {
            "type": "PriceUpdate",
            "time": time_now,
            "symbol": self._symbol,
            "kind": "mark",
            "price": "100",
            "source": "poison",
            "sequence": self._next(),
        }
        bad = self._chance.choice(
            [
                {"price": "NaN"},
                {"price": "0"},
                {"price": "-1"},
                {"price": "1e30"},
                {"price": {}},
                {"price": "0.000000000000001"},
                {"symbol": "NOBODY"},
                {"kind": "guess"},
                {"time": time.time_ns() // 1000 + YEAR},
                {"time": "now"},
                {"version": 99},
                {"colour": "red"},
                {"type": "Deposit"},
            ]
        )
        yield Placed("prices", 0, b"poison", orjson.dumps({**good, **bad}), refused=True)
        yield Placed("prices", 0, None, orjson.dumps(good)[: self._chance.randrange(1, 90)], True)
        yield Placed("prices", 0, None, orjson.dumps(good).replace(b'"100"', b"NaN"), refused=True)
        if self._chance.random() < 0.1:
            yield Placed("prices", 0, None, b"[" * LARGE, refused=True)
        if last.topic == "prices":
            yield last

    def _positions(self, time_now: int, last: Placed) -> Iterator[Placed]:
        name = f"poison-{self._next()}"
        home = shard_of(name, self._shards)
        deposit = {
            "type": "Deposit",
            "time": time_now,
            "account": name,
            "sequence": 1,
            "asset": ASSET,
            "amount": "100",
        }
        fill = {
            "type": "Fill",
            "time": time_now,
            "account": name,
            "sequence": 3,
            "symbol": self._symbol,
            "margin": "cross",
            "size": "1",
            "price": "100",
            "fee": "0",
            "fee_asset": ASSET,
            "fill_id": "f",
            "order_id": f"{name}:1:1:{self._symbol}",
        }
        key, other = name.encode(), (home + 1) % self._shards
        yield Placed("positions", home, b"other", orjson.dumps(deposit), refused=True)
        yield Placed("positions", other, key, orjson.dumps(deposit), refused=True)
        yield Placed("positions", home, key, orjson.dumps({**deposit, "asset": "?"}), refused=True)
        yield Placed("positions", home, key, orjson.dumps({**deposit, "amount": "-1"}), True)
        future = {**deposit, "time": time.time_ns() // 1000 + YEAR}
        yield Placed("positions", home, key, orjson.dumps(future), refused=True)
        yield Placed("positions", home, key, orjson.dumps({**deposit, "sequence": 2}))
        # Out of order: what comes later with an earlier number is not applied.
        yield Placed("positions", home, key, orjson.dumps(deposit))
        yield Placed("positions", home, key, orjson.dumps({**deposit, "sequence": 2}))
        yield Placed("positions", home, key, orjson.dumps(fill), refused=True)
        yield Placed("positions", home, key, orjson.dumps({**fill, "order_id": 7}), refused=True)
        yield Placed("positions", home, key, None, refused=True)
        if last.topic == "positions":
            yield last

    def _control(self, time_now: int, last: Placed) -> Iterator[Placed]:
        halt = {"type": "Halt", "time": time_now, "symbol": "NOBODY"}
        settled = {"type": "Settled", "time": time_now, "symbol": "NOBODY", "price": "1"}
        future = {**halt, "symbol": "", "time": time.time_ns() // 1000 + YEAR}
        # Sound, but for one shard only, and these are several.
        lends = {"name": "lends", "numeraire": ASSET, "collateral": {ASSET: {}}}
        lends |= {"conversion": [ASSET], "lending": {"pools": {ASSET: {"asset": ASSET}}}}
        profile = {"type": "ProfileChanged", "time": time_now, "profile": lends}
        lost = ({**halt, "symbol": ["all"]}, {"type": "Hello"}, future, profile)
        for value in (halt, settled, *lost):
            yield Placed("control", 0, None, orjson.dumps(value), refused=True)

    def _next(self) -> int:
        self._number += 1
        return self._number
