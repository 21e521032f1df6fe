"""Everything the engine decides.

A decision carries (shard, seq, index): seq is the number of the event that caused it, index counts
the decisions of one event over all its slices. `time` is engine time, microseconds UTC. Amounts are
in the asset named beside them; equity and requirements in the profile's numeraire.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Stage = Literal["limit", "backstop"]
Waits = Literal["", "halted", "gap", "capped", "promised", "cooldown", "toxic"]
StartReason = Literal["breach", "auto_convert"]
EndReason = Literal["healthy", "flat", "converted", "superseded", "exempt"]
CancelReason = Literal["expired", "healthy", "halted", "exempt"]
Side = Literal["buy", "sell"]


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    """What every decision carries."""

    shard: int
    seq: int
    index: int
    time: int


class GroupDecision(Decision, frozen=True, kw_only=True):
    """What every decision about one margin group carries."""

    account: str
    margin: str


class MarkUsed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price that a decision rests on, with its source and its own time."""

    symbol: str
    kind: str
    price: Decimal
    source: str
    time: int


class LegEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One leg at the moment of a decision; amounts in its settlement asset."""

    symbol: str
    size: Decimal
    cost: Decimal
    value: Decimal
    notional: Decimal
    maintenance: Decimal


class BalanceEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One asset at the moment of a decision: cash, and net of unrealised results."""

    asset: str
    cash: Decimal
    net: Decimal
    price: Decimal


class MarginCall(GroupDecision, frozen=True, kw_only=True):
    """Margin equity comes near maintenance."""

    margin_equity: Decimal
    maintenance: Decimal


class LoanEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pool at the moment of a decision: what is supplied to and owed to it, with interest, and
    at which weights they count."""

    pool: str
    supplied: Decimal
    threshold: Decimal
    owed: Decimal
    weight: Decimal


class LiquidationStarted(GroupDecision, frozen=True, kw_only=True):
    """A liquidation begins, with its evidence; `waits` says why its orders do not go out yet."""

    number: int
    reason: StartReason
    waits: Waits
    equity: Decimal
    margin_equity: Decimal
    maintenance: Decimal
    legs: tuple[LegEvidence, ...]
    balances: tuple[BalanceEvidence, ...]
    marks: tuple[MarkUsed, ...]
    loans: tuple[LoanEvidence, ...] = ()


class RequirementChanged(Decision, frozen=True, kw_only=True):
    """The factor of volatility on the requirements of a symbol changed.

    `volatility` is the volatility of a day that the factor follows, `pushed_under` counts the
    margin groups that met the requirement before, and at the same prices do not now.
    """

    symbol: str
    requirement: Literal["initial", "maintenance"]
    before: Decimal
    after: Decimal
    volatility: Decimal
    pushed_under: int


class CancelOpenOrders(GroupDecision, frozen=True, kw_only=True):
    """The venue is to cancel every own order of the group; `number` is its liquidation's, 0 where
    there is none yet."""

    number: int


class LiquidationOrder(GroupDecision, frozen=True, kw_only=True):
    """A reduce-only order; `size` is unsigned.

    `bankruptcy_price` is rounded to the instrument's price decimals, in favour of the account's
    counterparties (up for sells); none where no positive price exists.
    """

    order_id: str
    number: int
    symbol: str
    side: Side
    size: Decimal
    limit_price: Decimal
    bankruptcy_price: Decimal | None
    stage: Stage
    reason: StartReason
    expires: int
    replaces: str
    decided_mark: Decimal
    toxic: bool = False
    fee_rate: Decimal = Decimal(0)


class TakeOver(GroupDecision, frozen=True, kw_only=True):
    """`taker` is to take `size` (unsigned) of a leg at `price`, without the market.

    `layer` says who that is: the insurance fund's account, the backstop, or another group of the
    same account that holds the other side ("netting"). `capacity` is the size that it could take.
    The venue reports it as a fill of each, that of the group with this order id.
    """

    order_id: str
    number: int
    symbol: str
    side: Side
    size: Decimal
    price: Decimal
    layer: Literal["netting", "fund", "backstop"]
    taker: str
    taker_margin: str
    capacity: Decimal
    expires: int
    replaces: str


class Deleverage(GroupDecision, frozen=True, kw_only=True):
    """`size` (unsigned) of a leg is to be closed against the position of `counterparty` at `price`.

    `rank` counts the candidates from 1; `score` is what they were ranked by. `forgone` is what the
    counterparty would have had more at the mark, in the settlement asset. The venue reports it as a
    fill of each, that of the group with this order id.
    """

    order_id: str
    number: int
    symbol: str
    side: Side
    size: Decimal
    price: Decimal
    counterparty: str
    counterparty_margin: str
    rank: int
    score: Decimal
    forgone: Decimal
    expires: int
    replaces: str


class CancelOrder(GroupDecision, frozen=True, kw_only=True):
    """A liquidation order or collateral sale is to be cancelled."""

    order_id: str
    reason: CancelReason


class CollateralSale(GroupDecision, frozen=True, kw_only=True):
    """`amount` of `asset` is to be sold for `for_asset` at `limit_price` (for_asset per asset) or
    better."""

    order_id: str
    number: int
    asset: str
    amount: Decimal
    for_asset: str
    limit_price: Decimal
    expires: int
    replaces: str


class CollateralLiquidation(GroupDecision, frozen=True, kw_only=True):
    """Up to `repay` of the debt to `pool` may be repaid against what is supplied to `collateral`.

    `seize` is what all of it brings the liquidator, `fee` included, which the reserve of the
    collateral's pool keeps of it; `bonus` is a fraction of what is repaid. `health_factor` is
    margin equity ÷ maintenance as it was. `toxic`: the seizure lowers it. With `paid_in` "supply"
    the collateral's pool has no cash for it, and the liquidator gets the supply itself.
    """

    order_id: str
    number: int
    pool: str
    repay: Decimal
    collateral: str
    seize: Decimal
    fee: Decimal
    bonus: Decimal
    health_factor: Decimal
    toxic: bool
    paid_in: Literal["cash", "supply"]
    expires: int
    replaces: str


class AuctionStarted(GroupDecision, frozen=True, kw_only=True):
    """`lot` of what was supplied to `collateral` goes on auction for `debt`, of which `due` is owed
    to `pool` and the rest is the penalty; the price starts at `start_price` (asset of the pool per
    asset of the lot), and `keeper_pay` is paid of the pool's reserve."""

    auction_id: str
    number: int
    pool: str
    collateral: str
    lot: Decimal
    due: Decimal
    debt: Decimal
    start_price: Decimal
    keeper_pay: Decimal
    health_factor: Decimal
    toxic: bool


class AuctionReset(GroupDecision, frozen=True, kw_only=True):
    """An auction starts anew at `start_price`, for the `resets`-th time."""

    auction_id: str
    start_price: Decimal
    keeper_pay: Decimal
    resets: int


class AuctionEnded(GroupDecision, frozen=True, kw_only=True):
    """An auction raised its debt ("raised"), or has nothing left to sell ("sold_out"): `returned`
    of the lot goes back to the account, `uncovered` of what was due is lost."""

    auction_id: str
    reason: Literal["raised", "sold_out"]
    returned: Decimal
    uncovered: Decimal


class SetOff(GroupDecision, frozen=True, kw_only=True):
    """The account's own cash repays `amount` of its debt to `pool`."""

    pool: str
    amount: Decimal


class SupplyDrawn(GroupDecision, frozen=True, kw_only=True):
    """`amount` of what the account supplied to `pool` comes back into the group's cash, to be
    sold for what that owes."""

    pool: str
    amount: Decimal


class LiquidationEnded(GroupDecision, frozen=True, kw_only=True):
    """A liquidation is over."""

    number: int
    reason: EndReason


class FeeCharged(GroupDecision, frozen=True, kw_only=True):
    """The liquidation fee of one fill; `venue` and `liquidator` of it do not go to the insurance
    fund."""

    asset: str
    amount: Decimal
    order_id: str
    venue: Decimal = Decimal(0)
    liquidator: Decimal = Decimal(0)


class Shortfall(GroupDecision, frozen=True, kw_only=True):
    """The part of a negative balance that `market` caused; the group is made whole by it."""

    number: int
    asset: str
    market: str
    amount: Decimal


class FundDraw(GroupDecision, frozen=True, kw_only=True):
    """An insurance fund (the venue's, or the one named) pays `amount` of a shortfall; `capacity` is
    what it could have paid."""

    asset: str
    market: str
    amount: Decimal
    capacity: Decimal
    fund: str = ""


class PositionPaid(GroupDecision, frozen=True, kw_only=True):
    """An insurance fund (the venue's, or the one named) pays `amount` to its account for what a
    position that it took is worth less at the mark; `capacity` is what it could have paid. Beside
    every shortfall, and in none."""

    order_id: str
    asset: str
    market: str
    amount: Decimal
    capacity: Decimal
    fund: str = ""


class ReserveDraw(GroupDecision, frozen=True, kw_only=True):
    """The reserve of a pool bears `amount` of a shortfall; `capacity` is what it could bear."""

    asset: str
    market: str
    amount: Decimal
    capacity: Decimal


class LossSocialised(GroupDecision, frozen=True, kw_only=True):
    """The lenders of a pool bear `amount` of a shortfall: its supply index falls from `before` to
    `after`; `capacity` is what they had supplied."""

    asset: str
    market: str
    amount: Decimal
    capacity: Decimal
    before: Decimal
    after: Decimal


class LossShared(GroupDecision, frozen=True, kw_only=True):
    """`amount` of a shortfall of `market` is borne by those with open interest in it, or by today's
    winners (`by`); `capacity` is what they could bear, `excess` what rounding took beyond, which
    the fund gets. A `LossCharged` for each follows."""

    asset: str
    market: str
    by: Literal["open_interest", "winners"]
    amount: Decimal
    capacity: Decimal
    excess: Decimal


class LossCharged(GroupDecision, frozen=True, kw_only=True):
    """The group bears `amount` of somebody else's shortfall."""

    asset: str
    market: str
    amount: Decimal


class WithdrawalGate(Decision, frozen=True, kw_only=True):
    """Withdrawals of an asset are to stop (`closed`), or may go on: unpaid shortfall
    (`outstanding`) exceeds what the funds hold, or does no more."""

    asset: str
    closed: bool
    outstanding: Decimal
    fund: Decimal


class PriceHeld(Decision, frozen=True, kw_only=True):
    """A price jumped too far from `last`: it waits for a second one that agrees with it; or prices
    stayed away from it for so long that this one is `believed`."""

    symbol: str
    kind: str
    price: Decimal
    last: Decimal
    source: str
    believed: bool = False


class BreakerTripped(Decision, frozen=True, kw_only=True):
    """Forced fills of `flow` (size) within a minute pass the share of open interest allowed: the
    market is halted until `Resume`."""

    symbol: str
    flow: Decimal
    open_interest: Decimal


class BadDebtRecovered(GroupDecision, frozen=True, kw_only=True):
    """The account repaid `amount` of what was given up of its debts to a pool; `outstanding` of it
    had been borne by nobody, the rest goes to the pool's reserve."""

    asset: str
    market: str
    amount: Decimal
    outstanding: Decimal


class WithdrawalUnpaid(GroupDecision, frozen=True, kw_only=True):
    """`amount` was to be redeemed of a pool that has only `cash`; nothing was paid."""

    pool: str
    amount: Decimal
    cash: Decimal


class BadDebt(GroupDecision, frozen=True, kw_only=True):
    """What nobody paid of a shortfall."""

    id: str
    number: int
    asset: str
    market: str
    cause: str
    amount: Decimal


class SnapshotChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number that a snapshot put right: the cash of an asset, the size or cost of a leg, or
    what is owed or supplied to a pool."""

    margin: str
    item: Literal["cash", "size", "cost", "owed", "supplied"]
    name: str
    before: Decimal
    after: Decimal


class SnapshotDifference(Decision, frozen=True, kw_only=True):
    """A snapshot brought an account in, or differed from what the engine had."""

    account: str
    changes: tuple[SnapshotChange, ...]


class Refused(Decision, frozen=True, kw_only=True):
    """An event was not applied: `rule` names what it broke, `detail` says how."""

    event: str
    record: str
    rule: str
    detail: str


class Duplicate(Decision, frozen=True, kw_only=True):
    """An event's sequence is at or below the last one applied; not applied."""

    event: str
    record: str
    sequence: int
    last: int


class Ignored(Decision, frozen=True, kw_only=True):
    """A price of a source that does not count; its sequence was noted, its value was not used."""

    symbol: str
    kind: str
    source: str


class Gap(Decision, frozen=True, kw_only=True):
    """Sequence numbers are missing before this event, which was applied (or refused) all the
    same."""

    event: str
    record: str
    expected: int
    received: int


class Anomaly(GroupDecision, frozen=True, kw_only=True):
    """A fact that does not agree with what the engine had decided; it was applied."""

    kind: Literal[
        "late",
        "exceeds_order",
        "exceeds_position",
        "beyond_limit",
        "filled_size",
        "unacknowledged",
        "exceeds_supply",
        "exceeds_debt",
        "beyond_cap",
        "beyond_opening",
        "isolation",
        "leaves_dust",
        "gated",
    ]
    order_id: str
    detail: str


AnyDecision = (
    MarginCall
    | LiquidationStarted
    | RequirementChanged
    | CancelOpenOrders
    | LiquidationOrder
    | TakeOver
    | Deleverage
    | CancelOrder
    | CollateralSale
    | CollateralLiquidation
    | AuctionStarted
    | AuctionReset
    | AuctionEnded
    | SetOff
    | SupplyDrawn
    | LiquidationEnded
    | FeeCharged
    | Shortfall
    | FundDraw
    | PositionPaid
    | ReserveDraw
    | LossSocialised
    | LossShared
    | LossCharged
    | WithdrawalGate
    | PriceHeld
    | BreakerTripped
    | BadDebt
    | BadDebtRecovered
    | WithdrawalUnpaid
    | SnapshotDifference
    | Refused
    | Duplicate
    | Ignored
    | Gap
    | Anomaly
)
