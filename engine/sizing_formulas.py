"""How much of a position or a loan is closed, by venues' own closed formulas; pure, exact.

The engine sizes its orders by projection (docs/semantics.md, 11), whatever the margin rule; these
are the formulas of venues whose rule has one. Amounts and values as in `lending`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.liquidation_profile import Portion
from engine.money import ZERO, ceil_to, exact, floor_to
from engine.weighted_balance import AMOUNT_STEP

VALUE_STEP = Decimal("1e-6")
"""What Drift keeps values and rates to, rounded down."""

WEIGHT_STEP = Decimal("1e-5")
"""What Drift keeps the weight of a collateral to when it is taken at a multiplier."""


# --- what covers a shortage of margin


@exact
def size_to_cover(
    shortage: Decimal,
    ratio: Decimal,
    liquidator_fee: Decimal,
    fund_fee: Decimal,
    price: Decimal,
    quote_price: Decimal,
    step: Decimal,
) -> Decimal | None:
    """Return shortage ÷ (P·Pq·(ratio − liquidator fee) − P·fund fee): the size whose closing frees
    what margin is short.

    P is the price, Pq that of the settlement asset. Down to `step`; none where all of it is to be
    closed, as no size frees enough (Drift v2, math/liquidation.rs:32, which rounds values down on
    the way).
    """
    if not price or ratio <= liquidator_fee:
        return None
    worth = floor_to(price * quote_price, VALUE_STEP)
    freed = floor_to(worth * (ratio - liquidator_fee), VALUE_STEP)
    freed -= floor_to(price * fund_fee, VALUE_STEP)
    return floor_to(shortage, step, freed) if freed > 0 else None


class Leg(NamedTuple):
    """One side of an exchange of collateral for a liability: its weight in health, and what a
    liquidator gets (> 1) or pays (< 1) for a unit of its price."""

    weight: Decimal
    multiplier: Decimal


@exact
def liability_to_cover(
    shortage: Decimal,
    asset: Leg,
    liability: Leg,
    price: Decimal,
    fund_fee: Decimal,
    step: Decimal,
) -> Decimal | None:
    """Return shortage ÷ (P·(LW − AW·am ÷ lm) − P·fund fee·LW): how much of a liability a liquidator
    takes over, at least a step of it.

    LW and lm are weight and multiplier of the liability, AW and am of the collateral that goes
    along. Down to `step`; none where all of it is to be taken, as no amount frees enough (Drift v2,
    math/liquidation.rs:65).
    """
    net = liability.weight - taken_weight(asset, liability, WEIGHT_STEP)
    if asset.weight >= liability.weight or net <= 0:
        return None
    freed = price * net - floor_to(price * fund_fee, VALUE_STEP) * liability.weight
    return max(floor_to(shortage, step, freed), step) if freed > 0 else None


def taken_weight(asset: Leg, liability: Leg, step: Decimal) -> Decimal:
    """Return what health loses of collateral for a unit of liability: AW·am ÷ lm, down."""
    return floor_to(asset.weight * asset.multiplier, step, liability.multiplier)


# --- what brings health to zero


class Exchange(NamedTuple):
    """Of a liability so much is repaid, and so much collateral taken for it."""

    repaid: Decimal
    taken: Decimal


@exact
def exchange_to_zero(
    health: Decimal,
    asset: Leg,
    liability: Leg,
    asset_price: Decimal,
    liability_price: Decimal,
    owned: Decimal,
    owed: Decimal,
    step: Decimal = AMOUNT_STEP,
) -> Exchange | None:
    """Return the least exchange of collateral for a liability that brings health to zero.

    −health ÷ (LW·LP − AW·LP'), LP' the liability's price times both multipliers, the fees; at most
    `owed`, and at most what `owned` collateral pays. None where one of the two is not positive:
    nothing of it may be exchanged (Mango v4, token_liq_with_token.rs:215). What is needed is up,
    what collateral pays down, to `step`.
    """
    if owned <= 0 or owed <= 0:
        return None
    charged = liability_price * asset.multiplier * liability.multiplier
    most = min(owed, floor_to(owned * asset_price, step, charged))
    freed = liability.weight * liability_price - asset.weight * charged
    if freed > 0:
        most = min(most, ceil_to(max(-health, ZERO), step, freed))
    return Exchange(most, min(owned, ceil_to(most * charged, step, asset_price)))


# --- what may be closed in a while


class Bounds(NamedTuple):
    """The least and the most notional of a position that is closed at once."""

    least: Decimal
    most: Decimal


@exact
def portion_bounds(rule: Portion, notional: Decimal, unit: Decimal) -> Bounds:
    """Return the notional that a portion of a position allows: its least, but no more than there
    is, and its share, but no less than that; down to `unit` (dYdX v4,
    x/clob/keeper/liquidations.go:964)."""
    least = min(rule.least, notional)
    return Bounds(least, max(least, floor_to(rule.share * notional, unit)))


@exact
def left_of_limit(limit: Decimal, used: Decimal) -> Decimal:
    """Return how much of a limit for a block is left, of notional closed or of what the fund lost.

    Raises `ValueError` where it was exceeded (dYdX v4, x/clob/keeper/liquidations.go:858).
    """
    if used > limit:
        raise ValueError(f"limit: {used} of {limit} used")
    return limit - used


class Closed(NamedTuple):
    """What was closed at a time (microseconds)."""

    time: int
    size: Decimal


@exact
def window_limit(
    maker_fee: Decimal, taker_fee: Decimal, depth: Decimal, multiplier: Decimal, window: int
) -> Decimal:
    """Return the size that may be closed in a window of seconds: (maker + taker fee)·depth·
    multiplier a second, depth the size that moves the price by 100 % (Synthetix v3,
    PerpsMarketConfiguration.sol:93)."""
    return (maker_fee + taker_fee) * depth * multiplier * window


@exact
def room_in_window(limit: Decimal, closed: Sequence[Closed], window: int, now: int) -> Decimal:
    """Return how much more may be closed: what was closed longer ago than a window no longer counts
    (Synthetix v3, PerpsMarket.sol:164)."""
    recent = (one.size for one in closed if one.time > now - window)
    return max(limit - sum(recent, ZERO), ZERO)
