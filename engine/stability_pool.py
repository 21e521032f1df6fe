"""A pool whose deposits pay debts of liquidated loans and get the collateral: Liquity's.

Deposits are not touched one by one: a product of what was left of a unit by each liquidation, and a
sum of what collateral a unit gained, say what every deposit has become. Pure and exact. Debts and
deposits are in the debt's asset, collateral in its own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.lending import Side
from engine.money import ONE, ZERO, exact, floor_to
from engine.seizure import in_proportion, seize

PRODUCT_STEP = Decimal("1e-36")
"""What products and sums are kept to."""

RESCALED_BELOW, SCALE = Decimal("1e-9"), Decimal("1e9")
"""A product below the one is multiplied by the other, and counts one scale more."""

SCALES_SEEN, SCALES_KEPT = 2, 8
"""So many scales later a deposit still gains collateral, and is still worth something."""


class Penalties(NamedTuple):
    """What is seized beyond a debt's worth by the pool, and where other loans take the debt over;
    and what the keeper gets of the collateral that the pool pays for: a share, at most `most`."""

    pool: Decimal
    others: Decimal
    keeper: Decimal = Decimal("0.005")
    most: Decimal = Decimal(2)


class Settlement(NamedTuple):
    """Who takes which part of a loan: the pool, the keeper, other loans, its owner what is left."""

    debt_to_pool: Decimal
    to_pool: Decimal
    to_keeper: Decimal
    debt_to_others: Decimal
    to_others: Decimal
    surplus: Decimal


class Deposits(NamedTuple):
    """All deposits together; `gains` by scale is what a unit of product gained of collateral."""

    total: Decimal
    product: Decimal = ONE
    scale: int = 0
    gains: tuple[Decimal, ...] = (ZERO,)


class Deposit(NamedTuple):
    """One deposit, with product, scale and gains as they were when it was made."""

    amount: Decimal
    product: Decimal
    scale: int
    gains: Decimal


@exact
def settle_loan(
    debt: Side, collateral: Side, available: Decimal, penalties: Penalties
) -> Settlement:
    """Return who takes a liquidated loan: the pool as far as what it has reaches, then other loans.

    Collateral goes along in proportion, of which no more is seized than debt·(1 + penalty) ÷ price;
    what the pool leaves may still go to the others (Liquity v2, TroveManager.sol:343). All down to
    the collateral's unit.
    """
    unit = collateral.unit
    debt_to_pool = min(debt.amount, available)
    part = in_proportion(debt_to_pool, debt.amount, collateral.amount, unit)
    to_keeper = min(floor_to(part * penalties.keeper, unit), penalties.most)
    to_pool = _seized(debt_to_pool, penalties.pool, part - to_keeper, debt, collateral)
    surplus = part - to_keeper - to_pool
    debt_to_others, to_others = debt.amount - debt_to_pool, ZERO
    if debt_to_others and collateral.amount > part:
        left = collateral.amount - part + surplus
        to_others = _seized(debt_to_others, penalties.others, left, debt, collateral)
        surplus = left - to_others
    return Settlement(debt_to_pool, to_pool, to_keeper, debt_to_others, to_others, surplus)


def _seized(
    repaid: Decimal, penalty: Decimal, most: Decimal, debt: Side, collateral: Side
) -> Decimal:
    return seize(repaid, penalty, collateral._replace(amount=most), debt).seized


@exact
def take_debt(pool: Deposits, debt: Decimal, collateral: Decimal) -> Deposits:
    """Return the deposits after they paid a debt, less than all of them, and got collateral for it.

    Product and gains are down, for the pool; the product is scaled up before it would run out of
    digits (Liquity v2, StabilityPool.sol:383). Raises `ValueError` where nothing would be left.
    """
    if not 0 <= debt < pool.total:
        raise ValueError(f"stability pool: {debt} of {pool.total} offset")
    gained = floor_to(pool.product * collateral, PRODUCT_STEP, pool.total)
    gains = (*pool.gains[:-1], pool.gains[-1] + gained)
    left = pool.product * (pool.total - debt)
    product, scale = floor_to(left, PRODUCT_STEP, pool.total), pool.scale
    while product < RESCALED_BELOW:
        left *= SCALE
        product = floor_to(left, PRODUCT_STEP, pool.total)
        scale, gains = scale + 1, (*gains, ZERO)
    return Deposits(pool.total - debt, product, scale, gains)


@exact
def deposited(pool: Deposits, amount: Decimal) -> tuple[Deposits, Deposit]:
    """Return the pool with a new deposit, and the deposit."""
    made = Deposit(amount, pool.product, pool.scale, pool.gains[-1])
    return pool._replace(total=pool.total + amount), made


@exact
def left_of(deposit: Deposit, pool: Deposits, unit: Decimal) -> Decimal:
    """Return what is left of a deposit; down, for the pool."""
    scales = pool.scale - deposit.scale
    if scales > SCALES_KEPT:
        return ZERO
    return floor_to(deposit.amount * pool.product, unit, deposit.product * SCALE**scales)


@exact
def gained_by(deposit: Deposit, pool: Deposits, unit: Decimal) -> Decimal:
    """Return the collateral that a deposit got, in the scale it was made in and the two next; down,
    for the pool."""
    gains = pool.gains[deposit.scale] - deposit.gains
    for further in range(1, SCALES_SEEN + 1):
        if deposit.scale + further < len(pool.gains):
            gains += floor_to(pool.gains[deposit.scale + further], PRODUCT_STEP, SCALE**further)
    return floor_to(deposit.amount * gains, unit, deposit.product)
