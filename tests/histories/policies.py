"""The policies of a profile by name, so that a series of histories can be seen to draw each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.instruments import Future, Option, Perpetual
from engine.profile import Requirement, RiskProfile, Volatility


def policies(
    profile: RiskProfile, contracts: Mapping[str, Perpetual | Future | Option]
) -> Iterator[str]:
    """Yield what is not at its plainest in a profile, and the kinds of instrument."""
    trigger, entry, profit = profile.trigger, profile.entry, profile.profit
    found = {
        "options": any(isinstance(each, Option) for each in contracts.values()),
        "portfolios": bool(profile.portfolios),
        "requirements by underlying": any(
            each.underlying in profile.requirements for each in contracts.values()
        ),
        'requirements under "*"': "*" in profile.requirements,
        "trigger at_equality": trigger.at_equality,
        "trigger taker_fee": trigger.taker_fee,
        "trigger liquidation_fee": trigger.liquidation_fee,
        "trigger fixed_cost": trigger.fixed_cost != 0,
        "stop_at initial": trigger.stop_at == "initial",
        "stop_notional_buffer": trigger.stop_notional_buffer != 0,
        "open_orders worst_case": entry.open_orders == "worst_case",
        "average_window": entry.average_window is not None,
        "cancel_orders": profile.cancel_orders is not None,
        "fillable": profile.liquidation.fillable is not None,
        "profit weight": profit.weight != 1,
        "profit initial_weight": profit.initial_weight is not None,
        "profit initial_size_factor": profit.initial_size_factor != 0,
        "profit initial_cap": profit.initial_cap is not None,
        "profit after_requirement": profit.after_requirement,
    }
    yield from (name for name, drawn in found.items() if drawn)
    if profile.volatility is not None:
        yield from _of_volatility(profile.volatility)
    for requirement in profile.requirements.values():
        yield from _of_requirement(requirement)
    for rule in profile.collateral.values():
        found = {
            "initial weights": rule.initial_haircut is not None,
            "size_factor": rule.size_factor != 0,
            "deposits_from": rule.deposits_from is not None,
            "borrows_from": rule.borrows_from is not None,
        }
        yield from (name for name, drawn in found.items() if drawn)


def _of_volatility(rule: Volatility) -> Iterator[str]:
    yield "volatility"
    if rule.maintenance_ramp is not None:
        yield "volatility maintenance_ramp"


def _of_requirement(rule: Requirement) -> Iterator[str]:
    found = {
        "brackets marginal": rule.marginal and len(rule.brackets) > 1,
        "brackets whole position": not rule.marginal and len(rule.brackets) > 1,
        "brackets by size": rule.measure == "size" and len(rule.brackets) > 1,
        "max_leverage": rule.brackets[0].max_leverage is not None,
        "maintenance_share": rule.maintenance_share is not None,
        "slope": rule.slope != 0,
        "slope_per": rule.slope_per != 1,
        "root_factor": rule.root_factor != 0,
        "fixed": rule.fixed != 0,
        "step": rule.step is not None,
        "open_interest": rule.open_interest is not None,
    }
    yield from (name for name, drawn in found.items() if drawn)
