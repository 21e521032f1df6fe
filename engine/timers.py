"""What is due when: expiries, missing answers, waits for missing events.

Timers are derived from state and can be set anew from it at any time. They fire in order of (due
time, key), each with engine time = its due time; one whose cause is gone is passed over. What a
group does next is decided once, with the event that moved time: however long the silence was, an
order is issued again once.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from engine import auctions
from engine.book import Account, Group
from engine.issuing import end_live, not_filled

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.liquidation import Auction, Liquidation, Order


COOLDOWN = "cooldown"
"""In place of an order: the end of a wait between orders."""


class Timer(NamedTuple):
    """Something that is due: an order's or auction's, a group's (order "", or COOLDOWN) or an
    account's (margin "" too)."""

    due: int
    key: str
    account: str
    margin: str
    order: str


class Timers:
    """The timers of one engine."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []

    def await_order(self, group: Group, order: Order) -> None:
        """Wake at an order's expiry, or at the end of the wait for its cancellation."""
        due = order.expires if order.cancelling_until is None else order.cancelling_until
        self._push(Timer(due, order.id, group.account.id, group.margin, order.id))

    def await_cancellation(self, group: Group, liquidation: Liquidation) -> None:
        """Wake at the end of the wait for the group's own open orders to be cancelled."""
        if liquidation.awaiting_until is not None:
            key = f"{group.account.id}:{liquidation.number}"
            self._push(Timer(liquidation.awaiting_until, key, group.account.id, group.margin, ""))

    def await_warmth(self, group: Group, liquidation: Liquidation) -> None:
        """Wake at the end of the wait for the next orders."""
        if liquidation.cooling_until is not None:
            key = f"{group.account.id}:{liquidation.number}:{COOLDOWN}"
            due = liquidation.cooling_until
            self._push(Timer(due, key, group.account.id, group.margin, COOLDOWN))

    def await_reset(self, engine: Engine, group: Group, auction: Auction) -> None:
        """Wake when an auction must start anew."""
        due = auctions.reset_due(engine.rules, auction)
        if due is not None:
            self._push(Timer(due, auction.id, group.account.id, group.margin, auction.id))

    def await_missing(self, account: Account, gap_timeout: int, now: int) -> None:
        """Wake at the end of the wait for an account's missing events."""
        if account.gap_since is not None and account.gap_since + gap_timeout > now:
            due = account.gap_since + gap_timeout
            self._push(Timer(due, account.id, account.id, "", ""))

    def set_anew(self, engine: Engine) -> None:
        """Set every timer from state."""
        self._heap = []
        for account in engine.accounts.values():
            if account.gap_since is not None:
                gap_timeout = engine.rules.in_force.liquidation.gap_timeout
                self.await_missing(account, gap_timeout, engine.time)
        for group in engine.liquidating:
            liquidation = group.liquidation
            if liquidation is not None:
                self.await_cancellation(group, liquidation)
                if (liquidation.cooling_until or 0) > engine.time:
                    self.await_warmth(group, liquidation)
                for order in liquidation.orders.values():
                    self.await_order(group, order)
                for auction in liquidation.auctions.values():
                    self.await_reset(engine, group, auction)

    def fire(self, engine: Engine, now: int) -> bool:
        """Fire what is due by `now`; tell whether anything did."""
        fired = False
        while self._heap and self._heap[0].due <= now:
            timer = heapq.heappop(self._heap)
            account = engine.accounts.get(timer.account)
            if account is None:
                continue
            if timer.margin:
                group = account.groups.get(timer.margin)
                fired |= group is not None and _fire(engine, group, timer, now)
            elif account.gap_since is not None:
                engine.time = max(engine.time, timer.due)
                fired = True
                engine.touch_account(account)
        return fired

    def _push(self, timer: Timer) -> None:
        heapq.heappush(self._heap, timer)


def _fire(engine: Engine, group: Group, timer: Timer, now: int) -> bool:
    """Carry out an order's or a group's timer, unless its cause is gone."""
    liquidation = group.liquidation
    if liquidation is None:
        return False
    if not timer.order:
        if liquidation.awaiting_until != timer.due:
            return False
        engine.time = max(engine.time, timer.due)
        liquidation.awaiting_until = None
        group.open_orders.clear()
        _unacknowledged(engine, group, "", "open orders: no answer to their cancellation")
        return True
    if timer.order == COOLDOWN:
        return _fire_cooldown(engine, group, liquidation, timer)
    if timer.order in liquidation.auctions:
        return _fire_reset(engine, group, liquidation.auctions[timer.order], timer, now)
    order = liquidation.orders.get(timer.order)
    if order is None:
        return False
    if order.cancelling_until is None and order.expires == timer.due:
        engine.time = max(engine.time, timer.due)
        engine.cancel(group, order, "expired")
        not_filled(engine, group, order)
        return True
    if order.cancelling_until == timer.due:
        engine.time = max(engine.time, timer.due)
        end_live(engine, group, order)
        _unacknowledged(engine, group, order.id, "no answer to its cancellation")
        return True
    return False


def _fire_cooldown(engine: Engine, group: Group, liquidation: Liquidation, timer: Timer) -> bool:
    if liquidation.cooling_until != timer.due:
        return False
    engine.time = max(engine.time, timer.due)
    engine.touch(group)
    return True


def _fire_reset(engine: Engine, group: Group, auction: Auction, timer: Timer, now: int) -> bool:
    if auctions.reset_due(engine.rules, auction) != timer.due:
        return False
    engine.time = max(engine.time, timer.due)
    auctions.reset(engine, group, auction, max(engine.time, now))
    return True


def _unacknowledged(engine: Engine, group: Group, order_id: str, detail: str) -> None:
    engine.anomaly(group, "unacknowledged", order_id, detail)
    engine.touch(group)
