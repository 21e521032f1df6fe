"""The life of one liquidation, as a table, and whose turn comes first.

Theory of operation. A margin group is looked at whenever an event touched it or a price may have
taken it over a threshold. What is true of it then is a `Situation`: a few booleans, each a function
of state. The table of its reason (idle, breach, auto_convert) is read from the top; the first row
whose conditions all hold names the step. A step either changes the situation, and the table is read
again, or it is a rest. Nothing else drives a liquidation, so it can be put down and taken up at any
point.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cmp_to_key
from typing import Any, Literal

import msgspec

from engine.book import Group
from engine.decisions import Side, StartReason, Waits
from engine.margin import Health
from engine.money import ZERO
from engine.situation import Reason, Situation

Step = Literal[
    "rest",
    "book",
    "start_breach",
    "start_auto_convert",
    "call",
    "reset_call",
    "cancel_own",
    "reset_told",
    "cancel_exempt",
    "cancel_halted",
    "cancel_restored",
    "end_flat",
    "end_healthy",
    "end_converted",
    "end_superseded",
    "end_exempt",
    "hold",
    "release",
    "open",
    "cool",
    "hold_back",
    "stand_by",
    "orders",
    "sales",
    "draw",
    "set_off",
    "seize",
    "queue",
    "give_up",
]

Layer = Literal["", "netting", "fund", "backstop", "adl"]
"""Who is to take a position: the market, or those whom a transfer names."""

Row = tuple[dict[str, bool], Step]

_PENNILESS = {"legs": False, "owes": True, "convertible": False}
"""A group with negative cash, and nothing of its own to cover it but what it lent."""

TABLES: dict[Reason, tuple[Row, ...]] = {
    "idle": (
        ({"protected": True}, "rest"),
        ({**_PENNILESS, "backed": False, "gap": True}, "rest"),
        ({**_PENNILESS, "backed": False}, "book"),
        ({"priced": False}, "rest"),
        ({"breached": True}, "start_breach"),
        ({"overdrawn": True, "convertible": True}, "start_auto_convert"),
        ({"told": True, "eased": True}, "reset_told"),
        ({"told": False, "resting": True, "strained": True}, "cancel_own"),
        ({"called": True, "clear": True}, "reset_call"),
        ({"called": False, "near": True}, "call"),
        ({}, "rest"),
    ),
    "breach": (
        ({"protected": True, "uncancelled": True}, "cancel_exempt"),
        ({"live": True, "halted_live": True}, "cancel_halted"),
        ({"live": True, "orders_live": True, "priced": True, "restored": True}, "cancel_restored"),
        ({"live": True}, "rest"),
        ({"protected": True, "auctions": True}, "rest"),
        ({"protected": True}, "end_exempt"),
        ({"awaiting": True}, "rest"),
        ({"legs": False, "owes": False, "indebted": False, "auctions": True}, "rest"),
        ({"legs": False, "owes": False, "indebted": False}, "end_flat"),
        ({"judged": True, "priced": False}, "rest"),
        ({"judged": True, "restored": True, "auctions": True}, "rest"),
        ({"judged": True, "restored": True}, "end_healthy"),
        ({**_PENNILESS, "gap": False, "drawable": True}, "draw"),
        ({**_PENNILESS, "gap": False}, "book"),
        ({"legs": False, "owes": False, "lost": True, "gap": False}, "give_up"),
        ({"waiting": True}, "rest"),
        ({"blocked": True}, "hold"),
        ({"held": True}, "release"),
        ({"opened": False}, "open"),
        ({"early": True}, "rest"),
        ({"promised": True, "noted": False}, "stand_by"),
        ({"promised": True}, "rest"),
        ({"cooling": True, "noted": False}, "cool"),
        ({"cooling": True}, "rest"),
        ({"legs": True}, "orders"),
        ({"priced": False}, "rest"),
        ({"owes": True}, "sales"),
        ({"settable": True}, "set_off"),
        ({"toxic": True, "noted": False}, "hold_back"),
        ({"toxic": True}, "rest"),
        ({"seizable": True}, "seize"),
        ({"full": True, "capped": False}, "queue"),
        ({"full": True}, "rest"),
        ({"sellable": True}, "sales"),
        ({}, "rest"),
    ),
    "auto_convert": (
        ({"protected": True, "uncancelled": True}, "cancel_exempt"),
        ({"live": True, "halted_live": True}, "cancel_halted"),
        ({"live": True}, "rest"),
        ({"protected": True}, "end_exempt"),
        ({"owes": False}, "end_converted"),
        ({"convertible": False}, "end_converted"),
        ({"priced": False}, "rest"),
        ({"breached": True}, "end_superseded"),
        ({"waiting": True}, "rest"),
        ({"blocked": True}, "hold"),
        ({}, "sales"),
    ),
}


_COMPILED = {
    reason: tuple(
        (tuple((Situation._fields.index(name), value) for name, value in row.items()), step)
        for row, step in rows
    )
    for reason, rows in TABLES.items()
}


def next_step(reason: Reason, situation: Situation) -> Step:
    """Return the step of the first row whose conditions all hold."""
    for conditions, step in _COMPILED[reason]:
        for place, value in conditions:
            if situation[place] is not value:
                break
        else:
            return step
    raise LookupError(f"no row of {reason} fits {situation}")


class Order:
    """A live liquidation order, collateral sale or seizure; `size` and `filled` unsigned.

    A seizure repays up to `size` of the debt to the pool `symbol`, and takes `seize` for all of it
    of what is supplied to the pool `collateral`. A transfer closes a leg against `counterparty`
    (account, margin), who is called by `layer`; other orders in a leg go to the market, and pay a
    liquidation fee at `fee_rate`. Live until the venue closes it, or does not answer
    a cancellation by `cancelling_until`.
    """

    __slots__ = (
        "attempt",
        "bankruptcy",
        "cancelling_until",
        "collateral",
        "counterparty",
        "expires",
        "fee_rate",
        "filled",
        "for_asset",
        "id",
        "layer",
        "limit",
        "seize",
        "side",
        "size",
        "symbol",
    )

    def __init__(
        self,
        order_id: str,
        attempt: int,
        symbol: str,
        side: Side,
        size: Decimal,
        limit: Decimal,
        expires: int,
        bankruptcy: Decimal | None = None,
        for_asset: str = "",
        collateral: str = "",
        seize: Decimal = ZERO,
        fee_rate: Decimal = ZERO,
        layer: Layer = "",
        counterparty: tuple[str, str] = ("", ""),
    ) -> None:
        self.id = order_id
        self.attempt = attempt
        self.symbol = symbol
        self.side: Side = side
        self.size = size
        self.filled = ZERO
        self.limit = limit
        self.bankruptcy = bankruptcy
        self.expires = expires
        self.for_asset = for_asset
        self.collateral = collateral
        self.seize = seize
        self.fee_rate = fee_rate
        self.layer: Layer = layer
        self.counterparty = counterparty
        self.cancelling_until: int | None = None

    @property
    def unfilled(self) -> Decimal:
        """What is still to fill, 0 where fills passed the size."""
        return max(self.size - self.filled, ZERO)

    @property
    def is_sale(self) -> bool:
        """Whether this sells collateral rather than closing a leg."""
        return bool(self.for_asset)

    @property
    def is_seizure(self) -> bool:
        """Whether this repays a loan against what was supplied."""
        return bool(self.collateral)

    @property
    def is_transfer(self) -> bool:
        """Whether a leg is to be closed against a named counterparty, not in the market."""
        return bool(self.layer)

    @property
    def is_market(self) -> bool:
        """Whether a leg is to be closed in the market, by whoever comes."""
        return self.closes_leg and not self.layer

    @property
    def closes_leg(self) -> bool:
        """Whether this is an order in a derivative."""
        return not (self.is_sale or self.is_seizure)


class Auction(msgspec.Struct, forbid_unknown_fields=True):
    """A live auction of `lot` of what was supplied to `collateral`.

    `debt` is what it has to raise in the asset of `pool`, of which `due` was owed and the rest is
    the penalty. The price falls from `start_price` since `started` (microseconds UTC).
    """

    id: str
    attempt: int
    pool: str
    collateral: str
    lot: Decimal
    due: Decimal
    debt: Decimal
    start_price: Decimal
    started: int
    resets: int = 0


class Liquidation:
    """One liquidation of a group, from its start to its end.

    While its orders are held back ("capped", "toxic") they are planned anew from `again_at` on, or
    once there is room in one of the symbols that it `awaits`. `passed` are those
    (symbol, layer, account, margin) whose transfers were not filled: they are not asked again,
    unless the market finds nobody either.
    """

    __slots__ = (
        "again_at",
        "auctions",
        "awaiting_until",
        "awaits",
        "backstop",
        "cooling_until",
        "freed",
        "losses",
        "number",
        "opened",
        "opened_at",
        "orders",
        "passed",
        "reason",
        "waits",
    )

    def __init__(self, number: int, reason: StartReason, waits: Waits) -> None:
        self.number = number
        self.reason: StartReason = reason
        self.waits: Waits = waits
        self.opened = False
        self.opened_at = 0
        self.freed = ZERO
        self.cooling_until: int | None = None
        self.awaits: tuple[str, ...] = ()
        self.again_at = 0
        self.awaiting_until: int | None = None
        self.backstop = False
        self.orders: dict[str, Order] = {}
        self.losses: dict[str, Decimal] = {}
        self.auctions: dict[str, Auction] = {}
        self.passed: set[tuple[str, Layer, str, str]] = set()

    def not_filled(self, order: Order) -> None:
        """Ask nobody again for what did not come of a transfer; everybody where the market, too,
        found nobody."""
        if order.layer:
            self.passed.add((order.symbol, order.layer, *order.counterparty))
        elif order.is_market and not order.filled:
            self.passed = {one for one in self.passed if one[0] != order.symbol}

    def unpause(self) -> None:
        """Wait for nothing that the rules of before had it wait for."""
        self.cooling_until = None
        if self.waits in ("capped", "cooldown", "toxic"):
            self.waits = ""

    def in_order(self) -> list[Order]:
        """Return what is live, by attempt."""
        return sorted(self.orders.values(), key=lambda order: order.attempt)


def risk_key(state: Health | None, group: Group) -> Any:
    """Return the sort key that puts the riskiest group first, unpriced ones last."""
    return _BY_RISK((state, group.key))


def _compare_lines(
    one: tuple[Health | None, tuple[str, str]], other: tuple[Health | None, tuple[str, str]]
) -> int:
    if one[0] is None or other[0] is None:
        order = (one[0] is None) - (other[0] is None)
    else:
        order = compare_risk(one[0], other[0])
    return order or (-1 if one[1] < other[1] else 1)


def compare_risk(one: Health, other: Health) -> int:
    """Compare margin equity over maintenance without dividing: −1 where `one` is the riskier.

    dYdX v4, `lib/margin/risk.go:63`: cross products, then the larger requirement, then the lower
    equity where neither has a requirement. To be called in the exact context.
    """
    here, there = (
        one.margin_equity * other.maintenance,
        other.margin_equity * one.maintenance,
    )
    if here != there:
        return -1 if here < there else 1
    if one.maintenance != other.maintenance:
        return -1 if one.maintenance > other.maintenance else 1
    if one.margin_equity != other.margin_equity and one.maintenance == 0:
        return -1 if one.margin_equity < other.margin_equity else 1
    return 0


_BY_RISK = cmp_to_key(_compare_lines)
