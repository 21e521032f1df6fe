"""What a liquidation of loans repays and takes for it, or puts on auction; pure, exact.

Plans are made of a group's health alone: `loan_steps` carries them out. A debt and a collateral are
taken as a pair, amounts in the asset of their pool; docs/semantics.md, 10, has every formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine.auction import Start, room, start, start_price
from engine.holdings import Holdings
from engine.interest import INDEX_STEP
from engine.lending import (
    HEALTH_STEP,
    Backing,
    CloseFactor,
    FullRepayment,
    Side,
    TargetHealth,
    TargetLoanToValue,
    WholeAccount,
    health_factor,
    leaves_dust,
    repay_by_close_factor,
    repay_to_health,
    repay_to_loan_to_value,
)
from engine.lending_profile import Bonus, DutchAuction, Lending, Terms
from engine.loan_values import LoanHealth
from engine.margin import Health
from engine.markets import Markets
from engine.money import ONE, ZERO, ceil_to, floor_to
from engine.rules import Rules
from engine.seizure import (
    FixedBonus,
    HealthBonus,
    Seizure,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
    discount_factor,
    protocol_fee,
    repay_for,
    seize,
    toxic,
)

if TYPE_CHECKING:
    from engine.liquidation import Auction


class PlannedSeizure(NamedTuple):
    """A repayment of the debt to `pool` against what is supplied to `collateral`.

    `seize` includes `fee`; `bonus` is a fraction of what is repaid; `toxic` tells that it lowers
    the health of the group.
    """

    pool: str
    repay: Decimal
    collateral: str
    seize: Decimal
    fee: Decimal
    bonus: Decimal
    toxic: bool
    paid_in: Literal["cash", "supply"]


class PlannedAuction(NamedTuple):
    """A `lot` of what is supplied to `collateral`, on auction for `debt`, of which `due` is owed to
    `pool`; `start_price` before the rule's factor is that of the markets."""

    pool: str
    collateral: str
    lot: Decimal
    due: Decimal
    debt: Decimal
    start_price: Decimal
    toxic: bool


class _Pair(NamedTuple):
    """A debt and a collateral with its terms, and the bonus for seizing it."""

    debt: LoanHealth
    collateral: LoanHealth
    terms: Terms
    bonus: Decimal
    owed: Side
    held: Side


def health_of(state: Health) -> Decimal:
    """Return the health factor of a group that owes, rounded down; 0 where nothing is required."""
    return health_factor(Backing(state.margin_equity, state.maintenance)) or ZERO


# --- pairs


def lending_of(rules: Rules) -> Lending:
    """Return the rules of lending; raises `LookupError` where nothing is lent."""
    if rules.lending is None:
        raise LookupError("repayment: no profile of lending is in force")
    return rules.lending


def counting(state: Health, holdings: Holdings, rules: Rules) -> list[tuple[LoanHealth, Terms]]:
    """Return the supplies that count, by pool, with their terms."""
    found = []
    for loan in state.loans:
        terms = lending_of(rules).terms_of(loan.pool, holdings.category)
        if loan.supplied and terms is not None and holdings.loans[loan.pool].enabled:
            found.append((loan, terms))
    return found


def _debts(state: Health, rules: Rules) -> list[LoanHealth]:
    """Return the debts that may be repaid, in the order of the profile."""
    sign = -1 if lending_of(rules).debt_first == "largest" else 1
    found = [loan for loan in state.loans if loan.owed and not rules.halts(loan.pool)]
    return sorted(found, key=lambda loan: (sign * loan.owed * loan.price, loan.pool))


def _collaterals(state: Health, holdings: Holdings, rules: Rules) -> list[tuple[LoanHealth, Terms]]:
    """Return the supplies that may be seized, in the order of the profile."""
    lending = lending_of(rules)
    by_value = lending.collateral_first == "largest" or isinstance(lending.repay, WholeAccount)
    found = [one for one in counting(state, holdings, rules) if not rules.halts(one[0].pool)]

    def place(one: tuple[LoanHealth, Terms]) -> tuple[Decimal, str]:
        loan = one[0]
        return (-loan.supplied * loan.price if by_value else loan.threshold), loan.pool

    return sorted(found, key=place)


def _pairs(state: Health, holdings: Holdings, rules: Rules) -> Iterator[_Pair]:
    """Yield the pairs that may be liquidated, debt by debt, in the order of the profile."""
    collaterals = _collaterals(state, holdings, rules)
    for debt in _debts(state, rules):
        owed = Side(debt.owed, debt.price, rules.assets[debt.asset].unit)
        for held, terms in collaterals:
            side = Side(held.supplied, held.price, rules.assets[held.asset].unit)
            bonus = _bonus(terms.bonus, state, held.threshold)
            yield _Pair(debt, held, terms, bonus, owed, side)


def _bonus(rule: Bonus, state: Health, threshold: Decimal) -> Decimal:
    """Return the bonus at the health and the threshold of now."""
    if isinstance(rule, FixedBonus):
        return rule.rate
    if isinstance(rule, HealthBonus):
        return bonus_by_health(rule, health_of(state))
    if isinstance(rule, ThresholdBonus):
        return bonus_by_threshold(rule, threshold)
    part = discount_factor(rule, Backing(state.margin_equity, state.maintenance))
    # A discount of all of the price has no bonus; the largest there is comes nearest.
    return floor_to(ONE, HEALTH_STEP, max(part, HEALTH_STEP)) - ONE


# --- seizures


def plan_seizures(
    state: Health, holdings: Holdings, rules: Rules, markets: Markets
) -> list[PlannedSeizure]:
    """Return what may be seized next: of the first pair that gives anything, or all collateral
    where a profile takes whole accounts; nothing where there is no such pair.

    Where toxic seizures are held back, of the first pair that is not; of a toxic one only where
    there is no other. To be called in the exact context, as everything here.
    """
    lending = lending_of(rules)
    if isinstance(lending.repay, WholeAccount):
        return _plan_whole(state, holdings, rules, markets)
    policy, held = rules.in_force.liquidation.toxic, None
    for pair in _pairs(state, holdings, rules):
        found = _seizure(pair, state, holdings, rules)
        if not (found.seized and found.repaid):
            continue
        planned = _planned(pair, found, state, rules, markets)
        if not planned.toxic or policy == "tag":
            return [planned]
        if policy != "halt":
            everything = _seize(pair, pair.owed.amount, lending)
            return [_planned(pair, everything, state, rules, markets)]
        held = held or planned
    return [held] if held else []


def held_back(state: Health, holdings: Holdings, rules: Rules, markets: Markets) -> bool:
    """Tell whether the next seizure would lower health, and may not for that."""
    if rules.in_force.liquidation.toxic != "halt" or lending_of(rules).auction is not None:
        return False
    return any(planned.toxic for planned in plan_seizures(state, holdings, rules, markets))


def _plan_whole(
    state: Health, holdings: Holdings, rules: Rules, markets: Markets
) -> list[PlannedSeizure]:
    """Return seizures of all collateral against the first debt, whatever that is."""
    planned: list[PlannedSeizure] = []
    for pair in _pairs(state, holdings, rules):
        if planned and pair.debt.pool != planned[0].pool:
            break
        repay = repay_for(
            pair.held.amount, pair.bonus, pair.held, pair.owed, quoted=lending_of(rules).quoted
        )
        found = _planned(pair, Seizure(repay, pair.held.amount), state, rules, markets)
        planned.append(found._replace(toxic=False))
    return planned


def _planned(
    pair: _Pair, found: Seizure, state: Health, rules: Rules, markets: Markets
) -> PlannedSeizure:
    whole_bonus = lending_of(rules).rounded_in == "collateral"
    fee = protocol_fee(
        found.seized,
        pair.bonus,
        pair.terms.protocol_fee,
        pair.held.unit,
        whole_bonus=whole_bonus,
    )
    pool = markets.lending.get(pair.collateral.pool)
    pays = pool is not None and pool.cash >= found.seized - fee
    return PlannedSeizure(
        pair.debt.pool,
        found.repaid,
        pair.collateral.pool,
        found.seized,
        fee,
        pair.bonus,
        _toxic(pair, found.repaid, state),
        "cash" if pays else "supply",
    )


def _toxic(pair: _Pair, repaid: Decimal, state: Health) -> bool:
    """Tell whether taking the collateral for that much lowers the health of what is left."""
    if state.maintenance <= repaid * pair.owed.price * pair.debt.weight:
        return False
    weighted = Backing(state.margin_equity * pair.debt.weight, state.maintenance)
    impact = pair.terms.impact(pair.held.value)
    return toxic(weighted, pair.collateral.threshold, pair.bonus, impact)


def _seizure(pair: _Pair, state: Health, holdings: Holdings, rules: Rules) -> Seizure:
    """Return what is repaid and seized of a pair, without leaving dust."""
    lending = lending_of(rules)
    wanted = _wanted(pair, state, holdings, rules)
    found = _seize(pair, wanted, lending)
    dust = lending.dust
    if dust is None:
        return found
    owed_left = (pair.owed.amount - found.repaid) * pair.owed.price
    held_left = (pair.held.amount - found.seized) * pair.held.price
    if not leaves_dust(owed_left, held_left, dust.least):
        return found
    if dust.remedy == "leave":
        least = _leaving(pair, dust.least)
        if least >= _least(pair):
            return _seize(pair, min(wanted, least), lending)
    return _seize(pair, pair.owed.amount, lending)


def _seize(pair: _Pair, repay: Decimal, lending: Lending) -> Seizure:
    return seize(
        repay,
        pair.bonus,
        pair.held,
        pair.owed,
        rounded_in=lending.rounded_in,
        quoted=lending.quoted,
    )


def _least(pair: _Pair) -> Decimal:
    """Return what one unit of the collateral costs: less would take none."""
    return ceil_to(pair.held.unit * pair.held.price, pair.owed.unit, pair.owed.price)


def _leaving(pair: _Pair, least: Decimal) -> Decimal:
    """Return the most that may be repaid so that both sides of a pair keep a worth of `least`."""
    owed, held = pair.owed, pair.held
    of_debt = floor_to(owed.amount * owed.price - least, owed.unit, owed.price)
    free = held.amount - ceil_to(least, held.unit, held.price)
    of_collateral = floor_to(free * held.price, owed.unit, owed.price * (ONE + pair.bonus))
    return min(of_debt, of_collateral)


def _wanted(pair: _Pair, state: Health, holdings: Holdings, rules: Rules) -> Decimal:
    """Return how much of a debt is to be repaid: what the rule says, at least what a unit of the
    collateral costs, and all of it where too little would be left."""
    owed = pair.owed.amount
    repay = min(max(_by_rule(pair, state, holdings, rules), _least(pair)), owed)
    least = rules.pool(pair.debt.pool).least_debt
    return owed if owed - repay < least else repay


def _by_rule(pair: _Pair, state: Health, holdings: Holdings, rules: Rules) -> Decimal:
    lending = lending_of(rules)
    rule, owed, held = lending.repay, pair.owed, pair.held
    backing = Backing(state.margin_equity, state.maintenance)
    if isinstance(rule, CloseFactor):
        return repay_by_close_factor(rule, owed, held.value, backing, lending.value_step)
    if isinstance(rule, TargetHealth):
        weight = pair.debt.weight
        penalty = ceil_to(pair.collateral.threshold * (ONE + pair.bonus), HEALTH_STEP, weight)
        found = repay_to_health(rule, backing, weight * owed.price, owed.unit, penalty)
        return owed.amount if found is None else found
    if isinstance(rule, TargetLoanToValue):
        debt = sum((loan.owed * loan.price for loan in state.loans), ZERO)
        backs = (loan.supplied * loan.price for loan, _ in counting(state, holdings, rules))
        worth = repay_to_loan_to_value(rule, debt, sum(backs, ZERO), pair.bonus)
        return owed.amount if worth == debt else floor_to(worth, owed.unit, owed.price)
    if isinstance(rule, FullRepayment):
        return owed.amount
    raise TypeError(f"repayment: {type(rule).__name__} takes whole accounts, not pairs")


# --- auctions


def plan_auction(
    state: Health, holdings: Holdings, rules: Rules, markets: Markets, live: Iterable[Auction]
) -> PlannedAuction | None:
    """Return what goes on auction next while there is room beside the `live` auctions; none where
    there is no pair, or no room."""
    rule = lending_of(rules).auction
    pair = None if rule is None else _auctionable(rule, state, holdings, rules)
    if pair is None or rule is None:
        return None
    begun = _start(pair, _free(rule, pair, live), rules)
    return None if begun is None else _planned_auction(rule, pair, begun, state)


def _auctionable(
    rule: DutchAuction, state: Health, holdings: Holdings, rules: Rules
) -> _Pair | None:
    """Return the first pair of which anything could go on auction while no other is live."""
    pairs = _pairs(state, holdings, rules)
    return next((pair for pair in pairs if _start(pair, _free(rule, pair, ()), rules)), None)


def _start(pair: _Pair, free: Decimal, rules: Rules) -> Start | None:
    """Return what of a pair goes on auction while there is room for `free` debt."""
    owed, held = pair.owed, pair.held
    return start(
        owed.amount, held.amount, ONE, pair.bonus, free, rules.pool(pair.debt.pool).least_debt,
        owed.unit, held.unit, owed.unit,
    )  # fmt: skip


def _free(rule: DutchAuction, pair: _Pair, live: Iterable[Auction]) -> Decimal:
    """Return for how much debt there is room."""
    if rule.in_flight is None:
        return ceil_to(pair.owed.amount * (ONE + pair.bonus), pair.owed.unit)
    in_all = of_collateral = ZERO
    for auction in live:
        if auction.pool == pair.debt.pool:
            in_all += auction.debt
            of_collateral += auction.debt if auction.collateral == pair.collateral.pool else ZERO
    return room(rule.in_flight, in_all, of_collateral)


def _planned_auction(
    rule: DutchAuction, pair: _Pair, begun: Start, state: Health
) -> PlannedAuction:
    return PlannedAuction(
        pair.debt.pool,
        pair.collateral.pool,
        begun.lot,
        begun.principal,
        begun.debt,
        top_price(rule, pair.held.price, pair.owed.price),
        _toxic(pair, begun.principal, state),
    )


def top_price(rule: DutchAuction, collateral_price: Decimal, debt_price: Decimal) -> Decimal:
    """Return the price at which an auction starts, in the debt's asset per unit of collateral."""
    return start_price(floor_to(collateral_price, INDEX_STEP, debt_price), rule.start_factor)


def has_pair(state: Health, holdings: Holdings, rules: Rules, markets: Markets) -> bool:
    """Tell whether there is a debt and a collateral to take for it, room or not."""
    rule = lending_of(rules).auction
    if rule is not None:
        return _auctionable(rule, state, holdings, rules) is not None
    return bool(plan_seizures(state, holdings, rules, markets))
