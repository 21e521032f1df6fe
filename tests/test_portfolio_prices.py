"""Liquidation prices and limits where legs are margined together, whatever is held."""

from decimal import Decimal as D
from decimal import localcontext

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.closing import limit_price
from engine.decisions import MarkUsed
from engine.holdings import Holdings, Leg
from engine.instruments import Option
from engine.liquidation_price import liquidation_prices
from engine.margin import (
    breached,
    fill_cost,
    health,
    level,
    notional,
)
from engine.markets import Markets
from engine.money import EXACT, charge
from engine.options import OptionInputs, value
from engine.profile import DAY
from engine.rules import Rules
from tests.story import BTC, USDT
from tests.test_portfolio_watch import LISTED, profile

RULES = Rules()
for listed in (USDT, BTC, *LISTED):
    RULES.list_instrument(listed)
RULES.put_in_force(profile())

sizes = st.integers(-100, 100).filter(bool)
held = st.dictionaries(st.sampled_from([one.name for one in LISTED]), sizes, min_size=1)


def markets(forward: int, iv: D, days: int) -> Markets:
    found = Markets()
    marks = {(one.name, "mark"): D(forward) for one in LISTED}
    for one in LISTED:
        if isinstance(one, Option):
            inputs = OptionInputs(iv, D(forward), D(1), one.expiry - days * DAY)
            found.options[one.name] = inputs
            marks[one.name, "mark"] = value(one, inputs)
    marks[BTC.name, "index"] = D(forward)
    for (symbol, kind), price in marks.items():
        found.prices[symbol, kind] = MarkUsed(symbol, kind, price, "venue", 0)
    return found


known = st.builds(
    markets, st.integers(60, 160), st.decimals("0.05", 2, places=2), st.integers(0, 60)
)


def holdings(found: dict[str, int], cash: str, told: Markets) -> Holdings:
    """Sizes in tenths at the marks, so that equity is the cash."""
    legs = {}
    for symbol in sorted(found):
        instrument, size = RULES.derivatives[symbol], D(found[symbol]) / 10
        unit = RULES.settle_of(symbol).unit
        cost = fill_cost(instrument, size, told.prices[symbol, "mark"].price, unit)
        legs[symbol] = Leg(size, cost)
    return Holdings({"USDT": D(cash)}, legs)


@given(held, st.integers(1, 2000), known, st.data())
def test_one_unit_inside_a_liquidation_price_is_not_breached_and_one_outside_is(
    found, cash, told, data
):
    with localcontext(EXACT):
        group = holdings(found, str(cash), told)
        symbol = data.draw(st.sampled_from(sorted(found)))
        state = health(group, RULES, told)
        assume(state is not None and not breached(state, RULES))
        below, above = liquidation_prices(symbol, group, RULES, told)
        unit = RULES.derivatives[symbol].price_unit
        for price, step in ((below, -unit), (above, unit)):
            if price is not None:
                inside = health(group, RULES, told.with_price(symbol, price))
                beyond = health(group, RULES, told.with_price(symbol, price + step))
                assert not breached(inside, RULES)
                assert breached(beyond, RULES)


@given(held, st.integers(0, 2000), known)
def test_all_legs_filled_at_their_limits_leave_equity(found, cash, told):
    """A leg without a limit costs no more than its share wherever it is closed: a long at nothing,
    an inverse short at any price, however high."""
    with localcontext(EXACT):
        group = holdings(found, str(cash), told)
        state = health(group, RULES, told)
        equity = dict(group.cash)
        for leg in state.legs:
            instrument, unit = RULES.derivatives[leg.symbol], RULES.settle_of(leg.symbol).unit
            limit, left = limit_price(leg, state, RULES), D(0)
            assume(limit is not None or leg.size > 0 or instrument.inverse)
            assume(limit is not None or not (instrument.inverse and leg.size > 0))
            if limit is not None:
                assert limit % instrument.tick == 0
                fee = charge(
                    instrument.taker_fee * notional(instrument, leg.size, limit, unit), unit
                )
                left = -fill_cost(instrument, -leg.size, limit, unit) - fee
            equity[leg.settle] = equity.get(leg.settle, D(0)) + left - leg.cost
        worth = sum((amount * state.prices[asset] for asset, amount in equity.items()), D(0))
        assert worth >= 0


@given(held, st.integers(0, 2000), known)
def test_initial_margin_is_never_below_maintenance(found, cash, told):
    with localcontext(EXACT):
        group = holdings(found, str(cash), told)
        needed = level(group, RULES, told, "initial")
        assert needed.requirement >= health(group, RULES, told).maintenance


@given(held, known)
def test_a_groups_portfolio_never_needs_more_than_its_legs_alone(found, told):
    with localcontext(EXACT):
        state = health(holdings(found, "0", told), RULES, told)
        assert state.maintenance <= sum(leg.required for leg in state.legs)


@pytest.mark.parametrize("size", [-10, 10])
def test_an_option_worth_nothing_has_a_liquidation_price_above_if_any(size):
    """A put at 95, expired at 160. Short: 2 % and 0.5 % of 160, so of 10 USDT it may cost 6; long
    it can lose nothing more."""
    told = markets(160, D("0.5"), 0)
    assert told.prices["BTC-P", "mark"].price == 0
    with localcontext(EXACT):
        below, above = liquidation_prices(
            "BTC-P", holdings({"BTC-P": size}, "10", told), RULES, told
        )
    assert below is None
    assert above == (None if size > 0 else D("6.00"))
