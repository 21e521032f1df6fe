"""Who trades in a crash: a seeded population of traders, and the hedgers on the other side.

Distributions are those of docs/demo.md. Equity is spread over the quantiles of its distribution, so
that two seeds differ in who is where, not in how much there is. Draws use `random.Random`, whose
stream is the same in every release and on every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from decimal import Decimal
from random import Random
from statistics import NormalDist
from typing import NamedTuple

from consumers.fitting import Terms

PARETO = 1.15
MEDIAN_LEVERAGE = 4.0
LEVERAGE_SIGMA = 1.0
LEVERAGE_BY_EQUITY = -0.25
"""Leverage falls with this power of equity ÷ median equity."""
OPENING_MARGIN = 1.15
"""Margin equity at the opening is at least this multiple of initial margin."""

AT_ONCE = 0.30
LONG = 0.76
WITH_THE_ACCOUNT = 0.85
"""The share of legs in their account's direction."""
LEG_COUNTS = (0.53, 0.79, 0.91, 0.97, 1.0)
"""Cumulative shares of accounts with 1 to 5 legs; the mean is 1.8."""
COIN_HOLDERS = 0.30
COIN_SHARE = 0.80
"""The part of a coin holder's equity that is in coins."""
OWN_ORDERS = 0.10
"""The share of traders with resting orders of their own."""

HEDGER_LEVERAGE = (0.5, 2.0)
FEWEST_HEDGERS = 3


class Tastes(NamedTuple):
    """What people trade: each market's share of notional, the share of each coin in what is not
    USDT of collateral, and the notional of all positions of a trader on average, USDT."""

    shares: Mapping[str, float]
    coins: Mapping[str, float]
    gross: float


class Trader(NamedTuple):
    """A trader at the opening: equity by asset and signed notional by symbol, in USDT.

    `long` is the direction that most of its legs are meant to have.
    """

    account: str
    long: bool
    at_once: bool
    equity: dict[str, float]
    legs: dict[str, float]
    own_orders: bool

    @property
    def gross(self) -> float:
        """Notional of all legs, USDT."""
        return sum(abs(notional) for notional in self.legs.values())


class Hedger(NamedTuple):
    """A hedger: the market that it makes, and what it holds as collateral, in USDT."""

    account: str
    symbol: str
    asset: str
    equity: float


def traders(random: Random, count: int, tastes: Tastes, terms: Terms) -> list[Trader]:
    """Draw `count` traders of these tastes."""
    sketches = [_sketch(random, number, tastes) for number in range(count)]
    ranks = [(number + 0.5) / count for number in range(count)]
    random.shuffle(ranks)
    relative = [(1 - rank) ** (-1 / PARETO) for rank in ranks]
    median = 0.5 ** (-1 / PARETO)
    least, wanted = 1_000.0, tastes.gross * count
    for _ in range(6):
        # Large accounts meet their brackets: the scale that gives the wanted sum is searched for.
        drawn = [
            _fitted(sketch, least * share, share / median, terms)
            for sketch, share in zip(sketches, relative, strict=True)
        ]
        least *= wanted / sum(trader.gross for trader in drawn)
    return drawn


class _Sketch(NamedTuple):
    """What does not depend on the size of an account."""

    account: str
    long: bool
    at_once: bool
    leverage: float
    coin: str
    parts: dict[str, float]
    own_orders: bool


def _sketch(random: Random, number: int, tastes: Tastes) -> _Sketch:
    count = bisect_left(LEG_COUNTS, random.random()) + 1
    long = random.random() < LONG
    weights = dict(tastes.shares)
    parts: dict[str, float] = {}
    for _ in range(min(count, len(weights))):
        symbol = _pick(random, weights)
        del weights[symbol]
        size = -math.log(1 - random.random())
        parts[symbol] = size if long == (random.random() < WITH_THE_ACCOUNT) else -size
    whole = sum(abs(part) for part in parts.values())
    coin = "" if random.random() >= COIN_HOLDERS else _coin(random, tastes)
    z = NormalDist().inv_cdf(1 - random.random())
    return _Sketch(
        account=f"trader-{number + 1:05d}",
        long=long,
        at_once=random.random() < AT_ONCE,
        leverage=MEDIAN_LEVERAGE * math.exp(LEVERAGE_SIGMA * z),
        coin=coin,
        parts={symbol: part / whole for symbol, part in parts.items()},
        own_orders=random.random() < OWN_ORDERS,
    )


def _fitted(sketch: _Sketch, equity: float, by_median: float, terms: Terms) -> Trader:
    """Give a sketch its equity, and no more leverage than the venue's rules allow."""
    coins = COIN_SHARE * equity if sketch.coin and terms.accepts(sketch.coin) else 0.0
    balances = {"USDT": equity - coins}
    margin_equity = equity
    if coins:
        balances[sketch.coin] = coins
        margin_equity -= coins * terms.haircut(sketch.coin, coins)
    gross = sketch.leverage * by_median**LEVERAGE_BY_EQUITY * equity
    legs = {symbol: part * gross for symbol, part in sketch.parts.items()}
    initial = sum(terms.initial(symbol, abs(notional)) for symbol, notional in legs.items())
    # Initial margin is convex in size, but for what a leg needs whatever its size: cut to a
    # fraction, a leg needs at most that fraction of the rest.
    fixed = terms.fixed * len(legs)
    cut = max(0.0, min(1.0, (margin_equity / OPENING_MARGIN - fixed) / (initial - fixed)))
    legs = {symbol: notional * cut for symbol, notional in legs.items()}
    return Trader(sketch.account, sketch.long, sketch.at_once, balances, legs, sketch.own_orders)


def hedgers(
    random: Random,
    count: int,
    tastes: Tastes,
    open_interest: Mapping[str, float],
    terms: Terms,
) -> list[Hedger]:
    """Draw `count` hedgers who between them carry `open_interest`, net notional by symbol."""
    found: list[Hedger] = []
    for symbol, number in _allotted(count, tastes.shares).items():
        for _ in range(number):
            equity = open_interest[symbol] / number / random.uniform(*HEDGER_LEVERAGE)
            account = f"hedger-{len(found) + 1:03d}"
            coin = _coin(random, tastes)
            asset = coin if terms.accepts(coin) else "USDT"
            found.append(Hedger(account, symbol, asset, equity))
    return found


def _allotted(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Share out hedgers by market, a few to the smallest and the rest to the first."""
    numbers = {
        symbol: max(FEWEST_HEDGERS, math.floor(count * share)) for symbol, share in shares.items()
    }
    first = next(iter(numbers))
    numbers[first] = max(FEWEST_HEDGERS, numbers[first] + count - sum(numbers.values()))
    return numbers


class Desk:
    """Which hedger takes the other side: the one in that market to whom it is most welcome."""

    def __init__(self, members: Iterable[Hedger], capacity: Mapping[str, float]) -> None:
        self._lots: dict[str, dict[str, int]] = {}
        for hedger in members:
            self._lots.setdefault(hedger.symbol, {})[hedger.account] = 0
        self._largest_part = {
            symbol: capacity[symbol] / len(positions) for symbol, positions in self._lots.items()
        }

    def deal(
        self, symbol: str, size: Decimal, notional: float, lot: Decimal, but: str
    ) -> list[tuple[str, Decimal]]:
        """Return who takes which part of a trade of signed `size`, all but the account `but`."""
        positions = self._lots[symbol]
        whole = int(abs(size) / lot)
        sign = 1 if size > 0 else -1
        # The longest sells to a buyer, the shortest buys from a seller; ties by order of entry.
        willing = sorted(positions, key=positions.__getitem__, reverse=size > 0)
        if but in positions:
            willing.remove(but)
        parts = min(len(willing), whole, 1 + int(notional / self._largest_part[symbol]))
        dealt = []
        for place in range(parts):
            # The first parts are a lot larger where the trade does not divide.
            lots = sign * (whole // parts + (place < whole % parts))
            positions[willing[place]] -= lots
            dealt.append((willing[place], -lots * lot))
        return dealt

    def note(self, account: str, symbol: str, size: Decimal, lot: Decimal) -> None:
        """Take in that a position changed by `size` without a trade, if it is a hedger's."""
        positions = self._lots[symbol]
        if account in positions:
            positions[account] += int(size / lot)


def _coin(random: Random, tastes: Tastes) -> str:
    return _at(tastes.coins, random.random())


def _pick(random: Random, weights: Mapping[str, float]) -> str:
    return _at(weights, random.random() * sum(weights.values()))


def _at(weights: Mapping[str, float], left: float) -> str:
    """Return the name at the place `left` along the sum of weights."""
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return name
