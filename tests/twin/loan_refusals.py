"""Why an event about loans, pools or auctions is refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from engine import events
from tests.twin.amounts import ZERO, ceil, floor
from tests.twin.auctions import live_auctions
from tests.twin.books import Account, Group, World
from tests.twin.limits import (
    require,
    require_amount,
    require_cash,
    require_issued,
    require_margin,
    require_not_negative,
    require_positive,
)
from tests.twin.pools import (
    indices,
    lending_of,
    owed_now,
    pool_names,
    rule_of,
    unit_of,
)


def require_pool(world: World, name: str) -> None:
    """Refuse a pool that the profile does not name."""
    require(name in pool_names(world), f"pool {name}")


def require_any_margin(world: World, margin: str) -> None:
    """Refuse a margin group that is neither a derivative's nor a pool's."""
    require_margin(margin, [*world.contracts, *pool_names(world)])


def _amount(world: World, name: str, amount: Decimal) -> None:
    require_amount(world, rule_of(world, name).asset, amount)


def _largest(world: World, name: str) -> Fraction:
    return world.assets[rule_of(world, name).asset].largest


def check_loan_fact(world: World, account: Account, event: events.AccountEvent) -> None:
    """Refuse an event about loans or auctions that breaks a rule."""
    match event:
        case events.LoanEvent():
            require_any_margin(world, event.margin)
            require_pool(world, event.pool)
            _amount(world, event.pool, event.amount)
            require_positive(event.amount)
            _check_loan(world, account, event)
        case events.CollateralEnabled():
            require_any_margin(world, event.margin)
            require_pool(world, event.pool)
        case events.CategoryChosen():
            require_any_margin(world, event.margin)
            lending = lending_of(world)
            known = () if lending is None else lending.categories
            require(event.category in ("", *known), f"category {event.category}")
        case events.Seized():
            _check_seizure(world, account, event)
        case events.AuctionTaken():
            _check_take(world, account, event)


def _check_loan(world: World, account: Account, event: events.LoanEvent) -> None:
    name, amount = event.pool, Fraction(event.amount)
    asset = rule_of(world, name).asset
    cross = account.groups.get("cross")
    group = account.groups.get(event.margin) or Group(event.account, event.margin)
    loan, pool = group.loans[name], world.lending.get(name)
    supply, borrow = indices(world, name)
    there = ZERO if pool is None else pool.cash
    match event:
        case events.Supplied():
            part = floor(amount / supply, unit_of(world, name))
            _principal(world, name, loan.supplied + part)
            _principal(world, name, (ZERO if pool is None else pool.supplied) + part)
            _principal(world, name, there + amount)
            require_cash(world, cross, asset, -amount)
        case events.Redeemed():
            if there >= amount:
                require_cash(world, cross, asset, amount)
        case events.Borrow():
            require(rule_of(world, name).borrowable, "not borrowable")
            require(amount <= there, "pool_cash")
            part = ceil(amount / borrow, unit_of(world, name))
            _principal(world, name, loan.owed + part)
            _principal(world, name, (ZERO if pool is None else pool.borrowed) + part)
            require_cash(world, cross, asset, amount)
        case events.Repay():
            taken = min(amount, owed_now(world, group, name) + loan.given_up)
            _principal(world, name, there + taken)
            require_cash(world, cross, asset, -taken)


def _principal(world: World, name: str, amount: Fraction) -> None:
    require(amount <= _largest(world, name), f"{name} holds too much")


def _check_seizure(world: World, account: Account, event: events.Seized) -> None:
    require_any_margin(world, event.margin)
    for name in (event.pool, event.collateral):
        require_pool(world, name)
    _amount(world, event.pool, event.repaid)
    for amount in (event.seized, event.fee):
        _amount(world, event.collateral, amount)
    for amount in (event.repaid, event.seized, event.fee):
        require_not_negative(amount)
    require(event.repaid > 0 or event.seized > 0, "nothing was seized")
    require(event.fee <= event.seized, "a fee above what was seized")
    require_issued(account, event.order_id, event.margin, event.pool)
    group = account.groups.get(event.margin) or Group(event.account, event.margin)
    paid = min(Fraction(event.repaid), owed_now(world, group, event.pool))
    if event.liquidator:
        require(event.liquidator in world.accounts, "liquidator")
    else:
        pool = world.lending.get(event.collateral)
        there = ZERO if pool is None else pool.cash
        if event.collateral == event.pool:
            there += paid
        out = Fraction(event.seized) - Fraction(event.fee)
        require(out <= there, "pool_cash")
    over = Fraction(event.repaid) - paid
    require_cash(world, account.groups.get("cross"), rule_of(world, event.pool).asset, over)


def _check_take(world: World, account: Account, event: events.AuctionTaken) -> None:
    require_any_margin(world, event.margin)
    group = account.groups.get(event.margin)
    live = group.liquidation.auctions if group and group.liquidation else {}
    auction = live.get(event.auction_id)
    require(auction is not None, "no_auction")
    assert auction is not None
    _amount(world, auction.collateral, event.amount)
    require_positive(event.amount)
    _amount(world, auction.pool, event.paid)
    require_not_negative(event.paid)
    require(Fraction(event.amount) <= auction.lot, "more than the lot")
    require(Fraction(event.paid) <= auction.debt, "more than the debt")


def check_loans_told(world: World, told: events.GroupSnapshot) -> None:
    """Refuse a snapshot of loans that cannot be."""
    for amounts in (told.supplied, told.owed):
        for name, amount in amounts.items():
            require_pool(world, name)
            _amount(world, name, amount)
            require_not_negative(amount)
            require(Fraction(amount) <= _largest(world, name), f"{amount} in {name}")


def check_pool_event(world: World, event: events.InterestAccrued | events.FundMoved) -> None:
    """Refuse indices, or a move of a reserve, that break a rule."""
    require_pool(world, event.pool)
    rule = rule_of(world, event.pool)
    if isinstance(event, events.FundMoved):
        require(event.asset == rule.asset, "another asset")
        _amount(world, event.pool, event.amount)
        pool = world.lending.get(event.pool)
        for there in (pool.reserve, pool.cash) if pool else (ZERO,):
            require(event.amount >= 0 or there + Fraction(event.amount) >= 0, "more than there is")
        return
    require(rule.accrued_by == "venue", "the engine accrues")
    told = (event.supply_index, event.borrow_index)
    for index, present in zip(told, indices(world, event.pool), strict=True):
        require(index.is_finite() and index > 0, f"index {index}")
        require(Fraction(index) >= present, "an index that falls")


def check_pools_kept(world: World, event: events.ProfileChanged) -> None:
    """Refuse a profile that takes away a pool which holds something, or changes its asset."""
    new = {} if event.profile.lending is None else event.profile.lending.pools
    for name, rule in new.items():
        require(rule.asset in world.assets, f"asset of {name}")
        require(name == rule.asset or name not in world.listed, f"{name} is listed")
    for name, pool in world.lending.items():
        parts = (pool.cash, pool.supplied, pool.borrowed, pool.reserve)
        holds = any((*parts, pool.deficit, pool.auctioned))
        if name in new:
            require(new[name].asset == rule_of(world, name).asset, f"pool {name}: another asset")
        else:
            require(not holds and not _named(world, name), f"pool {name} is in use")


def _named(world: World, name: str) -> bool:
    """Tell whether a live seizure or auction names a pool, or debts to it were given up."""
    for account in world.accounts.values():
        for group in account.groups.values():
            if group.loans[name].given_up:
                return True
            for order in group.liquidation.live.values() if group.liquidation else ():
                if order.collateral and name in (order.symbol, order.collateral):
                    return True
    return any(name in (one.pool, one.collateral) for _, one in live_auctions(world))


def check_names(world: World, listed: str) -> None:
    """Refuse an instrument with the name of a pool of another asset."""
    if listed in pool_names(world):
        require(rule_of(world, listed).asset == listed, f"{listed} is a pool")


def is_empty(world: World, group: Group) -> bool:
    """Tell whether a group has neither loans nor anything on auction."""
    loans = any(loan.supplied or loan.owed for loan in group.loans.values())
    return not loans and not any(each is group for each, _ in live_auctions(world))
