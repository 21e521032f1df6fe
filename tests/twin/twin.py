"""The twin itself: one event in, all its decisions out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from engine import events
from engine.decisions import AnyDecision, Duplicate, Gap, Ignored, Refused
from tests.twin.amounts import decimal
from tests.twin.auctions import reset, reset_due
from tests.twin.books import Account, Auction, Group, Order, World
from tests.twin.deciding import cancel, decide_all
from tests.twin.facts import apply
from tests.twin.funds import review_gates
from tests.twin.limits import RefusalError
from tests.twin.refusals import check, check_known
from tests.twin.trades import anomaly, not_filled
from tests.twin.values import health

Timer = tuple[int, str, Callable[[], None]]


class Twin:
    """The whole engine, naively."""

    def __init__(self, shard: int = 0) -> None:
        self.world = World(shard)

    def apply(self, event: events.AnyEvent) -> list[AnyDecision]:
        """Apply an event and return every decision that it leads to."""
        world = self.world
        world.seq += 1
        world.out = []
        try:
            check_known(world, event)
            if self._numbered(event):
                self._take(event)
        except RefusalError as broken:
            rule = str(broken)
            name = type(event).__name__
            world.emit(Refused, event=name, record=record_of(event), rule=rule, detail="")
        if world.policy is not None:
            decide_all(world)
        return world.out

    def _numbered(self, event: events.AnyEvent) -> bool:
        """Note an event's sequence; tell whether the event is new."""
        world, key = self.world, sequence_key(event, self.world.shard)
        if key is None:
            return True
        number: int = event.sequence
        account = world.accounts.get(key[1]) if key[0] == "account" else None
        last = account.sequence if account else world.sequences.get(key)
        about: dict[str, Any] = {"event": type(event).__name__, "record": record_of(event)}
        if last is not None and number <= last:
            world.emit(Duplicate, **about, sequence=number, last=last)
            return False
        if account:
            account.sequence = number
        elif key[0] != "account":
            world.sequences[key] = number
        if last is not None and number > last + 1:
            world.emit(Gap, **about, expected=last + 1, received=number)
            self._flag(account, event)
        return True

    def _flag(self, account: Account | None, event: events.AnyEvent) -> None:
        if account is None or account.gap_since is not None:
            return
        try:
            check(self.world, event)
        except RefusalError:
            account.gap_since = self.world.time
        else:
            account.gap_since = max(self.world.time, event.time)

    def _take(self, event: events.AnyEvent) -> None:
        world = self.world
        check(world, event)
        if isinstance(event, events.PriceEvent):
            kind = event.kind if isinstance(event, events.PriceUpdate) else "mark"
            if not world.rules.counts(event.symbol, kind, event.source):
                world.emit(Ignored, symbol=event.symbol, kind=kind, source=event.source)
                return
        if self._fire_timers(event.time):
            check(world, event)
        world.time = max(world.time, event.time)
        apply(world, event)
        review_gates(world)

    # --- timers

    def _fire_timers(self, until: int) -> bool:
        self.until = until
        start, fired = self.world.time, set[tuple[int, str]]()
        while due := [t for t in self._timers(start) if t[0] <= until and t[:2] not in fired]:
            at, key, fire = min(due, key=lambda timer: timer[:2])
            fired.add((at, key))
            self.world.time = max(self.world.time, at)
            fire()
        return bool(fired)

    def _timers(self, start: int) -> list[Timer]:
        timers: list[Timer] = []
        for account in self.world.accounts.values():
            if account.gap_since is not None:
                due = account.gap_since + self.world.rules.source.liquidation.gap_timeout
                if due > start:
                    timers.append((due, account.name, _looked_at))
            for group in account.groups.values():
                timers += self._timers_of(group)
        return timers

    def _timers_of(self, group: Group) -> list[Timer]:
        liquidation = group.liquidation
        if liquidation is None:
            return []
        timers: list[Timer] = []
        if liquidation.awaiting is not None:
            key = f"{group.account}:{liquidation.number}"
            timers.append((liquidation.awaiting, key, self._orders_not_cancelled(group)))
        if liquidation.cooling_until is not None:
            key = f"{group.account}:{liquidation.number}:cooldown"
            timers.append((liquidation.cooling_until, key, _looked_at))
        for order in liquidation.live.values():
            if order.cancelling is None:
                timers.append((order.expires, order.id, self._expired(group, order)))
            else:
                timers.append((order.cancelling, order.id, self._not_closed(group, order)))
        for auction in liquidation.auctions.values():
            if (due := reset_due(self.world, auction)) is not None:
                timers.append((due, auction.id, self._too_old(group, auction)))
        return timers

    def _orders_not_cancelled(self, group: Group) -> Callable[[], None]:
        def fire() -> None:
            assert group.liquidation is not None
            anomaly(self.world, group, "unacknowledged", "")
            group.liquidation.awaiting = None
            group.orders.clear()

        return fire

    def _expired(self, group: Group, order: Order) -> Callable[[], None]:
        def fire() -> None:
            assert group.liquidation is not None
            cancel(self.world, group, order, "expired")
            not_filled(self.world, group.liquidation, order)

        return fire

    def _not_closed(self, group: Group, order: Order) -> Callable[[], None]:
        def fire() -> None:
            assert group.liquidation is not None
            anomaly(self.world, group, "unacknowledged", order.id)
            del group.liquidation.live[order.id]

        return fire

    def _too_old(self, group: Group, auction: Auction) -> Callable[[], None]:
        def fire() -> None:
            reset(self.world, group, auction, max(self.world.time, self.until))

        return fire

    # --- the books, in decimals

    def group(self, account: str, margin: str) -> Group:
        """Return a group, an empty one where there was none."""
        return self.world.accounts[account].group(margin)

    def level(self, group: Group, context: str) -> tuple[Decimal, Decimal] | None:
        """Return margin equity and requirement in a context; none if the group is unpriced."""
        found = health(self.world, group, context)
        if found is None:
            return None
        return decimal(found.margin_equity), decimal(found.requirement)

    def cash(self, account: str, margin: str = "cross") -> dict[str, Decimal]:
        """Return the cash of a group by asset, zeros left out."""
        groups = self.world.accounts[account].groups
        return _decimals(groups[margin].cash) if margin in groups else {}

    def waits(self, account: str, margin: str) -> str:
        """Return what the liquidation of a group waits for, "" for nothing."""
        liquidation = self.world.accounts[account].groups[margin].liquidation
        return liquidation.waits if liquidation else ""

    def legs(self, account: str, margin: str = "cross") -> dict[str, tuple[Decimal, Decimal]]:
        """Return size and cost of a group's legs by symbol."""
        groups = self.world.accounts[account].groups
        legs = groups[margin].legs if margin in groups else {}
        return {symbol: (decimal(leg.size), decimal(leg.cost)) for symbol, leg in legs.items()}

    def loans(self, group: Group) -> dict[str, tuple[Decimal, Decimal]]:
        """Return the principals of a group's loans by pool, supplied and owed."""
        return {
            pool: (decimal(loan.supplied), decimal(loan.owed))
            for pool, loan in group.loans.items()
            if loan.supplied or loan.owed
        }

    def given_up(self, group: Group) -> dict[str, Decimal]:
        """Return what was given up of a group's debts, by pool."""
        return _decimals({pool: loan.given_up for pool, loan in group.loans.items()})

    def pool(self, name: str) -> dict[str, Any]:
        """Return the state of a pool by name of its fields."""
        fields = vars(self.world.lending[name])
        return {
            field: decimal(value) if isinstance(value, Fraction) else value
            for field, value in fields.items()
        }

    def ledger(self, name: str) -> dict[Any, Decimal]:
        """Return one of the ledger's sums (fund, fees, clearing, …), zeros left out."""
        return _decimals(getattr(self.world.ledger, name))

    @property
    def fund(self) -> dict[str, Decimal]:
        """The insurance fund by asset."""
        return self.ledger("fund")

    @property
    def shortfall(self) -> dict[tuple[str, str], Decimal]:
        """Every shortfall so far, by (asset, market)."""
        return self.ledger("shortfall")

    @property
    def bad_debt(self) -> dict[tuple[str, str], Decimal]:
        """What nobody paid, by (asset, market)."""
        return self.ledger("bad_debt")


def _looked_at() -> None:
    """Do nothing: everybody is looked at with the event that moved time."""


def _decimals(amounts: dict[Any, Any]) -> dict[Any, Decimal]:
    return {key: decimal(amount) for key, amount in amounts.items() if amount}


def sequence_key(event: events.AnyEvent, shard: int) -> tuple[str, str] | None:
    """Name the series of numbers that an event belongs to, if it has one."""
    match event:
        case events.AccountEvent():
            return "account", event.account
        case events.PriceUpdate() | events.OptionMark():
            return "price", f"{event.source}:{event.symbol}"
        case events.FundMoved() | events.Recovered() | events.WrittenOff():
            return ("fund", "") if event.shard == shard else None
        case events.FundingRate():
            return "funding", event.symbol
    return None


def record_of(event: events.AnyEvent) -> str:
    """Name an event as refusals do."""
    match event:
        case events.AccountEvent():
            return f"{event.account}#{event.sequence}"
        case events.PriceUpdate() | events.OptionMark():
            return f"{event.source}:{event.symbol}#{event.sequence}"
        case events.FundMoved() | events.Recovered() | events.WrittenOff():
            return f"fund#{event.sequence}"
        case events.InstrumentListed():
            return event.instrument.name
        case events.ProfileChanged():
            return event.profile.name
        case events.PoolState() | events.InterestAccrued():
            return event.pool
        case events.TimePassed() | events.SessionClosed():
            return ""
        case _:
            return event.symbol
