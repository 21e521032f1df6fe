"""Scenario margin: a grid by hand, minima, extremes, contingencies, and what holds of any grid."""

from decimal import Decimal as D
from decimal import localcontext

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import portfolio
from engine.instruments import Future, Listed, Option, Perpetual
from engine.money import EXACT
from engine.options import OptionInputs, value
from engine.portfolio import Grid, PortfolioLeg, PortfolioMargin, Scenario
from engine.portfolio_screen import PortfolioScreen, ScreenLegs
from engine.profile import DAY, Extreme, Portfolio

NOW = 1_700_000_000_000_000
CENT = D("0.01")
UNITS = {"size_decimals": 3, "lot": D("0.001"), "largest_size": D(1_000_000), "underlying": "BTC"}
CENTS = UNITS | {"price_decimals": 2, "tick": CENT}
RULE = Portfolio(
    price_moves=(D("-0.1"), D(0), D("0.1")),
    volatility_moves=(D(0), D("0.5")),
    short_option_minimum=D("0.03"),
    option_contingency=D("0.005"),
    future_contingency=D("0.006"),
)
BARE = Portfolio(price_moves=RULE.price_moves, volatility_moves=RULE.volatility_moves)
PERP = Perpetual("BTC-PERP", "USDT", **CENTS)
INVERSE = Perpetual("BTCUSD", "BTC", **CENTS, style="inverse", multiplier=D(10))


def option(kind: str, strike: int, **changes) -> Option:
    fields = CENTS | {"kind": kind, "strike": D(strike), "expiry": NOW + 30 * DAY} | changes
    return Option(f"BTC-{strike}-{kind}", fields.pop("settle", "USDT"), **fields)


CALL, PUT = option("call", 110), option("put", 90)
IN_COIN = {"settle": "BTC", "style": "inverse", "price_decimals": 4, "tick": D("0.0001")}


def held(
    instrument: Listed,
    size: str | int,
    mark: str | int = 100,
    iv: str = "0.6",
    price: int = 1,
    time: int = NOW,
) -> PortfolioLeg:
    """A leg at its mark; an option's is its value at the volatility and a forward of `mark`."""
    unit = D("1e-8")
    if not isinstance(instrument, Option):
        return PortfolioLeg(instrument, D(size), D(mark), unit, D(price))
    inputs = OptionInputs(D(iv), D(mark), D(1), time)
    return PortfolioLeg(instrument, D(size), value(instrument, inputs), unit, D(price), inputs)


def margin(rule: Portfolio, *legs: PortfolioLeg) -> PortfolioMargin:
    with localcontext(EXACT):
        return portfolio.portfolio_margin(Grid(rule), legs)


def maintenance(rule: Portfolio, *legs: PortfolioLeg) -> D:
    with localcontext(EXACT):
        return margin(rule, *legs).maintenance


STRANGLE = held(CALL, -10), held(PUT, -10)


def test_a_short_strangle_hedged_by_a_perpetual():
    """By hand: 30 days, so that moves of volatility count as they are; forward and perpetual 100.

    Black-76 to the cent, at volatility 0.6 and 0.6·1.5:

        F        90     90    100    100    110    110
        v       0.6    0.9    0.6    0.9    0.6    0.9
        call   1.03   3.19   3.27   6.50   7.54  11.29
        put    6.17   9.24   2.69   5.55   1.03   3.19

    Result of 10 calls short, 10 puts short and 1 perpetual long, against 3.27, 2.69 and 100:

        call  +22.4   +0.8      0  -32.3  -42.7  -80.2
        put   -34.8  -65.5      0  -28.6  +16.6   -5.0
        perp  -10    -10        0    0    +10    +10
        all   -22.4  -74.7      0  -60.9  -16.1  -75.2

    The worst is 75.2. The minimum of short options is 3 % of 2,000 = 60, below it. Contingencies:
    0.5 % of 2,000 and 0.6 % of 100, together 10.6. Requirement 85.8.
    """
    with localcontext(EXACT):
        grid = Grid(RULE)
        call, put = STRANGLE
        assert grid.values(CALL, call.inputs) == tuple(
            D(v) for v in ("1.03", "3.19", "3.27", "6.50", "7.54", "11.29")
        )
        assert grid.values(PUT, put.inputs) == tuple(
            D(v) for v in ("6.17", "9.24", "2.69", "5.55", "1.03", "3.19")
        )
    found = margin(RULE, *STRANGLE, held(PERP, 1))
    assert found == (D("75.2"), Scenario(D("0.1"), D("0.5"), D(1)), D(60), D("10.6"), 1)
    assert found.maintenance == D("85.8")


def test_the_hedge_lowers_the_requirement():
    """Without the perpetual the worst is 80.2 + 5 = 85.2, with contingencies 95.2."""
    assert maintenance(RULE, *STRANGLE) == D("95.2")
    assert maintenance(RULE, *STRANGLE, held(PERP, 1)) == D("85.8")
    assert maintenance(RULE, held(PERP, 1)) == D("10.6")


def test_maintenance_may_be_a_part_of_it_all():
    """Deribit takes 0.8 of the matrix for maintenance: 85.8 · 0.8."""
    part = msgspec.structs.replace(RULE, maintenance_factor=D("0.8"))
    assert maintenance(part, *STRANGLE, held(PERP, 1)) == D("68.64")


def test_a_short_option_far_away_needs_the_minimum():
    """A put at 10 is worth nothing in any scenario: 3 % and 0.5 % of 5 · 100 all the same."""
    far = held(option("put", 10), -5)
    assert margin(RULE, far) == (0, None, 15, D("2.5"), 1)
    assert maintenance(RULE, far) == D("17.5")
    assert maintenance(RULE, held(option("put", 10), 5)) == 0


def test_a_long_option_can_lose_what_it_is_worth_and_no_more():
    """The call is worth 3.27; at 90 and the same volatility 1.03 is left of it."""
    assert margin(RULE, held(CALL, 10)) == (D("22.4"), Scenario(D("-0.1"), D(0), D(1)), 0, 0, 1)


def test_an_extreme_counts_by_its_weight():
    """Expired at 100: the short call at 110 brings -40 a unit at 150, half of it counts; the grid
    brings nothing up to 110."""
    extremes = (Extreme(D("0.5"), D("0.5")), Extreme(D("-0.5"), D("0.5")))
    rule = Portfolio((D("-0.1"), D("0.1")), (D(0),), extremes=extremes)
    expired = held(CALL, -2, time=NOW + 30 * DAY)
    assert margin(rule, expired) == (40, Scenario(D("0.5"), D(0), D("0.5")), 0, 0, 1)
    assert maintenance(rule, expired, held(PERP, 1)) == 25  # at 50 now: half of 50
    assert maintenance(rule, held(PERP, -1)) == 25


def test_an_inverse_hedge_gains_less_than_it_loses():
    """10 contracts of 10 USD at 100: 1 coin. Long: 100·s/(100·(1 + s)) coins, at -10 % -0.11111112
    (rounded down), at +10 % 0.09090909; at 100 USD a coin."""
    long, short = held(INVERSE, 10, price=100), held(INVERSE, -10, price=100)
    with localcontext(EXACT):
        results = Grid(BARE).results(long)
    assert results[::2] == [D("-0.11111112"), 0, D("0.09090909")]
    assert maintenance(BARE, long) == D("11.111112")
    assert maintenance(BARE, short) == D("9.090910")
    assert maintenance(RULE, short) == D("9.090910") + D("0.6")


def test_options_in_coin_count_in_the_numeraire():
    """Expired: the put at 90 brings 0 at 100 and 9/81 coins at 81; its underlying is 2 coins."""
    put = option("put", 90, **IN_COIN, expiry=NOW)
    rule = Portfolio((D("-0.19"), D("0.1")), (D(0),), option_contingency=D("0.01"))
    assert maintenance(rule, held(put, -2, price=100)) == 100 * (2 * D("0.1111") + D("0.02"))


def test_a_dated_future_hedges_as_a_perpetual_does():
    future = Future("BTC-MAR", "USDT", **CENTS, expiry=NOW + 90 * DAY)
    pair = held(PERP, 3), held(future, -3, mark=102)
    assert margin(BARE, *pair) == (D("0.6"), Scenario(D("0.1"), D(0), D(1)), 0, 0, 1)


def test_what_is_at_stake_is_named():
    assert held(CALL, -2).underlying_value == 200
    assert held(option("call", 110, **IN_COIN), -2).underlying_value == 2
    assert held(PERP, -2).underlying_value == 200
    assert held(INVERSE, -2, mark=300).underlying_value == D("0.06666667")
    with pytest.raises(LookupError, match="portfolio BTC-110-call: an option without a mark"):
        margin(RULE, PortfolioLeg(CALL, D(1), D(1), CENT))


def test_an_option_is_valued_once_a_mark_whoever_holds_it(monkeypatch):
    valued: list[str] = []
    original = portfolio.valued

    def counted(option, *rest):
        valued.append(option.name)
        return original(option, *rest)

    monkeypatch.setattr(portfolio, "valued", counted)
    grid = Grid(RULE)
    with localcontext(EXACT):
        for size in (-3, -2, -1, 1, 2, 3):
            portfolio.portfolio_margin(grid, [held(CALL, size), held(PUT, size)])
        assert sorted(valued) == ["BTC-110-call"] * 6 + ["BTC-90-put"] * 6
        valued.clear()
        portfolio.portfolio_margin(grid, [held(CALL, 1, iv="0.7"), held(PUT, 1)])
        assert valued == ["BTC-110-call"] * 6
        valued.clear()
        portfolio.portfolio_margin(grid, [held(option("call", 110, expiry=NOW), 1, iv="0.7")])
        assert valued == ["BTC-110-call"] * 6


sizes = st.integers(-50, 50).filter(bool)
strikes = st.integers(50, 200)
marks = st.integers(60, 150)
legs = st.one_of(
    st.builds(
        lambda kind, strike, size, mark: held(option(kind, strike), size, mark),
        st.sampled_from(["call", "put"]), strikes, sizes, marks,
    ),
    st.builds(lambda size, mark: held(PERP, size, mark), sizes, marks),
    st.builds(lambda size, mark: held(INVERSE, size, mark, price=mark), sizes, marks),
)  # fmt: skip
portfolios = st.lists(legs, min_size=1, max_size=4)
WIDE = Portfolio(
    price_moves=(D("-0.2"), D("-0.1"), D(0), D("0.1"), D("0.2")),
    volatility_moves=(D("-0.3"), D(0), D("0.5")),
    near_exponent=D("0.3"),
    extremes=(Extreme(D("-0.6"), D("0.3")), Extreme(D("3"), D("0.1"))),
    short_option_minimum=D("0.03"),
    option_contingency=D("0.005"),
    future_contingency=D("0.006"),
)


@given(portfolios, portfolios)
def test_two_portfolios_together_never_need_more_than_apart(one, other):
    with localcontext(EXACT):
        apart = maintenance(WIDE, *one) + maintenance(WIDE, *other)
    assert maintenance(WIDE, *one, *other) <= apart


@given(portfolios, st.integers(2, 9))
def test_a_portfolio_of_so_many_times_the_size_needs_so_many_times_as_much(found, times):
    """But for what rounding each inverse leg's results down to a unit of its coin adds."""
    with localcontext(EXACT):
        larger = [leg._replace(size=leg.size * times) for leg in found]
        rounded = sum(leg.unit * leg.price * times * 2 for leg in found if leg.instrument.inverse)
        difference = maintenance(WIDE, *larger) - times * maintenance(WIDE, *found)
        assert abs(difference) <= rounded


@given(legs, st.integers(2, 9))
def test_one_leg_needs_more_as_it_grows(leg, times):
    larger = leg._replace(size=leg.size * times)
    assert maintenance(WIDE, larger) >= maintenance(WIDE, leg) >= 0


@given(portfolios)
def test_the_worst_is_the_largest_loss_over_the_grid(found):
    """Against a plain sum over scenarios, and never below the loss in any one of them."""
    with localcontext(EXACT):
        grid = Grid(WIDE)
        gains = [
            sum(grid.results(leg)[place] * leg.price for leg in found) * scenario.weight
            for place, scenario in enumerate(grid.scenarios)
        ]
        assert margin(WIDE, *found).worst == max(0, -min(gains))


# --- the screen: all groups at once, in floats

LISTED = (PERP, INVERSE, CALL, PUT, option("call", 95, **IN_COIN, multiplier=D("0.1")))
RATE = D("0.0005")
held_sizes = st.lists(
    st.lists(st.integers(-(10**6), 10**6), min_size=len(LISTED), max_size=len(LISTED)),
    min_size=1,
    max_size=6,
)


def screened(
    grid: Grid, units: list[PortfolioLeg], groups: list[list[PortfolioLeg]], rows: list[int]
) -> tuple[list[float], list[float]]:
    """What the screen says of those of `groups` that `rows` names, in that order."""
    screen, tables = PortfolioScreen(grid), []
    for unit in units:
        name, multiplier = unit.instrument.name, unit.instrument.multiplier
        sizes = {
            row: float(leg.size * multiplier)
            for row, legs in enumerate(groups)
            for leg in legs
            if leg.instrument.name == name
        }
        keys, exposures = np.array([*sizes], np.int64), np.array([*sizes.values()], float)
        tables.append(ScreenLegs(keys, exposures, screen.unit(unit, RATE)))
    needs, errors = screen.requirements(np.array(rows), tables)
    return needs.tolist(), errors.tolist()


@given(held_sizes, marks, st.decimals("0.01", 3, places=2))
def test_the_screen_is_within_its_bound_of_the_exact_requirement(sizes, mark, iv):
    """And the bound is a small part of what is held, or a few units of the coin."""
    with localcontext(EXACT):
        grid = Grid(WIDE)
        units = [
            held(listed, 1, mark, iv=str(iv), price=mark if listed.settle == "BTC" else 1)
            for listed in LISTED
        ]
        groups = [
            [unit._replace(size=D(size) / 1000) for unit, size in zip(units, row, strict=True)]
            for row in sizes
        ]
        rows = list(reversed(range(len(groups))))
        found, errors = screened(grid, units, groups, rows)
        for row, needs, error in zip(rows, found, errors, strict=True):
            exact = portfolio.portfolio_margin(grid, groups[row]).maintenance
            exact += sum((RATE * leg.notional * leg.price for leg in groups[row]), D(0))
            assert abs(D.from_float(needs) - exact) <= D.from_float(error)
            gross = sum((leg.underlying_value * leg.price for leg in groups[row]), D(0))
            assert error <= float(gross) * 1e-9 + 3e-8 * mark


@given(st.sampled_from(LISTED), st.lists(st.integers(-(10**6), 10**6), min_size=1), marks)
def test_the_screen_of_one_symbol_is_within_its_bound(listed, sizes, mark):
    with localcontext(EXACT):
        grid, unit = Grid(WIDE), held(listed, 1, mark, price=mark if listed.settle == "BTC" else 1)
        groups = [[unit._replace(size=D(size) / 1000)] for size in sizes]
        found, errors = screened(grid, [unit], groups, list(range(len(groups))))
        for (leg,), needs, error in zip(groups, found, errors, strict=True):
            exact = portfolio.portfolio_margin(grid, [leg]).maintenance
            exact += RATE * leg.notional * leg.price
            assert abs(D.from_float(needs) - exact) <= D.from_float(error)


def test_a_row_that_holds_nothing_needs_nothing():
    grid = Grid(RULE)
    with localcontext(EXACT):
        strangle = list(STRANGLE)
        found, errors = screened(grid, strangle, [[], strangle], [1, 0])
    assert found == pytest.approx([95.2 + 10 * float(RATE) * 5.96, 0])
    assert errors[1] == 0
