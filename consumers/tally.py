"""What a run of the demo comes to: a fold over its events and decisions, and what is expected.

Everything is counted from what went in and came out, so an embedded run and a daemon's are told
alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Set
from decimal import Decimal
from typing import NamedTuple

import msgspec

from consumers.crashes import CRASHES, MAY_2021
from consumers.market import Scene
from engine.decisions import (
    Anomaly,
    BadDebt,
    CancelOrder,
    Decision,
    Deleverage,
    FeeCharged,
    FundDraw,
    LiquidationOrder,
    LiquidationStarted,
    LossShared,
    MarginCall,
    PositionPaid,
    Shortfall,
    TakeOver,
)
from engine.events import AnyEvent, Fill, FundMoved
from engine.money import ZERO

HOUR = 3_600_000_000


class MarketRow(msgspec.Struct, frozen=True):
    """What happened in one market; amounts in `asset`."""

    market: str
    asset: str
    accounts: int
    notional: Decimal
    shortfall: Decimal
    paid_by_fund: Decimal
    socialised: Decimal
    bad_debt: Decimal


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to; amounts in USDT, shares as fractions.

    `taken_over` and `deleveraged` count transfers; what counterparties had less by the latter is
    `forgone`. `fund_losses` is what the fund gave for positions that it took beyond the mark.
    """

    day: str
    book: str
    profile: str | None
    seed: int
    accounts: int
    events: int
    seconds: float
    accounts_liquidated: int
    accounts_liquidated_share: float
    long_share: float
    liquidations: int
    margin_calls: int
    orders: int
    fills: int
    partial_fills: int
    expired_orders: int
    anomalies: int
    notional: Decimal
    fall_share: float
    shortfalls: int
    shortfall: Decimal
    shortfall_share: float
    fees_to_fund: Decimal
    paid_by_fund: Decimal
    fund_losses: Decimal
    fund: Decimal
    fund_lowest: Decimal
    taken_over: int
    deleveraged: int
    forgone: Decimal
    socialised: Decimal
    bad_debt: Decimal
    markets: tuple[MarketRow, ...]
    digest: str | None = None


class Finding(NamedTuple):
    """One figure of a run beside the band that is expected; `inside` is none without one."""

    name: str
    value: str
    band: str
    inside: bool | None


class Tally:
    """The running count of one day; `longs` are the accounts that bet on rising prices."""

    def __init__(self, longs: Set[str]) -> None:
        self.events = 0
        self.count: Counter[str] = Counter()
        self.notional = ZERO
        self.shortfall = ZERO
        self.fees_to_fund = ZERO
        self.paid_by_fund = ZERO
        self.fund_losses = ZERO
        self.forgone = ZERO
        self.socialised = ZERO
        self.bad_debt = ZERO
        self.fund = ZERO
        self.fund_lowest: Decimal | None = None
        self.notional_by_hour: dict[int, Decimal] = defaultdict(Decimal)
        self._longs = longs
        self._breached: set[str] = set()
        self._touched: dict[str, set[str]] = defaultdict(set)
        self._notional: dict[str, Decimal] = defaultdict(Decimal)
        self._losses: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [ZERO] * 4)
        self._funds: dict[int, Decimal] = defaultdict(Decimal)
        self._left: dict[str, Decimal] = {}

    def event(self, event: AnyEvent) -> None:
        """Count an event."""
        self.events += 1
        if isinstance(event, Fill):
            if event.order_id:
                self._forced(event)
        elif isinstance(event, FundMoved):
            self._fund(event.shard, event.amount)

    def decision(self, decision: Decision) -> None:
        """Count a decision."""
        self.count[type(decision).__name__] += 1
        if isinstance(decision, LiquidationOrder | TakeOver | Deleverage):
            self._ordered(decision)
        elif isinstance(decision, LiquidationStarted):
            if decision.reason == "breach":
                self._breached.add(decision.account)
        elif isinstance(decision, CancelOrder):
            self.count["expired"] += decision.reason == "expired"
        elif isinstance(decision, FeeCharged):
            kept = decision.amount - decision.venue - decision.liquidator
            self.fees_to_fund += kept
            self._fund(decision.shard, kept)
        elif isinstance(decision, PositionPaid):
            self.fund_losses += decision.amount
            self._fund(decision.shard, -decision.amount)
        elif isinstance(decision, Shortfall | FundDraw | LossShared | BadDebt):
            self._loss(decision)

    @property
    def accounts_liquidated(self) -> int:
        """How many accounts came below maintenance at least once."""
        return len(self._breached)

    @property
    def long_share(self) -> float:
        """The part of them that bet on rising prices."""
        breached = len(self._breached)
        return len(self._breached & self._longs) / breached if breached else 0.0

    def summary(self, scene: Scene, seconds: float, digest: str | None) -> Summary:
        """Return what the day came to; `seconds` of wall time."""
        crash = scene.crash
        hours = range(crash.fall.first, crash.fall.end)
        fall = sum((self.notional_by_hour[crash.begin // HOUR + hour] for hour in hours), ZERO)
        return Summary(
            day=scene.day,
            book=scene.book,
            profile=scene.profile,
            seed=scene.seed,
            accounts=scene.accounts,
            events=self.events,
            seconds=round(seconds, 1),
            accounts_liquidated=self.accounts_liquidated,
            accounts_liquidated_share=self.accounts_liquidated / scene.accounts,
            long_share=self.long_share,
            liquidations=self.count[LiquidationStarted.__name__],
            margin_calls=self.count[MarginCall.__name__],
            orders=self.count[LiquidationOrder.__name__],
            fills=self.count["forced"],
            partial_fills=self.count["partial"],
            expired_orders=self.count["expired"],
            anomalies=self.count[Anomaly.__name__],
            notional=self.notional,
            fall_share=_ratio(fall, self.notional),
            shortfalls=self.count[Shortfall.__name__],
            shortfall=self.shortfall,
            shortfall_share=_ratio(self.shortfall, self.notional),
            fees_to_fund=self.fees_to_fund,
            paid_by_fund=self.paid_by_fund,
            fund_losses=self.fund_losses,
            fund=self.fund,
            fund_lowest=self.fund_lowest or ZERO,
            taken_over=self.count[TakeOver.__name__],
            deleveraged=self.count[Deleverage.__name__],
            forgone=self.forgone,
            socialised=self.socialised,
            bad_debt=self.bad_debt,
            markets=self._rows(),
            digest=digest,
        )

    def _rows(self) -> tuple[MarketRow, ...]:
        assets = defaultdict(set)
        for asset, market in self._losses:
            assets[market].add(asset)
        rows = [
            MarketRow(
                market,
                asset,
                len(self._touched[market]),
                self._notional[market],
                *self._losses[asset, market],
            )
            for market in sorted(self._notional.keys() | assets.keys())
            for asset in sorted(assets[market] or {"USDT"})
        ]
        return tuple(sorted(rows, key=lambda row: (-row.notional, row.market, row.asset)))

    def _ordered(self, order: LiquidationOrder | TakeOver | Deleverage) -> None:
        self._left[order.order_id] = order.size
        if isinstance(order, Deleverage):
            self.forgone += order.forgone

    def _forced(self, fill: Fill) -> None:
        size = abs(fill.size)
        notional = size * fill.price
        self.count["forced"] += 1
        self.notional += notional
        self.notional_by_hour[fill.time // HOUR] += notional
        self._notional[fill.symbol] += notional
        self._touched[fill.symbol].add(fill.account)
        left = self._left.get(fill.order_id, ZERO) - size
        self._left[fill.order_id] = left
        self.count["partial"] += left > 0

    def _loss(self, decision: Shortfall | FundDraw | LossShared | BadDebt) -> None:
        columns = self._losses[decision.asset, decision.market]
        if isinstance(decision, Shortfall):
            columns[0] += decision.amount
            self.shortfall += decision.amount
        elif isinstance(decision, FundDraw):
            columns[1] += decision.amount
            self.paid_by_fund += decision.amount
            self._fund(decision.shard, -decision.amount)
        elif isinstance(decision, LossShared):
            columns[2] += decision.amount
            self.socialised += decision.amount
            self._fund(decision.shard, decision.excess)
        else:
            columns[3] += decision.amount
            self.bad_debt += decision.amount

    def _fund(self, shard: int, amount: Decimal) -> None:
        self._funds[shard] += amount
        self.fund += amount
        if amount < 0:
            lowest = self.fund if self.fund_lowest is None else self.fund_lowest
            self.fund_lowest = min(lowest, self.fund)


def findings(summary: Summary) -> list[Finding]:
    """Set the figures of a full day beside the band of docs/demo.md; only the thin book has one,
    and only 19 May 2021."""
    crash = CRASHES[summary.day]
    thin = summary.book == "thin" and crash is MAY_2021
    shares = (
        ("accounts liquidated", summary.accounts_liquidated_share, 0.25, 0.40),
        ("of them long", summary.long_share, 0.75, 0.90),
        (f"liquidated notional, {crash.fall.told}", summary.fall_share, 0.40, 0.55),
    )
    found = [
        Finding(name, f"{value:.1%}", f"{low:.0%} – {high:.0%}", low <= value <= high)
        if thin
        else Finding(name, f"{value:.1%}", "", None)
        for name, value, low, high in shares
    ]
    share = summary.shortfall_share
    bad_debt = f"{summary.bad_debt:,.0f} USDT"
    if thin:
        inside = 0.002 <= share <= 0.008
        found.append(Finding("shortfall ÷ notional", f"{share:.2%}", "0.20% – 0.80%", inside))
        found.append(Finding("bad debt", bad_debt, "above 0", summary.bad_debt > 0))
    else:
        found.append(Finding("shortfall ÷ notional", f"{share:.2%}", "", None))
        known = crash is MAY_2021
        good = not summary.bad_debt if known else None
        found.append(Finding("bad debt", bad_debt, "0" if known else "", good))
    return found


def _ratio(part: Decimal, whole: Decimal) -> float:
    return float(part / whole) if whole else 0.0
