"""The life of an auction: its start, what is taken, resets, its end; docs/semantics.md, 10.

Prices and sizes are calculated in `auction` and `repayment`. The debt's pool carries what is due
as `auctioned` while the auction is live; the lot is in no pool.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import conditions as check
from engine import decisions as d
from engine import events as e
from engine.auction import keeper_pay, keeper_pay_again, needs_reset, price_at
from engine.book import Group
from engine.conditions import Checks
from engine.issuing import issue, liquidation_of
from engine.lending_profile import DutchAuction
from engine.liquidation import Auction
from engine.losses import bear
from engine.margin import Health
from engine.money import ZERO, floor_to, plain
from engine.repayment import health_of, plan_auction, top_price
from engine.rules import Rules
from engine.situation import live_auctions
from engine.touch import Touch

if TYPE_CHECKING:
    from engine.core import Engine


def _in_force(rules: Rules) -> DutchAuction | None:
    """Return the rule, none where the profile has changed to one without auctions since."""
    return None if rules.lending is None else rules.lending.auction


def _rule(rules: Rules) -> DutchAuction:
    rule = _in_force(rules)
    if rule is None:
        raise LookupError("auction: no rule is in force")
    return rule


# --- the start


def begin(engine: Engine, group: Group, state: Health) -> None:
    """Put collateral on auction for a debt, which the group owes no more."""
    live = live_auctions(engine)
    planned = plan_auction(state, group.holdings, engine.rules, engine.markets, live)
    if planned is None:
        raise LookupError(f"{group.key}: nothing to put on auction, or no room")
    issued = issue(engine, group, planned.pool)
    pool = Touch(engine, planned.pool)
    pool.take_debt(group, planned.due)
    pool.move(auctioned=planned.due)
    rule = _rule(engine.rules)
    paid = _pay_keeper(engine, pool, keeper_pay(rule.pay, planned.debt, pool.unit))
    pool.close()
    collateral = Touch(engine, planned.collateral)
    collateral.take_supply(group, planned.lot)
    collateral.move(cash=-planned.lot)
    collateral.close()
    auction = Auction(
        issued.id, issued.attempt, planned.pool, planned.collateral, planned.lot, planned.due,
        planned.debt, planned.start_price, engine.time,
    )  # fmt: skip
    liquidation_of(group).auctions[auction.id] = auction
    engine.timers.await_reset(engine, group, auction)
    engine.emit_for(
        group,
        d.AuctionStarted,
        auction_id=auction.id,
        number=liquidation_of(group).number,
        keeper_pay=paid,
        health_factor=health_of(state),
        **planned._asdict(),
    )
    engine.others_changed()


def _pay_keeper(engine: Engine, pool: Touch, due: Decimal) -> Decimal:
    """Pay whoever starts an auction of the pool's reserve, as far as that goes; return how much."""
    paid = min(due, max(min(pool.state.reserve, pool.state.cash), ZERO))
    if paid:
        pool.move(reserve=-paid, cash=-paid)
        engine.clear(pool.name, pool.asset, paid)
    return paid


# --- takes


def taken(engine: Engine, event: e.AuctionTaken) -> None:
    """Book what was taken of an auction and paid for it: what was due first, then the penalty."""
    group = engine.group_of(event.account, event.margin)
    auction = liquidation_of(group).auctions[event.auction_id]
    pool = Touch(engine, auction.pool)
    least = floor_to(event.amount * _price(engine, auction), pool.unit)
    if event.paid < least:
        detail = f"{plain(event.paid)} {pool.asset}, expected {plain(least)}"
        engine.anomaly(group, "beyond_limit", auction.id, detail)
    left = auction.debt - event.paid
    if 0 < left < pool.rule.least_debt and event.amount < auction.lot:
        detail = f"{plain(left)} {pool.asset} left of its debt"
        engine.anomaly(group, "leaves_dust", auction.id, detail)
    auction.lot -= event.amount
    engine.clear(auction.collateral, engine.rules.pool(auction.collateral).asset, event.amount)
    engine.clear(auction.pool, pool.asset, -event.paid)
    due = min(event.paid, auction.due)
    auction.due -= due
    auction.debt -= event.paid
    pool.move(cash=event.paid, auctioned=-due, reserve=event.paid - due)
    if auction.debt and not auction.lot:
        _sold_out(engine, group, auction, pool)
    pool.close()
    if not auction.debt:
        _raised(engine, group, auction)
    engine.touch(group)
    waiting = (other for other in engine.liquidating if other.liquidation)
    engine.look_at([one for one in waiting if liquidation_of(one).waits == "capped"])


def _price(engine: Engine, auction: Auction) -> Decimal:
    """Return what a unit of the lot costs now."""
    rule = _in_force(engine.rules)
    if rule is None:
        return ZERO
    return price_at(rule.decay, auction.start_price, engine.time - auction.started)


def _raised(engine: Engine, group: Group, auction: Auction) -> None:
    """End an auction that raised its debt: the lot that is left is the group's supply again."""
    collateral = Touch(engine, auction.collateral)
    collateral.add_supply(group, auction.lot)
    collateral.move(cash=auction.lot)
    collateral.close()
    _end(engine, group, auction, "raised", returned=auction.lot)


def _sold_out(engine: Engine, group: Group, auction: Auction, pool: Touch) -> None:
    """End an auction that has nothing left to sell: what is still due is lost."""
    _end(engine, group, auction, "sold_out", uncovered=auction.due)
    if auction.due:
        pool.move(auctioned=-auction.due)
        group.given_up[pool.name] = group.given_up.get(pool.name, ZERO) + auction.due
        bear(engine, group, pool, auction.due)


def _end(
    engine: Engine,
    group: Group,
    auction: Auction,
    reason: str,
    returned: Decimal = ZERO,
    uncovered: Decimal = ZERO,
) -> None:
    del liquidation_of(group).auctions[auction.id]
    engine.emit_for(
        group,
        d.AuctionEnded,
        auction_id=auction.id,
        reason=reason,
        returned=returned,
        uncovered=uncovered,
    )


def checks(engine: Engine, event: e.AuctionTaken) -> Checks:
    """Yield what speaks against a take; later checks rely on earlier ones."""
    yield check.margin(engine, event.margin, None)
    group = engine.accounts[event.account].groups.get(event.margin)
    live = group.liquidation.auctions if group and group.liquidation else {}
    auction = live.get(event.auction_id)
    if auction is None:
        yield "no_auction", f"auction {event.auction_id!r} is not live"
        return
    yield check.positive("amount", event.amount)
    yield check.not_negative("paid", event.paid)
    for name, amount, pool in (
        ("amount", event.amount, auction.collateral),
        ("paid", event.paid, auction.pool),
    ):
        yield check.amount(engine, name, amount, engine.rules.pool(pool).asset)
    if event.amount > auction.lot:
        yield "lot", f"amount {plain(event.amount)} is more than the lot {plain(auction.lot)}"
    if event.paid > auction.debt:
        yield "debt", f"paid {plain(event.paid)} is more than the debt {plain(auction.debt)}"


# --- resets


def reset_due(rules: Rules, auction: Auction) -> int | None:
    """Return the first time at which an auction must start anew; none while a halt covers it, or
    after its last reset.

    Found by bisection: the price only falls, and after `reset.after` it must in any case.
    """
    rule = _in_force(rules)
    if rule is None or (rule.most_resets is not None and auction.resets >= rule.most_resets):
        return None
    if rules.halts(auction.pool) or rules.halts(auction.collateral):
        return None
    early, late = 0, rule.reset.after + 1
    while late - early > 1:
        between = (early + late) // 2
        price = price_at(rule.decay, auction.start_price, between)
        if needs_reset(rule.reset, auction.start_price, price, between):
            late = between
        else:
            early = between
    return auction.started + late


def reset(engine: Engine, group: Group, auction: Auction, started: int) -> None:
    """Start an auction anew at the prices of now, from `started`: after a silence, however long,
    that is once."""
    rule, rules = _rule(engine.rules), engine.rules
    pool = Touch(engine, auction.pool)
    collateral = rules.pool(auction.collateral).asset
    prices = [rules.price_of(asset, engine.markets) for asset in (collateral, pool.asset)]
    if prices[0] is None or prices[1] is None:
        raise LookupError(f"auction {auction.id}: no price")
    auction.start_price = top_price(rule, prices[0], prices[1])
    auction.started = started
    auction.resets += 1
    due = keeper_pay_again(
        rule.pay, auction.debt, auction.lot, auction.start_price, pool.rule.least_debt, pool.unit
    )
    paid = _pay_keeper(engine, pool, due)
    pool.close()
    engine.touch(group)
    engine.timers.await_reset(engine, group, auction)
    engine.emit_for(
        group,
        d.AuctionReset,
        auction_id=auction.id,
        start_price=auction.start_price,
        keeper_pay=paid,
        resets=auction.resets,
    )


def resumed(engine: Engine, scope: str) -> None:
    """Let the auctions that the end of a halt covers ("": all of them) be reset again."""
    rule = _in_force(engine.rules)
    if rule is None:
        return
    most = rule.most_resets
    for group in engine.liquidating:
        for auction in liquidation_of(group).auctions.values():
            if scope not in ("", auction.pool, auction.collateral):
                continue
            if most is not None and auction.resets >= most:
                auction.resets = 0
                engine.touch(group)
            engine.timers.await_reset(engine, group, auction)
