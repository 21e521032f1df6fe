"""Options in the engine: marks, margin with a hedge, liquidation, expiry, what is refused."""

from decimal import Decimal as D

import pytest
from msgspec import structs

from consumers import rules
from consumers.toml_file import FileFaults
from engine import events as e
from engine import invariants, margin, state
from engine.decisions import (
    Duplicate,
    Gap,
    Ignored,
    LiquidationEnded,
    LiquidationOrder,
    LiquidationStarted,
    MarginCall,
    Refused,
)
from engine.instruments import Option, Perpetual
from engine.liquidation_price import liquidation_prices
from engine.liquidation_profile import LiquidationRule, Pace
from engine.margin import breached, level
from engine.options import OptionInputs
from engine.portfolios import portfolio_leg, portfolio_margins
from engine.profile import DAY, Bracket, Collateral, Portfolio, Requirement, RiskProfile
from tests.story import BTC, USDT, Story, WholeEngine, of, only

CENTS = {"size_decimals": 1, "price_decimals": 2, "tick": D("0.05"), "lot": D("0.1")}
CENTS |= {"largest_size": D(1_000_000), "underlying": "BTC"}
EXPIRY = 30 * DAY
PERP = Perpetual("BTC-PERP", "USDT", **CENTS)
ALONE = Perpetual("ETH-PERP", "USDT", **(CENTS | {"underlying": "ETH"}))
CALL = Option("BTC-C", "USDT", **CENTS, kind="call", strike=D(110), expiry=EXPIRY)
PUT = Option("BTC-P", "USDT", **CENTS, kind="put", strike=D(90), expiry=EXPIRY)
COIN_TERMS = CENTS | {"price_decimals": 4, "tick": D("0.0005"), "style": "inverse"}
COIN_CALL = Option("COIN-C", "BTC", **COIN_TERMS, kind="call", strike=D(110), expiry=EXPIRY)
RULE = Portfolio(
    price_moves=(D("-0.1"), D(0), D("0.1")),
    volatility_moves=(D(0), D("0.5")),
    short_option_minimum=D("0.03"),
    option_contingency=D("0.005"),
    future_contingency=D("0.006"),
)
PROFILE = RiskProfile(
    name="options",
    numeraire="USDT",
    requirements={"ETH": Requirement((Bracket(D(10) ** 9, D("0.02"), D("0.01")),))},
    portfolios={"BTC": RULE},
    collateral={"USDT": Collateral(), "BTC": Collateral()},
    conversion=("USDT", "BTC"),
)


def mark(story: Story, symbol: str, iv: str = "0.6", forward: str = "100", **fields):
    fields = {"source": "venue", "iv": D(iv), "forward": D(forward)} | fields
    return story.tell(e.OptionMark, symbol=symbol, **fields)


@pytest.fixture
def story() -> Story:
    """A venue with a perpetual, its options, and another perpetual by brackets."""
    told = Story(WholeEngine())
    for asset in (USDT, BTC):
        told.tell(e.InstrumentListed, instrument=asset)
    told.tell(e.ProfileChanged, profile=PROFILE)
    for listed in (PERP, ALONE, CALL, PUT, COIN_CALL):
        assert not told.tell(e.InstrumentListed, instrument=listed)
    told.price("BTC", "100", "index")
    told.price("BTC-PERP", "100")
    told.price("ETH-PERP", "10")
    for symbol in ("BTC-C", "BTC-P", "COIN-C"):
        assert not mark(told, symbol)
    return told


def strangle(story: Story, account: str, cash: str, hedge: str = "1") -> None:
    """Ten calls and ten puts sold at their marks of 3.27 and 2.69, and a perpetual for a hedge."""
    story.deposit(account, "USDT", cash)
    story.fill(account, "BTC-C", "-10", "3.27")
    story.fill(account, "BTC-P", "-10", "2.69")
    if hedge:
        story.fill(account, "BTC-PERP", hedge, "100")


def health(story: Story, account: str):
    engine = story.machine.engine
    return engine.health_of(engine.accounts[account].groups["cross"])


def test_an_option_mark_gives_the_mark(story):
    engine = story.machine.engine
    assert engine.markets.price("BTC-C", "mark") == D("3.27")
    assert engine.markets.price("COIN-C", "mark") == D("0.0327")
    told = engine.markets.options["BTC-C"]
    assert told == OptionInputs(D("0.6"), D(100), D(1), engine.prices["BTC-C", "mark"].time)


def test_a_group_needs_what_its_portfolio_needs(story):
    """Worked by hand in tests/test_portfolio.py: 85.8 hedged, 95.2 without the hedge; the legs
    alone need 80.2 + 5 (call), 65.5 + 5 (put), 10 + 0.6 (perpetual)."""
    strangle(story, "alice", "200")
    strangle(story, "bob", "200", hedge="")
    found = health(story, "alice")
    assert (found.equity, found.maintenance) == (200, D("85.8"))
    assert {leg.symbol: leg.required for leg in found.legs} == {
        "BTC-C": D("85.2"),
        "BTC-P": D("70.5"),
        "BTC-PERP": D("10.6"),
    }
    assert health(story, "bob").maintenance == D("95.2")


def test_legs_by_brackets_stand_beside_a_portfolio(story):
    """10 ETH at 10 by 1 %: 1 more; at entry 1.2 · 85.8 + 2."""
    strangle(story, "alice", "200")
    story.fill("alice", "ETH-PERP", "10", "10")
    engine = story.machine.engine
    assert health(story, "alice").maintenance == D("86.8")
    group = engine.accounts["alice"].groups["cross"]
    found = level(group.holdings, engine.rules, engine.markets)
    assert found.requirement == D("104.96")
    assert found.required == {
        "BTC-C": D("102.24"),
        "BTC-P": D("84.60"),
        "BTC-PERP": D("12.72"),
        "ETH-PERP": 2,
    }


def test_closing_costs_are_part_of_maintenance_where_the_trigger_says_so(story):
    """Of the notionals 32.7, 26.9 and 100 the fee is 0.05 %, 0.0798 in all."""
    strangle(story, "alice", "200")
    trigger = PROFILE.trigger.__class__(taker_fee=True)
    changed = {"trigger": trigger, "name": "with fees"}
    fields = {name: getattr(PROFILE, name) for name in PROFILE.__struct_fields__}
    story.tell(e.ProfileChanged, profile=RiskProfile(**(fields | changed)))
    assert health(story, "alice").maintenance == D("85.8798")


def test_the_scenario_that_counts_can_be_asked_for(story):
    strangle(story, "alice", "200")
    engine = story.machine.engine
    held = [
        portfolio_leg(leg.symbol, leg.size, leg.mark, engine.rules, engine.markets)
        for leg in health(story, "alice").legs
    ]
    (found,) = portfolio_margins(held, engine.rules).items()
    assert found[0] == "BTC"
    assert (found[1].worst, found[1].scenario[:2]) == (D("75.2"), (D("0.1"), D("0.5")))


def test_a_mark_of_an_option_alone_can_call_and_liquidate(story):
    """The call's volatility rises while its forward stays: equity falls, the requirement rises."""
    strangle(story, "alice", "125")
    assert only(MarginCall, mark(story, "BTC-C", iv="0.7")).account == "alice"
    started = only(LiquidationStarted, mark(story, "BTC-C", iv="0.9"))
    assert started.margin_equity < started.maintenance
    assert [leg.symbol for leg in started.legs] == ["BTC-C", "BTC-P", "BTC-PERP"]
    assert {used.symbol: used.price for used in started.marks} == {
        "BTC-C": D("6.50"),
        "BTC-P": D("2.69"),
        "BTC-PERP": D(100),
    }


def test_options_are_closed_whole_the_largest_first_at_limits_on_the_tick(story):
    """The call goes to 6.50, by hand: alone it needs 10·(16.88 − 6.50) + 5 = 108.8, beside 70.5 and
    10.6; together 103.8 + 5 − 10 + 10.6 = 109.4. Equity 77.7 is shared 108.8 : 70.5 : 10.6.

    The call's 44.5165 are used up at 6.50 + 4.4517, the put's 28.8460 at 2.69 + 2.8846; the limits
    are those over 1.0005, down to the tick. Without options 10.6 is enough.
    """
    strangle(story, "alice", "110")
    decided = mark(story, "BTC-C", iv="0.9")
    assert only(LiquidationStarted, decided).maintenance == D("109.4")
    call, put = of(LiquidationOrder, decided)
    assert (call.symbol, call.side, call.size, call.stage) == ("BTC-C", "buy", 10, "limit")
    assert (call.bankruptcy_price, call.limit_price) == (D("10.95"), D("10.90"))
    assert (put.symbol, put.side, put.size, put.stage) == ("BTC-P", "buy", 10, "limit")
    assert (put.bankruptcy_price, put.limit_price) == (D("5.57"), D("5.55"))
    story.fill("alice", "BTC-C", "10", "10.90", fee="0.0545", order_id=call.order_id)
    left = story.fill("alice", "BTC-P", "10", "5.55", fee="0.02775", order_id=put.order_id)
    assert health(story, "alice").equity == D("77.7") - 44 - D("28.6") - D("0.08225")
    perpetual = only(LiquidationOrder, left)
    assert (perpetual.symbol, perpetual.side) == ("BTC-PERP", "sell")
    done = story.fill("alice", "BTC-PERP", "-1", "100", order_id=perpetual.order_id)
    assert only(LiquidationEnded, done).reason == "flat"
    invariants.check(story.machine.engine)


def test_all_legs_filled_at_their_limits_leave_nothing_owed(story):
    """Crushed: the forward rises to 112, all legs at their limits leave equity of at least 0."""
    strangle(story, "alice", "150", hedge="-1")
    mark(story, "BTC-P", forward="112")
    story.price("BTC-PERP", "112")
    decided = mark(story, "BTC-C", forward="112")
    found = of(LiquidationOrder, decided)
    while found:
        for order in found:
            signed = order.size if order.side == "buy" else -order.size
            fee = str((order.size * order.limit_price * D("0.0005")).normalize())
            price = str(order.limit_price)
            decided = story.fill(
                "alice", order.symbol, str(signed), price, fee, order_id=order.order_id
            )
        found = of(LiquidationOrder, decided)
    assert health(story, "alice").equity >= 0
    assert only(LiquidationEnded, decided).reason in ("healthy", "flat")


def test_the_liquidation_prices_of_a_hedge_hold_for_the_whole_portfolio(story):
    strangle(story, "alice", "90")
    engine = story.machine.engine
    holdings = engine.accounts["alice"].groups["cross"].holdings
    for symbol in ("BTC-PERP", "BTC-C"):
        below, above = liquidation_prices(symbol, holdings, engine.rules, engine.markets)
        unit = D("0.01")
        for price, step in ((below, -unit), (above, unit)):
            if price is None:
                continue
            here, beyond = (
                engine.markets.with_price(symbol, price),
                engine.markets.with_price(symbol, price + step),
            )
            assert not _breached(engine, holdings, here)
            assert _breached(engine, holdings, beyond)
        assert (below is None) == (symbol == "BTC-C")
        assert (above is None) == (symbol == "BTC-PERP")


def _breached(engine, holdings, markets) -> bool:
    return breached(margin.health(holdings, engine.rules, markets), engine.rules)


@pytest.mark.parametrize(
    ("symbol", "price", "cash"),
    [("BTC-C", "120", D(-100)), ("BTC-C", "110", D(0)), ("BTC-P", "80.5", D(-95))],
)
def test_an_option_settles_at_its_payoff(story, symbol, price, cash):
    strangle(story, "alice", "300", hedge="")
    before = story.machine.cash("alice")["USDT"]
    story.tell(e.Settled, symbol=symbol, price=D(price))
    engine = story.machine.engine
    assert symbol not in engine.accounts["alice"].groups["cross"].legs
    premium = D("32.7") if symbol == "BTC-C" else D("26.9")
    assert story.machine.cash("alice")["USDT"] == before + premium + cash
    invariants.check(engine)


def test_an_option_in_coin_settles_in_coin_rounded_against_the_holder(story):
    """Call at 110 settled at 120: 10/120 coins each. Long 7: 0.58333333; short 7: -0.58333334."""
    for account, size in (("long", "7"), ("short", "-7")):
        story.deposit(account, "BTC", "10")
        story.fill(account, "COIN-C", size, "0.0327", fee_asset="BTC")
    story.tell(e.Settled, symbol="COIN-C", price=D(120))
    premium = D("0.2289")
    assert story.machine.cash("long") == {"BTC": 10 - premium + D("0.58333333")}
    assert story.machine.cash("short") == {"BTC": 10 + premium - D("0.58333334")}
    invariants.check(story.machine.engine)


def test_state_keeps_what_options_were_valued_by(story):
    strangle(story, "alice", "110")
    story.tell(e.MarketState, symbol="BTC-PERP", long_size=D(5), short_size=D("4.5"))
    story.tell(e.PoolState, pool="BTC", supplied=D(10), borrowed=D(3))
    engine = story.machine.engine
    again = state.restore(0, state.records(engine).items())
    assert state.digest(again) == state.digest(engine)
    assert again.markets.options == engine.markets.options
    assert again.markets.interest == {"BTC-PERP": (D(5), D("4.5"))}
    assert again.markets.pools == {"BTC": (D(10), D(3))}
    event = e.OptionMark(
        time=99, symbol="BTC-C", iv=D("0.9"), forward=D(100), source="venue", sequence=2
    )
    assert again.apply(event) == engine.apply(event)
    assert state.digest(again) == state.digest(engine)


def test_a_told_market_is_written_once_it_is_told(story):
    engine = story.machine.engine
    state.changes(engine)
    story.tell(e.MarketState, symbol="ETH-PERP", long_size=D(5), short_size=D(4))
    story.tell(e.PoolState, pool="USDT", supplied=D(10), borrowed=D(3))
    assert {"market/ETH-PERP", "market/USDT"} <= set(state.changes(engine))


def test_marks_of_options_have_sources_and_sequences(story):
    ignored = only(Ignored, mark(story, "BTC-C", source="else"))
    assert (ignored.symbol, ignored.kind, ignored.source) == ("BTC-C", "mark", "else")
    story.sequences["OptionMark BTC-C"] = 0
    assert only(Duplicate, mark(story, "BTC-C")).record == "venue:BTC-C#1"
    story.sequences["OptionMark BTC-C"] = 8
    gap = only(Gap, mark(story, "BTC-C", iv="0.7"))
    assert (gap.event, gap.expected, gap.received) == ("OptionMark", 2, 9)
    assert story.machine.engine.markets.options["BTC-C"].iv == D("0.7")


@pytest.mark.parametrize(
    ("symbol", "fields", "rule"),
    [
        ("BTC-PERP", {}, "not_option"),
        ("BTC", {}, "not_option"),
        ("NONE", {}, "unknown_symbol"),
        ("BTC-C", {"iv": D("-0.1")}, "negative"),
        ("BTC-C", {"forward": D(0)}, "not_positive"),
        ("BTC-C", {"discount": D(0)}, "discount"),
        ("BTC-C", {"discount": D("2.1")}, "discount"),
    ],
)
def test_marks_that_are_refused(story, symbol, fields, rule):
    engine = story.machine.engine
    before = dict(engine.prices)
    story.sequences[f"OptionMark {symbol}"] = 50
    event = {"symbol": symbol, "iv": D("0.5"), "forward": D(100), "source": "venue"} | fields
    refused = only(Refused, story.tell(e.OptionMark, **event))
    assert refused.rule == rule
    assert dict(engine.prices) == before


def test_an_options_mark_is_no_price_update_but_its_index_is(story):
    story.sequences["PriceUpdate BTC-C"] = 50
    assert only(Refused, story.price("BTC-C", "3", "mark")).rule == "price_kind"
    assert not story.price("BTC-C", "100", "index")


@pytest.mark.parametrize(
    ("kind", "fields", "rule"),
    [
        (e.MarketState, {"symbol": "NONE", "long_size": 1, "short_size": 1}, "unknown_symbol"),
        (e.MarketState, {"symbol": "BTC-C", "long_size": -1, "short_size": 1}, "negative"),
        (e.MarketState, {"symbol": "BTC-C", "long_size": 1, "short_size": "0.01"}, "decimals"),
        (e.PoolState, {"pool": "NONE", "supplied": 1, "borrowed": 1}, "unknown_asset"),
        (e.PoolState, {"pool": "BTC", "supplied": 1, "borrowed": -1}, "negative"),
        (e.PoolState, {"pool": "BTC", "supplied": "1e-9", "borrowed": 1}, "decimals"),
    ],
)
def test_what_is_told_of_markets_is_checked(story, kind, fields, rule):
    numbers = {key: D(value) for key, value in fields.items() if key not in ("symbol", "pool")}
    refused = only(Refused, story.tell(kind, **(fields | numbers)))
    assert refused.rule == rule


@pytest.mark.parametrize("change", [{"strike": D(120)}, {"kind": "put"}, {"expiry": EXPIRY + DAY}])
def test_the_terms_of_an_option_stay(story, change):
    fields = {name: getattr(CALL, name) for name in CALL.__struct_fields__} | change
    refused = only(Refused, story.tell(e.InstrumentListed, instrument=Option(**fields)))
    assert refused.detail == "BTC-C: type, settlement, style, terms and decimals stay"


FILE = """
[profile]
name = "options"
numeraire = "USDT"
conversion = ["USDT"]
[profile.collateral.USDT]
[profile.portfolios.BTC]
price_moves = [-0.1, 0, 0.1]
volatility_moves = [0]
[[assets]]
name = "USDT"
decimals = 6
largest = 1_000_000
[[options]]
name = "BTC-C"
settle = "USDT"
underlying = "BTC"
kind = "call"
strike = 110
expiry = 1_700_000_000_000_000
size_decimals = 1
price_decimals = 2
tick = 0.01
lot = 0.1
largest_size = 1000
"""


def test_a_rules_file_lists_options():
    read = rules.parse(FILE.encode(), "rules.toml")
    (option,) = read.options
    assert (option.kind, option.strike, option.underlying) == ("call", 110, "BTC")
    listed = [event.instrument for event in rules.events(read, 7)[1:]]
    assert listed == [*read.assets, option]


def test_a_rules_file_with_a_faulty_option_names_every_fault():
    faulty = FILE.replace('"call"', '"calls"').replace("110", "0")
    with pytest.raises(FileFaults) as found:
        rules.parse(faulty.replace('underlying = "BTC"', "").encode(), "f")
    assert found.value.faults == [
        "f: options[BTC-C].kind: 'calls' is none of call, put",
        "f: options[BTC-C]: underlying '': an option needs one",
        "f: options[BTC-C]: strike 0: not positive",
        "f: options[BTC-C]: profile.requirements and profile.portfolios have no entry for it",
        "f: profile.portfolios.BTC: nothing is listed under that name or underlying",
    ]


def test_an_option_needs_a_portfolio(story):
    fields = {name: getattr(CALL, name) for name in CALL.__struct_fields__}
    fields |= {"name": "ETH-C", "underlying": "ETH"}
    refused = only(Refused, story.tell(e.InstrumentListed, instrument=Option(**fields)))
    assert refused.detail == "ETH-C has no rule of margin in force"


def test_an_option_that_is_not_marked_leaves_its_holder_unpriced(story):
    fields = {name: getattr(CALL, name) for name in CALL.__struct_fields__} | {"name": "NEW"}
    story.tell(e.InstrumentListed, instrument=Option(**fields))
    story.deposit("alice", "USDT", "100")
    story.fill("alice", "NEW", "1", "3")
    assert health(story, "alice") is None
    mark(story, "NEW")
    assert health(story, "alice").maintenance == D("2.24")


def test_a_halt_holds_back_an_option_as_any_leg(story):
    strangle(story, "alice", "110")
    story.tell(e.Halt, symbol="BTC-C")
    decided = mark(story, "BTC-C", iv="0.9")
    assert "BTC-C" not in {order.symbol for order in of(LiquidationOrder, decided)}
    assert of(LiquidationStarted, decided)


def test_a_worthless_option_takes_up_no_room(story):
    """Its short side needs margin though its mark is 0; room is counted in notional."""
    rule = LiquidationRule(pace=Pace(in_flight={"*": D(100)}))
    assert not story.tell(e.ProfileChanged, profile=structs.replace(PROFILE, liquidation=rule))
    mark(story, "BTC-C", iv="0", forward="50")
    story.deposit("a", "USDT", "5")
    decided = story.fill("a", "BTC-C", "-10", "0.05")
    assert only(LiquidationOrder, decided).size == 10
