"""Groups near their bankruptcy, and what the engine plans for them."""

from decimal import Decimal as D
from decimal import localcontext
from typing import Any, NamedTuple

from hypothesis import strategies as st

from engine.decisions import MarkUsed
from engine.holdings import Holdings, Leg
from engine.instruments import Asset, Perpetual
from engine.liquidation import Liquidation
from engine.liquidation_profile import LiquidationRule
from engine.margin import Health, fill_cost, health, notional, stop_level
from engine.markets import Markets
from engine.money import EXACT, charge
from engine.planning import Plan, plan_orders
from engine.profile import Bracket, Collateral, Requirement, RiskProfile, Trigger
from engine.rules import Rules

COIN = Asset("BTC", 8, D(10) ** 6, 4)
FEE = D("0.0005")
LINEAR = Perpetual("LIN", "USDT", 3, 2, D("0.1"), D("0.01"), D(10**6), taker_fee=FEE)
SECOND = Perpetual("LIN2", "USDT", 3, 2, D("0.1"), D("0.1"), D(10**6), taker_fee=FEE)
INVERSE = Perpetual(
    "INV", "BTC", 0, 2, D("0.5"), D(1), D(10**9),
    style="inverse", multiplier=D(10), taker_fee=FEE,
)  # fmt: skip

RATES = (("20000", "0.004", "0.008"), ("100000", "0.01", "0.02"), ("1000000", "0.05", "0.1"))


def brackets(scale: int = 1) -> tuple[Bracket, ...]:
    """Return three brackets, their caps divided by `scale`."""
    return tuple(
        Bracket(D(cap) / scale, initial_rate=D(initial), maintenance_rate=D(maintenance))
        for cap, maintenance, initial in RATES
    )


class Case(NamedTuple):
    """A group, and all that a plan for it depends on."""

    rules: Rules
    markets: Markets
    holdings: Holdings

    @property
    def health(self) -> Health:
        """The group's health."""
        with localcontext(EXACT):
            state = health(self.holdings, self.rules, self.markets)
        assert state is not None
        return state

    def plan(self, elapsed: int = 0, freed: D = D(0), *, backstop: bool = False) -> Plan:
        """Return what is planned, so long after the liquidation was opened."""
        liquidation = Liquidation(1, "breach", "")
        liquidation.opened_at = self.markets.now - elapsed
        liquidation.freed, liquidation.backstop = freed, backstop
        with localcontext(EXACT):
            return plan_orders(self.health, self.holdings, self.rules, self.markets, liquidation)

    def closed(self, sizes: dict[str, D], rates: dict[str, D]) -> "Case":
        """Return the group with sizes of its legs closed at the marks, taker fee and a liquidation
        fee by symbol paid."""
        with localcontext(EXACT):
            cash, legs = dict(self.holdings.cash), dict(self.holdings.legs)
            for symbol, size in sizes.items():
                instrument, held = self.rules.derivatives[symbol], legs.pop(symbol)
                unit, mark = self.rules.settle_of(symbol).unit, self.markets.price(symbol, "mark")
                signed = size if held.size > 0 else -size
                released = charge(held.cost * size, unit, abs(held.size))
                paid = (instrument.taker_fee + rates[symbol]) * notional(
                    instrument, size, mark, unit
                )
                cash[instrument.settle] = cash.get(instrument.settle, D(0)) - paid
                cash[instrument.settle] += instrument.value(signed, mark, unit) - released
                if signed != held.size:
                    legs[symbol] = Leg(held.size - signed, held.cost - released)
            return self._replace(holdings=Holdings(cash, legs))

    @property
    def shortage(self) -> D:
        """What is lacking to stop."""
        with localcontext(EXACT):
            equity, requirement = stop_level(self.health, self.holdings, self.rules, self.markets)
            return requirement - equity


def case(
    legs: dict[str, tuple[D, D]],
    part: D,
    marks: dict[str, D],
    rule: LiquidationRule,
    *instruments: Perpetual,
    **rules: Any,
) -> Case:
    """Return a group with legs (size, entry), and so much cash that its equity is `part` of its
    maintenance, to the unit."""
    made, markets = Rules(), Markets()
    fields: dict[str, Any] = {
        "requirements": {"*": Requirement(brackets()), "INV": Requirement(brackets(10_000))},
        "trigger": Trigger(stop_buffer=D(0)),
        **rules,
    }
    for listed in (Asset("USDT", 8, D(10) ** 9), COIN, *(instruments or (LINEAR, SECOND, INVERSE))):
        made.list_instrument(listed)
    made.put_in_force(
        RiskProfile(
            name="sizing", numeraire="USDT", collateral={"USDT": Collateral(), "BTC": Collateral()},
            conversion=("USDT", "BTC"), liquidation=rule, **fields,
        )
    )  # fmt: skip
    markets.now = 10**12
    for symbol, price in {"BTC": D(10_000), **marks}.items():
        kind = "index" if symbol == "BTC" else "mark"
        markets.prices[symbol, kind] = MarkUsed(symbol, kind, price, "venue", 0)
    with localcontext(EXACT):
        held = {
            symbol: Leg(
                size,
                fill_cost(made.derivatives[symbol], size, entry, made.settle_of(symbol).unit),
            )
            for symbol, (size, entry) in sorted(legs.items())
        }
        found = Case(made, markets, Holdings({"USDT": D(0)}, held))
        state = found.health
        cash = charge(part * state.maintenance - state.equity, D("1e-8"))
        return found._replace(holdings=Holdings({"USDT": cash}, held))


sizes = st.integers(1, 30_000).map(lambda n: D(n) / 1000)
prices = st.integers(500_000, 2_000_000).map(lambda n: D(n) / 100)
parts = st.integers(1, 99).map(lambda n: D(n) / 100)
"""Equity as a part of maintenance."""

fee_rates = st.sampled_from([D(0), D("0.001"), D("0.0125")])


@st.composite
def distressed(draw: Any, rule: LiquidationRule, *, marginal: bool | None = None) -> Case:
    """Return one to three legs, long or short, linear and inverse, whose group is breached."""
    legs = {}
    for symbol in sorted(draw(st.sets(st.sampled_from(["LIN", "LIN2", "INV"]), min_size=1))):
        size = draw(sizes) * draw(st.sampled_from([1, -1]))
        legs[symbol] = (size * 1000 if symbol == "INV" else size, draw(prices))
    marks = {symbol: draw(prices) for symbol in ("LIN", "LIN2", "INV", "BTC")}
    steep = draw(st.booleans()) if marginal is None else marginal
    requirements = {
        "*": Requirement(brackets(), marginal=steep),
        "INV": Requirement(brackets(10_000), marginal=steep),
    }
    return case(legs, draw(parts), marks, rule, requirements=requirements)
