"""What a series of histories has to meet, and how often, so that all of it is compared."""

from collections.abc import Iterator, Sequence

from engine.decisions import (
    AuctionEnded,
    BadDebtRecovered,
    CancelOpenOrders,
    Decision,
    Deleverage,
    FeeCharged,
    FundDraw,
    LiquidationOrder,
    LiquidationStarted,
    WithdrawalGate,
)
from tests.histories.policies import PRICINGS, SIZINGS
from tests.histories.waterfall_rules import RANKINGS
from tests.twin import Twin

POLICIES = (
    "options",
    "portfolios",
    "requirements by underlying",
    'requirements under "*"',
    "brackets marginal",
    "brackets whole position",
    "brackets by size",
    "max_leverage",
    "maintenance_share",
    "slope",
    "slope_per",
    "root_factor",
    "fixed",
    "step",
    "open_interest",
    "initial weights",
    "size_factor",
    "deposits_from",
    "borrows_from",
    "profit weight",
    "profit initial_weight",
    "profit initial_size_factor",
    "profit initial_cap",
    "profit after_requirement",
    "trigger at_equality",
    "trigger taker_fee",
    "trigger liquidation_fee",
    "trigger fixed_cost",
    "stop_at initial",
    "stop_notional_buffer",
    "open_orders worst_case",
    "average_window",
    "cancel_orders",
    "fillable",
    "volatility",
    "volatility maintenance_ramp",
)
"""What histories draw, each in a good share of them (tests/histories/policies.py)."""

LENDING_POLICIES = (
    "lending",
    "repay close_factor",
    "repay target_health",
    "repay target_ltv",
    "repay full",
    "repay whole_account",
    "repay by auction",
    "auction linear",
    "auction stair_step",
    "auction exponential",
    "in_flight",
    "most_resets",
    "bad debt no_collateral",
    "bad debt no_value",
    "bad debt insolvent",
    "bad debt charged to fund",
    "bad debt charged to reserve",
    "bad debt charged to lenders",
    "dust",
    "value_step",
    "rounded_in",
    "quoted",
    "categories",
    "indices of the venue",
    "accrual linear",
    "accrual compound",
    "accrual taylor",
    "accrual taylor_nested",
    "supply by its own index",
    "supply by its own curve",
    "utilization of what is supplied",
    "isolation",
    "caps",
    "least_debt",
    "ramp",
    "depth",
    "bonus fixed",
    "bonus by_health",
    "bonus by_threshold",
    "bonus discount",
)
"""What those draw that lend, three of five."""

CONTROL_POLICIES = (
    "sizing everything",
    "sizing least",
    "sizing by a ramp",
    "sizing lower_tier",
    "sizing portion",
    "cooldown",
    "legs by cost",
    "slippage",
    "netting",
    "price bounded",
    "price ramp",
    "price auction",
    "toxic halt",
    "toxic full",
    "toxic take_over",
    "fee_adaptive",
    "fee_to_venue",
    "fee_to_liquidator",
    "per_event",
    "per_second",
    "in_flight of orders",
    "unfilled",
    "max_jump",
    "fuse on forced flow",
    "taker fund",
    "taker backstop",
    "taker adl",
    "backstop below",
    "ranking binance",
    "ranking bitmex",
    "ranking hyperliquid",
    "ranking pro_rata",
    "ranking water_fill",
    "adl at bankruptcy",
    "adl at mark",
    "drawdown",
    "fund by market",
    "fund by group",
    "then_venue",
    "caps of funds",
    "whole",
    "losses shared by open_interest",
    "losses shared by winners",
    "gate",
)
"""What those draw that liquidate under control, or have takers and payers."""

COVERED = {
    "RequirementChanged initial": 500,
    "RequirementChanged maintenance": 300,
    "RequirementChanged pushes under": 50,
    "CancelOpenOrders before a liquidation": 80,
    "LiquidationOrder of an option": 500,
    **{f"histories of {policy}": 80 for policy in POLICIES},
    **{f"histories of {policy}": 25 for policy in LENDING_POLICIES},
    **{f"histories of {policy}": 25 for policy in CONTROL_POLICIES},
    # Only where somebody takes positions, too.
    "histories of toxic take_over": 15,
    "LiquidationStarted of loans": 1000,
    "LiquidationStarted of legs and loans": 500,
    "CollateralLiquidation cash": 800,
    "CollateralLiquidation supply": 20,
    "CollateralLiquidation toxic": 100,
    "AuctionStarted": 100,
    "AuctionReset": 100,
    "AuctionEnded raised": 30,
    "AuctionEnded sold_out": 30,
    "AuctionEnded uncovered": 30,
    "SetOff": 200,
    "SupplyDrawn": 300,
    "ReserveDraw": 15,
    "LossSocialised": 150,
    "BadDebtRecovered": 8,
    "BadDebtRecovered outstanding": 3,
    "WithdrawalUnpaid": 10,
    "Anomaly beyond_cap": 800,
    "Anomaly beyond_opening": 400,
    "Anomaly isolation": 150,
    "Anomaly exceeds_supply": 300,
    "Anomaly exceeds_debt": 20,
    "MarginCall": 200,
    "LiquidationStarted breach": 1000,
    "LiquidationStarted auto_convert": 1000,
    "LiquidationStarted waits halted": 50,
    "LiquidationStarted waits gap": 50,
    "LiquidationEnded healthy": 200,
    "LiquidationEnded flat": 500,
    "LiquidationEnded converted": 500,
    "LiquidationEnded superseded": 20,
    "CancelOpenOrders": 1000,
    "LiquidationOrder limit": 1000,
    "LiquidationOrder backstop": 1000,
    "LiquidationOrder without a bankruptcy price": 20,
    "CancelOrder expired": 1000,
    "CancelOrder healthy": 200,
    "CancelOrder halted": 100,
    "CollateralSale": 1000,
    "FeeCharged": 500,
    "Shortfall": 1000,
    "FundDraw": 500,
    "BadDebt breach": 500,
    "BadDebt negative_balance": 200,
    "SnapshotDifference": 500,
    "Refused": 1000,
    "Duplicate": 500,
    "Ignored": 500,
    "Gap": 500,
    "Anomaly late": 500,
    "Anomaly exceeds_order": 500,
    "Anomaly exceeds_position": 500,
    "Anomaly beyond_limit": 500,
    "Anomaly filled_size": 200,
    "Anomaly unacknowledged": 500,
    "TakeOver netting": 40,
    "TakeOver fund": 80,
    "TakeOver backstop": 200,
    "Deleverage": 90,
    **{f"Deleverage {ranking}": 4 for ranking in RANKINGS},
    "Deleverage at the mark": 30,
    "Deleverage beyond the first": 8,
    **{
        f"LiquidationOrder of a part, {sizing}": 10 for sizing in ("least", "lower_tier", "portion")
    },
    **{f"LiquidationOrder price {kind}": 50 for kind in ("bounded", "ramp", "auction")},
    "LiquidationOrder toxic": 20,
    "FeeCharged to others": 250,
    "FundDraw of a named fund": 20,
    "LossShared open_interest": 30,
    "LossShared winners": 20,
    "LossCharged": 90,
    "WithdrawalGate closed": 100,
    "WithdrawalGate open": 20,
    "PriceHeld": 400,
    "BreakerTripped": 60,
    "Anomaly gated": 90,
    "waits cooldown": 80,
    "waits toxic": 100,
    "waits capped": 90,
    "deleveraging": 200,
}
"""How often each thing happens at least, in a thousand histories."""


def kinds_of(decision: Decision) -> Iterator[str]:
    """Name a decision as the coverage counts it."""
    name = type(decision).__name__
    kind = {
        "LiquidationStarted": "reason",
        "LiquidationEnded": "reason",
        "LiquidationOrder": "stage",
        "CancelOrder": "reason",
        "BadDebt": "cause",
        "Anomaly": "kind",
        "RequirementChanged": "requirement",
        "AuctionEnded": "reason",
        "CollateralLiquidation": "paid_in",
        "TakeOver": "layer",
        "LossShared": "by",
    }.get(name)
    yield f"{name} {getattr(decision, kind)}" if kind else name
    if isinstance(decision, WithdrawalGate):
        yield f"{name} {'closed' if decision.closed else 'open'}"
    if waits := getattr(decision, "waits", ""):
        yield f"{name} waits {waits}"
    if getattr(decision, "bankruptcy_price", "") is None:
        yield f"{name} without a bankruptcy price"
    if getattr(decision, "pushed_under", 0):
        yield f"{name} pushes under"
    if getattr(decision, "toxic", False):
        yield f"{name} toxic"
    if isinstance(decision, LiquidationStarted) and decision.loans:
        yield f"{name} of {'legs and loans' if decision.legs else 'loans'}"
    if isinstance(decision, AuctionEnded) and decision.uncovered:
        yield f"{name} uncovered"
    if isinstance(decision, BadDebtRecovered) and decision.outstanding:
        yield f"{name} outstanding"
    if isinstance(decision, CancelOpenOrders) and decision.number == 0:
        yield f"{name} before a liquidation"
    if isinstance(decision, LiquidationOrder) and decision.symbol.endswith(("-CALL", "-PUT")):
        yield f"{name} of an option"
    if isinstance(decision, FeeCharged) and decision.venue + decision.liquidator:
        yield f"{name} to others"
    if isinstance(decision, FundDraw) and decision.fund:
        yield f"{name} of a named fund"
    if isinstance(decision, Deleverage) and decision.rank > 1:
        yield f"{name} beyond the first"


def circumstances(twin: Twin, decided: Sequence[Decision]) -> Iterator[str]:
    """Name the rules by which decisions came about, and what groups wait for."""
    policy = twin.world.policy
    if policy is None:
        return
    rule, waterfall = policy.source.liquidation, policy.source.waterfall
    for decision in decided:
        if isinstance(decision, Deleverage) and waterfall.adl is not None:
            yield f"Deleverage {waterfall.adl.ranking}"
            if waterfall.adl.price == "mark":
                yield "Deleverage at the mark"
        if isinstance(decision, LiquidationOrder):
            if decision.stage == "limit":
                yield f"LiquidationOrder price {PRICINGS[type(rule.price)]}"
            legs = twin.legs(decision.account, decision.margin)
            if decision.size < abs(legs[decision.symbol][0]):
                yield f"LiquidationOrder of a part, {SIZINGS[type(rule.sizing)]}"
    if decided:
        yield from (
            f"waits {group.liquidation.waits}"
            for group in twin.world.groups()
            if group.liquidation and group.liquidation.waits
        )
    yield from ("deleveraging" for _ in twin.world.deleveraging)
