"""What liquidations cost, and whom: a fold over a crash's events and the decisions about them.

Nothing is read from an engine, so that its ledger can be checked against it. Amounts are in the
settlement asset, the same for all markets; distances go by the mark at the moment of a decision.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from engine.decisions import (
    BadDebt,
    Decision,
    Deleverage,
    FeeCharged,
    FundDraw,
    LiquidationOrder,
    LiquidationStarted,
    LossShared,
    Shortfall,
    TakeOver,
)
from engine.events import AnyEvent, Fill, FundMoved, InstrumentListed, PriceUpdate
from engine.instruments import Asset, Listed
from engine.money import ZERO

Order = LiquidationOrder | TakeOver | Deleverage


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a crash came to under a policy; amounts in the settlement asset.

    `losses` of traders: distance of each forced fill from the mark at its decision, whichever way
    (`distance`), and `fees`; `slippage` is that distance with a sign, above 0 against the trader.
    `deleveraged` and `taken_over` are notionals; `forgone` is what counterparties would have had
    more at the mark of the decision, `forgone_by_end` at the last one (below 0: they were spared
    that). `fund` is what it holds, positions at the last mark included; `backstop` its result
    likewise.
    """

    accounts_liquidated: int
    liquidations: int
    fills: int
    notional: Decimal
    losses: Decimal
    distance: Decimal
    slippage: Decimal
    fees: Decimal
    shortfall: Decimal
    paid_by_fund: Decimal
    socialised: Decimal
    bad_debt: Decimal
    taken_over: Decimal
    deleveraged: Decimal
    counterparties: int
    forgone: Decimal
    forgone_by_end: Decimal
    fund: Decimal
    backstop: Decimal


class _Passed(NamedTuple):
    """A transfer that was filled: signed size of who was closed, and the price."""

    layer: str
    symbol: str
    size: Decimal
    price: Decimal


class Costs:
    """The running count of one crash."""

    def __init__(self) -> None:
        self.liquidations = 0
        self.fills = 0
        self.notional = ZERO
        self.distance = ZERO
        self.slippage = ZERO
        self.fees = ZERO
        self.shortfall = ZERO
        self.paid_by_fund = ZERO
        self.socialised = ZERO
        self.bad_debt = ZERO
        self.forgone = ZERO
        self._fund = ZERO
        self._breached: set[str] = set()
        self._counterparties: set[str] = set()
        self._listed: dict[str, Listed] = {}
        self._units: dict[str, Decimal] = {}
        self._marks: dict[str, Decimal] = {}
        # An order with the mark at its decision.
        self._orders: dict[str, tuple[Order, Decimal]] = {}
        self._passed: list[_Passed] = []

    def event(self, event: AnyEvent) -> None:
        """Count an event."""
        if isinstance(event, PriceUpdate):
            if event.kind == "mark":
                self._marks[event.symbol] = event.price
        elif isinstance(event, Fill):
            if event.order_id in self._orders:
                self._filled(event, *self._orders[event.order_id])
        elif isinstance(event, FundMoved):
            self._fund += event.amount
        elif isinstance(event, InstrumentListed):
            self._list(event.instrument)

    def decision(self, decision: Decision) -> None:
        """Count a decision."""
        if isinstance(decision, LiquidationOrder):
            self._orders[decision.order_id] = decision, decision.decided_mark
        elif isinstance(decision, TakeOver | Deleverage):
            self._orders[decision.order_id] = decision, self._marks[decision.symbol]
        elif isinstance(decision, LiquidationStarted):
            if decision.reason == "breach":
                self.liquidations += 1
                self._breached.add(decision.account)
        elif isinstance(decision, FeeCharged):
            self.fees += decision.amount
            self._fund += decision.amount - decision.venue - decision.liquidator
        elif isinstance(decision, Shortfall | FundDraw | LossShared | BadDebt):
            self._loss(decision)

    def outcome(self) -> Outcome:
        """Return what it came to, positions valued at the last marks."""
        return Outcome(
            accounts_liquidated=len(self._breached),
            liquidations=self.liquidations,
            fills=self.fills,
            notional=self.notional,
            losses=self.distance + self.fees,
            distance=self.distance,
            slippage=self.slippage,
            fees=self.fees,
            shortfall=self.shortfall,
            paid_by_fund=self.paid_by_fund,
            socialised=self.socialised,
            bad_debt=self.bad_debt,
            taken_over=self._moved("fund") + self._moved("backstop"),
            deleveraged=self._moved("adl"),
            counterparties=len(self._counterparties),
            forgone=self.forgone,
            forgone_by_end=self._kept("adl"),
            fund=self._fund - self._kept("fund"),
            backstop=-self._kept("backstop"),
        )

    def _list(self, instrument: Listed | Asset) -> None:
        if isinstance(instrument, Asset):
            self._units[instrument.name] = instrument.unit
        else:
            self._listed[instrument.name] = instrument

    def _filled(self, fill: Fill, order: Order, mark: Decimal) -> None:
        """Count a fill of an order that was decided at `mark`."""
        worth = self._worth(fill.symbol, fill.size, fill.price)
        # Paid more than the mark for what was bought, or got less for what was sold.
        against = worth - self._worth(fill.symbol, fill.size, mark)
        self.fills += 1
        self.notional += abs(worth)
        self.slippage += against
        self.distance += abs(against)
        self.fees += fill.fee
        if isinstance(order, Deleverage):
            self._counterparties.add(order.counterparty)
            self.forgone += order.forgone * abs(fill.size) / order.size
            self._passed.append(_Passed("adl", fill.symbol, fill.size, fill.price))
        elif isinstance(order, TakeOver):
            self._passed.append(_Passed(order.layer, fill.symbol, fill.size, fill.price))

    def _loss(self, decision: Shortfall | FundDraw | LossShared | BadDebt) -> None:
        if isinstance(decision, Shortfall):
            self.shortfall += decision.amount
        elif isinstance(decision, FundDraw):
            self.paid_by_fund += decision.amount
            self._fund -= decision.amount
        elif isinstance(decision, LossShared):
            self.socialised += decision.amount
            self._fund += decision.excess
        else:
            self.bad_debt += decision.amount

    def _moved(self, layer: str) -> Decimal:
        """Return the notional that a layer took."""
        found = (passed for passed in self._passed if passed.layer == layer)
        return sum((abs(self._worth(p.symbol, p.size, p.price)) for p in found), ZERO)

    def _kept(self, layer: str) -> Decimal:
        """Return what those whom a layer closed would have had more by the last marks, unclosed:
        what counterparties of deleveraging forwent, and what takers lost."""
        found = (passed for passed in self._passed if passed.layer == layer)
        return sum(
            (
                self._worth(p.symbol, p.size, self._marks[p.symbol])
                - self._worth(p.symbol, p.size, p.price)
                for p in found
            ),
            ZERO,
        )

    def _worth(self, symbol: str, size: Decimal, price: Decimal) -> Decimal:
        instrument = self._listed[symbol]
        return instrument.value(size, price, self._units[instrument.settle])
