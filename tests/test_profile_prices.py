"""Liquidation prices and limits under every shipped profile, of whole accounts, long and short."""

from decimal import Decimal as D
from decimal import localcontext
from functools import cache

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consumers import fitting, profiles
from consumers.rules import Rules as RulesFile
from engine.closing import fillable_price, limit_price
from engine.decisions import MarkUsed
from engine.holdings import Holdings, Leg
from engine.instruments import Asset, Perpetual
from engine.liquidation_price import liquidation_prices
from engine.margin import (
    breached,
    fill_cost,
    health,
    notional,
)
from engine.markets import Markets
from engine.money import EXACT, charge, unit_of
from engine.profile import RiskProfile
from engine.rules import Rules

SYMBOLS = {"BTC-PERP": "BTC", "ETH-PERP": "ETH", "WIF-PERP": "WIF"}
DECIMALS = {"BTC-PERP": 3, "ETH-PERP": 2, "WIF-PERP": 0}
PRICES = {"BTC-PERP": 50_000, "ETH-PERP": 3_000, "WIF-PERP": 2}
SHIPPED = [name for name in profiles.margined() if not name.endswith("demo")]


@cache
def rules_of(name: str) -> Rules:
    """Put a shipped profile in force over three linear perpetuals settled in its numeraire."""
    listed = [
        Perpetual(
            symbol, "USDT", DECIMALS[symbol], 4, D("0.01"), unit_of(DECIMALS[symbol]), D(10**9),
            underlying=underlying,
        )
        for symbol, underlying in SYMBOLS.items()
    ]  # fmt: skip
    assets = (Asset("USDT", 8, D(10**10)), Asset("BTC", 8, D(10**7)))
    venue = RulesFile(RiskProfile("venue", "USDT"), assets, tuple(listed))
    made = Rules()
    made.put_in_force(fitting.fitted(profiles.read(name), venue))
    for instrument in assets + venue.perpetuals:
        made.list_instrument(instrument)
    return made


def markets_at(price: dict[str, D]) -> Markets:
    found = Markets()
    for symbol, at in price.items():
        kind = "index" if symbol == "BTC" else "mark"
        found.prices[symbol, kind] = MarkUsed(symbol, kind, at, "venue", 0)
    return found


@st.composite
def accounts(draw):
    """Up to three legs, either way, of any size from a lot to millions, and collateral of two
    kinds."""
    with localcontext(EXACT):
        price = {s: D(p) * draw(st.integers(5_000, 15_000)) / 10_000 for s, p in PRICES.items()}
        price["BTC"] = price["BTC-PERP"]
        legs, gross = {}, D(0)
        for symbol in sorted(draw(st.sets(st.sampled_from(sorted(SYMBOLS)), min_size=1))):
            worth = D(draw(st.integers(1, 5000))) * 10 ** draw(st.integers(1, 3))
            step = unit_of(DECIMALS[symbol])
            size = (
                max(worth // (PRICES[symbol] * step), D(1)) * step * draw(st.sampled_from([1, -1]))
            )
            paid = price[symbol] * draw(st.integers(8_000, 12_000)) / 10_000
            legs[symbol] = Leg(size, charge(size * paid, D("1e-8")))
            gross += abs(size) * price[symbol]
        share = D(draw(st.integers(0, 4_000))) / 1000
        coins = draw(st.sampled_from([D(0), D("0.3"), D("2.5")]))
        cash = {"USDT": (gross * share).quantize(D("1e-8")), "BTC": coins}
        return Holdings(cash, legs), price


@pytest.mark.parametrize("name", SHIPPED)
@given(accounts())
def test_a_tick_inside_a_liquidation_price_does_not_trigger_and_one_outside_does(name, account):
    holdings, price = account
    rules, markets = rules_of(name), markets_at(price)
    with localcontext(EXACT):

        def breaches(symbol: str, at: D) -> bool:
            state = health(holdings, rules, markets.with_price(symbol, at))
            assert state is not None
            return breached(state, rules)

        for symbol in holdings.legs:
            unit = rules.derivatives[symbol].price_unit
            below, above = liquidation_prices(symbol, holdings, rules, markets)
            if below is not None:
                assert not breaches(symbol, below)
                assert breaches(symbol, below - unit)
            if above is not None:
                assert not breaches(symbol, above)
                assert breaches(symbol, above + unit)
            if breaches(symbol, price[symbol]):
                continue
            # Healthy at the mark, so nothing between the mark and what was found breaches either.
            low = unit if below is None else below
            high = 1000 * price[symbol] if above is None else above
            for part in (D("0.1"), D("0.5"), D("0.9")):
                for end in (low, high):
                    between = price[symbol] + part * (end - price[symbol])
                    assert not breaches(symbol, between // unit * unit)


@pytest.mark.parametrize("name", SHIPPED)
@given(accounts())
def test_all_legs_filled_at_their_limits_leave_nothing_and_lose_nothing(name, account):
    """Equity ends at or above 0 and below Σ size·tick + one unit a leg; a fillable limit lies
    between the mark and the spread's end."""
    holdings, price = account
    rules, markets = rules_of(name), markets_at(price)
    with localcontext(EXACT):
        state = health(holdings, rules, markets)
        assume(state is not None and state.equity > 0)
        fillable = rules.in_force.liquidation.fillable
        left, slack = state.equity, D(0)
        for leg in state.legs:
            instrument = rules.derivatives[leg.symbol]
            tick, unit = instrument.tick, D("1e-8")
            if fillable is not None:
                limit = fillable_price(leg, state, rules)
                assert limit is not None
                widest = fillable.spread * leg.maintenance / abs(leg.size)
                worse = leg.mark - limit if leg.size > 0 else limit - leg.mark
                assert -tick < worse <= widest
                continue
            limit = limit_price(leg, state, rules)
            assume(limit is not None)
            proceeds = -fill_cost(instrument, -leg.size, limit, unit)
            worth = notional(instrument, leg.size, limit, unit)
            left += proceeds - leg.value - charge(instrument.taker_fee * worth, unit)
            slack += abs(leg.size) * tick * (1 + instrument.taker_fee) + unit
        if fillable is None:
            assert 0 <= left < slack


@pytest.mark.parametrize("name", SHIPPED)
@given(accounts(), st.sampled_from(sorted(SYMBOLS)), st.integers(1, 10**6))
def test_more_of_a_position_never_needs_less(name, account, symbol, more):
    """Of an account with one leg; portfolios too, which fall only with a hedge."""
    _, price = account
    rules, markets = rules_of(name), markets_at(price)
    step = unit_of(DECIMALS[symbol])
    with localcontext(EXACT):
        size = more * step
        needs = []
        for held in (size, size + step, size * 2):
            for side in (1, -1):
                state = health(Holdings({}, {symbol: Leg(side * held, D(0))}), rules, markets)
                needs.append(state.maintenance)
        longs, shorts = needs[::2], needs[1::2]
        assert longs == sorted(longs)
        assert shorts == sorted(shorts)
