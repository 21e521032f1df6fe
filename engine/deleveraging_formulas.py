"""How deleveraging is ranked and measured by others than the engine's rankings; pure, exact."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.money import ONE, RATE_STEP, ZERO, ceil_to, exact, floor_to
from engine.weighted_balance import AMOUNT_STEP


@exact
def profit_on_cash(profit: Decimal, cash: Decimal, unit: Decimal) -> Decimal:
    """Return what a position in profit is ranked by: profit ÷ what the account put in, at least a
    unit of it; 0 without profit; down to 10⁻¹² (FLOX, liquidation_engine.cpp, pnl_ratio)."""
    return floor_to(max(profit, ZERO), RATE_STEP, max(cash, unit))


@exact
def fraction_taken(needed: Decimal, capacity: Decimal, step: Decimal = AMOUNT_STEP) -> Decimal:
    """Return the part that each gives of what it can, where all give the same: needed ÷ capacity,
    at most all; up to `step` (arXiv:2512.01112, pro rata)."""
    return min(ONE, ceil_to(needed, step, capacity)) if capacity > 0 else ONE


@exact
def overshoot(needed: Sequence[Decimal], taken: Sequence[Decimal]) -> Decimal:
    """Return what waves of deleveraging took beyond what was needed, less what they fell short
    (arXiv:2512.01112). Raises `ValueError` unless there is as much of both."""
    return sum((one - other for one, other in zip(taken, needed, strict=True)), ZERO)
