"""Who takes a position that the market does not: each plans what it can, nothing is changed here.

The fund's account, the backstop, those in profit on the other side. The formulas stand in
docs/semantics.md, 12.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from engine import funds
from engine.book import Group
from engine.decisions import Side
from engine.deleveraging import Candidate, Limit, most_lots, shared_out, solvent, stands
from engine.drawdown import deleveraging
from engine.events import CROSS
from engine.instruments import Listed
from engine.margin import notional
from engine.money import ZERO, ceil_to, floor_to
from engine.rules import Rules
from engine.transfers import Closing, Transfer, asks
from engine.waterfall_profile import Taker

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.liquidation import Layer, Order


# --- the fund's account, and the backstop


def _account_of(
    engine: Engine, group: Group, symbol: str, layer: Layer, account: str
) -> Group | None:
    """Return the cross group of an account that takes, unless it is the one that is liquidated or
    is so itself, or did not take before."""
    known = engine.accounts.get(account)
    if known is None or known is group.account:
        return None
    taker = known.groups[CROSS]
    if not asks(group, symbol, layer, taker.key):
        return None
    return taker if taker.liquidation is None else None


def _to_fund(engine: Engine, group: Group, closing: Closing, price: Decimal) -> list[Transfer]:
    """Let the fund's account take what the fund can pay the loss at the mark of."""
    account = engine.rules.in_force.waterfall.fund_account
    taker = _account_of(engine, group, closing.symbol, "fund", account)
    if taker is None:
        return []
    instrument, asset = engine.rules.derivatives[closing.symbol], engine.rules.settle_of
    lost, divisor = _loss(instrument, closing.side, price, closing.mark)
    capacity = closing.size
    if lost > 0:
        settle = asset(closing.symbol).name
        free = funds.capacity(engine, settle, closing.symbol) - _held(engine, closing.symbol)
        capacity = floor_to(max(free, ZERO) * divisor, instrument.lot, lost)
    return _taken("fund", taker, closing, price, capacity)


def _loss(instrument: Listed, side: Side, price: Decimal, mark: Decimal) -> tuple[Decimal, Decimal]:
    """Return what taking a unit of size at `price` rather than at the mark loses, as numerator and
    divisor; ≤ 0 for a gain."""
    gap = price - mark if side == "sell" else mark - price
    if instrument.inverse:
        return instrument.multiplier * gap, price * mark
    return instrument.multiplier * gap, Decimal(1)


def _held(engine: Engine, symbol: str) -> Decimal:
    """Return what live transfers to the fund's account may still cost the funds that pay for a
    market."""
    rules, total = engine.rules, ZERO
    asset, payers = rules.settle_of(symbol), set(funds.payers(rules, symbol))
    for one, followed in engine.transfers.of("fund"):
        mark = engine.markets.price(one, "mark")
        shared = payers.intersection(funds.payers(rules, one))
        if mark is not None and shared and rules.settle_of(one) == asset:
            total += followed.total(mark, partial(_may_lose, rules, mark))
    return total


def _may_lose(rules: Rules, mark: Decimal, order: Order) -> Decimal:
    """Return what taking the rest of an order may cost at a mark."""
    instrument, unit = rules.derivatives[order.symbol], rules.settle_of(order.symbol).unit
    lost, divisor = _loss(instrument, order.side, order.limit, mark)
    return ceil_to(max(lost, ZERO) * order.unfilled, unit, divisor)


def _to_backstop(engine: Engine, group: Group, closing: Closing, price: Decimal) -> list[Transfer]:
    """Let the backstop take what its capacity leaves room for, at the marks."""
    rule = engine.rules.in_force.waterfall.backstop
    if rule is None:
        return []
    taker = _account_of(engine, group, closing.symbol, "backstop", rule.account)
    state = engine.health_of(taker) if taker is not None else None
    if taker is None or state is None:
        return []
    room = rule.capacity - state.notional
    for symbol, followed in engine.transfers.of("backstop", taker.key):
        at = (
            engine.markets.price(symbol, "mark"),
            engine.price_of(engine.rules.settle_of(symbol).name),
        )
        room -= followed.total(at, lambda order: _worth(engine, order.symbol, order.unfilled))
    lot = engine.rules.derivatives[closing.symbol].lot
    each, capacity = _worth(engine, closing.symbol, lot), closing.size
    if each:
        capacity = floor_to(max(room, ZERO) * lot, lot, each)
    return _taken("backstop", taker, closing, price, capacity)


def _worth(engine: Engine, symbol: str, size: Decimal) -> Decimal:
    """Return the notional of a size at its mark in the numeraire."""
    rules, asset = engine.rules, engine.rules.settle_of(symbol)
    mark, price = engine.markets.price(symbol, "mark"), engine.price_of(asset.name)
    if mark is None or price is None:
        raise LookupError(f"{symbol}: taken over without a price")
    return notional(rules.derivatives[symbol], size, mark, asset.unit) * price


def _taken(
    layer: Layer, taker: Group, closing: Closing, price: Decimal, capacity: Decimal
) -> list[Transfer]:
    size = min(closing.size, capacity)
    return [Transfer(layer, taker.key, size, price, capacity)] if size else []


# --- those in profit on the other side


def _to_winners(engine: Engine, group: Group, closing: Closing, price: Decimal) -> list[Transfer]:
    """Have positions in profit on the other side closed, in their ranking.

    Costs a health of every such group once an event (`Candidates`), and one or, where a group
    cannot give all that is wanted of it, one for each halving, of every group asked.
    """
    rules, symbol = engine.rules, closing.symbol
    adl, asset = rules.in_force.waterfall.adl, rules.settle_of(symbol)
    if adl is None or not deleveraging(engine, asset.name):
        return []
    if adl.price == "mark":
        price = closing.mark
    opposite: Side = "buy" if closing.side == "sell" else "sell"
    found = [
        one
        for one in engine.candidates.of(engine, symbol, opposite, group.account)
        if asks(group, symbol, "adl", one.group.key)
    ]
    lot = rules.derivatives[symbol].lot

    def free(one: Candidate) -> Decimal:
        return max(one.size - engine.transfers.unfilled(one.group.key, symbol), ZERO)

    def limit(holds: Callable[[Engine, Group, str, Decimal, Decimal], bool]) -> Limit:
        return lambda one, given, wanted: most_lots(
            wanted, lot, lambda size: holds(engine, one.group, symbol, given + size, price)
        )

    limits = limit(stands), limit(solvent)
    parts = shared_out(adl.ranking, closing.size, lot, found, free, limits)
    return [
        Transfer(
            "adl", found[place].group.key, part, price,
            rank=place + 1, score=found[place].score, forgone=_forgone(rules, closing, part, price),
        )
        for place, part in parts.items()
    ]  # fmt: skip


def _forgone(rules: Rules, closing: Closing, size: Decimal, price: Decimal) -> Decimal:
    """Return what a counterparty would have had more at the mark, in the settlement asset."""
    instrument, unit = rules.derivatives[closing.symbol], rules.settle_of(closing.symbol).unit
    signed = size if closing.side == "sell" else -size
    gap = instrument.value(signed, price, unit) - instrument.value(signed, closing.mark, unit)
    return max(gap, ZERO)


TAKERS: dict[Taker, Callable[[Engine, Group, Closing, Decimal], list[Transfer]]] = {
    "fund": _to_fund,
    "backstop": _to_backstop,
    "adl": _to_winners,
}
"""What each plans for a group's leg at its bankruptcy price."""
