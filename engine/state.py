"""State as keyed records, and back; its digest.

Keys: `account/ID`, `market/SYMBOL`, `fund/ASSET`, `rules`, `shard`. A record is canonical JSON: the
same state gives the same bytes. Whatever `apply` may read later is here; what can be derived is
not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any

import msgspec

from engine import wire
from engine.book import Account, Group
from engine.core import Engine
from engine.decisions import MarkUsed, Side, StartReason, Waits
from engine.events import Role
from engine.instruments import Instrument
from engine.ledger import Ledger
from engine.liquidation import Liquidation, Order
from engine.money import EXACT
from engine.options import OptionInputs
from engine.pools import LendingPool
from engine.profile import RiskProfile
from engine.volatility import VolatilityState


class OrderRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A live order or sale."""

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


class AccountRecord(msgspec.Struct, forbid_unknown_fields=True):
    """An account; `orders` lists (margin, symbols) of liquidations 1, 2, …"""

    role: Role
    sequence: int
    gap_since: int | None
    debts: int
    orders: list[tuple[str, list[str]]]
    groups: list[GroupRecord]


class MarketRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Prices of a symbol with their sequences, what is known of its market, and what it brought, by
    asset.

    `averages` by kind of price; `interest` (long size, short size), `pool` (deposits, borrows) and
    `option` where they were told, `lending` of a pool.
    """

    prices: list[MarkUsed]
    averages: dict[str, Decimal]
    interest: tuple[Decimal, Decimal] | None
    pool: tuple[Decimal, Decimal] | None
    option: OptionInputs | None
    volatility: VolatilityState | None
    lending: LendingPool | None
    sequences: dict[str, int]
    clearing: dict[str, Decimal]
    shortfall: dict[str, Decimal]
    paid_by_fund: dict[str, Decimal]
    paid_by_reserve: dict[str, Decimal]
    socialised: dict[str, Decimal]
    bad_debt: dict[str, Decimal]
    recovered: dict[str, Decimal]


_NOTHING = MarketRecord([], {}, None, None, None, None, None, {}, {}, {}, {}, {}, {}, {}, {})


class FundRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The insurance fund and the running sums of one asset."""

    fund: Decimal
    fees: Decimal
    deposits: Decimal
    withdrawals: Decimal
    top_ups: Decimal
    adjustments: Decimal


class RulesRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The rules in force."""

    profile: RiskProfile | None
    instruments: list[Instrument]
    halted: list[str]
    halted_all: bool
    settled: list[str]
    fund_sequence: int | None
    funding_sequences: dict[str, int]


class ShardRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Where the engine stands."""

    seq: int
    index: int
    time: int


def records(engine: Engine) -> dict[str, bytes]:
    """Return the whole state, by key in order of key."""
    found: dict[str, bytes] = {"rules": _rules(engine), "shard": _shard(engine)}
    for account in engine.accounts.values():
        found[f"account/{account.id}"] = _account(account)
    for market in _markets(engine):
        record = _market(engine, market)
        if record is not None:
            found[f"market/{market}"] = record
    for asset in engine.rules.assets:
        found[f"fund/{asset}"] = _fund(engine.ledger, asset)
    return dict(sorted(found.items()))


def changes(engine: Engine) -> dict[str, bytes | None]:
    """Return the records that changed since the last call, none for a deleted one; start anew."""
    changed = engine.changed
    found: dict[str, bytes | None] = {"shard": _shard(engine)}
    if changed.rules:
        found["rules"] = _rules(engine)
        changed.funds.update(engine.rules.assets)
    for name in sorted(changed.accounts):
        account = engine.accounts.get(name)
        found[f"account/{name}"] = _account(account) if account else None
    for market in sorted(changed.markets):
        found[f"market/{market}"] = _market(engine, market)
    for asset in sorted(changed.funds):
        found[f"fund/{asset}"] = _fund(engine.ledger, asset)
    changed.accounts, changed.markets, changed.funds = set(), set(), set()
    changed.rules = False
    return found


def digest(engine: Engine) -> str:
    """Return the SHA-256 of the state, in hexadecimal."""
    total = hashlib.sha256()
    for key, record in records(engine).items():
        total.update(b"%d:%d:" % (len(key), len(record)))
        total.update(key.encode())
        total.update(record)
    return total.hexdigest()


def run_digest(digests: Iterable[str]) -> str:
    """Return the digest of a run: of its shards' digests, in shard order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def restore(shard: int, items: Iterable[tuple[str, bytes]]) -> Engine:
    """Return an engine in the state that `items` describe; `proceed` then does what was left.

    Raises `WireError` for a record that cannot be read, `ValueError` for an unknown key.
    """
    engine = Engine(shard)
    by_kind: dict[str, list[tuple[str, bytes]]] = {}
    for key, raw in items:
        kind, _, name = key.partition("/")
        by_kind.setdefault(kind, []).append((name, raw))
    unknown = set(by_kind) - {"rules", "shard", "account", "market", "fund"}
    if unknown:
        raise ValueError(f"state: unknown keys: {', '.join(sorted(unknown))}")
    with localcontext(EXACT):
        for _, raw in by_kind.get("rules", []):
            _restore_rules(engine, wire.read(raw, RulesRecord))
        for _, raw in by_kind.get("shard", []):
            record = wire.read(raw, ShardRecord)
            engine.seq, engine.index, engine.time = record.seq, record.index, record.time
        for name, raw in by_kind.get("market", []):
            _restore_market(engine, name, wire.read(raw, MarketRecord))
        for name, raw in by_kind.get("fund", []):
            _restore_fund(engine.ledger, name, wire.read(raw, FundRecord))
        for name, raw in sorted(by_kind.get("account", [])):
            _restore_account(engine, name, wire.read(raw, AccountRecord))
    engine.take_up()
    changes(engine)
    return engine


def _markets(engine: Engine) -> list[str]:
    ledger = engine.ledger
    names = {symbol for symbol, _ in engine.prices} | set(engine.price_sequences)
    names |= set(engine.markets.interest) | set(engine.markets.pools)
    names |= {market for market, _ in ledger.clearing}
    names |= {market for _, market in ledger.shortfall} | set(engine.markets.lending)
    return sorted(names)


def _shard(engine: Engine) -> bytes:
    return wire.write(ShardRecord(engine.seq, engine.index, engine.time))


def _rules(engine: Engine) -> bytes:
    rules = engine.rules
    listed: list[Instrument] = [rules.assets[name] for name in sorted(rules.assets)]
    listed += [rules.derivatives[name] for name in sorted(rules.derivatives)]
    return wire.write(
        RulesRecord(
            profile=rules.profile,
            instruments=listed,
            halted=sorted(rules.halted),
            halted_all=rules.halted_all,
            settled=sorted(rules.settled),
            fund_sequence=rules.fund_sequence,
            funding_sequences=dict(sorted(rules.funding_sequences.items())),
        )
    )


def _restore_rules(engine: Engine, record: RulesRecord) -> None:
    rules = engine.rules
    if record.profile is not None:
        rules.put_in_force(record.profile)
    for instrument in record.instruments:
        engine.list_instrument(instrument)
    engine.list_pools()
    rules.halted, rules.halted_all = set(record.halted), record.halted_all
    rules.settled = set(record.settled)
    rules.fund_sequence = record.fund_sequence
    rules.funding_sequences = record.funding_sequences


def _market(engine: Engine, market: str) -> bytes | None:
    """Return a market's record, none while there is nothing to remember of it."""
    ledger, markets, assets = engine.ledger, engine.markets, sorted(engine.rules.assets)

    def by_asset(sums: dict[tuple[str, str], Decimal]) -> dict[str, Decimal]:
        return {a: sums[a, market] for a in assets if sums.get((a, market))}

    prices = [engine.prices.get((market, kind)) for kind in ("mark", "index", "last")]
    sequences = engine.price_sequences.get(market, {})
    clearing = {a: ledger.clearing[market, a] for a in assets if ledger.clearing.get((market, a))}
    record = MarketRecord(
        prices=[price for price in prices if price is not None],
        averages=dict(
            sorted((k, v) for (name, k), v in markets.averages.items() if name == market)
        ),
        interest=markets.interest.get(market),
        pool=markets.pools.get(market),
        option=markets.options.get(market),
        volatility=markets.volatilities.get(market),
        lending=markets.lending.get(market),
        sequences=dict(sorted(sequences.items())),
        clearing=clearing,
        **{name: by_asset(getattr(ledger, name)) for name in Ledger.BY_MARKET},
    )
    return wire.write(record) if record != _NOTHING else None


def _restore_market(engine: Engine, market: str, record: MarketRecord) -> None:
    for price in record.prices:
        engine.prices[market, price.kind] = price
    for kind, average in record.averages.items():
        engine.markets.averages[market, kind] = average
    known: tuple[tuple[dict[str, Any], Any], ...] = (
        (engine.markets.interest, record.interest),
        (engine.markets.pools, record.pool),
        (engine.markets.options, record.option),
        (engine.markets.volatilities, record.volatility),
        (engine.markets.lending, record.lending),
    )
    for table, value in known:
        if value is not None:
            table[market] = value
    if record.sequences:
        engine.price_sequences[market] = record.sequences
    for asset, amount in record.clearing.items():
        engine.ledger.clearing[market, asset] = amount
    for name in Ledger.BY_MARKET:
        for asset, amount in getattr(record, name).items():
            getattr(engine.ledger, name)[asset, market] = amount


def _fund(ledger: Ledger, asset: str) -> bytes:
    zero = Decimal(0)
    return wire.write(
        FundRecord(**{name: getattr(ledger, name).get(asset, zero) for name in Ledger.BY_ASSET})
    )


def _restore_fund(ledger: Ledger, asset: str, record: FundRecord) -> None:
    for name in Ledger.BY_ASSET:
        getattr(ledger, name)[asset] = getattr(record, name)


def _account(account: Account) -> bytes:
    return wire.write(
        AccountRecord(
            role=account.role,
            sequence=account.sequence,
            gap_since=account.gap_since,
            debts=account.debts,
            orders=[account.orders[number] for number in sorted(account.orders)],
            groups=[_group(group) for group in account.ordered_groups()],
        )
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
            )
            for order in liquidation.in_order()
        ],
        losses=dict(sorted(liquidation.losses.items())),
    )


def _restore_account(engine: Engine, name: str, record: AccountRecord) -> None:
    account = Account(name, record.sequence, record.role)
    account.gap_since = record.gap_since
    account.debts = record.debts
    account.orders = dict(enumerate(record.orders, start=1))
    engine.book.open_account(account)
    for stored in record.groups:
        group = engine.book.group(account, stored.margin)
        for asset, amount in stored.cash.items():
            engine.book.set_cash(group, asset, amount)
        for symbol, (size, cost) in stored.legs.items():
            engine.book.set_leg(group, symbol, size, cost)
        group.called = stored.called
        group.orders_told = stored.orders_told
        group.last_market = stored.last_market
        group.open_orders = stored.open_orders
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
        )
        order.filled = stored.filled
        order.cancelling_until = stored.cancelling_until
        liquidation.orders[order.id] = order
    return liquidation
