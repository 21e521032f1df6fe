"""What a shadow would have done otherwise than the engine beside it: liquidation by liquidation.

The other engine is known by its forced fills, those that carry an order id, and by its orders where
these are on a topic in our form. What happened to one margin group within a window is one
liquidation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from consumers import journal, standing
from consumers.config import Config
from consumers.presence import require
from engine import decisions as d
from engine import events as e
from engine import wire
from producers.topics import partitions

GroupName = tuple[str, str]
"""Account and margin."""

ACTS = (
    d.LiquidationOrder,
    d.TakeOver,
    d.Deleverage,
    d.CollateralSale,
    d.CollateralLiquidation,
    d.AuctionStarted,
)
"""What a liquidation does; one that was held back from its beginning to its end did nothing."""

TOLD = tuple(
    f'{{"type":"{kind.__name__}"'.encode()
    for kind in (*ACTS, d.LiquidationStarted, d.LiquidationEnded)
)
SECOND = 1_000_000


@dataclass
class Closed:
    """What was closed in a symbol, or was to be: size, and at what price or limit."""

    size: Decimal
    price: Decimal | None


@dataclass
class Liquidation:
    """One liquidation of one side: times in microseconds UTC, what it closed by symbol."""

    number: int | None
    began: int
    ended: int
    closed: dict[str, Closed] = field(default_factory=dict)


Side = dict[GroupName, list[Liquidation]]


class Ours:
    """Our liquidations, from what the shadow decided."""

    def __init__(self) -> None:
        self.found: Side = defaultdict(list)
        self.last = 0

    def take(self, decision: d.Decision) -> None:
        """Take up one decision."""
        self.last = max(self.last, decision.time)
        if not isinstance(decision, d.GroupDecision):
            return
        of_group = self.found[decision.account, decision.margin]
        if isinstance(decision, d.LiquidationStarted):
            of_group.append(Liquidation(decision.number, -1, -1))
        elif not of_group:
            return
        elif isinstance(decision, d.LiquidationEnded):
            of_group[-1].ended = decision.time
        elif isinstance(decision, ACTS):
            self._act(of_group[-1], decision)

    def _act(self, liquidation: Liquidation, decision: d.Decision) -> None:
        if liquidation.began < 0:
            liquidation.began = decision.time
        # The first order says how much was meant; later ones ask again for what did not fill.
        match decision:
            case d.LiquidationOrder():
                closed = Closed(decision.size, decision.limit_price)
                liquidation.closed.setdefault(decision.symbol, closed)
            case d.TakeOver() | d.Deleverage():
                closed = Closed(decision.size, decision.price)
                liquidation.closed.setdefault(decision.symbol, closed)
            case d.CollateralSale():
                closed = Closed(decision.amount, decision.limit_price)
                liquidation.closed.setdefault(decision.asset, closed)

    def ended(self) -> Side:
        """Return the liquidations that did anything; what has not ended lasts until now."""
        acted: Side = {}
        for name, of_group in self.found.items():
            for liquidation in of_group:
                if liquidation.ended < 0:
                    liquidation.ended = self.last
                if liquidation.began >= 0:
                    acted.setdefault(name, []).append(liquidation)
        return acted


class Theirs:
    """The other engine's liquidations, from its orders and forced fills, in any order."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._acts: dict[GroupName, list[tuple[int, str, Decimal, Decimal]]] = defaultdict(list)

    def fill(self, event: e.Fill | e.CollateralSold | e.Seized) -> None:
        """Take up a fact that carries an order id."""
        acts = self._acts[event.account, event.margin]
        match event:
            case e.Fill():
                acts.append((event.time, event.symbol, abs(event.size), event.price))
            case e.CollateralSold():
                acts.append((event.time, event.asset, event.amount, event.proceeds / event.amount))
            case e.Seized():
                acts.append((event.time, event.pool, event.repaid, Decimal(0)))

    def order(self, decision: d.Decision) -> None:
        """Take up a decision on the topic of the other engine's orders."""
        if isinstance(decision, ACTS):
            assert isinstance(decision, d.GroupDecision)
            self._acts[decision.account, decision.margin].append(
                (decision.time, "", Decimal(0), Decimal(0))
            )

    def found(self) -> Side:
        """Return the liquidations: acts on one group, none further than the window from the
        last."""
        found: Side = {}
        for name, acts in self._acts.items():
            of_group: list[Liquidation] = []
            for time, symbol, size, price in sorted(acts):
                if not of_group or time > of_group[-1].ended + self._window:
                    of_group.append(Liquidation(None, time, time))
                of_group[-1].ended = time
                if symbol:
                    _add(of_group[-1].closed, symbol, size, price)
            found[name] = of_group
        return found


def _add(closed: dict[str, Closed], symbol: str, size: Decimal, price: Decimal) -> None:
    """Add a fill; prices are averaged by size."""
    before = closed.setdefault(symbol, Closed(Decimal(0), Decimal(0)))
    total = before.size + size
    if total and before.price is not None:
        worth = before.price * before.size + price * size
        before.price = (worth / total).quantize(Decimal("0.00000001")).normalize()
    before.size = total


def compared(ours: Side, theirs: Side, window: int) -> dict[str, Any]:
    """Return every liquidation by who carried it out, and totals; `window` in microseconds."""
    both, only_ours, only_theirs, groups = [], [], [], 0
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name, []), theirs.get(name, [])
        groups += not (mine and other)
        for liquidation in mine:
            meeting = [it for it in other if _meet(liquidation, it, window)]
            if meeting:
                both.append(_pair(name, liquidation, meeting[0]))
            else:
                only_ours.append({**_alone(name, liquidation), "group_of_both": bool(other)})
        only_theirs += [
            {**_alone(name, it), "group_of_both": bool(mine)}
            for it in other
            if not any(_meet(it, one, window) for one in mine)
        ]
    leads = [row["lead_ms"] for row in both]
    totals = {
        "both": len(both),
        "ours_first": sum(lead > 0 for lead in leads),
        "theirs_first": sum(lead < 0 for lead in leads),
        "median_lead_ms": median(leads) if leads else None,
        "only_ours": len(only_ours),
        "only_theirs": len(only_theirs),
        "groups_of_one_side": groups,
    }
    return {"totals": totals, "only_ours": only_ours, "only_theirs": only_theirs, "both": both}


def _meet(one: Liquidation, other: Liquidation, window: int) -> bool:
    return one.began <= other.ended + window and other.began <= one.ended + window


def _alone(name: GroupName, liquidation: Liquidation) -> dict[str, Any]:
    return {
        "account": name[0],
        "margin": name[1],
        "number": liquidation.number,
        "time": liquidation.began,
        "closed": {symbol: _said(it) for symbol, it in liquidation.closed.items()},
    }


def _pair(name: GroupName, ours: Liquidation, theirs: Liquidation) -> dict[str, Any]:
    symbols = sorted({*ours.closed, *theirs.closed})
    return {
        **_alone(name, ours),
        "their_time": theirs.began,
        "lead_ms": (theirs.began - ours.began) / 1000,
        "closed": {
            symbol: {
                "ours": _said(ours.closed.get(symbol)),
                "theirs": _said(theirs.closed.get(symbol)),
            }
            for symbol in symbols
        },
    }


def _said(closed: Closed | None) -> dict[str, Any] | None:
    return None if closed is None else {"size": closed.size, "price": closed.price}


async def report(config: Config, window: int) -> dict[str, Any]:
    """Compare what shadow and engine did with all that the shadow has read.

    Raises `TopicMissing`, `KafkaError`.
    """
    client, topics = config.client(), config.topics
    await require(client, topics.positions, topics.risk_events)
    ours, theirs = Ours(), Theirs(window)
    for shard in await standing.read(config):
        partition = TopicPartition(topics.risk_events, shard.shard)
        async for decision in _decisions(journal.committed(client, partition)):
            ours.take(decision)
        partition = TopicPartition(topics.positions, shard.shard)
        async for record in journal.committed(client, partition):
            if record.offset >= shard.positions:
                break
            if (fact := _forced(record.value or b"")) is not None:
                theirs.fill(fact)
    if config.shadow.orders:
        await require(client, config.shadow.orders)
        count = (await partitions(client, [config.shadow.orders]))[config.shadow.orders]
        for number in range(count):
            orders = journal.committed(client, TopicPartition(config.shadow.orders, number))
            async for decision in _decisions(orders):
                if decision.time <= ours.last:
                    theirs.order(decision)
    return compared(ours.ended(), theirs.found(), window)


async def _decisions(
    records: AsyncIterator[ConsumerRecord[bytes, bytes]],
) -> AsyncIterator[d.Decision]:
    """Give the decisions that tell of liquidations; others are not even decoded."""
    async for record in records:
        value = record.value or b""
        if value.startswith(TOLD):
            yield wire.read_decision(value)


def _forced(raw: bytes) -> e.Fill | e.CollateralSold | e.Seized | None:
    """Return the fact in a record if it carries an order id."""
    if b'"order_id"' not in raw or b'"order_id":""' in raw:
        return None
    try:
        event = wire.read_event(raw, "positions")
    except wire.WireError:
        return None
    if isinstance(event, e.Fill | e.CollateralSold | e.Seized) and event.order_id:
        return event
    return None


def differences(told: dict[str, Any]) -> int:
    """Return how many margin groups one side alone ever liquidated.

    Whom both did may come to it again on one side: fees and fills make accounts differ afterwards.
    """
    found: int = told["totals"]["groups_of_one_side"]
    return found
