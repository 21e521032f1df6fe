"""Debts that are repaid by the account's own cash, debts that are lost, and who bears them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.decisions import (
    BadDebt,
    FundDraw,
    LossSocialised,
    ReserveDraw,
    SetOff,
    Shortfall,
    SupplyDrawn,
)
from engine.interest import INDEX_STEP
from tests.twin.amounts import ZERO, ceil, decimal, floor
from tests.twin.books import Group, Pool, World
from tests.twin.funds import pay
from tests.twin.loans import take_debt, take_supply
from tests.twin.pools import LoanHealth, owed_now, rule_of, rules, touch, unit_of
from tests.twin.seizing import first_plan
from tests.twin.values import Health

TRACE = Fraction(INDEX_STEP)


# --- set off


def can_set_off(world: World, group: Group) -> bool:
    """Tell whether a group has cash in an asset that it owes to a pool."""
    owed = [rule_of(world, name).asset for name in group.debts()]
    return any(group.cash.get(asset, ZERO) > 0 for asset in owed)


def set_off(world: World, group: Group) -> None:
    """Repay what a group's own cash can, pool by pool."""
    for name in group.debts():
        asset = rule_of(world, name).asset
        amount = min(owed_now(world, group, name), group.cash.get(asset, ZERO))
        if amount <= 0:
            continue
        with touch(world, name) as pool:
            take_debt(world, group, name, pool, amount)
            group.cash[asset] -= amount
            pool.cash += amount
        world.emit_for(group, SetOff, pool=name, amount=decimal(amount))


# --- draw


def _sources(world: World, group: Group, now: Health) -> list[LoanHealth]:
    """Return the supplies that can come back to be sold, in the order of conversion."""
    order = list(world.rules.source.conversion)
    found = [
        loan
        for loan in _counted(now)
        if loan.asset in order and loan.supplied > 0 and world.lending[loan.pool].cash > 0
    ]
    return sorted(found, key=lambda loan: (order.index(loan.asset), loan.pool))


def draw(world: World, group: Group, now: Health) -> bool:
    """Take supplies back for what negative cash is worth; tell whether there were some."""
    need = sum((-group.cash[asset] * now.price[asset] for asset in group.owed()), ZERO)
    sources = _sources(world, group, now)
    for loan in sources:
        if need <= 0:
            break
        wanted = ceil(need / loan.price, world.unit(loan.asset))
        with touch(world, loan.pool) as pool:
            amount = min(loan.supplied, pool.cash, wanted)
            worth = take_supply(world, group, loan.pool, pool, amount)
            pool.cash -= amount
            pool.dust += worth - amount
        group.cash[loan.asset] += amount
        need -= amount * loan.price
        world.emit_for(group, SupplyDrawn, pool=loan.pool, amount=decimal(amount))
    return bool(sources)


# --- what is lost


def lost(world: World, group: Group, now: Health, *, convertible: bool) -> bool:
    """Tell whether nothing more will come of a group's debts."""
    if can_set_off(world, group) or convertible:
        return False
    return _recognised(world, now) or _without_pair(world, group, now)


def _counted(now: Health) -> list[LoanHealth]:
    return [loan for loan in now.loans if loan.threshold is not None]


def _recognised(world: World, now: Health) -> bool:
    lending = rules(world)
    if lending.bad_debt.recognise == "no_collateral":
        return not any(loan.supplied for loan in _counted(now))
    if lending.bad_debt.recognise == "insolvent":
        return _uncovered(now) > 0
    step = lending.value_step
    values = [loan.worth for loan in _counted(now)]
    return not any(value if step is None else floor(value, Fraction(step)) for value in values)


def _uncovered(now: Health) -> Fraction:
    """Return by what all debts are worth more than the collateral that counts."""
    debts = sum((loan.debt for loan in now.loans), ZERO)
    return debts - sum((loan.worth for loan in _counted(now)), ZERO)


def _without_pair(world: World, group: Group, now: Health) -> bool:
    concerned = [loan.pool for loan in now.loans if loan.owed or loan.threshold is not None]
    return not world.is_halted(*concerned) and first_plan(world, group, now) is None


def give_up(world: World, group: Group, now: Health) -> None:
    """Write off what is lost of each debt, and let it be borne."""
    whole = rules(world).bad_debt.recognise != "insolvent" or _without_pair(world, group, now)
    uncovered = _uncovered(now)
    debts = sum((loan.debt for loan in now.loans), ZERO)
    for loan in now.loans:
        if not loan.owed:
            continue
        amount = loan.owed
        if not whole:
            share = ceil(uncovered * loan.owed / debts, world.unit(loan.asset))
            amount = min(amount, share)
        _write_off(world, group, loan, amount)


def _write_off(world: World, group: Group, loan: LoanHealth, amount: Fraction) -> None:
    name = loan.pool
    held = group.loans[name]
    with touch(world, name) as pool:
        part = held.owed
        if amount < loan.owed:
            part = min(part, ceil(amount / pool.booked_borrow, unit_of(world, name)))
        held.owed -= part
        pool.borrowed -= part
        pool.dust += amount - part * pool.booked_borrow
        held.given_up += amount
        bear(world, group, name, pool, amount)


# --- who bears it


@dataclass
class Loss:
    """What is left to bear of a debt to a pool."""

    asset: str
    market: str
    left: Fraction

    def about(self, amount: Fraction) -> dict[str, object]:
        """Return what every decision about a part of it says."""
        return {"asset": self.asset, "market": self.market, "amount": decimal(amount)}


def bear(world: World, group: Group, name: str, pool: Pool, amount: Fraction) -> None:
    """Let each layer bear what it can of a loss in a touched pool; what is left is bad debt."""
    assert group.liquidation is not None
    loss, ledger = Loss(rule_of(world, name).asset, name, amount), world.ledger
    key, number = (loss.asset, name), group.liquidation.number
    if not amount:
        return
    ledger.shortfall[key] += amount
    world.emit_for(group, Shortfall, number=number, **loss.about(amount))
    layers = {"fund": _by_fund, "reserve": _by_reserve, "lenders": _by_lenders}
    for layer in rules(world).bad_debt.charge:
        layers[layer](world, group, pool, loss)
    if loss.left > 0:
        account = world.accounts[group.account]
        account.debts += 1
        pool.deficit += loss.left
        ledger.bad_debt[key] += loss.left
        world.emit_for(
            group,
            BadDebt,
            id=f"{group.account}:debt:{account.debts}",
            number=number,
            cause=group.liquidation.reason,
            **loss.about(loss.left),
        )


def _by_fund(world: World, group: Group, pool: Pool, loss: Loss) -> None:
    for paid in list(pay(world, loss.asset, loss.market, loss.left)):
        world.ledger.paid_by_fund[loss.asset, loss.market] += paid.amount
        pool.cash += paid.amount
        loss.left -= paid.amount
        can = decimal(paid.capacity)
        world.emit_for(group, FundDraw, capacity=can, fund=paid.fund, **loss.about(paid.amount))


def _by_reserve(world: World, group: Group, pool: Pool, loss: Loss) -> None:
    capacity = max(pool.reserve, ZERO)
    paid = min(loss.left, capacity)
    if paid > 0:
        pool.reserve -= paid
        world.ledger.paid_by_reserve[loss.asset, loss.market] += paid
        loss.left -= paid
        world.emit_for(group, ReserveDraw, capacity=decimal(capacity), **loss.about(paid))


def _by_lenders(world: World, group: Group, pool: Pool, loss: Loss) -> None:
    before = pool.booked_supply
    capacity = max(ZERO, floor(pool.supplied * (before - TRACE), world.unit(loss.asset)))
    paid = min(loss.left, capacity)
    if paid > 0:
        after = floor(before - paid / pool.supplied, TRACE)
        pool.supply = pool.supply._replace(value=decimal(after), since=world.time)
        pool.booked_supply = after
        pool.dust += pool.supplied * (before - after) - paid
        world.ledger.socialised[loss.asset, loss.market] += paid
        loss.left -= paid
        world.emit_for(
            group,
            LossSocialised,
            capacity=decimal(capacity),
            before=decimal(before),
            after=decimal(after),
            **loss.about(paid),
        )
