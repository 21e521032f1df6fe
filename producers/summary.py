"""What a run did, folded from its events and decisions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.core import Engine
from engine.decisions import (
    AuctionStarted,
    BadDebt,
    CollateralLiquidation,
    Decision,
    Deleverage,
    Duplicate,
    FundDraw,
    Gap,
    Ignored,
    LiquidationOrder,
    LiquidationStarted,
    LossShared,
    LossSocialised,
    Refused,
    ReserveDraw,
    Shortfall,
    TakeOver,
)
from engine.events import AuctionTaken, Event, Fill, Seized
from engine.money import exact, plain

OUTCOMES = ("applied", "gap", "ignored", "duplicate", "refused")
_TOLD_BY: dict[type[Decision], str] = {
    Refused: "refused",
    Duplicate: "duplicate",
    Ignored: "ignored",
    Gap: "gap",
}


def outcome(decisions: Sequence[Decision]) -> str:
    """Say what became of the event that caused `decisions`; "gap" was applied all the same."""
    if not decisions:
        return "applied"
    told = [_TOLD_BY[type(decision)] for decision in decisions if type(decision) in _TOLD_BY]
    return max(told, key=OUTCOMES.index, default="applied")


@dataclass
class Market:
    """What happened in one market, or pool; amounts in the asset that stands beside it.

    `groups` are the liquidations, as (account, margin, number), that sent an order into the market.
    `notional` is what orders of the engine filled, of a pool what was repaid to it.
    """

    groups: set[tuple[str, str, int]] = field(default_factory=set)
    orders: int = 0
    fills: int = 0
    notional: Decimal = Decimal(0)
    shortfall: Decimal = Decimal(0)
    paid_by_fund: Decimal = Decimal(0)
    paid_by_reserve: Decimal = Decimal(0)
    socialised: Decimal = Decimal(0)
    bad_debt: Decimal = Decimal(0)


class Summary:
    """Counts and sums of a run over any number of shards.

    `markets` is keyed by (market, asset), the asset being the one that settles or is owed.
    """

    def __init__(self) -> None:
        self.events: Counter[tuple[str, str]] = Counter()
        self.decisions: Counter[str] = Counter()
        self.markets: defaultdict[tuple[str, str], Market] = defaultdict(Market)
        self.liquidations = 0
        self.liquidated: set[str] = set()
        self.unreadable = 0
        self.first_time: int | None = None
        self.last_time: int | None = None

    def fold(self, engine: Engine, event: Event, decisions: Sequence[Decision]) -> None:
        """Add one event that `engine` was given, and all that it decided because of it."""
        result = outcome(decisions)
        self.events[type(event).__name__, result] += 1
        if result in ("applied", "gap"):
            self._clock(engine.time)
            if isinstance(event, Fill) and event.order_id:
                self._forced_fill(engine, event)
            elif isinstance(event, Seized) and event.order_id:
                self._repaid(engine, event.pool, event.repaid)
            elif isinstance(event, AuctionTaken):
                # account:number:attempt:pool
                self._repaid(engine, event.auction_id.split(":", 3)[3], event.paid)
        for decision in decisions:
            self._decision(engine, decision)

    def _clock(self, time: int) -> None:
        if self.first_time is None:
            self.first_time = time
        self.last_time = max(time, self.last_time or time)

    @exact
    def _forced_fill(self, engine: Engine, fill: Fill) -> None:
        instrument = engine.rules.derivatives[fill.symbol]
        unit = engine.rules.assets[instrument.settle].unit
        market = self.markets[fill.symbol, instrument.settle]
        market.fills += 1
        market.notional += abs(instrument.value(fill.size, fill.price, unit))

    @exact
    def _repaid(self, engine: Engine, pool: str, amount: Decimal) -> None:
        market = self.markets[pool, engine.rules.pool(pool).asset]
        market.fills += 1
        market.notional += amount

    @exact
    def _decision(self, engine: Engine, decision: Decision) -> None:
        self.decisions[type(decision).__name__] += 1
        match decision:
            case LiquidationStarted():
                self.liquidations += 1
                self.liquidated.add(decision.account)
            case LiquidationOrder() | TakeOver() | Deleverage():
                settle = engine.rules.derivatives[decision.symbol].settle
                market = self.markets[decision.symbol, settle]
                market.orders += 1
                market.groups.add((decision.account, decision.margin, decision.number))
            case CollateralLiquidation() | AuctionStarted():
                market = self.markets[decision.pool, engine.rules.pool(decision.pool).asset]
                market.orders += 1
                market.groups.add((decision.account, decision.margin, decision.number))
            case Shortfall():
                self.markets[decision.market, decision.asset].shortfall += decision.amount
            case FundDraw():
                self.markets[decision.market, decision.asset].paid_by_fund += decision.amount
            case ReserveDraw():
                self.markets[decision.market, decision.asset].paid_by_reserve += decision.amount
            case LossSocialised() | LossShared():
                self.markets[decision.market, decision.asset].socialised += decision.amount
            case BadDebt():
                self.markets[decision.market, decision.asset].bad_debt += decision.amount

    def as_data(self) -> dict[str, Any]:
        """Return everything as plain data, amounts as decimal strings, in a fixed order."""
        events: dict[str, dict[str, int]] = {}
        for (kind, result), count in sorted(self.events.items()):
            events.setdefault(kind, {})[result] = count
        return {
            "first_time": self.first_time,
            "last_time": self.last_time,
            "events": events,
            "unreadable": self.unreadable,
            "decisions": dict(sorted(self.decisions.items())),
            "liquidations": self.liquidations,
            "accounts_liquidated": len(self.liquidated),
            "markets": [
                {
                    "market": name,
                    "asset": asset,
                    "liquidations": len(market.groups),
                    "orders": market.orders,
                    "fills": market.fills,
                    "notional": plain(market.notional),
                    "shortfall": plain(market.shortfall),
                    "paid_by_fund": plain(market.paid_by_fund),
                    "paid_by_reserve": plain(market.paid_by_reserve),
                    "socialised": plain(market.socialised),
                    "bad_debt": plain(market.bad_debt),
                }
                for (name, asset), market in sorted(self.markets.items())
            ],
        }
