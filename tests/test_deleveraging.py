"""Whose position is deleveraged: rankings by hand-computed numbers, and what holds of them all."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from engine import decisions, events, invariants
from engine.book import Group
from engine.core import Engine
from engine.deleveraging import most_lots, score, solvent, stands
from engine.instruments import Option, Perpetual
from engine.margin import breached
from engine.money import RATE_STEP, floor_to
from engine.profile import Portfolio
from engine.waterfall_profile import Deleveraging, Waterfall
from tests.story import Story, WholeEngine, engine_of, of
from tests.test_takers import carry_out, opened

RANKINGS = ("binance", "bitmex", "hyperliquid", "pro_rata", "water_fill")
X = Perpetual("X", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0), underlying="X")
XQ = structs.replace(X, name="XQ")
XI = structs.replace(X, name="XI", settle="BTC", style="inverse", size_decimals=0, lot=D(1))
XJ = structs.replace(XI, name="XJ")


def venue(ranking: str, *perpetuals: Perpetual, price: str = "bankruptcy", **rules: Any) -> Story:
    adl = Deleveraging(ranking=ranking, price=price)
    story = Story(WholeEngine())
    story.rules(
        *(perpetuals or (X, XQ)),
        rate="0.01",
        waterfall=Waterfall(takers=("adl",), adl=adl),
        **rules,
    )
    return story


def holds(story: Story, account: str, money: str, **sizes: str) -> None:
    """Give an account money and legs at 100."""
    story.deposit(account, "USDT", money)
    for symbol, size in sizes.items():
        story.fill(account, symbol, size, "100")


def deleveraged(decided: Any) -> list[tuple[str, D]]:
    return [(one.counterparty, one.size) for one in of(decisions.Deleverage, decided)]


def scores(decided: Any) -> dict[str, D]:
    return {one.counterparty: one.score for one in of(decisions.Deleverage, decided)}


# --- scores


@pytest.mark.parametrize(
    ("ranking", "high", "low"),
    [
        # A short of 5 at 100 with 100 behind it, and one of 5 with 1,000; the mark is 80. Both have
        # a profit of 100, a notional of 400, a cost of 500 and a maintenance of 4.
        ("binance", D(100 * 4) / (100 * 200), D(100 * 4) / (1000 * 1100)),
        ("bitmex", D(100) / 500 * 400 / 200, D(100) / 500 * 400 / 1100),
        ("hyperliquid", D(500) / 400 * 400 / 200, D(500) / 400 * 400 / 1100),
        ("pro_rata", D(400) / 200, D(400) / 1100),
        ("water_fill", D(400) / 200, D(400) / 1100),
    ],
)
def test_a_short_is_ranked_by_profit_and_leverage(ranking: str, high: D, low: D) -> None:
    story = venue(ranking)
    holds(story, "long", "100", X="10")
    holds(story, "little", "100", X="-5")
    holds(story, "much", "1000", X="-5")
    found = scores(story.price("X", "80"))
    assert found == {"little": floor_to(high, RATE_STEP), "much": floor_to(low, RATE_STEP)}
    assert list(found) == ["little", "much"]


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        # A long of 5 at 100 with 100 behind it; the mark is 120.
        ("binance", D(100 * 6) / (100 * 200)),
        ("bitmex", D(100) / 500 * 600 / 200),
        ("hyperliquid", D(600) / 500 * 600 / 200),
        ("water_fill", D(600) / 200),
    ],
)
def test_a_long_is_ranked_as_a_short_is(ranking: str, expected: D) -> None:
    story = venue(ranking)
    holds(story, "short", "90", X="-5")
    holds(story, "long", "100", X="5")
    assert scores(story.price("X", "120")) == {"long": floor_to(expected, RATE_STEP)}


@pytest.mark.parametrize(
    ("size", "mark", "index"),
    [("1000", "12500", D("12500") / 10000), ("-1000", "8000", D("10000") / 8000)],
)
def test_who_gains_has_an_index_above_one_whatever_the_contract(
    size: str, mark: str, index: D
) -> None:
    """1,000 contracts of 1 USD at 10,000: 0.1 BTC; with 0.1 BTC behind them."""
    story = venue("hyperliquid", XI)
    story.price("BTC", mark, "index")
    story.deposit("winner", "BTC", "0.1")
    story.fill("winner", "XI", size, "10000")
    story.deposit("loser", "BTC", "0.01")
    story.fill("loser", "XI", str(-D(size)), "10000")
    found = scores(story.price("XI", mark))
    notional, profit = 1000 / D(mark), abs(1000 / D(mark) - D("0.1"))
    assert found == {"winner": floor_to(index * notional / (D("0.1") + profit), RATE_STEP)}


def test_effective_leverage_is_that_of_the_leg_s_share_of_equity():
    """Two legs of the same rate share equity as their notionals: leverage is the group's."""
    story = venue("bitmex")
    holds(story, "long", "100", X="10")
    holds(story, "short", "600", X="-10", XQ="-30")
    story.price("XQ", "100")
    found = scores(story.price("X", "80"))
    # 800 of 3,800 in X, equity 600 + 200: leverage 3,800 ÷ 800, and 20 % of profit.
    assert found == {"short": floor_to(D(200) / 1000 * 3800 / 800, RATE_STEP)}


def test_a_wallet_of_less_than_one_counts_as_one_and_no_equity_as_nothing():
    story = venue("binance")
    holds(story, "long", "100", X="10")
    holds(story, "thin", "0.5", X="-1")
    found = scores(story.price("X", "80"))
    assert found == {"thin": floor_to(D("20") * D("0.8") / (1 * D("20.5")), RATE_STEP)}
    engine = engine_of(story)
    state = engine.health_of(engine.group_of("thin", "cross"))
    poor = state._replace(equity=D(0))
    assert score("binance", state.legs[0], poor, D("1e-8")) == 0
    assert score("bitmex", state.legs[0], poor, D("1e-8")) == D("20") / 100 * 80 / D("1e-8")


# --- the order


def test_who_is_hedged_on_the_same_underlying_comes_last():
    story = venue("bitmex")
    holds(story, "long", "100", X="10")
    holds(story, "hedged", "50", X="-5", XQ="5")
    holds(story, "also", "1000", X="-5", XQ="-5")
    holds(story, "naked", "1000", X="-5")
    story.price("XQ", "100")
    decided = story.price("X", "80")
    assert [name for name, _ in deleveraged(decided)] == ["also", "naked"]
    assert [one.rank for one in of(decisions.Deleverage, decided)] == [1, 2]


def test_a_put_hedges_a_long_and_not_a_short():
    listed = structs.asdict(X) | {"name": "P", "kind": "put", "strike": D(100), "expiry": 10**15}
    del listed["funding"]
    put = Option(**listed)
    moves = (D("-0.1"), D("0.1"))
    portfolios = {"P": Portfolio(price_moves=moves, volatility_moves=(D(0),))}
    for account, expected in (("-5", ["other", "holder"]), ("5", ["holder", "other"])):
        story = venue("bitmex", X, portfolios=portfolios)
        story.tell(events.InstrumentListed, instrument=put)
        story.tell(
            events.OptionMark,
            symbol="P",
            source="venue",
            iv=D("0.5"),
            forward=D(100),
            discount=D(1),
        )
        size = D(account)
        holds(story, "loser", "100", X=str(-2 * size))
        holds(story, "holder", "150", X=str(size))
        story.fill("holder", "P", "1", "1")
        holds(story, "other", "2000", X=str(size))
        decided = story.price("X", "120" if size > 0 else "80")
        # A long put beside a long is a hedge: last. Beside a short it is none: first by leverage.
        found = [name for name, _ in deleveraged(decided)]
        assert found == (["other", "holder"] if size > 0 else ["holder", "other"]), expected


def test_only_traders_and_market_makers_in_profit_are_asked():
    story = venue("bitmex")
    holds(story, "long", "100", X="10")
    for account, role in (("maker", "market_maker"), ("exempt", "exempt"), ("vault", "backstop")):
        opened(story, account, role)
        holds(story, account, "1000", X="-2")
    for account, price in (("losing", "79"), ("even", "80")):
        story.deposit(account, "USDT", "1000")
        story.fill(account, "X", "-2", price)
    decided = story.price("X", "80")
    assert deleveraged(decided) == [("maker", 2)]
    (order,) = of(decisions.LiquidationOrder, decided)
    assert order.size == 8


# --- how much


def test_pro_rata_takes_from_all_alike():
    story = venue("pro_rata")
    holds(story, "long", "100", X="10")
    for account, size in (("a", "-5"), ("b", "-10"), ("c", "-15")):
        holds(story, account, "5000", X=size)
    # 10 · 5 ÷ 30, 10 · 10 ÷ 30, 10 · 15 ÷ 30, down to lots; the lot that is left goes to the first.
    assert sorted(deleveraged(story.price("X", "80"))) == [
        ("a", D("1.666")),
        ("b", D("3.333")),
        ("c", D("5.001")),
    ]


def test_water_is_filled_to_one_leverage():
    story = venue("water_fill")
    holds(story, "long", "100", X="10")
    holds(story, "high", "200", X="-10")  # 800 ÷ 400: 2
    holds(story, "mid", "600", X="-10")  # 800 ÷ 800: 1
    holds(story, "low", "1800", X="-10")  # 800 ÷ 2,000: 0.4
    found = dict(deleveraged(story.price("X", "80")))
    # Level λ: (800 − 400 λ) + (800 − 800 λ) = 800 at λ = 2 ÷ 3, in steps 0.667.
    assert found == {"high": D("6.665") + D("0.005"), "mid": D("3.33")}
    assert sum(found.values()) == 10


def test_what_would_breach_a_group_is_asked_for_last():
    """Closing at 90 what is marked at 80 costs: who has little gives only part at first."""
    story = venue("bitmex")
    holds(story, "long", "100", X="10")
    holds(story, "thin", "1", X="-2", XQ="-10")
    holds(story, "solid", "5000", X="-9")
    story.price("XQ", "102")
    decided = story.price("X", "80")
    # Equity 1 + 40 − 20 = 21; X needs 0.8 a unit, XQ 10.2. Each unit closed at 90 costs 10 of
    # equity and frees 0.8: 21 − 10 k ≥ 11.8 − 0.8 k while k ≤ 1.
    assert deleveraged(decided) == [("thin", D("1.000")), ("solid", D(9))]
    carry_out(story, decided)
    engine = engine_of(story)
    state = engine.health_of(engine.group_of("thin", "cross"))
    assert not breached(state, engine.rules)


def test_what_nobody_gives_safely_is_taken_all_the_same():
    story = venue("bitmex")
    holds(story, "long", "100", X="10")
    holds(story, "thin", "1", X="-2", XQ="-10")
    holds(story, "solid", "5000", X="-7")
    story.price("XQ", "102")
    decided = story.price("X", "80")
    assert deleveraged(decided) == [("thin", D(2)), ("solid", D(7))]
    assert [one.size for one in of(decisions.LiquidationOrder, decided)] == [1]


def test_live_transfers_count_in_what_a_group_can_give():
    story = venue("bitmex")
    holds(story, "long", "100", X="10")
    holds(story, "short", "1000", X="-15")
    assert deleveraged(story.price("X", "80")) == [("short", 10)]
    holds(story, "next", "100")
    decided = story.fill("next", "X", "10", "100")
    assert deleveraged(decided) == [("short", 5)]
    engine = engine_of(story)
    group = engine.group_of("short", "cross")
    assert engine.transfers.unfilled(group.key, "X") == 15
    story.tell(events.Withdrawal, account="short", asset="USDT", amount=D(1149))
    assert group.liquidation is None
    # Equity 151; with the fifteen closed at 90 nothing of a position is left, and 1.
    assert stands(engine, group, "X", D(0), D(90))
    story.tell(events.Withdrawal, account="short", asset="USDT", amount=D(2))
    assert not stands(engine, group, "X", D(0), D(90))


def test_the_most_lots_that_hold():
    def up_to(limit: str) -> Any:
        return lambda size: size <= D(limit)

    lot = D("0.1")
    assert most_lots(D("1.05"), lot, up_to("2")) == D("1.05")
    assert most_lots(D("1.05"), lot, up_to("1.04")) == D("1.0")
    assert most_lots(D("1.05"), lot, up_to("0.09")) == 0
    assert most_lots(D("0.05"), lot, up_to("0.01")) == 0
    assert most_lots(D(0), lot, up_to("1")) == 0


# --- what holds of all rankings


@st.composite
def books(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a bankrupt account and who stands on the other side, linear or inverse: the size against
    it, which way, what is held of another market, and what they have beyond what all that needs."""
    inverse = draw(st.booleans())
    side = draw(st.sampled_from((1, -1)))
    person = st.tuples(
        st.integers(1, 30), st.sampled_from((1, 1, 1, -1)), st.integers(0, 300), st.integers(0, 100)
    )
    people = draw(st.lists(person, min_size=1, max_size=5))
    return {
        "inverse": inverse,
        "side": side,
        "people": people,
        "size": draw(st.integers(1, 120)),
        "ranking": draw(st.sampled_from(RANKINGS)),
        "price": draw(st.sampled_from(("bankruptcy", "bankruptcy", "mark"))),
        "jump": draw(st.integers(3, 40)),
    }


def told(book: dict[str, Any]) -> tuple[Story, str, Any]:
    """Tell a book, the other market's fall that only profit bears, and who then is bankrupt."""
    inverse, side, jump = book["inverse"], book["side"], book["jump"]
    listed, other, asset = (XI, XJ, "BTC") if inverse else (X, XQ, "USDT")
    story = venue(book["ranking"], listed, other, price=book["price"])
    contracts = 100 if inverse else 1
    story.price("BTC", "100", "index")
    story.price(other.name, "100")

    def add(name: str, money: int, size: int, beside: int) -> None:
        """Give an account money in units of what one of size is worth at 100, in hundredths."""
        story.deposit(name, asset, str(D(money) * (D("0.01") if inverse else 1)))
        for symbol, held in ((listed.name, size), (other.name, beside)):
            if held:
                story.fill(name, symbol, str(held * contracts), "100")

    for number, (size, way, beside, money) in enumerate(book["people"]):
        # What stands beside it needs 1 %; who is on the losing side has what the jump takes.
        lost = 0 if way > 0 else size * (jump + 10)
        add(f"p{number}", size + beside + money + lost + 1, -side * size * way, beside)
    story.price(listed.name, str(100 - side * jump))
    story.price(other.name, "99")
    add("bankrupt", book["size"], side * book["size"], 0)
    last = story.decided[-1].seq
    return story, listed.name, [one for one in story.decided if one.seq == last]


def winners(engine: Engine, symbol: str, size: D) -> dict[str, Group]:
    """Return whose legs are in profit on the other side of a size, but those in liquidation."""
    instrument, unit = engine.rules.derivatives[symbol], engine.rules.settle_of(symbol).unit
    mark, found = engine.markets.price(symbol, "mark"), {}
    assert mark is not None
    for group in engine.book.holders(symbol):
        leg = group.legs[symbol]
        gains = instrument.value(leg.size, mark, unit) > leg.cost
        if gains and (leg.size > 0) is not (size > 0) and group.liquidation is None:
            found[group.account.id] = group
    return found


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(books())
def test_no_more_than_is_left_and_only_of_who_is_in_profit(book: dict[str, Any]) -> None:
    story, symbol, decided = told(book)
    engine = engine_of(story)
    legs = {group.account.id: group.legs[symbol].size for group in engine.book.holders(symbol)}
    closed, asked = dict.fromkeys(legs, D(0)), dict.fromkeys(legs, D(0))
    orders = [one for one in of(decisions.LiquidationOrder, decided) if one.symbol == symbol]
    for one in of(decisions.Deleverage, decided) + orders:
        closed[one.account] += one.size
        assert (one.side == "sell") is (legs[one.account] > 0)
    for one in of(decisions.Deleverage, decided):
        assert one.counterparty in winners(engine, symbol, legs[one.account])
        asked[one.counterparty] += one.size
        assert one.forgone >= 0
        assert one.forgone == 0 or book["price"] == "bankruptcy"
        group = engine.group_of(one.counterparty, one.counterparty_margin)
        assert solvent(engine, group, symbol, D(0), one.price)
    assert all(closed[name] <= abs(legs[name]) and asked[name] <= abs(legs[name]) for name in legs)
    invariants.check(engine)
    carry_out(story, decided)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(books())
def test_nobody_is_pushed_under_while_another_could_give_a_lot(book: dict[str, Any]) -> None:
    story, symbol, decided = told(book)
    engine, asked = engine_of(story), dict(deleveraged(decided))
    assume(asked and len(of(decisions.LiquidationStarted, story.decided)) == 1)
    first = of(decisions.Deleverage, decided)[0]
    size = engine.group_of("bankrupt", "cross").legs[symbol].size
    lot = engine.rules.derivatives[symbol].lot
    candidates = winners(engine, symbol, size)
    if all(stands(engine, candidates[name], symbol, D(0), first.price) for name in asked):
        return
    for name, group in candidates.items():
        left = abs(group.legs[symbol].size) - asked.get(name, D(0))
        if left >= lot and stands(engine, group, symbol, D(0), first.price):
            assert not stands(engine, group, symbol, lot, first.price)
