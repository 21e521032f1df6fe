"""Publish over MQTT how the daemon's shards stand, and what somebody should be called for.

Topics, under a prefix: `INSTANCE/status`, "online" or "offline", retained, the latter always as the
will; `state/SHARD`, retained; `alerts/TYPE`, with QoS 1. Nothing waits for the broker: alerts that
find no room are dropped, oldest first, and counted. The record of what was decided is the topic
`risk-events` in Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

import aiomqtt
import msgspec
import orjson
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from prometheus_client import CollectorRegistry

from engine import decisions as d
from engine import wire
from producers.kafka import CLOCK, Cause
from producers.metric_families import Labels
from producers.mqtt_line import Line, Waits, said
from producers.mqtt_metrics import PublishMetrics
from producers.view import View

ALERTS = (
    d.Anomaly,
    d.BadDebt,
    d.BreakerTripped,
    d.Deleverage,
    d.LossShared,
    d.LossSocialised,
    d.PriceHeld,
    d.WithdrawalGate,
    d.WithdrawalUnpaid,
)
"""What somebody should be called for: losses, who else bears them, and what was stopped."""

ONLINE, OFFLINE = "online", "offline"
STOP_SECONDS, CLOSE_SECONDS = 2.0, 1.0

ALERTS_AT_ONCE = 8
"""Alerts that are sent before the broker has answered: some brokers allow ten messages, most more
(MQTT 5, Receive Maximum)."""

log = structlog.get_logger()


class Testator(aiomqtt.Client):
    """A client whose will the broker publishes whenever it goes: also when it says that it does.

    The library leaves the broker no will; the client below it can, by a private attribute.
    """

    async def __aexit__(self, *error: Any) -> None:
        with_will = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
        self._client.disconnect(with_will)
        await super().__aexit__(*error)


class Publisher:
    """Publish under `prefix` as `instance` until `stop`.

    States go out every `interval` seconds, those that changed; `alerts_max` alerts may wait.
    """

    def __init__(
        self,
        line: Line,
        prefix: str,
        instance: str,
        interval: float,
        alerts_max: int,
        registry: CollectorRegistry,
    ) -> None:
        self._line = line
        self._prefix = prefix
        self._instance = instance
        self._interval = interval
        self._metrics = PublishMetrics(registry)
        self._alerts_max = alerts_max
        self._alerts: deque[tuple[d.Decision, Cause]] = deque()
        self._views: dict[int, View] = {}
        self._published: dict[int, bytes] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def status_topic(self) -> str:
        """Where it says whether this process is there."""
        return f"{self._prefix}/{self._instance}/status"

    # --- what the daemon tells

    def committed(self, decisions: Iterable[tuple[d.Decision, Cause]]) -> None:
        """Take up the alerts among committed decisions."""
        for decision, cause in decisions:
            if isinstance(decision, ALERTS):
                if len(self._alerts) >= self._alerts_max:
                    self._alerts.popleft()
                    self._metrics.alert("dropped")
                self._alerts.append((decision, cause))
                self._wake.set()
        self._metrics.waiting(len(self._alerts))

    def show(self, shard: int, view: View) -> None:
        """Take up how a shard stands."""
        self._views[shard] = view

    def drop(self, shard: int) -> None:
        """Forget a shard that has left: whoever has it now says how it stands."""
        self._views.pop(shard, None)
        self._published.pop(shard, None)

    def start(self) -> None:
        """Begin to connect and publish."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Publish what waits, as far as there is time, and go: the broker says that we did."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
                await asyncio.wait({task}, timeout=CLOSE_SECONDS)
        if self._alerts:
            log.warning("mqtt: alerts not published", waiting=len(self._alerts))

    # --- what the broker is told

    async def _run(self) -> None:
        """Stay connected until told to stop, however long the broker is away."""
        waits = Waits()
        will = aiomqtt.Will(self.status_topic, OFFLINE, qos=1, retain=True)
        while not self._stopping.is_set():
            try:
                async with Testator(**self._line.options(), will=will) as client:
                    await client.publish(self.status_topic, ONLINE, qos=1, retain=True)
                    self._metrics.connected(True)
                    log.info("mqtt: connected", broker=self._line.place)
                    waits.well()
                    await self._publish(client)
                return
            except aiomqtt.MqttError as error:
                self._metrics.connected(False)
                log.warning("mqtt: disconnected", broker=self._line.place, reason=said(error))
            await _until(self._stopping, waits.next())

    async def _publish(self, client: aiomqtt.Client) -> None:
        """Publish until told to stop; raises `MqttError` as soon as the connection ends."""
        publishing = asyncio.create_task(self._publish_all(client))
        ending = asyncio.create_task(_until_ended(client))
        try:
            done, _ = await asyncio.wait({publishing, ending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (publishing, ending):
                task.cancel()

    async def _publish_all(self, client: aiomqtt.Client) -> None:
        # A broker that was away may have lost what it retained.
        self._published.clear()
        due = 0.0
        while True:
            self._wake.clear()
            stopping = self._stopping.is_set()
            await self._publish_alerts(client)
            # Some alerts, then the states: neither waits until the others are done.
            if time.monotonic() >= due or stopping:
                due = time.monotonic() + self._interval
                await self._publish_states(client)
            if self._alerts:
                continue
            if stopping:
                return
            await _until(self._wake, due - time.monotonic())

    async def _publish_alerts(self, client: aiomqtt.Client) -> None:
        """Publish the oldest alerts; they wait until the broker has them, unless dropped."""
        oldest = list(islice(self._alerts, ALERTS_AT_ONCE))
        await asyncio.gather(*(self._publish_alert(client, *alert) for alert in oldest))
        for alert in oldest:
            if self._alerts and self._alerts[0] is alert:
                self._alerts.popleft()
                self._metrics.alert("published")
        self._metrics.waiting(len(self._alerts))

    async def _publish_alert(
        self, client: aiomqtt.Client, decision: d.Decision, cause: Cause
    ) -> None:
        topic = f"{self._prefix}/alerts/{type(decision).__name__}"
        await client.publish(topic, _alert(decision, cause), qos=1)

    async def _publish_states(self, client: aiomqtt.Client) -> None:
        for shard, view in list(self._views.items()):
            body = orjson.dumps({"shard": shard, "instance": self._instance, **_standing(view)})
            if self._published.get(shard) != body:
                await client.publish(f"{self._prefix}/state/{shard}", body, qos=1, retain=True)
                self._published[shard] = body


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(0.0, seconds))


async def _until_ended(client: aiomqtt.Client) -> None:
    """Return never; raises `MqttError` when the connection ends."""
    async for _ in client.messages:
        pass


def _alert(decision: d.Decision, cause: Cause) -> bytes:
    """Return a decision as on `risk-events`, with what caused it."""
    place: dict[str, Any] = {"topic": CLOCK} if cause.topic == CLOCK else cause._asdict()
    fields = {**msgspec.json.decode(wire.write_decision(decision)), "caused_by": place}
    return orjson.dumps(fields)


def _standing(view: View) -> dict[str, Any]:
    """Return what an operator asks first, of a state that is committed."""
    gauges = view.gauges
    fund = gauges.get("liquidator_insurance_fund", {})
    halted = gauges.get("liquidator_market_halted", {})
    (seconds,) = gauges["liquidator_engine_time_seconds"].values()
    return {
        "time": round(seconds * 1_000_000),
        "accounts": {state: count for (state,), count in gauges["liquidator_accounts"].items()},
        "bad_debt_outstanding": _amounts(gauges["liquidator_bad_debt_outstanding"]),
        "bad_debt_unrealised": _amounts(gauges["liquidator_bad_debt_unrealised"]),
        "fund": [{"asset": at[0], "fund": at[1], "amount": held} for at, held in fund.items()],
        "halted": [market for (market,), stopped in halted.items() if stopped],
    }


def _amounts(samples: dict[Labels, float]) -> list[dict[str, Any]]:
    """Return what is not nothing, by market and asset."""
    return [
        {"market": market, "asset": asset, "amount": amount}
        for (market, asset), amount in samples.items()
        if amount
    ]
