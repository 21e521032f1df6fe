"""What is computed of seizures, bonuses and toxicity, as `adapters` has it for derivatives."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from engine.interest import present_value
from engine.lending import Side, bad_debt, leaves_dust, loan_to_value, without_dust
from engine.money import ONE, ZERO, ceil_to, floor_to
from engine.seizure import (
    HealthBonus,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
    in_proportion,
    linear_impact,
    pool_impact,
    protocol_fee,
    repay_for,
    safe_at_threshold,
    seize,
    toxic_above,
    toxic_above_decaying,
)
from tests.cases.accounts import Inputs, complement, number
from tests.cases.lending import LEAST_LEFT, morpho_pool, silo_repay, target_health
from tests.cases.units import (
    BPS,
    RAY,
    USD8,
    WAD,
    of,
    step_of,
    unit_of,
    unit_of_decimals,
    whole,
)

Results = dict[str, Any]


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
    return _drift_seized(inputs)


def _drift_seized(inputs: Inputs) -> Results:
    """Give what Drift takes for a liability: prices at the liquidator's multipliers, no bonus
    besides, and no rest that is worth less than a dollar."""
    unit, liability = unit_of_decimals(inputs, "asset"), of(inputs, "liability_transferred")
    price, paid = (of(inputs, f"{name}_price") for name in ("asset", "liability"))
    paid *= of(inputs, "asset_liq_multiplier")
    held = Side(of(inputs, "asset_balance"), price, unit)
    at = held._replace(price=price * of(inputs, "liability_liq_multiplier"))
    found = seize(liability, ZERO, at, Side(liability, paid, unit))
    return {"asset_seized": without_dust(found.seized, held, ONE)}


def _aave_seized(inputs: Inputs) -> Results:
    units = {name: unit_of(inputs, f"{name}_unit") for name in ("collateral", "debt")}
    prices = {name: of(inputs, f"{name}_price", USD8) for name in units}
    held = of(inputs, "collateral_balance") * units["collateral"]
    repay = of(inputs, "debt_to_cover") * units["debt"]
    bonus = -complement(of(inputs, "liquidation_bonus_bps", BPS))
    found = seize(
        repay,
        bonus,
        Side(held, prices["collateral"], units["collateral"]),
        Side(repay, prices["debt"], units["debt"]),
        rounded_in="collateral",
        quoted="down",
    )
    share, unit = of(inputs, "protocol_fee_bps", BPS), units["collateral"]
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
    unit, taken_unit = unit_of(inputs, "debt_unit"), unit_of(inputs, "collateral_unit")
    bonus = -complement(of(inputs, "bonus_bps", BPS))
    drawn = _Drawn(
        of(inputs, "drawn_shares") * unit,
        of(inputs, "premium_debt_ray", RAY) * unit,
        of(inputs, "drawn_index_ray", RAY),
        unit,
    )
    debt = Side(drawn.amount, of(inputs, "debt_price", USD8), step_of(RAY) * unit)
    wanted = target_health(inputs, debt.unit)
    part = drawn if wanted is None else drawn.part(wanted)
    part = drawn.covered(part, of(inputs, "debt_to_cover") * unit)
    if without_dust(part.amount, debt, LEAST_LEFT) == debt.amount:
        part = drawn
    supplied = of(inputs, "supplied_shares") * taken_unit
    share_price = of(inputs, "supply_share_price")
    held = present_value(supplied, share_price, taken_unit, "up")
    collateral = Side(held, of(inputs, "collateral_price", USD8), taken_unit)
    found = seize(part.amount, bonus, collateral, debt)
    taken = floor_to(found.seized, taken_unit, share_price)
    left = present_value(supplied - taken, share_price, taken_unit) * collateral.price
    short = leaves_dust((drawn.amount - part.amount) * debt.price, left, LEAST_LEFT)
    if short or found.repaid < part.amount:
        part, taken = drawn.part(repay_for(held, bonus, collateral, debt)), supplied
    share = of(inputs, "liquidation_fee_bps", BPS)
    fee = protocol_fee(taken, bonus, share, taken_unit, "down")
    return {
        "collateral_shares": taken / taken_unit,
        "collateral_shares_to_liquidator": (taken - fee) / taken_unit,
        "drawn_shares": part.shares / unit,
        "premium_debt_ray": whole(part.premium / unit, RAY),
    }


def _morpho_seized(inputs: Inputs) -> Results:
    """Give what Morpho Blue seizes for shares, or is repaid for collateral; bad debt where nothing
    is left of it."""
    pool, held = morpho_pool(inputs), of(inputs, "collateral")
    bonus = bonus_by_threshold(ThresholdBonus(), of(inputs, "lltv_wad", WAD))
    collateral = Side(held, of(inputs, "price_1e36", 36), ONE)
    debt = Side(ZERO, ONE, ONE)
    seized, shares = of(inputs, "seized_in"), of(inputs, "repaid_shares_in")
    if seized:
        repay = repay_for(seized, bonus, collateral, debt, quoted="up")
        shares = pool.to_shares(repay, ONE, "up")
    else:
        repay = pool.to_assets(shares, ONE, "down")
        seized = seize(repay, bonus, collateral, debt, rounded_in="debt").seized
    repaid = pool.to_assets(shares, ONE, "up")
    owed = of(inputs, "borrow_shares") - shares
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
    repay = silo_repay(inputs)
    return {"repay_value": repay, "collateral_value": _silo_seized(inputs, repay)}


def _silo_seized(inputs: Inputs, repay: Decimal) -> Decimal:
    """Return the value that is seized for a value; less than a whole is Silo's to round down."""
    bonus = of(inputs, "liquidation_fee_wad", WAD)
    held = Side(of(inputs, "collateral_value"), ONE, ONE)
    return seize(repay, bonus, held, Side(repay, ONE, ONE)).seized


def _silo_preview(inputs: Inputs) -> Results:
    worth, held = of(inputs, "collateral_value"), of(inputs, "collateral_assets")
    debt, owed = of(inputs, "debt_value"), of(inputs, "debt_assets")
    allowed = silo_repay(inputs)
    if allowed == debt and debt < worth:
        repay, value = owed, debt
    else:
        most = in_proportion(allowed, debt, owed, ONE)
        repay = min(of(inputs, "max_debt_to_cover"), most)
        value = in_proportion(repay, owed, debt, ONE)
    seized = _silo_seized(inputs, value)
    left = loan_to_value(debt - value, worth - seized) or ZERO
    return {
        "collateral_assets": in_proportion(seized, worth, held, ONE),
        "debt_assets": repay,
        "ltv_after_wad": whole(left, WAD),
    }


def liquidation_bonus(inputs: Inputs) -> Results:
    """Give a bonus by threshold or by health."""
    if "lltv_wad" in inputs:
        found = bonus_by_threshold(ThresholdBonus(), of(inputs, "lltv_wad", WAD))
        return {"lif_wad": whole(ONE + found, WAD)}
    rule = HealthBonus(
        -complement(of(inputs, "max_bonus_bps", BPS)),
        of(inputs, "bonus_factor_bps", BPS),
        of(inputs, "hf_for_max_bonus_wad", WAD),
        step_of(BPS),
    )
    found = bonus_by_health(rule, of(inputs, "hf_wad", WAD))
    return {"bonus_bps": whole(ONE + found, BPS)}


def toxicity(inputs: Inputs) -> Results:
    """Give the loan-to-value above which liquidations lower health."""
    results: Results = {}
    if "amm_debt_reserve" in inputs:
        impact = pool_impact(of(inputs, "collateral_value"), of(inputs, "amm_debt_reserve"))
    elif "liquidity" in inputs:
        values = (of(inputs, name) for name in ("collateral_value", "sigma", "liquidity"))
        impact = linear_impact(*values, number(inputs.get("gamma", 0)))
    else:
        impact = number(inputs.get("lambda", 1))
    results["lambda"] = impact
    if "max_bonus" in inputs:
        threshold = of(inputs, "lltv")
        found = toxic_above_decaying(of(inputs, "max_bonus"), threshold, impact)
        results["safe_at_boundary"] = safe_at_threshold(threshold, impact=impact)
    else:
        found = toxic_above(of(inputs, "bonus"), impact)
    return {**results, "ltv_toxic_above": found}


SEIZURES: dict[str, Callable[[Inputs], Results]] = {
    "collateral_seized": collateral_seized,
    "liquidation_bonus": liquidation_bonus,
    "toxicity": toxicity,
}
"""The adapter of each kind of case about seizures that the engine has rules for."""
