"""An account as a record of state, and back: groups, loans, liquidations in progress."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.book import Account, Book, Group, History
from engine.decisions import Side, StartReason, Waits
from engine.events import Role
from engine.liquidation import Auction, Layer, Liquidation, Order
from engine.money import ZERO


class OrderRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A live order, sale or seizure."""

    attempt: int
    symbol: str
    side: Side
    size: Decimal
    filled: Decimal
    limit: Decimal
    expires: int
    bankruptcy: Decimal | None
    for_asset: str
    cancelling_until: int | None
    collateral: str = ""
    seize: Decimal = ZERO
    fee_rate: Decimal = ZERO
    layer: Layer = ""
    counterparty: tuple[str, str] = ("", "")


class LiquidationRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A liquidation in progress."""

    number: int
    reason: StartReason
    waits: Waits
    opened: bool
    awaiting_until: int | None
    backstop: bool
    orders: list[OrderRecord]
    losses: dict[str, Decimal]
    auctions: list[Auction] = []
    opened_at: int = 0
    freed: Decimal = ZERO
    cooling_until: int | None = None
    awaits: tuple[str, ...] = ()
    again_at: int = 0
    passed: list[tuple[str, Layer, str, str]] = []


class LoansRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The loans of a margin group: principals supplied and owed, and debts given up, by pool."""

    supplied: dict[str, Decimal]
    owed: dict[str, Decimal]
    disabled: list[str]
    category: str
    given_up: dict[str, Decimal]


class GroupRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A margin group."""

    margin: str
    cash: dict[str, Decimal]
    legs: dict[str, tuple[Decimal, Decimal]]
    called: bool
    orders_told: bool
    last_market: str
    open_orders: dict[str, tuple[Decimal, Decimal]]
    liquidation: LiquidationRecord | None
    loans: LoansRecord | None = None
    session: dict[str, Decimal] = {}


class AccountRecord(msgspec.Struct, forbid_unknown_fields=True):
    """An account; `orders` lists what liquidations 1, 2, … issued."""

    role: Role
    sequence: int
    gap_since: int | None
    debts: int
    orders: list[History]
    groups: list[GroupRecord]


def account_record(account: Account) -> AccountRecord:
    """Return what there is to remember of an account."""
    return AccountRecord(
        role=account.role,
        sequence=account.sequence,
        gap_since=account.gap_since,
        debts=account.debts,
        orders=[account.orders[number] for number in sorted(account.orders)],
        groups=[_group(group) for group in account.ordered_groups()],
    )


def _group(group: Group) -> GroupRecord:
    liquidation = group.liquidation
    return GroupRecord(
        margin=group.margin,
        cash=group.cash,
        legs={symbol: (leg.size, leg.cost) for symbol, leg in group.legs.items()},
        called=group.called,
        orders_told=group.orders_told,
        last_market=group.last_market,
        open_orders=dict(sorted(group.open_orders.items())),
        liquidation=_liquidation(liquidation) if liquidation else None,
        loans=_loans(group),
        session=dict(sorted(group.session.items())),
    )


def _loans(group: Group) -> LoansRecord | None:
    """Return what a group has to do with pools, none if nothing."""
    held = group.loans
    record = LoansRecord(
        supplied={pool: loan.supplied for pool, loan in held.items() if loan.supplied},
        owed={pool: loan.owed for pool, loan in held.items() if loan.owed},
        disabled=sorted(group.disabled),
        category=group.category,
        given_up=dict(sorted(group.given_up.items())),
    )
    return record if record != LoansRecord({}, {}, [], "", {}) else None


def _restore_loans(group: Group, record: LoansRecord) -> None:
    for pool in {**record.supplied, **record.owed}:
        zero = Decimal(0)
        supplied, owed = record.supplied.get(pool, zero), record.owed.get(pool, zero)
        group.book.set_loan(group, pool, supplied, owed)
    group.disabled = set(record.disabled)
    group.category = record.category
    group.given_up = record.given_up


def _liquidation(liquidation: Liquidation) -> LiquidationRecord:
    return LiquidationRecord(
        number=liquidation.number,
        reason=liquidation.reason,
        waits=liquidation.waits,
        opened=liquidation.opened,
        awaiting_until=liquidation.awaiting_until,
        backstop=liquidation.backstop,
        orders=[
            OrderRecord(
                attempt=order.attempt,
                symbol=order.symbol,
                side=order.side,
                size=order.size,
                filled=order.filled,
                limit=order.limit,
                expires=order.expires,
                bankruptcy=order.bankruptcy,
                for_asset=order.for_asset,
                cancelling_until=order.cancelling_until,
                collateral=order.collateral,
                seize=order.seize,
                fee_rate=order.fee_rate,
                layer=order.layer,
                counterparty=order.counterparty,
            )
            for order in liquidation.in_order()
        ],
        losses=dict(sorted(liquidation.losses.items())),
        auctions=sorted(liquidation.auctions.values(), key=lambda one: one.attempt),
        opened_at=liquidation.opened_at,
        freed=liquidation.freed,
        cooling_until=liquidation.cooling_until,
        awaits=liquidation.awaits,
        again_at=liquidation.again_at,
        passed=sorted(liquidation.passed),
    )


def restore_account(book: Book, name: str, record: AccountRecord) -> None:
    """Open an account as it was remembered."""
    account = Account(name, record.sequence, record.role)
    account.gap_since = record.gap_since
    account.debts = record.debts
    account.orders = dict(enumerate(record.orders, start=1))
    book.open_account(account)
    for stored in record.groups:
        group = book.group(account, stored.margin)
        for asset, amount in stored.cash.items():
            book.set_cash(group, asset, amount)
        for symbol, (size, cost) in stored.legs.items():
            book.set_leg(group, symbol, size, cost)
        group.called = stored.called
        group.orders_told = stored.orders_told
        group.last_market = stored.last_market
        group.open_orders = stored.open_orders
        group.session = stored.session
        if stored.loans is not None:
            _restore_loans(group, stored.loans)
        if stored.liquidation is not None:
            group.liquidation = _restored_liquidation(account, stored.liquidation)


def _restored_liquidation(account: Account, record: LiquidationRecord) -> Liquidation:
    liquidation = Liquidation(record.number, record.reason, record.waits)
    liquidation.opened = record.opened
    liquidation.awaiting_until = record.awaiting_until
    liquidation.backstop = record.backstop
    liquidation.losses = record.losses
    liquidation.opened_at = record.opened_at
    liquidation.freed = record.freed
    liquidation.cooling_until = record.cooling_until
    liquidation.awaits, liquidation.again_at = record.awaits, record.again_at
    liquidation.passed = set(record.passed)
    for stored in record.orders:
        order = Order(
            account.order_id(record.number, stored.attempt),
            stored.attempt,
            stored.symbol,
            stored.side,
            stored.size,
            stored.limit,
            stored.expires,
            stored.bankruptcy,
            stored.for_asset,
            stored.collateral,
            stored.seize,
            stored.fee_rate,
            stored.layer,
            stored.counterparty,
        )
        order.filled = stored.filled
        order.cancelling_until = stored.cancelling_until
        liquidation.orders[order.id] = order
    liquidation.auctions = {auction.id: auction for auction in record.auctions}
    return liquidation
