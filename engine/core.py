"""The engine: the state, `apply` and `proceed`.

Events in, decisions out; what happens in which order stands in docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from decimal import Decimal, localcontext
from typing import Any, NamedTuple, TypeVar

from engine import admission, booking
from engine import decisions as d
from engine import events as e
from engine.book import Account, Book, Group
from engine.candidates import Candidates
from engine.capped import Capped
from engine.conditions import Refusal
from engine.gates import Gates
from engine.instruments import Asset, Instrument
from engine.ledger import Ledger
from engine.liquidation import Order, Step, next_step, risk_key
from engine.margin import Health, health
from engine.markets import Markets
from engine.money import EXACT
from engine.pace import HELD_BACK, Flight, Sent
from engine.rules import Rules
from engine.situation import (
    Situation,
    reason_of,
    situation_of,
    standing_of,
    thresholds_of,
)
from engine.steps import STEPS
from engine.timers import Timers
from engine.transfers import Transfers
from engine.watch import Watch

SLICE = 64
"""Groups decided by one call of `apply` or `proceed`."""

D = TypeVar("D", bound=d.Decision)


class Changed:
    """What the next write of state has to hold; the first one holds the rules, if only none."""

    def __init__(self) -> None:
        self.accounts: set[str] = set()
        self.markets: set[str] = set()
        self.funds: set[str] = set()
        self.rules = True


class Pending(NamedTuple):
    """A group that will take a step, as it was when looked at; one that was `held_back` may be
    listed twice, as touched and as waiting."""

    group: Group
    health: Health | None
    situation: Situation
    step: Step
    held_back: bool

    @property
    def risk(self) -> Any:
        """What the riskiest is the least by."""
        return risk_key(self.health, self.group)


class Engine:
    """One shard's margin state, and everything it decides.

    `shard` is its number, `seq` the number of events it was given, `index` the number of decisions
    of the last one, `time` the largest time applied, in microseconds UTC.
    """

    def __init__(self, shard: int = 0) -> None:
        self.shard = shard
        self.seq = 0
        self.index = 0
        self.rules = Rules()
        self.book = Book()
        self.ledger = Ledger()
        self.markets = Markets()
        self.price_sequences: dict[str, dict[str, int]] = {}
        self.changed = Changed()
        self.liquidating: dict[Group, None] = {}
        self.watch = Watch(self.book, self.rules, self.markets)
        self.timers = Timers()
        self.gates = Gates()
        self.transfers = Transfers()
        self.candidates = Candidates()
        self.sent = Sent()
        self.flight = Flight()
        self._capped = Capped(self, self._value)
        self._touched: dict[Group, None] = {}
        self._pending: list[Pending] = []
        self._stale = self._disordered = False
        self._out: list[d.Decision] = []
        self._newcomer: Account | None = None

    @property
    def time(self) -> int:
        """Engine time, which markets know too: what loans are worth depends on it."""
        return self.markets.now

    @time.setter
    def time(self, now: int) -> None:
        self.markets.now = now

    @property
    def accounts(self) -> dict[str, Account]:
        """Every account, by id."""
        return self.book.accounts

    @property
    def prices(self) -> MutableMapping[tuple[str, str], d.MarkUsed]:
        """Every price that counts, by symbol and kind."""
        return self.markets.prices

    @property
    def ready(self) -> bool:
        """Whether a profile is in force and its numeraire is listed."""
        profile = self.rules.profile
        return profile is not None and profile.numeraire in self.rules.assets

    def apply(self, event: e.Event) -> list[d.Decision]:
        """Apply one event and decide the first slice of the groups it concerns.

        Raises `RuntimeError` while `proceed` still has something to give.
        """
        if self.undecided:
            raise RuntimeError("engine: the last event is not decided yet, call proceed()")
        with localcontext(EXACT):
            self.seq += 1
            self.index = 0
            self._newcomer = None
            self._receive(event)
            if self._touched or self.watch.risks.count:
                self._look_at_touched()
                self._decide_slice()
        return self._taken()

    def proceed(self) -> list[d.Decision]:
        """Decide slices of groups until one decides something; nothing when none is left."""
        with localcontext(EXACT):
            while self.undecided and not self._out:
                self._decide_slice()
        return self._taken()

    def take_up(self) -> None:
        """Find everything that state says is still to be done, after the state was restored."""
        with localcontext(EXACT):
            if self.rules.profile is not None:
                self.watch.new_rules()
            for group in self.book.all_groups():
                if group.liquidation is not None:
                    self.liquidating[group] = None
                    for order in group.liquidation.in_order():
                        self.flight.follow(order)
                        if order.is_transfer:
                            self.transfers.follow(order, self.rules)
                self.touch(group)
            self.timers.set_anew(self)
            self.gates.restore(self)
            self._look_at_touched()
            if self._capped:
                self._capped.riskiest()  # Passes over those who would take no step.

    @property
    def undecided(self) -> bool:
        """Whether `proceed` still has something to give."""
        return bool(self._pending or self._capped)

    def next_step_of(self, group: Group) -> Step:
        """Return the step that a group would take now; "rest" unless something was overlooked."""
        with localcontext(EXACT):
            return self._look_at(group)[2]

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
        self.write(group)

    def write(self, group: Group) -> None:
        """Write the state of a group's account."""
        self.candidates.forget(group)
        self.changed.accounts.add(group.account.id)

    def charge(self, asset: str, charges: Mapping[Group, Decimal]) -> None:
        """Take what others lost off groups' cash, and look at those for whom that may change
        something: where the screens cannot tell, and before a step of theirs."""
        waiting = {pending.group for pending in self._pending}
        for group, amount in charges.items():
            self.book.add_cash(group, asset, -amount)
            self.write(group)
            owes = self.book.cash_of(group, asset) <= 0
            if owes or group.liquidation is not None or group in waiting:
                self._touched[group] = None
        self.look_at(self.watch.cash_moved(asset, {group: -charges[group] for group in charges}))
        self.others_changed(health=True)

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

    def funds_changed(self, asset: str) -> None:
        """Take note that funds or bad debt of an asset changed: its gate may have to close."""
        self.changed.funds.add(asset)
        self.gates.unsettled.add(asset)

    def price_of(self, asset: str) -> Decimal | None:
        """Return the price of an asset in the numeraire, if known."""
        return self.rules.price_of(asset, self.markets)

    def find_live(self, account: str, order_id: str) -> tuple[Group, Order] | None:
        """Return a live order or sale with its group."""
        for group in self.accounts[account].groups.values():
            if group.liquidation and order_id in group.liquidation.orders:
                return group, group.liquidation.orders[order_id]
        return None

    def forget(self, account: Account) -> None:
        """Delete an empty account."""
        for group in account.groups.values():
            self.watch.forget(group)
            self._touched.pop(group, None)
        self.book.close_account(account)
        self.changed.accounts.add(account.id)

    def health_of(self, group: Group) -> Health | None:
        """Return a group's health at the prices of now."""
        return health(group.holdings, self.rules, self.markets)

    def list_instrument(self, instrument: Instrument) -> None:
        """Add or replace a definition, and make room for it in the book."""
        self.rules.list_instrument(instrument)
        if isinstance(instrument, Asset):
            self.book.list_asset(instrument)
            self.list_pools()
        else:
            self.book.list_instrument(instrument)

    def list_pools(self) -> None:
        """Make room in the book for the pools in force."""
        if self.rules.lending is not None:
            self.book.list_pools(self.rules.lending)

    def others_changed(self, *, health: bool = False) -> None:
        """Take note that a decision changed a pool, or another group: who is not decided yet is
        looked at again when its turn comes, and those now whose health fell by it (`health`): they
        were touched."""
        self._stale = True
        self._disordered = self._disordered or health

    def look_at(self, groups: list[Group]) -> None:
        """Look at groups once this event is applied, though nothing of theirs was written."""
        self._touched.update(dict.fromkeys(groups))

    def cancel(self, group: Group, order: Order, reason: d.CancelReason) -> None:
        """Ask the venue to cancel a live order or sale."""
        order.cancelling_until = self.time + self.rules.in_force.liquidation.ack_timeout
        self.timers.await_order(group, order)
        self.emit_for(group, d.CancelOrder, order_id=order.id, reason=reason)
        self.changed.accounts.add(group.account.id)

    # --- receiving

    def _taken(self) -> list[d.Decision]:
        out, self._out = self._out, []
        return out

    def _receive(self, event: e.Event) -> None:
        """Place an event in its sequence, refuse it or apply it (docs/semantics.md, 3)."""
        if self._refused(event, admission.unknown(self, event)):
            return
        last, sequence = self._sequences(event)
        gap = False
        if last is not None and sequence is not None and sequence != last + 1:
            told = {"event": type(event).__name__, "record": record_of(event)}
            if sequence <= last:
                self.emit(d.Duplicate, **told, sequence=sequence, last=last)
                return
            gap = True
            self.emit(d.Gap, **told, expected=last + 1, received=sequence)
        known = not isinstance(event, e.AccountEvent) or event.account in self.accounts
        if self._refused(event, admission.refusal(self, event)):
            if known:
                self._note_sequence(event, self.time, gap=gap)
        elif isinstance(event, e.PriceEvent) and not self._counts(event):
            self._note_sequence(event, self.time, gap=False)
            self.emit(d.Ignored, symbol=event.symbol, kind=event.kind, source=event.source)
        else:
            self._admit(event, gap=gap, known=known)

    def _refused(self, event: e.Event, why: Refusal | None) -> bool:
        if why is not None:
            told = {"event": type(event).__name__, "record": record_of(event)}
            self.emit(d.Refused, **told, rule=why[0], detail=why[1])
        return why is not None

    def _admit(self, event: e.Event, *, gap: bool, known: bool) -> None:
        """Move time, and apply an event that nothing speaks against."""
        now = max(self.time, event.time)
        if known:
            # Noted before timers fire: what is missing holds back what they would decide.
            self._note_sequence(event, now, gap=gap)
        if self.timers.fire(self, now) and self._refused(event, admission.refusal(self, event)):
            return
        self.time = now
        self.look_at(self.watch.due(now))
        if isinstance(event, e.AccountEvent) and not known:
            self._newcomer = Account(event.account, event.sequence)
            self.book.open_account(self._newcomer)
            self.touch_account(self._newcomer)
        booking.BOOKING[type(event)](self, event)
        self.gates.settle(self)

    def _sequences(self, event: e.Event) -> tuple[int | None, int | None]:
        """Return (last one noted, this event's), none where the event has no place in a
        sequence."""
        if isinstance(event, e.PriceEvent):
            return self.price_sequences.get(event.symbol, {}).get(event.source), event.sequence
        if isinstance(event, e.AccountEvent):
            account = self.accounts.get(event.account)
            return (account.sequence if account else None), event.sequence
        if isinstance(event, e.TreasuryEvent) and event.shard == self.shard:
            return self.rules.fund_sequence, event.sequence
        if isinstance(event, e.FundingRate):
            return self.rules.funding_sequences.get(event.symbol), event.sequence
        return None, None

    def _note_sequence(self, event: e.Event, now: int, *, gap: bool) -> None:
        if isinstance(event, e.PriceEvent):
            self.price_sequences.setdefault(event.symbol, {})[event.source] = event.sequence
            self.changed.markets.add(event.symbol)
        elif isinstance(event, e.AccountEvent):
            account = self.accounts[event.account]
            account.sequence = event.sequence
            self.changed.accounts.add(account.id)
            if gap and account.gap_since is None:
                account.gap_since = now
                gap_timeout = self.rules.in_force.liquidation.gap_timeout
                self.timers.await_missing(account, gap_timeout, self.time)
                self.touch_account(account)
        elif isinstance(event, e.TreasuryEvent) and event.shard == self.shard:
            self.rules.fund_sequence = event.sequence
            self.changed.rules = True
        elif isinstance(event, e.FundingRate):
            self.rules.funding_sequences[event.symbol] = event.sequence
            self.changed.rules = True

    def _counts(self, event: e.PriceEvent) -> bool:
        return event.source == self.rules.in_force.source_of(event.symbol, event.kind)

    # --- deciding

    def _look_at_touched(self) -> None:
        """Find out which touched groups will take a step, riskiest first."""
        touched, self._touched = self._touched, {}
        rest = [pending for pending in self._pending if pending.group not in touched]
        # Those who are not looked at again keep their places, and are when their turn comes.
        self._stale, self._disordered = bool(rest), False
        if not self.ready:
            self._capped.forget()
            return
        found: list[Pending] = []
        for group in touched:
            pending = self._value(group)
            self._note(group, pending.health, pending.situation)
            if pending.step != "rest":
                found.append(pending)
        self._pending = rest
        if found:
            self._pending = found + rest
            self._pending.sort(key=lambda one: one.risk, reverse=True)
        self._capped.renew()

    def _decide_slice(self) -> None:
        for _ in range(SLICE):
            pending = self._next()
            if pending is None:
                return
            self._decide(pending)
            if self._disordered:
                self._look_at_touched()

    def _next(self) -> Pending | None:
        """Return who is to be decided next, among those who wait for room too."""
        waiting = self._capped.riskiest()
        if waiting is None:
            return self._pending.pop() if self._pending else None
        if self._pending and self._pending[-1].risk < waiting.risk:
            return self._pending.pop()
        self._capped.take()
        return waiting

    def _decide(self, pending: Pending) -> None:
        """Take steps until the group is at rest."""
        group, state, situation, step, held_back = pending
        if self._stale or held_back:
            state, situation, step = self._look_at(group)
        while step != "rest":
            STEPS[step](self, group, state)
            self.gates.settle(self)
            self.changed.accounts.add(group.account.id)
            if group.liquidation is None:
                self.liquidating.pop(group, None)
            else:
                self.liquidating[group] = None
            state, situation, step = self._look_at(group)
        self.candidates.forget(group)
        self._note(group, state, situation)

    def _note(self, group: Group, state: Health | None, situation: Situation) -> None:
        """Tell the screens where a group stands, and what to watch it for."""
        thresholds = thresholds_of(situation, group, self.rules)
        self.watch.note(group, state, standing_of(group, state), *thresholds)

    def _value(self, group: Group) -> Pending:
        held_back = group.liquidation is not None and group.liquidation.waits in HELD_BACK
        return Pending(group, *self._look_at(group), held_back)

    def _look_at(self, group: Group) -> tuple[Health | None, Situation, Step]:
        """Return a group's health, what is true of it, and the step it will take."""
        state = self.health_of(group)
        situation = situation_of(self, group, state)
        return state, situation, next_step(reason_of(group), situation)


def record_of(event: e.Event) -> str:
    """Name an event for people: what it is about, and its sequence."""
    if isinstance(event, e.AccountEvent):
        return f"{event.account}#{event.sequence}"
    if isinstance(event, e.PriceEvent):
        return f"{event.source}:{event.symbol}#{event.sequence}"
    if isinstance(event, e.TreasuryEvent):
        return f"fund#{event.sequence}"
    if isinstance(event, e.InstrumentListed):
        return event.instrument.name
    if isinstance(event, e.ProfileChanged):
        return event.profile.name
    if isinstance(event, e.PoolState | e.InterestAccrued):
        return event.pool
    return getattr(event, "symbol", "")
