"""The metrics: from committed decisions and state, by shard, bounded, present before they move."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.instruments import Asset, Perpetual
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from producers.metrics import Lag, Metrics

SERIES_MAX = 2_000
"""Samples that one process may show: more make a scrape hold up the event loop."""

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def shown(registry: CollectorRegistry) -> Samples:
    """Return what a scrape shows: name, then labels, then value."""
    found: Samples = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def labels(**named: str) -> tuple[tuple[str, str], ...]:
    """Return labels as `shown` has them."""
    return tuple(sorted(named.items()))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def venue(markets: int = 1) -> Engine:
    """Return an engine with rules and an account that is long one contract of the first market."""
    engine = Engine(0)
    names = [f"M{number}" for number in range(markets)]
    bracket = Bracket(Decimal(1_000_000), Decimal("0.1"), Decimal("0.01"))
    profile = RiskProfile(
        name="test",
        numeraire="USDT",
        requirements=dict.fromkeys(names, Requirement((bracket,))),
        collateral={"USDT": Collateral()},
        conversion=("USDT",),
    )
    tick = Decimal("0.1")
    told: list[e.Event] = [
        e.ProfileChanged(time=1, profile=profile),
        e.InstrumentListed(time=1, instrument=Asset("USDT", 2, Decimal(10**12))),
        *(
            e.InstrumentListed(
                time=1,
                instrument=Perpetual(name, "USDT", 3, 1, tick, tick, Decimal(10**6)),
            )
            for name in names
        ),
        e.FundMoved(time=1, shard=0, asset="USDT", amount=Decimal(15), sequence=1),
        *(
            e.PriceUpdate(
                time=1_000_000,
                symbol=n,
                kind="mark",
                price=Decimal(100),
                source="venue",
                sequence=1,
            )
            for n in names
        ),
        e.Deposit(time=2_000_000, account="a", sequence=1, asset="USDT", amount=Decimal(50)),
        e.Fill(
            time=2_000_000,
            account="a",
            sequence=2,
            symbol="M0",
            margin="cross",
            size=Decimal(1),
            price=Decimal(100),
            fee=Decimal(0),
            fee_asset="USDT",
            fill_id="1",
        ),
    ]
    for event in told:
        give(engine, event)
    return engine


def give(engine: Engine, event: e.Event) -> list[d.Decision]:
    """Give an event and return all that was decided."""
    decisions = engine.apply(event)
    while more := engine.proceed():
        decisions += more
    return decisions


def mark(engine: Engine, price: int, sequence: int) -> list[d.Decision]:
    """Move the mark of the first market."""
    return give(
        engine,
        e.PriceUpdate(
            time=3_000_000 + sequence,
            symbol="M0",
            kind="mark",
            price=Decimal(price),
            source="venue",
            sequence=sequence,
        ),
    )


def test_everything_is_zero_before_it_happens(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.fold(0, {}, [])
    metrics.observe_state(0, venue())
    found = shown(registry)
    at = labels(shard="0", market="M0", asset="USDT")
    for name in ("shortfall_total", "bad_debt_total"):
        assert found[f"liquidator_{name}"][at] == 0
    assert found["liquidator_bad_debt_outstanding"][at] == 0
    assert found["liquidator_bad_debt_unrealised"][at] == 0
    paid = found["liquidator_shortfall_paid_total"]
    assert paid[labels(shard="0", market="M0", asset="USDT", layer="fund")] == 0
    orders = found["liquidator_orders_total"]
    assert orders[labels(shard="0", reason="breach", stage="backstop")] == 0
    events = found["liquidator_events_total"]
    assert events[labels(shard="0", type="Fill", outcome="refused")] == 0
    assert events[labels(shard="0", type="unreadable", outcome="refused")] == 0
    assert found["liquidator_margin_calls_total"][labels(shard="0")] == 0
    assert found["liquidator_detection_latency_seconds_count"][labels(shard="0")] == 0


def test_state_is_shown_as_it_is(registry: CollectorRegistry, metrics: Metrics) -> None:
    engine = venue()
    metrics.observe_state(0, engine)
    found = shown(registry)
    notional = found["liquidator_position_notional"]
    assert notional[labels(shard="0", market="M0", asset="USDT", side="long")] == 100
    assert notional[labels(shard="0", market="M0", asset="USDT", side="short")] == 0
    assert found["liquidator_unmatched_open_interest"][labels(shard="0", market="M0")] == 1
    assert found["liquidator_accounts"][labels(shard="0", state="healthy")] == 1
    assert found["liquidator_insurance_fund"][labels(shard="0", asset="USDT")] == 15
    ages = found["liquidator_price_age_seconds"]
    assert ages[labels(shard="0", symbol="M0", kind="mark")] == 1


def test_a_bad_debt_goes_from_unrealised_to_outstanding(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    engine = venue()
    at = labels(shard="0", market="M0", asset="USDT")
    decisions = mark(engine, 20, 2)
    metrics.fold(0, {("PriceUpdate", "applied"): 1}, decisions)
    metrics.observe_state(0, engine)
    found = shown(registry)
    assert found["liquidator_bad_debt_unrealised"][at] == 30
    assert found["liquidator_bad_debt_total"][at] == 0
    assert found["liquidator_accounts"][labels(shard="0", state="liquidating")] == 1
    (order,) = [decision for decision in decisions if isinstance(decision, d.LiquidationOrder)]
    placed = found["liquidator_orders_total"]
    assert placed[labels(shard="0", reason=order.reason, stage=order.stage)] == 1
    fill = e.Fill(
        time=4_000_000,
        account="a",
        sequence=3,
        symbol="M0",
        margin="cross",
        size=Decimal(-1),
        price=Decimal(10),
        fee=Decimal(0),
        fee_asset="USDT",
        fill_id="2",
        order_id=order.order_id,
    )
    metrics.fold(0, {("Fill", "applied"): 1}, give(engine, fill))
    metrics.observe_state(0, engine)
    found = shown(registry)
    assert found["liquidator_shortfall_total"][at] == 40
    paid = found["liquidator_shortfall_paid_total"]
    assert paid[labels(shard="0", market="M0", asset="USDT", layer="fund")] == 15
    assert found["liquidator_bad_debt_total"][at] == 25
    assert found["liquidator_bad_debt_outstanding"][at] == 25
    assert found["liquidator_insurance_fund"][labels(shard="0", asset="USDT")] == 0
    assert found["liquidator_bad_debt_unrealised"][at] == 0


def test_a_shard_that_leaves_takes_all_of_its_samples_along(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    for shard in (0, 1):
        metrics.fold(shard, {("Fill", "applied"): 1}, [])
        metrics.observe_state(shard, venue())
        metrics.observe_times(shard, [0.001], 0.003)
        metrics.observe_lag(shard, {("prices", 0): Lag(7, 1.5)})
    at = labels(shard="1", topic="prices", partition="0")
    assert shown(registry)["liquidator_lag_records"][at] == 7
    assert shown(registry)["liquidator_lag_seconds"][at] == 1.5
    metrics.drop(1)
    metrics.drop(1)
    left = {label for of in shown(registry).values() for at in of for label in at}
    assert ("shard", "0") in left
    assert ("shard", "1") not in left


def test_no_label_names_an_account_and_series_are_few(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    for shard in range(4):
        metrics.fold(shard, {}, [])
        metrics.observe_state(shard, venue(markets=20))
        metrics.observe_times(shard, [0.001], 0.003)
    found = shown(registry)
    assert sum(map(len, found.values())) < SERIES_MAX
    names = {name for of in found.values() for at in of for name, _ in at}
    assert names.isdisjoint({"account", "order_id", "margin"})
    assert all(name.startswith("liquidator_") for name in found)
    assert next(iter(found["liquidator_build_info"]))
