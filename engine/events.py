"""Everything the engine is told.

Times are integer microseconds UTC. Amounts are in units of their asset, sizes signed (long
positive), prices in the instrument's quote, or in the profile's numeraire for the index price of an
asset. A margin group is named by `margin`: "cross", or "isolated:SYMBOL" for one isolated leg.

Account events carry `account` and its `sequence`, which grows by one with each of them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from engine.instruments import Instrument
from engine.money import ONE, ZERO
from engine.profile import RiskProfile

CROSS = "cross"
SCHEMA_VERSION = 1

Role = Literal["trader", "market_maker", "backstop", "fund", "exempt"]
PriceKind = Literal["mark", "index", "last"]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    """What every event carries."""

    time: int
    version: int = SCHEMA_VERSION


class AccountEvent(Event, frozen=True, kw_only=True):
    """What every event about one account carries."""

    account: str
    sequence: int


# --- topic `prices`


class PriceUpdate(Event, frozen=True, kw_only=True):
    """A price of an instrument (mark, index, last) or of an asset (index)."""

    symbol: str
    kind: PriceKind
    price: Decimal
    source: str
    sequence: int
    confidence: Decimal | None = None


class OptionMark(Event, frozen=True, kw_only=True):
    """What an option is valued by: its implied volatility (a fraction, of a year), and forward and
    discount factor of its expiry.

    `source` and `sequence` are those of the option's mark price, which this gives.
    """

    symbol: str
    iv: Decimal
    forward: Decimal
    discount: Decimal = ONE
    source: str
    sequence: int

    @property
    def kind(self) -> PriceKind:
        """The kind of price that this gives."""
        return "mark"


# --- topic `positions`, keyed by account


class AccountOpened(AccountEvent, frozen=True, kw_only=True):
    """An account begins, or gets its role."""

    role: Role = "trader"


class AccountClosed(AccountEvent, frozen=True, kw_only=True):
    """An empty account ends; its id never returns."""


class Deposit(AccountEvent, frozen=True, kw_only=True):
    """`amount` (> 0) of `asset` comes into the cross group."""

    asset: str
    amount: Decimal


class Withdrawal(AccountEvent, frozen=True, kw_only=True):
    """`amount` (> 0) of `asset` leaves the cross group."""

    asset: str
    amount: Decimal


class MarginMoved(AccountEvent, frozen=True, kw_only=True):
    """`amount` of the symbol's settlement asset moves from cross to its isolated leg (back if <
    0)."""

    symbol: str
    amount: Decimal


class LegSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One leg as the venue has it: signed size and cost in the settlement asset."""

    symbol: str
    size: Decimal
    cost: Decimal


class GroupSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One margin group as the venue has it; `supplied` and `owed` by pool, with interest."""

    margin: str
    balances: dict[str, Decimal] = {}
    legs: tuple[LegSnapshot, ...] = ()
    supplied: dict[str, Decimal] = {}
    owed: dict[str, Decimal] = {}


class PositionSnapshot(AccountEvent, frozen=True, kw_only=True):
    """The whole account as the venue has it; groups that are not named are empty."""

    groups: tuple[GroupSnapshot, ...]
    role: Role | None = None


class Fill(AccountEvent, frozen=True, kw_only=True):
    """A trade of signed `size` at `price`; `fee` (< 0 for a rebate) is paid in `fee_asset`.

    `order_id` is a liquidation order's, or empty for the account's own trading.
    """

    symbol: str
    margin: str
    size: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    fill_id: str
    order_id: str = ""


class OpenOrders(AccountEvent, frozen=True, kw_only=True):
    """The account's own resting orders in a symbol, unsigned; replaces the last one."""

    symbol: str
    margin: str
    buy_size: Decimal
    sell_size: Decimal


class OrdersCancelled(AccountEvent, frozen=True, kw_only=True):
    """The venue cancelled every own order of a margin group."""

    margin: str


class OrderClosed(AccountEvent, frozen=True, kw_only=True):
    """A liquidation order or collateral sale can fill no more; `filled_size` is its unsigned
    total."""

    order_id: str
    filled_size: Decimal
    reason: str = ""


class FundingPaid(AccountEvent, frozen=True, kw_only=True):
    """The venue paid (> 0) or took (< 0) funding, in the symbol's settlement asset."""

    symbol: str
    margin: str
    amount: Decimal


class CollateralSold(AccountEvent, frozen=True, kw_only=True):
    """`amount` (> 0) of `asset` was sold for `proceeds` (>= 0, fees deducted) of `for_asset`.

    `order_id` is a collateral sale's, or empty for the account's own spot trade.
    """

    margin: str
    asset: str
    amount: Decimal
    for_asset: str
    proceeds: Decimal
    order_id: str = ""


# --- topic `positions`: loans. Pools take from and pay into the cross group's cash


class LoanEvent(AccountEvent, frozen=True, kw_only=True):
    """What every event about the loans of one margin group carries: `amount` (> 0) in the asset of
    `pool`."""

    pool: str
    amount: Decimal
    margin: str = CROSS


class Supplied(LoanEvent, frozen=True, kw_only=True):
    """The account lends `amount` to a pool."""


class Redeemed(LoanEvent, frozen=True, kw_only=True):
    """The account takes `amount` of what it supplied out of a pool."""


class Borrow(LoanEvent, frozen=True, kw_only=True):
    """The account borrows `amount` of a pool."""


class Repay(LoanEvent, frozen=True, kw_only=True):
    """The account repays `amount` to a pool."""


class CollateralEnabled(AccountEvent, frozen=True, kw_only=True):
    """What the group supplied to `pool` backs its loans from now on, or does so no more."""

    pool: str
    enabled: bool
    margin: str = CROSS


class CategoryChosen(AccountEvent, frozen=True, kw_only=True):
    """The group's loans are counted by the terms of `category`, by the pools' own if empty."""

    category: str
    margin: str = CROSS


class Seized(AccountEvent, frozen=True, kw_only=True):
    """A liquidator repaid `repaid` to `pool` and got `seized` of what was supplied to `collateral`,
    of which `fee` stayed with that pool's reserve.

    `liquidator` is the account that got it as a supply of its own; empty: it was paid out.
    `order_id` is a collateral liquidation's, or empty for one that nobody asked for.
    """

    margin: str
    pool: str
    repaid: Decimal
    collateral: str
    seized: Decimal
    fee: Decimal = ZERO
    liquidator: str = ""
    order_id: str = ""


class AuctionTaken(AccountEvent, frozen=True, kw_only=True):
    """`amount` of an auction's lot was taken for `paid` in the asset of its pool."""

    margin: str
    auction_id: str
    amount: Decimal
    paid: Decimal


# --- topic `control`


class OperatorEvent(Event, frozen=True, kw_only=True):
    """What an operator changes: `by` says who, `reason` why. Nothing is decided by either."""

    by: str = ""
    reason: str = ""


class InstrumentListed(OperatorEvent, frozen=True, kw_only=True):
    """An asset or instrument is defined."""

    instrument: Instrument


class ProfileChanged(OperatorEvent, frozen=True, kw_only=True):
    """The whole risk profile, replacing the last one."""

    profile: RiskProfile


class FundMoved(OperatorEvent, frozen=True, kw_only=True):
    """`amount` comes into (> 0) or leaves (< 0) the insurance fund of `shard`, the one named `fund`
    (a market, or a group of markets) where that is given, or the reserve of its `pool`."""

    shard: int
    asset: str
    amount: Decimal
    sequence: int
    pool: str = ""
    fund: str = ""


class Recovered(OperatorEvent, frozen=True, kw_only=True):
    """`amount` of the bad debt of a market came in after all, from outside; counted with the moves
    of the fund."""

    shard: int
    asset: str
    market: str
    amount: Decimal
    sequence: int


class WrittenOff(OperatorEvent, frozen=True, kw_only=True):
    """`amount` of the bad debt of a market is given up for good; counted with the moves of the
    fund."""

    shard: int
    asset: str
    market: str
    amount: Decimal
    sequence: int


class SessionClosed(Event, frozen=True, kw_only=True):
    """A trading day ends: what accounts win is counted from here."""


class InterestAccrued(Event, frozen=True, kw_only=True):
    """The indices of a pool whose interest the venue accrues: what one unit supplied and one unit
    borrowed have grown to."""

    pool: str
    supply_index: Decimal
    borrow_index: Decimal


class FundingRate(Event, frozen=True, kw_only=True):
    """Longs pay shorts `rate` of the notional of each position in `symbol` (shorts pay if < 0)."""

    symbol: str
    rate: Decimal
    sequence: int


class Settled(Event, frozen=True, kw_only=True):
    """Every position in `symbol` is closed in cash at `price`, and the symbol trades no more."""

    symbol: str
    price: Decimal


class MarketState(Event, frozen=True, kw_only=True):
    """Open interest of the whole venue in `symbol`: the sizes of all longs and of all shorts, both
    unsigned."""

    symbol: str
    long_size: Decimal
    short_size: Decimal


class PoolState(Event, frozen=True, kw_only=True):
    """What is supplied to and borrowed from the venue's pool of the asset `pool`, in the asset."""

    pool: str
    supplied: Decimal
    borrowed: Decimal


class Halt(OperatorEvent, frozen=True, kw_only=True):
    """Liquidation orders stop in `symbol` (an instrument, or a pool), everywhere if empty."""

    symbol: str = ""


class Resume(OperatorEvent, frozen=True, kw_only=True):
    """The halt of the same `symbol` ends."""

    symbol: str = ""


class TimePassed(Event, frozen=True, kw_only=True):
    """Nothing happened until `time`."""


PriceEvent = PriceUpdate | OptionMark
TreasuryEvent = FundMoved | Recovered | WrittenOff
"""What is counted in one sequence by shard."""
PositionEvent = (
    AccountOpened
    | AccountClosed
    | Deposit
    | Withdrawal
    | MarginMoved
    | PositionSnapshot
    | Fill
    | OpenOrders
    | OrdersCancelled
    | OrderClosed
    | FundingPaid
    | CollateralSold
    | Supplied
    | Redeemed
    | Borrow
    | Repay
    | CollateralEnabled
    | CategoryChosen
    | Seized
    | AuctionTaken
)
ControlEvent = (
    InstrumentListed
    | ProfileChanged
    | FundMoved
    | Recovered
    | WrittenOff
    | SessionClosed
    | FundingRate
    | InterestAccrued
    | Settled
    | MarketState
    | PoolState
    | Halt
    | Resume
    | TimePassed
)
AnyEvent = PriceEvent | PositionEvent | ControlEvent


def isolated(symbol: str) -> str:
    """Return the name of the margin group of an isolated leg."""
    return f"isolated:{symbol}"
