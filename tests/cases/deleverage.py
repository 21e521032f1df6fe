"""Who is deleveraged, when and how far, as `adapters` has it for margin."""

from __future__ import annotations

from collections.abc import Callable

from engine.deleveraging_formulas import fraction_taken, overshoot, profit_on_cash
from engine.drawdown import begins
from engine.money import RATE_STEP, ZERO, floor_to
from engine.waterfall import allocate
from engine.waterfall_profile import Drawdown
from tests.cases.accounts import USD, Inputs, number
from tests.cases.described import Results, described


def adl_rank(inputs: Inputs) -> Results:
    """Give the scores of candidates, and whose positions are closed until a deficit is covered."""
    scores, profits = {}, {}
    for one in inputs["candidates"]:
        made = described(Inputs({**one, "mark": inputs["mark"]}))
        (leg,) = made.health.legs
        name = str(one["id"])
        profits[name] = max(leg.value - leg.cost, ZERO)
        cash, unit = made.holdings.cash[USD], made.rules.assets[USD].unit
        scores[name] = profit_on_cash(profits[name], cash, unit)
    ranked = sorted(scores, key=lambda name: (-scores[name], int(name)))
    payments, _ = allocate(
        number(inputs["deficit"]), {("adl", one): profits[one] for one in ranked}
    )
    closed = [int(payment.layer[1]) for payment in payments if payment.amount]
    return {"closed": closed, "scores": {f"a{name}": score for name, score in scores.items()}}


def adl_trigger(inputs: Inputs) -> Results:
    """Tell whether a symbol's loss has a fund deleverage, and how much of it is beyond the fund's
    share."""
    peak = number(inputs["max_balance_8h"])
    left = peak - number(inputs["symbol_loss"])
    rule = Drawdown(start=-number(inputs["insurance_pnl_ratio"]))
    held = number(inputs["pool_balance"]) > number(inputs["adl_trigger_threshold"])
    began = held and begins(rule, peak, left)
    return {
        "pnl_ratio": floor_to(left - peak, RATE_STEP, peak),
        "adl_triggered": began,
        "users_subsidise": peak - left - rule.start * peak if began else ZERO,
    }


def prorata_fraction(inputs: Inputs) -> Results:
    """Give the part that each gives where all give the same part."""
    needed, capacity = number(inputs["budget_usd"]), number(inputs["total_capacity_usd"])
    return {"fraction": fraction_taken(needed, capacity)}


def adl_overshoot(inputs: Inputs) -> Results:
    """Give what waves of deleveraging took too much."""
    needed, taken = ([*map(number, inputs[f"{name}_usd"])] for name in ("needed", "taken"))
    return {"overshoot_total_usd": overshoot(needed, taken)}


DELEVERAGING: dict[str, Callable[[Inputs], Results]] = {
    "adl_rank": adl_rank,
    "adl_trigger": adl_trigger,
    "adl_prorata_fraction": prorata_fraction,
    "adl_overshoot": adl_overshoot,
}
"""The adapter of each kind of case about deleveraging."""
