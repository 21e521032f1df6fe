"""What Prometheus is told, shard by shard.

Counters fold what is committed. Gauges and running totals are read from a shard's state, so they
survive a restart. All of it vanishes with the shard, which lives in one process at a time. Nothing
is labelled by account or order.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from importlib.metadata import version
from itertools import product
from typing import Any, NamedTuple, get_args, get_type_hints

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.survey import survey
from producers.summary import OUTCOMES

Labels = tuple[str, ...]

DETECTION_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5)
COMMIT_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 20)

EVENTS = tuple(kind.__name__ for kind in get_args(e.AnyEvent))
UNREADABLE = "unreadable"
SECOND = 1_000_000


class Lag(NamedTuple):
    """How far behind an input is: records, and seconds since the oldest of them was written."""

    records: int
    seconds: float


class Family(NamedTuple):
    """A counter or gauge; `known` are the labels that are shown as 0 before anything happens."""

    help: str
    labels: Labels
    known: tuple[Labels, ...] = ()


class Counted(NamedTuple):
    """Which counter a decision moves, under which labels and by how much."""

    family: str
    labels: Callable[[Any], Labels] = lambda decision: ()
    amount: Callable[[Any], int] = lambda decision: 1


def _values(kind: type[d.Decision], *fields: str) -> tuple[Labels, ...]:
    """Return every combination of what the named fields of a decision may say."""
    hints = get_type_hints(kind)
    return tuple(product(*(get_args(hints[field]) for field in fields)))


COUNTERS = {
    "liquidator_events": Family(
        "Records taken, by type and by what became of them.",
        ("type", "outcome"),
        (
            *(pair for pair in product(EVENTS, OUTCOMES) if pair[1] != "ignored"),
            ("PriceUpdate", "ignored"),
            ("OptionMark", "ignored"),
            (UNREADABLE, "refused"),
        ),
    ),
    "liquidator_liquidations_started": Family(
        "Liquidations begun, by reason.", ("reason",), _values(d.LiquidationStarted, "reason")
    ),
    "liquidator_liquidations_ended": Family(
        "Liquidations over, by how they ended.", ("reason",), _values(d.LiquidationEnded, "reason")
    ),
    "liquidator_orders": Family(
        "Liquidation orders, by why the liquidation began and by stage.",
        ("reason", "stage"),
        _values(d.LiquidationOrder, "reason", "stage"),
    ),
    "liquidator_collateral_sales": Family("Collateral sales ordered.", (), ((),)),
    "liquidator_cancels": Family(
        "Orders and sales to be cancelled.", ("reason",), _values(d.CancelOrder, "reason")
    ),
    "liquidator_margin_calls": Family("Margin calls.", (), ((),)),
    "liquidator_own_order_cancels": Family(
        "Margin groups whose own orders were to be cancelled.", (), ((),)
    ),
    "liquidator_requirement_changes": Family(
        "Changes of a factor of volatility, by the requirement that it is on.",
        ("requirement",),
        _values(d.RequirementChanged, "requirement"),
    ),
    "liquidator_pushed_under": Family(
        "Margin groups that a change of a factor took below that requirement.",
        ("requirement",),
        _values(d.RequirementChanged, "requirement"),
    ),
    "liquidator_anomalies": Family(
        "Facts that do not agree with what was decided.", ("kind",), _values(d.Anomaly, "kind")
    ),
    "liquidator_gaps": Family("Gaps in the sequence of an account or price source.", (), ((),)),
    "liquidator_snapshot_differences": Family(
        "Snapshots that brought an account in, or put it right.", (), ((),)
    ),
}

COUNTED: dict[type[d.Decision], tuple[Counted, ...]] = {
    d.LiquidationStarted: (Counted("liquidator_liquidations_started", lambda it: (it.reason,)),),
    d.LiquidationEnded: (Counted("liquidator_liquidations_ended", lambda it: (it.reason,)),),
    d.LiquidationOrder: (Counted("liquidator_orders", lambda it: (it.reason, it.stage)),),
    d.CollateralSale: (Counted("liquidator_collateral_sales"),),
    d.CancelOrder: (Counted("liquidator_cancels", lambda it: (it.reason,)),),
    d.CancelOpenOrders: (Counted("liquidator_own_order_cancels"),),
    d.RequirementChanged: (
        Counted("liquidator_requirement_changes", lambda it: (it.requirement,)),
        Counted(
            "liquidator_pushed_under", lambda it: (it.requirement,), lambda it: it.pushed_under
        ),
    ),
    d.MarginCall: (Counted("liquidator_margin_calls"),),
    d.Anomaly: (Counted("liquidator_anomalies", lambda it: (it.kind,)),),
    d.Gap: (Counted("liquidator_gaps"),),
    d.SnapshotDifference: (Counted("liquidator_snapshot_differences"),),
}

TOTALS = {
    "liquidator_shortfall": Family(
        "What liquidated groups lacked, in the asset.", ("market", "asset")
    ),
    "liquidator_shortfall_paid": Family(
        "What was paid of it, by who paid, in the asset.", ("market", "asset", "layer")
    ),
    "liquidator_bad_debt": Family("What nobody paid of it, in the asset.", ("market", "asset")),
}

GAUGES = {
    "liquidator_accounts": Family("Margin groups of accounts, by state.", ("state",)),
    "liquidator_position_notional": Family(
        "Notional of positions at mark, in the asset.", ("market", "asset", "side")
    ),
    "liquidator_unmatched_open_interest": Family(
        "Long less short contracts: 0 where the whole book is here.", ("market",)
    ),
    "liquidator_gap_waiting_notional": Family(
        "Notional of accounts that wait for missing events, in the asset.", ("asset",)
    ),
    "liquidator_bad_debt_outstanding": Family(
        "Bad debt neither recovered nor written off, in the asset.", ("market", "asset")
    ),
    "liquidator_bad_debt_unrealised": Family(
        "Negative equity at mark not booked yet, in the asset.", ("market", "asset")
    ),
    "liquidator_insurance_fund": Family("Cash of the insurance fund, in the asset.", ("asset",)),
    "liquidator_requirement_factor": Family(
        "The factor of volatility on a market's requirement.", ("market", "requirement")
    ),
    "liquidator_realised_volatility": Family(
        "The volatility of a day that the factors follow.", ("market",)
    ),
    "liquidator_price_age_seconds": Family(
        "Engine time less the time of the last price.", ("symbol", "kind")
    ),
    "liquidator_engine_time_seconds": Family("The largest time applied, since 1970.", ()),
    "liquidator_lag_records": Family("Records not taken yet.", ("topic", "partition")),
    "liquidator_lag_seconds": Family(
        "Age of the oldest record not taken yet.", ("topic", "partition")
    ),
}

Samples = dict[str, dict[Labels, float]]


class View(NamedTuple):
    """A shard's state as Prometheus sees it."""

    totals: Samples
    gauges: Samples


class _Shard:
    """What is known of one shard."""

    def __init__(self) -> None:
        self.counts = {
            name: Counter(dict.fromkeys(family.known, 0)) for name, family in COUNTERS.items()
        }
        self.view = View({}, {})
        self.lag: Samples = {}


class Metrics(Collector):
    """Everything that `registry` shows of the engine and its shards."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shards: dict[int, _Shard] = {}
        self._detection = Histogram(
            "liquidator_detection_latency_seconds",
            "From a record's arrival to the order that it caused.",
            ("shard",),
            buckets=DETECTION_BUCKETS,
            registry=registry,
        )
        self._commit = Histogram(
            "liquidator_commit_latency_seconds",
            "From the begin of a transaction to the end of its commit.",
            ("shard",),
            buckets=COMMIT_BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def fold(
        self,
        shard: int,
        events: Mapping[tuple[str, str], int],
        decisions: Iterable[d.Decision],
    ) -> None:
        """Count committed events, by (type, outcome), and decisions."""
        counts = self._of(shard).counts
        counts["liquidator_events"].update(events)
        for decision in decisions:
            for counted in COUNTED.get(type(decision), ()):
                counts[counted.family][counted.labels(decision)] += counted.amount(decision)

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

    def observe_state(self, shard: int, engine: Engine) -> None:
        """Look at a shard's state, which must be committed, and show it."""
        self.show(shard, look(engine))

    def show(self, shard: int, view: View) -> None:
        """Show a shard's state as it was looked at."""
        self._of(shard).view = view

    def drop(self, shard: int) -> None:
        """Forget a shard that has left."""
        if self._shards.pop(shard, None) is not None:
            self._detection.remove(str(shard))
            self._commit.remove(str(shard))

    def collect(self) -> Iterator[Metric]:
        """Give every family once, with the samples of all shards."""
        yield InfoMetricFamily(
            "liquidator_build",
            "What runs.",
            {"version": version("liquidator"), "python": platform.python_version()},
        )
        for name, family in COUNTERS.items():
            yield self._filled(CounterMetricFamily, name, family, lambda of: of.counts)
        for name, family in TOTALS.items():
            yield self._filled(CounterMetricFamily, name, family, lambda of: of.view.totals)
        for name, family in GAUGES.items():
            yield self._filled(
                GaugeMetricFamily, name, family, lambda of: {**of.view.gauges, **of.lag}
            )

    def _filled(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        family: Family,
        samples: Callable[[_Shard], Mapping[str, Mapping[Labels, float]]],
    ) -> Metric:
        metric = kind(name, family.help, labels=("shard", *family.labels))
        for number, of in self._shards.items():
            for labels, value in samples(of).get(name, {}).items():
                metric.add_metric((str(number), *labels), value)
        return metric

    def _of(self, shard: int) -> _Shard:
        found = self._shards.get(shard)
        if found is None:
            found = self._shards[shard] = _Shard()
            self._detection.labels(str(shard))
            self._commit.labels(str(shard))
        return found


def look(engine: Engine) -> View:
    """Look at a shard's state."""
    return View(_totals(engine), _gauges(engine))


def _totals(engine: Engine) -> Samples:
    """Return the running totals; every market shows 0 before its first loss."""
    ledger = engine.ledger
    return {
        "liquidator_shortfall": _by_market(engine, ledger.shortfall),
        "liquidator_shortfall_paid": {
            (*labels, "fund"): paid
            for labels, paid in _by_market(engine, ledger.paid_by_fund).items()
        },
        "liquidator_bad_debt": _by_market(engine, ledger.bad_debt),
    }


def _gauges(engine: Engine) -> Samples:
    rules, book = engine.rules, survey(engine)
    settle = {name: listed.settle for name, listed in rules.derivatives.items()}
    numeraire = rules.profile.numeraire if rules.profile else ""
    notional: dict[Labels, float] = {}
    for side, by_market in (("long", book.long_notional), ("short", book.short_notional)):
        for market, value in by_market.items():
            notional[market, settle[market], side] = value
    return {
        "liquidator_accounts": {(state,): count for state, count in book.accounts.items()},
        "liquidator_position_notional": notional,
        "liquidator_unmatched_open_interest": {
            (market,): value for market, value in book.unmatched_open_interest.items()
        },
        "liquidator_gap_waiting_notional": {(numeraire,): book.gap_notional},
        # Nothing is recovered or written off yet: what was ever booked is outstanding.
        "liquidator_bad_debt_outstanding": _by_market(engine, engine.ledger.bad_debt),
        "liquidator_bad_debt_unrealised": _by_market(engine, book.unrealised),
        "liquidator_insurance_fund": {
            (asset,): float(engine.ledger.fund.get(asset, 0)) for asset in rules.assets
        },
        "liquidator_requirement_factor": {
            (market, kind): float(getattr(state, kind))
            for market, state in engine.markets.volatilities.items()
            for kind in ("initial", "maintenance")
        },
        "liquidator_realised_volatility": {
            (market,): float(state.used) for market, state in engine.markets.volatilities.items()
        },
        "liquidator_price_age_seconds": {
            (mark.symbol, mark.kind): (engine.time - mark.time) / SECOND
            for mark in engine.prices.values()
        },
        "liquidator_engine_time_seconds": {(): engine.time / SECOND},
    }


def _by_market(engine: Engine, sums: Mapping[tuple[str, str], Decimal]) -> dict[Labels, float]:
    """Turn sums by (asset, market) into samples by (market, asset)."""
    found: dict[Labels, float] = {
        (name, listed.settle): 0.0 for name, listed in engine.rules.derivatives.items()
    }
    found.update({(market, asset): float(value) for (asset, market), value in sums.items()})
    return found
