"""The course of a liquidation, told in few words: what was decided, what happened, who lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from engine import decisions as d
from engine import events as e
from producers.report import full, moment, table

Course = Sequence[tuple[int, e.Event | d.Decision]]
"""Events and decisions with their engine times."""


def as_data(value: e.Event | d.Decision) -> dict[str, Any]:
    """Return an event or decision as plain data; amounts are decimals."""
    made: dict[str, Any] = msgspec.to_builtins(value, builtin_types=(Decimal,))
    return made


def course_data(course: Course) -> list[dict[str, Any]]:
    """Return what happened as plain data, each with its engine time."""
    return [{**as_data(happened), "time": time} for time, happened in course]


def beginning(started: d.LiquidationStarted, numeraire: str = "") -> str:
    """Say when and why a liquidation began; amounts in the numeraire, if it is known."""
    unit = f" {numeraire}" if numeraire else ""
    name = f"Liquidation {started.number} of {started.account} ({started.margin})"
    when = f"{name} began {moment(started.time)} UTC"
    if started.reason == "auto_convert":
        return f"{when}: a balance below the profile's auto_convert_below is to be bought back."
    return (
        f"{when}: margin equity {full(started.margin_equity)}{unit} did not cover maintenance "
        f"{full(started.maintenance)}{unit}; equity was {full(started.equity)}{unit}."
    )


def evidence(started: d.LiquidationStarted) -> Table:
    """Return what a liquidation rests on: legs, loans, balances and marks."""
    made = table("Evidence at its start", ["What", "Detail", "Amount"], left=2)
    for leg in started.legs:
        detail = (
            f"cost {full(leg.cost)}, value {full(leg.value)}, maintenance {full(leg.maintenance)}"
        )
        made.add_row(f"leg {leg.symbol}", detail, full(leg.size))
    for loan in started.loans:
        if loan.supplied:
            detail = f"counts × {full(loan.threshold)}"
            made.add_row(f"supplied to {loan.pool}", detail, full(loan.supplied))
        if loan.owed:
            made.add_row(f"owed to {loan.pool}", f"counts × {full(loan.weight)}", full(loan.owed))
    for held in started.balances:
        detail = f"with unrealised {full(held.net)}, price {full(held.price)}"
        made.add_row(f"cash {held.asset}", detail, full(held.cash))
    for mark in started.marks:
        detail = f"from {mark.source}, {moment(mark.time)}"
        made.add_row(f"{mark.kind} {mark.symbol}", detail, full(mark.price))
    return made


WAITS: dict[d.Waits, str] = {
    "halted": "its market is halted until Resume",
    "gap": "events of its account are missing",
    "capped": "there is no room for its orders, or not for all that go together",
    "promised": "a transfer under way closes one of its positions",
    "cooldown": "a pause after a part is not over",
    "toxic": "what comes next would lower its health",
}
"""Why the next orders of a liquidation do not go out, in words."""


def show_course(out: Console, course: Course, waits: d.Waits) -> None:
    """Print what happened, what was lost in each market and who paid, and what it waits for now."""
    out.print(_course_table(course))
    for line in _losses(course):
        out.print(line)
    if waits:
        out.print(f"It waits ({waits}): {WAITS[waits]}.")


def _course_table(course: Course) -> Table:
    made = table("\nWhat happened", ["Time (UTC)", "What", "Detail"], left=3)
    for time, happened in course:
        made.add_row(moment(time), type(happened).__name__, _told(happened))
    return made


def _told(happened: e.Event | d.Decision) -> str:
    """Say in a few words what happened."""
    match happened:
        case d.LiquidationStarted():
            waits = f", waits: {happened.waits}" if happened.waits else ""
            return f"{happened.reason}{waits}"
        case d.LiquidationOrder():
            toxic = ", toxic" if happened.toxic else ""
            return (
                f"{happened.order_id}: {happened.side} {full(happened.size)} at "
                f"{full(happened.limit_price)}, stage {happened.stage}{toxic}{_replaces(happened)}"
            )
        case d.TakeOver():
            return f"{happened.order_id}: {take_over(happened)}{_replaces(happened)}"
        case d.Deleverage():
            return f"{happened.order_id}: {deleverage(happened)}{_replaces(happened)}"
        case d.CollateralSale():
            return (
                f"{happened.order_id}: sell {full(happened.amount)} {happened.asset} for "
                f"{happened.for_asset} at {full(happened.limit_price)}"
            )
        case d.CollateralLiquidation():
            return f"{happened.order_id}: {seizure(happened)}"
        case d.AuctionStarted():
            return f"{happened.auction_id}: {auction(happened)}"
        case d.AuctionReset():
            return (
                f"{happened.auction_id}: anew at {full(happened.start_price)}, reset "
                f"{happened.resets}"
            )
        case d.AuctionEnded():
            return (
                f"{happened.auction_id}: {happened.reason}, {full(happened.returned)} returned, "
                f"{full(happened.uncovered)} uncovered"
            )
        case d.SupplyDrawn():
            return f"{full(happened.amount)} of the supply to {happened.pool}, to be sold"
        case d.SetOff():
            return f"{full(happened.amount)} of the account's cash for {happened.pool}"
        case d.CancelOrder():
            return f"{happened.order_id}: {happened.reason}"
        case d.Anomaly():
            return f"{happened.order_id}: {happened.kind}: {happened.detail}".lstrip(": ")
        case d.FeeCharged():
            return f"{_fee(happened)}, {happened.order_id}"
        case d.LiquidationEnded():
            return happened.reason
    return _lost(happened)


def _lost(happened: e.Event | d.Decision) -> str:
    """Say in a few words what was lost, and who paid for it, or what the venue answered."""
    match happened:
        case d.FundDraw() | d.ReserveDraw() | d.LossSocialised() | d.LossShared():
            return (
                f"{full(happened.amount)} {happened.asset} for {happened.market}, of "
                f"{full(happened.capacity)} there{_payer(happened)}"
            )
        case d.PositionPaid():
            return (
                f"{happened.order_id}: {full(happened.amount)} {happened.asset} to the account of "
                f"the fund, of {full(happened.capacity)} there{_payer(happened)}"
            )
        case d.LossCharged():
            return (
                f"{full(happened.amount)} {happened.asset} of {happened.account} {happened.margin}"
            )
        case d.Shortfall() | d.BadDebt():
            return f"{full(happened.amount)} {happened.asset}, {happened.market}"
    return _answered(happened)


def _replaces(order: d.LiquidationOrder | d.TakeOver | d.Deleverage) -> str:
    return f", replaces {order.replaces}" if order.replaces else ""


TAKERS = {
    "netting": "the account's own group",
    "fund": "the insurance fund",
    "backstop": "the backstop",
}
"""Who takes a position without the market, in words."""


def take_over(order: d.TakeOver) -> str:
    """Say who takes how much at which price."""
    who = f"{TAKERS[order.layer]} ({order.taker} {order.taker_margin})"
    return (
        f"{order.side} {full(order.size)} at {full(order.price)} to {who}, which could take "
        f"{full(order.capacity)}"
    )


def deleverage(order: d.Deleverage) -> str:
    """Say against whom how much is closed, at which price, and what that takes from them."""
    return (
        f"{order.side} {full(order.size)} at {full(order.price)} against {order.counterparty} "
        f"{order.counterparty_margin}, rank {order.rank} by {full(order.score)}, who forgoes "
        f"{full(order.forgone)}"
    )


def _fee(charged: d.FeeCharged) -> str:
    """Say who gets which part of a liquidation fee."""
    fund = charged.amount - charged.venue - charged.liquidator
    parts = {"fund": fund, "venue": charged.venue, "liquidator": charged.liquidator}
    if fund == charged.amount:
        return f"{full(fund)} {charged.asset} to the fund"
    shares = ", ".join(f"{full(part)} to the {who}" for who, part in parts.items() if part)
    return f"{full(charged.amount)} {charged.asset}: {shares}"


def _payer(
    paid: d.FundDraw | d.PositionPaid | d.ReserveDraw | d.LossSocialised | d.LossShared,
) -> str:
    if isinstance(paid, d.FundDraw | d.PositionPaid):
        return f', fund "{paid.fund}"' if paid.fund else ""
    if not isinstance(paid, d.LossShared):
        return ""
    excess = f", {full(paid.excess)} too much by rounding, to the fund" if paid.excess else ""
    return f", by {paid.by.replace('_', ' ')}{excess}"


def _answered(happened: e.Event | d.Decision) -> str:
    match happened:
        case e.Fill():
            return (
                f"{happened.order_id}: {full(happened.size)} at {full(happened.price)}, fee "
                f"{full(happened.fee)} {happened.fee_asset}"
            )
        case e.OrderClosed():
            reason = f", {happened.reason}" if happened.reason else ""
            return f"{happened.order_id}: {full(happened.filled_size)} filled{reason}"
        case e.CollateralSold():
            return (
                f"{happened.order_id}: {full(happened.amount)} {happened.asset} for "
                f"{full(happened.proceeds)} {happened.for_asset}"
            )
        case e.Seized():
            return (
                f"{happened.order_id}: {full(happened.repaid)} repaid to {happened.pool} for "
                f"{full(happened.seized)} of {happened.collateral}, fee {full(happened.fee)}"
            )
        case e.AuctionTaken():
            return (
                f"{happened.auction_id}: {full(happened.amount)} of the lot for "
                f"{full(happened.paid)}"
            )
    return ""


def seizure(asked: d.CollateralLiquidation) -> str:
    """Say what may be repaid, and what for."""
    toxic = ", toxic" if asked.toxic else ""
    return (
        f"repay {full(asked.repay)} to {asked.pool} for {full(asked.seize)} of "
        f"{asked.collateral}, bonus {full(asked.bonus)}{toxic}"
    )


def auction(begun: d.AuctionStarted) -> str:
    """Say what is on auction, and for how much."""
    toxic = ", toxic" if begun.toxic else ""
    return (
        f"{full(begun.lot)} of {begun.collateral} for {full(begun.debt)} to {begun.pool}, from "
        f"{full(begun.start_price)}{toxic}"
    )


_BORNE = {
    d.FundDraw: "fund",
    d.ReserveDraw: "reserve",
    d.LossSocialised: "lenders",
    d.LossShared: "other accounts",
    d.BadDebt: "bad debt",
}


def _losses(course: Course) -> Iterator[str]:
    """Say what was lost and who paid, in each market and asset."""
    parts: dict[tuple[str, str], dict[type, Decimal]] = {}
    for _, happened in course:
        if isinstance(
            happened,
            d.Shortfall | d.FundDraw | d.ReserveDraw | d.LossSocialised | d.LossShared | d.BadDebt,
        ):
            sums = parts.setdefault((happened.market, happened.asset), {})
            sums[type(happened)] = sums.get(type(happened), Decimal(0)) + happened.amount
    ended = any(isinstance(happened, d.LiquidationEnded) for _, happened in course)
    if not parts:
        yield "No shortfall." if ended else "It goes on; no shortfall so far."
    for (market, asset), sums in parts.items():
        lost = full(sums.get(d.Shortfall, Decimal(0)))
        borne = " + ".join(
            f"{name} {full(sums.get(kind, Decimal(0)))}"
            for kind, name in _BORNE.items()
            if kind in sums or name in ("fund", "bad debt")
        )
        yield f"{market}: shortfall {lost} {asset} = {borne}."
