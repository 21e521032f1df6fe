"""What must be true of every shipped lending market, whatever people do in it: value, seizures, and
rounding."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal as D
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from engine import decisions as d
from engine import events as e
from engine.lending import CloseFactor
from engine.loan_values import indices_now
from engine.money import floor_to
from engine.pools import booked, supplied_amount
from engine.seizure import HealthBonus
from tests.examples import EXAMPLES
from tests.lending_books import Books
from tests.lending_histories import KINDS, Act, acts, play
from tests.lending_watchers import Growth, Health, Invariants, Rounding, Watched
from tests.loan_story import LoanStory, pool
from tests.shipped_market import BORROWERS, DAY, LENDER, MARKETS, Market, ShippedMarket
from tests.story import of, only

BY_PAIRS = [name for name in MARKETS if name not in ("compound-v3", "maker")]
"""The markets that take one pair of debt and collateral at a time; of the others one takes whole
accounts, and one puts all that backs a debt on auction."""

every_market = pytest.mark.parametrize("name", MARKETS)
decimals = st.sampled_from([8, 2])


# --- value


class Means(Watched):
    """What lenders and the reserve of a pool may claim is there, in cash, in debts and in what is
    known to be lost; each event may round by a unit of the asset. Pools of which more was taken
    than was supplied are left out.
    """

    def __init__(self) -> None:
        self.events = 0
        self.overdrawn: set[str] = set()
        self.judged = 0

    def after(self, engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None:
        """Add the claims up, one by one."""
        self.events += 1
        for made in of(d.Anomaly, decided):
            if made.kind == "exceeds_supply":
                self.overdrawn.add(getattr(event, "collateral", None) or event.pool)
        for name, state in engine.markets.lending.items():
            rule = engine.rules.pool(name)
            if name in self.overdrawn:
                continue
            at, unit = (
                indices_now(name, engine.rules, engine.markets),
                engine.rules.assets[rule.asset].unit,
            )
            lent = (engine.book.loan_of(one, name).supplied for one in engine.book.suppliers(name))
            claims = sum((supplied_amount(one, at, unit) for one in lent), D(0))
            claims += booked(rule, state, at, unit).reserve
            means = state.cash + state.borrowed * at.borrow + state.auctioned + state.deficit
            assert claims <= means + self.events * unit, (name, claims, means)
            self.judged += 1


@every_market
@EXAMPLES
@given(done=acts(), decimals=decimals)
def test_value_is_conserved_to_the_last_unit_after_every_event(name, done, decimals):
    """Between borrowers, lenders, liquidators, keepers, funds, pools, and what was lost."""
    play(name, done, Books(), Invariants(), decimals=decimals)


@every_market
@EXAMPLES
@given(done=acts(), decimals=decimals)
def test_what_lenders_and_reserve_may_claim_is_there(name, done, decimals):
    means = Means()
    play(name, done, means, decimals=decimals)
    assert means.judged


# --- seizures


@every_market
@EXAMPLES
@given(done=acts(), decimals=decimals)
def test_a_liquidation_never_lowers_health_unless_it_is_toxic(name, done, decimals):
    play(name, done, Health(), decimals=decimals)


@every_market
@EXAMPLES
@given(done=acts(), decimals=decimals)
def test_rounding_never_favours_the_liquidator_over_the_pool(name, done, decimals):
    play(name, done, Rounding(), decimals=decimals)


@every_market
@EXAMPLES
@given(done=acts(), decimals=decimals)
def test_indices_never_fall_but_for_a_loss_that_lenders_bear(name, done, decimals):
    play(name, done, Growth(), decimals=decimals)


def drawn(seed: int) -> list[Act]:
    """Return what is done in a history of a seed."""
    chance = Random(seed)
    kinds = ["open", "open", *(chance.choice(KINDS) for _ in range(24))]
    return [
        Act(kind, chance.randrange(6), chance.randrange(12), chance.randint(1, 1000))
        for kind in kinds
    ]


@every_market
def test_histories_are_rich_enough_to_fail(name):
    """Every market liquidates and loses something in them."""
    seen: Counter[str] = Counter()
    watched = Health()
    rounding, growth = Rounding(), Growth()
    for seed in range(16):
        market = play(name, drawn(seed), Books(), Invariants(), growth, watched, rounding)
        seen.update(type(made).__name__ for made in market.decided)
        watched.planned = {}
    assert seen["LiquidationStarted"] > 10
    assert seen["Shortfall"] > 0
    assert watched.judged > 5
    if market.lending.auction is not None:
        assert min(seen[kind] for kind in ("AuctionStarted", "AuctionReset", "AuctionEnded")) > 5
        return
    assert seen["CollateralLiquidation"] > 10
    assert rounding.carried_out > 5
    if market.lending.bad_debt.charge == ("lenders",):
        assert seen["LossSocialised"] > 0
        assert growth.socialised > 0


# --- toxicity, by name


def opened(name: str) -> tuple[ShippedMarket, str, Market, str]:
    """Return a market with a loan of all that may be opened: who owes it, where, and on what."""
    market = ShippedMarket(name)
    where = market.markets[0]
    backing, lent = next(
        (backing, lent)
        for backing in where.collaterals
        for lent in where.lends
        if market.lending.pools[backing].asset
        not in (market.lending.pools[lent].asset, market.profile.numeraire)
    )
    market.supply(BORROWERS[0], backing, market.amount_of(backing, D(60_000)), where.margin)
    borrow_all(market, BORROWERS[0], lent, where.margin)
    return market, BORROWERS[0], where, backing


def borrow_all(market: ShippedMarket, who: str, lent: str, margin: str) -> None:
    """Borrow all that may be opened, and take it away."""
    amount = market.room(who, lent, margin)
    market.loan(e.Borrow, who, lent, amount, margin)
    market.take_away(who, lent, amount)


@pytest.mark.parametrize("name", BY_PAIRS)
def test_a_toxic_seizure_is_said_to_be_one_and_lowers_health(name):
    market, who, where, backing = opened(name)
    group = market.group(who, where.margin)
    state = market.engine.health_of(group)
    asset = market.lending.pools[backing].asset
    price = market.price_of(backing) * state.maintenance / state.margin_equity
    decided = market.worth(asset, (price * D("0.7")).quantize(D("0.01")))
    order = only(d.CollateralLiquidation, decided)
    assert order.toxic
    before = market.engine.health_of(group)
    market.seize(order, 500)
    after = market.engine.health_of(group)
    assert after.maintenance < before.maintenance
    assert after.margin_equity * before.maintenance < before.margin_equity * after.maintenance


def test_a_seizure_is_toxic_by_the_threshold_of_what_is_seized():
    """Collateral 100 at 0.5 and 100 at 0.95 against 150, with a bonus of 8 %: a health factor of
    0.9667, and 0.9575 once 20 are repaid for 21.6 of the second, though 0.75 < 1 ÷ 1.08."""
    bonus = HealthBonus(most=D("0.08"), least_share=D(0), most_at=D("0.97"))
    story = LoanStory()
    pools = {"USD": pool("USD"), "EUR": pool("EUR", "0.5"), "ETH": pool("ETH", "0.95")}
    for coin in ("EUR", "ETH"):
        terms = structs.replace(pools[coin].collateral, bonus=bonus)
        pools[coin] = structs.replace(pools[coin], collateral=terms)
    story.market(pools, {"EUR": "1.1", "ETH": "1.2"}, repay=CloseFactor())
    story.supply("lena", "USD", "1000")
    story.supply("ben", "EUR", "100")
    story.supply("ben", "ETH", "100")
    assert not of(d.Anomaly, story.borrow("ben", "USD", "150"))
    assert not of(d.LiquidationStarted, story.price("EUR", "1", "index"))
    order = only(d.CollateralLiquidation, story.price("ETH", "1", "index"))
    assert (order.collateral, order.bonus, order.toxic) == ("ETH", D("0.08"), True)
    assert (order.repay, order.seize) == (75, 81)
    assert order.health_factor == floor_to(D(145), D("1e-18"), D(150))
    group = story.engine.group_of("ben", "cross")
    assert story.engine.health_of(group).margin_equity == 145
    decided = story.tell(
        e.Seized, account="ben", margin="cross", pool="USD", repaid=D(20), collateral="ETH",
        seized=D("21.6"), order_id=order.order_id,
    )  # fmt: skip
    assert not of(d.Anomaly, decided)
    after = story.engine.health_of(group)
    assert (after.margin_equity, after.maintenance) == (D("124.48"), 130)
    assert after.margin_equity / after.maintenance < D("0.9576") < D("0.9666") < D(145) / 150


def test_a_seizure_above_the_frontier_is_not_toxic():
    """The same account seized of the collateral at 0.5: 0.5·1.08 of what is repaid goes."""
    story = LoanStory()
    pools = {
        "USD": pool("USD"),
        "EUR": pool("EUR", "0.9", "0.08"),
        "ETH": pool("ETH", "0.5", "0.08"),
    }
    story.market(pools, {"EUR": "1.1", "ETH": "1.2"}, collateral_first="lowest_threshold")
    story.supply("lena", "USD", "1000")
    story.supply("ben", "EUR", "100")
    story.supply("ben", "ETH", "100")
    story.borrow("ben", "USD", "142")
    story.price("ETH", "1", "index")
    order = only(d.CollateralLiquidation, story.price("EUR", "1", "index"))
    assert (order.collateral, order.toxic) == ("ETH", False)
    group = story.engine.group_of("ben", "cross")
    before = story.engine.health_of(group)
    story.seized(order)
    after = story.engine.health_of(group)
    assert after.margin_equity * before.maintenance > before.margin_equity * after.maintenance


# --- there and back


def grow(market: ShippedMarket, where: str) -> None:
    """Let a loan of half of a pool's cash earn interest for some weeks, so that no index is 1."""
    known = market.engine.markets.lending.get(where)
    if known is None or not market.lending.pools[where].borrowable:
        return
    unit = market.unit(market.lending.pools[where].asset)
    market.loan(e.Borrow, LENDER, where, floor_to(known.cash, unit, D(2)) + unit)
    market.wait(DAY if market.auctions() else 40 * DAY)


@every_market
@EXAMPLES
@given(done=acts(most=8), size=st.integers(1, 10**7), choice=st.integers(0, 11), decimals=decimals)
def test_supply_and_redemption_at_once_never_give_more_than_was_put_in(
    name, done, size, choice, decimals
):
    market = play(name, done, decimals=decimals)
    pools = sorted(market.lending.pools)
    where = pools[choice % len(pools)]
    grow(market, where)
    unit = market.unit(market.lending.pools[where].asset)
    before = market.engine.book.loan_of(market.group(LENDER), where)
    had = market.held(LENDER, where)[0]
    market.supply(LENDER, where, size * unit)
    assert had <= market.held(LENDER, where)[0] <= had + size * unit
    market.loan(e.Redeemed, LENDER, where, size * unit)
    assert market.engine.book.loan_of(market.group(LENDER), where).supplied <= before.supplied
    assert market.held(LENDER, where)[0] <= had


@every_market
@EXAMPLES
@given(done=acts(most=8), size=st.integers(1, 10**7), choice=st.integers(0, 11), decimals=decimals)
def test_a_loan_repaid_at_once_never_costs_less_than_was_lent(name, done, size, choice, decimals):
    market = play(name, done, decimals=decimals)
    lends = sorted(one for one, rule in market.lending.pools.items() if rule.borrowable)
    where = lends[choice % len(lends)]
    grow(market, where)
    unit = market.unit(market.lending.pools[where].asset)
    group = market.group(LENDER)
    before, owed = market.engine.book.loan_of(group, where), market.held(LENDER, where)[1]
    if of(d.Refused, market.loan(e.Borrow, LENDER, where, size * unit)):
        return
    assert market.held(LENDER, where)[1] >= owed + size * unit
    market.loan(e.Repay, LENDER, where, size * unit)
    assert market.engine.book.loan_of(group, where).owed >= before.owed
    assert market.held(LENDER, where)[1] >= owed
