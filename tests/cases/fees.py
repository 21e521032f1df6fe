"""What a liquidation costs and what the fund gets or pays, as `adapters` has it for margin."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.closing import bankruptcy_quote
from engine.core import Engine
from engine.fee_formulas import fund_delta, ramped_fee, spot_fund_fee
from engine.funds import capacities
from engine.liquidation_profile import LiquidationRule
from engine.money import ONE, ZERO, floor_to
from engine.pricing import fee_rate
from engine.profile import RiskProfile
from engine.waterfall import allocate
from engine.waterfall_profile import FundRule, Waterfall
from tests.cases.accounts import USD, Inputs, NotExpressible, Position, account, flat, number
from tests.cases.described import PPM, SYMBOL, Results, described, leg_of, worth_of
from tests.cases.sizes import spot_legs
from tests.cases.units import of

SAFETY = ONE - number("0.05")
"""The part of what closing frees that Drift lets the fund have."""


def insurance_fee_rate(inputs: Inputs) -> Results:
    """Give the fund's fee, which adapts to what an account is short of."""
    if "token_amount" in inputs:
        fee = spot_fund_fee(
            of(inputs, "margin_shortage"),
            of(inputs, "token_amount"),
            *spot_legs(inputs, "{}_multiplier"),
            of(inputs, "price"),
            of(inputs, "max_if_fee"),
        )
        return {"if_fee_rate": fee}
    size, price = of(inputs, "base"), of(inputs, "mark_price")
    price *= of(inputs, "quote_price")
    rate = of(inputs, "margin_ratio")
    leg = Position(SYMBOL, size, price, flat(None, rate), taker_fee=of(inputs, "liquidator_fee"))
    cash = worth_of(size, price) * (rate - ONE) - of(inputs, "margin_shortage")
    rule = LiquidationRule(fee_rate=of(inputs, "max_if_fee"), fee_adaptive=SAFETY)
    made = account({USD: cash}, [leg], liquidation=rule)
    return {"if_fee_rate": fee_rate(leg_of(made.health, SYMBOL), made.health, made.rules)}


def liquidation_fee_rate(inputs: Inputs) -> Results:
    """Give the liquidator's fee, which grows with time, in slots."""
    elapsed, grace = (int(number(inputs[f"{name}_slots"])) for name in ("elapsed", "grace"))
    rates = (of(inputs, f"{name}_fee") for name in ("base", "max"))
    return {"fee": ramped_fee(*rates, elapsed, grace, of(inputs, "increase_per_slot"))}


# --- the fund


def insurance_delta(inputs: Inputs) -> Results:
    """Give what the fund gets of a fill or pays for it, or whether it can."""
    if "fund_delta" in inputs:
        asked = max(-number(inputs["fund_delta"]), ZERO)
        _, unpaid = _paid(number(inputs["fund_balance"]), asked, FundRule(whole=True))
        return {"accepted": not unpaid}
    if "fill_price" in inputs:
        return _dydx_delta(inputs)
    if number(inputs.get("slippage_bps", 0)):
        raise NotExpressible("a fill that is not at the mark")
    held = number(inputs["fund"])
    short = max(-described(inputs).health.equity, ZERO)
    paid, _ = _paid(held, short, FundRule())
    return {"insurance_fund_delta": -paid, "fund_after": held - paid}


def _dydx_delta(inputs: Inputs) -> Results:
    side = -1 if inputs["close_side"] == "sell" else 1
    size = number(inputs["fill_size"])
    market = inputs.get("close_market", inputs["positions"][0]["market"])
    quote = bankruptcy_quote(market, side * size, *described(inputs))
    proceeds = -side * floor_to(worth_of(size, number(inputs["fill_price"])), PPM)
    found = fund_delta(proceeds, quote, number(inputs["max_liquidation_fee"]), PPM)
    return {"insurance_fund_delta": found}


def _paid(held: Decimal, asked: Decimal, rule: FundRule) -> tuple[Decimal, Decimal]:
    """Return what the venue's fund pays of an amount, and what it does not."""
    engine = Engine()
    engine.rules.put_in_force(RiskProfile("case", USD, {}, waterfall=Waterfall(fund=rule)))
    engine.ledger.fund[USD] = held
    payments, unpaid = allocate(asked, capacities(engine, USD, SYMBOL, asked))
    return sum((payment.amount for payment in payments), ZERO), unpaid


FEES: dict[str, Callable[[Inputs], Results]] = {
    "insurance_fee_rate": insurance_fee_rate,
    "liquidation_fee_rate": liquidation_fee_rate,
    "insurance_delta": insurance_delta,
}
"""The adapter of each kind of case about fees and the fund."""
