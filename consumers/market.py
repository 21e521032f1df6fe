"""The demo's world: a crash as events, one after another, each in its own microsecond.

What is assumed is told in docs/demo.md. A `World` is played in slots, one a tick: it yields what
happened and hears, through `hear`, what an engine decided; its answers come in later slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import accumulate
from random import Random
from typing import Literal

import msgspec

from consumers import bars, population, profiles, rules
from consumers.crashes import CRASHES, MAY_2021, Crash, DayName
from consumers.exchange import Exchange
from consumers.feed import Clock, Record, Shards, Ticker
from consumers.fitting import Terms, fitted
from consumers.policies import Policy
from consumers.rules import FundDeposit, Rules
from engine.decisions import Decision
from engine.events import PositionEvent
from engine.money import unit_of
from engine.venue import Conditions

TICKS_A_MINUTE = 12
SECOND = 1_000_000
TICK = 60 * SECOND // TICKS_A_MINUTE
"""Microseconds between two ticks of one market."""

WHOLE_DAY = 20_000
"""Accounts of the full world; a smaller one has a book and a fund in proportion."""
HEDGER_SHARE = 0.02
FUND = 1_000_000
"""USDT, in the full world."""
Book = Literal["thin", "deep"]
DEPTH: dict[Book, float] = {"thin": 0.003, "deep": 0.01}
"""The part of the notional traded on the day before that moves a calm market by 1 %."""


class Stall(msgspec.Struct, frozen=True):
    """A market that answers nobody for `seconds` from `minute`, as venues' did that afternoon."""

    symbol: str = "XRPUSDT"
    minute: int = 12 * 60 + 53
    seconds: int = 30


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Which world: its crash, its size (all symbols, if not so many), its minutes since the crash
    begins (to its end), its book, the seed of its people, and the profile by which it is margined
    (the demo's own), changed by a policy."""

    day: DayName = MAY_2021.name
    seed: int = 1
    accounts: int = WHOLE_DAY
    symbols: int | None = None
    start_minute: int = 0
    end_minute: int | None = None
    book: Book = "thin"
    shards: int = 1
    stall: Stall | None = Stall()
    profile: str | None = None
    policy: Policy | None = None

    @property
    def crash(self) -> Crash:
        """What is played."""
        return CRASHES[self.day]

    @property
    def scale(self) -> float:
        """The size of this world beside the full one."""
        return self.accounts / WHOLE_DAY

    @property
    def whole(self) -> bool:
        """Whether it is the full world, of which the figures in docs/demo.md speak."""
        wanted = (WHOLE_DAY, None, 0, None)
        given = (self.accounts, self.symbols, self.start_minute, self.end_minute)
        return given == wanted and self.profile is None and self.policy is None


@cache
def venue_rules(profile: str | None = None, day: DayName = MAY_2021.name) -> Rules:
    """Return the rules under which a day is played: its own, or another profile fitted to it.

    Raises as `profiles.read` and `fitting.fitted` do.
    """
    packed = files("deploy").joinpath("profiles", CRASHES[day].rules)
    found = rules.parse(packed.read_bytes(), packed.name)
    if profile is None:
        return found
    return msgspec.structs.replace(found, profile=fitted(profiles.read(profile), found))


class World:
    """One crash, to be played once."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.crash = scene.crash
        self.clock = Clock(self.crash.begin + scene.start_minute * 60 * SECOND)
        self.prices: dict[str, Decimal] = {}
        whole = venue_rules(scene.profile, scene.day)
        if scene.policy is not None:
            changed = scene.policy.applied(whole.profile, scene.scale)
            whole = msgspec.structs.replace(whole, profile=changed)
        self.rules = msgspec.structs.replace(
            whole, perpetuals=whole.perpetuals[: scene.symbols], fund=_fund(scene)
        )
        self.symbols = [perpetual.name for perpetual in self.rules.perpetuals]
        self._decimals = {item.name: item.price_decimals for item in self.rules.perpetuals}
        self._histories = {symbol: bars.load(symbol, scene.day) for symbol in self.symbols}
        self._calm = {symbol: history.calm() for symbol, history in self._histories.items()}
        self._depth = {
            symbol: DEPTH[scene.book] * scene.scale * history.volume_before()
            for symbol, history in self._histories.items()
        }
        self._ticker = Ticker(self.clock)
        self._shards = Shards(scene.shards)
        self._populate()

    def _populate(self) -> None:
        random = Random(self.scene.seed)
        hedgers = max(len(self.symbols) * 3, round(self.scene.accounts * HEDGER_SHARE))
        tastes = population.Tastes(self._shares(), self.crash.coins, self._gross())
        terms = Terms(self.rules, self._first_prices())
        self.traders = population.traders(random, self.scene.accounts - hedgers, tastes, terms)
        self._openings = self._schedule(random)
        capacity = self._open_interest()
        self.hedgers = population.hedgers(random, hedgers, tastes, capacity, terms)
        desk = population.Desk(self.hedgers, capacity)
        self.exchange = Exchange(self.rules.assets, self.rules.perpetuals, desk, self.clock)

    def _first_prices(self) -> dict[str, float]:
        minute = self.scene.start_minute
        return {symbol: history.opening(minute) for symbol, history in self._histories.items()}

    def _gross(self) -> float:
        """Return the notional of all positions that a trader takes, on average."""
        return self.crash.gross / (WHOLE_DAY * (1 - HEDGER_SHARE))

    def _shares(self) -> dict[str, float]:
        """Return each market's part of all notional: two are given, the rest goes by volume."""
        given = self.crash.shares
        volumes = {symbol: history.volume_before() for symbol, history in self._histories.items()}
        rest = sum(volume for symbol, volume in volumes.items() if symbol not in given)
        left = 1 - sum(given.values())
        return {
            symbol: given.get(symbol) or left * volume / rest for symbol, volume in volumes.items()
        }

    def _schedule(self, random: Random) -> dict[int, list[population.Trader]]:
        """Give each trader the slot of its opening: −1 is before the first tick."""
        minutes = self.minutes
        volumes = [self._histories["BTCUSDT"].of_day(minute).volume for minute in minutes]
        totals = list(accumulate(volumes))
        slots_a_minute = self.crash.ticks_a_minute * len(self.symbols)
        found: dict[int, list[population.Trader]] = defaultdict(list)
        for trader in self.traders:
            minute = random.choices(range(len(minutes)), cum_weights=totals)[0]
            slot = minute * slots_a_minute + random.randrange(slots_a_minute)
            found[-1 if trader.at_once else slot].append(trader)
        return found

    def _open_interest(self) -> dict[str, float]:
        """Return the largest net notional that traders reach in each market, if nobody closes."""
        net: dict[str, float] = dict.fromkeys(self.symbols, 0.0)
        gross: dict[str, float] = dict.fromkeys(self.symbols, 0.0)
        largest: dict[str, float] = dict.fromkeys(self.symbols, 0.0)
        for slot in sorted(self._openings):
            for trader in self._openings[slot]:
                for symbol, notional in trader.legs.items():
                    net[symbol] += notional
                    gross[symbol] += abs(notional)
                    largest[symbol] = max(largest[symbol], abs(net[symbol]))
        # Where longs and shorts nearly balance, hedgers still have to stand in between for a while.
        return {symbol: max(largest[symbol], 0.25 * gross[symbol], 1.0) for symbol in self.symbols}

    # --- the day

    @property
    def last_price_time(self) -> int:
        """When the last price was published, microseconds UTC."""
        return self._ticker.last_time

    @property
    def shards(self) -> int:
        """Over how many shards accounts are spread."""
        return self.scene.shards

    @property
    def minutes(self) -> range:
        """The minutes that are played, counted from the beginning of the crash."""
        end = self.scene.end_minute
        return range(self.scene.start_minute, self.crash.minutes if end is None else end)

    @property
    def slots(self) -> int:
        """How many times `play` yields."""
        return 1 + len(self.minutes) * self.crash.ticks_a_minute * len(self.symbols)

    def hear(self, decision: Decision) -> None:
        """Take in a decision; what it asks of the venue is answered in a later slot."""
        self.exchange.hear(decision)

    def play(self) -> Iterator[list[Record]]:
        """Yield the records of each slot, in order of time."""
        yield self._beginning()
        slot = 0
        pause = 60 * SECOND // self.crash.ticks_a_minute // len(self.symbols)
        time = self.clock.time - self.clock.time % SECOND
        for minute in self.minutes:
            paths = {symbol: self._path(symbol, minute) for symbol in self.symbols}
            for step in range(self.crash.ticks_a_minute):
                for symbol in self.symbols:
                    time += pause
                    self.clock.wait_until(time)
                    yield self._slot(slot, minute, symbol, paths[symbol][step])
                    slot += 1

    def _beginning(self) -> list[Record]:
        """Put the rules in force, publish first prices, open hedgers, those who take
        positions over, and the first traders."""
        found: list[Record] = [
            (None, msgspec.structs.replace(event, time=self.clock.stamp()))
            for event in rules.events(self.rules, 0)
        ]
        for symbol, first in self._first_prices().items():
            found += self._ticked(symbol, self._exact(symbol, first))
        for hedger in self.hedgers:
            found += self._kept(self.exchange.open_hedger(hedger, self.prices))
        found += self._kept(self.exchange.open_takers(self.rules.profile.waterfall))
        return found + self._opened(-1)

    def _slot(self, slot: int, minute: int, symbol: str, price: Decimal) -> list[Record]:
        found = self._ticked(symbol, price)
        found += self._kept(self.exchange.cancelled())
        if not self._stalled(symbol):
            depth = self._depth[symbol] * self._calm[symbol][minute // self.crash.minutes_a_bar]
            found += self._kept(
                self.exchange.session(symbol, Conditions(price, depth, self.clock.time))
            )
        if slot in self._openings:
            found += self._opened(slot)
        return found

    def _opened(self, slot: int) -> list[Record]:
        found: list[Record] = []
        for trader in self._openings.pop(slot, ()):
            found += self._kept(self.exchange.open_trader(trader, self.prices))
        return found

    def _ticked(self, symbol: str, price: Decimal) -> list[Record]:
        """Publish a mark, and with it the index price of the coin if that is collateral."""
        self.prices[symbol] = price
        found = [self._ticker.publish(symbol, "mark", price)]
        coin = symbol.removesuffix("USDT")
        if coin in self.rules.profile.collateral:
            found.append(self._ticker.publish(coin, "index", price))
        return found

    def _path(self, symbol: str, minute: int) -> list[Decimal]:
        path = self._histories[symbol].path(minute)
        return [self._exact(symbol, price) for price in path]

    def _exact(self, symbol: str, price: float) -> Decimal:
        decimals = self._decimals[symbol]
        return round(price * 10**decimals) * unit_of(decimals)

    def _stalled(self, symbol: str) -> bool:
        stall = self.scene.stall
        if stall is None or stall.symbol != symbol:
            return False
        begin = self.crash.begin + stall.minute * 60 * SECOND
        return begin <= self.clock.time < begin + stall.seconds * SECOND

    def _kept(self, events: list[PositionEvent]) -> list[Record]:
        return [(self._shards.of(event.account), event) for event in events]


def _fund(scene: Scene) -> tuple[FundDeposit, ...]:
    """Split the fund over the shards."""
    whole = Decimal(round(FUND * scene.scale))
    each = whole // scene.shards
    first = whole - each * (scene.shards - 1)
    return tuple(
        FundDeposit(shard=shard, asset="USDT", amount=each if shard else first, sequence=1)
        for shard in range(scene.shards)
    )
