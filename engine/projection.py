"""What a group would hold, and be worth, with parts of its legs closed at their marks; pure, exact.

The formulas stand in docs/semantics.md, 11.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.holdings import Holdings, Leg
from engine.margin import Health, LegHealth, health, notional, stop_level
from engine.markets import Markets
from engine.money import ZERO, charge
from engine.profile import by_symbol
from engine.rules import Rules


class Projection(NamedTuple):
    """What a group would hold, and its health at the marks of now."""

    holdings: Holdings
    state: Health


class Part(NamedTuple):
    """A leg as it is now, how much of it is to be closed (unsigned), and the fee rate of its
    order."""

    leg: LegHealth
    size: Decimal
    fee_rate: Decimal

    @property
    def whole(self) -> bool:
        """Whether nothing of the leg is left."""
        return self.size == abs(self.leg.size)


def worth(part: Part, rules: Rules) -> Decimal:
    """Return the notional of a part at the mark, in its settlement asset."""
    if part.whole:
        return part.leg.notional
    instrument, unit = rules.derivatives[part.leg.symbol], rules.assets[part.leg.settle].unit
    return notional(instrument, part.size, part.leg.mark, unit)


def without(part: Part, now: Projection, rules: Rules, markets: Markets) -> Projection:
    """Return what is left with a part closed at its mark, taker fee and liquidation fee paid."""
    leg, symbol = part.leg, part.leg.symbol
    instrument, unit = rules.derivatives[symbol], rules.assets[part.leg.settle].unit
    legs = {name: held for name, held in now.holdings.legs.items() if name != symbol}
    value, released = leg.value, leg.cost
    if not part.whole:
        closed = part.size if leg.size > 0 else -part.size
        value = instrument.value(closed, leg.mark, unit)
        released = charge(leg.cost * part.size, unit, abs(leg.size))
        kept = Leg(leg.size - closed, leg.cost - released)
        legs = {name: legs.get(name, kept) for name in now.holdings.legs}
    cash = dict(now.holdings.cash)
    fees = (instrument.taker_fee + part.fee_rate) * worth(part, rules)
    cash[leg.settle] = cash.get(leg.settle, ZERO) + value - released - fees
    return _projected(now.holdings._replace(cash=cash, legs=legs), rules, markets)


def slipped(parts: list[Part], after: Projection, rules: Rules, markets: Markets) -> Projection:
    """Return what is left of a group, less the slippage that closing the parts is expected to
    cost."""
    cash, costs = dict(after.holdings.cash), False
    for part in parts:
        rate = slippage(part.leg.symbol, rules)
        if rate:
            costs = True
            cash[part.leg.settle] -= rate * worth(part, rules)
    if not costs:
        return after
    return _projected(after.holdings._replace(cash=cash), rules, markets)


def slippage(symbol: str, rules: Rules) -> Decimal:
    """Return what of the notional closing a leg is expected to cost beside fees."""
    table, underlying = rules.in_force.liquidation.slippage, rules.derivatives[symbol].underlying
    return by_symbol(table, symbol, underlying) or ZERO


def shortage(now: Projection, rules: Rules, markets: Markets) -> Decimal:
    """Return what margin equity lacks of the requirement at which liquidation stops, in the
    numeraire."""
    equity, requirement = stop_level(now.state, now.holdings, rules, markets)
    return requirement - equity


def _projected(holdings: Holdings, rules: Rules, markets: Markets) -> Projection:
    state = health(holdings, rules, markets)
    if state is None:
        raise LookupError("projection: a group with a health has one with less to hold")
    return Projection(holdings, state)
