"""Whose position is closed against a bankrupt one: candidates, their ranking, and how much of each.

Candidates hold the other side and are in profit. The formulas stand in docs/semantics.md, 12.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
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
from engine.waterfall_profile import Ranking

if TYPE_CHECKING:
    from engine.core import Engine

LEVEL_STEP = Decimal("0.001")
"""What the level that leverages are brought down to is a multiple of."""


class Candidate(NamedTuple):
    """A group whose leg may be closed: `size` unsigned, `notional` in the settlement asset, whose
    `price` and the group's `worth` (equity, at least a unit's) are in the numeraire."""

    group: Group
    size: Decimal
    notional: Decimal
    worth: Decimal
    price: Decimal
    hedged: bool
    score: Decimal


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


class Candidates:
    """The candidates of one event, by symbol and by the side that closes their legs.

    The first bankrupt group in a symbol costs a health of every group in profit on the other side;
    the next ones of the same event pass over the list, and have those valued anew who were touched
    in between.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._known: dict[tuple[str, Side], dict[Group, Candidate | None]] = {}
        self._ranked: dict[tuple[str, Side], list[Candidate]] = {}

    def forget(self, group: Group) -> None:
        """Value a group anew: what it holds has changed."""
        for key, known in self._known.items():
            if group in known:
                del known[group]
                self._ranked.pop(key, None)

    def forget_all(self) -> None:
        """Value everybody anew."""
        self._known.clear()
        self._ranked.clear()

    def of(self, engine: Engine, symbol: str, side: Side, account: Account) -> list[Candidate]:
        """Return whose legs `side` closes, in their ranking, but those of an account and those in
        liquidation."""
        if self._seq != engine.seq:
            self.forget_all()
            self._seq = engine.seq
        key = (symbol, side)
        if key not in self._ranked:
            known = self._known.setdefault(key, {})
            for group in _holders(engine, symbol, side):
                if group not in known:
                    known[group] = _candidate(engine, group, symbol)
            found = [one for one in known.values() if one is not None]
            found.sort(key=lambda one: (one.hedged, -one.score, one.group.key))
            self._ranked[key] = found
        return [
            one
            for one in self._ranked[key]
            if one.group.liquidation is None and one.group.account is not account
        ]


def _holders(engine: Engine, symbol: str, side: Side) -> Iterator[Group]:
    """Yield the groups of traders whose leg in a symbol `side` closes."""
    table = engine.book.legs[symbol]
    sizes = table.size[: len(table)]
    closed = sizes > 0 if side == "sell" else sizes < 0
    for row in table.group[: len(table)][closed].tolist():
        group = engine.book.at(row)
        if group.account.role in ("trader", "market_maker"):
            yield group


def _candidate(engine: Engine, group: Group, symbol: str) -> Candidate | None:
    """Return a group as a candidate, if it is in profit and priced."""
    rules = engine.rules
    leg, mark = engine.book.leg_of(group, symbol), engine.markets.price(symbol, "mark")
    unit = rules.settle_of(symbol).unit
    if leg is None or mark is None:
        return None
    if rules.derivatives[symbol].value(leg.size, mark, unit) <= leg.cost:
        return None
    state = engine.health_of(group)
    adl = rules.in_force.waterfall.adl
    if state is None or adl is None:
        return None
    valued = next(one for one in state.legs if one.symbol == symbol)
    price = state.prices[valued.settle]
    return Candidate(
        group,
        abs(leg.size),
        valued.notional,
        max(state.equity, unit * price),
        price,
        _hedged(engine, group.account, symbol, leg.size),
        score(adl.ranking, valued, state, unit),
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
    candidates: Sequence[Candidate],
    free: Callable[[Candidate], Decimal],
    limits: tuple[Limit, Limit],
) -> dict[int, Decimal]:
    """Return how much is closed of each candidate of whom something is, by its place; `size` in all
    if they can give it.

    Of the unhedged, then of the hedged: first what the ranking gives each, then in order, both as
    far as the first limit goes. Then of all in order, as far as the second one does.
    `free(candidate)` is what it can give at all.
    """
    given: dict[int, Decimal] = {}
    left = size

    def ask(place: int, wanted: Decimal, limit: Limit) -> None:
        nonlocal left
        one, before = candidates[place], given.get(place, ZERO)
        part = limit(one, before, min(wanted, free(one) - before)) if left > 0 else ZERO
        if part:
            given[place] = before + part
            left -= part

    edge = bisect_left(candidates, True, key=lambda one: one.hedged)
    for places in (range(edge), range(edge, len(candidates))):
        if left <= 0:
            break
        among = candidates[places.start : places.stop]
        for place, share in _first_shares(ranking, left, lot, among, free):
            ask(places[place], share, limits[0])
        for place in places:
            ask(place, left, limits[0])
    for place in range(len(candidates)):
        ask(place, left, limits[1])
    return dict(sorted(given.items()))


def _first_shares(
    ranking: Ranking,
    size: Decimal,
    lot: Decimal,
    candidates: Sequence[Candidate],
    free: Callable[[Candidate], Decimal],
) -> list[tuple[int, Decimal]]:
    """Return what candidates are to give before the ranking counts, by place."""
    if ranking not in ("pro_rata", "water_fill"):
        return []
    most = [free(one) for one in candidates]
    if ranking == "pro_rata":
        whole = sum(most, ZERO)
        shares = [min(one, floor_to(size * one, lot, whole)) if one else ZERO for one in most]
    else:
        shares = _down_to_a_level(size, lot, candidates, most)
    return [(place, share) for place, share in enumerate(shares) if share]


def _down_to_a_level(
    size: Decimal, lot: Decimal, candidates: Sequence[Candidate], most: Sequence[Decimal]
) -> list[Decimal]:
    """Return what brings every leverage down to the lowest level that `size` is enough for.

    By bisection over whole steps: the higher the level, the less it takes.
    """

    def taken_at(steps: int) -> list[Decimal]:
        level = steps * LEVEL_STEP
        return [_above(level, one, free, lot) for one, free in zip(candidates, most, strict=True)]

    top = max((one.score for one in candidates), default=ZERO)
    low, high = -1, int(floor_to(top, ONE, LEVEL_STEP)) + 1
    while high - low > 1:
        steps = (low + high) // 2
        if sum(taken_at(steps), ZERO) <= size:
            high = steps
        else:
            low = steps
    return taken_at(high)


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
