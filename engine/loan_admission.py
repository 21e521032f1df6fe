"""Which events about loans may be applied; in the manner of `admission`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine import auctions, pools
from engine import conditions as check
from engine import events as e
from engine.conditions import Checks, Refusal
from engine.holdings import Loan
from engine.loan_values import indices_now
from engine.money import ZERO, ceil_to, floor_to, plain
from engine.touch import Touch

if TYPE_CHECKING:
    from engine.core import Engine

NO_LOAN = Loan(ZERO, ZERO)


def snapshot(engine: Engine, group: e.GroupSnapshot) -> Checks:
    """Check what a snapshot says of the loans of a margin group."""
    for told in (group.supplied, group.owed):
        for name, amount in told.items():
            yield check.pool(engine, name)
            asset = engine.rules.pool(name).asset
            yield check.not_negative("amount", amount)
            yield check.amount(engine, "amount", amount, asset)
            listed = engine.rules.assets[asset]
            at = indices_now(name, engine.rules, engine.markets)
            principal = ceil_to(amount, listed.unit, min(at.supply, at.borrow))
            if max(amount, principal) > listed.largest:
                yield "limit", f"loan {plain(amount)} {asset} passes its largest"


def reserve_moved(engine: Engine, event: e.FundMoved) -> Checks:
    """Check what moves into or out of the reserve of a pool."""
    yield check.pool(engine, event.pool)
    if engine.rules.pool(event.pool).asset != event.asset:
        yield "unknown_pool", f"{event.pool} is no pool of {event.asset}"
    held = _state(engine, event.pool)
    if event.amount < 0 and min(held.cash, held.reserve) + event.amount < 0:
        yield "fund", f"the reserve of {event.pool} has less {event.asset} to pay"


def _state(engine: Engine, name: str) -> pools.LendingPool:
    return engine.markets.lending.get(name) or pools.new_pool(engine.time)


def _loan(engine: Engine, event: e.LoanEvent) -> Checks:
    yield check.pool(engine, event.pool)
    yield check.margin(engine, event.margin, None)
    asset = engine.rules.pool(event.pool).asset
    yield check.positive("amount", event.amount)
    yield check.amount(engine, "amount", event.amount, asset)
    gives = isinstance(event, e.Supplied | e.Repay)
    change = -event.amount if gives else event.amount
    yield check.cash_limit(engine, event.account, e.CROSS, {asset: change})


def _supplied(engine: Engine, event: e.Supplied) -> Checks:
    yield from _loan(engine, event)
    yield _limit(engine, event.account, event.margin, event.pool, supply=event.amount)


def _borrowed(engine: Engine, event: e.Borrow) -> Checks:
    yield from _loan(engine, event)
    if not engine.rules.pool(event.pool).borrowable:
        yield "not_borrowable", f"{event.pool} lends nothing"
    yield _limit(engine, event.account, event.margin, event.pool, debt=event.amount)
    cash = _state(engine, event.pool).cash
    if event.amount > cash:
        yield "pool_cash", f"{event.pool} has {plain(cash)} to lend, not {plain(event.amount)}"


def _limit(
    engine: Engine,
    account: str,
    margin: str,
    name: str,
    *,
    supply: Decimal = ZERO,
    debt: Decimal = ZERO,
) -> Refusal | None:
    """Refuse principals that would pass their asset's largest amount."""
    group = engine.accounts[account].groups.get(margin)
    held = engine.book.loan_of(group, name) if group else NO_LOAN
    asset = engine.rules.assets[engine.rules.pool(name).asset]
    at = indices_now(name, engine.rules, engine.markets)
    more_supply = floor_to(supply, asset.unit, at.supply)
    more_debt = ceil_to(debt, asset.unit, at.borrow)
    for before, more in ((held.supplied, more_supply), (held.owed, more_debt)):
        if more and before + more > asset.largest:
            return "limit", f"loan {plain(before + more)} would pass {plain(asset.largest)} {name}"
    return None


def _collateral_enabled(engine: Engine, event: e.CollateralEnabled) -> Checks:
    yield check.pool(engine, event.pool)
    yield check.margin(engine, event.margin, None)


def _category_chosen(engine: Engine, event: e.CategoryChosen) -> Checks:
    yield check.margin(engine, event.margin, None)
    lending = engine.rules.lending
    if event.category and (lending is None or event.category not in lending.categories):
        yield "unknown_category", f"{event.category} is no category"


def _seized(engine: Engine, event: e.Seized) -> Checks:
    yield check.margin(engine, event.margin, None)
    for name in (event.pool, event.collateral):
        yield check.pool(engine, name)
    debt, asset = (engine.rules.pool(name).asset for name in (event.pool, event.collateral))
    given = (("repaid", event.repaid, debt), ("seized", event.seized, asset))
    for name, amount, of in (*given, ("fee", event.fee, asset)):
        yield check.not_negative(name, amount)
        yield check.amount(engine, name, amount, of)
    if not event.repaid and not event.seized:
        yield "not_positive", "nothing was repaid or seized"
    if event.fee > event.seized:
        yield "fee", f"fee {plain(event.fee)} is more than {plain(event.seized)} seized"
    if event.order_id:
        yield check.issued(engine, event.account, event.order_id, event.margin, event.pool)
    yield check.cash_limit(engine, event.account, e.CROSS, {debt: event.repaid})
    out = event.seized - event.fee
    if event.liquidator:
        if event.liquidator not in engine.accounts:
            yield "unknown_account", f"liquidator {event.liquidator} was never opened"
        yield _limit(engine, event.liquidator, e.CROSS, event.collateral, supply=out)
        return
    cash = _state(engine, event.collateral).cash
    if event.collateral == event.pool:
        group = engine.accounts[event.account].groups.get(event.margin)
        owed = Touch(engine, event.pool).owed_by(group) if group else ZERO
        cash += min(event.repaid, owed)
    if out > cash:
        yield "pool_cash", f"{event.collateral} has {plain(cash)} to pay, not {plain(out)}"


def _interest_accrued(engine: Engine, event: e.InterestAccrued) -> Checks:
    rule, state = engine.rules.pool(event.pool), _state(engine, event.pool)
    if rule.accrued_by != "venue":
        yield "accrual", f"interest of {event.pool} is computed by the {rule.accrued_by}"
    told = (("supply_index", event.supply_index, state.supply.value),)
    for name, index, before in (*told, ("borrow_index", event.borrow_index, state.borrow.value)):
        if not index.is_finite() or index <= 0 or index < before:
            yield "index", f"{name} {plain(index)} falls below {plain(before)}"


CHECKS: dict[type[e.Event], Callable[[Engine, Any], Checks]] = {
    e.Supplied: _supplied,
    e.Redeemed: _loan,
    e.Borrow: _borrowed,
    e.Repay: _loan,
    e.CollateralEnabled: _collateral_enabled,
    e.CategoryChosen: _category_chosen,
    e.Seized: _seized,
    e.InterestAccrued: _interest_accrued,
    e.AuctionTaken: auctions.checks,
}
