"""What a day of the lending market comes to: a fold over its events and decisions.

What only an engine can say comes from an `Observer`; of a day that was played into a daemon it is
not known here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal

import msgspec

from consumers.coins import QUOTE
from consumers.lending_market import LARGEST, LendingScene
from consumers.lending_observer import Observer, Unrealised
from engine.decisions import (
    BadDebt,
    CollateralLiquidation,
    Decision,
    FundDraw,
    LiquidationStarted,
    LossSocialised,
    MarginCall,
    ReserveDraw,
    Shortfall,
    WithdrawalUnpaid,
)
from engine.events import AnyEvent, Borrow, OrderClosed, PriceUpdate, Redeemed, Seized
from engine.money import ONE, ZERO, exact, nearest_to

CENT = Decimal("0.01")

Loss = Shortfall | FundDraw | ReserveDraw | LossSocialised | BadDebt


class LossRow(msgspec.Struct, frozen=True):
    """Bad debt in one asset; what is unrealised is none where nobody looked."""

    asset: str
    shortfall: Decimal
    paid_by_fund: Decimal
    paid_by_reserve: Decimal
    borne_by_lenders: Decimal
    outstanding: Decimal
    unrealised_worst: Decimal | None
    unrealised_end: Decimal | None


class SeizureRow(msgspec.Struct, frozen=True):
    """Collateral seized in one asset: how often, how much, and in USDT at the prices of then what
    it was worth, what was repaid for it, and the part of that which was toxic."""

    asset: str
    takes: int
    seized: Decimal
    worth: Decimal
    repaid: Decimal
    toxic_share: float


class PoolRow(msgspec.Struct, frozen=True):
    """A pool: its utilisation at its worst, when that was, and at the end, none where nobody
    looked; withdrawals that were asked for and that were not paid, and their largest amount by
    lender, together."""

    pool: str
    utilization_worst: float | None
    worst_at: int | None
    utilization_end: float | None
    asked: int
    unpaid: int
    unpaid_amount: Decimal


class Largest(msgspec.Struct, frozen=True):
    """What became of the largest borrower: amounts in USDT at the prices of then; what was seized
    is in its token."""

    borrowed: Decimal
    repaid: Decimal
    seized: Decimal
    shortfall: Decimal
    unrealised_end: Decimal | None


class LendingSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to; sums over assets in USDT at the prices of then, shares as fractions."""

    book: str
    seed: int
    accounts: int
    events: int
    seconds: float
    accounts_liquidated: int
    accounts_liquidated_share: float
    liquidations: int
    margin_calls: int
    offers: int
    takes: int
    partial_takes: int
    closed_offers: int
    repaid: Decimal
    seized: Decimal
    bonus: Decimal
    toxic_share: float
    shortfalls: int
    shortfall: Decimal
    bad_debt: Decimal
    unrealised_worst: Decimal | None
    unrealised_worst_at: int | None
    unrealised_end: Decimal | None
    withdrawals: int
    withdrawals_unpaid: int
    anomalies: int
    refused: int
    checks: int
    decisions: dict[str, int]
    largest: Largest
    losses: tuple[LossRow, ...]
    seizures: tuple[SeizureRow, ...]
    pools: tuple[PoolRow, ...]
    digest: str | None = None


class LendingTally:
    """The running count of one day."""

    def __init__(self, borrowers: int) -> None:
        self.events = 0
        self.count: Counter[str] = Counter()
        self.notional = ZERO
        self.bonus = ZERO
        self.shortfall = ZERO
        self.bad_debt = ZERO
        self.observer: Observer | None = None
        self._borrowers = borrowers
        self._prices: dict[str, Decimal] = {QUOTE: ONE}
        self._breached: set[str] = set()
        self._offers: dict[str, tuple[Decimal, bool]] = {}
        self._seized = self._toxic = ZERO
        self._largest: dict[str, Decimal] = defaultdict(Decimal)
        self._losses: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        self._takes: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO] * 5)
        self._asked: Counter[str] = Counter()
        self._unpaid: Counter[str] = Counter()
        self._unpaid_amounts: dict[tuple[str, str], Decimal] = {}

    @property
    def accounts_liquidated(self) -> int:
        """How many accounts came below a health factor of 1 at least once."""
        return len(self._breached)

    # --- what comes

    @exact
    def event(self, event: AnyEvent) -> None:
        """Count an event."""
        self.events += 1
        if isinstance(event, PriceUpdate):
            self._prices[event.symbol] = event.price
        elif isinstance(event, Seized):
            self._taken(event)
        elif isinstance(event, Redeemed):
            self._asked[event.pool] += 1
        elif isinstance(event, OrderClosed):
            self.count["closed"] += 1
        elif isinstance(event, Borrow) and event.account == LARGEST:
            self._largest["borrowed"] += event.amount * self._prices[event.pool]

    @exact
    def decision(self, decision: Decision) -> None:
        """Count a decision."""
        self.count[type(decision).__name__] += 1
        if isinstance(decision, LiquidationStarted):
            self._breached.add(decision.account)
        elif isinstance(decision, CollateralLiquidation):
            self._offers[decision.order_id] = decision.repay, decision.toxic
        elif isinstance(decision, Loss):
            self._lost(decision)
        elif isinstance(decision, WithdrawalUnpaid):
            self._unpaid[decision.pool] += 1
            key = decision.account, decision.pool
            self._unpaid_amounts[key] = max(decision.amount, self._unpaid_amounts.get(key, ZERO))

    def _taken(self, event: Seized) -> None:
        left, toxic = self._offers.get(event.order_id, (event.repaid, False))
        self._offers[event.order_id] = left - event.repaid, toxic
        self.count["partial"] += event.repaid < left
        repaid = event.repaid * self._prices[event.pool]
        worth = event.seized * self._prices[event.collateral]
        self.notional += repaid
        self._seized += worth
        self._toxic += repaid * toxic
        self.bonus += worth - repaid - event.fee * self._prices[event.collateral]
        columns = self._takes[event.collateral]
        for place, amount in enumerate((ONE, event.seized, worth, repaid, repaid * toxic)):
            columns[place] += amount
        if event.account == LARGEST:
            self._largest["repaid"] += repaid
            self._largest["seized"] += event.seized

    def _lost(self, decision: Loss) -> None:
        value = decision.amount * self._prices[decision.asset]
        self._losses[decision.asset][type(decision).__name__] += decision.amount
        if isinstance(decision, Shortfall):
            self.shortfall += value
            if decision.account == LARGEST:
                self._largest["shortfall"] += value
        elif isinstance(decision, BadDebt):
            self.bad_debt += value

    # --- what it comes to

    def summary(self, scene: LendingScene, seconds: float, digest: str | None) -> LendingSummary:
        """Return what the day came to; `seconds` of wall time."""
        observer = self.observer
        worst, last = (observer.worst, observer.last) if observer else (None, None)
        return LendingSummary(
            book=scene.book,
            seed=scene.seed,
            accounts=self._borrowers,
            events=self.events,
            seconds=round(seconds, 1),
            accounts_liquidated=self.accounts_liquidated,
            accounts_liquidated_share=self.accounts_liquidated / self._borrowers,
            liquidations=self.count[LiquidationStarted.__name__],
            margin_calls=self.count[MarginCall.__name__],
            offers=self.count[CollateralLiquidation.__name__],
            takes=int(sum(columns[0] for columns in self._takes.values())),
            partial_takes=self.count["partial"],
            closed_offers=self.count["closed"],
            repaid=_cents(self.notional),
            seized=_cents(self._seized),
            bonus=_cents(self.bonus),
            toxic_share=_ratio(self._toxic, self.notional),
            shortfalls=self.count[Shortfall.__name__],
            shortfall=_cents(self.shortfall),
            bad_debt=_cents(self.bad_debt),
            unrealised_worst=_cents(worst.value) if worst else None,
            unrealised_worst_at=worst.time if worst else None,
            unrealised_end=_cents(last.value) if last else None,
            withdrawals=self._asked.total(),
            withdrawals_unpaid=self._unpaid.total(),
            anomalies=self.count["Anomaly"],
            refused=self.count["Refused"],
            checks=observer.checks if observer else 0,
            decisions={
                name: number for name, number in sorted(self.count.items()) if name[0].isupper()
            },
            largest=self._largest_row(last),
            losses=self._loss_rows(worst, last),
            seizures=self._seizure_rows(),
            pools=self._pool_rows(),
            digest=digest,
        )

    def _largest_row(self, last: Unrealised | None) -> Largest:
        found = self._largest
        return Largest(
            _cents(found["borrowed"]),
            _cents(found["repaid"]),
            found["seized"],
            _cents(found["shortfall"]),
            _cents(last.of_largest) if last else None,
        )

    def _loss_rows(self, worst: Unrealised | None, last: Unrealised | None) -> tuple[LossRow, ...]:
        before = worst.by_asset if worst else {}
        after = last.by_asset if last else {}
        return tuple(
            LossRow(
                asset,
                self._losses[asset][Shortfall.__name__],
                self._losses[asset][FundDraw.__name__],
                self._losses[asset][ReserveDraw.__name__],
                self._losses[asset][LossSocialised.__name__],
                self._losses[asset][BadDebt.__name__],
                before.get(asset, ZERO) if worst else None,
                after.get(asset, ZERO) if last else None,
            )
            for asset in sorted({*self._losses, *before, *after})
        )

    def _seizure_rows(self) -> tuple[SeizureRow, ...]:
        rows = (
            SeizureRow(
                asset, int(takes), seized, _cents(worth), _cents(repaid), _ratio(toxic, repaid)
            )
            for asset, (takes, seized, worth, repaid, toxic) in self._takes.items()
        )
        return tuple(sorted(rows, key=lambda row: (-row.worth, row.asset)))

    def _pool_rows(self) -> tuple[PoolRow, ...]:
        observer = self.observer or Observer()
        rows = []
        for pool in sorted({*self._asked, *observer.used}):
            most = observer.most_used.get(pool)
            amounts = (a for (_, at), a in self._unpaid_amounts.items() if at == pool)
            rows.append(
                PoolRow(
                    pool,
                    most.utilization if most else None,
                    most.time if most else None,
                    observer.used.get(pool),
                    self._asked[pool],
                    self._unpaid[pool],
                    sum(amounts, ZERO),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-(row.utilization_worst or 0.0), row.pool)))


def _ratio(part: Decimal, whole: Decimal) -> float:
    return float(part) / float(whole) if whole else 0.0


@exact
def _cents(value: Decimal) -> Decimal:
    return nearest_to(value, CENT)
