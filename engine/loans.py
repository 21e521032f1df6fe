"""How loans change the book: supplies, debts, seizures, indices; each touches the pools it moves.

A pool takes from and pays into the cash of accounts' cross groups. docs/semantics.md, 10, has every
formula; who bears what is lost stands in `losses`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import bad_debt, pools
from engine import decisions as d
from engine import events as e
from engine.book import Group
from engine.interest import Index
from engine.issuing import end_live
from engine.loan_values import indices_now
from engine.margin import level
from engine.money import ZERO, ceil_to, floor_to, plain
from engine.pools import Indices, LendingPool
from engine.touch import Touch

if TYPE_CHECKING:
    from engine.core import Engine


def change_cash(engine: Engine, account: str, asset: str, amount: Decimal) -> None:
    """Change the cash of an account's cross group, which pools take from and pay into."""
    cross = engine.group_of(account, e.CROSS)
    engine.book.add_cash(cross, asset, amount)
    engine.touch(cross)


# --- supplies


def supplied(engine: Engine, event: e.Supplied) -> None:
    """Book a supply."""
    group = engine.group_of(event.account, event.margin)
    pool = Touch(engine, event.pool)
    pool.add_supply(group, event.amount)
    pool.move(cash=event.amount)
    change_cash(engine, event.account, pool.asset, -event.amount)
    pool.close()
    held = pools.supplied_amount(pool.state.supplied, pool.index, pool.unit)
    _within_cap(engine, group, event.pool, held, pool.rule.supply_cap)


def redeemed(engine: Engine, event: e.Redeemed) -> None:
    """Book what leaves a pool, or say that it cannot be paid."""
    group = engine.group_of(event.account, event.margin)
    known = engine.markets.lending.get(event.pool)
    cash = known.cash if known else ZERO
    if cash < event.amount:
        engine.emit_for(group, d.WithdrawalUnpaid, pool=event.pool, amount=event.amount, cash=cash)
        return
    pool = Touch(engine, event.pool)
    if pool.take_supply(group, event.amount):
        engine.anomaly(group, "exceeds_supply", "", f"{event.pool}: more than was supplied")
    pool.move(cash=-event.amount)
    change_cash(engine, event.account, pool.asset, event.amount)
    pool.close()


def collateral_enabled(engine: Engine, event: e.CollateralEnabled) -> None:
    """Note whether a supply backs the group's debts."""
    group = engine.group_of(event.account, event.margin)
    if event.enabled:
        group.disabled.discard(event.pool)
    else:
        group.disabled.add(event.pool)
    engine.touch(group)


def category_chosen(engine: Engine, event: e.CategoryChosen) -> None:
    """Note the category in which a group's loans are counted."""
    group = engine.group_of(event.account, event.margin)
    group.category = event.category
    engine.touch(group)


# --- debts


def borrowed(engine: Engine, event: e.Borrow) -> None:
    """Book a loan, and say where it is more than the rules allow to open."""
    group = engine.group_of(event.account, event.margin)
    pool = Touch(engine, event.pool)
    pool.add_debt(group, event.amount)
    pool.move(cash=-event.amount)
    change_cash(engine, event.account, pool.asset, event.amount)
    pool.close()
    owed = ceil_to(pool.state.borrowed * pool.index.borrow, pool.unit)
    _within_cap(engine, group, event.pool, owed, pool.rule.borrow_cap)
    why = not_to_be_borrowed(engine, group, event.pool)
    if why:
        engine.anomaly(group, "isolation", "", f"{event.pool}: {why}")
    held = level(group.holdings, engine.rules, engine.markets, "initial")
    if held is not None and held.margin_equity < held.requirement:
        engine.anomaly(group, "beyond_opening", "", f"{event.pool}: more than collateral opens")


def not_to_be_borrowed(engine: Engine, group: Group, pool: str) -> str:
    """Return why a group's category or isolated collateral rules a loan of a pool out, if so."""
    lending, rules = engine.rules.lending, engine.rules
    if lending is None:
        return ""
    category = engine.book.category_of(group)
    if category in lending.categories:
        allowed = lending.categories[category].borrowable
        if allowed and pool not in allowed:
            return f"category {category} does not borrow it"
    backing = _backing(engine, group)
    for name in backing:
        isolation = rules.pool(name).isolation
        if isolation is None:
            continue
        if len(backing) > 1:
            return f"{name} is collateral in isolation, and not alone"
        if not rules.pool(pool).borrowable_in_isolation:
            return f"not to be borrowed against {name} in isolation"
        if _debt_against(engine, name) > isolation.debt_ceiling:
            return f"beyond the debt ceiling of {name}"
    return ""


def ceiling_left(engine: Engine, group: Group) -> Decimal | None:
    """Return how much more may be borrowed against a group's collateral in isolation, by all
    together, in the numeraire; none where it has no such collateral."""
    for name in _backing(engine, group):
        isolation = engine.rules.pool(name).isolation
        if isolation is not None:
            return isolation.debt_ceiling - _debt_against(engine, name)
    return None


def _backing(engine: Engine, group: Group) -> list[str]:
    """Return the pools whose supply counts for a group."""
    lending, category = engine.rules.lending, engine.book.category_of(group)
    return [
        pool
        for pool, held in group.loans.items()
        if lending is not None
        and held.supplied
        and held.enabled
        and lending.terms_of(pool, category) is not None
    ]


def _debt_against(engine: Engine, isolated: str) -> Decimal:
    """Return what the groups owe whose supply to a pool counts, in the numeraire."""
    total = ZERO
    for group in engine.book.suppliers(isolated):
        if isolated not in _backing(engine, group):
            continue
        for pool, held in group.loans.items():
            rule = engine.rules.pool(pool)
            at = indices_now(pool, engine.rules, engine.markets)
            unit = engine.rules.assets[rule.asset].unit
            price = engine.price_of(rule.asset) or ZERO
            total += pools.owed_amount(rule, held.owed, at, unit) * price
    return total


def _within_cap(
    engine: Engine, group: Group, pool: str, amount: Decimal, cap: Decimal | None
) -> None:
    if cap is not None and amount > cap:
        detail = f"{pool}: {plain(amount)} is more than its cap {plain(cap)}"
        engine.anomaly(group, "beyond_cap", "", detail)


def repaid(engine: Engine, event: e.Repay) -> None:
    """Book a repayment: of the debt first, then of what was given up of it."""
    group = engine.group_of(event.account, event.margin)
    pool = Touch(engine, event.pool)
    paid = pool.take_debt(group, event.amount)
    back = min(event.amount - paid, group.given_up.get(event.pool, ZERO))
    change_cash(engine, event.account, pool.asset, -paid - back)
    pool.move(cash=paid + back)
    if back:
        _recovered(engine, group, pool, back)
    pool.close()
    if paid + back < event.amount:
        engine.anomaly(group, "exceeds_debt", "", f"{event.pool}: more than was owed")


def _recovered(engine: Engine, group: Group, pool: Touch, amount: Decimal) -> None:
    group.given_up[pool.name] -= amount
    if not group.given_up[pool.name]:
        del group.given_up[pool.name]
    left = bad_debt.outstanding(engine.ledger, (pool.asset, pool.name))
    outstanding = min(amount, pool.state.deficit, left)
    pool.move(deficit=-outstanding, reserve=amount - outstanding)
    engine.ledger.recovered[pool.asset, pool.name] += outstanding
    engine.funds_changed(pool.asset)
    engine.emit_for(
        group,
        d.BadDebtRecovered,
        asset=pool.asset,
        market=pool.name,
        amount=amount,
        outstanding=outstanding,
    )


# --- seizures


def seized(engine: Engine, event: e.Seized) -> None:
    """Book what a liquidator repaid and what it got for it."""
    group = engine.group_of(event.account, event.margin)
    pool = Touch(engine, event.pool)
    paid = pool.take_debt(group, event.repaid)
    pool.move(cash=paid)
    change_cash(engine, event.account, pool.asset, event.repaid - paid)
    engine.clear(event.pool, pool.asset, -event.repaid)
    pool.close()
    collateral = Touch(engine, event.collateral)
    exceeded = collateral.take_supply(group, event.seized)
    out = event.seized - event.fee
    collateral.move(reserve=event.fee)
    if event.liquidator:
        collateral.add_supply(engine.group_of(event.liquidator, e.CROSS), out)
    else:
        collateral.move(cash=-out)
        engine.clear(event.collateral, collateral.asset, out)
    collateral.close()
    if event.order_id:
        _filled(engine, group, event, collateral.unit)
    if exceeded:
        engine.anomaly(
            group, "exceeds_supply", event.order_id, f"{event.collateral}: more than was supplied"
        )


def _filled(engine: Engine, group: Group, event: e.Seized, unit: Decimal) -> None:
    """Count a seizure towards the order that asked for it."""
    liquidation = group.liquidation
    order = liquidation.orders.get(event.order_id) if liquidation else None
    if liquidation is None or order is None or not order.is_seizure:
        engine.anomaly(group, "late", event.order_id, "seized after the order was closed")
        return
    order.filled += event.repaid
    if order.filled > order.size:
        engine.anomaly(group, "exceeds_order", event.order_id, "repaid more than was asked for")
    if (event.seized - unit) * order.size > order.seize * event.repaid:
        engine.anomaly(group, "beyond_limit", event.order_id, "seized more than repaid for")
    if order.filled >= order.size:
        end_live(engine, group, order)


# --- pools


def interest_accrued(engine: Engine, event: e.InterestAccrued) -> None:
    """Take over the indices that the venue accrued, and look at whom they may take over a
    threshold."""
    pool = Touch(engine, event.pool)
    before = pool.index
    pool.accrue(Indices(event.supply_index, event.borrow_index))
    pool.close()
    engine.look_at(engine.watch.pool_accrued(event.pool, before, pool.index))


def reserve_moved(engine: Engine, event: e.FundMoved) -> None:
    """Book what comes into or leaves the reserve of a pool."""
    pool = Touch(engine, event.pool)
    pool.move(cash=event.amount, reserve=event.amount)
    pool.close()


def leave_rules(engine: Engine) -> dict[str, LendingPool]:
    """Return every pool with interest booked to now by the rules that are about to end, and its
    indices begun anew."""
    held = {}
    for name in engine.markets.lending:
        state = Touch(engine, name).state
        held[name] = state._replace(
            supply=Index(state.booked_supply, ZERO, engine.time),
            borrow=Index(state.booked_borrow, ZERO, engine.time),
        )
    return held


def enter_rules(engine: Engine, held: dict[str, LendingPool]) -> None:
    """Write every pool at the rates of new rules, and forget those that they do not have."""
    lending = engine.rules.lending
    for name, state in held.items():
        engine.changed.markets.add(name)
        if lending is None or name not in lending.pools:
            del engine.markets.lending[name]
            continue
        rule = lending.pools[name]
        engine.markets.lending[name] = pools.written(rule, state, engine.time)


def concerned(engine: Engine, pool: str) -> list[Group]:
    """Return the groups that supplied to a pool or owe it."""
    if pool not in engine.book.pools:
        return []
    return [*engine.book.suppliers(pool), *engine.book.borrowers(pool)]


def put_right(
    engine: Engine, group: Group, given: e.GroupSnapshot | None
) -> list[d.SnapshotChange]:
    """Make a group's loans what the venue says they are; return what changed."""
    owed, lent = (given.owed, given.supplied) if given else ({}, {})
    debts: list[d.SnapshotChange] = []
    supplies: list[d.SnapshotChange] = []
    for name in sorted({*owed, *lent, *group.loans}):
        pool = Touch(engine, name)
        due, held = owed.get(name, ZERO), lent.get(name, ZERO)
        was_due, was_held = pool.owed_by(group), pool.supplied_by(group)
        if was_due != due:
            debts.append(d.SnapshotChange(group.margin, "owed", name, was_due, due))
        if was_held != held:
            supplies.append(d.SnapshotChange(group.margin, "supplied", name, was_held, held))
        _replace(
            engine, group, pool,
            supplied=held if was_held != held else None, owed=due if was_due != due else None,
        )  # fmt: skip
    return debts + supplies


def _replace(
    engine: Engine,
    group: Group,
    pool: Touch,
    supplied: Decimal | None,
    owed: Decimal | None,
) -> None:
    """Replace the principals of a group by those of the amounts that differ."""
    held = engine.book.loan_of(group, pool.name)
    lent, due = held.supplied, held.owed
    if supplied is not None:
        lent = floor_to(supplied, pool.unit, pool.index.supply)
    if owed is not None:
        due = ceil_to(owed, pool.unit, pool.index.borrow)
    if supplied is None and owed is None:
        return
    engine.book.set_loan(group, pool.name, lent, due)
    more_lent, more_due = lent - held.supplied, due - held.owed
    adjusted = more_due * pool.index.borrow - more_lent * pool.index.supply
    pool.move(supplied=more_lent, borrowed=more_due, adjusted=adjusted)
    pool.close()
