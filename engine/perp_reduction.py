"""How much of a perpetual is closed, and how much of its profit settled, until health is zero.

Theory of operation. Health counts a perpetual's result after its requirement: where that is
negative, in full; where it is positive, at the weight of profit. So closing a lot raises health in
full only up to a result of zero. From there settling the result raises it more, as cash counts
whole, and closing more makes more result to settle. Therefore five steps (Mango v4,
perp_liq_base_or_positive_pnl.rs), each no further than until health would be zero:

1. close while the result is negative (of the last lot Mango counts all of the result);
2. settle what result there is;
3. close what can still be settled;
4. settle that;
5. close more, where profit that is not settled counts at all.

Where settling costs more than the weight leaves out, steps 2 to 4 gain nothing and are left out.

Pure and exact. Amounts are in the settlement asset, lots whole numbers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.money import ONE, ZERO, ceil_to, exact
from engine.weighted_balance import AMOUNT_STEP, Worth, given_to_zero


class Perpetual(NamedTuple):
    """A position: signed lots, what a lot is worth, and the quote balance beside it."""

    lots: Decimal
    lot_value: Decimal
    quote: Decimal


class ReductionRule(NamedTuple):
    """What a lot counts that is owned (long) and owed (short), what a result counts above zero, and
    what the settlement asset counts.

    `closing_fee` is a part of what is closed, `settling_fee` of what is settled; step 5 begins only
    below −`spare` of health, which keeps what rounding left from closing another lot.
    """

    long_weight: Decimal
    short_weight: Decimal
    profit_weight: Decimal
    worth: Worth
    closing_fee: Decimal = ZERO
    settling_fee: Decimal = ZERO
    spare: Decimal = Decimal("0.5")


class Reduction(NamedTuple):
    """What was closed (unsigned lots) and settled, and by how much quote and cash change."""

    lots: Decimal
    settled: Decimal
    quote: Decimal
    cash: Decimal


class _Standing(NamedTuple):
    """Where a group stands between two steps."""

    health: Decimal
    balance: Decimal
    result: Decimal
    lots: Decimal = ZERO
    settled: Decimal = ZERO

    def gain(self, amount: Decimal, worth: Worth) -> _Standing:
        """Return the same after the counted balance has grown by an amount."""
        grown = self.balance + amount
        better = self.health - worth.of(self.balance) + worth.of(grown)
        return self._replace(health=better, balance=grown)

    def needed(self, worth: Worth) -> Decimal:
        """Return how much the counted balance must grow until health is zero."""
        return given_to_zero(self.health, self.balance, worth)


@exact
def reduce_perpetual(
    held: Perpetual,
    health: Decimal,
    balance: Decimal,
    rule: ReductionRule,
    most_lots: Decimal,
    most_settled: Decimal,
) -> Reduction:
    """Return the least closing and settling that bring health to zero, within what is allowed.

    `balance` is the counted one of the settlement asset, the position's result included at its
    weight. Raises `ValueError` where closing a lot would not raise the result.
    """
    long = held.lots > 0
    weight = rule.long_weight if long else rule.short_weight
    paid = ONE - rule.closing_fee if long else ONE + rule.closing_fee
    per_lot = held.lot_value * (paid - weight if long else weight - paid)
    if per_lot <= 0:
        raise ValueError(f"reduction: a lot that counts {weight} is closed at {paid}")
    limit = min(abs(held.lots), most_lots)
    kept, share = ONE - rule.settling_fee, rule.profit_weight
    at = _Standing(health, balance, held.quote + held.lots * held.lot_value * weight)
    if at.result < 0:
        at = _close(at, rule, -at.result, per_lot, ONE, limit)
    if at.result >= 0 and kept > share:
        at = _settle(at, rule.worth, kept - share, most_settled)
        if at.settled < most_settled:
            at = _close(at, rule, most_settled - at.settled, per_lot, kept, limit)
        at = _settle(at, rule.worth, kept - share, most_settled)
    if at.health < -rule.spare and share > 0:
        at = _close(at, rule, None, per_lot, share, limit)
    bought = -at.lots if long else at.lots
    quote = -bought * held.lot_value * paid - at.settled
    return Reduction(at.lots, at.settled, quote, at.settled * kept)


def _close(
    at: _Standing,
    rule: ReductionRule,
    bound: Decimal | None,
    per_lot: Decimal,
    expected: Decimal,
    limit: Decimal,
) -> _Standing:
    """Close as many lots as health needs, one that is begun whole, and as make no more balance than
    `bound`; of the result of a lot the part `expected` becomes balance, now or by what follows."""
    needed = at.needed(rule.worth)
    if bound is not None:
        needed = min(needed, bound)
    lots = max(min(ceil_to(needed, ONE, per_lot * expected), limit - at.lots), ZERO)
    result = at.result + lots * per_lot
    after = at.gain(_counted(result, rule) - _counted(at.result, rule), rule.worth)
    return after._replace(result=result, lots=at.lots + lots)


def _counted(result: Decimal, rule: ReductionRule) -> Decimal:
    return min(result, ZERO) + max(result, ZERO) * rule.profit_weight


def _settle(at: _Standing, worth: Worth, gain: Decimal, most: Decimal) -> _Standing:
    """Settle as much of a result as health needs, `gain` of balance for each unit."""
    wanted = ceil_to(at.needed(worth), AMOUNT_STEP, gain)
    settled = max(min(wanted, most - at.settled, at.result), ZERO)
    after = at.gain(settled * gain, worth)
    return after._replace(result=at.result - settled, settled=at.settled + settled)
