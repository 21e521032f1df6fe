"""How much of a position or a loan is closed, as `adapters` has it for margin."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.lending import Side
from engine.liquidation_profile import Portion, SizeRamp
from engine.money import ONE, ZERO, floor_to
from engine.perp_reduction import Perpetual, ReductionRule, reduce_perpetual
from engine.profile import Collateral, Profit
from engine.seizure import repay_for
from engine.sizing import allowed
from engine.sizing_formulas import (
    Closed,
    Leg,
    exchange_to_zero,
    left_of_limit,
    liability_to_cover,
    portion_bounds,
    room_in_window,
    size_to_cover,
    window_limit,
)
from engine.weighted_balance import Worth
from tests.cases.accounts import (
    USD,
    Inputs,
    NotExpressible,
    Position,
    account,
    complement,
    flat,
    number,
)
from tests.cases.described import PPM, SYMBOL, Results, worth_of
from tests.cases.units import of, unit_of_decimals

PCT_STEP = Decimal("0.0001")
"""What Drift keeps the part that may be liquidated to, rounded down."""

Adapter = Callable[[Inputs], Results]


def partial_size(inputs: Inputs) -> Results:
    """Give how much is closed, by the rule whose inputs are given."""
    for name, rule in BY_INPUT.items():
        if name in inputs:
            return rule(inputs)
    raise NotExpressible(f"none of {', '.join(BY_INPUT)} among the inputs")


# --- Drift


def _drift_cover(inputs: Inputs) -> Results:
    names = ("margin_shortage", "margin_ratio", "liquidator_fee", "insurance_fee")
    prices = (of(inputs, name) for name in ("mark_price", "quote_price", "size_step"))
    return {"base_to_liquidate": size_to_cover(*(of(inputs, name) for name in names), *prices)}


def _drift_spot_cover(inputs: Inputs) -> Results:
    found = liability_to_cover(
        of(inputs, "margin_shortage"),
        *spot_legs(inputs, "{}_liq_multiplier"),
        of(inputs, "liability_price"),
        of(inputs, "insurance_fee"),
        unit_of_decimals(inputs, "liability"),
    )
    return {"liability_to_transfer": found}


def spot_legs(inputs: Inputs, multiplier: str) -> tuple[Leg, Leg]:
    """Return the collateral and the liability of an exchange, multipliers by their names."""
    asset, liability = (
        Leg(of(inputs, f"{side}_weight"), of(inputs, multiplier.format(side)))
        for side in ("asset", "liability")
    )
    return asset, liability


def _drift_implied(inputs: Inputs) -> Results:
    """Give the liability that is repaid for collateral: prices at the liquidator's multipliers."""
    amount, unit = of(inputs, "asset_amount"), unit_of_decimals(inputs, "asset")
    price = of(inputs, "asset_price") * of(inputs, "liability_liq_multiplier")
    paid = of(inputs, "liability_price") * of(inputs, "asset_liq_multiplier")
    debt = Side(ZERO, paid, unit_of_decimals(inputs, "liability"))
    return {"liability": repay_for(amount, ZERO, Side(amount, price, unit), debt)}


def _drift_ramp(inputs: Inputs) -> Results:
    """Give the part of a shortage that may be restored by now, slots as times."""
    initial, below = number(inputs["initial_pct"]), number(inputs.get("full_below", 0))
    ramp = SizeRamp(initial, int(number(inputs["duration_slots"])), below)
    short = number(inputs["margin_shortage"])
    freed = number(inputs.get("margin_freed", 0))
    goal = allowed(ramp, short, freed, int(number(inputs["elapsed_slots"])))
    if goal is None:
        return {"max_pct": ZERO}
    restored = short * goal.divisor - goal.numerator
    return {"max_pct": floor_to(restored, PCT_STEP, short * goal.divisor) if short else ONE}


# --- dYdX and Synthetix


def _dydx_portion(inputs: Inputs) -> Results:
    rule = Portion(number(inputs["max_portion"]), number(inputs["min_notional"]))
    size = number(inputs["position_size"])
    found = portion_bounds(rule, worth_of(size, number(inputs["mark_price"])), PPM)
    return {
        "min_notional_liquidatable": found.least,
        "max_notional_liquidatable": found.most,
    }


def _dydx_block(inputs: Inputs) -> Results:
    limits = {
        "notional": ("max_notional_liquidated_per_block", "already_liquidated_notional"),
        "insurance": ("max_insurance_lost_per_block", "already_lost_insurance"),
    }
    try:
        return {
            f"remaining_{what}": left_of_limit(*(number(inputs[name]) for name in names))
            for what, names in limits.items()
        }
    except ValueError:
        return {"rejected": True}


def _synthetix_window(inputs: Inputs) -> Results:
    """Give what is left of a position after calls at some seconds, each taking what there is room
    for."""
    names = ("maker_fee", "taker_fee", "skew_scale", "multiplier")
    window, left = int(number(inputs["window_seconds"])), number(inputs["position"])
    limit = window_limit(*(number(inputs[name]) for name in names), window)
    closed: list[Closed] = []
    after = []
    for call in inputs["calls_at_seconds"]:
        now = int(number(call))
        closed.append(Closed(now, min(left, room_in_window(limit, closed, window, now))))
        left -= closed[-1].size
        after.append(left)
    return {"window_capacity": limit, "position_after": after}


# --- Mango


def _mango_perp(inputs: Inputs) -> Results:
    lots, quote, spot = (number(inputs[f"liqee_{name}"]) for name in ("base", "quote", "spot"))
    most = number(inputs["max_base_transfer"])
    if lots * most < 0:
        return {"rejected": True}
    owned, owed = (number(inputs[f"base_{name}_weight"]) for name in ("asset", "liab"))
    if complement(owned) != -complement(owed):
        raise NotExpressible("a requirement that differs for longs and shorts")
    lot_value = worth_of(number(inputs["lot_size"]), number(inputs["oracle_price"]))
    weight = number(inputs["perp_overall_asset_weight"])
    leg = Position(SYMBOL, lots, lot_value, flat(None, complement(owned)), cost=-quote)
    state = account(
        {USD: spot, "OTHER": number(inputs["other_health"])},
        [leg],
        prices={"OTHER": ONE},
        profit=Profit(weight=weight, after_requirement=True),
    ).health
    fee = number(inputs.get("positive_pnl_liq_fee", 0))
    found = reduce_perpetual(
        Perpetual(lots, lot_value, quote),
        state.margin_equity - state.maintenance,
        state.counted[USD],
        ReductionRule(owned, owed, weight, Worth(ONE, ONE), settling_fee=fee),
        abs(most),
        number(inputs["max_pnl_transfer"]),
    )
    return {
        "liqee_spot": spot + found.cash,
        "liqee_base": lots - found.lots.copy_sign(lots),
        "liqee_quote": quote + found.quote,
        "rejected": False,
    }


def _mango_token(inputs: Inputs) -> Results:
    """Give what is left of collateral and debt after an exchange, both at a price of one."""
    if inputs["prices"] != "all 1" or number(inputs["liquidation_fees"]):
        raise NotExpressible("prices other than one, or fees")
    owned, owed = number(inputs["asset_token"]), number(inputs["liab_token"])
    weights = [number(inputs["asset_weight"]), number(inputs["liab_weight"])]
    pair = {"ASSET": weights[0], "LIAB": 2 * ONE - weights[1]}
    collateral = {
        name: Collateral(haircut=complement(weight), borrow_weight=2 * ONE - weight)
        for name, weight in pair.items()
    }
    results = {"ASSET": "asset_perp_pnl", "LIAB": "liab_perp_pnl"}
    cash = {"ASSET": owned, "LIAB": owed, "OTHER": number(inputs["other_health"])}
    state = account(
        cash,
        [
            Position(f"{SYMBOL}-{name}", ONE, ZERO, flat(), cost=-number(inputs[key]), settle=name)
            for name, key in results.items()
        ],
        prices=dict.fromkeys(cash, ONE),
        collateral={USD: Collateral(), "OTHER": Collateral(), **collateral},
        profit=Profit(weight=number(inputs["perp_overall_weight"])),
    ).health
    found = exchange_to_zero(
        state.margin_equity,
        Leg(weights[0], ONE),
        Leg(weights[1], ONE),
        ONE,
        ONE,
        min(owned, state.counted["ASSET"]),
        min(-owed, -state.counted["LIAB"], number(inputs["max_liab_transfer"])),
    )
    if found is None:
        return {"rejected": True}
    return {
        "asset_token": owned - found.taken,
        "liab_token": owed + found.repaid,
        "rejected": False,
    }


BY_INPUT: dict[str, Adapter] = {
    "margin_ratio": _drift_cover,
    "asset_amount": _drift_implied,
    "initial_pct": _drift_ramp,
    "max_portion": _dydx_portion,
    "max_notional_liquidated_per_block": _dydx_block,
    "skew_scale": _synthetix_window,
    "base_asset_weight": _mango_perp,
    "asset_token": _mango_token,
    "liability_weight": _drift_spot_cover,
}
"""Which rule a case of partial liquidation is of, by an input that only it has."""

SIZES: dict[str, Adapter] = {"partial_size": partial_size}
"""The adapter of each kind of case about how much is closed."""
