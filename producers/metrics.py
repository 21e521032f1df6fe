"""What Prometheus is told, shard by shard.

Counters fold what is committed. Gauges and running totals are read from a shard's state, so they
survive a restart. All of it vanishes with the shard, which lives in one process at a time. Nothing
is labelled by account or order.
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from engine import decisions as d
from engine.core import Engine
from engine.instruments import Listed
from producers.metric_families import (
    COUNTED,
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    INFO,
    MEASURED,
    MEASURES,
    PROCESS,
    TOTALS,
    Family,
    Labels,
)
from producers.view import Samples, View, look

NOTHING_LISTED: Mapping[str, Listed] = MappingProxyType({})
NOTHING_BURIED: Mapping[tuple[str, str], int] = MappingProxyType({})


class Lag(NamedTuple):
    """How far behind an input is: records, and seconds since the oldest of them was written."""

    records: int
    seconds: float


class _Shard:
    """What is known of one shard."""

    def __init__(self) -> None:
        self.counts = {
            name: Counter(dict.fromkeys(family.known, 0)) for name, family in COUNTERS.items()
        }
        self.measures: dict[str, defaultdict[Labels, float]] = {
            name: defaultdict(float) for name in MEASURES
        }
        self.view = View({}, {}, {})
        self.lag: Samples = {}
        self.waiting: Samples = {}


class Metrics(Collector):
    """Everything that `registry` shows of the engine and its shards."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shards: dict[int, _Shard] = {}
        self._partitions: int | None = None
        self._granted: dict[int, bool] = {}
        self._detection = histogram("liquidator_detection_latency_seconds", registry)
        self._commit = histogram("liquidator_commit_latency_seconds", registry)
        registry.register(self)

    def fold(
        self,
        shard: int,
        events: Mapping[tuple[str, str], int],
        decisions: Iterable[d.Decision],
        listed: Mapping[str, Listed] = NOTHING_LISTED,
        dead_letters: Mapping[tuple[str, str], int] = NOTHING_BURIED,
    ) -> None:
        """Count committed events, by (type, outcome), decisions, and dead letters, by (topic,
        reason); `listed` are the instruments that decisions speak of, by name."""
        of = self._of(shard)
        of.counts["liquidator_events"].update(events)
        of.counts["liquidator_dead_letters"].update(dead_letters)
        for decision in decisions:
            for counted in COUNTED.get(type(decision), ()):
                of.counts[counted.family][counted.labels(decision)] += counted.amount(decision)
            if isinstance(decision, d.TakeOver | d.Deleverage):
                self._measure(of, decision, listed[decision.symbol])

    def observe_times(self, shard: int, detections: Iterable[float], commit: float) -> None:
        """Record the seconds that orders and one commit took."""
        detection = self._detection.labels(str(shard))
        for seconds in detections:
            detection.observe(seconds)
        self._commit.labels(str(shard)).observe(commit)

    def observe_lag(self, shard: int, lags: Mapping[tuple[str, int], Lag]) -> None:
        """Show how far behind each (topic, partition) is."""
        labelled = {(topic, str(number)): lag for (topic, number), lag in lags.items()}
        self._of(shard).lag = {
            "liquidator_lag_records": {at: lag.records for at, lag in labelled.items()},
            "liquidator_lag_seconds": {at: lag.seconds for at, lag in labelled.items()},
        }

    def observe_account_risk(self, shard: int, told: int, waiting: int) -> None:
        """Count accounts told of on `account-risk`, and show how many changes wait."""
        of = self._of(shard)
        of.counts["liquidator_account_risk_records"][()] += told
        of.waiting = {"liquidator_account_risk_waiting": {(): waiting}}

    def observe_state(self, shard: int, engine: Engine) -> View:
        """Look at a shard's state, which must be committed, show it, and return what was seen."""
        view = look(engine)
        self.show(shard, view)
        return view

    def show(self, shard: int, view: View) -> None:
        """Show a shard's state as it was looked at."""
        self._of(shard).view = view

    def observe_partitions(self, count: int) -> None:
        """Show how many shards there are in all processes."""
        self._partitions = count

    def grant(self, shard: int, *, running: bool) -> None:
        """Show whether a shard that this process was given runs."""
        self._granted[shard] = running

    def withdraw(self, shard: int) -> None:
        """Forget a shard that another process was given."""
        self._granted.pop(shard, None)

    def drop(self, shard: int) -> None:
        """Forget the state and counts of a shard that stopped."""
        if self._shards.pop(shard, None) is not None:
            self._detection.remove(str(shard))
            self._commit.remove(str(shard))

    def collect(self) -> Iterator[Metric]:
        """Give every family once, with the samples of all shards."""
        # Others may run between two families: what is shown of a state is of one moment.
        shards = {number: copy(of) for number, of in self._shards.items()}
        yield InfoMetricFamily(
            "liquidator_build",
            INFO["liquidator_build_info"].help,
            {"version": version("liquidator"), "python": platform.python_version()},
        )
        yield from self._of_process()
        for name, family in COUNTERS.items():
            yield _filled(shards, CounterMetricFamily, name, family, lambda of: of.counts)
        for name, family in MEASURES.items():
            yield _filled(shards, CounterMetricFamily, name, family, _measured)
        for name, family in TOTALS.items():
            yield _filled(shards, CounterMetricFamily, name, family, lambda of: of.view.totals)
        for name, family in GAUGES.items():
            yield _filled(
                shards,
                GaugeMetricFamily,
                name,
                family,
                lambda of: {**of.view.gauges, **of.lag, **of.waiting},
            )

    def _of_process(self) -> Iterator[Metric]:
        known: Samples = {
            "liquidator_shards": {} if self._partitions is None else {(): self._partitions},
            "liquidator_shard_running": {(str(n),): runs for n, runs in self._granted.items()},
        }
        for name, family in PROCESS.items():
            metric = GaugeMetricFamily(name, family.help, labels=family.labels)
            for labels, value in known[name].items():
                metric.add_metric(labels, value)
            yield metric

    def _measure(self, of: _Shard, decision: d.TakeOver | d.Deleverage, listed: Listed) -> None:
        for measured in MEASURED[type(decision)]:
            at = measured.labels(decision, listed)
            of.measures[measured.family][at] += measured.amount(decision, listed)

    def _of(self, shard: int) -> _Shard:
        found = self._shards.get(shard)
        if found is None:
            found = self._shards[shard] = _Shard()
            self._detection.labels(str(shard))
            self._commit.labels(str(shard))
        return found


def histogram(name: str, registry: CollectorRegistry) -> Histogram:
    """Make a histogram as its family says."""
    family = HISTOGRAMS[name]
    return Histogram(name, family.help, family.labels, buckets=family.buckets, registry=registry)


def rendered(registry: Collector) -> Iterator[bytes]:
    """Render what a scrape shows, family by family: others may run in between."""
    for family in registry.collect():
        yield generate_latest(_One(family))


class _One(Collector):
    """A single family, to be rendered alone."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> tuple[Metric]:
        """Give it."""
        return (self._family,)


def _filled(
    shards: Mapping[int, _Shard],
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    name: str,
    family: Family,
    samples: Callable[[_Shard], Mapping[str, Mapping[Labels, float]]],
) -> Metric:
    metric = kind(name, family.help, labels=("shard", *family.labels))
    for number, of in shards.items():
        for labels, value in samples(of).get(name, {}).items():
            metric.add_metric((str(number), *labels), value)
    return metric


def _measured(of: _Shard) -> Samples:
    """Return measures, those that have not happened yet as 0."""
    return {name: {**of.view.known.get(name, {}), **sums} for name, sums in of.measures.items()}
