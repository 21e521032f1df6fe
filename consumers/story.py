"""The course of one liquidation, collected while a log is replayed: decisions, answers, losses."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core import Engine
from engine.decisions import (
    Anomaly,
    AuctionEnded,
    Decision,
    FundDraw,
    LiquidationEnded,
    LiquidationStarted,
    LossCharged,
    LossShared,
    LossSocialised,
    ReserveDraw,
    SetOff,
    Shortfall,
    SupplyDrawn,
    Waits,
)
from engine.events import Event, OrdersCancelled
from producers.summary import outcome

PAYMENTS = FundDraw | ReserveDraw | LossSocialised | LossShared | LossCharged
"""What follows the shortfall that it pays, without naming its liquidation."""


def id_of(happened: Event | Decision) -> str:
    """Return the id of the order or auction that something is about, empty without one."""
    return getattr(happened, "order_id", "") or getattr(happened, "auction_id", "")


class LiquidationStory:
    """Everything that concerns the liquidation `number` of `account`.

    To be told of every event that an engine applied, and of what came of it. `course` holds events
    and decisions in order, each with engine time; `waits` is what its next orders wait for.
    """

    def __init__(self, account: str, number: int) -> None:
        self.account = account
        self.number = number
        self.started: LiquidationStarted | None = None
        self.ended: LiquidationEnded | None = None
        self.course: list[tuple[int, Event | Decision]] = []
        self.waits: Waits = ""
        self._booking = False

    def after(self, engine: Engine, event: Event, decisions: Sequence[Decision]) -> None:
        """Take over what concerns the liquidation."""
        self._booking = False
        mine = [decision for decision in decisions if self._concerns(decision)]
        timely = [decision for decision in mine if decision.time < engine.time]
        self._add(timely)
        if self._answers(event) and outcome(decisions) in ("applied", "gap"):
            self.course.append((engine.time, event))
        self._add([decision for decision in mine if decision.time >= engine.time])
        if self.account in engine.accounts:
            groups = engine.accounts[self.account].ordered_groups()
            live = (group.liquidation for group in groups)
            self.waits = next((one.waits for one in live if one and one.number == self.number), "")

    def _add(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self.course.append((decision.time, decision))
            if isinstance(decision, LiquidationStarted):
                self.started = decision
            if isinstance(decision, LiquidationEnded):
                self.ended = decision

    def _concerns(self, decision: Decision) -> bool:
        if isinstance(decision, Shortfall):
            self._booking = (decision.account, decision.number) == (self.account, self.number)
            return self._booking
        if isinstance(decision, PAYMENTS):
            return self._booking
        if getattr(decision, "account", None) != self.account:
            return False
        number = getattr(decision, "number", None)
        if number is not None:
            return bool(number == self.number)
        if isinstance(decision, SetOff | SupplyDrawn):
            return self._is_open(decision.margin)
        order_id = id_of(decision)
        if isinstance(decision, AuctionEnded) and decision.uncovered:
            self._booking = order_id.startswith(f"{self.account}:{self.number}:")
        if isinstance(decision, Anomaly) and not order_id:
            return self._is_open(decision.margin)
        return order_id.startswith(f"{self.account}:{self.number}:")

    def _is_open(self, margin: str) -> bool:
        """Tell whether the liquidation goes on, in the group of that name."""
        return self.started is not None and self.ended is None and self.started.margin == margin

    def _answers(self, event: Event) -> bool:
        if getattr(event, "account", None) != self.account:
            return False
        if isinstance(event, OrdersCancelled):
            return self._is_open(event.margin)
        return id_of(event).startswith(f"{self.account}:{self.number}:")
