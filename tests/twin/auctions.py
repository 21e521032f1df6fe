"""Collateral on auction: its start, takes, resets, and what is left at its end."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from engine import events
from engine.auction import (
    KeeperPay,
    keeper_pay,
    keeper_pay_again,
    needs_reset,
    price_at,
    room,
    start,
    start_price,
)
from engine.decisions import AuctionEnded, AuctionReset, AuctionStarted
from engine.interest import INDEX_STEP
from engine.lending_profile import DutchAuction
from tests.twin.amounts import ZERO, decimal, floor
from tests.twin.books import Auction, Group, Pool, World
from tests.twin.loans import add_supply, say, take_debt, take_supply
from tests.twin.losses import bear
from tests.twin.orders import next_id
from tests.twin.pools import rule_of, rules, touch, unit_of
from tests.twin.seizing import Plan, health_factor, toxic
from tests.twin.values import Health

NO_LIMIT = Decimal(10) ** 60
PRICE_STEP = Fraction(INDEX_STEP)


def rule(world: World) -> DutchAuction:
    """Return the rule of auctions where there is one."""
    found = rules(world).auction
    assert found is not None
    return found


def live_auctions(world: World) -> list[tuple[Group, Auction]]:
    """Return every live auction with its group."""
    return [
        (group, auction)
        for group in world.groups()
        if group.liquidation
        for auction in group.liquidation.auctions.values()
    ]


# --- the start


def _free(world: World, plan: Plan) -> Decimal:
    limits = rule(world).in_flight
    if limits is None:
        return NO_LIMIT
    live = [each for _, each in live_auctions(world) if each.pool == plan.debt.pool]
    of_collateral = [each for each in live if each.collateral == plan.collateral.pool]
    sums = (sum((each.debt for each in some), ZERO) for some in (live, of_collateral))
    return room(limits, *map(decimal, sums))


def start_auction(world: World, group: Group, now: Health, plan: Plan) -> bool:
    """Put a pair on auction; tell whether there is room for it."""
    unit = decimal(world.unit(plan.debt.asset))
    begun = start(
        decimal(plan.debt.owed),
        decimal(plan.collateral.supplied),
        Decimal(1),
        decimal(plan.bonus),
        _free(world, plan),
        rule_of(world, plan.debt.pool).least_debt,
        unit,
        decimal(world.unit(plan.collateral.asset)),
        unit,
    )
    if begun is None:
        return False
    due, lot, debt = map(Fraction, begun)
    top = _top(world, plan.debt.pool, plan.collateral.pool)
    auction = Auction(
        id=next_id(world, group, plan.debt.pool)[0],
        pool=plan.debt.pool,
        collateral=plan.collateral.pool,
        lot=lot,
        due=due,
        debt=debt,
        start_price=top,
        started=world.time,
    )
    factor = health_factor(now)
    paid = _take_in(world, group, auction)
    assert group.liquidation is not None
    group.liquidation.auctions[auction.id] = auction
    world.emit_for(
        group,
        AuctionStarted,
        auction_id=auction.id,
        number=group.liquidation.number,
        pool=auction.pool,
        collateral=auction.collateral,
        lot=decimal(lot),
        due=decimal(due),
        debt=decimal(debt),
        start_price=decimal(top),
        keeper_pay=decimal(paid),
        health_factor=decimal(factor),
        toxic=toxic(world, group, now, plan.debt, plan.collateral, plan.bonus, due),
    )
    return True


def _top(world: World, name: str, collateral: str) -> Fraction:
    """Return the price that an auction starts at, in the debt's asset."""
    mine = world.price(rule_of(world, collateral).asset, "index")
    its = world.price(rule_of(world, name).asset, "index")
    assert mine is not None
    assert its is not None
    price = decimal(floor(mine / its, PRICE_STEP))
    return Fraction(start_price(price, rule(world).start_factor))


def _take_in(world: World, group: Group, auction: Auction) -> Fraction:
    """Move debt and lot from the loan to the auction, and pay the keeper; return what."""
    with touch(world, auction.pool) as pool:
        take_debt(world, group, auction.pool, pool, auction.due)
        pool.auctioned += auction.due
    with touch(world, auction.collateral) as pool:
        worth = take_supply(world, group, auction.collateral, pool, auction.lot)
        pool.cash -= auction.lot
        pool.dust += worth - auction.lot
    pay = keeper_pay(rule(world).pay, decimal(auction.debt), _unit(world, auction))
    return _pay_keeper(world, auction, Fraction(pay))


def _unit(world: World, auction: Auction) -> Decimal:
    return decimal(unit_of(world, auction.pool))


def _pay_keeper(world: World, auction: Auction, asked: Fraction) -> Fraction:
    with touch(world, auction.pool) as pool:
        paid = min(asked, max(ZERO, min(pool.reserve, pool.cash)))
        pool.reserve -= paid
        pool.cash -= paid
        world.ledger.clearing[auction.pool, rule_of(world, auction.pool).asset] += paid
    return paid


# --- takes


def apply_take(world: World, group: Group, event: events.AuctionTaken) -> None:
    """Apply a valid take."""
    assert group.liquidation is not None
    auction = group.liquidation.auctions[event.auction_id]
    amount, paid = Fraction(event.amount), Fraction(event.paid)
    elapsed = world.time - auction.started
    price = Fraction(price_at(rule(world).decay, decimal(auction.start_price), elapsed))
    if paid < floor(amount * price, unit_of(world, auction.pool)):
        say(world, group, "beyond_limit", auction.id)
    left, least = auction.debt - paid, Fraction(rule_of(world, auction.pool).least_debt)
    if 0 < left < least and amount < auction.lot:
        say(world, group, "leaves_dust", auction.id)
    auction.lot -= amount
    collateral = auction.collateral
    world.ledger.clearing[collateral, rule_of(world, collateral).asset] += amount
    with touch(world, auction.pool) as pool:
        part = min(paid, auction.due)
        pool.cash += paid
        world.ledger.clearing[auction.pool, rule_of(world, auction.pool).asset] -= paid
        auction.due -= part
        pool.auctioned -= part
        pool.reserve += paid - part
        auction.debt -= paid
        if auction.debt and not auction.lot:
            _sold_out(world, group, auction, pool)
    if not auction.debt:
        _raised(world, group, auction)


def _raised(world: World, group: Group, auction: Auction) -> None:
    """Give what is left of the lot back."""
    with touch(world, auction.collateral) as pool:
        worth = add_supply(world, group, auction.collateral, pool, auction.lot)
        pool.cash += auction.lot
        pool.dust += auction.lot - worth
    _end(world, group, auction, "raised", returned=auction.lot, uncovered=ZERO)


def _sold_out(world: World, group: Group, auction: Auction, pool: Pool) -> None:
    pool.auctioned -= auction.due
    group.loans[auction.pool].given_up += auction.due
    _end(world, group, auction, "sold_out", returned=ZERO, uncovered=auction.due)
    bear(world, group, auction.pool, pool, auction.due)


def _end(
    world: World,
    group: Group,
    auction: Auction,
    reason: str,
    *,
    returned: Fraction,
    uncovered: Fraction,
) -> None:
    assert group.liquidation is not None
    del group.liquidation.auctions[auction.id]
    world.emit_for(
        group,
        AuctionEnded,
        auction_id=auction.id,
        reason=reason,
        returned=decimal(returned),
        uncovered=decimal(uncovered),
    )


# --- resets


def reset_due(world: World, auction: Auction) -> int | None:
    """Return when an auction must start anew, by trying; None while it must not."""
    limits, most = rule(world).reset, rule(world).most_resets
    if world.is_halted(auction.pool, auction.collateral):
        return None
    if most is not None and auction.resets >= most:
        return None
    top = decimal(auction.start_price)
    low, high = 0, limits.after + 1
    while low < high:
        tried = (low + high) // 2
        if needs_reset(limits, top, price_at(rule(world).decay, top, tried), tried):
            high = tried
        else:
            low = tried + 1
    return auction.started + low


def reset(world: World, group: Group, auction: Auction, started: int) -> None:
    """Start an auction anew at the prices of now."""
    auction.start_price = _top(world, auction.pool, auction.collateral)
    auction.started = started
    auction.resets += 1
    pay: KeeperPay = rule(world).pay
    asked = keeper_pay_again(
        pay,
        decimal(auction.debt),
        decimal(auction.lot),
        decimal(auction.start_price),
        rule_of(world, auction.pool).least_debt,
        _unit(world, auction),
    )
    paid = _pay_keeper(world, auction, Fraction(asked))
    world.emit_for(
        group,
        AuctionReset,
        auction_id=auction.id,
        start_price=decimal(auction.start_price),
        keeper_pay=decimal(paid),
        resets=auction.resets,
    )


def resume(world: World, symbol: str) -> None:
    """Let auctions that a halt covered, and that had been reset most often, be reset again."""
    for _, auction in live_auctions(world):
        most = rule(world).most_resets
        covered = symbol in ("", auction.pool, auction.collateral)
        if covered and most is not None and auction.resets >= most:
            auction.resets = 0
