"""Who took which positions, and who paid for what: folded from events and decisions.

A `Booking` is one shortfall with the layers that paid it, a `Taken` what one kind of taker was
asked for in a market and what it filled. A number that the ledger keeps too is compared with it by
`producers.waterfall_report`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, get_args

from engine import decisions as d
from engine.core import Engine
from engine.events import Event, Fill
from engine.funds import payers
from engine.money import ZERO, ceil_to, exact
from engine.rules import Rules
from producers.summary import outcome

Taker = Literal["limit", "any_price", "netting", "fund", "backstop", "adl"]
"""The market down to the limit, the market at any price, another group of the account, the fund's
account, the backstop's, a deleveraged counterparty."""
TAKERS: tuple[Taker, ...] = get_args(Taker)

Layer = Literal["fund", "reserve", "lenders", "open_interest", "winners"]

Order = d.LiquidationOrder | d.TakeOver | d.Deleverage
Payment = d.FundDraw | d.ReserveDraw | d.LossSocialised | d.LossShared


class Paid(NamedTuple):
    """What one layer paid of a shortfall: of what it could, and what was left after it."""

    layer: Layer
    fund: str
    capacity: Decimal
    paid: Decimal
    remainder: Decimal


@dataclass
class Booking:
    """One shortfall of a liquidation in one market; `number` is 0 without a liquidation, `debt_id`
    empty without bad debt. `waits` are the layers, in their order, that were not asked so far."""

    time: int
    account: str
    margin: str
    number: int
    asset: str
    market: str
    shortfall: Decimal
    cause: str
    paid: list[Paid] = field(default_factory=list)
    bad_debt: Decimal = ZERO
    debt_id: str = ""
    waits: list[tuple[Layer, str]] = field(default_factory=list)

    @property
    def left(self) -> Decimal:
        """What no layer has paid so far."""
        return self.paid[-1].remainder if self.paid else self.shortfall

    def pay(self, layer: Layer, fund: str, capacity: Decimal, amount: Decimal) -> None:
        """Have a layer pay: those above it that did not were asked, and could pay nothing."""
        if (layer, fund) in self.waits:
            place = self.waits.index((layer, fund))
            self._pass(self.waits[:place])
            del self.waits[: place + 1]
        self.paid.append(Paid(layer, fund, capacity, amount, self.left - amount))

    def leave(self, amount: Decimal, debt_id: str) -> None:
        """Have an amount stay as bad debt: no layer could pay anything of it."""
        self._pass(self.waits)
        self.waits = []
        self.bad_debt += amount
        self.debt_id = debt_id

    def _pass(self, layers: Sequence[tuple[Layer, str]]) -> None:
        self.paid += [Paid(layer, fund, ZERO, ZERO, self.left) for layer, fund in layers]


@dataclass
class Taken:
    """What one kind of taker did in a market: orders, size that they filled, its notional at the
    price of the fill, what takers had less of it than at the mark of the order, and what funds paid
    them for that."""

    orders: int = 0
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    forgone: Decimal = ZERO
    paid: Decimal = ZERO


class _Asked(NamedTuple):
    taker: Taker
    symbol: str
    size: Decimal
    forgone: Decimal


@dataclass
class Life:
    """A liquidation from its start: `ended` is the reason, empty while it goes on."""

    time: int
    margin: str
    reason: str
    ended: str = ""


def layers_of(rules: Rules, market: str) -> Iterator[tuple[Layer, str]]:
    """Yield the layers, and of a fund its name, that are asked for a shortfall in a market."""
    lending, funds = rules.lending, payers(rules, market)
    if lending is not None and market in lending.pools:
        for layer in lending.bad_debt.charge:
            if layer == "fund":
                yield from (("fund", name) for name in funds)
            else:
                yield layer, ""
        return
    yield from (("fund", name) for name in funds)
    socialised = rules.in_force.waterfall.socialised
    if socialised and market in rules.derivatives:
        yield socialised, ""


def layer_of(decision: Payment) -> Layer:
    """Return which layer pays."""
    match decision:
        case d.FundDraw():
            return "fund"
        case d.ReserveDraw():
            return "reserve"
        case d.LossSocialised():
            return "lenders"
    return decision.by


def taker_of(order: Order) -> Taker:
    """Return who is asked to take the other side."""
    match order:
        case d.TakeOver():
            return order.layer
        case d.Deleverage():
            return "adl"
    return "limit" if order.stage == "limit" else "any_price"


class WaterfallTally:
    """Takers by (market, asset, taker), shortfalls in the order in which they were booked, and
    liquidations by (account, number). `account` counts those of that one alone."""

    def __init__(self, account: str | None = None) -> None:
        self.taken: defaultdict[tuple[str, str, Taker], Taken] = defaultdict(Taken)
        self.bookings: list[Booking] = []
        self.lives: dict[tuple[str, int], Life] = {}
        self._account = account
        self._asked: dict[str, _Asked] = {}

    @exact
    def fold(self, engine: Engine, event: Event, decisions: Sequence[d.Decision]) -> None:
        """Add one event that `engine` was given, and all that it decided because of it."""
        if isinstance(event, Fill) and outcome(decisions) in ("applied", "gap"):
            self._filled(engine, event)
        open_booking: Booking | None = None
        for decision in decisions:
            if isinstance(decision, d.Shortfall):
                open_booking = self._booked(engine.rules, decision)
            elif isinstance(decision, Payment) and open_booking is not None:
                fund = decision.fund if isinstance(decision, d.FundDraw) else ""
                layer = layer_of(decision)
                open_booking.pay(layer, fund, decision.capacity, decision.amount)
            elif isinstance(decision, d.BadDebt) and open_booking is not None:
                open_booking.leave(decision.amount, decision.id)
                open_booking.cause = decision.cause
            elif self._counts(decision):
                self._about(engine, decision)

    def _counts(self, decision: d.Decision) -> bool:
        account = getattr(decision, "account", None)
        return account is not None and self._account in (None, account)

    def _about(self, engine: Engine, decision: d.Decision) -> None:
        match decision:
            case d.LiquidationStarted():
                life = Life(decision.time, decision.margin, decision.reason)
                self.lives[decision.account, decision.number] = life
            case d.LiquidationEnded():
                self.lives[decision.account, decision.number].ended = decision.reason
            case d.LiquidationOrder() | d.TakeOver() | d.Deleverage():
                self._ordered(engine, decision)
            case d.PositionPaid():
                self.taken[decision.market, decision.asset, "fund"].paid += decision.amount

    def _ordered(self, engine: Engine, order: Order) -> None:
        taker = taker_of(order)
        forgone = _forgone(engine, order)
        self._asked[order.order_id] = _Asked(taker, order.symbol, order.size, forgone)
        settle = engine.rules.derivatives[order.symbol].settle
        self.taken[order.symbol, settle, taker].orders += 1

    def _filled(self, engine: Engine, fill: Fill) -> None:
        asked = self._asked.get(fill.order_id)
        if asked is None:
            return
        instrument = engine.rules.derivatives[asked.symbol]
        unit, size = engine.rules.assets[instrument.settle].unit, abs(fill.size)
        taken = self.taken[asked.symbol, instrument.settle, asked.taker]
        taken.filled += size
        taken.notional += abs(instrument.value(size, fill.price, unit))
        taken.forgone += ceil_to(asked.forgone * size, unit, asked.size)

    def _booked(self, rules: Rules, decision: d.Shortfall) -> Booking | None:
        if not self._counts(decision):
            return None
        life = self.lives.get((decision.account, decision.number))
        booking = Booking(
            time=decision.time,
            account=decision.account,
            margin=decision.margin,
            number=decision.number,
            asset=decision.asset,
            market=decision.market,
            shortfall=decision.amount,
            cause=life.reason if life is not None else "negative_balance",
            waits=list(layers_of(rules, decision.market)),
        )
        self.bookings.append(booking)
        return booking


def _forgone(engine: Engine, order: Order) -> Decimal:
    """Return what the taker has less than at the mark, in the settlement asset."""
    if isinstance(order, d.Deleverage):
        return order.forgone
    if isinstance(order, d.LiquidationOrder):
        return ZERO
    mark = engine.prices.get((order.symbol, "mark"))
    if mark is None:
        return ZERO
    instrument = engine.rules.derivatives[order.symbol]
    unit = engine.rules.assets[instrument.settle].unit
    closed = order.size if order.side == "sell" else -order.size
    at_price = instrument.value(closed, order.price, unit)
    return max(ZERO, at_price - instrument.value(closed, mark.price, unit))
