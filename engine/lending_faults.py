"""What makes the rules of a lending market unsound, in words, as in `profile_faults`.

Above all: a liquidation at the threshold that would lower health, because what is seized for a
repayment was counted for more than the debt that goes away.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from engine.auction_faults import auction_faults
from engine.interest import YEAR, Accrual, Ramp, RateCurve, kinked_rate
from engine.lending import CloseFactor, FullRepayment, TargetHealth, TargetLoanToValue, WholeAccount
from engine.lending_profile import Bonus, Category, Lending, PoolRule, Terms
from engine.money import ONE, ZERO, ceil_to, exact, floor_to, plain
from engine.profile import DAY, SECOND, RiskProfile
from engine.ranges import (
    HUNDRED,
    NAME,
    Faults,
    at,
    fraction,
    not_negative,
    part,
    positive,
    step,
    within,
)
from engine.seizure import (
    FixedBonus,
    HealthBonus,
    HealthDiscount,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
)

SHOWN = Decimal("1e-6")
"""Products are told to this step, rounded up."""


class Place(NamedTuple):
    """Terms with where they stand, and the pools that may be borrowed of against them."""

    where: str
    pool: str
    terms: Terms
    borrowable: tuple[str, ...]


def lending_faults(profile: RiskProfile) -> Faults:
    """Yield every fault of a profile's lending, in words; none where it has no lending."""
    rule = profile.lending
    if rule is None:
        return
    if not rule.pools:
        yield "pools: none given"
    for name, pool in rule.pools.items():
        yield from at(f"pools {name}", _pool(name, pool, rule))
    for name, category in rule.categories.items():
        yield from at(f"categories {name}", _category(name, category, rule))
    for place in _places(rule):
        yield from at(place.where, _terms(place.terms))
        yield from at(place.where, _health_at_threshold(place, profile))
    yield from at("repay", _repay(profile, rule))
    yield from _dust(rule)
    yield from positive("value_step", rule.value_step)
    if len(set(rule.bad_debt.charge)) != len(rule.bad_debt.charge):
        yield "bad_debt: charge: a layer is given twice"
    if rule.auction is not None:
        yield from at("auction", auction_faults(rule.auction))
        yield from at("auction", _sold_by_auction(rule))


@exact
def bonus_at_threshold(bonus: Bonus, threshold: Decimal) -> Decimal:
    """Return the bonus as it stands where a loan can first be liquidated."""
    match bonus:
        case FixedBonus():
            return bonus.rate
        case HealthBonus():
            return bonus_by_health(bonus, ONE)
        case ThresholdBonus():
            return bonus_by_threshold(bonus, threshold)
        case HealthDiscount():
            return ZERO


@exact
def most_bonus(bonus: Bonus, threshold: Decimal) -> Decimal:
    """Return the largest bonus at any health; a discount's is 1 ÷ (1 − most) − 1, rounded up."""
    match bonus:
        case FixedBonus():
            return bonus.rate
        case HealthBonus():
            return bonus.most
        case ThresholdBonus():
            return bonus_by_threshold(bonus, threshold)
        case HealthDiscount():
            return ceil_to(ONE, bonus.step, ONE - bonus.most) - ONE


def _places(rule: Lending) -> Iterator[Place]:
    """Yield all terms that collateral may have."""
    everything = tuple(name for name, pool in rule.pools.items() if pool.borrowable)
    for name, pool in rule.pools.items():
        if pool.collateral is not None:
            yield Place(f"pools {name}: collateral", name, pool.collateral, everything)
    for name, category in rule.categories.items():
        for pool_name, terms in category.collateral.items():
            where = f"categories {name}: collateral {pool_name}"
            yield Place(where, pool_name, terms, category.borrowable or everything)


# --- pools


def _pool(name: str, pool: PoolRule, rule: Lending) -> Faults:
    if NAME.fullmatch(name) is None:
        yield "name: not 1 to 64 of A-Z, a-z, 0-9, point, line and underscore"
    if not pool.asset:
        yield "asset: none given"
    yield from at("rates", _curve(pool.rates))
    yield from at("accrual", _accrual(pool.accrual))
    if pool.supply_rates is not None:
        yield from at("supply_rates", _curve(pool.supply_rates))
    if pool.supply_accrual is not None:
        yield from at("supply_accrual", _accrual(pool.supply_accrual))
    yield from _suppliers(pool)
    yield from fraction("reserve_factor", pool.reserve_factor)
    for field in ("supply_cap", "borrow_cap", "least_debt"):
        yield from not_negative(field, getattr(pool, field))
    yield from _growth("rates", pool.rates, pool.accrual)
    if pool.supply_rates is not None:
        yield from _growth("supply_rates", pool.supply_rates, pool.supply_accrual or pool.accrual)
    yield from _isolation(pool, rule)
    backs = pool.collateral is not None or any(
        name in category.collateral for category in rule.categories.values()
    )
    if not pool.borrowable and not backs:
        yield "borrowable: no, and no collateral either: nothing can be done with it"


def _curve(curve: RateCurve) -> Faults:
    for field in ("base", "slope_low", "slope_high"):
        if not within(getattr(curve, field), 0, HUNDRED):
            yield f"{field} {getattr(curve, field)} not in [0, 100): indices never fall"
    if not (curve.kink == 1 or (within(curve.kink, 0, 1) and curve.kink > 0)):
        yield f"kink {curve.kink} not in (0, 1]"
    yield from step("step", curve.step)


def _accrual(rule: Accrual) -> Faults:
    if not SECOND <= rule.period <= 400 * DAY:
        yield f"period {rule.period} µs not in a second to 400 days"
    yield from step("growth_step", rule.growth_step)
    yield from step("index_step", rule.index_step)


def _growth(field: str, curve: RateCurve, rule: Accrual) -> Faults:
    """Yield a fault where indices would soon grow beyond all numbers, as at the rate of a year for
    each second; of what is sound otherwise."""
    if any(_curve(curve)) or any(_accrual(rule)):
        return
    yearly = _yearly(curve, rule.period)
    if yearly > HUNDRED:
        yield f"{field}: {plain(floor_to(yearly * 100, ONE))} % a year: a slip of the pen"


@exact
def _yearly(curve: RateCurve, period: int) -> Decimal:
    """Return the rate of a year at full utilisation, without compounding, rounded up."""
    return ceil_to(kinked_rate(curve, ONE) * YEAR, SHOWN, Decimal(period))


def _suppliers(pool: PoolRule) -> Faults:
    """Yield what contradicts itself in what suppliers earn."""
    if pool.supply_rates is not None and pool.reserve_factor != 0:
        yield (
            f"reserve_factor {pool.reserve_factor}: given beside supply_rates: the reserve gets "
            "what they leave"
        )
    own = pool.supply_accrual
    if pool.supply_rates is None and own is not None and own.period != pool.accrual.period:
        yield (
            f"supply_accrual: period {own.period} µs is not the accrual's {pool.accrual.period}: "
            "suppliers earn of the same rate"
        )
    if pool.accrued_by == "venue":
        told = {
            "rates": pool.rates != RateCurve(),
            "supply_rates": pool.supply_rates is not None,
            "supply_accrual": own is not None,
        }
        for field in (name for name, given in told.items() if given):
            yield f'{field}: given, and accrued_by "venue": indices come as events'


def _isolation(pool: PoolRule, rule: Lending) -> Faults:
    if pool.isolation is None:
        return
    yield from positive("isolation: debt_ceiling", pool.isolation.debt_ceiling)
    if pool.collateral is None:
        yield "isolation: without collateral terms: a supply backs nothing"
    if not any(one.borrowable_in_isolation for one in rule.pools.values()):
        yield "isolation: no pool is borrowable_in_isolation: nothing could be borrowed"


def _category(name: str, category: Category, rule: Lending) -> Faults:
    if NAME.fullmatch(name) is None:
        yield "name: not 1 to 64 of A-Z, a-z, 0-9, point, line and underscore"
    if not category.collateral:
        yield "collateral: none given"
    for pool in category.collateral:
        if pool not in rule.pools:
            yield f"collateral {pool}: no such pool"
    for pool in category.borrowable:
        if pool not in rule.pools:
            yield f"borrowable {pool}: no such pool"
        elif not rule.pools[pool].borrowable:
            yield f"borrowable {pool}: the pool is not"
    if len(set(category.borrowable)) != len(category.borrowable):
        yield "borrowable: names a pool twice"


# --- terms


def _terms(terms: Terms) -> Faults:
    opening, threshold = terms.loan_to_value, terms.liquidation_threshold
    if not (threshold == 1 or (within(threshold, 0, 1) and threshold > 0)):
        yield f"liquidation_threshold {threshold} not in (0, 1]"
    if opening < 0:
        yield f"loan_to_value {opening} negative"
    elif opening > threshold:
        yield (
            f"loan_to_value {opening} above liquidation_threshold {threshold}: a loan could be "
            "liquidated as it is opened"
        )
    yield from at("bonus", _bonus(terms.bonus))
    yield from fraction("protocol_fee", terms.protocol_fee)
    yield from positive("depth", terms.depth)
    if terms.ramp is not None:
        yield from at("ramp", _ramp(terms.ramp, threshold))


def _bonus(bonus: Bonus) -> Faults:
    match bonus:
        case FixedBonus():
            yield from part("rate", bonus.rate)
            return
        case HealthBonus():
            yield from part("most_at", bonus.most_at)
            yield from fraction("least_share", bonus.least_share)
        case ThresholdBonus():
            yield from part("cursor", bonus.cursor)
        case HealthDiscount():
            pass
    yield from part("most", bonus.most)
    yield from step("step", bonus.step)


def _ramp(ramp: Ramp, threshold: Decimal) -> Faults:
    if ramp.start <= threshold:
        yield f"start {ramp.start} not above liquidation_threshold {threshold}: it ramps down"
    elif ramp.start > 1:
        yield f"start {ramp.start} above 1"
    yield from positive("until", ramp.until)
    yield from positive("duration", ramp.duration)


def _sound(terms: Terms) -> bool:
    """Tell whether terms are sound enough to reckon with."""
    return not any(_terms(terms))


def _health_at_threshold(place: Place, profile: RiskProfile) -> Faults:
    """Yield a fault where a repayment at a health factor of 1 takes more off what counts than off
    the debt: threshold·(1 + bonus) above the least borrow weight (arXiv:2510.10171, eq. 4; Aave v3,
    PoolConfigurator.sol:139). Thresholds that ramp down are looked at where they start too."""
    terms = place.terms
    if not _sound(terms):
        return
    weight = _least_weight(place, profile)
    starts = [terms.liquidation_threshold]
    if terms.ramp is not None:
        starts.append(terms.ramp.start)
    for name, threshold in zip(("liquidation_threshold", "ramp: start"), starts, strict=False):
        bonus = bonus_at_threshold(terms.bonus, threshold)
        if threshold * (ONE + bonus) > weight:
            of = "1" if weight == 1 else f"borrow_weight {weight}"
            yield (
                f"{name} {threshold} · (1 + bonus {plain(bonus)}) = {_product(threshold, bonus)}, "
                f"above {of}: a liquidation at the threshold lowers health"
            )


def _least_weight(place: Place, profile: RiskProfile) -> Decimal:
    """Return the least weight of what can be borrowed against a collateral."""
    assert profile.lending is not None
    pools = profile.lending.pools
    assets = {pools[name].asset for name in place.borrowable if name in pools}
    return min((profile.collateral_of(asset).borrow_weight for asset in assets), default=ONE)


def _product(threshold: Decimal, bonus: Decimal) -> str:
    return plain(ceil_to(threshold * (ONE + bonus), SHOWN))


# --- how loans are liquidated


def _repay(profile: RiskProfile, rule: Lending) -> Faults:
    match rule.repay:
        case CloseFactor() as repay:
            if not (repay.share == 1 or (within(repay.share, 0, 1) and repay.share > 0)):
                yield f"share {repay.share} not in (0, 1]"
            yield from fraction("full_at", repay.full_at)
            yield from not_negative("full_below", repay.full_below)
        case TargetHealth() as repay:
            stop = ONE + profile.trigger.stop_buffer
            if repay.target < stop:
                yield f"target {repay.target} below {stop}, where liquidation stops"
            for place in _places(rule):
                yield from _health_reached(repay.target, place, profile)
        case TargetLoanToValue() as repay:
            yield from part("target", repay.target)
            yield from fraction("full_above", repay.full_above)
            for place in _places(rule):
                yield from _loan_to_value_reached(repay.target, place)
        case WholeAccount():
            owed = [name for name, pool in rule.pools.items() if pool.borrowable]
            if len(owed) > 1:
                yield (
                    f"whole_account takes all collateral against one debt, and {len(owed)} pools "
                    f"are borrowable: {', '.join(owed)}"
                )


def _health_reached(target: Decimal, place: Place, profile: RiskProfile) -> Faults:
    """Yield a fault where repaying cannot bring the health factor to its target."""
    terms = place.terms
    if not _sound(terms):
        return
    bonus = most_bonus(terms.bonus, terms.liquidation_threshold)
    weight = _least_weight(place, profile)
    if terms.liquidation_threshold * (ONE + bonus) >= target * weight:
        yield (
            f"target {target} not above liquidation_threshold · (1 + most bonus) = "
            f"{_product(terms.liquidation_threshold, bonus)} of {place.where}: out of reach"
        )


def _loan_to_value_reached(target: Decimal, place: Place) -> Faults:
    """Yield a fault where a target does not heal, or cannot be reached."""
    terms = place.terms
    if not _sound(terms):
        return
    if target > terms.liquidation_threshold:
        yield (
            f"target {target} above liquidation_threshold {terms.liquidation_threshold} of "
            f"{place.where}: what is repaid does not heal"
        )
    bonus = most_bonus(terms.bonus, terms.liquidation_threshold)
    if target * (ONE + bonus) >= 1:
        yield (
            f"target · (1 + most bonus) = {_product(target, bonus)} of {place.where} not below 1: "
            "out of reach"
        )


def _dust(rule: Lending) -> Faults:
    if rule.dust is None:
        return
    yield from positive("dust: least", rule.dust.least)
    if rule.auction is not None or isinstance(rule.repay, WholeAccount):
        yield "dust: given, and auctions or whole accounts leave by rules of their own"


# --- auctions


def _sold_by_auction(rule: Lending) -> Faults:
    if not isinstance(rule.repay, FullRepayment):
        yield "repay: given, and an auction raises what is owed"
    for place in _places(rule):
        if not isinstance(place.terms.bonus, FixedBonus):
            yield f"bonus of {place.where}: not fixed: the penalty is part of what is raised"
        if place.terms.protocol_fee != 0:
            yield f"protocol_fee of {place.where}: not 0: the penalty is the reserve's"
        if place.pool in rule.pools and rule.pools[place.pool].borrowable:
            yield f"borrowable: so is {place.where}: a lot on auction must be there"
