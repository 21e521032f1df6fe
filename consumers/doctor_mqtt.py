"""Whether the MQTT broker answers, where the daemon's file makes use of one."""

from __future__ import annotations

import asyncio

from aiomqtt import Client, MqttError

from consumers.config import Config
from consumers.doctor import Finding

SECONDS = 5.0
REMEDY = "start it, open the way to it, or correct the keys of [mqtt]"


async def examine(config: Config) -> list[Finding]:
    """Connect as the daemon would, under a name of our own, and leave again."""
    if not (config.mqtt.publish.enabled or config.bridge.sources):
        return []
    line = config.mqtt.line("doctor")
    try:
        async with asyncio.timeout(SECONDS), Client(**line.options()):
            return [Finding("mqtt", "ok", f"{line.place}: answers")]
    except (MqttError, OSError, TimeoutError) as error:
        said = f"{line.place}: does not answer: {type(error).__name__}: {error}".rstrip(": ")
        return [Finding("mqtt", "fail", said, REMEDY)]
