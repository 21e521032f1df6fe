"""What loans are worth to a margin group: supplies at their thresholds, debts at their weights.

Pure and exact; amounts are in the asset of their pool, values in the profile's numeraire.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.holdings import Holdings
from engine.interest import ramped
from engine.lending_profile import Lending, Terms
from engine.markets import Markets
from engine.money import ONE, ZERO
from engine.pools import Indices, indices, owed_amount, supplied_amount
from engine.profile import Collateral
from engine.rules import Rules
from engine.weights import Context

UNTOUCHED = Indices(ONE, ONE)


class LoanHealth(NamedTuple):
    """What a group supplied to a pool and owes it, with interest; `threshold` is what the supply
    counts (0 where it backs nothing), `weight` what the debt does."""

    pool: str
    asset: str
    supplied: Decimal
    owed: Decimal
    price: Decimal
    threshold: Decimal
    weight: Decimal

    @property
    def counted(self) -> Decimal:
        """What the supply adds to margin equity."""
        return self.supplied * self.price * self.threshold

    @property
    def required(self) -> Decimal:
        """What the debt adds to maintenance."""
        return self.owed * self.price * self.weight


def indices_now(pool: str, rules: Rules, markets: Markets) -> Indices:
    """Return the indices of a pool now, computed once for each time and state of it."""
    state = markets.lending.get(pool)
    if state is None:
        return UNTOUCHED
    known = markets.indices.get(pool)
    if known is not None and known[0] is state and known[1] == markets.now:
        return known[2]
    found = indices(rules.pool(pool), state, markets.now)
    markets.indices[pool] = (state, markets.now, found)
    return found


def threshold_at(terms: Terms, now: int) -> Decimal:
    """Return the liquidation threshold now, on its way down while a ramp runs."""
    if terms.ramp is None:
        return terms.liquidation_threshold
    return ramped(terms.ramp, terms.liquidation_threshold, now)


def loans_of(
    holdings: Holdings, rules: Rules, markets: Markets, context: Context = "maintenance"
) -> tuple[LoanHealth, ...] | None:
    """Return the loans of a group by pool, none while a price that counts is missing.

    Supplies count at the liquidation threshold, in other contexts than "maintenance" at the
    loan-to-value. To be called in the exact context.
    """
    lending = rules.lending
    if not holdings.loans or lending is None:
        return ()
    found: list[LoanHealth] = []
    for pool, held in holdings.loans.items():
        rule = rules.pool(pool)
        at, unit = indices_now(pool, rules, markets), rules.assets[rule.asset].unit
        supplied = supplied_amount(held.supplied, at, unit)
        owed = owed_amount(rule, held.owed, at, unit)
        counts = ZERO
        if held.enabled:
            counts = _counts(lending, pool, holdings.category, context, markets.now)
        price = rules.price_of(rule.asset, markets)
        if price is None:
            if owed or (supplied and counts):
                return None
            price = ZERO
        weight = debt_weight(rules.in_force.collateral_of(rule.asset), context)
        found.append(LoanHealth(pool, rule.asset, supplied, owed, price, counts, weight))
    return tuple(found)


def _counts(lending: Lending, pool: str, category: str, context: Context, now: int) -> Decimal:
    terms = lending.terms_of(pool, category)
    if terms is None:
        return ZERO
    return threshold_at(terms, now) if context == "maintenance" else terms.loan_to_value


def debt_weight(rule: Collateral, context: Context) -> Decimal:
    """Return what a debt counts in a context, by the rule of its asset."""
    if context != "maintenance" and rule.initial_borrow_weight is not None:
        return rule.initial_borrow_weight
    return rule.borrow_weight
