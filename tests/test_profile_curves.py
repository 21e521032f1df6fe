"""What holds of every requirement that is shipped: growth, continuity, order, rounding."""

from decimal import Decimal as D
from decimal import localcontext
from fractions import Fraction as F
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers import profiles
from engine.instruments import Perpetual
from engine.money import EXACT
from engine.portfolio import Grid, PortfolioLeg, portfolio_margin
from engine.profile import Requirement
from engine.requirement import Exposure, RequirementCurve
from engine.weights import weight

read = cache(profiles.read)

NAMED = ("BTC", "ETH", "SOL", "XBTUSD", "DOGE", "1000BONKUSDC", "BTCSTUSDT", "ETHBTC", "*")
CURVES = [
    (name, symbol)
    for name in profiles.shipped()
    for symbol in read(name).requirements
    if name != "binance-usdm" or symbol in NAMED
]
"""Every curve of every profile, of Binance's 349 contracts some of each kind."""
SCENARIOS = [(name, symbol) for name in profiles.shipped() for symbol in read(name).portfolios]

sizes = st.builds(
    lambda digits, places: D(digits).scaleb(places), st.integers(1, 9999), st.integers(-3, 6)
)
prices = st.builds(
    lambda digits, places: D(digits).scaleb(places), st.integers(1, 9999), st.integers(-4, 2)
)


@cache
def curve_of(name: str, symbol: str) -> RequirementCurve:
    return RequirementCurve(read(name).requirements[symbol])


def linear(size: D, price: D) -> Exposure:
    return Exposure(size, size * price, price)


@pytest.mark.parametrize(("name", "symbol"), CURVES)
@settings(max_examples=30)
@given(prices, st.lists(sizes, min_size=2, max_size=6))
def test_requirements_grow_with_size_and_initial_is_never_below_maintenance(
    name, symbol, price, held
):
    curve = curve_of(name, symbol)
    with localcontext(EXACT):
        at = [linear(size, price) for size in sorted(held)]
        for one, other in pairwise(at):
            assert curve.initial(one) <= curve.initial(other)
            assert curve.maintenance(one) <= curve.maintenance(other)
        for one in at:
            assert 0 < curve.maintenance(one) <= curve.initial(one)
            assert curve.initial(one) <= curve.initial(one, interest=D(10**8))
            assert curve.initial(one) <= curve.initial(one, factor=D(2))


@pytest.mark.parametrize(("name", "symbol"), CURVES)
def test_requirements_grow_over_every_cap(name, symbol):
    """Steps for the whole position jump up there, marginal brackets do not jump at all."""
    curve, rule = curve_of(name, symbol), read(name).requirements[symbol]
    sliver = D("1e-9")
    with localcontext(EXACT):
        for bracket in rule.brackets[:-1]:
            at = Exposure(bracket.cap, bracket.cap, D(1))
            above = Exposure(bracket.cap + sliver, bracket.cap + sliver, D(1))
            for needs in (curve.initial, curve.maintenance):
                grown = needs(above) - needs(at)
                assert grown >= 0
                assert not rule.marginal or grown <= sliver


def test_only_okx_and_bitmex_jump():
    jumping = {name for name, symbol in CURVES if not read(name).requirements[symbol].marginal}
    assert jumping == {"okx", "bitmex"}
    for name in jumping:
        assert any("jump" in line for line in read(name).leaves_out)


def exact_initial(rule: Requirement, at: Exposure) -> tuple[F, F]:
    """Return the initial requirement as docs/semantics.md has it, unrounded: what needs no root,
    and the rest of what √size is taken of."""
    base, worth, price = (F(value) for value in at)
    measured = base if rule.measure == "size" else worth
    rates = [
        F(bracket.initial_rate) if bracket.initial_rate is not None else 1 / F(bracket.max_leverage)
        for bracket in rule.brackets
    ]
    caps = [F(bracket.cap) for bracket in rule.brackets]
    place = next((k for k, cap in enumerate(caps) if measured <= cap), len(caps) - 1)
    if rule.marginal:
        floors = [F(0), *caps[:-1]]
        needed = sum(
            (
                rate * ((measured if k == place else caps[k]) - floors[k])
                for k, rate in enumerate(rates[: place + 1])
            ),
            F(0),
        )
        needed *= price if rule.measure == "size" else 1
    else:
        needed = rates[place] * worth
    needed += F(rule.slope) * base / F(rule.slope_per) * worth
    return needed, F(rule.root_blend) * rates[0] * worth


@pytest.mark.parametrize(("name", "symbol"), CURVES)
@settings(max_examples=30)
@given(prices, sizes)
def test_rounding_of_requirements_never_favours_the_account(name, symbol, price, size):
    rule = read(name).requirements[symbol]
    with localcontext(EXACT):
        at = linear(size, price)
        given_back = F(curve_of(name, symbol).initial(at) - rule.fixed)
    needed, blended = exact_initial(rule, at)
    # Each rate is at most 10^-12 too high, and a bracket's amount with it.
    slack = F(at.notional) * 2 / 10**12 + F(rule.step or 0)
    assert given_back >= needed
    if rule.root_factor:
        root = (given_back - blended) / (F(rule.root_factor) * F(at.notional))
        assert root >= 0
        assert root**2 >= F(at.base)
        lower = root - F(2, 10**9)
        assert given_back <= needed + slack or lower < 0 or lower**2 <= F(at.base)
    else:
        assert given_back <= needed + slack


@pytest.mark.parametrize("name", profiles.shipped())
@given(amount=sizes)
def test_rounding_of_weights_never_favours_the_account(name, amount):
    """Owned at most min(w, 1.1 ÷ (1 + f·√s)), owed at least max(w, 0.8·w + f·√s)."""
    for rule in read(name).collateral.values():
        f = F(rule.size_factor)
        for context in ("maintenance", "initial"):
            with localcontext(EXACT):
                owned, owed = weight(rule, amount, context), weight(rule, -amount, context)
            assert owned <= 1 <= owed
            if not f:
                continue
            # 1.1 ÷ w − 1 >= f·√s, squared.
            assert owned <= D("1.1")
            assert (F(11, 10) / F(owned) - 1) ** 2 >= f * f * F(amount)
            plain = weight(type(rule)(borrow_weight=rule.borrow_weight), -amount)
            assert owed >= plain
            beyond = F(owed) - F(4, 5) * F(plain)
            assert beyond >= 0
            assert beyond**2 >= f * f * F(amount)


@pytest.mark.parametrize(("name", "symbol"), SCENARIOS)
@settings(max_examples=30)
@given(prices, sizes)
def test_a_portfolio_of_one_position_needs_in_proportion_and_falls_with_a_hedge(
    name, symbol, price, size
):
    def leg(called: str, held: D) -> PortfolioLeg:
        instrument = Perpetual(called, "USDC", 6, 6, D("0.01"), D("0.001"), D(10**12))
        return PortfolioLeg(instrument, held, price, D("0.000001"))

    rule = read(name).portfolios[symbol]
    grid = Grid(rule)
    with localcontext(EXACT):
        for side in (1, -1):
            one = portfolio_margin(grid, [leg("A", side * size)]).maintenance
            twice = portfolio_margin(grid, [leg("A", 2 * side * size)]).maintenance
            # A dampener is one for the portfolio, however large it is.
            assert twice >= 2 * one > 0
            assert twice == 2 * one or rule.dampener
            hedged = portfolio_margin(grid, [leg("A", side * size), leg("B", -side * size)])
            rate = rule.maintenance_factor * rule.future_contingency
            assert hedged.maintenance == 2 * rate * size * price
