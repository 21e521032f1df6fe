"""The engine: the state, `apply` and `proceed`.

Events in, decisions out; what happens in which order stands in docs/semantics.md.
"""

from __future__ import annotations

import heapq
import math
from decimal import Decimal, localcontext
from functools import cmp_to_key
from typing import Any, NamedTuple, TypeVar

from engine import admission, booking
from engine import decisions as d
from engine import events as e
from engine.book import Account, Book, Group
from engine.instruments import Asset, Instrument
from engine.ledger import Ledger
from engine.liquidation import (
    Liquidation,
    Order,
    Situation,
    Step,
    next_step,
    owed_assets,
    riskier,
)
from engine.margin import Health, asset_price, breached, health, restored
from engine.money import EXACT, ONE, ZERO
from engine.rules import Rules
from engine.steps import STEPS
from engine.watch import STANDINGS, Watch

SLICE = 64
"""Groups decided by one call of `apply` or `proceed`."""

D = TypeVar("D", bound=d.Decision)


class Changed:
    """What the next write of state has to hold."""

    def __init__(self) -> None:
        self.accounts: set[str] = set()
        self.markets: set[str] = set()
        self.funds: set[str] = set()
        self.rules = False


class Pending(NamedTuple):
    """A group that will take a step, as it was when looked at."""

    group: Group
    health: Health | None
    situation: Situation
    step: Step


class Timer(NamedTuple):
    """Something that is due; `order` is an order id, "" for a wait of the group or account."""

    due: int
    key: str
    account: str
    margin: str
    order: str


class Engine:
    """One shard's margin state, and everything it decides.

    `shard` is its number, `seq` the number of events it was given, `index` the number of decisions
    of the last one, `time` the largest time applied, in microseconds UTC.
    """

    def __init__(self, shard: int = 0) -> None:
        self.shard = shard
        self.seq = 0
        self.index = 0
        self.time = 0
        self.rules = Rules()
        self.book = Book()
        self.ledger = Ledger()
        self.prices: dict[tuple[str, str], d.MarkUsed] = {}
        self.price_sequences: dict[str, dict[str, int]] = {}
        self.changed = Changed()
        self.liquidating: dict[Group, None] = {}
        self._watch = Watch(self.book, self.rules)
        self._touched: dict[Group, None] = {}
        self._pending: list[Pending] = []
        self._timers: list[Timer] = []
        self._out: list[d.Decision] = []
        self._newcomer: Account | None = None

    @property
    def accounts(self) -> dict[str, Account]:
        """Every account, by id."""
        return self.book.accounts

    @property
    def ready(self) -> bool:
        """Whether a profile is in force and its numeraire is listed."""
        profile = self.rules.profile
        return profile is not None and profile.numeraire in self.rules.assets

    def apply(self, event: e.Event) -> list[d.Decision]:
        """Apply one event and decide the first slice of the groups it concerns.

        Raises `RuntimeError` while `proceed` still has something to give.
        """
        if self._pending:
            raise RuntimeError("engine: the last event is not decided yet, call proceed()")
        with localcontext(EXACT):
            self.seq += 1
            self.index = 0
            self._newcomer = None
            self._receive(event)
            self._look_at_touched()
            self._decide_slice()
        return self._taken()

    def proceed(self) -> list[d.Decision]:
        """Decide the next slice of groups; nothing when none is left."""
        with localcontext(EXACT):
            self._decide_slice()
        return self._taken()

    def take_up(self) -> None:
        """Find everything that state says is still to be done, after the state was restored."""
        with localcontext(EXACT):
            if self.rules.profile is not None:
                self._watch.new_rules()
            self._set_timers()
            for group in self.book.all_groups():
                if group.liquidation is not None:
                    self.liquidating[group] = None
                self.touch(group)
            self._look_at_touched()

    @property
    def undecided(self) -> bool:
        """Whether `proceed` still has something to give."""
        return bool(self._pending)

    def next_step_of(self, group: Group) -> Step:
        """Return the step that a group would take now; "rest" unless something was overlooked."""
        with localcontext(EXACT):
            return self._look_at(group)[2]

    @property
    def watch(self) -> Watch:
        """The screens: pictures of the book in floats."""
        return self._watch

    # --- what booking and steps call

    def emit(self, kind: type[D], /, **fields: Any) -> D:
        """Add a decision."""
        made = kind(shard=self.shard, seq=self.seq, index=self.index, time=self.time, **fields)
        self.index += 1
        self._out.append(made)
        return made

    def emit_for(self, group: Group, kind: type[D], /, **fields: Any) -> D:
        """Add a decision about a margin group."""
        return self.emit(kind, account=group.account.id, margin=group.margin, **fields)

    def anomaly(self, group: Group, kind: str, order_id: str, detail: str) -> None:
        """Say that a fact does not agree with what was decided."""
        self.emit_for(group, d.Anomaly, kind=kind, order_id=order_id, detail=detail)

    def touch(self, group: Group) -> None:
        """Look at a group once this event is applied, and write its account's state."""
        self._touched[group] = None
        self.changed.accounts.add(group.account.id)

    def touch_account(self, account: Account) -> None:
        """Look at every group of an account."""
        for group in account.ordered_groups():
            self.touch(group)

    def group_of(self, account: str, margin: str) -> Group:
        """Return a margin group of a known account, new if it had none of that name."""
        return self.book.group(self.book.accounts[account], margin)

    def is_new(self, account: Account) -> bool:
        """Tell whether this event began the account."""
        return self._newcomer is account

    def clear(self, market: str, asset: str, amount: Decimal) -> None:
        """Change the clearing account of a market."""
        self.ledger.clearing[market, asset] += amount
        self.changed.markets.add(market)

    def price_of(self, asset: str) -> Decimal | None:
        """Return the price of an asset in the numeraire, if known."""
        return asset_price(asset, self.rules, self.prices)

    def find_live(self, account: str, order_id: str) -> tuple[Group, Order] | None:
        """Return a live order or sale with its group."""
        for group in self.accounts[account].groups.values():
            if group.liquidation and order_id in group.liquidation.orders:
                return group, group.liquidation.orders[order_id]
        return None

    def set_timer(self, due: int, group: Group, order: str = "") -> None:
        """Be woken at `due` for an order, or for the group's awaited cancellation."""
        number = group.liquidation.number if group.liquidation else 0
        key = order or f"{group.account.id}:{number}"
        heapq.heappush(self._timers, Timer(due, key, group.account.id, group.margin, order))

    def forget(self, account: Account) -> None:
        """Delete an empty account."""
        for group in account.groups.values():
            self._watch.forget(group)
            self._touched.pop(group, None)
        self.book.close_account(account)
        self.changed.accounts.add(account.id)

    def health_of(self, group: Group) -> Health | None:
        """Return a group's health at the prices of now."""
        return health(group.cash, group.legs, self.rules, self.prices)

    def block_of(self, group: Group) -> d.Waits:
        """Return why a group's orders have to wait, if they do."""
        if self.rules.halted_all or (
            group.symbols and all(symbol in self.rules.halted for symbol in group.symbols)
        ):
            return "halted"
        return "gap" if self._waits_for_gap(group.account) else ""

    # --- receiving

    def _taken(self) -> list[d.Decision]:
        out, self._out = self._out, []
        return out

    def _receive(self, event: e.Event) -> None:
        name = type(event).__name__
        record = record_of(event)
        why = admission.unknown(self, event)
        if why is not None:
            self.emit(d.Refused, event=name, record=record, rule=why[0], detail=why[1])
            return
        last, sequence = self._sequences(event)
        if last is not None and sequence is not None and sequence <= last:
            self.emit(d.Duplicate, event=name, record=record, sequence=sequence, last=last)
            return
        gap = last is not None and sequence is not None and sequence > last + 1
        if gap:
            self.emit(
                d.Gap, event=name, record=record, expected=(last or 0) + 1, received=sequence or 0
            )
        why = admission.refusal(self, event)
        if why is not None:
            self._refuse(event, name, record, why, gap=gap)
            return
        if isinstance(event, e.PriceUpdate) and not self._counts(event):
            self._note_sequence(event, self.time, gap=False)
            self.emit(d.Ignored, symbol=event.symbol, kind=event.kind, source=event.source)
            return
        now = max(self.time, event.time)
        if self._fire_timers(now):
            why = admission.refusal(self, event)
            if why is not None:
                self._refuse(event, name, record, why, gap=gap)
                return
        self.time = now
        if isinstance(event, e.AccountEvent) and event.account not in self.accounts:
            self._newcomer = Account(event.account, event.sequence)
            self.book.open_account(self._newcomer)
            self.touch_account(self._newcomer)
        self._note_sequence(event, now, gap=gap)
        self._book_event(event)

    def _refuse(
        self, event: e.Event, name: str, record: str, why: tuple[str, str], *, gap: bool
    ) -> None:
        self.emit(d.Refused, event=name, record=record, rule=why[0], detail=why[1])
        if not isinstance(event, e.AccountEvent) or event.account in self.accounts:
            self._note_sequence(event, self.time, gap=gap)

    def _sequences(self, event: e.Event) -> tuple[int | None, int | None]:
        """Return (last one noted, this event's), none where the event has no place in a
        sequence."""
        if isinstance(event, e.PriceUpdate):
            return self.price_sequences.get(event.symbol, {}).get(event.source), event.sequence
        if isinstance(event, e.AccountEvent):
            account = self.accounts.get(event.account)
            return (account.sequence if account else None), event.sequence
        if isinstance(event, e.FundMoved) and event.shard == self.shard:
            return self.rules.fund_sequence, event.sequence
        if isinstance(event, e.FundingRate):
            return self.rules.funding_sequences.get(event.symbol), event.sequence
        return None, None

    def _note_sequence(self, event: e.Event, now: int, *, gap: bool) -> None:
        if isinstance(event, e.PriceUpdate):
            self.price_sequences.setdefault(event.symbol, {})[event.source] = event.sequence
            self.changed.markets.add(event.symbol)
        elif isinstance(event, e.AccountEvent):
            account = self.accounts[event.account]
            account.sequence = event.sequence
            self.changed.accounts.add(account.id)
            if gap and account.gap_since is None:
                account.gap_since = now
                self._set_gap_timer(account)
                self.touch_account(account)
        elif isinstance(event, e.FundMoved) and event.shard == self.shard:
            self.rules.fund_sequence = event.sequence
            self.changed.rules = True
        elif isinstance(event, e.FundingRate):
            self.rules.funding_sequences[event.symbol] = event.sequence
            self.changed.rules = True

    def _counts(self, event: e.PriceUpdate) -> bool:
        return event.source == self.rules.in_force.source_of(event.symbol, event.kind)

    def _book_event(self, event: e.Event) -> None:
        if isinstance(event, e.PriceUpdate):
            self._price_moved(event)
        elif isinstance(event, e.InstrumentListed):
            self._instrument_listed(event)
        elif isinstance(event, e.ProfileChanged):
            self._profile_changed(event)
        else:
            booking.BOOKING[type(event)](self, event)

    def _price_moved(self, event: e.PriceUpdate) -> None:
        key = (event.symbol, event.kind)
        before = self.prices.get(key)
        self.prices[key] = d.MarkUsed(
            event.symbol, event.kind, event.price, event.source, event.time
        )
        is_asset = event.symbol in self.rules.assets
        if event.kind == "last" or (event.kind == "index" and not is_asset):
            return
        if before is None:
            holders = self._holders_of_asset if is_asset else self.book.holders
            self._touched.update(dict.fromkeys(holders(event.symbol)))
            return
        if self._watch.worn():
            self._watch.renewed()
            self._touched.update(dict.fromkeys(self.book.all_groups()))
            return
        was, now = float(before.price), float(event.price)
        if is_asset:
            near = self._watch.index_moved(event.symbol, was, now)
        else:
            near = self._watch.mark_moved(event.symbol, was, now, self.prices)
        self._touched.update(dict.fromkeys(near))

    def _holders_of_asset(self, asset: str) -> list[Group]:
        """Return the groups that own or owe an asset, or have a leg settled in it."""
        column = self.book.cash_column(asset)
        found = {self.book.at(row) for row in column.nonzero()[0].tolist()}
        for symbol, table in self.book.legs.items():
            if table.settle.name == asset:
                found.update(self.book.holders(symbol))
        return sorted(found, key=lambda group: group.key)

    def _instrument_listed(self, event: e.InstrumentListed) -> None:
        new = event.instrument
        if self.rules.definition(new.name) == new:
            return
        self.list_instrument(new)
        self._rules_changed()

    def list_instrument(self, instrument: Instrument) -> None:
        """Add or replace a definition, and make room for it in the book."""
        self.rules.list_instrument(instrument)
        if isinstance(instrument, Asset):
            self.book.list_asset(instrument)
        else:
            self.book.list_instrument(instrument)

    def _profile_changed(self, event: e.ProfileChanged) -> None:
        if self.rules.profile != event.profile:
            self.rules.put_in_force(event.profile)
            self._rules_changed()

    def _rules_changed(self) -> None:
        self.changed.rules = True
        if self.rules.profile is None:
            return
        self._watch.new_rules()
        self._set_timers()
        if self.ready:
            self._touched.update(dict.fromkeys(self.book.all_groups()))

    # --- timers

    def _set_gap_timer(self, account: Account) -> None:
        if account.gap_since is not None:
            due = account.gap_since + self.rules.in_force.liquidation.gap_timeout
            if due > self.time:
                heapq.heappush(self._timers, Timer(due, account.id, account.id, "", ""))

    def _set_timers(self) -> None:
        """Set every timer anew, from state."""
        self._timers = []
        for account in self.accounts.values():
            self._set_gap_timer(account)
            for group in account.groups.values():
                liquidation = group.liquidation
                if liquidation is None:
                    continue
                if liquidation.awaiting_until is not None:
                    self.set_timer(liquidation.awaiting_until, group)
                for order in liquidation.orders.values():
                    self.set_timer(order.cancelling_until or order.expires, group, order.id)

    def _fire_timers(self, now: int) -> bool:
        """Fire what is due by `now`, each at its own time; tell whether anything did."""
        fired = False
        while self._timers and self._timers[0].due <= now:
            timer = heapq.heappop(self._timers)
            account = self.accounts.get(timer.account)
            if account is None:
                continue
            fired = True
            self.time = max(self.time, timer.due)
            if not timer.margin:
                if account.gap_since is not None:
                    for group in account.ordered_groups():
                        self._decide(group)
                continue
            group = account.groups[timer.margin]
            if group.liquidation is not None and self._fire(group, group.liquidation, timer):
                self._decide(group)
        return fired

    def _fire(self, group: Group, liquidation: Liquidation, timer: Timer) -> bool:
        """Carry out one timer; tell whether the group is to be decided."""
        if not timer.order:
            if liquidation.awaiting_until != timer.due:
                return False
            liquidation.awaiting_until = None
            group.open_orders.clear()
            self.anomaly(
                group, "unacknowledged", "", "open orders: no answer to their cancellation"
            )
            self.changed.accounts.add(group.account.id)
            return True
        order = liquidation.orders.get(timer.order)
        if order is None:
            return False
        if order.cancelling_until is None and order.expires == timer.due:
            self.cancel(group, order, "expired")
            if not order.is_sale:
                liquidation.backstop = True
            return False
        if order.cancelling_until == timer.due:
            del liquidation.orders[order.id]
            self.anomaly(group, "unacknowledged", order.id, "no answer to its cancellation")
            self.changed.accounts.add(group.account.id)
            return True
        return False

    def cancel(self, group: Group, order: Order, reason: d.CancelReason) -> None:
        """Ask the venue to cancel a live order or sale."""
        order.cancelling_until = self.time + self.rules.in_force.liquidation.ack_timeout
        self.set_timer(order.cancelling_until, group, order.id)
        self.emit_for(group, d.CancelOrder, order_id=order.id, reason=reason)
        self.changed.accounts.add(group.account.id)

    # --- deciding

    def _look_at_touched(self) -> None:
        """Find out which touched groups will take a step, riskiest first."""
        touched, self._touched = self._touched, {}
        if not self.ready:
            return
        found: list[Pending] = []
        for group in touched:
            state, situation, step = self._look_at(group)
            self._note(group, state, situation)
            if step != "rest":
                found.append(Pending(group, state, situation, step))
        self._pending = sorted(found, key=cmp_to_key(_more_urgent))

    def _decide_slice(self) -> None:
        now, self._pending = self._pending[:SLICE], self._pending[SLICE:]
        for pending in now:
            self._decide(pending.group, pending)

    def _decide(self, group: Group, looked: Pending | None = None) -> None:
        """Take steps until the group is at rest."""
        state, situation, step = looked[1:] if looked else self._look_at(group)
        while step != "rest":
            STEPS[step](self, group, state)
            self.changed.accounts.add(group.account.id)
            if group.liquidation is None:
                self.liquidating.pop(group, None)
            else:
                self.liquidating[group] = None
            state, situation, step = self._look_at(group)
        self._note(group, state, situation)

    def _look_at(self, group: Group) -> tuple[Health | None, Situation, Step]:
        """Return a group's health, what is true of it, and the step it will take."""
        state = self.health_of(group)
        situation = self._situation(group, state)
        return state, situation, next_step(_reason(group), situation)

    def _waits_for_gap(self, account: Account) -> bool:
        since = account.gap_since
        return since is not None and (
            self.time < since + self.rules.in_force.liquidation.gap_timeout
        )

    def _situation(self, group: Group, state: Health | None) -> Situation:
        rules, liquidation = self.rules, group.liquidation
        profile = rules.in_force
        cash = state.cash if state else group.cash
        owed = [asset for asset, amount in cash.items() if amount < 0]
        live = liquidation.in_order() if liquidation else []
        active = [order for order in live if order.cancelling_until is None]
        block = self.block_of(group)
        overdrawn = False
        if liquidation is None and group.margin == e.CROSS:
            limits = ((cash[a], profile.collateral_of(a).auto_convert_below) for a in owed)
            overdrawn = any(limit is not None and amount < -limit for amount, limit in limits)
        if liquidation is not None:
            owed = owed_assets(group, liquidation.reason, rules)
        call, exposed = profile.margin_call, state is not None and state.exposed
        return Situation(
            protected=group.account.protected,
            legs=bool(group.symbols),
            owes=bool(owed),
            convertible=any(cash.get(asset, ZERO) > 0 for asset in profile.conversion),
            gap=self._waits_for_gap(group.account),
            blocked=bool(block),
            waiting=bool(block) and liquidation is not None and liquidation.waits == block,
            priced=state is not None,
            breached=state is not None and breached(state, rules),
            restored=state is not None and restored(state, rules),
            overdrawn=overdrawn,
            called=group.called,
            near=exposed and state.maintenance >= call.at * state.margin_equity if state else False,
            clear=not exposed or state.maintenance < call.reset * state.margin_equity
            if state
            else False,
            opened=liquidation is not None and liquidation.opened,
            awaiting=liquidation is not None and liquidation.awaiting_until is not None,
            live=bool(live),
            halted_live=any(_under_halt(order, rules) for order in active),
            orders_live=any(not order.is_sale for order in active),
        )

    def _note(self, group: Group, state: Health | None, situation: Situation) -> None:
        """Tell the screens what to watch this group for."""
        rise = fall = math.nan
        profile, reason = self.rules.in_force, _reason(group)
        if reason == "idle":
            if not situation.protected and state is not None and state.exposed:
                rise = 1.0 if group.called else float(profile.margin_call.at)
                fall = float(profile.margin_call.reset) if group.called else math.nan
        elif reason == "breach":
            if situation.orders_live or not situation.live:
                fall = 1.0 / float(ONE + profile.trigger.stop_buffer)
        elif not situation.live:
            rise = 1.0
        self._watch.note(group, state, STANDINGS.index(_standing(group, state)) + 1, rise, fall)


def _reason(group: Group) -> Any:
    return group.liquidation.reason if group.liquidation else "idle"


def _standing(group: Group, state: Health | None) -> str:
    if group.liquidation is not None:
        return group.liquidation.waits or "liquidating"
    if state is None:
        return "unpriced"
    return "called" if group.called else "healthy"


def _under_halt(order: Order, rules: Rules) -> bool:
    return rules.halted_all if order.is_sale else rules.halts(order.symbol)


def _more_urgent(one: Pending, other: Pending) -> int:
    if one.health is None or other.health is None:
        order = (one.health is None) - (other.health is None)
    else:
        order = riskier(
            (one.health.margin_equity, one.health.maintenance),
            (other.health.margin_equity, other.health.maintenance),
        )
    if order:
        return order
    return -1 if one.group.key < other.group.key else 1


def record_of(event: e.Event) -> str:
    """Name an event for people: what it is about, and its sequence."""
    if isinstance(event, e.AccountEvent):
        return f"{event.account}#{event.sequence}"
    if isinstance(event, e.PriceUpdate):
        return f"{event.source}:{event.symbol}#{event.sequence}"
    if isinstance(event, e.FundMoved):
        return f"fund#{event.sequence}"
    if isinstance(event, e.InstrumentListed):
        return event.instrument.name
    if isinstance(event, e.ProfileChanged):
        return event.profile.name
    return getattr(event, "symbol", "")
