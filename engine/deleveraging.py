"""Whose position is closed against a bankrupt one: candidates, their ranking, and how much of each.

Candidates hold the other side and are in profit. The formulas stand in docs/semantics.md, 12.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from engine.book import Account, Group
from engine.closing import shares as shares_of_equity
from engine.decisions import Side
from engine.holdings import Leg
from engine.instruments import Listed, Option
from engine.margin import Health, LegHealth, breached, fill_cost, health
from engine.money import ONE, RATE_STEP, ZERO, ceil_to, charge, floor_to
from engine.rules import Rules
from engine.transfers import Promise
from engine.water_screen import WaterScreen
from engine.waterfall_profile import Ranking

if TYPE_CHECKING:
    from engine.candidates import Counterparties
    from engine.core import Engine

LEVEL_STEP = Decimal("0.001")
"""What the level that leverages are brought down to is a multiple of."""


class Candidate(NamedTuple):
    """A group whose leg may be closed: `size` unsigned, `notional` in the settlement asset, whose
    `price` and the group's `worth` (equity, at least a unit's) are in the numeraire.

    `order` is what the first one is the least by.
    """

    order: tuple[bool, Decimal, tuple[str, str]]
    group: Group
    size: Decimal
    notional: Decimal
    worth: Decimal
    price: Decimal

    @property
    def hedged(self) -> bool:
        """Whether the account holds the other way what rises and falls with it."""
        return self.order[0]

    @property
    def score(self) -> Decimal:
        """What it is ranked by, the largest first."""
        return -self.order[1]


Limit = Callable[[Candidate, Decimal, Decimal], Decimal]
"""What a candidate that gives something already may give beside it of a size that is wanted."""


def score(ranking: Ranking, leg: LegHealth, state: Health, unit: Decimal) -> Decimal:
    """Return what a leg in profit is ranked by, rounded down to 10⁻¹².

    Binance (FAQ 360033525471): profit ÷ max(1, wallet balance) · maintenance ÷ equity. BitMEX (also
    OKX): profit ÷ cost · effective leverage, |mark value| ÷ (mark value − bankruptcy value).
    Hyperliquid: mark ÷ entry price (entry ÷ mark for who gains when it falls) · notional ÷ equity.
    """
    price, profit = state.prices[leg.settle], leg.value - leg.cost
    cost, worth = max(abs(leg.cost), unit), max(state.equity, unit * price)
    if ranking == "binance":
        if state.equity <= 0:
            return ZERO
        held = state.equity
        for one in state.legs:
            held -= (one.value - one.cost) * state.prices[one.settle]
        held = max(held, price)
        return floor_to(profit * state.maintenance * price, RATE_STEP, held * state.equity)
    if ranking == "bitmex":
        part, whole = shares_of_equity(leg, state)
        if not whole:
            return ZERO  # Nothing of the group has a worth, nor is anything required of it.
        used = max(state.equity * part, unit * price * whole)
        return floor_to(profit * leg.notional * whole * price, RATE_STEP, cost * used)
    if ranking == "hyperliquid":
        if leg.value > 0:
            return floor_to(leg.notional * leg.notional * price, RATE_STEP, cost * worth)
        return floor_to(cost * price, RATE_STEP, worth)
    return floor_to(leg.notional * price, RATE_STEP, worth)


def candidate(engine: Engine, group: Group, symbol: str, side: Side) -> Candidate | None:
    """Return a group as a candidate, if it is a trader's who takes nothing for others, in
    profit with a leg that `side` closes, priced and without a liquidation."""
    rules = engine.rules
    leg, mark = engine.book.leg_of(group, symbol), engine.markets.price(symbol, "mark")
    unit = rules.settle_of(symbol).unit
    if leg is None or mark is None or (leg.size > 0) is not (side == "sell"):
        return None
    if group.liquidation is not None or group.account.role not in ("trader", "market_maker"):
        return None
    # Taking over and giving are judged apart: together they could bankrupt it.
    if rules.in_force.waterfall.takes(group.account.id):
        return None
    if rules.derivatives[symbol].value(leg.size, mark, unit) <= leg.cost:
        return None
    state = engine.health_of(group)
    adl = rules.in_force.waterfall.adl
    if state is None or adl is None:
        return None
    valued = next(one for one in state.legs if one.symbol == symbol)
    price = state.prices[valued.settle]
    hedged = _hedged(engine, group.account, symbol, leg.size)
    ranked = score(adl.ranking, valued, state, unit)
    return Candidate(
        (hedged, -ranked, group.key),
        group,
        abs(leg.size),
        valued.notional,
        max(state.equity, unit * price),
        price,
    )


def _hedged(engine: Engine, account: Account, symbol: str, size: Decimal) -> bool:
    """Tell whether another symbol of the same underlying is held the other way in the account."""
    listed = engine.rules.derivatives
    underlying = listed[symbol].underlying
    if not underlying:
        return False
    gains = _gains_by_rise(listed[symbol], size)
    return any(
        listed[name].underlying == underlying
        and _gains_by_rise(listed[name], leg.size) is not gains
        for group in account.groups.values()
        for name, leg in group.legs.items()
        if name != symbol
    )


def _gains_by_rise(instrument: Listed, size: Decimal) -> bool:
    put = isinstance(instrument, Option) and instrument.kind == "put"
    return (size > 0) is not put


def shared_out(
    ranking: Ranking,
    size: Decimal,
    lot: Decimal,
    found: Counterparties,
    limits: tuple[Limit, Limit],
) -> list[tuple[Candidate, Decimal]]:
    """Return how much is closed of each candidate of whom something is, in their order; `size` in
    all if they can give it.

    Of the unhedged, then of the hedged: first what the ranking gives each, then in order, both as
    far as the first limit goes. Then of all in order, as far as the second one does.
    """
    given: dict[Candidate, Decimal] = {}
    left = size

    def ask(one: Candidate, wanted: Decimal, limit: Limit) -> None:
        nonlocal left
        before = given.get(one, ZERO)
        part = limit(one, before, min(wanted, found.free(one) - before))
        if part:
            given[one] = before + part
            left -= part

    def ask_in_order(hedged: bool, limit: Limit) -> None:
        for one in found.among(hedged=hedged) if left > 0 else ():
            ask(one, left, limit)
            if left <= 0:
                break

    for hedged in (False, True):
        for one, share in _first_shares(ranking, left, lot, found, hedged) if left > 0 else ():
            ask(one, share, limits[0])
        ask_in_order(hedged, limits[0])
    for hedged in (False, True):
        ask_in_order(hedged, limits[1])
    return sorted(given.items())


def _first_shares(
    ranking: Ranking, size: Decimal, lot: Decimal, found: Counterparties, hedged: bool
) -> list[tuple[Candidate, Decimal]]:
    """Return what candidates are to give before the ranking counts."""
    if ranking == "pro_rata":
        return _in_proportion(size, lot, found, hedged)
    if ranking == "water_fill":
        return _down_to_a_level(size, lot, found, hedged)
    return []


def _in_proportion(
    size: Decimal, lot: Decimal, found: Counterparties, hedged: bool
) -> list[tuple[Candidate, Decimal]]:
    """Return what each gives of a size by what it has free; most of many have too little for a
    lot."""
    screen = found.screen(hedged=hedged)
    whole, least = screen.whole, floor_to(lot * screen.whole, lot, size)
    return [
        (one, min(free, floor_to(size * free, lot, whole))) for one, free in screen.with_free(least)
    ]


def _down_to_a_level(
    size: Decimal, lot: Decimal, found: Counterparties, hedged: bool
) -> list[tuple[Candidate, Decimal]]:
    """Return what brings every leverage down to the lowest level that `size` is enough for.

    By bisection over whole steps: the higher the level, the less it takes. At a level above the
    leverage of one in their order, those behind give nothing.
    """
    low, wanted = -1, 1
    filled = _Filled(found.screen(wanted, hedged=hedged), size, lot)
    while len(filled.ranked) >= wanted:
        steps = _steps_above(filled.ranked[-1])
        if filled.too_much(steps):
            low = steps
            break
        wanted = 2 * len(filled.ranked)
        filled = _Filled(found.screen(wanted, hedged=hedged), size, lot)
    high = _steps_above(filled.ranked[0]) if filled.ranked else 0
    while high - low > 1:
        steps = (low + high) // 2
        if filled.too_much(steps):
            low = steps
        else:
            high = steps
    return filled.taken_at(high)


class _Filled:
    """Candidates with what they have free, brought down to levels; floats say what they can."""

    def __init__(self, screen: WaterScreen, size: Decimal, lot: Decimal) -> None:
        self.ranked = screen.ranked
        self._screen, self._size, self._lot = screen, size, lot

    def too_much(self, steps: int) -> bool:
        """Tell whether a level takes more than the size."""
        found = self._screen.exceeds(steps * LEVEL_STEP, self._size)
        if found is None:
            found = sum((part for _, part in self.taken_at(steps)), ZERO) > self._size
        return found

    def taken_at(self, steps: int) -> list[tuple[Candidate, Decimal]]:
        """Return what a level takes of each of whom it may take something."""
        level = steps * LEVEL_STEP
        giving = self._screen.giving(level)
        return [(one, _above(level, one, free, self._lot)) for one, free in giving]


def _steps_above(one: Candidate) -> int:
    """Return the steps to a level at which a candidate gives nothing."""
    return int(floor_to(one.score, ONE, LEVEL_STEP)) + 1


def _above(level: Decimal, one: Candidate, most: Decimal, lot: Decimal) -> Decimal:
    """Return what of a position is more than a leverage of `level`, in lots."""
    if not one.notional:
        return ZERO
    worth = one.notional * one.price
    return max(ZERO, min(most, floor_to((worth - level * one.worth) * one.size, lot, worth)))


def most_lots(wanted: Decimal, lot: Decimal, holds: Callable[[Decimal], bool]) -> Decimal:
    """Return `wanted` if that holds, else the most lots below it that bisection finds to hold."""
    if wanted <= 0 or holds(wanted):
        return max(wanted, ZERO)
    low, high = 0, int(-floor_to(-wanted, ONE, lot))
    while high - low > 1:
        lots = (low + high) // 2
        if holds(lots * lot):
            low = lots
        else:
            high = lots
    return low * lot


def stands(engine: Engine, group: Group, symbol: str, size: Decimal, price: Decimal) -> bool:
    """Tell whether a group is not breached with `size` of a leg closed at a price."""
    state = _closed(engine, group, symbol, size, price)
    return state is not None and not breached(state, engine.rules)


def solvent(engine: Engine, group: Group, symbol: str, size: Decimal, price: Decimal) -> bool:
    """Tell whether a group has no negative equity with `size` of a leg closed at a price."""
    state = _closed(engine, group, symbol, size, price)
    return state is not None and state.equity >= 0


def _closed(
    engine: Engine, group: Group, symbol: str, size: Decimal, price: Decimal
) -> Health | None:
    """Return the health of a group with `size` of a leg closed at a price, and before that what is
    promised of its legs at the prices of that; no fee paid."""
    rules, holdings = engine.rules, group.holdings
    cash, legs = dict(holdings.cash), dict(holdings.legs)
    for (promised, side), promise in engine.transfers.against(group.key).items():
        _keep_promise(cash, legs, promised, side, promise, rules)
    if symbol in legs:
        _reduce(cash, legs, symbol, size, price, rules)
    return health(holdings._replace(cash=cash, legs=legs), rules, engine.markets)


def _keep_promise(
    cash: dict[str, Decimal],
    legs: dict[str, Leg],
    symbol: str,
    side: Side,
    promise: Promise,
    rules: Rules,
) -> None:
    """Close of a leg what is promised of it, if it has that much, at the prices of the promise."""
    leg = legs.get(symbol)
    if leg is None or (side == "sell") == (leg.size > 0):
        return
    size = min(promise.size, abs(leg.size))
    cost = ceil_to(promise.cost * size, rules.settle_of(symbol).unit, promise.size)
    _release(cash, legs, symbol, size, cost, rules)


def _reduce(
    cash: dict[str, Decimal],
    legs: dict[str, Leg],
    symbol: str,
    size: Decimal,
    price: Decimal,
    rules: Rules,
) -> None:
    """Close of a leg a size, if it has that much, at a price."""
    leg = legs[symbol]
    size = min(size, abs(leg.size))
    signed = size.copy_sign(-leg.size)
    unit = rules.settle_of(symbol).unit
    cost = fill_cost(rules.derivatives[symbol], signed, price, unit)
    _release(cash, legs, symbol, size, cost, rules)


def _release(
    cash: dict[str, Decimal],
    legs: dict[str, Leg],
    symbol: str,
    size: Decimal,
    cost: Decimal,
    rules: Rules,
) -> None:
    """Take a size off a leg at a cost of the fill."""
    leg, asset = legs[symbol], rules.settle_of(symbol)
    released = charge(leg.cost * size, asset.unit, abs(leg.size))
    cash[asset.name] = cash.get(asset.name, ZERO) - cost - released
    if size < abs(leg.size):
        legs[symbol] = Leg(leg.size - size.copy_sign(leg.size), leg.cost - released)
    else:
        del legs[symbol]
