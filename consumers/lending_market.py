"""The demo's lending market: 19 May 2021 as events of pools, lenders, borrowers and liquidators.

What is assumed is told in docs/demo.md. Like the other world it is played in slots, one a tick: it
yields what happened and hears what an engine decided; its answers come in later slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache, partial
from heapq import heappop, heappush
from importlib.resources import files
from itertools import accumulate, count
from random import Random
from typing import Literal

import msgspec

from consumers import bars, borrowers, coins, rules
from consumers.borrowers import Borrower, Lender
from consumers.coins import DEPTH_OF, LEADS, PEGGED, QUOTE, TOKEN
from consumers.feed import Accounts, Clock, Record, Shards, Ticker
from consumers.liquidators import Liquidators, Member
from consumers.loan_desk import Action, LoanDesk, Withdrawals
from consumers.market import DEPTH, SECOND, TICKS_A_MINUTE
from consumers.rules import Rules
from engine.decisions import (
    CancelOrder,
    CollateralLiquidation,
    Decision,
    SetOff,
    SupplyDrawn,
    WithdrawalUnpaid,
)
from engine.events import AccountOpened, FundMoved, PositionEvent
from engine.lending_profile import PoolRule, Terms
from engine.money import credit, unit_of
from engine.venue import Conditions

MINUTE = 60 * SECOND
UNIT = unit_of(8)
RATE = unit_of(12)

WHOLE_MARKET = 3_000
"""Borrowers of the full market; a smaller one has books, capital and its largest borrower in
proportion."""
COINS = ("BTC", "ETH", TOKEN, "XRP", "ADA", "DOGE", "LTC", "DOT", "LINK", "BCH")
"""What leads: a smaller market has the first of these."""

LARGEST = "borrower-on-the-token"
LARGEST_SUPPLY = 2_000_000
LARGEST_DEBTS = {"BTC": 4_100, "ETH": 9_600}
"""What the largest borrower of Venus had that night (ChainCatcher)."""
LARGEST_MINUTE = 151
LARGEST_SHARE = Decimal("0.98")
"""It borrows at most this part of what it may."""

LIQUIDATORS = 12
CAPITAL = 15_000_000
"""USDT of all liquidators together; the n-th largest has 1/n of the largest."""
RESERVE = Decimal("0.005")
"""What a pool's reserve has at the beginning, as a part of its cash."""

THE_RUN = (12 * 60 + 30, 15 * 60)
"""Minutes between which lenders want their money back."""
CLAIMS = 15 * MINUTE
"""How often liquidators look whether a pool that owes them has cash again."""


class LendingScene(msgspec.Struct, frozen=True, kw_only=True):
    """Which lending market: its size, its hours (minutes of the day), the seed of its people."""

    seed: int = 1
    accounts: int = WHOLE_MARKET
    coins: int = len(COINS)
    ticks: int = TICKS_A_MINUTE
    start_minute: int = 0
    end_minute: int = bars.MINUTES
    shards: int = 1
    book: Literal["lending"] = "lending"
    profile: None = None

    @property
    def whole(self) -> bool:
        """Whether it is the full market, of which the figures in docs/demo.md speak."""
        return self == LendingScene(seed=self.seed, shards=self.shards)

    @property
    def scale(self) -> float:
        """The size of this market beside the full one."""
        return self.accounts / WHOLE_MARKET


@cache
def market_rules() -> Rules:
    """Return the rules of the market."""
    packed = files("deploy").joinpath("profiles/lending-demo.toml")
    return rules.parse(packed.read_bytes(), packed.name)


def pools_of(venue: Rules) -> dict[str, PoolRule]:
    """Return the pools of a market's rules; raises `ValueError` where there are none."""
    if venue.profile.lending is None:
        raise ValueError(f'profile "{venue.profile.name}": no pools')
    return venue.profile.lending.pools


class LendingWorld:
    """One day of the lending market, to be played once."""

    def __init__(self, scene: LendingScene) -> None:
        self.scene = scene
        self.clock = Clock(bars.DAY + scene.start_minute * MINUTE)
        self.rules = market_rules()
        self.coins = COINS[: scene.coins]
        self.prices: dict[str, Decimal] = {QUOTE: Decimal(1)}
        self._pools = pools_of(self.rules)
        self._decimals = {asset.name: asset.price_decimals for asset in self.rules.assets}
        histories = {coin: coins.history(coin) for coin in self.coins}
        self._calm = {coin: history.calm() for coin, history in histories.items()}
        self._volumes = {coin: history.volume_before() for coin, history in histories.items()}
        self._ticker = Ticker(self.clock)
        self._shards = Shards(scene.shards)
        self._accounts = Accounts(self.clock)
        self._desk = LoanDesk(self._accounts, self._shards)
        self._withdrawals = Withdrawals(self._desk, self._accounts, self._later)
        self._due: list[tuple[int, int, Action]] = []
        self._numbers = count()
        self._lent: dict[str, Decimal] = {}
        self._publish_first()
        self._populate()

    @property
    def loans(self) -> int:
        """How many accounts borrow, or are to."""
        return len(self.borrowers) + (TOKEN in self.coins)

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
        """The minutes of the day that are played."""
        return range(self.scene.start_minute, self.scene.end_minute)

    def _publish_first(self) -> None:
        """Take down what coins cost when the day begins."""
        for coin in self.coins:
            first = coins.first_price(coin, self.scene.start_minute)
            self.prices[coin] = coins.exact(first, self._decimals[coin])
        for coin, (peg, _) in PEGGED.items():
            self.prices[coin] = self._pegged(coin, peg)

    def _pegged(self, coin: str, peg: str | None) -> Decimal:
        price = self.prices[peg or QUOTE]
        return coins.pegged_price(coin, price, self.prices["BTC"], self._decimals[coin])

    # --- the people

    def _populate(self) -> None:
        random, scene = Random(self.scene.seed), self.scene
        thresholds = {
            pool: float(rule.collateral.liquidation_threshold)
            for pool, rule in self._pools.items()
            if rule.collateral is not None
        }
        volumes = {coin: size for coin, size in self._volumes.items() if coin != TOKEN}
        self.borrowers = borrowers.borrowers(random, scene.accounts, volumes, thresholds)
        lenders = round(scene.accounts * borrowers.LENDER_SHARE)
        self.lenders = borrowers.lenders(random, lenders, self._needs(), self._shards.of)
        self.liquidators = Liquidators(self._members(), self.rules.assets, self._accounts)
        self._schedule(random)

    def _needs(self) -> dict[tuple[int, str], float]:
        """Return what lenders must bring, by shard and asset, so that pools are used as wanted."""
        owed: dict[tuple[int, str], float] = defaultdict(float)
        supplied: dict[tuple[int, str], float] = defaultdict(float)
        for borrower in self.borrowers:
            shard = self._shards.of(borrower.account)
            for asset, value in borrower.owed.items():
                owed[shard, asset] += value * borrower.at_once
                # A loop supplies what it borrows: its own coin again, or the one it is pegged to.
                for other in borrower.supplied if borrower.loop else ():
                    supplied[shard, other] += value * borrower.at_once
            for asset, value in borrower.supplied.items():
                supplied[shard, asset] += value * borrower.at_once
        for asset, amount in LARGEST_DEBTS.items():
            value = amount * self.scene.scale * float(self.prices[asset])
            owed[self._shards.of(LARGEST), asset] += value
        return {
            (shard, asset): owed[shard, asset] / used - supplied[shard, asset]
            for shard in range(self.scene.shards)
            for asset, used in borrowers.UTILIZATION.items()
        }

    def _members(self) -> list[Member]:
        """Bring in liquidators: a dozen, or as many more as it takes for one in every shard."""
        accounts: list[str] = []
        while len(accounts) < LIQUIDATORS or len(set(map(self._shards.of, accounts))) < (
            self.scene.shards
        ):
            accounts.append(f"liquidator-{len(accounts) + 1:03d}")
        whole = sum(1 / place for place, _ in enumerate(accounts, start=1))
        largest = CAPITAL * self.scene.scale / whole
        return [
            Member(account, self._shards.of(account), Decimal(round(largest / place)))
            for place, account in enumerate(accounts, start=1)
        ]

    def _schedule(self, random: Random) -> None:
        """Give each later loan its minute, by the volume of BTC, and each who leaves his."""
        scene = self.scene
        whole = self.minutes
        run = range(max(whole.start, THE_RUN[0]), min(whole.stop, THE_RUN[1]))
        for borrower in self.borrowers:
            if not borrower.at_once:
                self._at(self._drawn(random, whole), partial(self._opened, borrower))
        for lender in self.lenders:
            if lender.leaves:
                time = self._drawn(random, run or whole)
                self._at(time, partial(self._left, lender))
        self._later(CLAIMS, self._claimed)
        if TOKEN in self.coins:
            first = max(scene.start_minute, LARGEST_MINUTE)
            self._at(bars.DAY + first * MINUTE, self._largest_opened)

    def _drawn(self, random: Random, minutes: range) -> int:
        history = coins.history("BTC")
        totals = list(accumulate(history.of_day(minute).volume for minute in minutes))
        minute = random.choices(minutes, cum_weights=totals)[0]
        return bars.DAY + minute * MINUTE + random.randrange(MINUTE)

    def _at(self, time: int, action: Action) -> None:
        heappush(self._due, (time, next(self._numbers), action))

    def _later(self, pause: int, action: Action) -> None:
        self._at(self.clock.time + pause, action)

    # --- the day

    def hear(self, decision: Decision) -> None:
        """Take in a decision; what it asks of liquidators is answered in a later slot."""
        if isinstance(decision, CollateralLiquidation | CancelOrder):
            self.liquidators.hear(decision)
        elif isinstance(decision, SetOff | SupplyDrawn | WithdrawalUnpaid):
            self._desk.hear(decision)

    def play(self) -> Iterator[list[Record]]:
        """Yield the records of each slot, in order of time."""
        yield self._beginning()
        ticks = self.scene.ticks
        pause = MINUTE // ticks // len(self.coins)
        time = self.clock.time - self.clock.time % SECOND
        for minute in self.minutes:
            paths = {coin: coins.path(coin, minute, ticks) for coin in self.coins}
            for step in range(ticks):
                for coin in self.coins:
                    time += pause
                    self.clock.wait_until(time)
                    yield self._slot(coin, minute, paths[coin][step])

    def _beginning(self) -> list[Record]:
        """Put the rules in force, publish prices, bring in reserves, lenders, loans."""
        found: list[Record] = [
            (None, msgspec.structs.replace(event, time=self.clock.stamp()))
            for event in rules.events(self.rules, 0)
        ]
        for coin in (*self.coins, *PEGGED):
            found.append(self._ticker.publish(coin, "index", self.prices[coin]))
            self.liquidators.session(coin, self._conditions(coin, self.scene.start_minute))
        self.liquidators.session(QUOTE, self._conditions(QUOTE, self.scene.start_minute))
        for member in self.liquidators.members:
            opened = AccountOpened(role="market_maker", **self._accounts.stamped(member.account))
            found += self._kept([opened])
        for lender in self.lenders:
            amount = self._amount(lender.asset, lender.value)
            found += self._kept(self._desk.lent(lender.account, lender.asset, amount))
            if lender.leaves:
                self._lent[lender.account] = amount
        for borrower in self.borrowers:
            if borrower.at_once:
                found += self._kept(self._opened(borrower))
        return found + self._reserves()

    def _reserves(self) -> list[Record]:
        """Bring in what the reserve of each pool has kept of earlier interest."""
        found: list[Record] = []
        sequences: dict[int, int] = defaultdict(int)
        for (shard, pool), cash in list(self._desk.cash.items()):
            amount = (cash * RESERVE).quantize(Decimal(1))
            if amount:
                sequences[shard] += 1
                event = FundMoved(
                    shard=shard,
                    asset=pool,
                    amount=amount,
                    sequence=sequences[shard],
                    pool=pool,
                    time=self.clock.stamp(),
                )
                self._desk.note(event)
                found.append((None, event))
        return found

    def _slot(self, coin: str, minute: int, price: float) -> list[Record]:
        found: list[Record] = []
        for each in self._moved(coin, price):
            if each != QUOTE:
                found.append(self._ticker.publish(each, "index", self.prices[each]))
            found += self._kept(self.liquidators.session(each, self._conditions(each, minute)))
        while self._due and self._due[0][0] <= self.clock.time:
            _, _, action = heappop(self._due)
            found += self._kept(action())
        return found

    def _moved(self, coin: str, price: float) -> list[str]:
        """Move a coin, and what is pegged to it, and return all of it; stable coins come with
        BTC."""
        self.prices[coin] = coins.exact(price, self._decimals[coin])
        moved = [coin]
        for other, lead in LEADS.items():
            if lead == coin:
                self.prices[other] = self._pegged(other, PEGGED[other][0])
                moved.append(other)
        return [*moved, QUOTE] if coin == "BTC" else moved

    def _conditions(self, coin: str, minute: int) -> Conditions:
        """Return a coin's market as it is in a minute; that of the quote currency has no end."""
        if coin == QUOTE:
            return Conditions(self.prices[coin], float("inf"), self.clock.time)
        lead, share = DEPTH_OF.get(coin, (coin, 1.0))
        depth = DEPTH["thin"] * self.scene.scale * share * self._volumes[lead]
        return Conditions(self.prices[coin], depth * self._calm[lead][minute], self.clock.time)

    def _kept(self, events: Sequence[PositionEvent]) -> list[Record]:
        """Give events their shards, and take down what they move in pools."""
        for event in events:
            self._desk.note(event)
        return [(self._shards.of(event.account), event) for event in events]

    # --- what people do

    def _amount(self, asset: str, value: float) -> Decimal:
        return Decimal(round(value / float(self.prices[asset]) * 10**6)).scaleb(-6)

    def _opened(self, borrower: Borrower) -> list[PositionEvent]:
        """Open a loan at the prices of now."""
        supplied = {asset: self._amount(asset, value) for asset, value in borrower.supplied.items()}
        owed = {asset: self._amount(asset, value) for asset, value in borrower.owed.items()}
        if not borrower.loop:
            return self._desk.borrowed(borrower.account, supplied, owed)
        (pool, equity), (coin, debt) = *supplied.items(), *owed.items()
        rate = credit(self.prices[coin], RATE, self.prices[pool])
        most = self._terms(pool).loan_to_value
        return self._desk.looped(borrower.account, (pool, equity), (coin, debt), most, rate)

    def _terms(self, pool: str) -> Terms:
        terms = self._pools[pool].collateral
        if terms is None:
            raise ValueError(f"lending market: {pool} is no collateral")
        return terms

    def _left(self, lender: Lender) -> list[PositionEvent]:
        """Want back what was lent, the interest aside."""
        return self._withdrawals.leave(lender.account, lender.asset, self._lent[lender.account])

    def _claimed(self) -> list[PositionEvent]:
        """Ask pools for what they owe liquidators, where there is some cash again."""
        self._later(CLAIMS, self._claimed)
        found: list[PositionEvent] = []
        for member in self.liquidators.members:
            for pool, claim in member.claims.items():
                there = min(claim, credit(self._desk.there(member.account, pool), UNIT))
                if there > 0:
                    paid = partial(self.liquidators.redeemed, member, pool)
                    found += self._withdrawals.ask(member.account, pool, there, paid)
        return found

    def _largest_opened(self) -> list[PositionEvent]:
        """Open the largest loan: as at Venus, or less where the token is worth less by now."""
        scale = Decimal(self.scene.accounts) / WHOLE_MARKET
        supply = (LARGEST_SUPPLY * scale).quantize(Decimal(1))
        most = supply * self.prices[TOKEN] * self._terms(TOKEN).loan_to_value * LARGEST_SHARE
        wanted = sum(amount * self.prices[coin] for coin, amount in LARGEST_DEBTS.items()) * scale
        part = scale * min(Decimal(1), most / wanted)
        debts = {
            coin: (amount * part).quantize(Decimal("0.0001"))
            for coin, amount in LARGEST_DEBTS.items()
        }
        return self._desk.borrowed(LARGEST, {TOKEN: supply}, debts)
