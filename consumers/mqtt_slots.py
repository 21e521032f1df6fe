"""What waits for Kafka: the newest price of each source, symbol and kind, and nothing older.

What is no newer than the last one is refused here, so that a message that the broker delivers again
reaches Kafka once. A source without sequences is numbered here, each symbol by itself, one after
another; what was written before a restart is told first.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from consumers.mqtt_sources import Price
from engine.events import PriceUpdate

Key = tuple[str, str, str]
"""Source, symbol and kind."""


class Slots:
    """A slot for each key, in the order in which they were filled last."""

    def __init__(self) -> None:
        self._slots: dict[Key, Price] = {}
        self._sequences: dict[tuple[str, str], int] = {}
        self._newest: dict[Key, tuple[int, Decimal]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def recover(self, event: PriceUpdate) -> None:
        """Take note of a price that stands in Kafka, in the order of its topic."""
        at, key = (event.source, event.symbol), (event.source, event.symbol, event.kind)
        self._sequences[at] = max(event.sequence, self._sequences.get(at, 0))
        if event.time >= self._newest.get(key, (0, 0))[0]:
            self._newest[key] = (event.time, event.price)

    def offer(self, price: Price) -> Price | None:
        """Put a price into its slot and return what it takes the place of.

        Raises `NotNewer`.
        """
        event, at = price.event, (price.event.source, price.event.symbol)
        if price.order == "sequence":
            if event.sequence <= self._sequences.get(at, -1):
                raise NotNewer
            self._sequences[at] = event.sequence
        elif price.order == "time":
            newest = self._newest.get(price.key)
            # Times are coarse: another price of the same time is a newer one.
            if newest and (event.time < newest[0] or (event.time, event.price) == newest):
                raise NotNewer
            self._newest[price.key] = (event.time, event.price)
        replaced = self._slots.pop(price.key, None)
        self._slots[price.key] = price
        return replaced

    def take(self) -> list[Price]:
        """Empty the slots; every price has a sequence then."""
        taken = [self._numbered(price) for price in self._slots.values()]
        self._slots = {}
        return taken

    def put_back(self, prices: list[Price]) -> list[Price]:
        """Fill slots with what could not be written, and return what newer ones replaced
        meanwhile."""
        back = {price.key: price for price in prices if price.key not in self._slots}
        self._slots = {**back, **self._slots}
        return [price for price in prices if price.key not in back]

    def _numbered(self, price: Price) -> Price:
        event = price.event
        if price.order == "sequence" or event.sequence:
            return price
        at = (event.source, event.symbol)
        # Where nothing is known, above whatever was before: nobody sends a million a second.
        self._sequences[at] = sequence = self._sequences.get(at, price.came - 1) + 1
        return price._replace(event=msgspec.structs.replace(event, sequence=sequence))


class NotNewer(Exception):
    """A price is at or below the last one of its source and symbol."""
