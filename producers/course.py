"""The course of a liquidation, told in few words: what was decided, what happened, who lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from engine import decisions as d
from engine import events as e
from producers.report import full, moment

Course = Sequence[tuple[int, e.Event | d.Decision]]
"""Events and decisions with their engine times."""


def show_course(out: Console, course: Course) -> None:
    """Print what happened, and what was lost in each market and who paid."""
    out.print(_course_table(course))
    for line in _losses(course):
        out.print(line)


def _course_table(course: Course) -> Table:
    made = Table(title="\nWhat happened", title_justify="left")
    for column in ("Time (UTC)", "What", "Detail"):
        made.add_column(column, overflow="fold")
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
            replaces = f", replaces {happened.replaces}" if happened.replaces else ""
            return (
                f"{happened.order_id}: {happened.side} {full(happened.size)} at "
                f"{full(happened.limit_price)}, stage {happened.stage}{replaces}"
            )
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
            return f"{full(happened.amount)} {happened.asset} to the fund, {happened.order_id}"
        case d.FundDraw() | d.ReserveDraw() | d.LossSocialised():
            return (
                f"{full(happened.amount)} {happened.asset} for {happened.market}, of "
                f"{full(happened.capacity)} there"
            )
        case d.Shortfall() | d.BadDebt():
            return f"{full(happened.amount)} {happened.asset}, {happened.market}"
        case d.LiquidationEnded():
            return happened.reason
    return _answered(happened)


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
    d.BadDebt: "bad debt",
}


def _losses(course: Course) -> Iterator[str]:
    """Say what was lost and who paid, in each market and asset."""
    parts: dict[tuple[str, str], dict[type, Decimal]] = {}
    for _, happened in course:
        if isinstance(
            happened, d.Shortfall | d.FundDraw | d.ReserveDraw | d.LossSocialised | d.BadDebt
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
