"""The decisions that somebody on watch wants to see, each in a line."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from engine import decisions as d
from engine.money import plain
from producers.kafka import CLOCK, Cause

SECOND = 1_000_000


def _number(value: Decimal) -> str:
    """Write an exact number with thousands separated."""
    whole, dot, rest = plain(value).partition(".")
    return f"{int(whole):,}{dot}{rest}" if whole != "-0" else whole + dot + rest


def _of(amount: Decimal, unit: str) -> str:
    return f"{_number(amount)} {unit}"


def _ordered(it: d.LiquidationOrder) -> str:
    again = ", again" if it.replaces else ""
    return f"{it.side} {_of(it.size, it.symbol)}, limit {_number(it.limit_price)}{again}"


def _taken(it: d.TakeOver) -> str:
    return f"{it.layer} takes {_of(it.size, it.symbol)} at {_number(it.price)}"


def _deleveraged(it: d.Deleverage) -> str:
    sold = f"{it.side} {_of(it.size, it.symbol)} at {_number(it.price)}"
    return f"{sold} against {it.counterparty}, rank {it.rank}"


def _drawn(it: d.FundDraw) -> str:
    named = f"fund {it.fund}" if it.fund else "fund"
    return f"{named} pays {_of(it.amount, it.asset)} of {it.market}"


def _held(it: d.PriceHeld) -> str:
    believed = ", believed" if it.believed else ""
    return f"{it.symbol} {it.kind} {_number(it.price)} after {_number(it.last)}{believed}"


def _changed(it: d.RequirementChanged) -> str:
    factor = f"{it.symbol} {it.requirement} ×{_number(it.before)} to ×{_number(it.after)}"
    return f"{factor}, {it.pushed_under:,} groups pushed under"


SAID: dict[type[d.Decision], Callable[[Any], str]] = {
    d.LiquidationStarted: lambda it: (
        f"{it.reason}: margin equity {_number(it.margin_equity)}, "
        f"maintenance {_number(it.maintenance)}" + (f"; waits: {it.waits}" if it.waits else "")
    ),
    d.LiquidationEnded: lambda it: it.reason,
    d.LiquidationOrder: _ordered,
    d.TakeOver: _taken,
    d.Deleverage: _deleveraged,
    d.CollateralSale: lambda it: (
        f"sell {_of(it.amount, it.asset)} for {it.for_asset}, limit {_number(it.limit_price)}"
    ),
    d.CollateralLiquidation: lambda it: (
        f"repay up to {_of(it.repay, it.pool)} for {_of(it.seize, it.collateral)}"
    ),
    d.AuctionStarted: lambda it: f"{_of(it.lot, it.collateral)} for {_of(it.debt, it.pool)}",
    d.AuctionEnded: lambda it: it.reason,
    d.Shortfall: lambda it: f"{_of(it.amount, it.asset)} in {it.market}",
    d.FundDraw: _drawn,
    d.ReserveDraw: lambda it: f"reserve bears {_of(it.amount, it.asset)} of {it.market}",
    d.LossSocialised: lambda it: f"lenders of {it.market} bear {_of(it.amount, it.asset)}",
    d.LossShared: lambda it: f"{it.by} of {it.market} bear {_of(it.amount, it.asset)}",
    d.BadDebt: lambda it: f"{_of(it.amount, it.asset)} in {it.market}",
    d.BadDebtRecovered: lambda it: f"{_of(it.amount, it.asset)} of {it.market}",
    d.WithdrawalGate: lambda it: f"{it.asset} {'closed' if it.closed else 'open'}",
    d.WithdrawalUnpaid: lambda it: f"{_number(it.amount)} of {it.pool}",
    d.RequirementChanged: _changed,
    d.PriceHeld: _held,
    d.BreakerTripped: lambda it: f"{it.symbol} halted",
    d.Refused: lambda it: f"{it.event}: {it.rule}: {it.detail}",
    d.Gap: lambda it: f"{it.event}: sequence {it.received:,}, expected {it.expected:,}",
    d.Anomaly: lambda it: f"{it.kind}: {it.detail}",
}
"""What is worth a line, and how it is said; all else only counts."""


class Noted(NamedTuple):
    """A committed decision, and the record that caused it, where there is one."""

    decision: d.Decision
    cause: Cause | None

    def shown(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        it, kind, at = self.decision, type(self.decision), self.cause
        caused = ""
        if at is not None:
            caused = at.topic if at.topic == CLOCK else f"{at.topic}/{at.partition}/{at.offset}"
        return {
            "time": it.time / SECOND,
            "shard": it.shard,
            "type": kind.__name__,
            "account": getattr(it, "account", ""),
            "margin": getattr(it, "margin", ""),
            "order_id": getattr(it, "order_id", getattr(it, "auction_id", "")),
            "said": SAID[kind](it),
            "cause": caused,
        }
