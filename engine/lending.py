"""Loans against collateral: health, how much may be repaid, whole accounts, bad debt; pure, exact.

Amounts are in whole units of their asset, values in the asset that health is counted in, prices are
values of one. Health is compared without division: what collateral counts against the debt. What
is seized for a repayment stands in `seizure`.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from engine.money import ONE, ZERO, Rounding, ceil_to, exact, floor_to, rounded

HEALTH_STEP = Decimal("1e-18")
"""What health factors and loan-to-values are multiples of, unless a rule says otherwise."""

Recognition = Literal["no_collateral", "no_value", "insolvent"]
"""When bad debt is recognised: nothing is left of any collateral (Morpho Blue, Euler, Aave v4),
what is left is worth nothing (Aave v3), or the debt is more than the collateral is worth."""


class CloseFactor(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="close_factor"
):
    """How much of one debt may be repaid at once: `share` of it, or of all debt of the account.

    All of it at a health factor of `full_at` or less, and where debt or collateral of the pair is
    worth less than `full_below` (value) (Aave v3, LiquidationLogic.sol:258).
    """

    share: Decimal = Decimal("0.5")
    of_account: bool = False
    full_at: Decimal = ZERO
    full_below: Decimal = ZERO


class TargetHealth(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="target_health"
):
    """Repay until the health factor is `target` (Aave v4, LiquidationLogic.sol:796)."""

    target: Decimal = ONE


class TargetLoanToValue(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="target_ltv"
):
    """Repay until the loan-to-value is `target`, or all of it where that would be more than
    `full_above` of the debt (Silo v2, PartialLiquidationLib.sol)."""

    target: Decimal
    full_above: Decimal = Decimal("0.9")


class FullRepayment(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="full"
):
    """Repay all that the collateral can pay of a debt (Morpho Blue, Euler)."""


class WholeAccount(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="whole_account"
):
    """Take all collateral at once, whatever the debt; what it brings beyond the debt is the
    account's (Compound III, Comet.sol:1181)."""


class Pledge(NamedTuple):
    """A collateral's value and its liquidation threshold."""

    value: Decimal
    threshold: Decimal


class Side(NamedTuple):
    """What an account has or owes of one asset: the amount, the price, and the smallest unit."""

    amount: Decimal
    price: Decimal
    unit: Decimal

    @property
    def value(self) -> Decimal:
        """What the amount is worth, without rounding."""
        return self.amount * self.price


class Backing(NamedTuple):
    """What the health factor is the quotient of: collateral at its thresholds, and debt, values."""

    counted: Decimal
    debt: Decimal


class Absorbed(NamedTuple):
    """A whole account taken over: the balance it is left with, what its debt was credited, and how
    much of the debt its collateral did not cover, in the debt's asset."""

    balance: Decimal
    credited: Decimal
    uncovered: Decimal


# --- health


@exact
def backing(
    pledges: Iterable[Pledge],
    debt: Decimal,
    step: Decimal | None = None,
) -> Backing:
    """Return collateral at its thresholds against debt; each rounded down to `step` where there is
    one, against the borrower (Morpho Blue, Morpho.sol:526)."""
    counted = (pledge.value * pledge.threshold for pledge in pledges)
    if step is not None:
        return Backing(sum((floor_to(one, step) for one in counted), ZERO), debt)
    return Backing(sum(counted, ZERO), debt)


@exact
def health_factor(
    state: Backing, step: Decimal = HEALTH_STEP, rounding: Rounding = "down"
) -> Decimal | None:
    """Return Σ collateral·threshold ÷ debt, none without debt; down, against the borrower (Aave v3,
    GenericLogic.sol:162)."""
    return rounded(state.counted, step, rounding, state.debt) if state.debt > 0 else None


@exact
def undercollateralized(state: Backing, *, at_equality: bool = False) -> bool:
    """Tell whether an account may be liquidated: health factor < 1 (≤ 1 with `at_equality`, as
    Euler's Liquidation.sol:65 has it), compared without division."""
    return state.counted < state.debt or (at_equality and 0 < state.debt == state.counted)


@exact
def loan_to_value(
    debt: Decimal, collateral: Decimal, step: Decimal = HEALTH_STEP
) -> Decimal | None:
    """Return debt ÷ collateral, 0 without debt and none without collateral for it; up, against the
    borrower (Silo v2, SiloSolvencyLib.sol:31)."""
    if not debt:
        return ZERO
    return ceil_to(debt, step, collateral) if collateral > 0 else None


# --- how much


@exact
def repay_by_close_factor(
    rule: CloseFactor,
    debt: Side,
    collateral: Decimal,
    state: Backing,
    value_step: Decimal | None = None,
) -> Decimal:
    """Return how much of `debt` may be repaid against a collateral of that value.

    Down to the debt's unit, for the borrower; a share's value is first rounded to the nearest
    multiple of `value_step` where there is one (Aave v3, LiquidationLogic.sol:258).
    """
    small = debt.value < rule.full_below or collateral < rule.full_below
    if small or state.counted <= rule.full_at * state.debt:
        return debt.amount
    limit = rule.share * (state.debt if rule.of_account else debt.value)
    if value_step is not None:
        limit = rounded(limit, value_step, "nearest")
    return debt.amount if debt.value <= limit else floor_to(limit, debt.unit, debt.price)


@exact
def repay_to_health(
    rule: TargetHealth,
    state: Backing,
    price: Decimal,
    step: Decimal,
    penalty: Decimal,
) -> Decimal | None:
    """Return (target·D − C) ÷ ((target − penalty)·price): what to repay to reach a health factor.

    D is all debt and C collateral at its thresholds (values); `penalty` = threshold·(1 + bonus) of
    the collateral that is seized, what each value repaid takes off C. In the debt's asset, up to
    `step`, so that the target is reached; none where it cannot be (Aave v4,
    LiquidationLogic.sol:796).
    """
    short = rule.target * state.debt - state.counted
    if short <= 0:
        return ZERO
    if penalty >= rule.target:
        return None
    return ceil_to(short, step, (rule.target - penalty) * price)


@exact
def repay_to_loan_to_value(
    rule: TargetLoanToValue,
    debt: Decimal,
    collateral: Decimal,
    bonus: Decimal,
    step: Decimal = HEALTH_STEP,
) -> Decimal:
    """Return (D − t·C) ÷ (1 − t·(1 + bonus)): the value to repay to reach a loan-to-value t.

    All of it without a target, at a loan-to-value of 1 or more, where the target cannot be reached,
    and where no more than 1 − `full_above` would be left; down to `step`, for the borrower (Silo
    v2, PartialLiquidationLib.sol, estimateMaxRepayValue).
    """
    if not rule.target:
        return debt
    short = debt - rule.target * collateral
    if short <= 0:
        return ZERO
    left = ONE - rule.target - floor_to(rule.target * bonus, step)
    if left <= 0:
        return debt
    repay = floor_to(short, step, left)
    return debt if floor_to(repay, step, debt) > rule.full_above else min(repay, debt)


@exact
def without_dust(repay: Decimal, debt: Side, least: Decimal) -> Decimal:
    """Return what is repaid of a debt of which nothing that is worth less than `least` (value) may
    be left: all of it, where it would (Aave v4, LiquidationLogic.sol:562)."""
    left = debt.amount - repay
    return debt.amount if left <= 0 or left * debt.price < least else repay


@exact
def leaves_dust(debt: Decimal, collateral: Decimal, least: Decimal) -> bool:
    """Tell whether a liquidation that leaves both debt and collateral of a pair leaves too little
    of one, all values (Aave v3, LiquidationLogic.sol:299)."""
    return debt > 0 and collateral > 0 and min(debt, collateral) < least


# --- whole accounts


@exact
def absorb(
    debt: Side, collaterals: Iterable[tuple[Side, Decimal]], value_step: Decimal | None = None
) -> Absorbed:
    """Take over a whole account: each collateral is credited at its price times its factor.

    Values are rounded down to `value_step`, by price and again by factor, and the sum down to the
    debt's unit, against the account. What is more than the debt is its balance; what is less is
    for the reserves to bear (Compound III, Comet.sol:1181).
    """
    worth = ZERO
    for side, factor in collaterals:
        value = side.value if value_step is None else floor_to(side.value, value_step)
        value *= factor
        worth += value if value_step is None else floor_to(value, value_step)
    covered = floor_to(worth, debt.unit, debt.price)
    return Absorbed(
        max(covered - debt.amount, ZERO),
        max(covered, debt.amount),
        max(debt.amount - covered, ZERO),
    )


@exact
def bad_debt(
    policy: Recognition, collaterals: Iterable[Decimal], collateral: Decimal, debt: Decimal
) -> Decimal:
    """Return the debt that a policy recognises as lost, 0 where it does not yet.

    By the amounts left of each collateral, or by what they are worth with the debt, both values.
    """
    if policy == "insolvent":
        return unrealized_bad_debt(collateral, debt)
    gone = collateral == 0 if policy == "no_value" else not any(collaterals)
    return debt if gone else ZERO


@exact
def unrealized_bad_debt(collateral: Decimal, debt: Decimal) -> Decimal:
    """Return max(0, debt − collateral), values: what would be lost, recognised or not."""
    return max(debt - collateral, ZERO)
