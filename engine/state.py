"""State as keyed records, and back; its digest.

Keys: `account/ID`, `market/SYMBOL`, `fund/ASSET`, `rules`, `shard`. A record is canonical JSON: the
same state gives the same bytes. Whatever `apply` may read later is here; what can be derived is
not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any, TypeVar

import msgspec

from engine import wire
from engine.account_state import AccountRecord, account_record, restore_account
from engine.core import Engine
from engine.decisions import MarkUsed
from engine.drawdown import FundHistory
from engine.instruments import Instrument
from engine.ledger import Ledger
from engine.markets import HeldPrice
from engine.money import EXACT
from engine.options import OptionInputs
from engine.pace import Sent
from engine.pools import LendingPool
from engine.profile import RiskProfile
from engine.volatility import VolatilityState

V = TypeVar("V")


class MarketRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Prices of a symbol with their sequences, what is known of its market, and what it brought, by
    asset.

    `averages` by kind of price; `interest` (long size, short size), `pool` (deposits, borrows) and
    `option` where they were told, `lending` of a pool; `held` by kind of price, `flow` (second,
    size); `unfilled` counts orders.
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
    written_off: dict[str, Decimal] = {}
    paid_for_positions: dict[str, Decimal] = {}
    held: dict[str, HeldPrice] = {}
    flow: list[tuple[int, Decimal]] = []
    unfilled: int = 0


_NOTHING = MarketRecord([], {}, None, None, None, None, None, {}, {}, {}, {}, {}, {}, {}, {})


class FundRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The insurance funds and the running sums of one asset."""

    fund: Decimal
    fees: Decimal
    deposits: Decimal
    withdrawals: Decimal
    top_ups: Decimal
    adjustments: Decimal
    named_funds: dict[str, Decimal] = {}
    histories: dict[str, FundHistory] = {}


class RulesRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The rules in force."""

    profile: RiskProfile | None
    instruments: list[Instrument]
    halted: list[str]
    halted_all: bool
    settled: list[str]
    fund_sequence: int | None
    funding_sequences: dict[str, int]
    tripped: list[str] = []


class ShardRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Where the engine stands."""

    seq: int
    index: int
    time: int
    sent: Sent = Sent()


def records(engine: Engine) -> dict[str, bytes]:
    """Return the whole state, by key in order of key."""
    found: dict[str, bytes] = {"rules": _rules(engine), "shard": _shard(engine)}
    for account in engine.accounts.values():
        found[f"account/{account.id}"] = wire.write(account_record(account))
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
        found[f"account/{name}"] = wire.write(account_record(account)) if account else None
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
            engine.sent = record.sent
        for name, raw in by_kind.get("market", []):
            _restore_market(engine, name, wire.read(raw, MarketRecord))
        for name, raw in by_kind.get("fund", []):
            _restore_fund(engine.ledger, name, wire.read(raw, FundRecord))
        for name, raw in sorted(by_kind.get("account", [])):
            restore_account(engine.book, name, wire.read(raw, AccountRecord))
    engine.take_up()
    changes(engine)
    return engine


def _markets(engine: Engine) -> list[str]:
    ledger = engine.ledger
    names = {symbol for symbol, _ in engine.prices} | set(engine.price_sequences)
    names |= set(engine.markets.interest) | set(engine.markets.pools)
    names |= set(engine.markets.flow) | set(engine.markets.unfilled)
    names |= {market for market, _ in ledger.clearing}
    names |= {market for _, market in ledger.shortfall} | set(engine.markets.lending)
    return sorted(names)


def _shard(engine: Engine) -> bytes:
    return wire.write(ShardRecord(engine.seq, engine.index, engine.time, engine.sent))


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
            tripped=sorted(rules.tripped),
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
    rules.tripped, rules.settled = set(record.tripped), set(record.settled)
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
        averages=_by_kind(markets.averages, market),
        interest=markets.interest.get(market),
        pool=markets.pools.get(market),
        option=markets.options.get(market),
        volatility=markets.volatilities.get(market),
        lending=markets.lending.get(market),
        sequences=dict(sorted(sequences.items())),
        clearing=clearing,
        held=_by_kind(markets.held, market),
        flow=markets.flow.get(market, []),
        unfilled=markets.unfilled.get(market, 0),
        **{name: by_asset(getattr(ledger, name)) for name in Ledger.BY_MARKET},
    )
    return wire.write(record) if record != _NOTHING else None


def _by_kind(prices: dict[tuple[str, str], V], market: str) -> dict[str, V]:
    return dict(sorted((kind, price) for (name, kind), price in prices.items() if name == market))


def _restore_market(engine: Engine, market: str, record: MarketRecord) -> None:
    for price in record.prices:
        engine.prices[market, price.kind] = price
    for kind, average in record.averages.items():
        engine.markets.averages[market, kind] = average
    for kind, held in record.held.items():
        engine.markets.held[market, kind] = held
    if record.flow:
        engine.markets.flow[market] = record.flow
    if record.unfilled:
        engine.markets.unfilled[market] = record.unfilled
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
    named = {name: amount for (a, name), amount in ledger.named_funds.items() if a == asset}
    return wire.write(
        FundRecord(
            **{name: getattr(ledger, name).get(asset, zero) for name in Ledger.BY_ASSET},
            named_funds={name: amount for name, amount in sorted(named.items()) if amount},
            histories=dict(
                sorted((name, one) for (a, name), one in ledger.histories.items() if a == asset)
            ),
        )
    )


def _restore_fund(ledger: Ledger, asset: str, record: FundRecord) -> None:
    for name in Ledger.BY_ASSET:
        getattr(ledger, name)[asset] = getattr(record, name)
    for name, amount in record.named_funds.items():
        ledger.named_funds[asset, name] = amount
    for name, history in record.histories.items():
        ledger.histories[asset, name] = history
