"""Which leg a liquidation closes next; pure, exact."""

from __future__ import annotations

from decimal import Decimal
from functools import cmp_to_key
from typing import NamedTuple

from engine.margin import LegHealth
from engine.markets import Markets
from engine.money import ZERO
from engine.projection import Part, Projection, slippage, without
from engine.rules import Rules


class _Candidate(NamedTuple):
    """A leg, what closing it frees of maintenance and is expected to cost, in the numeraire."""

    part: Part
    freed: Decimal
    cost: Decimal


def next_leg(left: list[Part], now: Projection, rules: Rules, markets: Markets) -> Part:
    """Return the leg to close next, of those that are left, as the profile has it.

    The one with the largest maintenance; or the one that frees most of it for its cost; where none
    frees anything, as in a book of hedges, the one without which least more is needed.
    """
    if rules.in_force.liquidation.legs == "maintenance":
        return min(left, key=_by_maintenance)
    candidates = [_candidate(part, now, rules, markets) for part in left]
    freeing = [one for one in candidates if one.freed > 0]
    if freeing:
        return min(freeing, key=_BY_COST).part
    return min(candidates, key=_by_least_added).part


def _by_maintenance(part: Part) -> tuple[Decimal, str]:
    return -part.leg.required, part.leg.symbol


def _by_least_added(one: _Candidate) -> tuple[Decimal, Decimal, str]:
    return -one.freed, *_by_maintenance(one.part)


def _candidate(part: Part, now: Projection, rules: Rules, markets: Markets) -> _Candidate:
    leg: LegHealth = part.leg
    rate = rules.derivatives[leg.symbol].taker_fee + part.fee_rate + slippage(leg.symbol, rules)
    cost = rate * leg.notional * now.state.prices[leg.settle]
    if rules.portfolio_of(leg.symbol) is None:
        fixed = rules.in_force.trigger.fixed_cost if len(now.holdings.legs) == 1 else ZERO
        return _Candidate(part, leg.required + fixed, cost)
    after = without(part, now, rules, markets)
    return _Candidate(part, now.state.maintenance - after.state.maintenance, cost)


def _compare(one: _Candidate, other: _Candidate) -> int:
    """Compare what is freed per cost, by cross product: −1 where `one` comes first."""
    here, there = one.freed * other.cost, other.freed * one.cost
    if here != there:
        return -1 if here > there else 1
    if one.freed != other.freed:
        return -1 if one.freed > other.freed else 1
    return -1 if one.part.leg.symbol < other.part.leg.symbol else 1


_BY_COST = cmp_to_key(_compare)
