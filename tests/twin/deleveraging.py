"""Whose position in profit is closed against a bankrupt one: candidates, ranks and sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from tests.twin.amounts import ONE, RATE_STEP, ZERO, ceil, floor
from tests.twin.books import Group, Leg, Order, World
from tests.twin.closing import share_of_equity
from tests.twin.values import Health, LegHealth, breached, cost, health

LEVEL_STEP = Fraction(1, 1000)


@dataclass
class Candidate:
    """A group in profit on the other side; `free` is what may be closed of its leg, `equity` in
    the settlement asset."""

    group: Group
    leg: LegHealth
    free: Fraction
    equity: Fraction
    score: Fraction
    hedged: bool


def counterparties(
    world: World, group: Group, leg: LegHealth, wanted: Fraction, price: Fraction
) -> list[tuple[Candidate, Fraction]]:
    """Return every candidate in its rank with what is closed of its leg."""
    ranked = sorted(
        _candidates(world, group, leg),
        key=lambda each: (each.hedged, -each.score, each.group.account, each.group.margin),
    )
    given = [ZERO for _ in ranked]
    for hedged in (False, True):
        places = [place for place, each in enumerate(ranked) if each.hedged is hedged]
        among, left = [ranked[place] for place in places], wanted - sum(given, ZERO)
        for place, part in zip(places, _first_parts(world, leg, among, left), strict=False):
            given[place] = _most(world, stands, ranked[place], ZERO, part, price)
        for place in places:
            part = min(wanted - sum(given, ZERO), ranked[place].free - given[place])
            given[place] += _most(world, stands, ranked[place], given[place], part, price)
    for place, each in enumerate(ranked):
        part = min(wanted - sum(given, ZERO), each.free - given[place])
        given[place] += _most(world, _solvent, each, given[place], part, price)
    return list(zip(ranked, given, strict=True))


# --- who


def _candidates(world: World, group: Group, leg: LegHealth) -> list[Candidate]:
    found = []
    for other in world.groups():
        role = world.accounts[other.account].role
        if other.account == group.account or role not in ("trader", "market_maker"):
            continue
        if _takes_for_others(world, other.account):
            continue
        if other.liquidation is not None or leg.symbol not in other.legs:
            continue
        if group.liquidation and (
            (leg.symbol, "adl", other.account, other.margin) in group.liquidation.passed
        ):
            continue
        now = health(world, other)
        if now is None:
            continue
        its = next(each for each in now.legs if each.symbol == leg.symbol)
        if its.leg.size * leg.leg.size < 0 and its.value - its.leg.cost > 0:
            found.append(_candidate(world, other, now, its))
    return found


def _takes_for_others(world: World, account: str) -> bool:
    rule = world.rules.source.waterfall
    return account == rule.fund_account or (
        rule.backstop is not None and account == rule.backstop.account
    )


def _candidate(world: World, group: Group, now: Health, leg: LegHealth) -> Candidate:
    free = abs(leg.leg.size)
    for order in world.transfers_to(group.account, group.margin):
        if order.symbol == leg.symbol:
            free -= order.size - order.filled
    terms = world.contracts[leg.symbol]
    return Candidate(
        group=group,
        leg=leg,
        free=max(ZERO, free),
        equity=now.equity / now.price[terms.settle],
        score=_score(world, now, leg),
        hedged=_hedged(world, group, leg),
    )


def _hedged(world: World, group: Group, leg: LegHealth) -> bool:
    mine = world.contracts[leg.symbol].underlying
    return any(
        mine != ""
        and symbol != leg.symbol
        and world.contracts[symbol].underlying == mine
        and _gains(world, symbol, held.size) != _gains(world, leg.symbol, leg.leg.size)
        for each in world.accounts[group.account].groups.values()
        for symbol, held in each.legs.items()
    )


def _gains(world: World, symbol: str, size: Fraction) -> bool:
    """Tell whether a position gains when its underlying rises."""
    option = world.contracts[symbol].option
    put = option is not None and not option.call
    return (size > 0) is not put


def _score(world: World, now: Health, leg: LegHealth) -> Fraction:
    rule = world.rules.source.waterfall.adl
    assert rule is not None
    settle = world.contracts[leg.symbol].settle
    unit, price = world.unit(settle), now.price[settle]
    profit, size = leg.value - leg.leg.cost, leg.notional
    cost = max(unit, abs(leg.leg.cost))
    equity = now.equity / price
    owned = max(equity, unit)
    if rule.ranking == "binance":
        if equity <= 0:
            return ZERO
        cash = equity - _unrealised(world, now) / price
        score = max(ZERO, profit) * (now.requirement / price) / (max(ONE, cash) * equity)
    elif rule.ranking == "bitmex":
        share = share_of_equity(world, now, leg)
        score = ZERO if share is None else profit / cost * size / max(share, unit)
    elif rule.ranking == "hyperliquid":
        score = size / cost * size / owned if leg.value > 0 else cost / owned
    else:
        score = size / owned
    return floor(score, RATE_STEP)


def _unrealised(world: World, now: Health) -> Fraction:
    """Return the unrealised results of a group in the numeraire."""
    return sum(
        (
            (leg.value - leg.leg.cost) * now.price[world.contracts[leg.symbol].settle]
            for leg in now.legs
        ),
        ZERO,
    )


# --- how much


Test = Callable[[World, Group, str, Fraction, Fraction], bool]


def _most(
    world: World,
    holds: Test,
    candidate: Candidate,
    given: Fraction,
    wanted: Fraction,
    price: Fraction,
) -> Fraction:
    """Return how much of a size may be closed at a price so that a test holds, beside what is
    given."""
    lot = world.contracts[candidate.leg.symbol].lot
    return most_lots(
        wanted,
        lot,
        lambda size: holds(world, candidate.group, candidate.leg.symbol, given + size, price),
    )


def most_lots(wanted: Fraction, lot: Fraction, holds: Callable[[Fraction], bool]) -> Fraction:
    """Return how much of a size it holds for."""
    if wanted <= 0 or holds(wanted):
        return max(ZERO, wanted)
    low, high = 0, int(ceil(wanted / lot, ONE))
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle * lot):
            low = middle
        else:
            high = middle
    return low * lot


def stands(world: World, group: Group, symbol: str, size: Fraction, price: Fraction) -> bool:
    """Tell whether a group is not breached once so much of its leg is closed."""
    after, now = _closed(world, group, symbol, size, price)
    return now is not None and not breached(world, after, now)


def _solvent(world: World, group: Group, symbol: str, size: Fraction, price: Fraction) -> bool:
    """Tell whether a group has no negative equity once so much of its leg is closed."""
    _, now = _closed(world, group, symbol, size, price)
    return now is not None and now.equity >= 0


def _closed(
    world: World, group: Group, symbol: str, size: Fraction, price: Fraction
) -> tuple[Group, Health | None]:
    """Return a group with so much of its leg closed, and what is already to be closed of its
    legs."""
    after = replace(group, cash=defaultdict(Fraction, group.cash), legs=dict(group.legs))
    for name in group.legs:
        promised = [
            order
            for order in world.transfers_to(group.account, group.margin)
            if order.symbol == name and order.sells is (group.legs[name].size < 0)
        ]
        _keep(world, after, name, promised)
    if symbol in after.legs:
        left = abs(after.legs[symbol].size)
        _close(
            world,
            after,
            symbol,
            min(size, left),
            _paid(world, after, symbol, min(size, left), price),
        )
    return after, health(world, after)


def _keep(world: World, group: Group, symbol: str, promised: list[Order]) -> None:
    """Close what transfers are to close of a leg, at what all of them cost together."""
    whole = sum((order.size - order.filled for order in promised), ZERO)
    if not whole:
        return
    paid = sum(
        (_paid(world, group, symbol, order.size - order.filled, order.limit) for order in promised),
        ZERO,
    )
    size = min(whole, abs(group.legs[symbol].size))
    unit = world.unit(world.contracts[symbol].settle)
    _close(world, group, symbol, size, ceil(paid * size / whole, unit))


def _paid(world: World, group: Group, symbol: str, size: Fraction, price: Fraction) -> Fraction:
    """Return what closing a size of a leg costs at a price."""
    terms = world.contracts[symbol]
    signed = -size if group.legs[symbol].size > 0 else size
    return cost(terms, signed, price, world.unit(terms.settle))


def _close(world: World, group: Group, symbol: str, size: Fraction, paid: Fraction) -> None:
    """Take a size off a leg that costs so much to close."""
    leg, settle = group.legs.pop(symbol), world.contracts[symbol].settle
    share = size / abs(leg.size)
    released = ceil(leg.cost * share, world.unit(settle))
    group.cash[settle] -= paid + released
    if share < 1:
        group.legs[symbol] = Leg(leg.size * (1 - share), leg.cost - released)


def _first_parts(
    world: World, leg: LegHealth, ranked: list[Candidate], wanted: Fraction
) -> list[Fraction]:
    """Return what is asked of each before those in front give more, if anything is."""
    rule = world.rules.source.waterfall.adl
    assert rule is not None
    terms = world.contracts[leg.symbol]
    free = sum((each.free for each in ranked), ZERO)
    if rule.ranking == "pro_rata" and free:
        return [min(each.free, floor(wanted * each.free / free, terms.lot)) for each in ranked]
    if rule.ranking == "water_fill" and ranked:
        return _water_fill(ranked, wanted, terms.lot, world.unit(terms.settle))
    return []


def _water_fill(
    ranked: list[Candidate], wanted: Fraction, lot: Fraction, unit: Fraction
) -> list[Fraction]:
    """Return what is above the lowest leverage above which no more is held than is asked for."""

    def above(steps: int) -> list[Fraction]:
        level, found = steps * LEVEL_STEP, []
        for each in ranked:
            whole, size = each.leg.notional, abs(each.leg.leg.size)
            over = whole - level * max(each.equity, unit)
            part = floor(over / whole * size, lot) if whole else ZERO
            found.append(max(ZERO, min(each.free, part)))
        return found

    highest = max(each.leg.notional / max(each.equity, unit) for each in ranked)
    low, high = -1, int(ceil(highest, LEVEL_STEP) / LEVEL_STEP)
    while high - low > 1:
        middle = (low + high) // 2
        if sum(above(middle), ZERO) <= wanted:
            high = middle
        else:
            low = middle
    return above(high)
