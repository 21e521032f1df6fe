"""Which collateral is seized for which debt, how much of both, and when that lowers health."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from engine.auction import room, start
from engine.decisions import CollateralLiquidation
from engine.lending import (
    HEALTH_STEP,
    Backing,
    CloseFactor,
    Side,
    TargetHealth,
    TargetLoanToValue,
    WholeAccount,
    leaves_dust,
    repay_by_close_factor,
    repay_to_health,
    repay_to_loan_to_value,
)
from engine.seizure import (
    FixedBonus,
    HealthBonus,
    HealthDiscount,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
    discount_factor,
    protocol_fee,
    repay_for,
    seize,
)
from tests.twin.amounts import ONE, ZERO, ceil, decimal, floor
from tests.twin.books import Group, World
from tests.twin.orders import issue
from tests.twin.pools import LoanHealth, counting_terms, rule_of, rules
from tests.twin.values import Health

STEP = Fraction(HEALTH_STEP)


@dataclass
class Plan:
    """A seizure of `collateral` against `debt`; `repay` in the debt's asset, the rest in the
    collateral's."""

    debt: LoanHealth
    collateral: LoanHealth
    bonus: Fraction
    repay: Fraction
    seized: Fraction
    fee: Fraction
    toxic: bool


def first_plan(world: World, group: Group, now: Health) -> Plan | None:
    """Return the first pair's plan that seizes something, one that is not toxic before others where
    those wait; just the first one where plans of pairs play no part."""
    plans = [_plan(world, group, now, *pair) for pair in _pairs(world, now)]
    if rules(world).auction is not None:
        return next((plan for plan in plans if _may_start(world, plan)), None)
    if isinstance(rules(world).repay, WholeAccount):
        return next(iter(plans), None)
    some = [plan for plan in plans if min(plan.seized, plan.repay) > 0]
    sound = [plan for plan in some if not plan.toxic]
    if world.rules.source.liquidation.toxic == "halt" and sound:
        return sound[0]
    return next(iter(some), None)


def waits_as_toxic(world: World, plan: Plan) -> bool:
    """Tell whether a plan does not go out because it lowers health."""
    planned = rules(world).auction is None and not isinstance(rules(world).repay, WholeAccount)
    return planned and plan.toxic and world.rules.source.liquidation.toxic == "halt"


def _may_start(world: World, plan: Plan) -> bool:
    """Tell whether anything of a pair could go on auction while no other is."""
    auction, unit = rules(world).auction, decimal(world.unit(plan.debt.asset))
    free = decimal(plan.debt.owed * 1000)
    if auction is not None and auction.in_flight is not None:
        free = room(auction.in_flight, Decimal(0), Decimal(0))
    owed, held = decimal(plan.debt.owed), decimal(plan.collateral.supplied)
    least = rule_of(world, plan.debt.pool).least_debt
    other = decimal(world.unit(plan.collateral.asset))
    return (
        start(owed, held, Decimal(1), decimal(plan.bonus), free, least, unit, other, unit)
        is not None
    )


def _pairs(world: World, now: Health) -> Iterator[tuple[LoanHealth, LoanHealth]]:
    for debt in _debts(world, now):
        for collateral in _collaterals(world, now):
            yield debt, collateral


def _debts(world: World, now: Health) -> list[LoanHealth]:
    owed = [loan for loan in now.loans if loan.owed > 0 and not world.is_halted(loan.pool)]
    sign = 1 if rules(world).debt_first == "smallest" else -1
    return sorted(owed, key=lambda loan: (sign * loan.debt, loan.pool))


def _collaterals(world: World, now: Health) -> list[LoanHealth]:
    if rules(world).collateral_first == "largest":
        return _by_worth(world, now)
    return sorted(_by_worth(world, now), key=lambda loan: (loan.threshold or ZERO, loan.pool))


def _by_worth(world: World, now: Health) -> list[LoanHealth]:
    held = [
        loan
        for loan in now.loans
        if loan.threshold is not None and loan.supplied > 0 and not world.is_halted(loan.pool)
    ]
    return sorted(held, key=lambda loan: (-loan.worth, loan.pool))


def backing_of(now: Health) -> Backing:
    """Return margin equity against maintenance."""
    return Backing(decimal(now.margin_equity), decimal(now.requirement))


def side_of(world: World, loan: LoanHealth, amount: Fraction) -> Side:
    """Return an amount of a pool's asset with its price and unit."""
    return Side(decimal(amount), decimal(loan.price), decimal(world.unit(loan.asset)))


def health_factor(now: Health) -> Fraction:
    """Return margin equity ÷ maintenance, rounded down."""
    return floor(now.margin_equity / now.requirement, STEP)


def bonus_of(world: World, group: Group, now: Health, collateral: LoanHealth) -> Fraction:
    """Return the bonus for seizing a collateral."""
    terms = counting_terms(world, group, collateral.pool)
    assert terms is not None
    match terms.bonus:
        case FixedBonus(rate):
            return Fraction(rate)
        case HealthBonus():
            return Fraction(bonus_by_health(terms.bonus, decimal(health_factor(now))))
        case ThresholdBonus():
            threshold = collateral.threshold or ZERO
            return Fraction(bonus_by_threshold(terms.bonus, decimal(threshold)))
        case HealthDiscount():
            factor = Fraction(discount_factor(terms.bonus, backing_of(now)))
            return floor(1 / factor - 1, STEP)
    raise AssertionError(f"{terms.bonus}: no bonus")


def _plan(
    world: World, group: Group, now: Health, debt: LoanHealth, collateral: LoanHealth
) -> Plan:
    bonus = bonus_of(world, group, now, collateral)
    wanted = _wanted(world, now, debt, collateral, bonus)
    plan = _plan_of(world, group, now, debt, collateral, wanted, bonus)
    whole = world.rules.source.liquidation.toxic in ("full", "take_over")
    if plan.toxic and whole and rules(world).auction is None:
        return _plan_of(world, group, now, debt, collateral, debt.owed, bonus)
    return plan


def _plan_of(
    world: World,
    group: Group,
    now: Health,
    debt: LoanHealth,
    collateral: LoanHealth,
    wanted: Fraction,
    bonus: Fraction,
) -> Plan:
    repay, seized = _seizure(world, debt, collateral, wanted, bonus)
    if _is_dust(world, debt, collateral, repay, seized):
        wanted = _without_dust(world, debt, collateral, wanted, bonus)
        repay, seized = _seizure(world, debt, collateral, wanted, bonus)
    return Plan(
        debt=debt,
        collateral=collateral,
        bonus=bonus,
        repay=repay,
        seized=seized,
        fee=_fee(world, group, collateral, seized, bonus),
        toxic=toxic(world, group, now, debt, collateral, bonus, repay),
    )


def toxic(
    world: World,
    group: Group,
    now: Health,
    debt: LoanHealth,
    collateral: LoanHealth,
    bonus: Fraction,
    repaid: Fraction,
) -> bool:
    """Tell whether a seizure that leaves something to be backed lowers health."""
    left = now.requirement - repaid * debt.price * debt.weight
    terms = counting_terms(world, group, collateral.pool)
    assert terms is not None
    assert collateral.threshold is not None
    taken = collateral.threshold * (1 + bonus)
    if terms.depth is not None:
        taken *= 1 + ceil(2 * collateral.supplied * collateral.price / Fraction(terms.depth), STEP)
    return left > 0 and now.margin_equity * debt.weight < taken * now.requirement


def _wanted(
    world: World, now: Health, debt: LoanHealth, collateral: LoanHealth, bonus: Fraction
) -> Fraction:
    """Return how much of a debt is to be repaid."""
    rule, owed = rules(world).repay, debt.owed
    unit = world.unit(debt.asset)
    wanted = owed
    match rule:
        case CloseFactor():
            wanted = Fraction(
                repay_by_close_factor(
                    rule,
                    side_of(world, debt, owed),
                    decimal(collateral.worth),
                    backing_of(now),
                    rules(world).value_step,
                )
            )
        case TargetHealth():
            assert collateral.threshold is not None
            penalty = ceil(collateral.threshold * (1 + bonus) / debt.weight, STEP)
            price = decimal(debt.weight * debt.price)
            found = repay_to_health(rule, backing_of(now), price, decimal(unit), decimal(penalty))
            wanted = owed if found is None else Fraction(found)
        case TargetLoanToValue():
            wanted = _to_loan_to_value(world, now, rule, debt, bonus)
    wanted = min(max(wanted, _cost_of_a_unit(world, debt, collateral)), owed)
    return owed if owed - wanted < Fraction(rule_of(world, debt.pool).least_debt) else wanted


def _cost_of_a_unit(world: World, debt: LoanHealth, collateral: LoanHealth) -> Fraction:
    """Return what has to be repaid at the least to be given anything."""
    return ceil(
        world.unit(collateral.asset) * collateral.price / debt.price, world.unit(debt.asset)
    )


def _to_loan_to_value(
    world: World, now: Health, rule: TargetLoanToValue, debt: LoanHealth, bonus: Fraction
) -> Fraction:
    debts = sum((loan.debt for loan in now.loans), ZERO)
    worth = sum((loan.worth for loan in now.loans if loan.threshold is not None), ZERO)
    found = Fraction(repay_to_loan_to_value(rule, decimal(debts), decimal(worth), decimal(bonus)))
    return debt.owed if found == debts else floor(found / debt.price, world.unit(debt.asset))


def _seizure(
    world: World, debt: LoanHealth, collateral: LoanHealth, wanted: Fraction, bonus: Fraction
) -> tuple[Fraction, Fraction]:
    found = seize(
        decimal(wanted),
        decimal(bonus),
        side_of(world, collateral, collateral.supplied),
        side_of(world, debt, debt.owed),
        rounded_in=rules(world).rounded_in,
        quoted=rules(world).quoted,
    )
    return Fraction(found.repaid), Fraction(found.seized)


def _is_dust(
    world: World, debt: LoanHealth, collateral: LoanHealth, repay: Fraction, seized: Fraction
) -> bool:
    rule = rules(world).dust
    if rule is None:
        return False
    debt_left = (debt.owed - repay) * debt.price
    collateral_left = (collateral.supplied - seized) * collateral.price
    return leaves_dust(decimal(debt_left), decimal(collateral_left), rule.least)


def _without_dust(
    world: World, debt: LoanHealth, collateral: LoanHealth, wanted: Fraction, bonus: Fraction
) -> Fraction:
    rule = rules(world).dust
    assert rule is not None
    if rule.remedy == "all":
        return debt.owed
    least, unit = Fraction(rule.least), world.unit(debt.asset)
    kept = ceil(least / collateral.price, world.unit(collateral.asset))
    worth = (collateral.supplied - kept) * collateral.price
    wanted = min(
        wanted,
        floor(debt.owed - least / debt.price, unit),
        floor(worth / (debt.price * (ONE + bonus)), unit),
    )
    return wanted if wanted >= _cost_of_a_unit(world, debt, collateral) else debt.owed


def _fee(
    world: World, group: Group, collateral: LoanHealth, seized: Fraction, bonus: Fraction
) -> Fraction:
    terms = counting_terms(world, group, collateral.pool)
    assert terms is not None
    unit = decimal(world.unit(collateral.asset))
    whole = rules(world).rounded_in == "collateral"
    share = terms.protocol_fee
    fee = protocol_fee(decimal(seized), decimal(bonus), share, unit, whole_bonus=whole)
    return Fraction(fee)


# --- orders


def send_seizures(world: World, group: Group, now: Health, plan: Plan) -> None:
    """Ask liquidators to repay a debt against one collateral, or against all of them at once."""
    plans = [plan]
    if isinstance(rules(world).repay, WholeAccount):
        plans = [_all_of(world, group, now, loan) for loan in _by_worth(world, now)]
    for each in plans:
        _send(world, group, now, each)


def _all_of(world: World, group: Group, now: Health, collateral: LoanHealth) -> Plan:
    debt = _debts(world, now)[0]
    bonus = bonus_of(world, group, now, collateral)
    repay = repay_for(
        decimal(collateral.supplied),
        decimal(bonus),
        side_of(world, collateral, collateral.supplied),
        side_of(world, debt, debt.owed),
        quoted=rules(world).quoted,
    )
    fee = _fee(world, group, collateral, collateral.supplied, bonus)
    return Plan(debt, collateral, bonus, Fraction(repay), collateral.supplied, fee, toxic=False)


def _send(world: World, group: Group, now: Health, plan: Plan) -> None:
    order, replaces = issue(
        world,
        group,
        plan.debt.pool,
        False,
        size=plan.repay,
        limit=ZERO,
        bankruptcy=None,
        collateral=plan.collateral.pool,
        seize=plan.seized,
    )
    pool = world.lending.get(plan.collateral.pool)
    there = ZERO if pool is None else pool.cash
    assert group.liquidation is not None
    world.emit_for(
        group,
        CollateralLiquidation,
        order_id=order.id,
        number=group.liquidation.number,
        pool=plan.debt.pool,
        repay=decimal(plan.repay),
        collateral=plan.collateral.pool,
        seize=decimal(plan.seized),
        fee=decimal(plan.fee),
        bonus=decimal(plan.bonus),
        health_factor=decimal(health_factor(now)),
        toxic=plan.toxic,
        paid_in="cash" if there >= plan.seized - plan.fee else "supply",
        expires=order.expires,
        replaces=replaces,
    )
