"""Publish prices over MQTT as a venue would: one JSON object a message, by symbol and kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import aiomqtt

from engine import wire
from engine.events import PriceUpdate
from producers.mqtt_line import Line

MANY = 1_000_000


class PriceFeed:
    """Prices go to `PREFIX/SYMBOL/KIND` with QoS 1; any failure is an `MqttError`."""

    def __init__(self, line: Line, prefix: str) -> None:
        self._prefix = prefix
        self._client = aiomqtt.Client(**line.options())
        # The library warns of more than ten that wait for the broker's answer.
        self._client.pending_calls_threshold = MANY

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def publish(self, prices: Iterable[PriceUpdate]) -> None:
        """Publish prices in their order, and wait until the broker has them."""
        sent = [
            self._client.publish(
                f"{self._prefix}/{price.symbol}/{price.kind}", wire.write_event(price), qos=1
            )
            for price in prices
        ]
        await asyncio.gather(*sent)
