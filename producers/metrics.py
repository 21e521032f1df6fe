"""What Prometheus is told, shard by shard.

Counters fold what is committed. Gauges and running totals are read from a shard's state, so they
survive a restart. All of it vanishes with the shard, which lives in one process at a time. Nothing
is labelled by account or order.
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from engine import bad_debt, funds
from engine import decisions as d
from engine.core import Engine
from engine.guard import forced_flow
from engine.instruments import Listed
from engine.loan_book import loan_book, pool_views
from engine.money import ZERO
from engine.rules import Rules
from engine.survey import survey
from producers.metric_families import (
    COUNTED,
    COUNTERS,
    GAUGES,
    MEASURED,
    MEASURES,
    POOL_AMOUNTS,
    POOL_RATIOS,
    TOTALS,
    Family,
    Labels,
)

DETECTION_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5)
COMMIT_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 20)

SECOND = 1_000_000

NOTHING_LISTED: Mapping[str, Listed] = MappingProxyType({})


class Lag(NamedTuple):
    """How far behind an input is: records, and seconds since the oldest of them was written."""

    records: int
    seconds: float


Samples = dict[str, dict[Labels, float]]


class View(NamedTuple):
    """A shard's state as Prometheus sees it; `known` are samples of measures before anything
    happens, all 0."""

    totals: Samples
    gauges: Samples
    known: Samples


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
        listed: Mapping[str, Listed] = NOTHING_LISTED,
    ) -> None:
        """Count committed events, by (type, outcome), and decisions; `listed` are the instruments
        that these speak of, by name."""
        of = self._of(shard)
        of.counts["liquidator_events"].update(events)
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
        for name, family in MEASURES.items():
            yield self._filled(CounterMetricFamily, name, family, _measured)
        for name, family in TOTALS.items():
            yield self._filled(CounterMetricFamily, name, family, lambda of: of.view.totals)
        for name, family in GAUGES.items():
            yield self._filled(
                GaugeMetricFamily, name, family, lambda of: {**of.view.gauges, **of.lag}
            )

    def _measure(self, of: _Shard, decision: d.TakeOver | d.Deleverage, listed: Listed) -> None:
        for measured in MEASURED[type(decision)]:
            at = measured.labels(decision, listed)
            of.measures[measured.family][at] += measured.amount(decision, listed)

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


def _measured(of: _Shard) -> Samples:
    """Return measures, those that have not happened yet as 0."""
    return {name: {**of.view.known.get(name, {}), **sums} for name, sums in of.measures.items()}


def look(engine: Engine) -> View:
    """Look at a shard's state."""
    return View(_totals(engine), _gauges(engine), _known(engine))


def _known(engine: Engine) -> Samples:
    """Return what the rules let be measured, all 0."""
    profile = engine.rules.profile
    if profile is None:
        return {}
    layers = profile.waterfall.takers + (("netting",) if profile.liquidation.netting else ())
    markets = [(name, listed.settle) for name, listed in engine.rules.derivatives.items()]
    return {
        "liquidator_transfer_notional": {(*at, layer): 0.0 for at in markets for layer in layers},
        "liquidator_deleveraging_forgone": dict.fromkeys(markets if "adl" in layers else (), 0.0),
    }


def _totals(engine: Engine) -> Samples:
    """Return the running totals; every market shows 0 before its first loss."""
    ledger = engine.ledger
    return {
        "liquidator_shortfall": _by_market(engine, ledger.shortfall),
        "liquidator_shortfall_paid": _paid(engine),
        "liquidator_paid_for_positions": _of_takers(engine, ledger.paid_for_positions),
        "liquidator_bad_debt": _by_market(engine, ledger.bad_debt),
        "liquidator_bad_debt_recovered": _by_market(engine, ledger.recovered),
        "liquidator_bad_debt_written_off": _by_market(engine, ledger.written_off),
    }


def _paid(engine: Engine) -> dict[Labels, float]:
    """Return what each layer paid; where a loss is shared it is by lenders of a pool, else by those
    with a position."""
    ledger, rules = engine.ledger, engine.rules
    found = {(*at, "fund"): paid for at, paid in _by_market(engine, ledger.paid_by_fund).items()}
    for at, paid in _by_market(engine, ledger.paid_by_reserve, lent=True).items():
        found[*at, "reserve"] = paid
    shared = _by_market(engine, ledger.socialised, lent=not _shares(rules))
    for at, paid in shared.items():
        found[*at, "socialised" if at[0] in rules.derivatives else "lenders"] = paid
    return found


def _shares(rules: Rules) -> bool:
    """Tell whether the losses of a derivative are socialised."""
    return rules.profile is not None and bool(rules.profile.waterfall.socialised)


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
        "liquidator_bad_debt_outstanding": _by_market(engine, _outstanding(engine)),
        "liquidator_bad_debt_unrealised": _by_market(engine, book.unrealised),
        "liquidator_bad_debt_holes": _of_takers(engine, book.holes),
        "liquidator_insurance_fund": _funds(engine),
        **_guards(engine),
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
        **_loan_gauges(engine),
    }


def _funds(engine: Engine) -> dict[Labels, float]:
    """Return what each insurance fund holds, by asset and name."""
    rules = engine.rules
    found: dict[Labels, float] = {(asset, funds.VENUE): 0.0 for asset in rules.assets}
    if rules.profile is not None:
        for name, listed in rules.derivatives.items():
            found[listed.settle, funds.name_of(rules, name)] = 0.0
    found.update({key: float(held) for key, held in funds.every(engine.ledger)})
    return found


def _guards(engine: Engine) -> Samples:
    """Return what holds liquidation, or money, back."""
    rules, markets = engine.rules, engine.markets
    found: Samples = {
        "liquidator_market_halted": {
            (name,): float(rules.halts(name)) for name in rules.derivatives
        },
    }
    if rules.profile is None:
        return found
    fuses = rules.profile.liquidation.fuses
    if rules.profile.waterfall.gate:
        found["liquidator_withdrawal_gate_closed"] = {
            (asset,): float(asset in engine.gates.closed) for asset in rules.assets
        }
    if fuses.max_jump is not None:
        found["liquidator_price_held"] = {key: float(key in markets.held) for key in engine.prices}
    if fuses.max_share_of_oi_per_minute is not None:
        found["liquidator_forced_flow_ratio"] = {
            (name,): _flow(engine, name) for name in rules.derivatives
        }
    return found


def _flow(engine: Engine, symbol: str) -> float:
    """Return forced fills of the last minute as a part of open interest, 0 where that is not
    told."""
    interest = max(engine.markets.interest.get(symbol, (ZERO,)))
    return float(forced_flow(engine, symbol) / interest) if interest else 0.0


def _loan_gauges(engine: Engine) -> Samples:
    """Return what there is to show of pools and loans, nothing where nothing is lent."""
    if engine.rules.lending is None:
        return {}
    views, book = pool_views(engine), loan_book(engine)
    numeraire = engine.rules.in_force.numeraire
    assets = {pool: view.asset for pool, view in views.items()}
    found: Samples = {
        "liquidator_collateral": {(asset,): held for asset, held in book.collateral.items()},
        "liquidator_debt_by_health": {
            (band, numeraire): owed for band, owed in book.debt_by_health.items()
        },
        "liquidator_seizures_live": {(pool,): book.seizures.get(pool, 0) for pool in views},
        "liquidator_auctions_live": {(pool,): book.auctions.get(pool, 0) for pool in views},
        "liquidator_auction_debt": {
            (pool, asset): float(book.auction_debt.get(pool, 0)) for pool, asset in assets.items()
        },
    }
    for name in POOL_AMOUNTS:
        found[f"liquidator_pool_{name}"] = {
            (pool, view.asset): float(getattr(view, name)) for pool, view in views.items()
        }
    for name in POOL_RATIOS:
        shown = {pool: getattr(view, name) for pool, view in views.items()}
        found[f"liquidator_pool_{name}_ratio"] = {
            (pool,): float(value) for pool, value in shown.items() if value is not None
        }
    return found


def _outstanding(engine: Engine) -> dict[tuple[str, str], Decimal]:
    """Return what nobody paid, repaid or gave up since, by (asset, market)."""
    ledger = engine.ledger
    return {key: bad_debt.outstanding(ledger, key) for key in ledger.bad_debt}


def _by_market(
    engine: Engine, sums: Mapping[tuple[str, str], Decimal], *, lent: bool = False
) -> dict[Labels, float]:
    """Turn sums by (asset, market) into samples by (market, asset); `lent`: of pools alone."""
    rules = engine.rules
    found: dict[Labels, float] = {}
    if not lent:
        found = {(name, listed.settle): 0.0 for name, listed in rules.derivatives.items()}
    if rules.lending is not None:
        found |= {(name, rule.asset): 0.0 for name, rule in rules.lending.pools.items()}
    found.update({(market, asset): float(value) for (asset, market), value in sums.items()})
    return found


def _of_takers(engine: Engine, sums: Mapping[tuple[str, str], Decimal]) -> dict[Labels, float]:
    """Turn sums of those who take positions into samples by (market, asset): 0 where there are
    such, and nothing else is known."""
    rules = engine.rules
    takers = rules.profile.waterfall.takers if rules.profile is not None else ()
    listed = rules.derivatives if takers else NOTHING_LISTED
    found: dict[Labels, float] = {(name, one.settle): 0.0 for name, one in listed.items()}
    return found | {(market, asset): float(value) for (asset, market), value in sums.items()}
