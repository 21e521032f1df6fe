"""Where the loans of a margin group stand and what may still be done, as plain data.

Amounts are in the asset of their pool, values in the profile's numeraire. What would be liquidated
is the engine's own plan; what stands beside it solves health, which is a straight line in the price
of an asset, for the price at which margin equity meets maintenance.
"""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from engine.book import Group
from engine.core import Engine
from engine.lending import HEALTH_STEP, Backing, health_factor
from engine.lending_profile import Bonus, Lending
from engine.liquidation import Auction
from engine.loan_book import pool_view
from engine.loan_values import LoanHealth, debt_weight, indices_now, loans_of
from engine.loans import ceiling_left, not_to_be_borrowed
from engine.margin import Health, breached, health, level
from engine.markets import Markets
from engine.money import ONE, RATE_STEP, ZERO, ceil_to, exact, floor_to, sqrt_up, unit_of
from engine.repayment import plan_auction, plan_seizures
from engine.rules import Rules
from engine.seizure import (
    FixedBonus,
    HealthBonus,
    HealthDiscount,
    bonus_by_threshold,
)
from engine.survey import unrealised


class Limit(NamedTuple):
    """How much of something, and what does not allow more."""

    amount: Decimal
    by: str


class Ends(NamedTuple):
    """The prices of an asset between which a group is not liquidated, each may be none."""

    below: Decimal | None
    above: Decimal | None


@exact
def outlook(
    engine: Engine, group: Group, state: Health, told: Collection[str]
) -> dict[str, Any] | None:
    """Return where a group's loans stand, none where it has none.

    `told` are the pools of which it is known what they hold in all: what others allow of the rest
    is not told.
    """
    lending, holdings = engine.rules.lending, group.holdings
    if not state.loans or lending is None:
        return None
    return {
        "health_factor": health_factor(Backing(state.margin_equity, state.maintenance)),
        "category": holdings.category,
        "breached": breached(state, engine.rules),
        "allowed": list(_allowed(engine, group, state, lending, told)),
        "prices": list(_prices(engine, group, state)),
        "collateral_drop": _drop(state),
        "toxic_below": list(_frontiers(state, lending, holdings.category)),
        "seizures": _planned(engine, group, state, engine.markets),
        "unrealised_bad_debt": _by_asset(unrealised(engine, group)),
    }


@exact
def loan_rows(engine: Engine, group: Group, state: Health) -> list[dict[str, Any]]:
    """Return what a group supplied to each pool and owes it, and how both count."""
    lending, holdings = engine.rules.lending, group.holdings
    opening = loans_of(holdings, engine.rules, engine.markets, "initial") or ()
    found = []
    for loan, entry in zip(state.loans, opening, strict=True):
        terms = None if lending is None else lending.terms_of(loan.pool, holdings.category)
        enabled = loan.pool not in group.disabled
        found.append(
            {
                **loan._asdict(),
                "supplied_value": loan.supplied * loan.price,
                "owed_value": loan.owed * loan.price,
                "enabled": enabled,
                "counts": enabled and terms is not None,
                "terms": _terms_key(lending, loan.pool, holdings.category),
                "loan_to_value": entry.threshold,
                "initial_weight": entry.weight,
                "counted": loan.counted,
                "required": loan.required,
            }
        )
    return found


def repayment_rule(rules: Rules) -> str:
    """Return the name of the rule for how much of a debt is repaid, empty without lending."""
    if rules.lending is None:
        return ""
    return str(type(rules.lending.repay).__struct_config__.tag)


def _terms_key(lending: Lending | None, pool: str, category: str) -> str:
    """Return the key of the profile that a supply's terms come from."""
    if (
        lending is not None
        and category in lending.categories
        and pool in lending.categories[category].collateral
    ):
        return f"lending.categories.{category}.collateral.{pool}"
    return f"lending.pools.{pool}.collateral"


# --- what may still be done


def _allowed(
    engine: Engine, group: Group, state: Health, lending: Lending, told: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield what may be borrowed of and redeemed from each pool."""
    loans = {loan.pool: loan for loan in state.loans}
    for pool in sorted(lending.pools):
        if pool not in loans and pool not in told:
            continue
        borrow = _borrowable(engine, group, pool, told)
        redeem = None
        if pool in loans and loans[pool].supplied:
            redeem = _redeemable(engine, group, state, loans[pool], told)
        if borrow is None and redeem is None and pool not in loans:
            continue
        view = pool_view(engine, pool) if pool in told else None
        yield {
            "pool": pool,
            "asset": lending.pools[pool].asset,
            "supply_rate": view.supply_rate if view else None,
            "borrow_rate": view.borrow_rate if view else None,
            "borrow": borrow.amount if borrow else None,
            "borrow_limit": borrow.by if borrow else None,
            "redeem": redeem.amount if redeem else None,
            "redeem_limit": redeem.by if redeem else None,
        }


def _borrowable(engine: Engine, group: Group, pool: str, told: Collection[str]) -> Limit | None:
    """Return how much may be borrowed of a pool and taken away, none while a price is missing."""
    rules, markets = engine.rules, engine.markets
    rule = rules.pool(pool)
    price = rules.price_of(rule.asset, markets)
    entry = level(group.holdings, rules, markets, "initial")
    if price is None or not price or entry is None or rule.asset not in rules.assets:
        return None
    if not rule.borrowable:
        return Limit(ZERO, "not lent")
    if why := not_to_be_borrowed(engine, group, pool):
        return Limit(ZERO, why)
    unit, weight = (
        rules.assets[rule.asset].unit,
        debt_weight(rules.in_force.collateral_of(rule.asset), "initial"),
    )
    limits = [Limit(floor_to(entry.surplus, unit, price * weight), "collateral")]
    ceiling = ceiling_left(engine, group)
    if ceiling is not None:
        limits.append(Limit(floor_to(ceiling, unit, price), "ceiling"))
    if pool in told:
        limits += _lent(engine, pool)
    least = min(limits, key=lambda limit: limit.amount)
    has = group.loans[pool].owed if pool in group.loans else ZERO
    if ZERO < least.amount < rule.least_debt and not has:
        return Limit(ZERO, "least debt")
    return Limit(max(least.amount, ZERO), least.by)


def _lent(engine: Engine, pool: str) -> list[Limit]:
    """Return what a pool itself can lend."""
    rules, markets = engine.rules, engine.markets
    rule, known = rules.pool(pool), markets.lending.get(pool)
    limits = [Limit(known.cash if known else ZERO, "cash")]
    if rule.borrow_cap is not None:
        borrowed = known.borrowed if known else ZERO
        unit = rules.assets[rule.asset].unit
        owed = ceil_to(borrowed * indices_now(pool, rules, markets).borrow, unit)
        limits.append(Limit(rule.borrow_cap - owed, "cap"))
    return limits


def _redeemable(
    engine: Engine, group: Group, state: Health, loan: LoanHealth, told: Collection[str]
) -> Limit | None:
    """Return how much of a supply may be taken out and away, so that what is owed could still be
    opened, and is not liquidated."""
    rules, markets = engine.rules, engine.markets
    entry = level(group.holdings, rules, markets, "initial")
    opening = loans_of(group.holdings, rules, markets, "initial") or ()
    if entry is None:
        return None
    unit = rules.assets[loan.asset].unit
    limits = [Limit(loan.supplied, "supply")]
    if loan.pool in told:
        limits.append(Limit(markets.lending[loan.pool].cash, "cash"))
    counts = next(one.threshold for one in opening if one.pool == loan.pool)
    for surplus, needed, share in (
        (entry.surplus, entry.requirement, counts),
        (state.margin_equity - state.maintenance, state.maintenance, loan.threshold),
    ):
        if needed and share and loan.price:
            limits.append(Limit(floor_to(surplus, unit, loan.price * share), "debts"))
    least = min(limits, key=lambda limit: limit.amount)
    return Limit(max(least.amount, ZERO), least.by)


# --- where it is liquidated


def _prices(engine: Engine, group: Group, state: Health) -> Iterator[dict[str, Any]]:
    """Yield, for each asset supplied or owed, the prices at which the group is liquidated, and what
    would be seized there."""
    rules = engine.rules
    for asset in sorted({loan.asset for loan in state.loans}):
        if asset == rules.in_force.numeraire:
            continue
        price = rules.price_of(asset, engine.markets)
        if not price:
            continue
        ends = liquidated_at(engine, state, asset, price)
        end = ends.below if ends.below is not None else ends.above
        yield {
            "asset": asset,
            "price": price,
            "liquidated_below": ends.below,
            "liquidated_above": ends.above,
            "move": None if end is None else floor_to(end - price, RATE_STEP, price),
            "seizures": [] if breached(state, rules) else _beyond(engine, group, asset, ends),
        }


def liquidated_at(engine: Engine, state: Health, asset: str, price: Decimal) -> Ends:
    """Return the prices of an asset beyond which a group is liquidated, all else held.

    Margin equity less maintenance is d + g·(p − price), so that it is 0 at price − d ÷ g; to the
    asset's price resolution, on the side where it is not liquidated. None where g is 0 or no
    positive price is such.
    """
    rules = engine.rules
    gain = _gain(engine, state, asset)
    unit = unit_of(rules.assets[asset].price_decimals)
    left = state.margin_equity - state.maintenance
    if not gain:
        return Ends(None, None)
    edge = price * gain - left
    found = ceil_to(edge, unit, gain) if gain > 0 else floor_to(edge, unit, gain)
    if rules.in_force.trigger.at_equality and found * gain == edge:
        found += unit if gain > 0 else -unit
    if found <= 0:
        return Ends(None, None)
    return Ends(found, None) if gain > 0 else Ends(None, found)


def _gain(engine: Engine, state: Health, asset: str) -> Decimal:
    """Return what margin equity gains on maintenance when an asset's price rises by one."""
    rules = engine.rules
    loans = [loan for loan in state.loans if loan.asset == asset]
    gain = sum((one.supplied * one.threshold - one.owed * one.weight for one in loans), ZERO)
    if asset in state.counted:
        gain += state.counted[asset] * rules.weight(asset, state.counted[asset])
    if not rules.in_force.profit.after_requirement:
        gain -= sum((leg.maintenance for leg in state.legs if leg.settle == asset), ZERO)
    return gain


def _beyond(engine: Engine, group: Group, asset: str, ends: Ends) -> list[dict[str, Any]]:
    """Return what would be seized one step of the price beyond where it is liquidated."""
    if ends == (None, None):
        return []
    unit = unit_of(engine.rules.assets[asset].price_decimals)
    price = ends.below - unit if ends.below is not None else (ends.above or ZERO) + unit
    if price <= 0:
        return []
    markets = _with_index(engine.markets, asset, price)
    state = health(group.holdings, engine.rules, markets)
    return [] if state is None else _planned(engine, group, state, markets)


def _planned(engine: Engine, group: Group, state: Health, markets: Markets) -> list[dict[str, Any]]:
    """Return what would be repaid and seized next, or go on auction; nothing while healthy."""
    rules, holdings = engine.rules, group.holdings
    if rules.lending is None or not breached(state, rules):
        return []
    if rules.lending.auction is None:
        return [one._asdict() for one in plan_seizures(state, holdings, rules, markets)]
    planned = plan_auction(state, holdings, rules, markets, _live_auctions(engine))
    if planned is None:
        return []
    return [
        {
            "pool": planned.pool,
            "repay": planned.due,
            "collateral": planned.collateral,
            "seize": planned.lot,
            "fee": ZERO,
            "bonus": floor_to(planned.debt - planned.due, RATE_STEP, planned.due),
            "toxic": planned.toxic,
            "paid_in": "auction",
        }
    ]


def _live_auctions(engine: Engine) -> Iterator[Auction]:
    for group in engine.book.all_groups():
        if group.liquidation is not None:
            yield from group.liquidation.auctions.values()


def _with_index(markets: Markets, asset: str, price: Decimal) -> Markets:
    """Return the same markets but for the price of one asset."""
    other = copy.copy(markets)
    known = markets.prices[asset, "index"]
    changed = {(asset, "index"): msgspec.structs.replace(known, price=price)}
    other.prices = ChainMap(changed, markets.prices)
    return other


def _drop(state: Health) -> Decimal | None:
    """Return by what part all that is supplied may fall together before it is liquidated, rounded
    down; none without a debt, or where it may fall to nothing."""
    counted = sum((loan.counted for loan in state.loans), ZERO)
    left = state.margin_equity - state.maintenance
    if not any(loan.owed for loan in state.loans) or not 0 <= left < counted:
        return None
    return floor_to(left, RATE_STEP, counted)


# --- toxicity


def _frontiers(state: Health, lending: Lending, category: str) -> Iterator[dict[str, Any]]:
    """Yield, for each collateral, the health factor below which seizing it lowers health."""
    weights = [loan.weight for loan in state.loans if loan.owed]
    for loan in state.loans:
        terms = lending.terms_of(loan.pool, category)
        if terms is not None and loan.supplied and loan.threshold and weights:
            impact = terms.impact(loan.supplied * loan.price)
            frontier = toxic_below(terms.bonus, loan.threshold, min(weights), impact)
            yield {"pool": loan.pool, "health_factor": frontier}


@exact
def toxic_below(
    rule: Bonus, threshold: Decimal, weight: Decimal = ONE, impact: Decimal = ONE
) -> Decimal:
    """Return the health factor h that is threshold·(1 + bonus at h)·impact ÷ weight, below which a
    seizure lowers it; up to 10⁻¹⁸, so that none is called safe that is not (arXiv:2510.10171)."""
    share = ceil_to(threshold * impact, HEALTH_STEP, weight)
    if isinstance(rule, HealthBonus):
        return _growing(rule, share)
    if isinstance(rule, HealthDiscount):
        # The bonus is 1 ÷ h − 1 from 1 down until it is at its most: h² = share.
        root, least = sqrt_up(share, HEALTH_STEP), ONE - rule.most
        return max(share, root) if root >= least else ceil_to(share, HEALTH_STEP, least)
    bonus = rule.rate if isinstance(rule, FixedBonus) else bonus_by_threshold(rule, threshold)
    return ceil_to(threshold * (ONE + bonus) * impact, HEALTH_STEP, weight)


def _growing(rule: HealthBonus, share: Decimal) -> Decimal:
    """Solve h = share·(1 + least + (most − least)·(1 − h) ÷ (1 − most_at)), and where that is below
    `most_at`, h = share·(1 + most). Above 1 the bonus is the least."""
    least, span = rule.most * rule.least_share, ONE - rule.most_at
    if share * (ONE + least) > 1:
        return ceil_to(share * (ONE + least), HEALTH_STEP)
    grown = rule.most - least
    whole = share * ((ONE + least) * span + grown)
    met = ceil_to(whole, HEALTH_STEP, span + share * grown)
    return met if met >= rule.most_at else ceil_to(share * (ONE + rule.most), HEALTH_STEP)


def _by_asset(lost: dict[tuple[str, str], Decimal]) -> list[dict[str, Any]]:
    return [
        {"asset": asset, "market": market, "amount": amount}
        for (asset, market), amount in sorted(lost.items())
    ]
