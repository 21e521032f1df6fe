"""Books that hedge themselves: a liquidation leaves the hedge, by worked numbers and of any book.

Options without volatility are worth what exercise pays, so the numbers can be done in the head.
"""

from decimal import Decimal as D
from decimal import localcontext

import pytest

from consumers import profiles
from engine import decisions as d
from engine import events as e
from engine.instruments import Future, Option, Perpetual
from engine.liquidation_profile import LeastReduction, LiquidationRule
from engine.margin import health
from engine.money import EXACT
from engine.pricing import fee_rate
from engine.profile import DAY, Collateral, Portfolio, RiskProfile
from engine.projection import Part, Projection
from engine.selection import next_leg
from tests.story import USDT, Story, WholeEngine, engine_of, of
from tests.test_portfolio_watch import crowd, profile

UNITS = {"size_decimals": 1, "price_decimals": 2, "tick": D("0.1"), "lot": D("0.1")}
UNITS |= {"largest_size": D(10**6), "underlying": "BTC", "taker_fee": D("0.001")}
CALL = Option("CALL", "USDT", **UNITS, kind="call", strike=D(90), expiry=20 * DAY)
FUTURE = Future("FUT", "USDT", **UNITS, expiry=20 * DAY)
PERPETUAL = Perpetual("PERP", "USDT", **UNITS)
TEN_PERCENT = Portfolio(price_moves=(D("-0.1"), D(0), D("0.1")), volatility_moves=(D(0),))
"""What is lost when the price moves by a tenth."""


def liquidated(held: dict[str, str], money: str, **rule: object) -> list[tuple[str, D]]:
    """Return the symbols and sizes of the first orders, at 100 and a call of 10, of a trader who is
    left with so much money."""
    story = Story(WholeEngine())
    story.tell(e.InstrumentListed, instrument=USDT)
    rules = RiskProfile(
        name="hedged", numeraire="USDT", collateral={"USDT": Collateral()}, conversion=("USDT",),
        portfolios={"BTC": TEN_PERCENT}, liquidation=LiquidationRule(**rule),
    )  # fmt: skip
    story.tell(e.ProfileChanged, profile=rules)
    for listed in (CALL, FUTURE, PERPETUAL):
        story.tell(e.InstrumentListed, instrument=listed)
    story.price("FUT", "100")
    story.price("PERP", "100")
    story.tell(e.OptionMark, symbol="CALL", iv=D(0), forward=D(100), source="venue")
    story.deposit("alice", "USDT", "100")
    for symbol, size in held.items():
        story.fill("alice", symbol, size, "10" if symbol == "CALL" else "100")
    assert not of(d.LiquidationStarted, story.decided)
    story.tell(e.Withdrawal, account="alice", asset="USDT", amount=100 - D(money))
    orders = of(d.LiquidationOrder, story.decided)
    return [(order.symbol, order.size if order.side == "buy" else -order.size) for order in orders]


HEDGED = {"PERP": "-1.6", "FUT": "1.5", "CALL": "1"}
"""Needs 10 · 0.9 = 9. Without the call 1, without the future 6, without the perpetual 25; each
alone needs 10, 15 and 16."""


def test_the_call_goes_that_frees_most_for_its_cost_and_the_hedge_stays():
    """Of 8 in margin equity; without the call 1 is needed, and a fee of 0.01 paid."""
    assert liquidated(HEDGED, "8", legs="cost") == [("CALL", D(-1))]


def test_by_what_each_needs_alone_the_hedge_would_go_first_and_then_all():
    """Without the perpetual 25, without the future too 10: above 8, so the call goes as well."""
    assert liquidated(HEDGED, "8") == [("PERP", D("1.6")), ("FUT", D("-1.5")), ("CALL", D(-1))]


def test_of_legs_that_all_hedge_the_one_goes_first_without_which_least_more_is_needed():
    """Short 2 against 1.5 and the call needs 5; without the call 5, without the future 10, without
    the perpetual, which alone needs most, 25. With the call gone the perpetual adds 10, the future
    15: so they follow, for nothing short of all meets 4."""
    book = {"PERP": "-2", "FUT": "1.5", "CALL": "1"}
    closed = liquidated(book, "4", legs="cost")
    assert closed == [("CALL", D(-1)), ("PERP", D(2)), ("FUT", D("-1.5"))]


def test_a_long_call_that_hedges_a_short_perpetual_stays():
    """Short 2, with two calls less a tenth: 1 is needed; without the calls 20, without the
    perpetual 19: nothing frees, and the perpetual adds less. What is left then has to go too."""
    assert liquidated({"PERP": "-2", "CALL": "1.9"}, "0.9", legs="cost") == [
        ("PERP", D(2)),
        ("CALL", D("-1.9")),
    ]
    # Short 2 with one call needs 10: without the perpetual as much, without the call 20.
    assert liquidated({"PERP": "-2", "CALL": "1"}, "9.5", legs="cost")[0] == ("PERP", D(2))
    # Short 3 with one call needs 20, and 10 without the perpetual: that is enough.
    assert liquidated({"PERP": "-3", "CALL": "1"}, "15", legs="cost") == [("PERP", D(3))]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_leg_beyond_its_hedge_is_reduced_as_far_as_needed(sign: int):
    """Four more on one side need 40, and 44 to stop. Without the ten, 60 are needed, without the
    six 100; but each unit of the ten frees 11 for a fee of 0.1, down to the hedge: 14 ÷ 10.9 =
    1.28, up to a lot."""
    book = {"PERP": str(10 * sign), "FUT": str(-6 * sign)}
    rules = {"legs": "cost", "sizing": LeastReduction(), "fee_rate": D(0)}
    assert liquidated(book, "30", **rules) == [("PERP", D("-1.3") * sign)]


def test_where_no_size_is_enough_a_leg_is_reduced_to_its_hedge_before_another_goes():
    """Four units cost fees of 40.4, more than there is: the ten go down to the six they hedge."""
    book = {"PERP": "10", "FUT": "-6"}
    rules = {"legs": "cost", "sizing": LeastReduction(), "fee_rate": D("0.1")}
    assert liquidated(book, "0.2", **rules)[0] == ("PERP", D(-4))


@pytest.mark.parametrize("seed_rule", [None, "deribit-portfolio", "okx-portfolio"])
def test_no_hedge_goes_while_another_leg_frees_margin(seed_rule: str | None):
    """Of two hundred books of options, futures and perpetuals."""
    rules = profile(liquidation=LiquidationRule(legs="cost", slippage={"COIN-C": D("0.01")}))
    if seed_rule is not None:
        shipped = profiles.read(seed_rule)
        rules = profile(
            liquidation=shipped.liquidation, portfolios={"BTC": shipped.portfolios["BTC"]}
        )
    engine = engine_of(crowd(rules, 200)[0])
    books = [group for group in engine.book.all_groups() if len(group.legs) > 1]
    assert len(books) > 60
    hedging = 0
    for group in books:
        state = engine.health_of(group)
        assert state is not None
        with localcontext(EXACT):
            parts = [
                Part(leg, abs(leg.size), fee_rate(leg, state, engine.rules)) for leg in state.legs
            ]
            freed = {}
            for symbol in group.legs:
                legs = {name: leg for name, leg in group.legs.items() if name != symbol}
                left = health(group.holdings._replace(legs=legs), engine.rules, engine.markets)
                assert left is not None
                freed[symbol] = state.maintenance - left.maintenance
            first = next_leg(parts, Projection(group.holdings, state), engine.rules, engine.markets)
        hedging += min(freed.values()) < 0
        best = max(freed.values())
        assert freed[first.leg.symbol] > 0 or freed[first.leg.symbol] == best
    assert hedging > 20


@pytest.mark.slow
def test_every_shipped_profile_with_portfolios_closes_by_what_it_frees():
    found = [rules for rules in map(profiles.read, profiles.margined()) if rules.portfolios]
    assert {rules.name for rules in found} == {"deribit-portfolio", "okx-portfolio"}
    assert {rules.liquidation.legs for rules in found} == {"cost"}
