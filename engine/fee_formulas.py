"""What a liquidation costs and what of it the fund gets, by venues' own formulas; pure, exact."""

from __future__ import annotations

from decimal import Decimal

from engine.money import ZERO, exact, floor_to
from engine.sizing_formulas import VALUE_STEP, Leg, taken_weight


@exact
def spot_fund_fee(
    shortage: Decimal,
    amount: Decimal,
    asset: Leg,
    liability: Leg,
    price: Decimal,
    most: Decimal,
) -> Decimal:
    """Return the fund's fee on a liability that is taken over, at most what it frees beyond a
    shortage: (LW − AW·am ÷ lm − shortage ÷ (amount·P)) ÷ LW.

    So that the fee does not keep an account in liquidation; down to 10⁻⁶, for the account (Drift
    v2, math/liquidation.rs:455).
    """
    if asset.weight >= liability.weight or not price or not amount or not liability.multiplier:
        return ZERO
    freed = liability.weight - taken_weight(asset, liability, VALUE_STEP)
    short = floor_to(shortage, VALUE_STEP, amount * price)
    spare = max(freed - short, ZERO)
    return min(most, floor_to(spare, VALUE_STEP, liability.weight))


@exact
def ramped_fee(
    base: Decimal, most: Decimal, elapsed: int, grace: int, increase: Decimal
) -> Decimal:
    """Return a liquidator's fee that grows while nobody liquidates: after `grace` by `increase` for
    each unit of time since the beginning, at most `most` (Drift v2, math/liquidation.rs:535)."""
    return base if elapsed < grace else min(base + increase * elapsed, most)


@exact
def fund_delta(proceeds: Decimal, quote: Decimal, fee_rate: Decimal, unit: Decimal) -> Decimal:
    """Return what the fund gets of a fill (> 0) or pays for it (< 0).

    What the fill brought beyond its bankruptcy quote, which is < 0 where closing costs; of what is
    left at most the fee on |proceeds|, down to `unit`, for the account (dYdX v4,
    x/clob/keeper/liquidations.go:641).
    """
    left = proceeds - quote
    return min(floor_to(fee_rate * abs(proceeds), unit), left) if left > 0 else left
