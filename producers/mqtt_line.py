"""One connection to an MQTT broker: how it is made, and how long to wait after it broke."""

from __future__ import annotations

import random
import socket
import time
from ssl import SSLContext
from typing import Any, NamedTuple

from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_SECONDS_MIN, WAIT_SECONDS_MAX = 0.25, 30.0
CONNECT_SECONDS = 10.0
WELL_SECONDS = 10.0

PACKET_BYTES_MAX = 1024 * 1024
"""What is longer the broker keeps from us: it would be in memory whole, and again after a crash."""


class Line(NamedTuple):
    """Where a broker is and who we are to it; `keepalive` in seconds."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = None
    tls: SSLContext | None = None
    keepalive: int = 30

    @property
    def place(self) -> str:
        """Where the broker is, for people."""
        return f"{self.host}:{self.port}"

    def options(self, *, session_expiry: float = 0, in_flight: int | None = None) -> dict[str, Any]:
        """Return what an `aiomqtt.Client` is made with, under MQTT 5.

        The broker keeps the session for `session_expiry` seconds after we have gone, and sends at
        most `in_flight` messages ahead of our acknowledgements.
        """
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = round(session_expiry)
        properties.MaximumPacketSize = PACKET_BYTES_MAX
        if in_flight is not None:
            properties.ReceiveMaximum = in_flight
        return {
            "hostname": self.host,
            "port": self.port,
            "identifier": self.client_id,
            "username": self.username,
            "password": self.password,
            "tls_context": self.tls,
            "keepalive": self.keepalive,
            "protocol": ProtocolVersion.V5,
            "clean_start": not session_expiry,
            "properties": properties,
            "timeout": CONNECT_SECONDS,
            # Acknowledgements are small, and the broker waits for them before it sends more.
            "socket_options": ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        }


class Waits:
    """How long to wait before the next attempt: twice as long each time, half of it by chance, so
    that many clients of one broker do not come back at once.

    Only what has gone well for a while begins anew: two clients of one name end each other's
    connection as soon as it is made.
    """

    def __init__(self) -> None:
        self._seconds = WAIT_SECONDS_MIN
        self._well_since: float | None = None

    def next(self) -> float:
        """Return the seconds to wait now."""
        well, self._well_since = self._well_since, None
        if well is not None and time.monotonic() - well > WELL_SECONDS:
            self._seconds = WAIT_SECONDS_MIN
        seconds, self._seconds = self._seconds, min(2 * self._seconds, WAIT_SECONDS_MAX)
        return seconds * random.uniform(0.5, 1)

    def well(self) -> None:
        """Take note that it goes well now."""
        if self._well_since is None:
            self._well_since = time.monotonic()


def said(error: BaseException) -> str:
    """Say what went wrong with a connection: a library's reason stands in the error's cause."""
    cause = error.__cause__
    return f"{error}: {cause}" if cause is not None and str(cause) else str(error)
