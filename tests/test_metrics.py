"""The metrics: from committed decisions and state, by shard, bounded, present before they move."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import pytest
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.parser import text_string_to_metric_families

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.instruments import Asset, Perpetual
from engine.interest import Accrual, RateCurve
from engine.lending_profile import BadDebtRule, Category, Lending, PoolRule, Terms
from engine.liquidation_profile import Fuses, LiquidationRule
from engine.loan_book import BANDS, loan_book
from engine.money import EXACT
from engine.profile import Bracket, Collateral, Requirement, RiskProfile, Trigger, Volatility
from engine.seizure import FixedBonus
from engine.waterfall_profile import Backstop, Deleveraging, Waterfall
from producers.metrics import Lag, Metrics, histogram, rendered
from producers.view import look, looked_at
from tests.story import Story, WholeEngine

LOOP_SECONDS = 0.02
"""The longest that the event loop may be held up."""

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


def venue(markets: int = 1, **rules: Any) -> Engine:
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
        **rules,
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
    assert orders[labels(shard="0", reason="breach", stage="backstop", toxic="true")] == 0
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
    assert found["liquidator_insurance_fund"][labels(shard="0", asset="USDT", fund="")] == 15
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
    assert placed[labels(shard="0", reason=order.reason, stage=order.stage, toxic="false")] == 1
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
    assert found["liquidator_insurance_fund"][labels(shard="0", asset="USDT", fund="")] == 0
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


def fullest() -> Engine:
    """Return a venue of 100 markets whose profile shows all that there is of a market, where
    something was lost in each of them."""
    names = [f"M{number}" for number in range(100)]
    fuses = Fuses(max_jump=Decimal("0.3"), max_share_of_oi_per_minute=Decimal("0.5"))
    engine = venue(
        100,
        liquidation=LiquidationRule(netting=True, fuses=fuses),
        volatility=Volatility(dict.fromkeys(names, TENTH)),
        waterfall=Waterfall(
            takers=("fund", "backstop", "adl"),
            fund_account="fund",
            backstop=Backstop(account="pool", capacity=Decimal(10**6)),
            adl=Deleveraging(),
            socialised="open_interest",
            gate=True,
        ),
    )
    ledger = engine.ledger
    sums = (
        ledger.shortfall, ledger.paid_by_fund, ledger.socialised, ledger.bad_debt,
        ledger.recovered, ledger.written_off, ledger.paid_for_positions,
    )  # fmt: skip
    for number, name in enumerate(names):
        index = {"kind": "index", "price": Decimal(100), "source": "venue"}
        at = 3_000_000 + number
        give(engine, e.PriceUpdate(time=at, symbol=name, sequence=number + 1, **index))
        for of in sums:
            of["USDT", name] = Decimal(1)
    return engine


def test_series_are_few_at_a_hundred_markets(registry: CollectorRegistry, metrics: Metrics) -> None:
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    histogram("liquidator_loop_lag_seconds", registry)
    metrics.observe_partitions(1)
    metrics.grant(0, running=True)
    metrics.fold(0, {}, [])
    metrics.observe_state(0, fullest())
    metrics.observe_times(0, [0.001], 0.003)
    inputs = ("control", "positions", "prices")
    metrics.observe_lag(0, {(topic, 0): Lag(0, 0) for topic in inputs})
    found = shown(registry)
    by_market = {name for name, of in found.items() if len(of) >= 100}
    assert len(by_market) >= 13, "the fullest profile shows its families"
    sizes = {name: len(of) for name, of in found.items()}
    assert sum(sizes.values()) < SERIES_MAX, sizes


def longest(parts: Iterator[object]) -> float:
    """Return the seconds of this thread's work that the longest of some parts took."""
    found, began = 0.0, time.thread_time()
    for _ in parts:
        now = time.thread_time()
        found, began = max(found, now - began), now
    return max(found, time.thread_time() - began)


def test_a_scrape_never_holds_the_loop(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.observe_state(0, fullest())
    assert longest(rendered(registry)) < LOOP_SECONDS
    assert b"".join(rendered(registry)) == generate_latest(registry)


def test_a_look_at_a_book_under_water_never_holds_the_loop() -> None:
    engine = venue()
    for number in range(300):
        trade(engine, f"a{number}")
    mark(engine, 20, 2)
    assert len(engine.watch.underwater()) > 300
    assert longest(looked_at(engine)) < LOOP_SECONDS
    # Thirty dollars each, and thirty of the venue's own account.
    unrealised = look(engine).gauges["liquidator_bad_debt_unrealised"]
    assert unrealised == {("M0", "USDT"): 301 * 30}
    assert len(list(looked_at(engine))) > 5, "in parts"


def trade(engine: Engine, account: str) -> None:
    """Have an account go long one contract at 100 with 50."""
    deposit = e.Deposit(
        time=2_000_000, account=account, sequence=1, asset="USDT", amount=Decimal(50)
    )
    give(engine, deposit)
    fill = {"margin": "cross", "size": Decimal(1), "price": Decimal(100), "fee": Decimal(0)}
    told = {"account": account, "sequence": 2, "symbol": "M0", "fill_id": account, **fill}
    give(engine, e.Fill(time=2_000_000, fee_asset="USDT", **told))


def test_orders_and_liquidations_under_way_have_an_age(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    engine = venue()
    metrics.observe_state(0, engine)
    at = labels(shard="0")
    names = ("orders_live", "order_age_seconds", "liquidation_age_seconds")

    def ages() -> list[float]:
        found = shown(registry)
        return [found[f"liquidator_{name}"][at] for name in names]

    assert ages() == [0, 0, 0]
    mark(engine, 20, 2)
    begun = engine.time
    metrics.observe_state(0, engine)
    assert ages() == [1, 0, 0]
    give(engine, e.TimePassed(time=begun + 3_000_000))
    metrics.observe_state(0, engine)
    assert ages() == [1, 3, 3]
    # The order expires after five seconds; the venue is given time to say so.
    give(engine, e.TimePassed(time=begun + 6_000_000))
    metrics.observe_state(0, engine)
    assert ages() == [1, 6, 6]


def test_dead_letters_and_shards_are_shown(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.fold(0, {}, [])
    names = ("liquidator_dead_letters_total", "liquidator_shard_running")
    letters = shown(registry)[names[0]]
    assert set(letters.values()) == {0}
    assert len(letters) == 9
    metrics.fold(0, {}, [], dead_letters={("prices", "unreadable"): 2})
    metrics.observe_partitions(4)
    for shard, running in ((0, True), (1, False), (2, True)):
        metrics.grant(shard, running=running)
    metrics.withdraw(2)
    found = shown(registry)
    assert found[names[0]][labels(shard="0", topic="prices", reason="unreadable")] == 2
    assert found["liquidator_shards"] == {(): 4}
    assert found[names[1]] == {labels(shard="0"): 1, labels(shard="1"): 0}


# --- loans


def loan_engine(*, mixed: bool = False) -> tuple[Engine, Story]:
    """Return an engine and its story: 1,000 dollars supplied, coin at 100 a threshold of 0.8.

    Borrowers owe 400 against 10 coins, 200 against 5 in a category of its own at 0.5, 70 against 1
    and 30 against 2 of which they disabled the supply of all but one.
    """
    rates = RateCurve(base=Decimal("0.1"))
    terms = Terms(Decimal("0.7"), Decimal("0.8"), FixedBonus(Decimal("0.05")))
    careful = Terms(Decimal("0.4"), Decimal("0.5"), FixedBonus(Decimal("0.05")))
    bracket = Bracket(Decimal(1_000_000), Decimal("0.1"), Decimal("0.01"))
    profile = RiskProfile(
        name="loans",
        numeraire="USD",
        requirements={"M0": Requirement((bracket,))},
        collateral={"USD": Collateral()},
        conversion=("USD",),
        trigger=Trigger(stop_buffer=Decimal(0)),
        lending=Lending(
            pools={
                "DOLLAR": PoolRule("USD", rates=rates, accrual=Accrual(), reserve_factor=TENTH),
                "COIN": PoolRule("COIN", collateral=terms),
                "OTHER": PoolRule("COIN", collateral=terms, accrued_by="venue"),
            },
            categories={"careful": Category({"COIN": careful})},
            bad_debt=BadDebtRule(recognise="no_collateral", charge=("reserve",)),
        ),
    )
    whole = WholeEngine()
    story = Story(whole)
    for name in ("USD", "COIN"):
        story.tell(e.InstrumentListed, instrument=Asset(name, 8, Decimal(10**9)))
    story.tell(e.ProfileChanged, profile=profile)
    perpetual = Perpetual("M0", "USD", 3, 1, TENTH, TENTH, Decimal(10**6))
    story.tell(e.InstrumentListed, instrument=perpetual)
    coin(story, 100)
    story.tell(e.PriceUpdate, symbol="M0", kind="mark", price=Decimal(100), source="venue")
    supply(story, "lender", "DOLLAR", "USD", 1000)
    for account, coins, owed in (("a", 10, 400), ("b", 5, 200), ("c", 1, 70), ("d", 1, 30)):
        supply(story, account, "COIN", "COIN", coins)
        if account == "b":
            story.tell(e.CategoryChosen, account="b", category="careful")
        story.tell(e.Borrow, account=account, pool="DOLLAR", amount=Decimal(owed))
        story.tell(e.Withdrawal, account=account, asset="USD", amount=Decimal(owed))
    supply(story, "d", "OTHER", "COIN", 1)
    story.tell(e.CollateralEnabled, account="d", pool="OTHER", enabled=False)
    if mixed:
        story.tell(e.Deposit, account="a", asset="USD", amount=Decimal(100))
        story.tell(
            e.Fill, account="a", symbol="M0", margin="cross", size=Decimal(1), price=Decimal(100),
            fee=Decimal(0), fee_asset="USD", fill_id="1",
        )  # fmt: skip
    return whole.engine, story


TENTH = Decimal("0.1")


def coin(story: Story, price: int | str) -> list[d.Decision]:
    """Move the price of the coin."""
    told = {"symbol": "COIN", "kind": "index", "price": Decimal(price), "source": "venue"}
    return list(story.tell(e.PriceUpdate, **told))


def supply(story: Story, account: str, pool: str, asset: str, amount: int) -> None:
    """Deposit an amount and supply all of it."""
    story.tell(e.Deposit, account=account, asset=asset, amount=Decimal(amount))
    story.tell(e.Supplied, account=account, pool=pool, amount=Decimal(amount))


def pool_at(name: str, asset: str) -> tuple[tuple[str, str], ...]:
    """Return the labels of a pool's amounts."""
    return labels(shard="0", pool=name, asset=asset)


def by_health(found: Samples) -> dict[str, float]:
    """Return debts by band, without the empty ones."""
    of = found["liquidator_debt_by_health"]
    return {dict(at)["health"]: round(value, 4) for at, value in of.items() if value}


def test_pools_are_shown_with_amounts_rates_and_indices(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    engine, _ = loan_engine()
    metrics.observe_state(0, engine)
    found = shown(registry)
    dollar, coins = pool_at("DOLLAR", "USD"), pool_at("COIN", "COIN")
    assert found["liquidator_pool_supplied"][dollar] == pytest.approx(1000)
    assert found["liquidator_pool_borrowed"][dollar] == pytest.approx(700)
    assert found["liquidator_pool_cash"][dollar] == 300
    assert found["liquidator_pool_supplied"][coins] == 17
    assert found["liquidator_pool_deficit"][dollar] == 0
    at = labels(shard="0", pool="DOLLAR")
    ratios = {
        name: found[f"liquidator_pool_{name}_ratio"][at]
        for name in ("utilization", "borrow_rate", "supply_rate", "borrow_index", "supply_index")
    }
    # 700 of 1,000 at 10 %; lenders get nine tenths of that.
    assert ratios == pytest.approx(
        {
            "utilization": 0.7,
            "borrow_rate": 0.1,
            "supply_rate": 0.063,
            "borrow_index": 1,
            "supply_index": 1,
        }
    )
    # Of a pool whose venue accrues no rate is known.
    other = labels(shard="0", pool="OTHER")
    assert other not in found["liquidator_pool_borrow_rate_ratio"]
    assert found["liquidator_pool_borrow_index_ratio"][other] == 1


def test_collateral_is_what_counts_and_debt_stands_by_health(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    engine, story = loan_engine()
    supply(story, "e", "COIN", "COIN", 3)
    metrics.observe_state(0, engine)
    found = shown(registry)
    # What d disabled backs nothing, and what e supplied no debt.
    held = {dict(at)["asset"]: amount for at, amount in found["liquidator_collateral"].items()}
    assert held == {"COIN": 17, "USD": 0}
    # a: 800 ÷ 400; b: 250 ÷ 200, by its category; c: 80 ÷ 70 = 1.143; d: 80 ÷ 30. Interest of some
    # millionths takes a and b just below the bounds.
    assert by_health(found) == {"1.1_to_1.25": 270, "1.25_to_2": 400, "above_2": 30}
    coin(story, 80)
    metrics.observe_state(0, engine)
    # 640 ÷ 400 = 1.6, 200 ÷ 200, 64 ÷ 70, 64 ÷ 30.
    assert by_health(shown(registry)) == {"below_1": 270, "1.25_to_2": 400, "above_2": 30}
    assert set(shown(registry)["liquidator_debt_by_health"]) == {
        labels(shard="0", asset="USD", health=band)
        for band in ("below_1", "1_to_1.05", "1.05_to_1.1", "1.1_to_1.25", "1.25_to_2", "above_2")
    }


def test_cash_and_positions_count_in_the_health_of_a_debt(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    engine, story = loan_engine(mixed=True)
    metrics.observe_state(0, engine)
    # a: 800 + 100 ÷ (400 + 1), which is above 2 now.
    assert by_health(shown(registry)) == {"1.1_to_1.25": 270, "above_2": 430}
    story.tell(e.PriceUpdate, symbol="M0", kind="mark", price=Decimal(40), source="venue")
    metrics.observe_state(0, engine)
    # A loss of 60: 840 ÷ (400 + 0.4) = 2.098; at 20: 820 ÷ 400.2 = 2.049; at 0.1: 800.1 ÷ 400.
    assert by_health(shown(registry))["above_2"] == 430
    story.tell(e.Withdrawal, account="a", asset="USD", amount=Decimal(50))
    metrics.observe_state(0, engine)
    assert by_health(shown(registry)) == {"1.1_to_1.25": 270, "1.25_to_2": 400, "above_2": 30}


def test_bands_agree_with_the_exact_health_of_every_group() -> None:
    engine, story = loan_engine(mixed=True)
    for price in ("100", "92.5", "87.6", "81", "66.25"):
        coin(story, price)
        sums = dict.fromkeys(loan_book(engine).debt_by_health, Decimal(0))
        with localcontext(EXACT):
            for group in engine.book.all_groups():
                state = engine.health_of(group)
                assert state is not None
                owed = sum((loan.owed * loan.price for loan in state.loans), Decimal(0))
                if owed:
                    band = next(
                        name
                        for name, bound in BANDS.items()
                        if bound == float("inf")
                        or state.margin_equity < Decimal(str(bound)) * state.maintenance
                    )
                    sums[band] += owed
        found = {band: float(owed) for band, owed in sums.items()}
        assert loan_book(engine).debt_by_health == pytest.approx(found, abs=1e-6)


def test_bad_debt_of_a_loan_goes_from_unrealised_to_the_deficit_of_its_pool(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    engine, story = loan_engine()
    at = labels(shard="0", market="DOLLAR", asset="USD")
    story.tell(e.FundMoved, shard=0, asset="USD", amount=Decimal(3), pool="DOLLAR")
    decided = coin(story, 50)
    metrics.fold(0, {}, decided)
    metrics.observe_state(0, engine)
    found = shown(registry)
    # c owes 70 against 50.
    assert found["liquidator_bad_debt_unrealised"][at] == pytest.approx(20, abs=1e-4)
    assert found["liquidator_bad_debt_outstanding"][at] == 0
    asked = [one for one in decided if isinstance(one, d.CollateralLiquidation)]
    toxic = sum(one.toxic for one in asked)
    ordered = found["liquidator_seizures_total"]
    assert ordered[labels(shard="0", toxic="true")] == toxic
    assert ordered[labels(shard="0", toxic="false")] == len(asked) - toxic
    live = found["liquidator_seizures_live"]
    assert live == {labels(shard="0", pool=p): 0 for p in ("COIN", "OTHER")} | {
        labels(shard="0", pool="DOLLAR"): len(asked)
    }
    (order,) = [one for one in asked if one.account == "c"]
    repaid = Decimal("47.61904762")
    assert (order.seize, order.repay) == (1, repaid)
    decided = list(
        story.tell(
            e.Seized, account="c", margin="cross", pool="DOLLAR", repaid=repaid, collateral="COIN",
            seized=Decimal(1), order_id=order.order_id,
        )
    )  # fmt: skip
    metrics.fold(0, {}, decided)
    metrics.observe_state(0, engine)
    found = shown(registry)
    lost = found["liquidator_shortfall_total"][at]
    assert lost == pytest.approx(70 - 47.61904762, abs=1e-4)
    borne = found["liquidator_shortfall_paid_total"]
    reserve = borne[labels(shard="0", market="DOLLAR", asset="USD", layer="reserve")]
    deficit = found["liquidator_pool_deficit"][pool_at("DOLLAR", "USD")]
    assert reserve == pytest.approx(3, abs=1e-3)
    assert lost == pytest.approx(reserve + deficit)
    assert found["liquidator_bad_debt_outstanding"][at] == deficit
    assert found["liquidator_bad_debt_unrealised"][at] == 0
    paid_back = {"account": "c", "pool": "DOLLAR", "amount": Decimal(5)}
    story.tell(e.Deposit, account="c", asset="USD", amount=Decimal(5))
    metrics.fold(0, {}, list(story.tell(e.Repay, **paid_back)))
    metrics.observe_state(0, engine)
    found = shown(registry)
    repaid_at = labels(shard="0", asset="USD")
    assert found["liquidator_bad_debt_recovered_total"][repaid_at] == 5
    assert found["liquidator_bad_debt_total"][at] == deficit
    assert found["liquidator_bad_debt_outstanding"][at] == pytest.approx(deficit - 5)
    assert found["liquidator_pool_deficit"][pool_at("DOLLAR", "USD")] == pytest.approx(deficit - 5)


def test_a_withdrawal_that_a_pool_cannot_pay_is_counted(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    _, story = loan_engine()
    redeem = {"account": "lender", "pool": "DOLLAR", "amount": Decimal(301)}
    metrics.fold(0, {}, list(story.tell(e.Redeemed, **redeem)))
    assert shown(registry)["liquidator_withdrawals_unpaid_total"][labels(shard="0")] == 1


def test_loans_are_not_shown_where_nothing_is_lent(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.observe_state(0, venue())
    found = shown(registry)
    assert not [name for name in found if name.startswith("liquidator_pool_")]
    layers = {dict(at)["layer"] for at in found["liquidator_shortfall_paid_total"]}
    assert layers == {"fund"}
