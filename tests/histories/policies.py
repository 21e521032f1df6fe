"""The policies of a profile by name, so that a series of histories can be seen to draw each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.instruments import Future, Option, Perpetual
from engine.lending import (
    CloseFactor,
    FullRepayment,
    TargetHealth,
    TargetLoanToValue,
    WholeAccount,
)
from engine.lending_profile import Lending, PoolRule
from engine.liquidation_profile import (
    AtBankruptcy,
    Bounded,
    Everything,
    FallingPrice,
    Fillable,
    LeastReduction,
    LiquidationRule,
    LowerTier,
    Portion,
    PriceRamp,
    WholeLegs,
)
from engine.profile import Requirement, RiskProfile, Volatility
from engine.seizure import FixedBonus, HealthBonus, HealthDiscount, ThresholdBonus
from engine.waterfall_profile import Waterfall

REPAYMENTS = {
    CloseFactor: "close_factor",
    TargetHealth: "target_health",
    TargetLoanToValue: "target_ltv",
    FullRepayment: "full",
    WholeAccount: "whole_account",
}

SIZINGS = {
    WholeLegs: "whole_legs",
    Everything: "everything",
    LeastReduction: "least",
    LowerTier: "lower_tier",
    Portion: "portion",
}

PRICINGS = {
    AtBankruptcy: "bankruptcy",
    Fillable: "fillable",
    Bounded: "bounded",
    PriceRamp: "ramp",
    FallingPrice: "auction",
}

BONUSES = {
    FixedBonus: "fixed",
    HealthBonus: "by_health",
    ThresholdBonus: "by_threshold",
    HealthDiscount: "discount",
}


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
    if profile.lending is not None:
        yield from _of_lending(profile.lending)
    yield from _of_liquidation(profile.liquidation)
    yield from _of_waterfall(profile.waterfall)
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


def _of_lending(rule: Lending) -> Iterator[str]:
    yield "lending"
    yield f"repay {REPAYMENTS[type(rule.repay)]}" if rule.auction is None else "repay by auction"
    yield f"bad debt {rule.bad_debt.recognise}"
    yield from (f"bad debt charged to {layer}" for layer in rule.bad_debt.charge)
    if rule.auction is not None:
        yield f"auction {rule.auction.decay.shape}"
    found = {
        "dust": rule.dust is not None,
        "value_step": rule.value_step is not None,
        "rounded_in": rule.rounded_in is not None,
        "quoted": rule.quoted is not None,
        "categories": bool(rule.categories),
        "in_flight": rule.auction is not None and rule.auction.in_flight is not None,
        "most_resets": rule.auction is not None and rule.auction.most_resets is not None,
    }
    yield from (name for name, drawn in found.items() if drawn)
    yield from {name for pool in rule.pools.values() for name in _of_pool(pool)}


def _of_pool(rule: PoolRule) -> Iterator[str]:
    """Yield how a pool's interest runs, and what a supply to it counts."""
    found = {
        "indices of the venue": rule.accrued_by == "venue",
        f"accrual {rule.accrual.method}": rule.accrued_by == "engine",
        "supply by its own index": rule.supply_accrual is not None,
        "supply by its own curve": rule.supply_rates is not None,
        "utilization of what is supplied": rule.utilization == "supplied",
        "isolation": rule.isolation is not None,
        "caps": rule.supply_cap is not None or rule.borrow_cap is not None,
        "least_debt": rule.least_debt != 0,
    }
    yield from (name for name, drawn in found.items() if drawn)
    if rule.collateral is not None:
        yield f"bonus {BONUSES[type(rule.collateral.bonus)]}"
        if rule.collateral.ramp is not None:
            yield "ramp"
        if rule.collateral.depth is not None:
            yield "depth"


def _of_liquidation(rule: LiquidationRule) -> Iterator[str]:
    yield f"sizing {SIZINGS[type(rule.sizing)]}"
    yield f"price {PRICINGS[type(rule.price)]}"
    yield f"toxic {rule.toxic}"
    found = {
        "sizing by a ramp": isinstance(rule.sizing, LeastReduction)
        and rule.sizing.ramp is not None,
        "cooldown": rule.cooldown is not None,
        "legs by cost": rule.legs == "cost",
        "slippage": any(rule.slippage.values()),
        "netting": rule.netting,
        "fee_adaptive": rule.fee_adaptive is not None,
        "fee_to_venue": rule.fee_to_venue != 0,
        "fee_to_liquidator": rule.fee_to_liquidator != 0,
        "per_event": rule.pace.per_event is not None,
        "per_second": rule.pace.per_second is not None,
        "in_flight of orders": bool(rule.pace.in_flight),
        "unfilled": rule.pace.unfilled is not None,
        "max_jump": rule.fuses.max_jump is not None,
        "fuse on forced flow": rule.fuses.max_share_of_oi_per_minute is not None,
    }
    yield from (name for name, drawn in found.items() if drawn)


def _of_waterfall(rule: Waterfall) -> Iterator[str]:
    yield from (f"taker {taker}" for taker in rule.takers)
    yield f"fund by {rule.fund.by}"
    if rule.adl is not None:
        yield f"ranking {rule.adl.ranking}"
        yield f"adl at {rule.adl.price}"
    if rule.socialised:
        yield f"losses shared by {rule.socialised}"
    found = {
        "backstop below": rule.backstop is not None and rule.backstop.below is not None,
        "drawdown": rule.adl is not None and rule.adl.drawdown is not None,
        "then_venue": rule.fund.then_venue,
        "caps of funds": bool(rule.fund.caps),
        "whole": rule.fund.whole,
        "gate": rule.gate,
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
