"""How liquidators answer: fully, partly, late, too much, with a claim, unasked, or never; and how
auctions find takers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from engine import decisions, events
from engine.auction import price_at
from tests.histories.borrowers import KEEPER, LENDER
from tests.twin.amounts import ceil, decimal, floor
from tests.twin.auctions import live_auctions
from tests.twin.books import Auction, Group, World
from tests.twin.pools import LoanHealth, loans_of, pool_names, rules, unit_of

if TYPE_CHECKING:
    from tests.histories.history import History

Make = Callable[[], events.AnyEvent]


class Pair(NamedTuple):
    """A debt and a collateral of one group, by their pools."""

    margin: str
    pool: str
    collateral: str


class Liquidators:
    """Those who repay for collateral, and who take at auctions."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance

    @property
    def world(self) -> World:
        """What the twin knows."""
        return self.history.twin.world

    def read(self, decision: decisions.AnyDecision) -> None:
        """Plan an answer to a decision."""
        match decision:
            case decisions.CollateralLiquidation():
                self._answer(decision)
            case decisions.AuctionStarted():
                for _ in range(self.chance.choice((0, 1, 2, 3))):
                    self._later(self._take(decision.account, decision.auction_id))
            case decisions.AuctionReset():
                if self.chance.random() < 0.5:
                    self._later(self._take(decision.account, decision.auction_id))

    def act(self) -> None:
        """Repay somebody's debt for collateral though nobody asked, or take at an auction."""
        live = live_auctions(self.world)
        if live and self.chance.random() < 0.7:
            group, auction = self.chance.choice(live)
            self.history.queue.append(self._take(group.account, auction.id))
        elif self.world.policy is not None and pool_names(self.world):
            self.history.queue.append(self._unasked)

    def _later(self, make: Make, *, slow: bool = False) -> None:
        delay = self.chance.uniform(4e6, 15e6) if slow else self.chance.expovariate(1 / 500_000)
        self.history.schedule(int(delay), make)

    # --- seizures

    def _answer(self, asked: decisions.CollateralLiquidation) -> None:
        plans = ("full", "parts", "never", "late", "excess", "beyond")
        plan = self.chance.choices(plans, (0.4, 0.2, 0.1, 0.08, 0.1, 0.12))[0]
        if plan == "full":
            self._later(self._seized(asked, 1.0))
            if self.chance.random() < 0.3:
                self._later(self.history.venue.closed(asked.account, asked.order_id))
        elif plan == "parts":
            for _ in range(self.chance.randint(1, 2)):
                self._later(self._seized(asked, self.chance.uniform(0.1, 0.9)))
            if self.chance.random() < 0.5:
                self._later(self.history.venue.closed(asked.account, asked.order_id))
        elif plan == "late":
            self._later(self._seized(asked, 1.0), slow=True)
        elif plan == "excess":
            self._later(self._seized(asked, self.chance.uniform(1.05, 2.0)))
        elif plan == "beyond":
            self._later(self._seized(asked, 1.0, more=self.chance.choice((0.0001, 0.03, 0.3))))

    def _seized(
        self, asked: decisions.CollateralLiquidation, part: float, *, more: float = 0.0
    ) -> Make:
        def make() -> events.AnyEvent:
            share = Fraction(part)
            repaid = floor(Fraction(asked.repay) * share, self._unit(asked.pool))
            unit = self._unit(asked.collateral)
            seized = floor(Fraction(asked.seize) * share * (1 + Fraction(more)), unit)
            seized += self.chance.choice((0, 0, 0, 1)) * unit
            fee = min(seized, ceil(Fraction(asked.fee) * share, unit))
            claims = asked.paid_in == "supply" or self.chance.random() < 0.25
            if self.chance.random() < 0.1:
                claims = not claims
            taker = self.chance.choice((KEEPER, KEEPER, LENDER)) if claims else ""
            self.history.venue.filled[asked.order_id] += decimal(repaid)
            return self._event(
                asked, asked.account, repaid, seized, fee=fee, taker=taker, order_id=asked.order_id
            )

        return make

    def _event(
        self,
        about: decisions.CollateralLiquidation | Pair,
        account: str,
        repaid: Fraction,
        seized: Fraction,
        *,
        fee: Fraction,
        taker: str,
        order_id: str,
    ) -> events.AnyEvent:
        return self.history.of(
            account,
            events.Seized,
            margin=about.margin,
            pool=about.pool,
            repaid=decimal(repaid),
            collateral=about.collateral,
            seized=decimal(seized),
            fee=decimal(fee),
            liquidator=taker,
            order_id=order_id,
        )

    def _unit(self, pool: str) -> Fraction:
        return unit_of(self.world, pool)

    def _unasked(self) -> events.AnyEvent:
        """Seize what nobody asked for, of a group with a loan if there is one."""
        pairs = [
            (group, Pair(group.margin, debt.pool, collateral.pool), debt.owed, collateral.supplied)
            for group in self.world.groups()
            for debt in self._loans(group)
            for collateral in self._loans(group)
            if debt.owed > 0 and collateral.supplied > 0
        ]
        if not pairs:
            return self.history.customers.pay_in()
        group, pair, owed, supplied = self.chance.choice(pairs)
        share = Fraction(self.chance.choice((0.05, 0.4, 1.0, 1.2)))
        seized = floor(supplied * share, self._unit(pair.collateral))
        taker = self.chance.choice(("", "", KEEPER))
        return self._event(
            pair,
            group.account,
            floor(owed * share, self._unit(pair.pool)),
            seized,
            fee=floor(seized / 100, self._unit(pair.collateral)),
            taker=taker,
            order_id="",
        )

    def _loans(self, group: Group) -> list[LoanHealth]:
        return loans_of(self.world, group, "maintenance") or []

    # --- auctions

    def _take(self, account: str, auction_id: str) -> Make:
        def make() -> events.AnyEvent:
            for group, auction in live_auctions(self.world):
                if auction.id == auction_id:
                    return self._taken(group, auction)
            return self.history.of(
                account,
                events.AuctionTaken,
                margin="cross",
                auction_id=auction_id,
                amount=Decimal(1),
                paid=Decimal(1),
            )

        return make

    def _taken(self, group: Group, auction: Auction) -> events.AnyEvent:
        """Take part of a lot, all of it, or what is worth the debt; some pay too little."""
        rule = rules(self.world).auction
        assert rule is not None
        elapsed = max(0, self.history.now - auction.started)
        price = Fraction(price_at(rule.decay, decimal(auction.start_price), elapsed))
        unit, money = self._unit(auction.collateral), self._unit(auction.pool)
        amount = auction.lot
        if self.chance.random() < 0.5:
            amount = floor(amount * Fraction(self.chance.uniform(0.1, 0.9)), unit)
        if amount * price > auction.debt:
            amount = floor(auction.debt / price, unit)
        amount = max(min(amount, auction.lot), unit)
        paid = min(ceil(amount * price, money), auction.debt)
        if self.chance.random() < 0.15:
            paid = floor(paid * Fraction(9, 10), money)
        if self.chance.random() < 0.1:
            paid = auction.debt
        return self.history.of(
            group.account,
            events.AuctionTaken,
            margin=group.margin,
            auction_id=auction.id,
            amount=decimal(amount),
            paid=decimal(paid),
        )
