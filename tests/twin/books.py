"""The twin's state: accounts, groups, orders, the ledger, prices and rules."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from engine.decisions import AnyDecision, GroupDecision, MarkUsed
from engine.instruments import Asset, Future, Option, Perpetual
from engine.interest import Index
from tests.twin.amounts import ONE, ZERO
from tests.twin.terms import AssetTerms, ContractTerms, Policy


@dataclass
class Leg:
    """A position: signed size, and what it cost in the settlement asset."""

    size: Fraction
    cost: Fraction


@dataclass
class Loan:
    """What a group supplied to a pool and owes it, in principals; `given_up` in the asset."""

    supplied: Fraction = ZERO
    owed: Fraction = ZERO
    enabled: bool = True
    given_up: Fraction = ZERO


@dataclass
class Pool:
    """A lending pool; `supplied` and `borrowed` are sums of principals, the indices as written."""

    supply: Index
    borrow: Index
    cash: Fraction = ZERO
    supplied: Fraction = ZERO
    borrowed: Fraction = ZERO
    booked_supply: Fraction = ONE
    booked_borrow: Fraction = ONE
    reserve: Fraction = ZERO
    dust: Fraction = ZERO
    deficit: Fraction = ZERO
    auctioned: Fraction = ZERO
    adjusted: Fraction = ZERO


@dataclass
class Auction:
    """A live auction: what is left of its lot, of what is due to `pool`, and of its debt."""

    id: str
    pool: str
    collateral: str
    lot: Fraction
    due: Fraction
    debt: Fraction
    start_price: Fraction
    started: int
    resets: int = 0


@dataclass
class Order:
    """A live order: of a leg; or a sale of collateral, then `for_asset` is not empty; or a seizure
    of up to `seize` of `collateral` for a debt to the pool `symbol`; or a transfer of a `layer` to
    `counterparty`."""

    id: str
    attempt: int
    symbol: str
    sells: bool
    size: Fraction
    limit: Fraction
    bankruptcy: Fraction | None
    expires: int
    for_asset: str = ""
    collateral: str = ""
    seize: Fraction = ZERO
    filled: Fraction = ZERO
    cancelling: int | None = None
    fee_rate: Fraction = ZERO
    layer: str = ""
    counterparty: tuple[str, str] = ("", "")

    @property
    def in_market(self) -> bool:
        """Tell whether the market is to fill it."""
        return not (self.for_asset or self.collateral or self.layer)


@dataclass
class Liquidation:
    """A liquidation under way."""

    number: int
    reason: str
    waits: str
    opened: bool = False
    awaiting: int | None = None
    backstop: bool = False
    live: dict[str, Order] = field(default_factory=dict)
    losses: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    auctions: dict[str, Auction] = field(default_factory=dict)
    opened_at: int = 0
    freed: Fraction = ZERO
    cooling_until: int | None = None
    awaits: set[str] = field(default_factory=set)
    again_at: int = 0
    passed: set[tuple[str, str, str, str]] = field(default_factory=set)


@dataclass
class Group:
    """A margin group."""

    account: str
    margin: str
    cash: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    legs: dict[str, Leg] = field(default_factory=dict)
    orders: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    called: bool = False
    orders_told: bool = False
    last_market: str = ""
    liquidation: Liquidation | None = None
    loans: dict[str, Loan] = field(default_factory=lambda: defaultdict(Loan))
    category: str = ""
    flow: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    base: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def debts(self) -> list[str]:
        """Return the pools that are owed, by name."""
        return sorted(pool for pool, loan in self.loans.items() if loan.owed)

    def owed(self) -> list[str]:
        """Return the assets with negative cash, by name."""
        return sorted(asset for asset, amount in self.cash.items() if amount < 0)


@dataclass
class Account:
    """An account; `issued` holds the margin and the symbols of each liquidation's orders,
    `transferred` the ids of those that are transfers."""

    name: str
    sequence: int
    role: str = "trader"
    gap_since: int | None = None
    debts: int = 0
    groups: dict[str, Group] = field(default_factory=dict)
    issued: list[tuple[str, list[str]]] = field(default_factory=list)
    transferred: set[str] = field(default_factory=set)

    def group(self, margin: str) -> Group:
        """Return a group, an empty one where there was none."""
        return self.groups.setdefault(margin, Group(self.name, margin))

    def ordered_groups(self) -> list[Group]:
        """Return the groups, cross first, then by name."""
        return [self.groups[name] for name in sorted(self.groups, key=margin_order)]

    def issued_as(self, order_id: str) -> tuple[str, str] | None:
        """Return margin and symbol of an order id of this account, none if it was never issued."""
        for number, (margin, symbols) in enumerate(self.issued, start=1):
            for attempt, symbol in enumerate(symbols, start=1):
                if order_id == f"{self.name}:{number}:{attempt}:{symbol}":
                    return margin, symbol
        return None


def margin_order(margin: str) -> tuple[bool, str]:
    """Sort "cross" first, then by name."""
    return margin != "cross", margin


def _sums() -> defaultdict[Any, Fraction]:
    return defaultdict(Fraction)


@dataclass
class Ledger:
    """What is not an account's; by asset, by (market, asset), by (asset, market), or by (asset,
    name of a fund); `fund` is the venue's own."""

    fund: dict[str, Fraction] = field(default_factory=_sums)
    fees: dict[str, Fraction] = field(default_factory=_sums)
    deposits: dict[str, Fraction] = field(default_factory=_sums)
    withdrawals: dict[str, Fraction] = field(default_factory=_sums)
    top_ups: dict[str, Fraction] = field(default_factory=_sums)
    adjustments: dict[str, Fraction] = field(default_factory=_sums)
    clearing: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    shortfall: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    paid_by_fund: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    bad_debt: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    paid_by_reserve: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    socialised: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    paid_for_positions: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    recovered: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    written_off: dict[tuple[str, str], Fraction] = field(default_factory=_sums)
    named_funds: dict[tuple[str, str], Fraction] = field(default_factory=_sums)


@dataclass
class OptionInputs:
    """What an option's mark was made of; its forward also as it was told."""

    volatility: float
    forward: float
    discount: float
    time: int
    exact_forward: Fraction


@dataclass
class Swing:
    """The volatility of one market: its last sample, and the factors that follow from it."""

    sampled_at: int
    sampled_price: Fraction
    variance: Fraction
    running: dict[str, Fraction]
    in_force: dict[str, Fraction]
    peaks: dict[int, Fraction] = field(default_factory=dict)


@dataclass
class World:
    """Everything the twin knows, and the decisions of the event at hand."""

    shard: int
    seq: int = 0
    time: int = 0
    listed: dict[str, Asset | Perpetual | Future | Option] = field(default_factory=dict)
    assets: dict[str, AssetTerms] = field(default_factory=dict)
    contracts: dict[str, ContractTerms] = field(default_factory=dict)
    policy: Policy | None = None
    halted: set[str] = field(default_factory=set)
    halted_all: bool = False
    tripped: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    prices: dict[tuple[str, str], MarkUsed] = field(default_factory=dict)
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)
    options: dict[str, OptionInputs] = field(default_factory=dict)
    interest: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    pools: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    lending: dict[str, Pool] = field(default_factory=dict)
    others_changed: bool = False
    averages: dict[tuple[str, str], Fraction] = field(default_factory=dict)
    swings: dict[str, Swing] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    sent_in_event: tuple[int, int] = (0, 0)
    sent_in_second: tuple[int, int] = (0, 0)
    unfilled: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    forced: dict[str, list[tuple[int, Fraction]]] = field(default_factory=lambda: defaultdict(list))
    held: dict[tuple[str, str], list[tuple[int, Fraction]]] = field(default_factory=dict)
    fund_samples: dict[tuple[str, str], list[tuple[int, Fraction]]] = field(default_factory=dict)
    deleveraging: set[tuple[str, str]] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    out: list[AnyDecision] = field(default_factory=list)

    @property
    def rules(self) -> Policy:
        """The profile in force."""
        assert self.policy is not None
        return self.policy

    def price(self, symbol: str, kind: str) -> Fraction | None:
        """Return a price that is known."""
        if symbol == self.rules.source.numeraire:
            return ONE
        known = self.prices.get((symbol, kind))
        return None if known is None else Fraction(known.price)

    def factor(self, symbol: str, requirement: str) -> Fraction:
        """Return the factor in force on the initial or the maintenance requirement."""
        swing = self.swings.get(symbol)
        return ONE if swing is None else swing.in_force[requirement]

    def groups(self) -> list[Group]:
        """Return every group, by account and margin."""
        return [
            group
            for _, account in sorted(self.accounts.items())
            for _, group in sorted(account.groups.items())
        ]

    def live_orders(self) -> list[tuple[Group, Order]]:
        """Return every live order and sale with its group."""
        return [
            (group, order)
            for group in self.groups()
            if group.liquidation
            for order in group.liquidation.live.values()
        ]

    def transfers_to(self, account: str, margin: str) -> list[Order]:
        """Return every live transfer against a group, by id."""
        aimed = [order for _, order in self.live_orders() if order.layer]
        found = [order for order in aimed if order.counterparty == (account, margin)]
        return sorted(found, key=lambda order: order.id)

    def is_halted(self, *names: str) -> bool:
        """Tell whether everything is halted, or one of what is named."""
        return self.halted_all or not self.halted.isdisjoint(names)

    def unit(self, asset: str) -> Fraction:
        """Return the smallest amount of an asset."""
        return self.assets[asset].unit

    def emit(self, decided: type[Any], /, **fields: Any) -> None:
        """Add a decision to those of the event at hand."""
        place = len(self.out)
        self.out.append(
            decided(shard=self.shard, seq=self.seq, index=place, time=self.time, **fields)
        )

    def emit_for(self, group: Group, decided: type[GroupDecision], /, **fields: Any) -> None:
        """Add a decision about a group."""
        self.emit(decided, account=group.account, margin=group.margin, **fields)
