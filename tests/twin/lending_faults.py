"""Whether the rules of a lending market contradict themselves; the list of docs/profiles.md."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from engine.interest import YEAR, Accrual, RateCurve, kinked_rate
from engine.lending import FullRepayment, TargetHealth, TargetLoanToValue, WholeAccount
from engine.lending_profile import Bonus, DutchAuction, Lending, PoolRule, Terms
from engine.profile import SECOND, RiskProfile
from engine.seizure import FixedBonus, HealthBonus, HealthDiscount, bonus_by_threshold
from tests.twin.amounts import decimal, floor

Checks = Iterator[bool]


def lending_checks(profile: RiskProfile) -> Checks:
    """Yield whether each rule about loans holds."""
    lending = profile.lending
    if lending is None:
        return
    yield bool(lending.pools)
    for pool in lending.pools.values():
        yield from _pool(pool)
        yield pool.isolation is None or any(
            other.borrowable_in_isolation for other in lending.pools.values()
        )
    for category in lending.categories.values():
        yield bool(category.collateral) and set(category.collateral) <= set(lending.pools)
        for name in category.borrowable:
            yield name in lending.pools and lending.pools[name].borrowable
    for terms, weight in _all_terms(profile, lending):
        yield from _terms(terms, weight)
        yield from _reached(profile, lending, terms, weight)
    if isinstance(lending.repay, WholeAccount):
        yield sum(pool.borrowable for pool in lending.pools.values()) <= 1
    yield len(set(lending.bad_debt.charge)) == len(lending.bad_debt.charge)
    if lending.auction is not None:
        yield from _auction(lending, lending.auction)


def _all_terms(profile: RiskProfile, lending: Lending) -> Iterator[tuple[Terms, Fraction]]:
    """Yield every terms with the least weight of what may be borrowed against them."""
    lent = [name for name, pool in lending.pools.items() if pool.borrowable]
    for pool in lending.pools.values():
        if pool.collateral is not None:
            yield pool.collateral, _least_weight(profile, lending, lent)
    for category in lending.categories.values():
        for terms in category.collateral.values():
            yield terms, _least_weight(profile, lending, [*category.borrowable] or lent)


def _least_weight(profile: RiskProfile, lending: Lending, names: list[str]) -> Fraction:
    assets = [lending.pools[name].asset for name in names if name in lending.pools]
    weights = [Fraction(profile.collateral_of(asset).borrow_weight) for asset in assets]
    return min(weights, default=Fraction(1))


def _pool(pool: PoolRule) -> Checks:
    yield from _curve(pool.rates, pool.accrual)
    if pool.supply_rates is not None:
        yield from _curve(pool.supply_rates, pool.supply_accrual or pool.accrual)
        yield pool.reserve_factor == 0
    elif pool.supply_accrual is not None:
        yield pool.supply_accrual.period == pool.accrual.period
    yield 0 <= pool.reserve_factor <= 1
    if pool.accrued_by == "venue":
        yield pool.rates == RateCurve()
        yield pool.supply_rates is None and pool.supply_accrual is None
    yield pool.isolation is None or pool.isolation.debt_ceiling > 0
    yield pool.isolation is None or pool.collateral is not None


def _curve(curve: RateCurve, accrual: Accrual) -> Checks:
    yield min(curve.base, curve.slope_low, curve.slope_high) >= 0
    yield 0 < curve.kink <= 1
    yield Fraction(kinked_rate(curve, Decimal(1))) * YEAR <= 100 * accrual.period


def _terms(terms: Terms, weight: Fraction) -> Checks:
    """Yield whether a liquidation at the threshold leaves health no lower, among the rest."""
    yield 0 <= terms.loan_to_value <= terms.liquidation_threshold <= 1
    yield terms.liquidation_threshold > 0
    yield 0 <= terms.protocol_fee <= 1
    yield terms.depth is None or terms.depth > 0
    starts = [terms.liquidation_threshold]
    if terms.ramp is not None:
        yield terms.liquidation_threshold < terms.ramp.start <= 1
        starts.append(terms.ramp.start)
    for start in starts:
        threshold = Fraction(start)
        yield threshold * (1 + _bonus(terms.bonus, threshold, at_threshold=True)) <= weight


def _bonus(bonus: Bonus, threshold: Fraction, *, at_threshold: bool) -> Fraction:
    """Return the bonus at the threshold, or the largest there is."""
    match bonus:
        case FixedBonus(rate):
            return Fraction(rate)
        case HealthBonus(most, share):
            least = floor(Fraction(most) * Fraction(share), Fraction(bonus.step))
            return least if at_threshold else Fraction(most)
        case HealthDiscount(most):
            return Fraction(0) if at_threshold else 1 / (1 - Fraction(most)) - 1
    return Fraction(bonus_by_threshold(bonus, decimal(threshold)))


def _reached(profile: RiskProfile, lending: Lending, terms: Terms, weight: Fraction) -> Checks:
    """Yield whether a target can be reached, and heals."""
    threshold = Fraction(terms.liquidation_threshold)
    most = _bonus(terms.bonus, threshold, at_threshold=False)
    match lending.repay:
        case TargetHealth(target):
            yield Fraction(target) >= 1 + Fraction(profile.trigger.stop_buffer)
            yield threshold * (1 + most) < Fraction(target) * weight
        case TargetLoanToValue(target):
            yield target <= terms.liquidation_threshold
            yield Fraction(target) * (1 + most) < 1


def _auction(lending: Lending, auction: DutchAuction) -> Checks:
    yield isinstance(lending.repay, FullRepayment)
    yield auction.start_factor > 0
    yield auction.reset.after >= SECOND
    for pool in lending.pools.values():
        yield pool.collateral is None or not pool.borrowable
        yield pool.collateral is None or isinstance(pool.collateral.bonus, FixedBonus)
