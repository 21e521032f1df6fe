"""What each kind of lending case is computed by, as `adapters` has it for derivatives.

Contracts keep whole numbers of small units: wad 10^-18, ray 10^-27, basis points, a token's own.
They are undone here on the way in and put back on the way out; what a venue rounds to, and in which
direction where it is not the engine's, is named here, the rounding is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

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
    leaves_dust,
    loan_to_value,
    repay_by_close_factor,
    repay_to_health,
    repay_to_loan_to_value,
    undercollateralized,
    without_dust,
)
from engine.money import ONE, ZERO, Rounding, ceil_to, floor_to, rounded
from engine.seizure import (
    HealthBonus,
    HealthDiscount,
    Seizure,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
    discount_factor,
    in_proportion,
    linear_impact,
    pool_impact,
    protocol_fee,
    repay_for,
    safe_at_threshold,
    seize,
    seize_at_discount,
    toxic_above,
    toxic_above_decaying,
)
from tests.cases.accounts import Inputs, NotExpressible, complement, number
from tests.cases.auctions import into_auction

Results = dict[str, Any]

WAD, RAY, BPS, USD8 = 18, 27, 4, 8
"""Decimals of contracts' numbers; prices and values in dollars often have eight."""

INDEX15 = 15
"""Decimals of Compound III's indices."""

SECOND = 1_000_000
LEAST_VALUE, LEAST_LEFT, HEALTHY_ENOUGH = Decimal(2000), Decimal(1000), Decimal("0.95")
"""Aave's: pairs worth less are closed whole, less is dust, and where the close factor ends."""

STEPS = {"wad": WAD, "ray": RAY, "percent": BPS}
DIRECTIONS: dict[str, Rounding] = {
    "half_up": "nearest",
    "floor": "down",
    "down": "down",
    "ceil": "up",
    "up": "up",
}


def _of(inputs: Inputs, name: str, decimals: int = 0) -> Decimal:
    return number(inputs[name]).scaleb(-decimals)


def _step(decimals: int) -> Decimal:
    return Decimal(1).scaleb(-decimals)


def _whole(value: Decimal, decimals: int) -> Decimal:
    return value.scaleb(decimals)


def _seconds(inputs: Inputs, name: str) -> int:
    return int(number(inputs[name])) * SECOND


def _unit(inputs: Inputs, name: str) -> Decimal:
    """Return the smallest unit of a token of which `name` says how many make a whole."""
    return _step(number(inputs[name]).adjusted())


# --- interest


def interest_rate(inputs: Inputs) -> Results:
    """Give rates by utilisation: Compound III's a year, Euler's a second."""
    if "cash" in inputs:
        return _euler_rate(inputs)
    used, results = _of(inputs, "utilization_wad", WAD), {}
    seconds = int(number(inputs["seconds_per_year"]))
    for name in ("supply", "borrow"):
        curve = _comet_curve(inputs[name], _of(inputs, "kink_wad", WAD), seconds)
        results[f"{name}_apr_wad"] = _whole(kinked_rate(curve, used) * seconds, WAD)
    return results


def _comet_curve(inputs: Inputs, kink: Decimal, seconds: int) -> RateCurve:
    """Return a curve of rates a second, as Compound III makes it of one of rates a year."""
    base, low, high = (
        rate_per(_of(inputs, name, WAD), seconds) for name in ("base", "slope_low", "slope_high")
    )
    return RateCurve(base, kink, low, high)


def _euler_rate(inputs: Inputs) -> Results:
    """Give Euler's rate, whose utilisation is in parts of 2^32 − 1 and whose slopes are by part."""
    whole = Decimal(2**32 - 1)
    supplied = _of(inputs, "cash") + _of(inputs, "borrows")
    used = utilization(_of(inputs, "borrows") * whole, supplied, ONE)
    names = ("base", "kink_u32", "slope1", "slope2")
    curve = RateCurve(*(_of(inputs, name) for name in names), step=ONE)
    return {"rate_per_s_ray": kinked_rate(curve, used)}


def interest_index(inputs: Inputs) -> Results:
    """Give an index, its growth or an interest after some seconds."""
    elapsed = _seconds(inputs, "elapsed_s")
    if "base_index" in inputs:
        curve = _comet_curve(inputs, _of(inputs, "kink_wad", WAD), 365 * 24 * 3600)
        rate = kinked_rate(curve, _of(inputs, "utilization_wad", WAD))
        rule = Accrual("linear", SECOND, _step(WAD), _step(INDEX15))
        found = index_at(rule, Index(_of(inputs, "base_index", INDEX15), rate, 0), elapsed)
        return {"rate_per_s_wad": _whole(rate, WAD), "new_index": _whole(found, INDEX15)}
    if "debt" in inputs:
        rate = _of(inputs, "annual_rate_wad", WAD)
        return {"interest": simple_interest(_of(inputs, "debt"), rate, elapsed, ONE)}
    if "duty_ray" in inputs:
        rate = _of(inputs, "duty_ray", RAY) - ONE
        grown = growth(Accrual("compound", SECOND), rate, elapsed)
        return {"fee_wad": present_value(_of(inputs, "art"), grown, ONE)}
    return _by_method(inputs, elapsed)


def _by_method(inputs: Inputs, elapsed: int) -> Results:
    method = inputs["method"]
    if method == "morpho_taylor3":
        rule = Accrual("taylor", SECOND, _step(WAD))
        found = growth(rule, _of(inputs, "rate_per_s_wad", WAD), elapsed)
        return {"growth_wad": _whole(found, WAD)}
    rules = {
        "aave_taylor3": Accrual("taylor_nested"),
        "aave_linear": Accrual("linear"),
        "rpow": Accrual("compound", SECOND),
    }
    if method not in rules:
        raise NotExpressible(f"no rule for the method {method}")
    rate = _of(inputs, "rate_ray", RAY)
    return {"index_ray": _whole(ONE + growth(rules[method], rate, elapsed), RAY)}


def utilization_of(inputs: Inputs) -> Results:
    """Give what part of what is supplied is borrowed, both by principal and index."""
    supplied, borrowed = (
        present_value(
            _of(inputs, f"total_{side}_base"), _of(inputs, f"base_{side}_index", INDEX15), ONE
        )
        for side in ("supply", "borrow")
    )
    return {"utilization_wad": _whole(utilization(borrowed, supplied), WAD)}


def liquidation_threshold(inputs: Inputs) -> Results:
    """Give a threshold on its way down."""
    times = (int(number(inputs[name])) for name in ("target_ts", "ramp_duration"))
    ramp = Ramp(_of(inputs, "initial_bps", BPS), _of(inputs, "target_bps", BPS), *times)
    found = ramped(ramp, int(number(inputs["now"])), _step(BPS))
    return {"ltv_bps": _whole(found, BPS)}


# --- health


def health(inputs: Inputs) -> Results:
    """Give Aave's health factor: a quotient to the nearest 10^-22, of which 10^-18 are kept."""
    pledges = [
        Pledge(_of(one, "value_base", USD8), _of(one, "lt_bps", BPS))
        for one in inputs["collaterals"]
    ]
    state = backing(pledges, _of(inputs, "debt_base", USD8))
    found = health_factor(state, _step(WAD + BPS), "nearest")
    return {"hf_wad": None if found is None else _whole(floor_to(found, _step(WAD)), WAD)}


def is_undercollateralized(inputs: Inputs) -> Results:
    """Tell whether an account may be liquidated."""
    if "lltv_wad" in inputs:
        pool = _morpho_pool(inputs)
        worth = floor_to(_of(inputs, "collateral") * _of(inputs, "price_1e36", 36), ONE)
        owed = pool.to_assets(_of(inputs, "borrow_shares"), ONE, "up")
        state = backing([Pledge(worth, _of(inputs, "lltv_wad", WAD))], owed, ONE)
        return {"liquidatable": undercollateralized(state)}
    pledges = [
        Pledge(floor_to(side.value, _step(USD8)), factor)
        for side, factor in _comet_collaterals(inputs, "liquidate_cf_wad")
    ]
    owed = floor_to(_comet_debt(inputs).value, _step(USD8))
    return {"liquidatable": undercollateralized(backing(pledges, owed, _step(USD8)))}


def _comet_debt(inputs: Inputs) -> Side:
    unit = _unit(inputs, "base_scale")
    index = _of(inputs, "base_borrow_index", INDEX15)
    owed = present_value(-_of(inputs, "base_principal") * unit, index, unit)
    return Side(owed, _of(inputs, "base_price", USD8), unit)


def _comet_collaterals(inputs: Inputs, factor: str) -> list[tuple[Side, Decimal]]:
    made = []
    for one in inputs["collaterals"]:
        unit = _unit(one, "scale")
        side = Side(_of(one, "balance") * unit, _of(one, "price", USD8), unit)
        made.append((side, _of(one, factor, WAD)))
    return made


def _morpho_pool(inputs: Inputs) -> Shares:
    assets, shares = _of(inputs, "total_borrow_assets"), _of(inputs, "total_borrow_shares")
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
        return {"repay_value": _silo_repay(inputs)}
    unit = _unit(inputs, "debt_unit")
    found = _target_health(inputs, _step(RAY) * unit)
    if found is None:
        raise NotExpressible("a target that no repayment reaches")
    return {"debt_ray": _whole(found / unit, RAY)}


def _aave_close_factor(inputs: Inputs) -> Results:
    unit = _unit(inputs, "debt_unit")
    debt = Side(_of(inputs, "reserve_debt") * unit, _of(inputs, "debt_price", USD8), unit)
    owed = _of(inputs, "total_debt_base", USD8)
    found = repay_by_close_factor(
        CloseFactor(of_account=True, full_at=HEALTHY_ENOUGH, full_below=LEAST_VALUE),
        debt,
        _of(inputs, "reserve_collateral_base", USD8),
        Backing(_of(inputs, "hf_wad", WAD) * owed, owed),
        _step(USD8),
    )
    return {"max_debt": found / unit}


def _target_health(inputs: Inputs, step: Decimal) -> Decimal | None:
    owed = _of(inputs, "total_debt_value_ray", RAY + WAD + USD8)
    threshold, factor = _of(inputs, "collateral_factor_bps", BPS), _of(inputs, "bonus_bps", BPS)
    return repay_to_health(
        TargetHealth(_of(inputs, "target_hf_wad", WAD)),
        Backing(_of(inputs, "hf_wad", WAD) * owed, owed),
        _of(inputs, "debt_price", USD8),
        step,
        threshold * factor,
    )


def _euler_repay(inputs: Inputs) -> Results:
    """Give Euler's repayment, which is a part of the debt's value as the yield is of the
    collateral's."""
    balances = [_of(one, "balance") for one in inputs["collaterals"]]
    values = [
        floor_to(balance * _of(one, "price_wad", WAD), ONE)
        for balance, one in zip(balances, inputs["collaterals"], strict=True)
    ]
    thresholds = [_of(one, "liq_ltv_bps", BPS) for one in inputs["collaterals"]]
    owed = _of(inputs, "owed")
    debt = floor_to(owed * _of(inputs, "debt_price_wad", WAD), ONE)
    state = backing(map(Pledge, values, thresholds), debt, ONE)
    place = int(number(inputs["target"]))
    found = Seizure(ZERO, ZERO)
    if undercollateralized(state, at_equality=True):
        factor = discount_factor(HealthDiscount(_of(inputs, "max_discount_bps", BPS)), state)
        found = seize_at_discount(debt, factor, values[place], ONE, "down")
    seized = in_proportion(found.seized, values[place], balances[place], ONE)
    if not values[place]:
        seized = balances[place]
    exact_health = health_factor(state)
    return {
        "repay": in_proportion(found.repaid, debt, owed, ONE),
        "yield": seized,
        "health": None if exact_health is None else _whole(exact_health, WAD),
    }


def _silo_repay(inputs: Inputs) -> Decimal:
    rule = TargetLoanToValue(_of(inputs, "target_ltv_wad", WAD))
    values = (_of(inputs, "debt_value", WAD), _of(inputs, "collateral_value", WAD))
    found = repay_to_loan_to_value(rule, *values, _of(inputs, "liquidation_fee_wad", WAD))
    return _whole(found, WAD)


# --- seizure


def collateral_seized(inputs: Inputs) -> Results:
    """Give what is seized for a repayment, by the rule whose inputs are given."""
    if "supplied_shares" in inputs:
        return _aave_amounts(inputs)
    if "debt_to_cover" in inputs:
        return _aave_seized(inputs)
    if "repaid_shares_in" in inputs:
        return _morpho_seized(inputs)
    if "max_debt_to_cover" in inputs:
        return _silo_preview(inputs)
    if "target_ltv_wad" in inputs:
        return _silo_largest(inputs)
    raise NotExpressible("collateral is sold on the market, not seized at the liquidator's price")


def _aave_seized(inputs: Inputs) -> Results:
    units = {name: _unit(inputs, f"{name}_unit") for name in ("collateral", "debt")}
    prices = {name: _of(inputs, f"{name}_price", USD8) for name in units}
    held = _of(inputs, "collateral_balance") * units["collateral"]
    repay = _of(inputs, "debt_to_cover") * units["debt"]
    bonus = -complement(_of(inputs, "liquidation_bonus_bps", BPS))
    found = seize(
        repay,
        bonus,
        Side(held, prices["collateral"], units["collateral"]),
        Side(repay, prices["debt"], units["debt"]),
        rounded_in="collateral",
        quoted="down",
    )
    share, unit = _of(inputs, "protocol_fee_bps", BPS), units["collateral"]
    fee = protocol_fee(found.seized, bonus, share, unit, whole_bonus=True)
    return {
        "collateral_to_liquidator": (found.seized - fee) / units["collateral"],
        "debt_repaid": found.repaid / units["debt"],
        "protocol_fee": fee / units["collateral"],
    }


class _Drawn(NamedTuple):
    """A debt of Aave v4: what was drawn, as shares at an index, and the premium on it, which is
    repaid first, in parts of the token's unit."""

    shares: Decimal
    premium: Decimal
    index: Decimal
    unit: Decimal

    @property
    def amount(self) -> Decimal:
        return self.shares * self.index + self.premium

    def part(self, amount: Decimal) -> _Drawn:
        """Return what of it an amount repays: whole units of premium, then shares, both up."""
        premium = min(ceil_to(amount, self.unit), self.premium)
        shares = ceil_to(max(amount - premium, ZERO), self.unit, self.index)
        return self._replace(shares=min(shares, self.shares), premium=premium)

    def covered(self, part: _Drawn, cover: Decimal) -> _Drawn:
        """Return what of a part a liquidator's amount covers, shares down."""
        left = cover - ceil_to(part.premium, self.unit)
        if left < 0:
            return part._replace(shares=ZERO, premium=cover)
        return part._replace(shares=min(part.shares, floor_to(left, self.unit, self.index)))


def _aave_amounts(inputs: Inputs) -> Results:
    """Give what Aave v4 takes where a target of health says how much is repaid."""
    unit, taken_unit = _unit(inputs, "debt_unit"), _unit(inputs, "collateral_unit")
    bonus = -complement(_of(inputs, "bonus_bps", BPS))
    drawn = _Drawn(
        _of(inputs, "drawn_shares") * unit,
        _of(inputs, "premium_debt_ray", RAY) * unit,
        _of(inputs, "drawn_index_ray", RAY),
        unit,
    )
    debt = Side(drawn.amount, _of(inputs, "debt_price", USD8), _step(RAY) * unit)
    wanted = _target_health(inputs, debt.unit)
    part = drawn if wanted is None else drawn.part(wanted)
    part = drawn.covered(part, _of(inputs, "debt_to_cover") * unit)
    if without_dust(part.amount, debt, LEAST_LEFT) == debt.amount:
        part = drawn
    supplied = _of(inputs, "supplied_shares") * taken_unit
    share_price = _of(inputs, "supply_share_price")
    held = present_value(supplied, share_price, taken_unit, "up")
    collateral = Side(held, _of(inputs, "collateral_price", USD8), taken_unit)
    found = seize(part.amount, bonus, collateral, debt)
    taken = floor_to(found.seized, taken_unit, share_price)
    left = present_value(supplied - taken, share_price, taken_unit) * collateral.price
    short = leaves_dust((drawn.amount - part.amount) * debt.price, left, LEAST_LEFT)
    if short or found.repaid < part.amount:
        part, taken = drawn.part(repay_for(held, bonus, collateral, debt)), supplied
    share = _of(inputs, "liquidation_fee_bps", BPS)
    fee = protocol_fee(taken, bonus, share, taken_unit, "down")
    return {
        "collateral_shares": taken / taken_unit,
        "collateral_shares_to_liquidator": (taken - fee) / taken_unit,
        "drawn_shares": part.shares / unit,
        "premium_debt_ray": _whole(part.premium / unit, RAY),
    }


def _morpho_seized(inputs: Inputs) -> Results:
    """Give what Morpho Blue seizes for shares, or is repaid for collateral; bad debt where nothing
    is left of it."""
    pool, held = _morpho_pool(inputs), _of(inputs, "collateral")
    bonus = bonus_by_threshold(ThresholdBonus(), _of(inputs, "lltv_wad", WAD))
    collateral = Side(held, _of(inputs, "price_1e36", 36), ONE)
    debt = Side(ZERO, ONE, ONE)
    seized, shares = _of(inputs, "seized_in"), _of(inputs, "repaid_shares_in")
    if seized:
        repay = repay_for(seized, bonus, collateral, debt, quoted="up")
        shares = pool.to_shares(repay, ONE, "up")
    else:
        repay = pool.to_assets(shares, ONE, "down")
        seized = seize(repay, bonus, collateral, debt, rounded_in="debt").seized
    repaid = pool.to_assets(shares, ONE, "up")
    owed = _of(inputs, "borrow_shares") - shares
    after = pool._replace(assets=max(pool.assets - repaid, ZERO), shares=pool.shares - shares)
    lost = bad_debt("no_collateral", [held - seized], ZERO, owed)
    return {
        "seized": seized,
        "repaid_assets": repaid,
        "repaid_shares": shares,
        "bad_debt_shares": lost,
        "bad_debt_assets": min(after.assets, after.to_assets(lost, ONE, "up")),
    }


def _silo_largest(inputs: Inputs) -> Results:
    repay = _silo_repay(inputs)
    return {"repay_value": repay, "collateral_value": _silo_seized(inputs, repay)}


def _silo_seized(inputs: Inputs, repay: Decimal) -> Decimal:
    """Return the value that is seized for a value; less than a whole is Silo's to round down."""
    bonus = _of(inputs, "liquidation_fee_wad", WAD)
    held = Side(_of(inputs, "collateral_value"), ONE, ONE)
    return seize(repay, bonus, held, Side(repay, ONE, ONE)).seized


def _silo_preview(inputs: Inputs) -> Results:
    worth, held = _of(inputs, "collateral_value"), _of(inputs, "collateral_assets")
    debt, owed = _of(inputs, "debt_value"), _of(inputs, "debt_assets")
    allowed = _silo_repay(inputs)
    if allowed == debt and debt < worth:
        repay, value = owed, debt
    else:
        most = in_proportion(allowed, debt, owed, ONE)
        repay = min(_of(inputs, "max_debt_to_cover"), most)
        value = in_proportion(repay, owed, debt, ONE)
    seized = _silo_seized(inputs, value)
    left = loan_to_value(debt - value, worth - seized) or ZERO
    return {
        "collateral_assets": in_proportion(seized, worth, held, ONE),
        "debt_assets": repay,
        "ltv_after_wad": _whole(left, WAD),
    }


def liquidation_bonus(inputs: Inputs) -> Results:
    """Give a bonus by threshold or by health."""
    if "lltv_wad" in inputs:
        found = bonus_by_threshold(ThresholdBonus(), _of(inputs, "lltv_wad", WAD))
        return {"lif_wad": _whole(ONE + found, WAD)}
    rule = HealthBonus(
        -complement(_of(inputs, "max_bonus_bps", BPS)),
        _of(inputs, "bonus_factor_bps", BPS),
        _of(inputs, "hf_for_max_bonus_wad", WAD),
        _step(BPS),
    )
    found = bonus_by_health(rule, _of(inputs, "hf_wad", WAD))
    return {"bonus_bps": _whole(ONE + found, BPS)}


def toxicity(inputs: Inputs) -> Results:
    """Give the loan-to-value above which liquidations lower health."""
    results: Results = {}
    if "amm_debt_reserve" in inputs:
        impact = pool_impact(_of(inputs, "collateral_value"), _of(inputs, "amm_debt_reserve"))
    elif "liquidity" in inputs:
        values = (_of(inputs, name) for name in ("collateral_value", "sigma", "liquidity"))
        impact = linear_impact(*values, number(inputs.get("gamma", 0)))
    else:
        impact = number(inputs.get("lambda", 1))
    results["lambda"] = impact
    if "max_bonus" in inputs:
        threshold = _of(inputs, "lltv")
        found = toxic_above_decaying(_of(inputs, "max_bonus"), threshold, impact)
        results["safe_at_boundary"] = safe_at_threshold(threshold, impact=impact)
    else:
        found = toxic_above(_of(inputs, "bonus"), impact)
    return {**results, "ltv_toxic_above": found}


# --- bad debt


def bad_debts(inputs: Inputs) -> Results:
    """Give what an absorbed account leaves uncovered, or whether a deficit is recognised."""
    if "base_principal" in inputs:
        debt = _comet_debt(inputs)
        collaterals = _comet_collaterals(inputs, "liquidation_factor_wad")
        found = absorb(debt, collaterals, _step(USD8))
        return {
            "new_balance": found.balance / debt.unit,
            "base_paid_out": found.credited / debt.unit,
            "uncovered": found.uncovered / debt.unit,
        }
    if "active_collateral_count" not in inputs:
        raise NotExpressible("losses beyond the fund stay bad debt, they are not socialised yet")
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
    a, b = _of(inputs, "a"), _of(inputs, "b" if "b" in inputs else "bps", decimals)
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
    "collateral_seized": collateral_seized,
    "liquidation_bonus": liquidation_bonus,
    "toxicity": toxicity,
    "bad_debt": bad_debts,
    "rounding": rounding,
}
"""The adapter of each kind of lending case that the engine has rules for, auctions aside."""
