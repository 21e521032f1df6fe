"""Decisions in the words of a scenario: short, complete, and the same for engine and twin."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine import decisions as d
from engine.money import plain

Words = Callable[[Any], str]


def who(decision: d.GroupDecision) -> str:
    """Name a margin group: the account, and the symbol of an isolated leg."""
    return decision.account + decision.margin.removeprefix("cross").replace("isolated:", "/")


def number(value: Decimal | None) -> str:
    """Write an amount, or that there is none."""
    return "none" if value is None else plain(value)


def attempt(order_id: str) -> str:
    """Shorten an order id to #liquidation.attempt; auctions too have one."""
    parts = order_id.split(":")
    return f"#{parts[1]}.{parts[2]}" if len(parts) > 2 else order_id


def _started(one: d.LiquidationStarted) -> str:
    waits = f", waits: {one.waits}" if one.waits else ""
    return f"{who(one)} {one.reason}{waits}"


def _order(one: d.LiquidationOrder) -> str:
    more = ", at any price" if one.stage == "backstop" else ""
    more += ", toxic" if one.toxic else ""
    more += f", replaces {attempt(one.replaces)}" if one.replaces else ""
    size, limit = number(one.size), number(one.limit_price)
    return f"{who(one)} {attempt(one.order_id)} {one.side} {size} {one.symbol} at {limit}{more}"


def _take_over(one: d.TakeOver) -> str:
    what = f"{one.side} {number(one.size)} {one.symbol} at {number(one.price)}"
    more = f", replaces {attempt(one.replaces)}" if one.replaces else ""
    return f"{who(one)} {attempt(one.order_id)} {what} to {one.taker} ({one.layer}){more}"


def _deleverage(one: d.Deleverage) -> str:
    what = f"{one.side} {number(one.size)} {one.symbol} at {number(one.price)}"
    whom = f"{one.rank}. {one.counterparty}, who forgoes {number(one.forgone)}"
    more = f", replaces {attempt(one.replaces)}" if one.replaces else ""
    return f"{who(one)} {attempt(one.order_id)} {what} against {whom}{more}"


def _sale(one: d.CollateralSale) -> str:
    what = f"{number(one.amount)} {one.asset} for {one.for_asset} at {number(one.limit_price)}"
    more = f", replaces {attempt(one.replaces)}" if one.replaces else ""
    return f"{who(one)} {attempt(one.order_id)} {what}{more}"


def _seizure(one: d.CollateralLiquidation) -> str:
    what = f"{number(one.repay)} {one.pool} for {number(one.seize)} {one.collateral}"
    more = ", toxic" if one.toxic else ""
    more += f", paid in {one.paid_in}" if one.paid_in != "cash" else ""
    more += f", replaces {attempt(one.replaces)}" if one.replaces else ""
    return f"{who(one)} {attempt(one.order_id)} {what}{more}"


def _fee(one: d.FeeCharged) -> str:
    parts = [f"{number(one.venue)} to the venue"] if one.venue else []
    parts += [f"{number(one.liquidator)} to the liquidator"] if one.liquidator else []
    shared = f" ({', '.join(parts)})" if parts else ""
    return f"{who(one)} {number(one.amount)} {one.asset}{shared}"


def _of_market(one: Any) -> str:
    return f"{number(one.amount)} {one.asset} of {one.market}"


def _fund(one: d.FundDraw | d.PositionPaid) -> str:
    fund = f" from {one.fund}" if one.fund else ""
    return f"{_of_market(one)}{fund} (has {number(one.capacity)})"


def _socialised(one: d.LossSocialised) -> str:
    return f"{_of_market(one)} (can bear {number(one.capacity)})"


def _shared(one: d.LossShared) -> str:
    excess = f", {number(one.excess)} too much to the fund" if one.excess else ""
    return f"{_of_market(one)} by {one.by} (can bear {number(one.capacity)}){excess}"


def _gate(one: d.WithdrawalGate) -> str:
    gate = "closed" if one.closed else "open"
    return f"{one.asset} {gate}: {number(one.outstanding)} unpaid, {number(one.fund)} in funds"


def _factor(one: d.RequirementChanged) -> str:
    change = f"{number(one.before)} to {number(one.after)}"
    return f"{one.symbol} {one.requirement} {change}, {one.pushed_under} pushed under"


def _put_right(one: d.SnapshotDifference) -> str:
    return f"{one.account} {len(one.changes)} differences"


WORDS: dict[type[d.Decision], tuple[str, Words]] = {
    d.MarginCall: ("call", who),
    d.LiquidationStarted: ("start", _started),
    d.RequirementChanged: ("factor", _factor),
    d.CancelOpenOrders: ("cancel own orders", who),
    d.LiquidationOrder: ("order", _order),
    d.TakeOver: ("take over", _take_over),
    d.Deleverage: ("deleverage", _deleverage),
    d.CancelOrder: ("cancel", lambda one: f"{who(one)} {attempt(one.order_id)} {one.reason}"),
    d.CollateralSale: ("sale", _sale),
    d.CollateralLiquidation: ("seize", _seizure),
    d.AuctionStarted: (
        "auction",
        lambda one: (
            f"{who(one)} {attempt(one.auction_id)} {number(one.lot)} {one.collateral} "
            f"for {number(one.debt)} {one.pool} from {number(one.start_price)}"
        ),
    ),
    d.AuctionReset: (
        "reset",
        lambda one: f"{who(one)} {attempt(one.auction_id)} to {number(one.start_price)}",
    ),
    d.AuctionEnded: (
        "auction over",
        lambda one: (
            f"{who(one)} {attempt(one.auction_id)} {one.reason.replace('_', ' ')}, "
            f"{number(one.returned)} back, {number(one.uncovered)} uncovered"
        ),
    ),
    d.SetOff: ("set off", lambda one: f"{who(one)} {number(one.amount)} {one.pool}"),
    d.SupplyDrawn: ("draw", lambda one: f"{who(one)} {number(one.amount)} {one.pool}"),
    d.LiquidationEnded: ("end", lambda one: f"{who(one)} {one.reason}"),
    d.FeeCharged: ("fee", _fee),
    d.Shortfall: ("shortfall", lambda one: f"{who(one)} {_of_market(one)}"),
    d.FundDraw: ("fund pays", _fund),
    d.PositionPaid: (
        "fund pays",
        lambda one: f"{who(one)} {attempt(one.order_id)} {_fund(one)}",
    ),
    d.ReserveDraw: (
        "reserve pays",
        lambda one: f"{_of_market(one)} (has {number(one.capacity)})",
    ),
    d.LossSocialised: ("lenders bear", _socialised),
    d.LossShared: ("shared", _shared),
    d.LossCharged: ("charge", lambda one: f"{who(one)} {_of_market(one)}"),
    d.WithdrawalGate: ("gate", _gate),
    d.PriceHeld: (
        "held",
        lambda one: (
            f"{one.symbol} {one.kind} {number(one.price)} after {number(one.last)}"
            + (", believed" if one.believed else "")
        ),
    ),
    d.BreakerTripped: (
        "breaker",
        lambda one: f"{one.symbol}: {number(one.flow)} of {number(one.open_interest)} in a minute",
    ),
    d.BadDebtRecovered: ("recovered", lambda one: f"{who(one)} {_of_market(one)}"),
    d.WithdrawalUnpaid: (
        "unpaid",
        lambda one: f"{who(one)} {number(one.amount)} {one.pool} (has {number(one.cash)})",
    ),
    d.BadDebt: ("bad debt", lambda one: f"{who(one)} {_of_market(one)}, cause {one.cause}"),
    d.SnapshotDifference: ("put right", _put_right),
    d.Refused: ("refused", lambda one: f"{one.event}: {one.rule}"),
    d.Duplicate: ("duplicate", lambda one: one.record),
    d.Ignored: ("ignored", lambda one: f"{one.symbol} {one.kind} of {one.source}"),
    d.Gap: ("gap", lambda one: one.record),
    d.Anomaly: (
        "anomaly",
        lambda one: f"{who(one)} {one.kind}" + (f" {attempt(one.order_id)}" * bool(one.order_id)),
    ),
}


def said(decision: d.Decision) -> str:
    """Say a decision in a few words."""
    name, words = WORDS[type(decision)]
    return f"{name} {words(decision)}"
