"""What Prometheus is told about MQTT: of the bridge, and of what the daemon publishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from producers.metric_families import Family, Kind

Outcome = Literal[
    "forwarded", "conflated", "duplicate", "stale", "malformed", "unwanted", "unmatched"
]
OUTCOMES: tuple[Outcome, ...] = (
    "forwarded",
    "conflated",
    "duplicate",
    "stale",
    "malformed",
    "unwanted",
)
NO_SOURCE = ""
"""The source of a message on a topic that no source describes."""

BRIDGE_COUNTERS = {
    "liquidator_bridge_messages": Family(
        "MQTT messages, by source and by what became of them.", ("source", "outcome")
    ),
    "liquidator_bridge_disconnections": Family(
        "Connections to the MQTT broker that broke, or could not be made.", (), ((),)
    ),
    "liquidator_bridge_kafka_failures": Family(
        "Writes to Kafka that failed and were tried again.", (), ((),)
    ),
    "liquidator_bridge_dead_letters_dropped": Family(
        "Malformed messages of QoS 0 that were not kept: too many waited.", (), ((),)
    ),
}
BRIDGE_GAUGES = {
    "liquidator_bridge_connected": Family("1 while the MQTT broker sends us prices.", (), ((),)),
    "liquidator_bridge_waiting_prices": Family("Prices that wait for Kafka.", (), ((),)),
    "liquidator_bridge_unacknowledged": Family(
        "MQTT messages that are not acknowledged yet.", (), ((),)
    ),
    "liquidator_bridge_price_lag_seconds": Family(
        "From a price's own time to its being in Kafka, of the last one.", ("source",)
    ),
    "liquidator_bridge_last_forwarded_timestamp_seconds": Family(
        "When a price was last written to Kafka, since 1970.", ("source",)
    ),
}
BRIDGE_HISTOGRAMS = {
    "liquidator_bridge_latency_seconds": Family(
        "From a message's arrival to its price being in Kafka.",
        (),
        buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 20),
    ),
}

PUBLISH_COUNTERS = {
    "liquidator_mqtt_alerts": Family(
        "Decisions for MQTT, by whether the broker has them or they were dropped.",
        ("outcome",),
        (("published",), ("dropped",)),
    ),
    "liquidator_mqtt_disconnections": Family(
        "Connections to the MQTT broker that broke, or could not be made.", (), ((),)
    ),
}
PUBLISH_GAUGES = {
    "liquidator_mqtt_connected": Family("1 while there is a connection to MQTT.", (), ((),)),
    "liquidator_mqtt_alerts_waiting": Family(
        "Alerts that the broker does not have yet.", (), ((),)
    ),
}

OF_MQTT: tuple[tuple[Kind, Mapping[str, Family]], ...] = (
    ("counter", BRIDGE_COUNTERS),
    ("gauge", BRIDGE_GAUGES),
    ("histogram", BRIDGE_HISTOGRAMS),
    ("counter", PUBLISH_COUNTERS),
    ("gauge", PUBLISH_GAUGES),
)
"""All that is shown of MQTT, by kind."""


class BridgeMetrics:
    """Everything that `registry` shows of the bridge; `sources` are their names."""

    def __init__(self, registry: CollectorRegistry, sources: Iterable[str]) -> None:
        self._made = {
            **_made(Counter, BRIDGE_COUNTERS, registry),
            **_made(Gauge, BRIDGE_GAUGES, registry),
        }
        (name, latency), *_ = BRIDGE_HISTOGRAMS.items()
        self._latency = Histogram(name, latency.help, buckets=latency.buckets, registry=registry)
        self._messages = {
            at: self._made["liquidator_bridge_messages"].labels(*at)
            for at in [*product(set(sources), OUTCOMES), (NO_SOURCE, "unmatched")]
        }

    def count(self, source: str, outcome: Outcome, number: int = 1) -> None:
        """Count messages of a source by what became of them."""
        self._messages[source, outcome].inc(number)

    def forwarded(self, source: str, now: float, priced: float, came: float) -> None:
        """Count a price that is in Kafka at `now`; times in seconds since 1970."""
        self.count(source, "forwarded")
        self._latency.observe(max(0.0, now - came))
        self._made["liquidator_bridge_price_lag_seconds"].labels(source).set(now - priced)
        at = self._made["liquidator_bridge_last_forwarded_timestamp_seconds"].labels(source)
        at.set(now)

    def connected(self, connected: bool) -> None:
        """Show whether there is a connection; count that there is none any more."""
        self._made["liquidator_bridge_connected"].set(connected)
        if not connected:
            self._made["liquidator_bridge_disconnections"].inc()

    def kafka_failed(self) -> None:
        """Count a write that failed."""
        self._made["liquidator_bridge_kafka_failures"].inc()

    def letter_dropped(self) -> None:
        """Count a malformed message that is not kept."""
        self._made["liquidator_bridge_dead_letters_dropped"].inc()

    def waiting(self, prices: int, unacknowledged: int) -> None:
        """Show what waits."""
        self._made["liquidator_bridge_waiting_prices"].set(prices)
        self._made["liquidator_bridge_unacknowledged"].set(unacknowledged)


class PublishMetrics:
    """Everything that `registry` shows of what the daemon publishes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._made = {
            **_made(Counter, PUBLISH_COUNTERS, registry),
            **_made(Gauge, PUBLISH_GAUGES, registry),
        }

    def alert(self, outcome: Literal["published", "dropped"]) -> None:
        """Count an alert that the broker has, or that it will never have."""
        self._made["liquidator_mqtt_alerts"].labels(outcome).inc()

    def waiting(self, alerts: int) -> None:
        """Show how many alerts wait."""
        self._made["liquidator_mqtt_alerts_waiting"].set(alerts)

    def connected(self, connected: bool) -> None:
        """Show whether there is a connection; count that there is none any more."""
        self._made["liquidator_mqtt_connected"].set(connected)
        if not connected:
            self._made["liquidator_mqtt_disconnections"].inc()


def _made(kind: Any, families: dict[str, Family], registry: CollectorRegistry) -> dict[str, Any]:
    """Return the metrics of families by name, those with known labels at 0."""
    found = {}
    for name, family in families.items():
        found[name] = kind(name, family.help, family.labels, registry=registry)
        for labels in family.known:
            if labels:
                found[name].labels(*labels)
    return found
