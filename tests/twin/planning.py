"""Which legs a liquidation closes, how much of each, and whether that would make things worse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from engine.liquidation_profile import (
    Everything,
    LeastReduction,
    LiquidationRule,
    LowerTier,
    Portion,
    Sizing,
    WholeLegs,
)
from engine.profile import Bracket, Requirement
from tests.twin.amounts import ONE, ZERO, ceil, clamp, floor
from tests.twin.books import Group, Leg, World
from tests.twin.terms import named
from tests.twin.values import Health, LegHealth, health, notional, shortage, value


@dataclass
class Part:
    """How much of a leg is to be closed, and at which liquidation fee."""

    leg: LegHealth
    size: Fraction
    rate: Fraction


@dataclass
class Plan:
    """What is to be closed, in order; `toxic` where that lowers health, `apart` where a part does
    of which the rest may not go out."""

    parts: list[Part]
    toxic: bool = False
    apart: bool = False


def rule_of_liquidation(world: World) -> LiquidationRule:
    """Return how the profile in force liquidates."""
    return world.rules.source.liquidation


def slippage(world: World, symbol: str) -> Fraction:
    """Return the part of notional that closing in a market is expected to cost."""
    table = rule_of_liquidation(world).slippage
    return Fraction(named(table, symbol, world.contracts[symbol]) or 0)


def urgent(world: World, group: Group, now: Health) -> bool:
    """Tell whether nothing but whole legs will do, and without waiting."""
    assert group.liquidation is not None
    rule = rule_of_liquidation(world).cooldown
    critical = rule is not None and now.margin_equity < Fraction(rule.critical) * now.requirement
    return now.equity <= 0 or group.liquidation.backstop or critical


def given_up(world: World, now: Health) -> bool:
    """Tell whether a group goes past the market to those who take positions."""
    rule = world.rules.source.waterfall.backstop
    if rule is None or rule.below is None:
        return False
    return now.margin_equity < Fraction(rule.below) * now.requirement


def make_plan(world: World, group: Group, now: Health) -> Plan | None:
    """Plan what to close; none where nothing may be closed yet."""
    rule, whole = rule_of_liquidation(world), urgent(world, group, now)
    sizing = rule.sizing
    if whole and not isinstance(sizing, Everything):
        sizing = WholeLegs()
    enough = ZERO if given_up(world, now) else _enough(world, group, sizing)
    if enough is None:
        return None
    plan = Plan(_parts(world, group, now, sizing, enough))
    if not whole and is_toxic(world, group, now, plan.parts):
        everything = _parts(world, group, now, Everything(), enough)
        if rule.toxic == "halt" and enough > 0:
            return None
        if rule.toxic == "full" or (
            rule.toxic == "halt" and not _lowers(now, _after(world, group, everything))
        ):
            plan.parts = everything
        else:
            plan.toxic = True
    return plan


# --- which


def _parts(world: World, group: Group, now: Health, sizing: Sizing, enough: Fraction) -> list[Part]:
    left, parts = copy_of(group), list[Part]()
    rest = [leg for leg in now.legs if leg.symbol not in world.halted]
    while rest:
        leg = _next(world, now, left, rest)
        rest.remove(leg)
        rate = fee_rate(world, now, leg)
        size = _size(world, left, leg, sizing, enough, rate)
        parts.append(Part(leg, size, rate))
        _close(world, left, parts[-1])
        if not isinstance(sizing, Everything) and shortage(world, left) <= enough:
            break
    return parts


def copy_of(group: Group) -> Group:
    """Return a group whose cash and legs may be changed to see what would come of it."""
    return replace(group, cash=defaultdict(Fraction, group.cash), legs=dict(group.legs))


def _next(world: World, now: Health, left: Group, rest: list[LegHealth]) -> LegHealth:
    if rule_of_liquidation(world).legs == "maintenance":
        return min(rest, key=lambda leg: (-leg.required, leg.symbol))
    freed = {leg.symbol: _freed(world, left, leg) for leg in rest}
    cost = {leg.symbol: _cost(world, now, leg) for leg in rest}
    best: LegHealth | None = None
    for leg in sorted(rest, key=lambda leg: leg.symbol):
        mine = freed[leg.symbol]
        if mine > 0 and best is None:
            best = leg
        elif mine > 0 and best is not None:
            its = freed[best.symbol]
            worth = mine * cost[best.symbol] - its * cost[leg.symbol]
            best = leg if worth > 0 or (worth == 0 and mine > its) else best
    if best is not None:
        return best
    return min(rest, key=lambda leg: (-freed[leg.symbol], -leg.required, leg.symbol))


def _freed(world: World, left: Group, leg: LegHealth) -> Fraction:
    """Return by how much the requirement falls without a leg."""
    without = copy_of(left)
    del without.legs[leg.symbol]
    before, after = health(world, left), health(world, without)
    assert before is not None
    assert after is not None
    return before.requirement - after.requirement


def _cost(world: World, now: Health, leg: LegHealth) -> Fraction:
    """Return what closing a whole leg is expected to cost, in the numeraire."""
    terms = world.contracts[leg.symbol]
    rate = terms.fee + fee_rate(world, now, leg) + slippage(world, leg.symbol)
    return rate * leg.notional * now.price[terms.settle]


def _close(world: World, left: Group, part: Part, more: Fraction = ZERO) -> None:
    """Close a part of a leg at its mark, at the expected fees and `more` of its notional."""
    leg, size = part.leg, part.size
    terms = world.contracts[leg.symbol]
    unit, whole = world.unit(terms.settle), left.legs[leg.symbol]
    signed = size if whole.size > 0 else -size
    released = whole.cost
    if signed != whole.size:
        released = ceil(whole.cost * size / abs(whole.size), unit)
    paid = (terms.fee + part.rate + more) * notional(terms, size, leg.mark, unit)
    left.cash[terms.settle] += value(terms, signed, leg.mark, unit) - released - paid
    del left.legs[leg.symbol]
    if signed != whole.size:
        left.legs[leg.symbol] = Leg(whole.size - signed, whole.cost - released)


# --- the goal


def _enough(world: World, group: Group, sizing: Sizing) -> Fraction | None:
    """Return the shortage at which a plan is done; none where nothing may be closed yet."""
    missing, liquidation = shortage(world, group), group.liquidation
    assert liquidation is not None
    ramp = sizing.ramp if isinstance(sizing, LeastReduction) else None
    if ramp is None or missing <= 0 or missing < ramp.whole_below:
        return ZERO
    elapsed = Fraction(world.time - liquidation.opened_at, ramp.duration)
    share = min(ONE, Fraction(ramp.initial) + elapsed)
    allowed = max(ZERO, (missing + liquidation.freed) * share - liquidation.freed)
    return missing - allowed if allowed else None


# --- how much


def _size(
    world: World,
    left: Group,
    leg: LegHealth,
    sizing: Sizing,
    enough: Fraction,
    rate: Fraction,
) -> Fraction:
    whole, lot = abs(leg.leg.size), world.contracts[leg.symbol].lot
    size = whole
    if isinstance(sizing, LeastReduction):
        size = _least(world, left, leg, enough, rate)
    elif isinstance(sizing, LowerTier):
        size = _lower_tier(world, leg)
    elif isinstance(sizing, Portion):
        size = _portion(world, leg, sizing)
    return whole if whole - size < lot else size


def _least(world: World, left: Group, leg: LegHealth, enough: Fraction, rate: Fraction) -> Fraction:
    """Return the fewest lots that meet the goal; where none do, all of them, or of a portfolio's
    leg those after which one more makes it no better."""
    size, lot = abs(leg.leg.size), world.contracts[leg.symbol].lot
    lots = max(1, int(floor(size, lot) / lot))

    def missing(count: int) -> Fraction:
        after = copy_of(left)
        if count:
            closed = size if count >= lots else count * lot
            _close(world, after, Part(leg, closed, rate))
        return shortage(world, after) - enough

    if missing(0) <= 0:
        return size
    reached = 0
    for end in [*_ends(world, leg, lots), lots]:
        if missing(end) <= 0:
            found = _between(reached, end, missing)
            break
        reached = end
    else:
        found = lots
        if _curve_of(world, leg) is None:
            found = _best(lots, missing)
            if missing(found) <= 0:
                found = _between(0, found, missing)
    return size if found >= lots else found * lot


def _between(low: int, high: int, missing: Callable[[int], Fraction]) -> int:
    """Return so many lots that meet the goal where one less does not."""
    at_low, at_high, looks = missing(low), missing(high), 0
    while high - low > 1:
        looks += 1
        middle = (low + high) // 2
        if looks % 3:
            middle = min(high - 1, low + ceil_of((high - low) * at_low / (at_low - at_high)))
        found = missing(middle)
        if found <= 0:
            high, at_high = middle, found
        else:
            low, at_low = middle, found
    return high


def _best(lots: int, missing: Callable[[int], Fraction]) -> int:
    """Return after how many lots one more makes it no better."""
    if lots == 1 or missing(lots - 1) > missing(lots):
        return lots
    low, high = 1, lots
    while low < high:
        middle = (low + high) // 2
        if missing(middle + 1) < missing(middle):
            low = middle + 1
        else:
            high = middle
    return low


def ceil_of(number: Fraction) -> int:
    """Round up to a whole number."""
    return int(ceil(number, ONE))


def _curve_of(world: World, leg: LegHealth) -> Requirement | None:
    """Return the rule of a leg by brackets, none of a portfolio's."""
    rule = world.rules.rule_of(leg.symbol, world.contracts[leg.symbol])
    return rule if isinstance(rule, Requirement) else None


def _ends(world: World, leg: LegHealth, lots: int) -> list[int]:
    """Return after how many lots each lower bracket is reached, short of the whole leg."""
    rule, lot = _curve_of(world, leg), world.contracts[leg.symbol].lot
    if rule is None:
        return []
    place = _place(rule.brackets, _measured(world, rule, leg, abs(leg.leg.size)))
    sizes = [_down_to(world, rule, leg, below) for below in reversed(range(place))]
    return [int(size / lot) for size in sizes if int(size / lot) < lots]


def _lower_tier(world: World, leg: LegHealth) -> Fraction:
    rule, size = _curve_of(world, leg), abs(leg.leg.size)
    if rule is None:
        return size
    place = _place(rule.brackets, _measured(world, rule, leg, size))
    return _down_to(world, rule, leg, place - 1) if place else size


def _down_to(world: World, rule: Requirement, leg: LegHealth, place: int) -> Fraction:
    """Return the fewest lots that take a leg down to a bracket, the whole leg if that is less."""
    size, lot = abs(leg.leg.size), world.contracts[leg.symbol].lot
    cap = Fraction(rule.brackets[place].cap)
    below, above = 0, ceil_of(size / lot)
    while above - below > 1:
        middle = (below + above) // 2
        if _measured(world, rule, leg, size - middle * lot) <= cap:
            above = middle
        else:
            below = middle
    return min(size, above * lot)


def _place(brackets: tuple[Bracket, ...], measured: Fraction) -> int:
    for place, bracket in enumerate(brackets):
        if measured <= bracket.cap:
            return place
    return len(brackets) - 1


def _measured(world: World, rule: Requirement, leg: LegHealth, size: Fraction) -> Fraction:
    """Return what the caps of a curve measure of a size at the mark."""
    terms = world.contracts[leg.symbol]
    if rule.measure == "size" and not terms.inverse:
        return size * terms.multiplier
    return notional(terms, size, leg.mark, world.unit(terms.settle))


def _portion(world: World, leg: LegHealth, rule: Portion) -> Fraction:
    size, whole = abs(leg.leg.size), leg.notional
    if whole <= rule.whole_below:
        return size
    part = max(Fraction(rule.share) * whole, min(Fraction(rule.least), whole))
    lot = world.contracts[leg.symbol].lot
    return min(size, max(lot, floor(size * part / whole, lot)))


# --- whether it helps


def is_toxic(world: World, group: Group, now: Health, parts: list[Part]) -> bool:
    """Tell whether closing parts, and no more, would lower health."""
    then = _after(world, group, parts)
    return then.requirement > 0 and _lowers(now, then)


def _after(world: World, group: Group, parts: list[Part]) -> Health:
    """Return the health with parts closed, at what that is expected to cost."""
    after = copy_of(group)
    for part in parts:
        _close(world, after, part, slippage(world, part.leg.symbol))
    then = health(world, after)
    assert then is not None
    return then


def _lowers(now: Health, then: Health) -> bool:
    return then.margin_equity * now.requirement < now.margin_equity * then.requirement


# --- the fee


def fee_rate(world: World, now: Health, leg: LegHealth) -> Fraction:
    """Return the liquidation fee of an order, at most a part of what closing frees."""
    rule = rule_of_liquidation(world)
    if rule.fee_adaptive is None:
        return Fraction(rule.fee_rate)
    terms = world.contracts[leg.symbol]
    worth = leg.notional * now.price[terms.settle]
    if not worth:
        return ZERO
    missing = max(ZERO, now.requirement - now.margin_equity)
    free = Fraction(rule.fee_adaptive) * (leg.required - terms.fee * worth - missing)
    return clamp(floor(free / worth, Fraction(1, 10**6)), ZERO, Fraction(rule.fee_rate))
