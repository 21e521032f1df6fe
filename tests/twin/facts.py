"""What each event does to the books."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Literal

from engine import events
from engine.decisions import MarkUsed, SnapshotChange, SnapshotDifference
from engine.instruments import Asset
from tests.twin.amounts import ZERO, decimal, floor
from tests.twin.auctions import apply_take, resume
from tests.twin.books import Account, Group, Leg, OptionInputs, World, margin_order
from tests.twin.funds import change_fund
from tests.twin.guards import clear_flow, forget_control, holds
from tests.twin.loans import apply_loan_fact, put_loans_right
from tests.twin.options import mark_of, payoff
from tests.twin.payers import close_session, note_flow
from tests.twin.pools import begin_anew, book_all, pool_names, rule_of, told_indices, touch
from tests.twin.swings import average, forget, sample
from tests.twin.terms import AssetTerms, ContractTerms, Policy
from tests.twin.trades import anomaly, apply_fill, live, not_filled
from tests.twin.values import value


def apply(world: World, event: events.AnyEvent) -> None:
    """Apply a valid event."""
    match event:
        case events.PriceUpdate() if holds(world, event):
            return
        case events.PriceUpdate():
            average(world, event)
            world.prices[event.symbol, event.kind] = MarkUsed(
                event.symbol, event.kind, event.price, event.source, event.time
            )
            sample(world, event)
        case events.OptionMark():
            _mark_option(world, event)
        case events.AccountClosed():
            del world.accounts[event.account]
        case events.AccountEvent():
            new = event.account not in world.accounts
            if new:
                world.accounts[event.account] = Account(event.account, event.sequence)
            _apply_to_account(world, world.accounts[event.account], event, new)
        case _:
            _apply_to_venue(world, event)


def _mark_option(world: World, event: events.OptionMark) -> None:
    inputs = OptionInputs(
        volatility=float(event.iv),
        forward=float(event.forward),
        discount=float(event.discount),
        time=world.time,
        exact_forward=Fraction(event.forward),
    )
    world.options[event.symbol] = inputs
    mark = decimal(mark_of(world, event.symbol, inputs, inputs.volatility, inputs.forward))
    world.prices[event.symbol, "mark"] = MarkUsed(
        event.symbol, "mark", mark, event.source, event.time
    )


def _apply_to_account(
    world: World, account: Account, event: events.AccountEvent, new: bool
) -> None:
    match event:
        case events.AccountOpened():
            account.role = event.role
        case events.Deposit():
            account.group("cross").cash[event.asset] += Fraction(event.amount)
            world.ledger.deposits[event.asset] += Fraction(event.amount)
        case events.Withdrawal():
            account.group("cross").cash[event.asset] -= Fraction(event.amount)
            world.ledger.withdrawals[event.asset] += Fraction(event.amount)
            if event.asset in world.gated and world.rules.source.waterfall.gate:
                anomaly(world, account.group("cross"), "gated", "")
        case events.MarginMoved():
            settle = world.contracts[event.symbol].settle
            account.group("cross").cash[settle] -= Fraction(event.amount)
            account.group(f"isolated:{event.symbol}").cash[settle] += Fraction(event.amount)
        case events.PositionSnapshot():
            _put_right(world, account, event, new)
        case events.OrderClosed():
            margin, _ = account.issued_as(event.order_id) or ("", "")
            _close_order(world, account.group(margin), event)
        case events.Fill():
            apply_fill(world, account.group(event.margin), event)
        case events.OpenOrders():
            _note_open_orders(account.group(event.margin), event)
        case events.OrdersCancelled():
            group = account.group(event.margin)
            group.orders.clear()
            if group.liquidation:
                group.liquidation.awaiting = None
        case events.FundingPaid():
            group, amount = account.group(event.margin), Fraction(event.amount)
            _pay(world, group, event.symbol, amount)
        case events.CollateralSold():
            _sell(world, account.group(event.margin), event)
        case events.AuctionTaken():
            apply_take(world, account.group(event.margin), event)
        case _:
            apply_loan_fact(world, account, event)


def _pay(world: World, group: Group, symbol: str, amount: Fraction) -> None:
    settle = world.contracts[symbol].settle
    group.cash[settle] += amount
    world.ledger.clearing[symbol, settle] -= amount
    note_flow(world, group, symbol, amount)
    group.last_market = symbol


def _note_open_orders(group: Group, event: events.OpenOrders) -> None:
    group.orders.pop(event.symbol, None)
    if event.buy_size or event.sell_size:
        group.orders[event.symbol] = (Fraction(event.buy_size), Fraction(event.sell_size))
    if group.orders:
        group.orders_told = False


def _close_order(world: World, group: Group, event: events.OrderClosed) -> None:
    order = live(group, event.order_id)
    if order is None or group.liquidation is None:
        return
    if order.filled != Fraction(event.filled_size):
        anomaly(world, group, "filled_size", order.id)
    if order.cancelling is None:
        not_filled(world, group.liquidation, order)
    del group.liquidation.live[order.id]


def _sell(world: World, group: Group, event: events.CollateralSold) -> None:
    amount, proceeds = Fraction(event.amount), Fraction(event.proceeds)
    sale = live(group, event.order_id)
    if sale is not None and not sale.for_asset:
        sale = None
    if event.order_id and sale is None:
        anomaly(world, group, "late", event.order_id)
    if sale is not None and group.liquidation is not None:
        if sale.filled + amount > sale.size:
            anomaly(world, group, "exceeds_order", sale.id)
        if proceeds < floor(amount * sale.limit, world.unit(event.for_asset)):
            anomaly(world, group, "beyond_limit", sale.id)
        sale.filled += amount
        if sale.filled >= sale.size:
            del group.liquidation.live[sale.id]
    group.cash[event.asset] -= amount
    group.cash[event.for_asset] += proceeds
    world.ledger.clearing[event.asset, event.asset] += amount
    world.ledger.clearing[event.asset, event.for_asset] -= proceeds


def _put_right(world: World, account: Account, event: events.PositionSnapshot, new: bool) -> None:
    account.gap_since = None
    if event.role is not None:
        account.role = event.role
    given = {group.margin: group for group in event.groups}
    changes: list[SnapshotChange] = []
    for margin in sorted({*given, *account.groups}, key=margin_order):
        group = account.group(margin)
        snapshot = given.get(margin, events.GroupSnapshot(margin))
        cash = {asset: Fraction(amount) for asset, amount in snapshot.balances.items()}
        legs = {leg.symbol: Leg(Fraction(leg.size), Fraction(leg.cost)) for leg in snapshot.legs}
        for asset in {*cash, *group.cash}:
            change = cash.get(asset, ZERO) - group.cash.get(asset, ZERO)
            world.ledger.adjustments[asset] += change
        changes += _differences(group, cash, legs)
        group.cash, group.legs = defaultdict(Fraction, cash), legs
        changes += put_loans_right(world, group, snapshot)
    if changes or new:
        world.emit(SnapshotDifference, account=account.name, changes=tuple(changes))


def _differences(
    group: Group, cash: dict[str, Fraction], legs: dict[str, Leg]
) -> list[SnapshotChange]:
    costs = ({name: leg.cost for name, leg in side.items()} for side in (group.legs, legs))
    sizes = ({name: leg.size for name, leg in side.items()} for side in (group.legs, legs))
    return [
        *_changes(group.margin, "cash", group.cash, cash),
        *_changes(group.margin, "cost", *costs),
        *_changes(group.margin, "size", *sizes),
    ]


def _changes(
    margin: str,
    item: Literal["cash", "cost", "size"],
    before: dict[str, Fraction],
    after: dict[str, Fraction],
) -> list[SnapshotChange]:
    numbers = [(name, before.get(name, ZERO), after.get(name, ZERO)) for name in {*before, *after}]
    return [
        SnapshotChange(margin, item, name, decimal(was), decimal(is_now))
        for name, was, is_now in sorted(numbers)
        if was != is_now
    ]


def _apply_to_venue(world: World, event: events.AnyEvent) -> None:
    match event:
        case events.InstrumentListed():
            listed = event.instrument
            world.listed[listed.name] = listed
            if isinstance(listed, Asset):
                world.assets[listed.name] = AssetTerms.of(listed)
            else:
                world.contracts[listed.name] = ContractTerms.of(listed)
        case events.ProfileChanged():
            _change_rules(world, Policy(event.profile))
        case events.FundMoved():
            if event.shard == world.shard:
                _move_fund(world, event)
        case events.Recovered() | events.WrittenOff():
            if event.shard == world.shard:
                _settle_debt(world, event)
        case events.SessionClosed():
            close_session(world)
        case events.InterestAccrued():
            indices = Fraction(event.supply_index), Fraction(event.borrow_index)
            told_indices(world, event.pool, *indices)
        case events.FundingRate():
            for group, leg in holders(world, event.symbol):
                _pay(world, group, event.symbol, funding(world, event, leg))
        case events.Settled():
            _settle(world, event)
        case events.MarketState():
            sizes = Fraction(event.long_size), Fraction(event.short_size)
            world.interest[event.symbol] = sizes
        case events.PoolState():
            world.pools[event.pool] = Fraction(event.supplied), Fraction(event.borrowed)
        case events.Halt(symbol=""):
            world.halted_all = True
        case events.Halt():
            world.halted.add(event.symbol)
            world.tripped.discard(event.symbol)
        case events.Resume():
            world.halted_all &= event.symbol != ""
            world.halted.discard(event.symbol)
            resume(world, event.symbol)
            clear_flow(world, event.symbol)
        case events.TimePassed():
            pass
        case _:
            raise AssertionError(f"{type(event).__name__}: no event of the venue")


def _change_rules(world: World, policy: Policy) -> None:
    if world.policy is not None and world.policy.source == policy.source:
        return
    counted = False
    if world.policy is not None:
        counted = world.policy.source.waterfall.socialised == "winners"
        book_all(world)
        _unpause(world, policy)
    world.policy = policy
    begin_anew(world)
    forget(world)
    forget_control(world)
    if policy.source.waterfall.socialised != "winners" or not counted:
        close_session(world)


def _unpause(world: World, policy: Policy) -> None:
    """Have nobody wait for what other rules had him wait for."""
    old, new = world.rules.source, policy.source
    if (old.liquidation, old.waterfall) == (new.liquidation, new.waterfall):
        return
    for group in world.groups():
        if group.liquidation is not None:
            group.liquidation.cooling_until = None
            if group.liquidation.waits in ("capped", "cooldown", "toxic"):
                group.liquidation.waits = ""


def _move_fund(world: World, event: events.FundMoved) -> None:
    amount = Fraction(event.amount)
    world.ledger.top_ups[event.asset] += amount
    if not event.pool:
        change_fund(world, event.fund, event.asset, amount)
        return
    with touch(world, event.pool) as pool:
        pool.reserve += amount
        pool.cash += amount


def _settle_debt(world: World, event: events.Recovered | events.WrittenOff) -> None:
    """Take what came in for the bad debt of a market, or give it up."""
    ledger, key, amount = world.ledger, (event.asset, event.market), Fraction(event.amount)
    came_in = isinstance(event, events.Recovered)
    if came_in:
        ledger.recovered[key] += amount
        ledger.top_ups[event.asset] += amount
    else:
        ledger.written_off[key] += amount
    pools = pool_names(world)
    if came_in and event.market in pools and rule_of(world, event.market).asset == event.asset:
        with touch(world, event.market) as pool:
            part = min(amount, pool.deficit)
            pool.deficit -= part
            pool.cash += part


def holders(world: World, symbol: str) -> list[tuple[Group, Leg]]:
    """Return every leg in a symbol, with its group."""
    groups = [group for account in world.accounts.values() for group in account.groups.values()]
    return [(group, group.legs[symbol]) for group in groups if symbol in group.legs]


def funding(world: World, event: events.FundingRate, leg: Leg) -> Fraction:
    """Return what a leg receives."""
    terms = world.contracts[event.symbol]
    price = world.price(event.symbol, "index") or world.price(event.symbol, "mark")
    assert price is not None
    at = 1 / price if terms.inverse else price
    exact = -Fraction(event.rate) * leg.size * terms.multiplier * at
    return floor(exact, world.unit(terms.settle))


def settlement(world: World, event: events.Settled, leg: Leg) -> Fraction:
    """Return the cash that a settled leg brings."""
    terms = world.contracts[event.symbol]
    unit = world.unit(terms.settle)
    price = Fraction(event.price)
    if terms.option is not None:
        price = payoff(terms.option, price)
    return floor(value(terms, leg.size, price, unit), unit) - leg.cost


def _settle(world: World, event: events.Settled) -> None:
    for group, leg in holders(world, event.symbol):
        _pay(world, group, event.symbol, settlement(world, event, leg))
        del group.legs[event.symbol]
    for account in world.accounts.values():
        for group in account.groups.values():
            if group.liquidation:
                orders = group.liquidation.live.values()
                gone = [order.id for order in orders if order.symbol == event.symbol]
                for order_id in gone:
                    del group.liquidation.live[order_id]
    world.settled.add(event.symbol)
