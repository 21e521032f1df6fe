"""The identities that hold after every event, as the page states them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tests.twin.amounts import ZERO
from tests.twin.auctions import live_auctions
from tests.twin.books import World
from tests.twin.pools import rule_of


def broken_identities(world: World) -> Iterator[str]:
    """Yield every identity that does not hold, in words."""
    for asset in world.assets:
        if difference := _held(world, asset) - _brought(world, asset):
            yield f"{asset}: {difference} too much"
    yield from _shortfalls(world)
    for name, pool in world.lending.items():
        has = pool.cash + pool.borrowed * pool.booked_borrow + pool.auctioned + pool.deficit
        owes = pool.supplied * pool.booked_supply + pool.reserve + pool.dust + pool.adjusted
        if has != owes:
            yield f"pool {name}: has {has}, owes {owes}"
        loans = [group.loans[name] for group in world.groups() if name in group.loans]
        if sum((loan.supplied for loan in loans), ZERO) != pool.supplied:
            yield f"pool {name}: supplies do not add up"
        if sum((loan.owed for loan in loans), ZERO) != pool.borrowed:
            yield f"pool {name}: debts do not add up"
        due = sum((each.due for _, each in live_auctions(world) if each.pool == name), ZERO)
        if due != pool.auctioned:
            yield f"pool {name}: what auctions owe does not add up"
    for group in world.groups():
        if any(leg.size == 0 for leg in group.legs.values()):
            yield f"{group.account} {group.margin}: a leg without size"


def _held(world: World, asset: str) -> Fraction:
    """Return what everybody has of an asset, less the bad debt that is outstanding."""
    ledger = world.ledger
    pools = [pool for name, pool in world.lending.items() if rule_of(world, name).asset == asset]
    lots = [
        auction.lot
        for _, auction in live_auctions(world)
        if rule_of(world, auction.collateral).asset == asset
    ]
    return (
        sum((group.cash.get(asset, ZERO) for group in world.groups()), ZERO)
        + ledger.fund[asset]
        + sum((part for (named, _), part in ledger.named_funds.items() if named == asset), ZERO)
        + ledger.fees[asset]
        + sum((part for (_, named), part in ledger.clearing.items() if named == asset), ZERO)
        + sum((pool.cash for pool in pools), ZERO)
        + sum(lots, ZERO)
        - sum((part for (named, _), part in ledger.bad_debt.items() if named == asset), ZERO)
        + sum((part for (named, _), part in ledger.recovered.items() if named == asset), ZERO)
        + sum((pool.deficit for pool in pools), ZERO)
    )


def _brought(world: World, asset: str) -> Fraction:
    ledger = world.ledger
    return (
        ledger.deposits[asset]
        - ledger.withdrawals[asset]
        + ledger.top_ups[asset]
        + ledger.adjustments[asset]
    )


def _shortfalls(world: World) -> Iterator[str]:
    ledger = world.ledger
    payers = (ledger.paid_by_fund, ledger.paid_by_reserve, ledger.socialised, ledger.bad_debt)
    for key, amount in ledger.shortfall.items():
        if amount != sum((paid.get(key, ZERO) for paid in payers), ZERO):
            yield f"{key}: {amount} is not what was paid and what was not"
        gone = ledger.recovered.get(key, ZERO) + ledger.written_off.get(key, ZERO)
        if not 0 <= gone <= ledger.bad_debt.get(key, ZERO):
            yield f"{key}: {gone} came in or was given up of bad debt"
