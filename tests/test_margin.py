"""Margin as formulas: requirement curves, limits and liquidation prices, longs and shorts."""

from decimal import ROUND_CEILING, Context, localcontext
from decimal import Decimal as D

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.closing import bankruptcy_price, limit_price
from engine.decisions import MarkUsed
from engine.holdings import Leg
from engine.instruments import Asset, Perpetual
from engine.liquidation_price import liquidation_prices
from engine.margin import (
    Holdings,
    breached,
    fill_cost,
    health,
    notional,
)
from engine.markets import Markets
from engine.money import EXACT, charge
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from engine.requirement import Curve, Exposure
from engine.rules import Rules

BRACKETS = tuple(
    Bracket(D(cap), initial_rate=D(initial), maintenance_rate=D(maintenance))
    for cap, maintenance, initial in (
        ("20000", "0.004", "0.008"),
        ("100000", "0.01", "0.02"),
        ("1000000", "0.05", "0.1"),
    )
)
COIN_BRACKETS = tuple(
    Bracket(bracket.cap / 10_000, bracket.initial_rate, bracket.maintenance_rate)
    for bracket in BRACKETS
)


def rules(haircut: str = "0") -> Rules:
    made = Rules()
    for asset in (Asset("USDT", 8, D(10) ** 9), Asset("BTC", 8, D(10) ** 6, 4)):
        made.list_instrument(asset)
    made.list_instrument(Perpetual("LIN", "USDT", 3, 2, D("0.1"), D("0.001"), D(10**6)))
    made.list_instrument(Perpetual("LIN2", "USDT", 3, 2, D("0.1"), D("0.001"), D(10**6)))
    made.list_instrument(
        Perpetual("INV", "BTC", 0, 2, D("0.5"), D(1), D(10**9), style="inverse", multiplier=D(10))
    )
    made.put_in_force(
        RiskProfile(
            name="test",
            numeraire="USDT",
            requirements={"*": Requirement(BRACKETS), "INV": Requirement(COIN_BRACKETS)},
            collateral={"USDT": Collateral(), "BTC": Collateral(haircut=D(haircut))},
            conversion=("BTC",),
        )
    )
    return made


def marks(**prices: D) -> Markets:
    found = Markets()
    for symbol, price in prices.items():
        kind = "index" if symbol == "BTC" else "mark"
        found.prices[symbol, kind] = MarkUsed(symbol, kind, price, "venue", 0)
    return found


def curve_of(brackets: tuple[Bracket, ...]) -> Curve:
    return Curve(Requirement(brackets), [bracket.maintenance_rate for bracket in brackets])


@given(st.integers(0, 2 * 10**8), st.integers(0, 10**8))
def test_a_requirement_never_falls_as_size_grows_and_never_jumps(small, more):
    curve = curve_of(BRACKETS)
    with localcontext(EXACT):
        low, high = D(small) / 100, D(small + more) / 100
        needed = [curve.requirement(Exposure(D(1), n, n)) for n in (low, high)]
        rise = needed[1] - needed[0]
        assert 0 <= rise <= (high - low) * curve.rates[-1]


def test_the_cumulative_amounts_are_the_exchange_s():
    """Binance, BTCUSDT: 50k 0.4 %, 250k 0.5 %, 1M 1 %: amounts 0, 50, 1,300."""
    table = (("50000", "0.004"), ("250000", "0.005"), ("1000000", "0.01"))
    curve = curve_of(tuple(Bracket(D(cap), D(1), D(rate)) for cap, rate in table))
    assert curve.amounts == [0, 50, 1300]


sizes = st.integers(1, 3000).map(lambda n: D(n) / 1000)
prices_of = st.integers(500_000, 2_000_000).map(lambda n: D(n) / 100)


@st.composite
def groups(draw):
    """One to three legs, long or short, linear and inverse, with cash in both assets."""
    with localcontext(EXACT):
        legs = {}
        for symbol in draw(st.sets(st.sampled_from(["LIN", "LIN2", "INV"]), min_size=1)):
            size = draw(sizes)
            size = (size * 1000 if symbol == "INV" else size) * draw(st.sampled_from([1, -1]))
            legs[symbol] = size
        price = {symbol: draw(prices_of) for symbol in ("LIN", "LIN2", "INV", "BTC")}
        entry = {symbol: draw(prices_of) for symbol in legs}
        made = rules(draw(st.sampled_from(["0", "0.1"])))
        held = {}
        for symbol, size in sorted(legs.items()):
            instrument = made.derivatives[symbol]
            unit = made.settle_of(symbol).unit
            held[symbol] = Leg(size, fill_cost(instrument, size, entry[symbol], unit))
        cash = {
            "USDT": D(draw(st.integers(-(10**6), 3 * 10**6))) / 100,
            "BTC": D(draw(st.integers(-(10**7), 2 * 10**8))) / 10**8,
        }
        return made, cash, held, price


@given(groups())
def test_all_legs_filled_at_their_limits_leave_nothing_and_lose_nothing(group):
    """Equity ends at or above 0 and below Σ size·tick + one unit a leg, whatever the mix of
    legs."""
    made, cash, held, price = group
    with localcontext(EXACT):
        prices = marks(**price)
        state = health(Holdings(cash, held), made, prices)
        assume(state is not None and state.equity > 0)
        limits = {leg.symbol: limit_price(leg, state, made) for leg in state.legs}
        assume(all(limit is not None for limit in limits.values()))
        after, slack = dict(cash), D(0)
        for leg in state.legs:
            instrument, limit = made.derivatives[leg.symbol], limits[leg.symbol]
            unit, worth = made.settle_of(leg.symbol).unit, state.prices[leg.settle]
            proceeds = -fill_cost(instrument, -leg.size, limit, unit) - leg.cost
            fee = charge(instrument.taker_fee * notional(instrument, leg.size, limit, unit), unit)
            after[leg.settle] += proceeds - fee
            step = instrument.tick if leg.size > 0 else -instrument.tick
            better = -fill_cost(instrument, -leg.size, limit + step, unit)
            worse = -fill_cost(instrument, -leg.size, max(limit - step, instrument.tick), unit)
            gain = max(abs(better - proceeds - leg.cost), abs(proceeds + leg.cost - worse))
            # A tick moves the proceeds and the fee on them.
            slack += (gain * (1 + instrument.taker_fee) + unit) * worth
            # An inverse value is rounded down to a unit in equity; a limit works on the exact one.
            slack += unit * worth if instrument.inverse else 0
        left = sum(amount * (1 if a == "USDT" else price["BTC"]) for a, amount in after.items())
        assert left >= 0
        assert left < slack


@given(groups())
def test_a_limit_never_is_worse_for_the_account_s_counterparties_than_bankruptcy(group):
    made, cash, held, price = group
    with localcontext(EXACT):
        state = health(Holdings(cash, held), made, marks(**price))
        for leg in state.legs:
            bankrupt, limit = bankruptcy_price(leg, state, made), limit_price(leg, state, made)
            if bankrupt is None or limit is None:
                continue
            tick = made.derivatives[leg.symbol].tick
            assert limit >= bankrupt - tick if leg.size > 0 else limit <= bankrupt + tick


@given(groups())
def test_one_price_step_outside_a_liquidation_price_breaches_and_one_inside_does_not(group):
    made, cash, held, price = group
    with localcontext(EXACT):
        prices, holdings = marks(**price), Holdings(cash, held)
        state = health(holdings, made, prices)
        for leg in state.legs:
            step = made.derivatives[leg.symbol].price_unit

            def at(moved, symbol=leg.symbol):
                there = prices.with_price(symbol, moved)
                return breached(health(holdings, made, there), made)

            found = liquidation_prices(leg.symbol, holdings, made, prices)
            # Inverse values are rounded to a unit of the coin: leave that much room.
            room = _room(made, leg, found)
            if found.below is not None and found.below - step - room > 0:
                assert at(found.below - step - room), f"{leg.symbol} below {found.below}"
            if found.above is not None:
                assert at(found.above + step + room), f"{leg.symbol} above {found.above}"
            inside = [found.below + room, found.below + step + room] if found.below else []
            inside += [found.above - step - room] if found.above else []
            for moved in inside:
                within = (found.above is None or moved <= found.above - room) and (
                    found.below is None or moved >= found.below + room
                )
                assert not within or not at(moved), f"{leg.symbol} inside at {moved}: {found}"


def _room(made, leg, found):
    if not made.derivatives[leg.symbol].inverse:
        return D(0)
    price = max(p for p in (found.below, found.above, leg.mark) if p is not None)
    exposure = abs(leg.size) * made.derivatives[leg.symbol].multiplier
    with localcontext(Context(prec=50)):
        moved = D(3).scaleb(-8) * price * price / exposure
        return moved.quantize(D("0.01"), ROUND_CEILING)


def test_a_group_without_a_price_that_counts_has_no_health():
    made = rules()
    with localcontext(EXACT):
        leg = {"LIN": Leg(D(1), D(10_000))}
        inverse = {"INV": Leg(D(1), D(-1))}
        assert health(Holdings({"USDT": D(1)}, leg), made, Markets()) is None
        assert health(Holdings({"BTC": D(1)}, {}), made, Markets()) is None
        assert health(Holdings({}, inverse), made, marks(INV=D(10))) is None
        assert health(Holdings({"USDT": D(1)}, leg), made, marks(LIN=D(1))) is not None


def test_what_the_profile_does_not_name_counts_as_nothing_while_owned():
    made = rules()
    made.list_instrument(Asset("DUST", 8, D(10**6)))
    with localcontext(EXACT):
        owned = health(Holdings({"USDT": D(5), "DUST": D(7)}, {}), made, Markets())
        assert owned is not None
        assert (owned.equity, owned.margin_equity) == (5, 5)
        assert health(Holdings({"USDT": D(5), "DUST": D(-7)}, {}), made, Markets()) is None


@pytest.mark.parametrize("size", [D(10_000), D(-10_000)])
def test_an_inverse_position_is_worth_less_than_the_exact_value_never_more(size):
    made = rules()
    instrument = made.derivatives["INV"]
    with localcontext(EXACT):
        unit = D(1).scaleb(-8)
        value = instrument.value(size, D("7000"), unit)
        assert value * 7000 <= -size * 10 < (value + unit) * 7000
