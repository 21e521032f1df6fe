"""What a liquidator gets for a repayment: bonus, collateral, the pool's fee, and when it is toxic.

A bonus is a fraction of what is repaid. Values and prices as in `lending`. Amounts are rounded
against the liquidator and for the pool unless a rule of a market says otherwise; pure and exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from engine.lending import HEALTH_STEP, Backing, Side
from engine.money import ONE, ZERO, Rounding, ceil_to, exact, floor_to, rounded


class FixedBonus(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="fixed"
):
    """A bonus that is the same at any health."""

    rate: Decimal


class HealthBonus(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="by_health"
):
    """A bonus that grows as health falls, from `least_share` of `most` at a health factor of 1 to
    `most` at `most_at`, rounded down to `step` (Aave v4, LiquidationLogic.sol:313)."""

    most: Decimal
    least_share: Decimal = ONE
    most_at: Decimal = ZERO
    step: Decimal = HEALTH_STEP


class ThresholdBonus(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="by_threshold"
):
    """A bonus by liquidation threshold LT: 1 ÷ (1 − cursor·(1 − LT)) − 1, at most `most`; the
    higher the threshold, the less (Morpho Blue, Morpho.sol:366)."""

    cursor: Decimal = Decimal("0.3")
    most: Decimal = Decimal("0.15")
    step: Decimal = HEALTH_STEP


class HealthDiscount(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="discount"
):
    """A discount of what health is short of 1, at most `most`: collateral is sold at a part of its
    price that is the health factor, rounded up to `step` against the liquidator where `rounding`
    says nothing else (Euler, Liquidation.sol:65, rounds down)."""

    most: Decimal
    step: Decimal = HEALTH_STEP
    rounding: Rounding = "up"


class Seizure(NamedTuple):
    """What is repaid, and the collateral that is taken for it, the pool's fee included."""

    repaid: Decimal
    seized: Decimal


# --- the bonus


@exact
def bonus_by_health(rule: HealthBonus, health: Decimal) -> Decimal:
    """Return the bonus at a health factor; down, against the liquidator."""
    if health <= rule.most_at:
        return rule.most
    least = floor_to(rule.most * rule.least_share, rule.step)
    grown = (rule.most - least) * max(ONE - health, ZERO)
    return least + floor_to(grown, rule.step, ONE - rule.most_at)


@exact
def bonus_by_threshold(rule: ThresholdBonus, threshold: Decimal) -> Decimal:
    """Return the bonus at a liquidation threshold; down, against the liquidator."""
    part = ONE - floor_to(rule.cursor * (ONE - threshold), rule.step)
    return min(rule.most, floor_to(ONE, rule.step, part) - ONE)


@exact
def discount_factor(rule: HealthDiscount, state: Backing) -> Decimal:
    """Return the part of its price that collateral is sold at, 1 at the threshold and above;
    rounded as the rule says."""
    if state.counted >= state.debt:
        return ONE
    health = rounded(state.counted, rule.step, rule.rounding, state.debt)
    return max(health, ONE - rule.most)


# --- the collateral


@exact
def seize(
    repay: Decimal,
    bonus: Decimal,
    collateral: Side,
    debt: Side,
    *,
    rounded_in: Literal["debt", "collateral"] | None = None,
    quoted: Rounding | None = None,
) -> Seizure:
    """Return what is seized for a repayment, never more than there is, and what is repaid for that.

    repay·P(debt) ÷ P(collateral)·(1 + bonus), down to the collateral's unit (Aave v4,
    LiquidationLogic.sol:708). Some markets round on the way too, down: the exchange, `rounded_in`
    collateral, before the bonus (Aave v3, LiquidationLogic.sol:583), or the bonus, `rounded_in`
    debt, before the exchange (Morpho Blue, Morpho.sol:371). Where the collateral is not enough, all
    of it goes for what `repay_for` says, at most `repay`; worthless collateral goes for nothing.
    """
    if not collateral.price:
        return Seizure(ZERO, collateral.amount)
    if rounded_in == "collateral":
        bare = floor_to(repay * debt.price, collateral.unit, collateral.price)
        wanted = floor_to(bare * (ONE + bonus), collateral.unit)
    else:
        worth = repay * (ONE + bonus)
        if rounded_in == "debt":
            worth = floor_to(worth, debt.unit)
        wanted = floor_to(worth * debt.price, collateral.unit, collateral.price)
    if wanted <= collateral.amount:
        return Seizure(repay, wanted)
    needed = repay_for(collateral.amount, bonus, collateral, debt, quoted=quoted)
    return Seizure(min(needed, repay), collateral.amount)


@exact
def repay_for(
    seized: Decimal,
    bonus: Decimal,
    collateral: Side,
    debt: Side,
    *,
    quoted: Rounding | None = None,
) -> Decimal:
    """Return what must be repaid for a seizure: seized·P(collateral) ÷ P(debt) ÷ (1 + bonus).

    Up to the debt's unit, against the liquidator. Where `quoted` says so, its worth in the debt's
    asset is rounded before that: up (Morpho Blue, Morpho.sol:371) or down, which may cost the pool
    up to a unit (Aave v3, LiquidationLogic.sol:583).
    """
    worth = seized * collateral.price
    if quoted is None:
        return ceil_to(worth, debt.unit, debt.price * (ONE + bonus))
    return ceil_to(rounded(worth, debt.unit, quoted, debt.price), debt.unit, ONE + bonus)


@exact
def seize_at_discount(
    repay: Decimal, factor: Decimal, collateral: Decimal, step: Decimal, rounding: Rounding = "up"
) -> Seizure:
    """Return what is seized at a part of its price for a repayment, all values.

    repay ÷ factor, down to `step`; never more than there is, of which collateral·factor is repaid,
    up where `rounding` says nothing else (Euler, Liquidation.sol:65, rounds it down). At a factor
    of 0 all of it is seized for nothing.
    """
    seized = floor_to(repay, step, factor) if factor > 0 else collateral
    if factor > 0 and seized <= collateral:
        return Seizure(repay, seized)
    return Seizure(min(rounded(collateral * factor, step, rounding), repay), collateral)


@exact
def in_proportion(part: Decimal, whole: Decimal, amount: Decimal, unit: Decimal) -> Decimal:
    """Return the part of an amount that a part of its value is, down to its unit, against whoever
    gets it; nothing of what is worth nothing."""
    return floor_to(part * amount, unit, whole) if whole else ZERO


@exact
def protocol_fee(
    seized: Decimal,
    bonus: Decimal,
    share: Decimal,
    unit: Decimal,
    rounding: Rounding = "up",
    *,
    whole_bonus: bool = False,
) -> Decimal:
    """Return the pool's share of the bonus in a seizure, in the collateral's asset.

    seized·share·bonus ÷ (1 + bonus), up to its unit, against the liquidator, where `rounding` says
    nothing else (Aave v4, LiquidationLogic.sol:691, rounds down). With `whole_bonus` the bonus is
    itself rounded before it is shared (Aave v3, LiquidationLogic.sol:583).
    """
    if not whole_bonus:
        return rounded(seized * bonus * share, unit, rounding, ONE + bonus)
    return rounded(rounded(seized * bonus, unit, rounding, ONE + bonus) * share, unit, rounding)


# --- toxicity


@exact
def toxic(state: Backing, threshold: Decimal, bonus: Decimal, impact: Decimal = ONE) -> bool:
    """Tell whether a repayment against a collateral lowers the health factor of the account.

    Health factor < LT·(1 + bonus)·λ, LT the threshold of the collateral that is seized and λ the
    impact of its sale on its price, 1 for none; compared without division (Warmuz et al.,
    arXiv:2212.07306; McFarlane, arXiv:2510.10171, eq. 2).
    """
    return state.counted < threshold * (ONE + bonus) * impact * state.debt


@exact
def toxic_above(bonus: Decimal, impact: Decimal = ONE, step: Decimal = HEALTH_STEP) -> Decimal:
    """Return the loan-to-value above which liquidations are toxic, 1 ÷ ((1 + bonus)·λ); down, so
    that none is called safe that is not (arXiv:2510.10171, eq. 2)."""
    return floor_to(ONE, step, (ONE + bonus) * impact)


@exact
def toxic_above_decaying(
    most: Decimal, threshold: Decimal, impact: Decimal = ONE, step: Decimal = HEALTH_STEP
) -> Decimal:
    """Return the same for a bonus most·(1 − health factor), which is nothing at the threshold LT:
    (1 + most·LT·λ) ÷ ((1 + most)·λ); down (arXiv:2510.10171, eq. 3)."""
    return floor_to(ONE + most * threshold * impact, step, (ONE + most) * impact)


@exact
def safe_at_threshold(threshold: Decimal, bonus: Decimal = ZERO, impact: Decimal = ONE) -> bool:
    """Tell whether a liquidation right at the threshold does not lower health: LT·(1 + bonus)·λ ≤ 1
    with the bonus as it stands there (arXiv:2510.10171, eq. 4; Aave v3, PoolConfigurator.sol:139).
    """
    return threshold * (ONE + bonus) * impact <= 1


@exact
def pool_impact(collateral: Decimal, reserve: Decimal, step: Decimal = HEALTH_STEP) -> Decimal:
    """Return λ = 1 + 2·c ÷ y of selling collateral worth c to a constant-product pool with y of the
    debt's asset, same values; up, so that no liquidation is called safe that is not
    (arXiv:2510.10171)."""
    return ONE + ceil_to(2 * collateral, step, reserve)


@exact
def linear_impact(
    collateral: Decimal,
    volatility: Decimal,
    liquidity: Decimal,
    recovery: Decimal = ZERO,
    step: Decimal = HEALTH_STEP,
) -> Decimal:
    """Return λ = 1 + volatility·c ÷ (liquidity·(1 − recovery)) of selling collateral worth c to a
    market whose price moves in proportion; values, up (arXiv:2510.10171)."""
    return ONE + ceil_to(volatility * collateral, step, liquidity * (ONE - recovery))
