"""Dutch auctions of collateral: start, price by time, resets, takes, keeper pay, caps; pure, exact.

The debt of an auction is what it has to raise, penalty included. Times are in microseconds since
its start, prices are of one unit of collateral in the debt's asset.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Literal, NamedTuple

import msgspec

from engine.interest import INDEX_STEP, power
from engine.lending import HEALTH_STEP
from engine.money import ONE, ZERO, ceil_to, exact, floor_to


class Decay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an auction's price falls (MakerDAO, abaci.sol), rounded down to `step`.

    `linear`: to nothing after `duration`; `stair_step`: times `cut` after each `interval`;
    `exponential`: times `cut` each second.
    """

    shape: Literal["linear", "stair_step", "exponential"] = "linear"
    duration: int = 0
    interval: int = 1_000_000
    cut: Decimal = ONE
    step: Decimal = INDEX_STEP


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an auction must start anew: more than `after` microseconds after its start, or at a
    price of less than `below` times the one at its start (MakerDAO, clip.sol:454)."""

    after: int
    below: Decimal


class KeeperPay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What whoever starts an auction gets: `flat`, and `share` of the debt (MakerDAO, clip.sol)."""

    flat: Decimal = ZERO
    share: Decimal = ZERO


class InFlight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most debt that may be on auction at once, in all and of one collateral (MakerDAO,
    dog.sol)."""

    limit: Decimal
    collateral_limit: Decimal


class Start(NamedTuple):
    """What goes on auction: principal, collateral, and the debt to raise, penalty included."""

    principal: Decimal
    lot: Decimal
    debt: Decimal


class Take(NamedTuple):
    """What a taker pays and gets, and what is left of the debt and of the lot."""

    paid: Decimal
    taken: Decimal
    debt: Decimal
    lot: Decimal


# --- the start


@exact
def room(rule: InFlight, in_all: Decimal, of_collateral: Decimal) -> Decimal:
    """Return how much more debt may go on auction, not below 0."""
    return max(min(rule.limit - in_all, rule.collateral_limit - of_collateral), ZERO)


@exact
def start(
    principal: Decimal,
    lot: Decimal,
    index: Decimal,
    penalty: Decimal,
    free: Decimal,
    dust: Decimal,
    unit: Decimal,
    lot_unit: Decimal,
    debt_unit: Decimal,
) -> Start | None:
    """Return what of a loan goes on auction while there is room for `free` debt.

    The principal that fits with its penalty, down to `unit`; all of it, beyond the room, where less
    than `dust` would stay behind. Collateral goes along in proportion, down to `lot_unit`, and the
    debt is rounded down to `debt_unit`, all for the borrower. None where there is no room, or what
    fits is itself less than `dust` or takes no collateral along (MakerDAO, dog.sol:170).
    """
    if free <= 0 or principal <= 0:
        return None
    part = min(principal, floor_to(free, unit, index * (ONE + penalty)))
    if part < principal:
        if (principal - part) * index < dust:
            part = principal
        elif part * index < dust:
            return None
    along = floor_to(lot * part, lot_unit, principal)
    if not along:
        return None
    return Start(part, along, floor_to(part * index * (ONE + penalty), debt_unit))


@exact
def start_price(price: Decimal, factor: Decimal, step: Decimal = INDEX_STEP) -> Decimal:
    """Return the price an auction starts at: the market's times a factor, down to `step`."""
    return floor_to(price * factor, step)


# --- the price


@exact
def price_at(rule: Decay, top: Decimal, elapsed: int) -> Decimal:
    """Return the price so long after the start; down, for the taker."""
    if elapsed < 0:
        raise ValueError(f"auction: {elapsed} µs after its start")
    if rule.shape == "linear":
        left = max(rule.duration - elapsed, 0)
        return floor_to(top * left, rule.step, Decimal(rule.duration)) if left else ZERO
    return floor_to(top * power(rule.cut, elapsed // rule.interval, rule.step), rule.step)


@exact
def needs_reset(rule: Reset, top: Decimal, price: Decimal, elapsed: int) -> bool:
    """Tell whether an auction must start anew before anything more is taken."""
    return elapsed > rule.after or price < rule.below * top


# --- takes


@exact
def take(
    wanted: Decimal, price: Decimal, lot: Decimal, debt: Decimal, dust: Decimal, unit: Decimal
) -> Take | None:
    """Return what a taker gets who wants so much of the lot at a price.

    Never for more than the debt; and where less than `dust` of it would be left with some of the
    lot, just so much that `dust` is. None where the debt is no more than `dust`: then only all of
    the lot, or of the debt, can be taken; and where the price has come to nothing. What a payment
    buys is down to the lot's unit, against the taker (MakerDAO, clip.sol:327).
    """
    if price <= 0:
        return None
    taken = min(lot, wanted)
    paid = taken * price
    if paid > debt:
        paid = debt
        taken = floor_to(paid, unit, price)
    elif paid < debt and taken < lot and debt - paid < dust:
        if debt <= dust:
            return None
        paid = debt - dust
        taken = floor_to(paid, unit, price)
    return Take(paid, taken, debt - paid, lot - taken)


# --- keepers


@exact
def keeper_pay(rule: KeeperPay, debt: Decimal, unit: Decimal) -> Decimal:
    """Return what starting an auction of a debt pays; the share down to `unit`, for the pool."""
    return rule.flat + floor_to(rule.share * debt, unit)


@exact
def keeper_pay_again(
    rule: KeeperPay, debt: Decimal, lot: Decimal, price: Decimal, dust: Decimal, unit: Decimal
) -> Decimal:
    """Return what a reset pays: nothing where debt or lot are worth less than `dust`, or it would
    pay to reset them for ever (MakerDAO, clip.sol)."""
    return keeper_pay(rule, debt, unit) if min(debt, lot * price) >= dust else ZERO


# --- sales at a fixed discount


@exact
def storefront_price(
    price: Decimal, factor: Decimal, liquidation_factor: Decimal, step: Decimal, rate_step: Decimal
) -> Decimal:
    """Return the price at which absorbed collateral is sold: less factor·(1 − liquidation factor).

    The discount is rounded down to `rate_step` and the price down to `step`, the one for the pool
    and the other for the buyer (Compound III, Comet.sol:1274).
    """
    discount = floor_to(factor * (ONE - liquidation_factor), rate_step)
    return floor_to(price * (ONE - discount), step)


@exact
def storefront_amount(paid: Decimal, paid_price: Decimal, price: Decimal, unit: Decimal) -> Decimal:
    """Return the collateral that a payment buys, down to its unit, against the buyer (Compound III,
    Comet.sol:1274)."""
    return floor_to(paid * paid_price, unit, price)


# --- how long a chain of them takes

_LOGARITHMS = Context(prec=50)
"""What logarithms are rounded in: they are never whole numbers of a unit."""


@exact
def decay_time(cut: Decimal, buffer: Decimal, interval: Decimal) -> Decimal:
    """Return how long a price that starts at `buffer` times the market's takes to come down to it:
    ln(1 ÷ buffer) ÷ ln(cut) intervals, 0 < cut < 1.

    In the interval's unit, up to 10⁻¹⁸ (BlockAnalitica, maker/modules/auctions.py:24).
    """
    fall = _LOGARITHMS.ln(buffer) * interval
    return ceil_to(-fall, HEALTH_STEP, _LOGARITHMS.ln(cut)) if buffer > 1 else ZERO


@exact
def throughput_time(debt: Decimal, limit: Decimal, cycle: Decimal) -> Decimal:
    """Return how long a debt takes to be auctioned of which only `limit` may be on auction at once:
    a cycle for each batch, one that is begun whole (BlockAnalitica, maker/modules/auctions.py)."""
    return ceil_to(debt, ONE, limit) * cycle
