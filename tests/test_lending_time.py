"""What time does to every shipped lending market: interest, found without a price, and what is owed
no more; reading it does nothing."""

from decimal import Decimal as D
from decimal import localcontext
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import decisions as d
from engine import events as e
from engine import pools, state
from engine.book import Group
from engine.core import Engine
from engine.interest import RateCurve
from engine.margin import health, level
from engine.money import EXACT, ceil_to, floor_to
from tests.examples import EXAMPLES
from tests.lending_histories import acts, play
from tests.loan_story import LoanStory, pool
from tests.shipped_market import BORROWERS, DAY, HOUR, LENDER, MARKETS, YEAR, Market, ShippedMarket
from tests.story import WholeEngine, of, only

every_market = pytest.mark.parametrize("name", MARKETS)
CALLED, NOT_CALLED = b'"called":true', b'"called":false'
spans = st.one_of(st.integers(1, HOUR), st.integers(HOUR, 30 * DAY), st.integers(DAY, 3 * YEAR))


# --- a tick of the clock, a read


@every_market
@EXAMPLES
@given(done=acts(), span=spans)
def test_a_tick_of_the_clock_changes_nothing_but_the_time(name, done, span):
    market = play(name, done)
    span = min(span, DAY) if market.auctions() else span
    before = records_of(market.engine)
    decided = market.wait(span)
    after = records_of(market.engine)
    assert decided or uncalled(after) == uncalled(before)
    assert not decided or after != before


def uncalled(records: dict[str, bytes]) -> dict[str, bytes]:
    """Return records without the margin calls that are out: one is over, with no word of it, where
    collateral has earned more than the debt."""
    return {name: raw.replace(CALLED, NOT_CALLED) for name, raw in records.items()}


def test_a_margin_call_is_over_once_collateral_has_earned_more_than_the_debt():
    story, earns = LoanStory(), RateCurve(base=D("0.5"))
    story.market({"USD": pool("USD"), "EUR": pool("EUR", "0.9", rates=earns)}, {"EUR": "1"})
    story.supply("lena", "USD", "1000")
    story.supply("ben", "EUR", "100")
    only(d.MarginCall, story.borrow("ben", "USD", "75"))
    story.tell(e.AccountOpened, account="bea", role="exempt")
    story.borrow("bea", "EUR", "100")
    assert story.engine.group_of("ben", "cross").called
    assert story.wait(YEAR) == []
    assert not story.engine.group_of("ben", "cross").called


@every_market
@EXAMPLES
@given(done=acts())
def test_reading_what_a_market_is_worth_leaves_no_trace(name, done):
    market = play(name, done)
    engine, before = market.engine, state.digest(market.engine)
    for group in list(engine.book.all_groups()):
        assert engine.next_step_of(group) == "rest"
        with localcontext(EXACT):
            assert engine.health_of(group) == engine.health_of(group)
            for context in ("initial", "entry"):
                level(group.holdings, engine.rules, engine.markets, context)
    assert state.digest(engine) == before
    market.wait(1)
    again = state.restore(0, state.records(engine).items())
    assert state.digest(again) == state.digest(engine)


def told(engine: Engine, times: list[int]) -> list[list[d.Decision]]:
    """Return what is decided as time passes to each of these."""
    whole = WholeEngine()
    whole.engine = engine
    return [list(whole.apply(e.TimePassed(time=time))) for time in times]


def said(decided: list[d.Decision]) -> list[dict[str, Any]]:
    """Return decisions without the number of the event that they came of."""
    return [
        {
            name: getattr(made, name)
            for name in made.__struct_fields__
            if name not in ("seq", "index")
        }
        for made in decided
    ]


@every_market
@EXAMPLES
@given(
    done=acts(),
    span=spans,
    parts=st.lists(st.integers(1, 999), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_a_span_of_time_may_be_split(name, done, span, parts):
    """Up to the first part in which something is decided or a margin call is over: there all is as
    if it had passed at once."""
    market = play(name, done)
    start = market.engine.time
    span = min(span, DAY) if market.auctions() else span
    times = [start + span * part // 1000 for part in parts]
    kept = state.records(market.engine)
    by_parts, at_once, untouched = (state.restore(0, kept.items()) for _ in range(3))
    for now in [*times, start + span]:
        (decided,) = told(by_parts, [now])
        if decided or records_of(by_parts) != records_of(untouched):
            break
    (whole,) = told(at_once, [now])
    assert said(whole) == said(decided)
    for group in by_parts.book.all_groups():
        assert health_of(by_parts, group.key) == health_of(at_once, group.key)
    assert records_of(by_parts) == records_of(at_once)


def records_of(engine: Engine) -> dict[str, bytes]:
    """Return the state, without where the engine stands."""
    return {name: raw for name, raw in state.records(engine).items() if name != "shard"}


def health_of(engine: Engine, key: tuple[str, str]) -> Any:
    """Return the health of a group of that name."""
    group = engine.group_of(*key)
    with localcontext(EXACT):
        return health(group.holdings, engine.rules, engine.markets)


STEADY = [
    (name, where)
    for name in MARKETS
    for where, rule in ShippedMarket(name).lending.pools.items()
    if rule.borrowable
    and rule.accrual.method == "compound"
    and not (rule.rates.slope_low or rule.rates.slope_high)
]


def test_some_market_compounds_at_a_rate_that_stays():
    assert {name for name, _ in STEADY} == {"maker"}


@pytest.mark.parametrize(("name", "where"), STEADY)
@EXAMPLES
@given(span=spans, parts=st.lists(st.integers(1, 999), min_size=1, max_size=6, unique=True))
def test_interest_that_compounds_is_exact_under_any_split_by_touches(name, where, span, parts):
    """Touched at any time, by a supply of one unit, a debt is what it is untouched."""
    owed = []
    for touches in ([], sorted(parts)):
        market = ShippedMarket(name)
        market.loan(e.Borrow, LENDER, where, D(20_000))
        times = [span * part // 1000 for part in touches]
        for before, after in pairwise([0, *times]):
            market.wait(after - before)
            market.supply(LENDER, where, market.unit(market.lending.pools[where].asset))
        market.wait(span - (times[-1] if times else 0))
        owed.append(market.held(LENDER, where)[1])
        with localcontext(EXACT):
            state_of = market.engine.markets.lending[where]
            owed.append(pools.indices(market.lending.pools[where], state_of, market.time).borrow)
    assert owed[:2] == owed[2:]
    assert owed[0] >= 20_000


# --- interest alone


def factor_at(engine: Engine, group: Group, now: int) -> tuple[D, D]:
    """Return what counts for a group and what it owes at a time, pool by pool."""
    counted = owed = D(0)
    lending, category = engine.rules.lending, engine.book.category_of(group)
    assert lending is not None
    for name, loan in group.loans.items():
        rule = lending.pools[name]
        at = pools.indices(rule, engine.markets.lending[name], now)
        price, unit = engine.price_of(rule.asset), engine.rules.assets[rule.asset].unit
        terms = lending.terms_of(name, category)
        if terms is not None and loan.enabled:
            counted += (
                floor_to(loan.supplied * at.supply, unit) * price * terms.liquidation_threshold
            )
        due = loan.owed * at.borrow
        owed += (ceil_to if rule.owed == "up" else floor_to)(due, unit) * price
    return counted, owed


def first_breach(engine: Engine, group: Group) -> int | None:
    """Return the first microsecond at which a group whose health only falls is liquidated, if that
    is within some decades."""
    equal = engine.rules.in_force.trigger.at_equality

    def breached(now: int) -> bool:
        counted, owed = factor_at(engine, group, now)
        return counted < owed or (equal and counted == owed)

    early, late = engine.time, engine.time + 40 * YEAR
    if breached(early) or not breached(late):
        return None
    while late - early > 1:
        between = (early + late) // 2
        early, late = (early, between) if breached(between) else (between, late)
    return late


def indebted(name: str, choice: int, size: int, short: int) -> tuple[ShippedMarket, Group, str]:
    """Return a market with a loan of what may be opened, whose collateral has then become so cheap
    that health is `short` millionths above 1; the group, and the pool that it owes."""
    market = ShippedMarket(name)
    where: Market = market.markets[choice % len(market.markets)]
    pairs = [
        (backing, lent)
        for backing in where.collaterals
        for lent in where.lends
        if market.lending.pools[backing].asset
        not in (market.lending.pools[lent].asset, market.profile.numeraire)
    ]
    backing, lent = pairs[choice % len(pairs)]
    who = BORROWERS[0]
    market.supply(who, backing, market.amount_of(backing, D(size * 100)), where.margin)
    amount = market.room(who, lent, where.margin)
    market.loan(e.Borrow, who, lent, amount, where.margin)
    market.take_away(who, lent, amount)
    group = market.group(who, where.margin)
    with localcontext(EXACT):
        counted, owed = factor_at(market.engine, group, market.engine.time)
        goal = market.price_of(backing) * owed * (1_000_000 + short)
        price = ceil_to(goal, D("1e-8"), counted * 1_000_000)
    market.worth(market.lending.pools[backing].asset, price)
    return market, group, lent


@every_market
@EXAMPLES
@given(
    choice=st.integers(0, 40),
    size=st.integers(1, 1000),
    short=st.one_of(st.integers(1, 1000), st.integers(1000, 300_000)),
    ticks=st.lists(st.integers(1, 9999), max_size=12, unique=True).map(sorted),
    late=st.one_of(st.just(0), st.integers(1, YEAR)),
)
def test_interest_alone_is_found_at_the_first_tick_at_which_health_is_below_one(
    name, choice, size, short, ticks, late
):
    market, group, _ = indebted(name, choice, size, short)
    assume(group.liquidation is None)
    with localcontext(EXACT):
        due = first_breach(market.engine, group)
    assume(due is not None)
    start = market.engine.time
    before = [start + (due - start) * tick // 10_000 for tick in ticks]
    quiet = told(market.engine, [*before, due - 1])
    assert not [made for decided in quiet for made in of(d.LiquidationStarted, decided)]
    (decided,) = told(market.engine, [due + late])
    found = only(d.LiquidationStarted, decided)
    assert (found.account, found.margin) == group.key
    with localcontext(EXACT):
        assert (found.margin_equity, found.maintenance) == factor_at_start(
            market, found, due + late
        )


def factor_at_start(market: ShippedMarket, found: d.LiquidationStarted, now: int) -> tuple[D, D]:
    """Return what the evidence of a start comes to, at the prices that it names."""
    assert found.time == now
    prices = {mark.symbol: mark.price for mark in found.marks} | {market.profile.numeraire: D(1)}
    pools_of = market.lending.pools
    counted = sum(
        (one.supplied * one.threshold * prices[pools_of[one.pool].asset] for one in found.loans),
        D(0),
    )
    owed = sum(
        (one.owed * one.weight * prices[pools_of[one.pool].asset] for one in found.loans), D(0)
    )
    return counted, owed


# --- what is written off


def written_off(name: str) -> tuple[ShippedMarket, Group, str]:
    """Return a market in which a loan was given up: its collateral was worth next to nothing."""
    market, group, lent = indebted(name, choice=0, size=500, short=200_000)
    (backing,) = [held for held, loan in group.loans.items() if loan.supplied]
    price = market.price_of(backing)
    decided = market.worth(market.lending.pools[backing].asset, price / 50)
    for _ in range(40):
        if group.liquidation is None:
            break
        for order in of(d.CollateralLiquidation, decided):
            decided = market.seize(order)
        for owner, auction in market.auctions():
            market.take(owner, auction)
            decided = market.wait(1)
    assert group.liquidation is None
    return market, group, lent


@every_market
def test_what_is_written_off_does_not_accrue(name):
    market, group, lent = written_off(name)
    (loss,) = of(d.Shortfall, market.decided)
    lending = market.engine.markets.lending[lent]
    assert market.held(*of_group(group, lent))[1] == 0
    assert lending.borrowed == sum(
        (loan.owed for loan in (one.loans[lent] for one in market.engine.book.borrowers(lent))),
        D(0),
    )
    given_up, deficit = dict(group.given_up), lending.deficit
    assert given_up == {lent: loss.amount}
    assert not market.wait(YEAR)
    market.supply(LENDER, lent, D(1))
    assert group.given_up == given_up
    assert market.engine.markets.lending[lent].deficit == deficit
    assert market.held(*of_group(group, lent))[1] == 0


def of_group(group: Group, lent: str) -> tuple[str, str, str]:
    """Return what `held` asks of a group."""
    return group.account.id, lent, group.margin


@every_market
@EXAMPLES
@given(parts=st.lists(st.integers(1, 1200), min_size=1, max_size=5))
def test_repayments_of_what_was_written_off_are_recovered_and_no_more(name, parts):
    market, group, lent = written_off(name)
    asset = market.lending.pools[lent].asset
    ledger, lost = market.engine.ledger, sum(group.given_up.values(), D(0))
    paid, recovered = D(0), D(0)
    assert lost > 0
    for part in parts:
        with localcontext(EXACT):
            amount = max(floor_to(lost * part, D("0.01"), D(1000)), D(1))
        left = group.given_up.get(lent, D(0))
        market.repay(group.account.id, lent, amount, group.margin)
        found = [one for one in of(d.BadDebtRecovered, market.decided) if one.market == lent]
        taken = min(amount, left)
        paid += taken
        recovered = sum((one.outstanding for one in found), D(0))
        assert sum((one.amount for one in found), D(0)) == paid <= lost
        assert group.given_up.get(lent, D(0)) == lost - paid
        assert ledger.recovered[asset, lent] == recovered <= ledger.bad_debt[asset, lent]
        assert market.engine.markets.lending[lent].deficit == (
            ledger.bad_debt[asset, lent] - recovered
        )
    assert recovered == min(paid, ledger.bad_debt[asset, lent])
