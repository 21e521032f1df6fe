"""What a loss that nobody covers costs each of those who bear it, by venues' formulas; pure, exact.

Every charge is rounded up, so that what is collected is never less than the loss.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.money import ONE, ZERO, ceil_to, exact, floor_to
from engine.waterfall import allocate
from engine.weighted_balance import AMOUNT_STEP


@exact
def index_delta(loss: Decimal, shares: Decimal, step: Decimal) -> Decimal | None:
    """Return by how much the index of all shares must move to collect a loss; none where there is
    nobody to bear it.

    Of a perpetual the funding index of all longs and shorts (Drift v2, math/liquidation.rs:301), of
    a pool the index of deposits, with loss·index in place of the loss (:323). Up to `step`.
    """
    return ceil_to(loss, step, shares) if shares > 0 else None


# --- by the same part of everything


class Claims(NamedTuple):
    """What accounts are owed: equity, and results that have not vested."""

    equity: Decimal
    unvested: Decimal


class Haircut(NamedTuple):
    """What is burned of unvested results, what the fund pays, which part of equity is cut, and what
    even that leaves uncovered."""

    burned: Decimal
    paid_by_fund: Decimal
    part: Decimal
    uncovered: Decimal


@exact
def haircut(claims: Claims, assets: Decimal, fund: Decimal, step: Decimal = AMOUNT_STEP) -> Haircut:
    """Return how claims are cut that assets and fund together do not cover.

    Unvested results are burned first, then equity is cut by the same part everywhere, up to `step`.
    The fund backs claims from the start and counts once: it is paid out where equity is cut, and
    then whole (after percolator, crisis/haircut.rs, which counts what it paid out as missing
    again).
    """
    short = max(claims.equity + claims.unvested - assets - fund, ZERO)
    layers = {("unvested", ""): claims.unvested, ("equity", ""): claims.equity}
    (burned, cut), uncovered = allocate(short, layers)
    paid = fund if short > burned.amount else ZERO
    part = ceil_to(cut.amount, step, claims.equity) if cut.amount else ZERO
    return Haircut(burned.amount, paid, part, uncovered)


# --- what whoever takes a bankrupt account is paid


@exact
def insolvent_payout(
    value: Decimal,
    maintenance: Decimal,
    elapsed: int,
    length: int,
    share: Decimal,
    unit: Decimal = AMOUNT_STEP,
) -> Decimal:
    """Return what a bidder is paid for taking a share of an insolvent account.

    It grows over `length` from what the account is short of nothing (its value, < 0) to what it is
    short of its maintenance (`maintenance`, margin less requirement, < 0); down to `unit`, for who
    pays (Derive v2, DutchAuction.sol:713).
    """
    if maintenance >= 0:
        return ZERO
    start, ripe = min(value, ZERO), min(elapsed, length)
    if ripe >= length:
        return floor_to(-maintenance * share, unit)
    price = floor_to((start - maintenance) * ripe, unit, Decimal(length)) - start
    return floor_to(price * share, unit)


class Settled(NamedTuple):
    """How a negative result is covered: what its owner pays, what a taker takes and is paid for it
    in the fund's tokens, and what all others bear."""

    paid: Decimal
    taken: Decimal
    tokens: Decimal
    shared: Decimal


class TokenFund(NamedTuple):
    """A fund in another token: how many there are, what one is worth, and the part more than its
    worth that a taker of a loss gets."""

    tokens: Decimal
    price: Decimal
    fee: Decimal = ZERO


@exact
def cover_result(
    result: Decimal,
    payable: Decimal,
    needed: Decimal,
    most: Decimal,
    price: Decimal,
    fund: TokenFund,
    step: Decimal = AMOUNT_STEP,
) -> Settled | None:
    """Return who covers a negative result, a taker taking no more than `most` in all; none where it
    is not negative.

    First its owner, `payable` at most. Where that is exhausted, of the rest no more than is
    `needed` for health: a taker, for whole tokens of the fund, up; then, only once the fund is
    empty, all others. Amounts are in the settlement asset of that price (Mango v4,
    perp_liq_negative_pnl_or_bankruptcy.rs:205).
    """
    if result >= 0:
        return None
    within = max(min(payable, -result), ZERO)
    paid = max(min(within, most), ZERO)
    left = min(-result - paid, needed)
    if paid < within or left <= 0:
        return Settled(paid, ZERO, ZERO, ZERO)
    wanted = min(left, most - paid)
    charged = price * (ONE + fund.fee)
    tokens = min(ceil_to(wanted * charged, ONE, fund.price), fund.tokens)
    taken = min(floor_to(tokens * fund.price, step, charged), wanted)
    shared = left - taken if tokens == fund.tokens else ZERO
    return Settled(paid, taken, tokens, shared)
