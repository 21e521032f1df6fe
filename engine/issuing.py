"""What a liquidation issues: ids in the account's history, and what is live under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine import pace
from engine.book import Group
from engine.liquidation import Liquidation, Order
from engine.margin import Health

if TYPE_CHECKING:
    from engine.core import Engine


def known(state: Health | None) -> Health:
    """Return a health that a step needs; raises `LookupError` without one."""
    if state is None:
        raise LookupError("a step that needs a health was taken without one")
    return state


def liquidation_of(group: Group) -> Liquidation:
    """Return the liquidation of a group; raises `LookupError` if it has none."""
    if group.liquidation is None:
        raise LookupError(f"{group.key}: no liquidation")
    return group.liquidation


class Issued(NamedTuple):
    """A place in the account's history: the next attempt, its id, when what is issued expires
    (microseconds UTC), and the id that it replaces: that of the last one in its symbol, orders and
    transfers that are live beside it left out; "" for none."""

    id: str
    attempt: int
    expires: int
    replaces: str


def issue(engine: Engine, group: Group, symbol: str, *, transfer: bool = False) -> Issued:
    """Enter an attempt in a symbol, asset or pool in the account's history."""
    account, liquidation = group.account, liquidation_of(group)
    history = account.orders[liquidation.number]
    symbols = history.symbols
    attempts = reversed([n for n, name in enumerate(symbols, start=1) if name == symbol])
    earlier = (account.order_id(liquidation.number, attempt) for attempt in attempts)
    beside = {order.id for order in liquidation.orders.values() if order.closes_leg}
    replaces = next((order_id for order_id in earlier if order_id not in beside), "")
    symbols.append(symbol)
    if transfer:
        history.transfers.append(len(symbols))
    order_id = account.order_id(liquidation.number, len(symbols))
    expires = engine.time + engine.rules.in_force.liquidation.order_ttl
    return Issued(order_id, len(symbols), expires, replaces)


def make_live(engine: Engine, group: Group, order: Order) -> None:
    """Have an order, sale or seizure wait for the venue."""
    liquidation_of(group).orders[order.id] = order
    if order.is_transfer:
        engine.transfers.follow(order, engine.rules)
        engine.candidates.promise(engine, order)
    engine.flight.follow(order)
    engine.timers.await_order(group, order)


def end_live(engine: Engine, group: Group, order: Order) -> None:
    """Have an order, sale or seizure fill no more; who was to take a transfer is free of it."""
    del liquidation_of(group).orders[order.id]
    engine.flight.drop(order)
    if order.is_transfer:
        engine.transfers.drop(order)
        engine.look_at([engine.group_of(*order.counterparty)])


def not_filled(engine: Engine, group: Group, order: Order) -> None:
    """Take note that an order was not filled in its time, or that the venue closed it unasked."""
    liquidation, patience = liquidation_of(group), engine.rules.in_force.liquidation.patience
    if order.closes_leg and engine.time >= liquidation.opened_at + patience:
        liquidation.backstop = True
    liquidation.not_filled(order)
    pace.note_unfilled(engine, order)
