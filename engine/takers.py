"""Who takes a position that the market does not: each plans what it can, nothing is changed here.

The fund's account, the backstop, those in profit on the other side. The formulas stand in
docs/semantics.md, 12.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import funds
from engine.book import Group
from engine.decisions import Side
from engine.deleveraging import Limit, most_lots, shared_out, solvent, stands
from engine.events import CROSS
from engine.margin import notional
from engine.money import ZERO, floor_to
from engine.rules import Rules
from engine.transfers import Closing, Transfer, asks, loss, outstanding_loss
from engine.waterfall_profile import Taker

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.liquidation import Layer


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
    """Let the fund's account take what the fund can pay the loss at the mark of, beside what its
    account lacks."""
    rule = engine.rules.in_force.waterfall
    taker = _account_of(engine, group, closing.symbol, "fund", rule.fund_account)
    settle = engine.rules.settle_of(closing.symbol).name
    state = engine.health_of(taker) if taker else None
    if taker is None or state is None:
        return []
    behind = funds.capacity(engine, settle, closing.symbol) * _rate(engine, closing.symbol)
    behind += min(state.equity, ZERO)
    most = _borne(engine, closing, price, behind)
    if rule.fund.capacity is not None:
        room = rule.fund.capacity - state.notional
        most = min(most, _held(engine, "fund", taker, room, closing))
    return _taken("fund", taker, closing, price, most)


def _to_backstop(engine: Engine, group: Group, closing: Closing, price: Decimal) -> list[Transfer]:
    """Let the backstop take what its capacity leaves room for, at the marks, and its equity can
    bear the loss of."""
    rule = engine.rules.in_force.waterfall.backstop
    if rule is None:
        return []
    taker = _account_of(engine, group, closing.symbol, "backstop", rule.account)
    state = engine.health_of(taker) if taker else None
    if taker is None or state is None:
        return []
    behind = state.equity
    for symbol, followed in engine.transfers.of("backstop", taker.key):
        behind -= outstanding_loss(engine, symbol, followed) * _rate(engine, symbol)
    most = _held(engine, "backstop", taker, rule.capacity - state.notional, closing)
    most = min(most, _borne(engine, closing, price, behind))
    return _taken("backstop", taker, closing, price, most)


def _borne(engine: Engine, closing: Closing, price: Decimal, behind: Decimal) -> Decimal:
    """Return the size whose loss at the mark is no more than what is behind it (numeraire); none of
    it where that is nothing."""
    if behind <= 0:
        return ZERO
    instrument = engine.rules.derivatives[closing.symbol]
    lost, divisor = loss(instrument, closing.side, price, closing.mark)
    if lost <= 0:
        return closing.size
    return floor_to(behind * divisor, instrument.lot, lost * _rate(engine, closing.symbol))


def _held(engine: Engine, layer: Layer, taker: Group, room: Decimal, closing: Closing) -> Decimal:
    """Return the size that a room for notional (numeraire) leaves, beside live transfers."""
    for symbol, followed in engine.transfers.of(layer, taker.key):
        at = (engine.markets.price(symbol, "mark"), _rate(engine, symbol))
        room -= followed.notional.total(
            at, lambda order: _worth(engine, order.symbol, order.unfilled)
        )
    lot = engine.rules.derivatives[closing.symbol].lot
    each = _worth(engine, closing.symbol, lot)
    return floor_to(max(room, ZERO) * lot, lot, each) if each else closing.size


def _worth(engine: Engine, symbol: str, size: Decimal) -> Decimal:
    """Return the notional of a size at its mark in the numeraire."""
    rules, asset = engine.rules, engine.rules.settle_of(symbol)
    mark = engine.markets.price(symbol, "mark")
    if mark is None:
        raise LookupError(f"{symbol}: taken over without a mark")
    return notional(rules.derivatives[symbol], size, mark, asset.unit) * _rate(engine, symbol)


def _rate(engine: Engine, symbol: str) -> Decimal:
    """Return the price of the settlement asset of a symbol in the numeraire."""
    price = engine.price_of(engine.rules.settle_of(symbol).name)
    if price is None:
        raise LookupError(f"{symbol}: taken over without a price")
    return price


def _taken(
    layer: Layer, taker: Group, closing: Closing, price: Decimal, capacity: Decimal
) -> list[Transfer]:
    size = min(closing.size, capacity)
    return [Transfer(layer, taker.key, size, price, capacity)] if size else []


# --- those in profit on the other side


def _to_winners(engine: Engine, group: Group, closing: Closing, price: Decimal) -> list[Transfer]:
    """Have positions in profit on the other side closed, in their ranking.

    Costs a health or, where a group cannot give all that is wanted of it, one for each halving, of
    every group asked.
    """
    rules, symbol = engine.rules, closing.symbol
    adl, asset = rules.in_force.waterfall.adl, rules.settle_of(symbol)
    if adl is None or not funds.fallen(engine, asset.name, symbol):
        return []
    if adl.price == "mark":
        price = closing.mark
    opposite: Side = "buy" if closing.side == "sell" else "sell"
    found = engine.candidates.of(engine, symbol, opposite, _passed_over(engine, group, symbol))
    lot = rules.derivatives[symbol].lot

    def limit(holds: Callable[[Engine, Group, str, Decimal, Decimal], bool]) -> Limit:
        return lambda one, given, wanted: most_lots(
            wanted, lot, lambda size: holds(engine, one.group, symbol, given + size, price)
        )

    limits = limit(stands), limit(solvent)
    parts = shared_out(adl.ranking, closing.size, lot, found, limits)
    return [
        Transfer(
            "adl", one.group.key, part, price,
            rank=found.rank(one), score=one.score, forgone=_forgone(rules, closing, part, price),
        )
        for one, part in parts
    ]  # fmt: skip


def _passed_over(engine: Engine, group: Group, symbol: str) -> set[Group]:
    """Return the groups that are not asked for a position: the account's, and who did not take
    before."""
    found, liquidation = set(group.account.groups.values()), group.liquidation
    for its, layer, account, margin in liquidation.passed if liquidation else ():
        known = engine.accounts.get(account)
        if its == symbol and layer == "adl" and known and margin in known.groups:
            found.add(known.groups[margin])
    return found


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
