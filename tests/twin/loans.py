"""What each event about loans does to the books."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from engine import events
from engine.decisions import Anomaly, BadDebtRecovered, SnapshotChange, WithdrawalUnpaid
from tests.twin.amounts import ZERO, ceil, decimal, floor
from tests.twin.books import Account, Group, Pool, World
from tests.twin.funds import outstanding
from tests.twin.pools import (
    category_of,
    counting_terms,
    owed_now,
    rule_of,
    rules,
    supplied_now,
    touch,
    unit_of,
)
from tests.twin.values import health


def apply_loan_fact(world: World, account: Account, event: events.AccountEvent) -> None:
    """Apply a valid event about the loans of a margin group."""
    group = account.group(event.margin)
    match event:
        case events.Supplied():
            _supply(world, account, group, event)
        case events.Redeemed():
            _redeem(world, account, group, event)
        case events.Borrow():
            _borrow(world, account, group, event)
        case events.Repay():
            _repay(world, account, group, event)
        case events.CollateralEnabled():
            group.loans[event.pool].enabled = event.enabled
        case events.CategoryChosen():
            group.category = event.category
        case events.Seized():
            _seize(world, account, group, event)
        case _:
            raise AssertionError(f"{type(event).__name__}: no event of an account")


def _cash(world: World, account: Account, name: str, change: Fraction) -> None:
    account.group("cross").cash[rule_of(world, name).asset] += change


def say(world: World, group: Group, kind: str, order_id: str = "") -> None:
    """Say that a fact does not agree with what was decided or allowed."""
    world.emit_for(group, Anomaly, kind=kind, order_id=order_id, detail="")


# --- supplies


def add_supply(world: World, group: Group, name: str, pool: Pool, amount: Fraction) -> Fraction:
    """Supply an amount to a touched pool, but for its cash; return what the principal is worth."""
    part = floor(amount / pool.booked_supply, unit_of(world, name))
    group.loans[name].supplied += part
    pool.supplied += part
    return part * pool.booked_supply


def take_supply(world: World, group: Group, name: str, pool: Pool, amount: Fraction) -> Fraction:
    """Take an amount out of a supply, or all of it; return what the principal was worth."""
    loan = group.loans[name]
    part = loan.supplied
    if amount < supplied_now(world, group, name):
        part = ceil(amount / pool.booked_supply, unit_of(world, name))
    loan.supplied -= part
    pool.supplied -= part
    return part * pool.booked_supply


def _supply(world: World, account: Account, group: Group, event: events.Supplied) -> None:
    name, amount = event.pool, Fraction(event.amount)
    with touch(world, name) as pool:
        worth = add_supply(world, group, name, pool, amount)
        _cash(world, account, name, -amount)
        pool.cash += amount
        pool.dust += amount - worth
    cap = rule_of(world, name).supply_cap
    if cap is not None and cap < floor(pool.supplied * pool.booked_supply, unit_of(world, name)):
        say(world, group, "beyond_cap")


def _redeem(world: World, account: Account, group: Group, event: events.Redeemed) -> None:
    name, amount = event.pool, Fraction(event.amount)
    there = world.lending[name].cash if name in world.lending else ZERO
    if there < amount:
        world.emit_for(group, WithdrawalUnpaid, pool=name, amount=event.amount, cash=decimal(there))
        return
    with touch(world, name) as pool:
        if amount > supplied_now(world, group, name):
            say(world, group, "exceeds_supply")
        worth = take_supply(world, group, name, pool, amount)
        _cash(world, account, name, amount)
        pool.cash -= amount
        pool.dust += worth - amount


# --- debts


def take_debt(world: World, group: Group, name: str, pool: Pool, amount: Fraction) -> Fraction:
    """Repay an amount of a debt, or all of it, to a touched pool, but for its cash; return how
    much."""
    loan, owed = group.loans[name], owed_now(world, group, name)
    paid, part = owed, loan.owed
    if amount < owed:
        paid, part = amount, floor(amount / pool.booked_borrow, unit_of(world, name))
    loan.owed -= part
    pool.borrowed -= part
    pool.dust += paid - part * pool.booked_borrow
    return paid


def _borrow(world: World, account: Account, group: Group, event: events.Borrow) -> None:
    name, amount = event.pool, Fraction(event.amount)
    unit = unit_of(world, name)
    with touch(world, name) as pool:
        part = ceil(amount / pool.booked_borrow, unit)
        group.loans[name].owed += part
        pool.borrowed += part
        _cash(world, account, name, amount)
        pool.cash -= amount
        pool.dust += part * pool.booked_borrow - amount
    cap = rule_of(world, name).borrow_cap
    if cap is not None and cap < ceil(pool.borrowed * pool.booked_borrow, unit):
        say(world, group, "beyond_cap")
    if _breaks_isolation(world, group, name):
        say(world, group, "isolation")
    opening = health(world, group, "initial")
    if opening is not None and opening.margin_equity < opening.requirement:
        say(world, group, "beyond_opening")


def _backing(world: World, group: Group) -> list[str]:
    """Return the pools whose supply counts for a group."""
    return [
        name
        for name in sorted(group.loans)
        if group.loans[name].supplied and counting_terms(world, group, name) is not None
    ]


def _breaks_isolation(world: World, group: Group, name: str) -> bool:
    category = rules(world).categories.get(category_of(world, group))
    if category is not None and category.borrowable and name not in category.borrowable:
        return True
    backing = _backing(world, group)
    for pool in backing:
        isolation = rule_of(world, pool).isolation
        if isolation is None:
            continue
        if len(backing) > 1 or not rule_of(world, name).borrowable_in_isolation:
            return True
        if _debts_behind(world, pool) > Fraction(isolation.debt_ceiling):
            return True
    return False


def _debts_behind(world: World, pool: str) -> Fraction:
    """Return the value of all that groups owe whose supply to `pool` counts."""
    total = ZERO
    for group in world.groups():
        if pool in _backing(world, group):
            for name in group.debts():
                price = world.price(rule_of(world, name).asset, "index") or ZERO
                total += owed_now(world, group, name) * price
    return total


def _repay(world: World, account: Account, group: Group, event: events.Repay) -> None:
    name, amount = event.pool, Fraction(event.amount)
    asset = rule_of(world, name).asset
    with touch(world, name) as pool:
        paid = take_debt(world, group, name, pool, amount)
        loan = group.loans[name]
        late = min(amount - paid, loan.given_up)
        open_part = min(late, pool.deficit, outstanding(world, asset, name))
        _cash(world, account, name, -paid - late)
        pool.cash += paid + late
        loan.given_up -= late
        pool.deficit -= open_part
        world.ledger.recovered[asset, name] += open_part
        pool.reserve += late - open_part
    if late > 0:
        world.emit_for(
            group,
            BadDebtRecovered,
            asset=asset,
            market=name,
            amount=decimal(late),
            outstanding=decimal(open_part),
        )
    if amount > paid + late:
        say(world, group, "exceeds_debt")


# --- seizures


def _seize(world: World, account: Account, group: Group, event: events.Seized) -> None:
    _judge(world, group, event)
    repaid, asset = Fraction(event.repaid), rule_of(world, event.pool).asset
    with touch(world, event.pool) as pool:
        paid = take_debt(world, group, event.pool, pool, repaid)
        pool.cash += paid
        _cash(world, account, event.pool, repaid - paid)
        world.ledger.clearing[event.pool, asset] -= repaid
    _hand_over(world, group, event)


def _judge(world: World, group: Group, event: events.Seized) -> None:
    """Say where a seizure does not agree with its order or with what was supplied."""
    repaid, seized = Fraction(event.repaid), Fraction(event.seized)
    liquidation = group.liquidation
    order = liquidation.live.get(event.order_id) if liquidation else None
    if order is not None and not order.collateral:
        order = None
    if event.order_id and order is None:
        say(world, group, "late", event.order_id)
    if order is not None and liquidation is not None:
        unit = unit_of(world, event.collateral)
        if order.filled + repaid > order.size:
            say(world, group, "exceeds_order", order.id)
        if (seized - unit) * order.size > order.seize * repaid:
            say(world, group, "beyond_limit", order.id)
        order.filled += repaid
        if order.filled >= order.size:
            del liquidation.live[order.id]
    if seized > supplied_now(world, group, event.collateral):
        say(world, group, "exceeds_supply", event.order_id)


def _hand_over(world: World, group: Group, event: events.Seized) -> None:
    name, seized, fee = event.collateral, Fraction(event.seized), Fraction(event.fee)
    out, asset = seized - fee, rule_of(world, name).asset
    with touch(world, name) as pool:
        worth = take_supply(world, group, name, pool, seized)
        pool.reserve += fee
        if event.liquidator:
            taker = world.accounts[event.liquidator].group("cross")
            kept = add_supply(world, taker, name, pool, out)
            pool.dust += worth - fee - kept
        else:
            pool.cash -= out
            world.ledger.clearing[name, asset] += out
            pool.dust += worth - seized


# --- snapshots


def put_loans_right(world: World, group: Group, told: events.GroupSnapshot) -> list[SnapshotChange]:
    """Make loans what a snapshot says; return what differed."""
    owed = list(_differing(world, group, "owed", told.owed))
    supplied = list(_differing(world, group, "supplied", told.supplied))
    for change in [*owed, *supplied]:
        _put_right(world, group, change)
    return [*owed, *supplied]


def _differing(
    world: World, group: Group, item: Literal["owed", "supplied"], told: dict[str, Decimal]
) -> Iterator[SnapshotChange]:
    present = owed_now if item == "owed" else supplied_now
    for name in sorted({*told, *group.loans}):
        before, after = present(world, group, name), Fraction(told.get(name, 0))
        if before != after:
            yield SnapshotChange(group.margin, item, name, decimal(before), decimal(after))


def _put_right(world: World, group: Group, change: SnapshotChange) -> None:
    name, told = change.name, Fraction(change.after)
    loan, unit = group.loans[name], unit_of(world, name)
    with touch(world, name) as pool:
        if change.item == "owed":
            more = ceil(told / pool.booked_borrow, unit) - loan.owed
            loan.owed += more
            pool.borrowed += more
            pool.adjusted += more * pool.booked_borrow
        else:
            more = floor(told / pool.booked_supply, unit) - loan.supplied
            loan.supplied += more
            pool.supplied += more
            pool.adjusted -= more * pool.booked_supply
