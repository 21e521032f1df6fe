"""How the factor on requirements follows realised volatility, sample by sample."""

from decimal import Decimal as D

from engine.money import exact
from engine.profile import HOUR, Volatility
from engine.volatility import VolatilityState, begun, sampled

MINUTE = HOUR // 60
CALM = D("0.01")
RULE = Volatility(
    reference={"*": CALM}, decay=D("0.1"), lookback_share=D(0), rise=D(6), fall=D("0.06")
)


def shaken() -> list[VolatilityState]:
    """Return the states of a price that moves by a fifth in each of three minutes."""
    states = [begun(RULE, CALM, D(100), 0)]
    for minute, price in enumerate((120, 100, 120), 1):
        states.append(sampled(RULE, CALM, states[-1], D(price), minute * MINUTE))
    return states


@exact
def test_a_factor_rises_no_faster_than_its_rule():
    assert [state.running for state in shaken()] == [D(1), D("1.1"), D("1.2"), D("1.3")]


@exact
def test_a_factor_falls_no_faster_than_its_rule():
    peak = shaken()[-1]
    calm = sampled(RULE, CALM, peak, peak.price, peak.time + 10 * MINUTE)
    assert (calm.used < CALM, calm.running) == (True, D("1.29"))
    long = sampled(RULE, CALM, peak, peak.price, peak.time + 24 * HOUR)
    assert long.running == RULE.floor
