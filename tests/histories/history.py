"""The course of a history: time, sequence numbers, and what happens next."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

from msgspec.structs import replace

from engine import events
from engine.decisions import AnyDecision
from engine.profile import DAY, RiskProfile
from tests.histories.borrowers import Borrowers
from tests.histories.control import Control
from tests.histories.customers import Customers
from tests.histories.liquidators import Liquidators
from tests.histories.listing import BEGIN, NAMELESS, Contract, listing, quantity, worth
from tests.histories.market import Market
from tests.histories.mistakes import Mistakes
from tests.histories.policies import policies
from tests.histories.venue import Venue
from tests.histories.waterfall_rules import draw_liquidation, draw_waterfall
from tests.twin import Twin

Make = Callable[[], events.AnyEvent]


class History:
    """One seeded history of about `length` events; iterate it once.

    Three of five lend: one of them does hardly anything else, in the other two accounts have
    positions and loans at once. Two of five liquidate under control, two of five have takers and
    payers; their rules are of a draw of their own, so that the others know nothing of them.
    """

    def __init__(self, seed: int, *, length: int = 160) -> None:
        self.seed, self.length = seed, length
        self.chance = Random(seed)
        self.lends = seed % 5 in (1, 2, 3)
        self.trades = seed % 5 != 1
        self.listing = listing(self.chance, lends=self.lends)
        self.rules_chance = Random(f"rules {seed}")
        self.controls = self.rules_chance.random() < 0.4
        self.shares = self.rules_chance.random() < 0.4
        self.length += 30 * (self.controls + self.shares)
        self.listing.profile = self.ruled(self.listing.profile)
        self.twin = Twin()
        self.now = BEGIN
        self.queue: deque[Make] = deque()
        self.answers: list[tuple[int, int, Make]] = []
        self.sequences: dict[str, int] = {}
        self.sent: list[events.AnyEvent] = []
        self.venue = Venue(self)
        self.market = Market(self)
        self.customers = Customers(self)
        self.borrowers = Borrowers(self)
        self.liquidators = Liquidators(self)
        self.control = Control(self)
        self.mistakes = Mistakes(self)

    def __iter__(self) -> Iterator[tuple[events.AnyEvent, list[AnyDecision]]]:
        self.control.open()
        self.market.open()
        self.customers.open()
        if self.lends:
            self.borrowers.open()
        while len(self.sent) < self.length:
            for event in self._disturbed(self._next()):
                decided = list(self.twin.apply(event))
                self.sent.append(event)
                self.venue.read(decided)
                yield event, decided

    @property
    def policies(self) -> set[str]:
        """What the rules in force by now are made of."""
        return set(policies(self.listing.profile, self.listing.contracts))

    def ruled(self, profile: RiskProfile) -> RiskProfile:
        """Add the rules of liquidation under control, and of who takes and pays, if drawn."""
        chance, contracts = self.rules_chance, self.listing.contracts
        names = [*contracts, *set(self.listing.underlying.values()), "*"]
        if self.controls and chance.random() < 0.9:
            rule = draw_liquidation(chance, profile.liquidation, sorted(names))
            profile = replace(profile, liquidation=rule)
        if self.shares and chance.random() < 0.9:
            settles = {name: contract.settle for name, contract in contracts.items()}
            rules = draw_waterfall(chance, list(contracts), settles)
            profile = replace(profile, waterfall=rules)
        rule = profile.liquidation
        if rule.toxic == "take_over" and not profile.waterfall.takers:
            profile = replace(profile, liquidation=replace(rule, toxic="full"))
        return profile

    def schedule(self, delay: int, make: Make) -> None:
        """Let something happen `delay` microseconds from now."""
        heapq.heappush(self.answers, (self.now + delay, len(self.sent) + len(self.answers), make))

    def _next(self) -> events.AnyEvent:
        self._let_time_pass()
        while not self.queue:
            if self.answers and self.answers[0][0] <= self.now:
                return heapq.heappop(self.answers)[2]()
            self._act()
        return self.queue.popleft()()

    def _let_time_pass(self) -> None:
        step = self.chance.random()
        if step < 0.88:
            self.now += int(self.chance.expovariate(1 / 40_000))
        elif step < 0.98:
            self.now += self.chance.randrange(300_000, 2_000_000)
        elif step < (0.985 if self.lends else 0.998):
            self.now += self.chance.randrange(2_000_000, 12_000_000)
        elif step < (0.99 if self.lends else 0.9996):
            self.now += self.chance.randrange(60_000_000, 1_800_000_000)
        else:
            self.now += self.chance.randrange(DAY, 3 * DAY)

    def _act(self) -> None:
        actors: list[tuple[float, Callable[[], None]]] = [
            (0.38, self.market.act),
            (0.45 if self.trades else 0.12, self.customers.act),
            (0.1, self.control.act),
            (0.08, self.mistakes.act),
        ]
        if self.lends:
            actors += [
                (0.35 if self.trades else 0.6, self.borrowers.act),
                (0.04, self.liquidators.act),
                (0.08, self.control.act_on_pools),
                (0.03 if self.trades else 0.12, self.market.crash),
                (0.08, self.mistakes.act_on_loans),
            ]
        if self.controls:
            actors += [(0.05, self.market.misprint), (0.1, self.customers.nudge)]
            if self.listing.profile.liquidation.netting:
                actors.append((0.08, self.customers.hedge))
        if self.shares:
            actors += [(0.16, self.customers.pair), (0.1, self.control.act_on_losses)]
        weights, acts = zip(*actors, strict=True)
        self.chance.choices(acts, weights)[0]()

    def _disturbed(self, event: events.AnyEvent) -> list[events.AnyEvent]:
        """Sometimes send an event twice, or after the next one."""
        disturbance = self.chance.random()
        if disturbance < 0.012 and len(self.sent) > 40:
            return [event, self.chance.choice(self._numbered())]
        if disturbance < 0.024 and len(self.sent) > 40:
            return [self._next(), event]
        return [event]

    def _numbered(self) -> list[events.AnyEvent]:
        return [event for event in self.sent if hasattr(event, "sequence")]

    # --- making events

    def number(self, series: str) -> int:
        """Return the next number of a series, now and then leaving some out."""
        skipped = self.chance.randint(1, 3) if self.chance.random() < 0.02 else 0
        self.sequences[series] = self.sequences.get(series, self.chance.randrange(5)) + 1 + skipped
        return self.sequences[series]

    def time(self) -> int:
        """Return the time of an event: now, or a little before."""
        late = self.chance.randrange(800_000) if self.chance.random() < 0.05 else 0
        return self.now - late

    def of(self, account: str, kind: type[Any], **fields: Any) -> events.AnyEvent:
        """Make an event of an account, with its next number."""
        event: events.AnyEvent = kind(
            account=account, sequence=self.number(account), time=self.time(), **fields
        )
        return event

    def fill(
        self,
        account: str,
        margin: str,
        contract: Contract,
        size: Decimal,
        price: Decimal,
        *,
        order_id: str = "",
    ) -> events.AnyEvent:
        """Make a fill with a fee that is the taker's, a rebate or something else."""
        asset = contract.settle
        rate = float(contract.taker_fee) * self.chance.choice((1, 1, 1, -0.2, 1.5))
        fee = worth(contract, abs(float(size)), float(price)) * rate
        if self.chance.random() < 0.03:
            asset = self.chance.choice([name for name in self.listing.assets if name != NAMELESS])
            fee = 0.01
        return self.of(
            account,
            events.Fill,
            symbol=contract.name,
            margin=margin,
            size=size,
            price=price,
            fee=quantity(fee, self.listing.assets[asset].decimals),
            fee_asset=asset,
            fill_id=f"fill-{len(self.sent)}",
            order_id=order_id,
        )
