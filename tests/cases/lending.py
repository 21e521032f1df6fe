"""What each kind of lending case is computed by, as `adapters` has it for derivatives.

Contracts keep whole numbers of small units: wad 10^-18, ray 10^-27, basis points, a token's own.
They are undone here on the way in and put back on the way out; what a venue rounds to, and in which
direction where it is not the engine's, is named here, the rounding is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine.interest import (
    Accrual,
    Index,
    Ramp,
    RateCurve,
    Shares,
    growth,
    index_at,
    kinked_rate,
    present_value,
    ramped,
    rate_per,
    simple_interest,
    utilization,
)
from engine.lending import (
    Backing,
    CloseFactor,
    Pledge,
    Side,
    TargetHealth,
    TargetLoanToValue,
    absorb,
    backing,
    bad_debt,
    health_factor,
    repay_by_close_factor,
    repay_to_health,
    repay_to_loan_to_value,
    undercollateralized,
)
from engine.money import ONE, ZERO, Rounding, floor_to, rounded
from engine.seizure import (
    HealthDiscount,
    Seizure,
    discount_factor,
    in_proportion,
    seize_at_discount,
)
from tests.cases.accounts import Inputs, NotExpressible, number
from tests.cases.auctions import into_auction
from tests.cases.units import BPS, RAY, SECOND, USD8, WAD, microseconds, of, step_of, unit_of, whole

Results = dict[str, Any]

INDEX15 = 15
"""Decimals of Compound III's indices."""

LEAST_VALUE, HEALTHY_ENOUGH, LEAST_LEFT = Decimal(2000), Decimal("0.95"), Decimal(1000)
"""Aave's: pairs worth less are repaid whole, so are debts at this health, and less is dust."""

STEPS = {"wad": WAD, "ray": RAY, "percent": BPS}
DIRECTIONS: dict[str, Rounding] = {
    "half_up": "nearest",
    "floor": "down",
    "down": "down",
    "ceil": "up",
    "up": "up",
}


# --- interest


def interest_rate(inputs: Inputs) -> Results:
    """Give rates by utilisation: Compound III's a year, Euler's a second."""
    if "cash" in inputs:
        return _euler_rate(inputs)
    used, results = of(inputs, "utilization_wad", WAD), {}
    seconds = int(number(inputs["seconds_per_year"]))
    for name in ("supply", "borrow"):
        curve = _comet_curve(inputs[name], of(inputs, "kink_wad", WAD), seconds)
        results[f"{name}_apr_wad"] = whole(kinked_rate(curve, used) * seconds, WAD)
    return results


def _comet_curve(inputs: Inputs, kink: Decimal, seconds: int) -> RateCurve:
    """Return a curve of rates a second, as Compound III makes it of one of rates a year."""
    base, low, high = (
        rate_per(of(inputs, name, WAD), seconds) for name in ("base", "slope_low", "slope_high")
    )
    return RateCurve(base, kink, low, high)


def _euler_rate(inputs: Inputs) -> Results:
    """Give Euler's rate, whose utilisation is in parts of 2^32 − 1 and whose slopes are by part."""
    whole = Decimal(2**32 - 1)
    supplied = of(inputs, "cash") + of(inputs, "borrows")
    used = utilization(of(inputs, "borrows") * whole, supplied, ONE)
    names = ("base", "kink_u32", "slope1", "slope2")
    curve = RateCurve(*(of(inputs, name) for name in names), step=ONE)
    return {"rate_per_s_ray": kinked_rate(curve, used)}


def interest_index(inputs: Inputs) -> Results:
    """Give an index, its growth or an interest after some seconds."""
    elapsed = microseconds(inputs, "elapsed_s")
    if "base_index" in inputs:
        curve = _comet_curve(inputs, of(inputs, "kink_wad", WAD), 365 * 24 * 3600)
        rate = kinked_rate(curve, of(inputs, "utilization_wad", WAD))
        rule = Accrual("linear", SECOND, step_of(WAD), step_of(INDEX15))
        found = index_at(rule, Index(of(inputs, "base_index", INDEX15), rate, 0), elapsed)
        return {"rate_per_s_wad": whole(rate, WAD), "new_index": whole(found, INDEX15)}
    if "debt" in inputs:
        rate = of(inputs, "annual_rate_wad", WAD)
        return {"interest": simple_interest(of(inputs, "debt"), rate, elapsed, ONE)}
    if "duty_ray" in inputs:
        rate = of(inputs, "duty_ray", RAY) - ONE
        grown = growth(Accrual("compound", SECOND), rate, elapsed)
        return {"fee_wad": present_value(of(inputs, "art"), grown, ONE)}
    return _by_method(inputs, elapsed)


def _by_method(inputs: Inputs, elapsed: int) -> Results:
    method = inputs["method"]
    if method == "morpho_taylor3":
        rule = Accrual("taylor", SECOND, step_of(WAD))
        found = growth(rule, of(inputs, "rate_per_s_wad", WAD), elapsed)
        return {"growth_wad": whole(found, WAD)}
    rules = {
        "aave_taylor3": Accrual("taylor_nested"),
        "aave_linear": Accrual("linear"),
        "rpow": Accrual("compound", SECOND),
    }
    if method not in rules:
        raise NotExpressible(f"no rule for the method {method}")
    rate = of(inputs, "rate_ray", RAY)
    return {"index_ray": whole(ONE + growth(rules[method], rate, elapsed), RAY)}


def utilization_of(inputs: Inputs) -> Results:
    """Give what part of what is supplied is borrowed, both by principal and index."""
    supplied, borrowed = (
        present_value(
            of(inputs, f"total_{side}_base"), of(inputs, f"base_{side}_index", INDEX15), ONE
        )
        for side in ("supply", "borrow")
    )
    return {"utilization_wad": whole(utilization(borrowed, supplied), WAD)}


def liquidation_threshold(inputs: Inputs) -> Results:
    """Give a threshold on its way down."""
    times = (int(number(inputs[name])) for name in ("target_ts", "ramp_duration"))
    ramp = Ramp(of(inputs, "initial_bps", BPS), *times)
    found = ramped(ramp, of(inputs, "target_bps", BPS), int(number(inputs["now"])), step_of(BPS))
    return {"ltv_bps": whole(found, BPS)}


# --- health


def health(inputs: Inputs) -> Results:
    """Give Aave's health factor: a quotient to the nearest 10^-22, of which 10^-18 are kept."""
    pledges = [
        Pledge(of(one, "value_base", USD8), of(one, "lt_bps", BPS)) for one in inputs["collaterals"]
    ]
    state = backing(pledges, of(inputs, "debt_base", USD8))
    found = health_factor(state, step_of(WAD + BPS), "nearest")
    return {"hf_wad": None if found is None else whole(floor_to(found, step_of(WAD)), WAD)}


def is_undercollateralized(inputs: Inputs) -> Results:
    """Tell whether an account may be liquidated."""
    if "lltv_wad" in inputs:
        pool = morpho_pool(inputs)
        worth = floor_to(of(inputs, "collateral") * of(inputs, "price_1e36", 36), ONE)
        owed = pool.to_assets(of(inputs, "borrow_shares"), ONE, "up")
        state = backing([Pledge(worth, of(inputs, "lltv_wad", WAD))], owed, ONE)
        return {"liquidatable": undercollateralized(state)}
    pledges = [
        Pledge(floor_to(side.value, step_of(USD8)), factor)
        for side, factor in _comet_collaterals(inputs, "liquidate_cf_wad")
    ]
    owed = floor_to(_comet_debt(inputs).value, step_of(USD8))
    return {"liquidatable": undercollateralized(backing(pledges, owed, step_of(USD8)))}


def _comet_debt(inputs: Inputs) -> Side:
    unit = unit_of(inputs, "base_scale")
    index = of(inputs, "base_borrow_index", INDEX15)
    owed = present_value(-of(inputs, "base_principal") * unit, index, unit)
    return Side(owed, of(inputs, "base_price", USD8), unit)


def _comet_collaterals(inputs: Inputs, factor: str) -> list[tuple[Side, Decimal]]:
    made = []
    for one in inputs["collaterals"]:
        unit = unit_of(one, "scale")
        side = Side(of(one, "balance") * unit, of(one, "price", USD8), unit)
        made.append((side, of(one, factor, WAD)))
    return made


def morpho_pool(inputs: Inputs) -> Shares:
    assets, shares = of(inputs, "total_borrow_assets"), of(inputs, "total_borrow_shares")
    return Shares(assets, shares, ONE, Decimal(10**6))


# --- how much


def max_repay(inputs: Inputs) -> Results:
    """Give how much may be repaid, by the rule whose inputs are given."""
    if "reserve_debt" in inputs:
        return _aave_close_factor(inputs)
    if "owed" in inputs:
        return _euler_repay(inputs)
    if "ink" in inputs:
        return into_auction(inputs)
    if "target_ltv_wad" in inputs:
        return {"repay_value": silo_repay(inputs)}
    unit = unit_of(inputs, "debt_unit")
    found = target_health(inputs, step_of(RAY) * unit)
    if found is None:
        raise NotExpressible("a target that no repayment reaches")
    return {"debt_ray": whole(found / unit, RAY)}


def _aave_close_factor(inputs: Inputs) -> Results:
    unit = unit_of(inputs, "debt_unit")
    debt = Side(of(inputs, "reserve_debt") * unit, of(inputs, "debt_price", USD8), unit)
    owed = of(inputs, "total_debt_base", USD8)
    found = repay_by_close_factor(
        CloseFactor(of_account=True, full_at=HEALTHY_ENOUGH, full_below=LEAST_VALUE),
        debt,
        of(inputs, "reserve_collateral_base", USD8),
        Backing(of(inputs, "hf_wad", WAD) * owed, owed),
        step_of(USD8),
    )
    return {"max_debt": found / unit}


def target_health(inputs: Inputs, step: Decimal) -> Decimal | None:
    owed = of(inputs, "total_debt_value_ray", RAY + WAD + USD8)
    threshold, factor = of(inputs, "collateral_factor_bps", BPS), of(inputs, "bonus_bps", BPS)
    return repay_to_health(
        TargetHealth(of(inputs, "target_hf_wad", WAD)),
        Backing(of(inputs, "hf_wad", WAD) * owed, owed),
        of(inputs, "debt_price", USD8),
        step,
        threshold * factor,
    )


def _euler_repay(inputs: Inputs) -> Results:
    """Give Euler's repayment, which is a part of the debt's value as the yield is of the
    collateral's."""
    balances = [of(one, "balance") for one in inputs["collaterals"]]
    values = [
        floor_to(balance * of(one, "price_wad", WAD), ONE)
        for balance, one in zip(balances, inputs["collaterals"], strict=True)
    ]
    thresholds = [of(one, "liq_ltv_bps", BPS) for one in inputs["collaterals"]]
    owed = of(inputs, "owed")
    debt = floor_to(owed * of(inputs, "debt_price_wad", WAD), ONE)
    state = backing(map(Pledge, values, thresholds), debt, ONE)
    place = int(number(inputs["target"]))
    found = Seizure(ZERO, ZERO)
    if undercollateralized(state, at_equality=True):
        rule = HealthDiscount(of(inputs, "max_discount_bps", BPS), rounding="down")
        factor = discount_factor(rule, state)
        found = seize_at_discount(debt, factor, values[place], ONE, "down")
    seized = in_proportion(found.seized, values[place], balances[place], ONE)
    if not values[place]:
        seized = balances[place]
    exact_health = health_factor(state)
    return {
        "repay": in_proportion(found.repaid, debt, owed, ONE),
        "yield": seized,
        "health": None if exact_health is None else whole(exact_health, WAD),
    }


def silo_repay(inputs: Inputs) -> Decimal:
    rule = TargetLoanToValue(of(inputs, "target_ltv_wad", WAD))
    values = (of(inputs, "debt_value", WAD), of(inputs, "collateral_value", WAD))
    found = repay_to_loan_to_value(rule, *values, of(inputs, "liquidation_fee_wad", WAD))
    return whole(found, WAD)


# --- bad debt


def deficit(inputs: Inputs) -> Results:
    """Give what an absorbed account leaves uncovered, or whether a deficit is recognised."""
    if "base_principal" in inputs:
        debt = _comet_debt(inputs)
        collaterals = _comet_collaterals(inputs, "liquidation_factor_wad")
        found = absorb(debt, collaterals, step_of(USD8))
        return {
            "new_balance": found.balance / debt.unit,
            "base_paid_out": found.credited / debt.unit,
            "uncovered": found.uncovered / debt.unit,
        }
    others = [int(number(inputs[name])) - 1 for name in ("active_collateral_count", "borrow_count")]
    held = [ZERO if inputs["collateral_position_empty"] else ONE, Decimal(max(others[0], 0))]
    owed = (ZERO if inputs["debt_position_empty"] else ONE) + max(others[1], 0)
    return {"has_deficit": bad_debt("no_collateral", held, ZERO, owed) > 0}


def rounding(inputs: Inputs) -> Results:
    """Give a product or a quotient in the units that its operation is named after."""
    name, direction = inputs["op"].split("_", 1)
    unit, operation = name[:-3], name[-3:]
    if unit not in STEPS or direction not in DIRECTIONS:
        raise NotExpressible(f"no rounding {inputs['op']}")
    decimals = STEPS[unit]
    a, b = of(inputs, "a"), of(inputs, "b" if "b" in inputs else "bps", decimals)
    factor, divisor = (b, ONE) if operation == "Mul" else (ONE, b)
    return {"result": rounded(a * factor, ONE, DIRECTIONS[direction], divisor)}


LENDING: dict[str, Callable[[Inputs], Results]] = {
    "interest_rate": interest_rate,
    "interest_index": interest_index,
    "utilization": utilization_of,
    "liquidation_threshold": liquidation_threshold,
    "health_factor": health,
    "liquidatable": is_undercollateralized,
    "max_repay": max_repay,
    "rounding": rounding,
}
"""The adapter of each kind of case about loans that the engine has rules for."""
