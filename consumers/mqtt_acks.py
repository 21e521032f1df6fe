"""A subscriber to MQTT that acknowledges a message when it is told to, and not before.

The library acknowledges as soon as a message has come, so that a crash loses what was not written
yet. The client below it can leave that to us; it is reached by a private attribute.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

AT_ONCE = 100
"""Messages that are handled without a pause: others share the loop."""


SUBSCRIPTIONS = 268_435_455
"""Numbers that MQTT 5 has for subscriptions, from 1."""


class NotSubscribed(aiomqtt.MqttError):
    """The broker does not let us read a topic."""


class Subscriber(aiomqtt.Client):
    """A client whose messages of QoS 1 stay the broker's until `acknowledge`."""

    def __init__(self, **options: Any) -> None:
        # One wait for each message would be most of the work when many come. The type that the
        # library names is its own subclass; it calls this with the size and puts messages in.
        self._arrived: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()
        super().__init__(queue_type=lambda maxsize: self._arrived, **options)  # type: ignore[arg-type]
        self._client.manual_ack_set(True)

    async def listen(self, topic: str) -> None:
        """Subscribe with QoS 1; raises `NotSubscribed`, `MqttError`.

        What is retained comes again each time: the newest of what a full queue has dropped.
        """
        properties = Properties(PacketTypes.SUBSCRIBE)
        properties.SubscriptionIdentifier = _number(topic)
        for code in await self.subscribe(topic, qos=1, properties=properties):
            if getattr(code, "is_failure", False):
                raise NotSubscribed(f"the broker refuses to subscribe us to {topic}: {code}")

    async def arrivals(self) -> AsyncIterator[list[aiomqtt.Message]]:
        """Yield what has come, in its order, some messages at a time; raises `MqttError` when the
        connection ends."""
        async for message in self.messages:
            more = min(self._arrived.qsize(), AT_ONCE - 1)
            yield [message, *(self._arrived.get_nowait() for _ in range(more))]

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Let the broker forget a message; without an effect once the connection is gone."""
        self._client.ack(message.mid, message.qos)


def came_for(message: aiomqtt.Message, topic: str) -> bool:
    """Tell whether a message came for the subscription to `topic`.

    Of subscriptions that overlap, each may get a copy; so may one of an earlier configuration, as
    long as the broker keeps the session.
    """
    numbers = getattr(message.properties, "SubscriptionIdentifier", ())
    return not numbers or _number(topic) in numbers


def _number(topic: str) -> int:
    """Return a subscription's number, the same after every restart."""
    return 1 + zlib.crc32(topic.encode()) % SUBSCRIPTIONS
