"""How facts change the book: calculated first, executed in one place each.

Every function here takes an event that was admitted; what it moves between accounts and the ledger
sums to zero per asset, or is one of the ledger's external flows.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine import auctions, bad_debt, fills, funds, guard, loans, repricing, sessions
from engine import decisions as d
from engine import events as e
from engine.book import Group
from engine.holdings import Leg
from engine.instruments import Listed, Option
from engine.issuing import end_live
from engine.money import ZERO, credit, plain
from engine.options import payoff

if TYPE_CHECKING:
    from engine.core import Engine


def settlement_cash(instrument: Listed, unit: Decimal, leg: Leg, price: Decimal) -> Decimal:
    """Return the cash that settling `leg` at `price` (of an option its underlying's) brings,
    rounded down."""
    if isinstance(instrument, Option):
        gain, divisor = payoff(instrument, price)
        return credit(leg.size * instrument.multiplier * gain, unit, divisor) - leg.cost
    return credit(instrument.value(leg.size, price, unit), unit) - leg.cost


def funding_cash(
    instrument: Listed, unit: Decimal, leg: Leg, price: Decimal, rate: Decimal
) -> Decimal:
    """Return the funding that a leg receives (pays if < 0), rounded down; longs pay a positive
    rate."""
    exposure = leg.size * instrument.multiplier
    if instrument.inverse:
        return credit(-rate * exposure, unit, price)
    return credit(-rate * exposure * price, unit)


# --- accounts


def _account_opened(engine: Engine, event: e.AccountOpened) -> None:
    account = engine.accounts[event.account]
    account.role = event.role
    engine.touch_account(account)


def _account_closed(engine: Engine, event: e.AccountClosed) -> None:
    engine.forget(engine.accounts[event.account])


def _deposit(engine: Engine, event: e.Deposit) -> None:
    _move_external(engine, event.account, event.asset, event.amount)
    engine.ledger.deposits[event.asset] += event.amount


def _withdrawal(engine: Engine, event: e.Withdrawal) -> None:
    _move_external(engine, event.account, event.asset, -event.amount)
    engine.ledger.withdrawals[event.asset] += event.amount
    if event.asset in engine.gates.closed:
        detail = f"{plain(event.amount)} {event.asset} withdrawn while withdrawals are stopped"
        engine.anomaly(engine.group_of(event.account, e.CROSS), "gated", "", detail)


def _move_external(engine: Engine, account: str, asset: str, amount: Decimal) -> None:
    group = engine.group_of(account, e.CROSS)
    engine.book.add_cash(group, asset, amount)
    engine.changed.funds.add(asset)
    engine.touch(group)


def _margin_moved(engine: Engine, event: e.MarginMoved) -> None:
    asset = engine.rules.settle_of(event.symbol).name
    cross = engine.group_of(event.account, e.CROSS)
    isolated = engine.group_of(event.account, e.isolated(event.symbol))
    engine.book.add_cash(cross, asset, -event.amount)
    engine.book.add_cash(isolated, asset, event.amount)
    engine.touch(cross)
    engine.touch(isolated)


def _open_orders(engine: Engine, event: e.OpenOrders) -> None:
    group = engine.group_of(event.account, event.margin)
    if event.buy_size or event.sell_size:
        group.open_orders[event.symbol] = (event.buy_size, event.sell_size)
    else:
        group.open_orders.pop(event.symbol, None)
    if group.open_orders:
        group.orders_told = False
    engine.touch(group)


def _orders_cancelled(engine: Engine, event: e.OrdersCancelled) -> None:
    group = engine.group_of(event.account, event.margin)
    group.open_orders.clear()
    if group.liquidation is not None:
        group.liquidation.awaiting_until = None
    engine.touch(group)


def _snapshot(engine: Engine, event: e.PositionSnapshot) -> None:
    account = engine.accounts[event.account]
    given = {group.margin: group for group in event.groups}
    for margin in given:
        engine.book.group(account, margin)
    changes: list[d.SnapshotChange] = []
    for group in account.ordered_groups():
        changes += _put_right(engine, group, given.get(group.margin))
    if event.role is not None:
        account.role = event.role
    account.gap_since = None
    engine.touch_account(account)
    if changes or engine.is_new(account):
        engine.emit(d.SnapshotDifference, account=account.id, changes=tuple(changes))


def _put_right(
    engine: Engine, group: Group, given: e.GroupSnapshot | None
) -> list[d.SnapshotChange]:
    """Make one group what the venue says it is; return what changed, by item and name."""
    cash = given.balances if given else {}
    legs = {leg.symbol: leg for leg in given.legs} if given else {}
    changes: list[d.SnapshotChange] = []

    def note(item: Any, name: str, before: Decimal, after: Decimal) -> None:
        if before != after:
            changes.append(d.SnapshotChange(group.margin, item, name, before, after))

    before_cash, before_legs = group.cash, group.legs
    for asset in sorted({*cash, *before_cash}):
        before, after = before_cash.get(asset, ZERO), cash.get(asset, ZERO)
        note("cash", asset, before, after)
        engine.book.set_cash(group, asset, after)
        engine.ledger.adjustments[asset] += after - before
        engine.changed.funds.add(asset)
    none = Leg(ZERO, ZERO)
    symbols = sorted({*legs, *before_legs})
    for symbol in symbols:
        held, told = before_legs.get(symbol, none), legs.get(symbol)
        after_leg = Leg(told.size, told.cost) if told else none
        note("cost", symbol, held.cost, after_leg.cost)
        engine.book.set_leg(group, symbol, after_leg.size, after_leg.cost)
    for symbol in symbols:
        told = legs.get(symbol)
        note("size", symbol, before_legs.get(symbol, none).size, told.size if told else ZERO)
    return changes + loans.put_right(engine, group, given)


# --- funding and settlement


def _funding_paid(engine: Engine, event: e.FundingPaid) -> None:
    group = engine.group_of(event.account, event.margin)
    _clear_cash(engine, group, event.symbol, event.amount)


def _clear_cash(engine: Engine, group: Group, symbol: str, amount: Decimal) -> None:
    """Move cash between a group and the clearing account of a market."""
    asset = engine.rules.derivatives[symbol].settle
    engine.book.add_cash(group, asset, amount)
    engine.clear(symbol, asset, -amount)
    sessions.count(engine, group, asset, amount)
    group.last_market = symbol
    engine.touch(group)


def funding_price(engine: Engine, symbol: str) -> Decimal | None:
    """Return the price that funding is computed on: the index, or the mark without one."""
    mark = engine.prices.get((symbol, "index")) or engine.prices.get((symbol, "mark"))
    return mark.price if mark else None


def _funding_rate(engine: Engine, event: e.FundingRate) -> None:
    instrument = engine.rules.derivatives[event.symbol]
    unit = engine.rules.settle_of(event.symbol).unit
    price = funding_price(engine, event.symbol)
    if price is None:
        raise LookupError(f"funding {event.symbol}: no price")
    for group in engine.book.holders(event.symbol):
        leg = group.legs[event.symbol]
        cash = funding_cash(instrument, unit, leg, price, event.rate)
        _clear_cash(engine, group, event.symbol, cash)


def _settled(engine: Engine, event: e.Settled) -> None:
    instrument = engine.rules.derivatives[event.symbol]
    unit = engine.rules.settle_of(event.symbol).unit
    for group in engine.book.holders(event.symbol):
        cash = settlement_cash(instrument, unit, group.legs[event.symbol], event.price)
        engine.book.set_leg(group, event.symbol, ZERO, ZERO)
        _clear_cash(engine, group, event.symbol, cash)
    for group in list(engine.liquidating):
        orders = group.liquidation.orders if group.liquidation else {}
        for order in [o for o in orders.values() if o.symbol == event.symbol and o.closes_leg]:
            end_live(engine, group, order)
            engine.touch(group)
    engine.rules.settled.add(event.symbol)
    engine.changed.rules = True


# --- venue


def _market_state(engine: Engine, event: e.MarketState) -> None:
    engine.markets.interest[event.symbol] = (event.long_size, event.short_size)
    engine.changed.markets.add(event.symbol)


def _pool_state(engine: Engine, event: e.PoolState) -> None:
    engine.markets.pools[event.pool] = (event.supplied, event.borrowed)
    engine.changed.markets.add(event.pool)


def _fund_moved(engine: Engine, event: e.FundMoved) -> None:
    if event.shard != engine.shard:
        return
    if event.pool:
        loans.reserve_moved(engine, event)
    else:
        funds.move(engine, event.asset, event.amount, event.fund)
    engine.ledger.top_ups[event.asset] += event.amount
    engine.changed.funds.add(event.asset)


def _session_closed(engine: Engine, event: e.SessionClosed) -> None:
    sessions.close(engine)


def _halt(engine: Engine, event: e.Halt) -> None:
    if event.symbol:
        engine.rules.halted.add(event.symbol)
        engine.rules.tripped.discard(event.symbol)
    else:
        engine.rules.halted_all = True
    _halts_changed(engine)


def _resume(engine: Engine, event: e.Resume) -> None:
    if event.symbol:
        engine.rules.halted.discard(event.symbol)
    else:
        engine.rules.halted_all = False
    _halts_changed(engine)
    guard.resumed(engine, event.symbol)
    auctions.resumed(engine, event.symbol)


def _halts_changed(engine: Engine) -> None:
    engine.changed.rules = True
    for group in engine.liquidating:
        engine.touch(group)


def _time_passed(engine: Engine, event: e.TimePassed) -> None:
    """Nothing but time."""


Handler = Callable[["Engine", Any], None]

BOOKING: dict[type[e.Event], Handler] = {
    e.AccountOpened: _account_opened,
    e.AccountClosed: _account_closed,
    e.Deposit: _deposit,
    e.Withdrawal: _withdrawal,
    e.MarginMoved: _margin_moved,
    e.OpenOrders: _open_orders,
    e.OrdersCancelled: _orders_cancelled,
    e.PositionSnapshot: _snapshot,
    e.Fill: fills.fill,
    e.OrderClosed: fills.order_closed,
    e.CollateralSold: fills.collateral_sold,
    e.Supplied: loans.supplied,
    e.Redeemed: loans.redeemed,
    e.Borrow: loans.borrowed,
    e.Repay: loans.repaid,
    e.CollateralEnabled: loans.collateral_enabled,
    e.CategoryChosen: loans.category_chosen,
    e.Seized: loans.seized,
    e.AuctionTaken: auctions.taken,
    e.InterestAccrued: loans.interest_accrued,
    e.FundingPaid: _funding_paid,
    e.FundingRate: _funding_rate,
    e.Settled: _settled,
    e.FundMoved: _fund_moved,
    e.Recovered: bad_debt.recovered,
    e.WrittenOff: bad_debt.written_off,
    e.SessionClosed: _session_closed,
    e.Halt: _halt,
    e.Resume: _resume,
    e.TimePassed: _time_passed,
    e.PriceUpdate: repricing.price_moved,
    e.OptionMark: repricing.option_marked,
    e.MarketState: _market_state,
    e.PoolState: _pool_state,
    e.InstrumentListed: repricing.instrument_listed,
    e.ProfileChanged: repricing.profile_changed,
}
