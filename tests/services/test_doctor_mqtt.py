"""Doctor asks the MQTT broker only where the file makes use of one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from consumers import config, doctor_mqtt
from tests.services import missing
from tests.services.mosquitto import mosquitto

pytestmark = pytest.mark.services


@pytest.mark.skipif(missing("mosquitto") is not None, reason=str(missing("mosquitto")))
async def test_a_broker_that_is_used_must_answer(tmp_path: Path) -> None:
    assert await doctor_mqtt.examine(config.Config()) == []
    server = mosquitto(tmp_path)
    await asyncio.to_thread(server.start)
    publish = config.Config().mqtt.publish
    used = config.Mqtt(port=server.port, publish=msgspec.structs.replace(publish, enabled=True))
    try:
        (sound,) = await doctor_mqtt.examine(config.Config(mqtt=used))
        assert sound.status == "ok"
    finally:
        await asyncio.to_thread(server.stop)
    (dead,) = await doctor_mqtt.examine(config.Config(mqtt=used))
    assert dead.status == "fail"
    assert f"127.0.0.1:{server.port}" in dead.said
