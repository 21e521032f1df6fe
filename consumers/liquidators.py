"""The liquidators of the demo's lending market: they repay where it pays, as far as capital goes.

What is seized is sold at once where its coin trades, at the displaced price and half its own
impact, and what is repaid is bought likewise. So a seizure is taken down to the price at which it
still earns enough, in part where the book gives no more, and left until it pays where it does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from consumers.coins import QUOTE
from consumers.feed import Accounts
from engine.decisions import CancelOrder, CollateralLiquidation
from engine.events import OrderClosed, PositionEvent, Seized
from engine.instruments import Asset
from engine.money import ONE, ZERO, ceil_to, exact, floor_to, unit_of
from engine.venue import Conditions, SimulatedMarket, Working

GAIN = Decimal("0.005")
"""The least that a liquidator earns, as a part of what is repaid."""
COST = Decimal(10)
"""What a take costs besides, USDT."""
TURNAROUND = 300_000_000
"""Microseconds until capital that was put into a take is back."""
CLAIM_DISCOUNT = Decimal("0.03")
"""What a claim on a pool without cash is worth less than the coin."""
BUY_LIMIT = Decimal("1.5")
"""A coin that is owed is bought at any price; no order here reaches this multiple of the mark."""


@dataclass(slots=True)
class Member:
    """A liquidator: its capital in USDT, parts of it tied until a time, and what pools owe it."""

    account: str
    shard: int
    capital: Decimal
    tied: deque[tuple[int, Decimal]] = field(default_factory=deque)
    claims: dict[str, Decimal] = field(default_factory=dict)
    in_claims: dict[str, Decimal] = field(default_factory=dict)

    def free(self, now: int) -> Decimal:
        """Return the capital that is at hand."""
        while self.tied and self.tied[0][0] <= now:
            self.tied.popleft()
        tied = sum((amount for _, amount in self.tied), ZERO)
        return self.capital - tied - sum(self.in_claims.values(), ZERO)


@dataclass(slots=True)
class Offer:
    """A seizure that the engine offers, and what was taken of it; `fee` stays with the pool."""

    request: CollateralLiquidation
    repaid: Decimal = ZERO
    seized: Decimal = ZERO
    fee: Decimal = ZERO

    @property
    def left(self) -> Decimal:
        """What may still be repaid."""
        return self.request.repay - self.repaid

    @property
    def out(self) -> Decimal:
        """What the liquidator still gets for all of that."""
        return (self.request.seize - self.seized) - (self.request.fee - self.fee)


class Liquidators:
    """All liquidators, the markets in which they trade, and the offers that nobody took yet."""

    def __init__(
        self,
        members: Sequence[Member],
        assets: Sequence[Asset],
        accounts: Accounts,
    ) -> None:
        self.members = members
        self.gained = ZERO
        self._assets = {asset.name: asset for asset in assets}
        self._accounts = accounts
        self._markets = {asset.name: SimulatedMarket(asset.price_decimals) for asset in assets}
        self._conditions: dict[str, Conditions] = {}
        # By the coin that is seized, then by order id.
        self._offers: dict[str, dict[str, Offer]] = {asset.name: {} for asset in assets}
        self._coins: dict[str, str] = {}
        self._cancelled: dict[str, list[str]] = {asset.name: [] for asset in assets}

    # --- what is asked

    def hear(self, decision: CollateralLiquidation | CancelOrder) -> None:
        """Take in an offer, or that one is no more."""
        if isinstance(decision, CollateralLiquidation):
            coin = decision.collateral
            self._coins[decision.order_id] = coin
            self._offers[coin][decision.order_id] = Offer(decision)
        elif decision.order_id in self._coins:
            self._cancelled[self._coins[decision.order_id]].append(decision.order_id)

    def session(self, coin: str, now: Conditions) -> list[PositionEvent]:
        """Answer what was cancelled, then take what pays, the best offers first."""
        self._conditions[coin] = now
        found: list[PositionEvent] = []
        for order_id in self._cancelled[coin]:
            offer = self._offers[coin].pop(order_id, None)
            if offer is not None:
                found.append(self._closed(offer))
        self._cancelled[coin].clear()
        for offer in sorted(self._offers[coin].values(), key=self._dearness):
            taken = self._take(offer, coin, now)
            if taken is not None:
                found.append(taken)
                if not offer.left:
                    del self._offers[coin][offer.request.order_id]
        return found

    def _closed(self, offer: Offer) -> OrderClosed:
        return OrderClosed(
            order_id=offer.request.order_id,
            filled_size=offer.repaid,
            reason="cancelled",
            **self._accounts.stamped(offer.request.account),
        )

    def _dearness(self, offer: Offer) -> float:
        """Return what a coin costs by this offer, about; of equals the first comes first."""
        debt = self._conditions.get(offer.request.pool)
        price = float(debt.mark) if debt is not None else 1.0
        return float(offer.left) * price / float(offer.out) if offer.out else float("inf")

    # --- takes

    @exact
    def _take(self, offer: Offer, coin: str, now: Conditions) -> Seized | None:
        """Take as much of an offer as pays, and as one liquidator's capital allows."""
        if not offer.out:
            return None
        member, free = self._richest(offer.request.shard, now.time)
        ask = self._ask(offer, now.time)
        owed = self._assets[offer.request.pool]
        repay = min(offer.left, floor_to(free, owed.unit, ask))
        size = floor_to(offer.out * repay, self._assets[coin].unit, offer.left)
        if size <= 0:
            return None
        limit = ceil_to(
            offer.left * ask * (ONE + GAIN), unit_of(self._assets[coin].price_decimals), offer.out
        )
        in_supply = offer.request.paid_in == "supply"
        got = self._claimed(size, now) if in_supply else self._sold(offer, coin, -size, limit, now)
        if got is None:
            return None
        sold, proceeds = got
        repaid = min(offer.left, ceil_to(offer.left * sold, owed.unit, offer.out))
        cost = repaid * ask
        if proceeds < cost * (ONE + GAIN) + COST:
            return None
        self._trade(offer, coin, sold, limit, repaid, now)
        self._pay(member, offer, cost, now.time)
        self.gained += proceeds - cost - COST
        return self._seized(offer, repaid, member.account if in_supply else "")

    def _richest(self, shard: int, now: int) -> tuple[Member, Decimal]:
        there = [(member.free(now), member) for member in self.members if member.shard == shard]
        free, member = max(there, key=lambda pair: pair[0])
        return member, free

    def _ask(self, offer: Offer, now: int) -> Decimal:
        """Return what a coin that is owed costs, if all that may be repaid is bought."""
        coin = offer.request.pool
        if coin == QUOTE:
            return ONE
        there = self._conditions[coin]._replace(time=now)
        order = Working("", offer.left, there.mark * BUY_LIMIT, self._assets[coin].unit)
        trade = self._markets[coin].quote(order, there)
        return there.mark * BUY_LIMIT if trade is None else trade.price

    def _sold(
        self, offer: Offer, coin: str, size: Decimal, limit: Decimal, now: Conditions
    ) -> tuple[Decimal, Decimal] | None:
        """Return how much of what is seized sells down to a limit, and for what."""
        order = Working(offer.request.order_id, size, limit, self._assets[coin].unit)
        trade = self._markets[coin].quote(order, now)
        return None if trade is None else (-trade.size, -trade.size * trade.price)

    @staticmethod
    def _claimed(size: Decimal, now: Conditions) -> tuple[Decimal, Decimal]:
        return size, size * now.mark * (ONE - CLAIM_DISCOUNT)

    def _trade(
        self,
        offer: Offer,
        coin: str,
        sold: Decimal,
        limit: Decimal,
        repaid: Decimal,
        now: Conditions,
    ) -> None:
        """Push the markets by what a take sells and buys; a claim is sold when it is redeemed."""
        order_id = offer.request.order_id
        if offer.request.paid_in == "cash":
            market = self._markets[coin]
            market.submit(Working(order_id, -sold, limit, self._assets[coin].unit), now)
            market.cancel(order_id)
        debt = offer.request.pool
        if debt != QUOTE:
            there = self._conditions[debt]._replace(time=now.time)
            limit = there.mark * BUY_LIMIT
            self._markets[debt].submit(
                Working(order_id, repaid, limit, self._assets[debt].unit), there
            )
            self._markets[debt].cancel(order_id)

    def _pay(self, member: Member, offer: Offer, cost: Decimal, now: int) -> None:
        if offer.request.paid_in == "supply":
            pool = offer.request.collateral
            member.in_claims[pool] = member.in_claims.get(pool, ZERO) + cost
        else:
            member.tied.append((now + TURNAROUND, cost))

    def _seized(self, offer: Offer, repaid: Decimal, liquidator: str) -> Seized:
        """Book a take on its offer; parts of a seizure are cut so that no part brings too much."""
        request = offer.request
        unit = self._assets[request.collateral].unit
        offer.repaid += repaid
        seized = floor_to(request.seize * offer.repaid, unit, request.repay) - offer.seized
        fee = floor_to(request.fee * offer.repaid, unit, request.repay) - offer.fee
        offer.seized += seized
        offer.fee += fee
        if liquidator:
            member = next(one for one in self.members if one.account == liquidator)
            claims = member.claims
            # Two units less: what a claim has grown to is rounded down, twice.
            claims[request.collateral] = (
                claims.get(request.collateral, ZERO) + seized - fee - 2 * unit
            )
        return Seized(
            margin=request.margin,
            pool=request.pool,
            repaid=repaid,
            collateral=request.collateral,
            seized=seized,
            fee=fee,
            liquidator=liquidator,
            order_id=request.order_id,
            **self._accounts.stamped(request.account),
        )

    # --- claims

    @exact
    def redeemed(self, member: Member, pool: str, amount: Decimal) -> None:
        """Sell what a pool paid of a claim; the capital in it is free again, in proportion."""
        claim = member.claims[pool]
        left = floor_to(member.in_claims[pool] * (claim - amount), self._assets[QUOTE].unit, claim)
        member.claims[pool] = claim - amount
        member.in_claims[pool] = left
        now = self._conditions[pool]
        if pool != QUOTE:
            order = Working(
                f"claim:{member.account}", -amount, now.mark / 2, self._assets[pool].unit
            )
            self._markets[pool].submit(order, now)
            self._markets[pool].cancel(order.order_id)
