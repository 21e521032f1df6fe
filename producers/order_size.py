"""How the size of a liquidation order comes about, in words: by the rule, and by who takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from engine import decisions as d
from engine.money import ZERO
from producers.course import TAKERS, Course
from producers.report import full

Transfer = d.TakeOver | d.Deleverage


def planned_with(
    order: d.LiquidationOrder | Transfer, course: Course
) -> Iterator[d.LiquidationOrder | Transfer]:
    """Yield what of a liquidation was ordered by the same event."""
    for _, happened in course:
        if isinstance(happened, d.LiquidationOrder | Transfer) and happened.seq == order.seq:
            yield happened


def size_said(
    order: d.LiquidationOrder | Transfer,
    found: dict[str, Any],
    with_it: Iterable[d.LiquidationOrder | Transfer],
) -> Iterator[str]:
    """Say which part of a leg is to be closed, and of that this order; `with_it` are all orders and
    transfers that were decided at once."""
    leg = next(leg for leg in found["legs"] if leg["symbol"] == order.symbol)
    whole = abs(leg["size"])
    if isinstance(order, d.TakeOver) and order.layer == "netting":
        if order.size != whole:
            held = "what the other group holds against it"
            yield f"size: {full(order.size)} of {full(whole)}, {held}"
        return
    parts: dict[str, Decimal] = {}
    for one in with_it:
        if one.symbol == order.symbol and one.margin == order.margin:
            parts[_taken_by(one)] = parts.get(_taken_by(one), ZERO) + one.size
    planned = sum(parts.values(), ZERO)
    if planned != whole:
        yield f"size: {full(planned)} of {full(whole)} ({found['rules']['sizing']})"
    elif order.size != whole:
        yield f"size: the whole leg, {full(whole)}"
    if len(parts) > 1 or order.size != planned:
        shared = ", ".join(f"{full(size)} {who}" for who, size in parts.items())
        yield f"of which go {shared}; this one: {full(order.size)}"


def _taken_by(order: d.LiquidationOrder | Transfer) -> str:
    if isinstance(order, d.LiquidationOrder):
        return "to the market"
    return f"to {TAKERS[order.layer]}" if isinstance(order, d.TakeOver) else "to deleveraging"
