"""What is decided about a group, and in which order the groups are looked at."""

from __future__ import annotations

from fractions import Fraction
from functools import cmp_to_key
from typing import Any

from engine.decisions import (
    BalanceEvidence,
    CancelOpenOrders,
    CancelOrder,
    LegEvidence,
    LiquidationEnded,
    LiquidationStarted,
    LoanEvidence,
    MarginCall,
)
from tests.twin.amounts import ZERO, decimal, floor
from tests.twin.auctions import start_auction
from tests.twin.books import Group, Liquidation, Order, World
from tests.twin.funds import review_gates
from tests.twin.losses import can_set_off, draw, give_up, lost, set_off
from tests.twin.orders import send_orders, send_sales
from tests.twin.payers import Part, pay_shortfall
from tests.twin.pools import has_backing, rules
from tests.twin.seizing import first_plan, send_seizures, waits_as_toxic
from tests.twin.values import Health, breached, exposed, health, restored

Risk = tuple[Health | None, Group]


def decide_all(world: World) -> None:
    """Look at every group, riskiest first, and anew once a pool has changed."""
    while True:
        world.others_changed = False
        ranked = [(health(world, group), group) for group in world.groups()]
        for _, group in sorted(ranked, key=cmp_to_key(_riskier)):
            decide(world, group)
            if world.others_changed:
                break
        else:
            return


def _riskier(one: Risk, other: Risk) -> int:
    (mine, group), (its, fellow) = one, other
    by_name = _compare((group.account, group.margin), (fellow.account, fellow.margin))
    if mine is None or its is None:
        return _compare(mine is None, its is None) or by_name
    return (
        _compare(mine.margin_equity * its.requirement, its.margin_equity * mine.requirement)
        or _compare(its.requirement, mine.requirement)
        or (_compare(mine.margin_equity, its.margin_equity) if mine.requirement == 0 else 0)
        or by_name
    )


def _compare(a: Any, b: Any) -> int:
    return (a > b) - (a < b)


def decide(world: World, group: Group) -> None:
    """Decide a group until nothing is left to decide."""
    again = True
    while again:
        again = _without(world, group) if group.liquidation is None else _within(world, group)
        review_gates(world)


def blocked_by_gap(world: World, group: Group) -> bool:
    """Tell whether an account's missing events may still come."""
    since = world.accounts[group.account].gap_since
    return since is not None and world.time < since + world.rules.source.liquidation.gap_timeout


def _block(world: World, group: Group) -> str:
    concerned = [*group.legs] or group.debts()
    stopped = bool(concerned) and world.halted.issuperset(concerned)
    if world.halted_all or stopped:
        return "halted"
    return "gap" if blocked_by_gap(world, group) else ""


def _convertible(world: World, group: Group) -> bool:
    return any(group.cash.get(asset, ZERO) > 0 for asset in world.rules.source.conversion)


def _convert_limit(world: World, asset: str) -> Fraction | None:
    rule = world.rules.source.collateral.get(asset)
    below = None if rule is None else rule.auto_convert_below
    return None if below is None else Fraction(below)


# --- without a liquidation


def _without(world: World, group: Group) -> bool:
    if world.accounts[group.account].role in ("backstop", "fund", "exempt"):
        return False
    bare = not group.legs and not has_backing(world, group)
    if bare and group.owed() and not _convertible(world, group):
        if not blocked_by_gap(world, group):
            _book(world, group, 0, "negative_balance", {})
            return True
        return False
    now = health(world, group)
    if now is None:
        return False
    if breached(world, group, now):
        return _start(world, group, now, "breach")
    if group.margin == "cross" and _convertible(world, group):
        for asset in group.owed():
            below = _convert_limit(world, asset)
            if below is not None and group.cash[asset] < -below:
                return _start(world, group, now, "auto_convert")
    _cancel_own_orders(world, group, now)
    _margin_call(world, group, now)
    return False


def _cancel_own_orders(world: World, group: Group, now: Health) -> None:
    rule = world.rules.source.cancel_orders
    idle = not exposed(group)
    if rule is None or idle or now.requirement < Fraction(rule.reset) * now.margin_equity:
        group.orders_told = False
    elif not group.orders or group.orders_told:
        return
    elif now.requirement >= Fraction(rule.at) * now.margin_equity:
        group.orders_told = True
        world.emit_for(group, CancelOpenOrders, number=0)


def _margin_call(world: World, group: Group, now: Health) -> None:
    rule = world.rules.source.margin_call
    if not exposed(group):
        group.called = False
    elif not group.called and now.requirement >= Fraction(rule.at) * now.margin_equity:
        group.called = True
        world.emit_for(
            group,
            MarginCall,
            margin_equity=decimal(now.margin_equity),
            maintenance=decimal(now.requirement),
        )
    elif group.called and now.requirement < Fraction(rule.reset) * now.margin_equity:
        group.called = False


def _start(world: World, group: Group, now: Health, reason: str) -> bool:
    account = world.accounts[group.account]
    account.issued.append((group.margin, []))
    number = len(account.issued)
    group.liquidation = Liquidation(number, reason, _block(world, group))
    if reason == "breach":
        group.called = True
    legs = tuple(
        LegEvidence(
            leg.symbol,
            *map(decimal, (leg.leg.size, leg.leg.cost, leg.value, leg.notional, leg.needed)),
        )
        for leg in now.legs
    )
    balances = tuple(
        BalanceEvidence(
            asset,
            *map(decimal, (group.cash.get(asset, ZERO), now.net[asset], now.price[asset])),
        )
        for asset in now.net
    )
    priced = {*now.net, *(loan.asset for loan in now.loans)} - {world.rules.source.numeraire}
    used = [(leg.symbol, "mark") for leg in now.legs]
    used += [(asset, "index") for asset in sorted(priced)]
    world.emit_for(
        group,
        LiquidationStarted,
        number=number,
        reason=reason,
        waits=group.liquidation.waits,
        equity=decimal(now.equity),
        margin_equity=decimal(now.margin_equity),
        maintenance=decimal(now.requirement),
        legs=legs,
        balances=balances,
        marks=tuple(world.prices[key] for key in used if key in world.prices),
        loans=tuple(
            LoanEvidence(
                loan.pool,
                *map(decimal, (loan.supplied, loan.threshold or ZERO, loan.owed, loan.weight)),
            )
            for loan in now.loans
        ),
    )
    return _advance(world, group)


# --- within a liquidation


def _within(world: World, group: Group) -> bool:
    liquidation = group.liquidation
    assert liquidation is not None
    if world.accounts[group.account].role in ("backstop", "fund", "exempt"):
        for order in list(liquidation.live.values()):
            cancel(world, group, order, "exempt")
        free = not (liquidation.live or liquidation.auctions)
        return free and _end(world, group, "exempt")
    if liquidation.live:
        _cancel_live(world, group, liquidation)
        return False
    if liquidation.awaiting is not None:
        return False
    return _advance(world, group)


def _cancel_live(world: World, group: Group, liquidation: Liquidation) -> None:
    for order in list(liquidation.live.values()):
        names = [] if order.for_asset else [order.symbol, order.collateral]
        halted = world.is_halted(*names)
        if halted:
            cancel(world, group, order, "halted")
    now = health(world, group)
    if liquidation.reason == "breach" and now is not None and restored(world, group, now):
        for order in list(liquidation.live.values()):
            if not order.for_asset:
                cancel(world, group, order, "healthy")


def cancel(world: World, group: Group, order: Order, reason: str) -> None:
    """Ask the venue to cancel an order, once."""
    if order.cancelling is None:
        order.cancelling = world.time + world.rules.source.liquidation.ack_timeout
        world.emit_for(group, CancelOrder, order_id=order.id, reason=reason)


def _advance(world: World, group: Group) -> bool:
    assert group.liquidation is not None
    if group.liquidation.reason == "auto_convert":
        return _advance_conversion(world, group, group.liquidation)
    return _advance_breach(world, group, group.liquidation)


def _advance_breach(world: World, group: Group, liquidation: Liquidation) -> bool:
    if not group.legs and not group.owed() and not group.debts():
        return not liquidation.auctions and _end(world, group, "flat")
    now = health(world, group)
    if group.legs or group.debts() or not liquidation.opened:
        if now is None:
            return False
        if restored(world, group, now):
            return not liquidation.auctions and _end(world, group, "healthy")
    if not group.legs and not blocked_by_gap(world, group):
        if group.owed():
            if not _convertible(world, group):
                if now is None or not draw(world, group, now):
                    _book(world, group, liquidation.number, "breach", liquidation.losses)
                return True
        elif now is not None and _gives_up(world, group, now):
            return True
    if block := _block(world, group):
        liquidation.waits = block
        return False
    if liquidation.waits not in ("capped", "cooldown", "toxic"):
        liquidation.waits = ""
    if not liquidation.opened and _open(world, group, liquidation):
        return False
    return now is not None and _act(world, group, liquidation, now)


def _gives_up(world: World, group: Group, now: Health) -> bool:
    if not group.debts() or not lost(world, group, now, convertible=_convertible(world, group)):
        return False
    give_up(world, group, now)
    return True


def _open(world: World, group: Group, liquidation: Liquidation) -> bool:
    """Cancel the group's own orders; tell whether there is an answer to wait for."""
    liquidation.opened, liquidation.opened_at = True, world.time
    if not group.debts() or group.legs or group.orders:
        world.emit_for(group, CancelOpenOrders, number=liquidation.number)
    if group.orders:
        liquidation.awaiting = world.time + world.rules.source.liquidation.ack_timeout
    return bool(group.orders)


def _act(world: World, group: Group, liquidation: Liquidation, now: Health) -> bool:
    """Send what comes next; tell whether something is left to decide at once."""
    if group.legs:
        send_orders(world, group, now)
        return False
    if group.owed():
        send_sales(world, group, {asset: -group.cash[asset] for asset in group.owed()})
        return False
    if can_set_off(world, group):
        set_off(world, group)
        return True
    plan = first_plan(world, group, now)
    if plan is not None and rules(world).auction is not None:
        if start_auction(world, group, now, plan):
            return True
        liquidation.waits, liquidation.awaits = "capped", set()
    elif plan is not None and waits_as_toxic(world, plan):
        liquidation.waits = "toxic"
    elif plan is not None:
        send_seizures(world, group, now, plan)
    elif _convertible(world, group):
        needs: dict[str, Fraction] = {}
        for loan in now.loans:
            needs[loan.asset] = needs.get(loan.asset, ZERO) + loan.owed
        send_sales(world, group, {asset: need for asset, need in needs.items() if need})
    return False


def _advance_conversion(world: World, group: Group, liquidation: Liquidation) -> bool:
    owed = [asset for asset in group.owed() if _convert_limit(world, asset) is not None]
    if not owed or not _convertible(world, group):
        return _end(world, group, "converted")
    now = health(world, group)
    if now is None:
        return False
    if breached(world, group, now):
        return _end(world, group, "superseded")
    liquidation.waits = _block(world, group)
    if not liquidation.waits:
        send_sales(world, group, {asset: -group.cash[asset] for asset in owed})
    return False


def _end(world: World, group: Group, reason: str) -> bool:
    assert group.liquidation is not None
    world.emit_for(group, LiquidationEnded, number=group.liquidation.number, reason=reason)
    group.liquidation = None
    return True


# --- what remains


def _book(world: World, group: Group, number: int, cause: str, losses: dict[str, Fraction]) -> None:
    for asset in group.owed():
        amount = -group.cash.pop(asset)
        for market, part in sorted(_by_market(world, group, asset, amount, losses).items()):
            if part:
                pay_shortfall(world, group, number, cause, Part(asset, market, part))


def _by_market(
    world: World, group: Group, asset: str, amount: Fraction, losses: dict[str, Fraction]
) -> dict[str, Fraction]:
    symbols = sorted(s for s in losses if losses[s] > 0 and world.contracts[s].settle == asset)
    if not symbols:
        return {group.last_market or asset: amount}
    total = sum((losses[symbol] for symbol in symbols), ZERO)
    unit = world.unit(asset)
    parts = {s: floor(amount * losses[s] / total, unit) for s in symbols[:-1]}
    return {**parts, symbols[-1]: amount - sum(parts.values(), ZERO)}
