"""The families of metrics by name, and which decisions move the counters among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from engine import decisions as d
from engine import events as e
from engine.instruments import Listed

Labels = tuple[str, ...]

EVENTS = tuple(kind.__name__ for kind in get_args(e.AnyEvent))
UNREADABLE = "unreadable"

TOPICS = ("control", "positions", "prices")
Refusal = Literal["unreadable", "misplaced", "refused"]
"""Why a record is put aside: it cannot be read or its time be true, another shard is its place, or
a rule of the engine refuses it."""
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)


Kind = Literal["counter", "gauge", "histogram", "info"]


class Family(NamedTuple):
    """A counter, gauge or histogram; `known` are the labels that are shown as 0 before anything
    happens, `buckets` the upper bounds of a histogram's."""

    help: str
    labels: Labels
    known: tuple[Labels, ...] = ()
    buckets: tuple[float, ...] = ()


class Counted(NamedTuple):
    """Which counter a decision moves, under which labels and by how much."""

    family: str
    labels: Callable[[Any], Labels] = lambda decision: ()
    amount: Callable[[Any], int] = lambda decision: 1


class Measured(NamedTuple):
    """The same of what takes the instrument to tell."""

    family: str
    labels: Callable[[Any, Listed], Labels]
    amount: Callable[[Any, Listed], float]


def _values(kind: type[d.Decision], *fields: str) -> tuple[Labels, ...]:
    """Return every combination of what the named fields of a decision may say."""
    hints = get_type_hints(kind)
    return tuple(product(*(get_args(hints[field]) for field in fields)))


def _toxic(decision: d.LiquidationOrder | d.CollateralLiquidation | d.AuctionStarted) -> str:
    return "true" if decision.toxic else "false"


TOXIC = ("false", "true")
TRANSFERS = ("netting", "fund", "backstop", "adl")
"""Who takes positions without the market; the last are deleveraged counterparties."""


def _notional(transfer: d.TakeOver | d.Deleverage, listed: Listed) -> float:
    """Return the notional of a transfer at its price, in the settlement asset."""
    size, price = float(transfer.size * listed.multiplier), float(transfer.price)
    return size / price if listed.inverse else size * price


COUNTERS = {
    "liquidator_events": Family(
        "Records taken, by type and by what became of them.",
        ("type", "outcome"),
        (*product(EVENTS, ("applied", "refused")), (UNREADABLE, "refused")),
    ),
    "liquidator_dead_letters": Family(
        "Records that were put aside, by what was wrong with them.",
        ("topic", "reason"),
        tuple(product(TOPICS, REFUSALS)),
    ),
    "liquidator_liquidations_started": Family(
        "Liquidations begun, by reason.", ("reason",), _values(d.LiquidationStarted, "reason")
    ),
    "liquidator_liquidations_ended": Family(
        "Liquidations over, by how they ended.", ("reason",), _values(d.LiquidationEnded, "reason")
    ),
    "liquidator_orders": Family(
        "Liquidation orders, by why the liquidation began and by stage; toxic: what lowers health.",
        ("reason", "stage", "toxic"),
        tuple(
            (*at, toxic) for at in _values(d.LiquidationOrder, "reason", "stage") for toxic in TOXIC
        ),
    ),
    "liquidator_transfers": Family(
        "Positions to be taken without the market, by who takes them.",
        ("layer",),
        tuple((layer,) for layer in TRANSFERS),
    ),
    "liquidator_loss_charges": Family(
        "Margin groups that were charged with a part of somebody else's loss.", (), ((),)
    ),
    "liquidator_price_jumps": Family(
        "Prices that jumped too far and were held.", ("kind",), (("mark",), ("index",))
    ),
    "liquidator_breakers_tripped": Family(
        "Markets halted because forced fills passed their share of open interest.", (), ((),)
    ),
    "liquidator_collateral_sales": Family("Collateral sales ordered.", (), ((),)),
    "liquidator_cancels": Family(
        "Orders and sales to be cancelled.", ("reason",), _values(d.CancelOrder, "reason")
    ),
    "liquidator_margin_calls": Family("Margin calls.", (), ((),)),
    "liquidator_own_order_cancels": Family(
        "Margin groups whose own orders were to be cancelled.", (), ((),)
    ),
    "liquidator_requirement_changes": Family(
        "Changes of a factor of volatility, by the requirement that it is on.",
        ("requirement",),
        _values(d.RequirementChanged, "requirement"),
    ),
    "liquidator_pushed_under": Family(
        "Margin groups that a change of a factor took below that requirement.",
        ("requirement",),
        _values(d.RequirementChanged, "requirement"),
    ),
    "liquidator_anomalies": Family(
        "Facts that do not agree with what was decided.", ("kind",), _values(d.Anomaly, "kind")
    ),
    "liquidator_gaps": Family("Gaps in the sequence of an account or price source.", (), ((),)),
    "liquidator_snapshot_differences": Family(
        "Snapshots that brought an account in, or put it right.", (), ((),)
    ),
    "liquidator_seizures": Family(
        "Repayments asked for against collateral; toxic: what lowers health.",
        ("toxic",),
        (("false",), ("true",)),
    ),
    "liquidator_auctions_started": Family(
        "Auctions of collateral begun; toxic: what lowers health.",
        ("toxic",),
        (("false",), ("true",)),
    ),
    "liquidator_auctions_reset": Family("Auctions of collateral begun anew.", (), ((),)),
    "liquidator_auctions_ended": Family(
        "Auctions of collateral over, by how they ended.",
        ("reason",),
        _values(d.AuctionEnded, "reason"),
    ),
    "liquidator_withdrawals_unpaid": Family("Withdrawals that a pool had no cash for.", (), ((),)),
    "liquidator_account_risk_records": Family(
        "Accounts told of on account-risk, those that are gone included.", (), ((),)
    ),
}

COUNTED: dict[type[d.Decision], tuple[Counted, ...]] = {
    d.LiquidationStarted: (Counted("liquidator_liquidations_started", lambda it: (it.reason,)),),
    d.LiquidationEnded: (Counted("liquidator_liquidations_ended", lambda it: (it.reason,)),),
    d.LiquidationOrder: (
        Counted("liquidator_orders", lambda it: (it.reason, it.stage, _toxic(it))),
    ),
    d.TakeOver: (Counted("liquidator_transfers", lambda it: (it.layer,)),),
    d.Deleverage: (Counted("liquidator_transfers", lambda it: ("adl",)),),
    d.LossCharged: (Counted("liquidator_loss_charges"),),
    d.PriceHeld: (Counted("liquidator_price_jumps", lambda it: (it.kind,)),),
    d.BreakerTripped: (Counted("liquidator_breakers_tripped"),),
    d.CollateralSale: (Counted("liquidator_collateral_sales"),),
    d.CancelOrder: (Counted("liquidator_cancels", lambda it: (it.reason,)),),
    d.CancelOpenOrders: (Counted("liquidator_own_order_cancels"),),
    d.RequirementChanged: (
        Counted("liquidator_requirement_changes", lambda it: (it.requirement,)),
        Counted(
            "liquidator_pushed_under", lambda it: (it.requirement,), lambda it: it.pushed_under
        ),
    ),
    d.MarginCall: (Counted("liquidator_margin_calls"),),
    d.Anomaly: (Counted("liquidator_anomalies", lambda it: (it.kind,)),),
    d.Gap: (Counted("liquidator_gaps"),),
    d.SnapshotDifference: (Counted("liquidator_snapshot_differences"),),
    d.CollateralLiquidation: (Counted("liquidator_seizures", lambda it: (_toxic(it),)),),
    d.AuctionStarted: (Counted("liquidator_auctions_started", lambda it: (_toxic(it),)),),
    d.AuctionReset: (Counted("liquidator_auctions_reset"),),
    d.AuctionEnded: (Counted("liquidator_auctions_ended", lambda it: (it.reason,)),),
    d.WithdrawalUnpaid: (Counted("liquidator_withdrawals_unpaid"),),
}

MEASURES = {
    "liquidator_transfer_notional": Family(
        "Notional of positions to be taken without the market, at their price, in the asset.",
        ("asset", "layer"),
    ),
    "liquidator_deleveraging_forgone": Family(
        "What deleveraged counterparties had less than at the mark, in the asset.",
        ("market", "asset"),
    ),
}
"""Counters of amounts; which are shown as 0 before anything happens depends on the rules."""

MEASURED: dict[type[d.Decision], tuple[Measured, ...]] = {
    d.TakeOver: (
        Measured(
            "liquidator_transfer_notional",
            lambda it, listed: (listed.settle, it.layer),
            _notional,
        ),
    ),
    d.Deleverage: (
        Measured(
            "liquidator_transfer_notional",
            lambda it, listed: (listed.settle, "adl"),
            _notional,
        ),
        Measured(
            "liquidator_deleveraging_forgone",
            lambda it, listed: (it.symbol, listed.settle),
            lambda it, listed: float(it.forgone),
        ),
    ),
}

TOTALS = {
    "liquidator_shortfall": Family(
        "What liquidated groups lacked, in the asset.", ("market", "asset")
    ),
    "liquidator_shortfall_paid": Family(
        "What was paid of shortfalls, by who paid, in the asset.", ("market", "asset", "layer")
    ),
    "liquidator_paid_for_positions": Family(
        "What funds paid for positions that they took, beside every shortfall, in the asset.",
        ("asset",),
    ),
    "liquidator_bad_debt": Family(
        "What nobody paid of a shortfall, in the asset.", ("market", "asset")
    ),
    "liquidator_bad_debt_recovered": Family(
        "What of bad debt was repaid later, in the asset.", ("asset",)
    ),
    "liquidator_bad_debt_written_off": Family(
        "What of bad debt was given up for good, in the asset.", ("asset",)
    ),
}

POOL_AMOUNTS = {
    "supplied": "What lenders own of a pool, with interest",
    "borrowed": "What borrowers owe a pool, with interest",
    "cash": "What a pool can pay out",
    "reserve": "What belongs to a pool itself",
    "deficit": "Bad debt of a pool that nobody bore and nobody repaid",
    "auctioned": "What auctions of collateral have to bring back to a pool",
}
"""What is shown of each pool in its asset, by the name that a view of it has."""

POOL_RATIOS = {
    "utilization": "The part of a pool that is lent",
    "supply_rate": "What lenders earn in a year, without compounding",
    "borrow_rate": "What borrowers pay in a year, without compounding",
    "supply_index": "What one unit of principal supplied has grown to",
    "borrow_index": "What one unit of principal borrowed has grown to",
}
"""What else is shown of each pool."""

GAUGES = {
    "liquidator_accounts": Family("Margin groups of accounts, by state.", ("state",)),
    "liquidator_position_notional": Family(
        "Notional of positions at mark, in the asset.", ("market", "asset", "side")
    ),
    "liquidator_unmatched_open_interest": Family(
        "Long less short contracts: 0 where the whole book is here.", ("market",)
    ),
    "liquidator_gap_waiting_notional": Family(
        "Notional of accounts that wait for missing events, in the asset.", ("asset",)
    ),
    "liquidator_bad_debt_outstanding": Family(
        "Bad debt neither recovered nor written off, in the asset.", ("market", "asset")
    ),
    "liquidator_bad_debt_unrealised": Family(
        "Negative equity at mark not booked yet, in the asset.", ("market", "asset")
    ),
    "liquidator_bad_debt_holes": Family(
        "Unrealised bad debt of accounts that are never liquidated, in the asset.", ("asset",)
    ),
    **{
        f"liquidator_pool_{name}": Family(f"{said}, in the asset.", ("pool", "asset"))
        for name, said in POOL_AMOUNTS.items()
    },
    **{
        f"liquidator_pool_{name}_ratio": Family(f"{said}.", ("pool",))
        for name, said in POOL_RATIOS.items()
    },
    "liquidator_collateral": Family(
        "What is supplied, counts and backs a debt, in the asset.", ("asset",)
    ),
    "liquidator_debt_by_health": Family(
        "Debts to pools by the health factor of who owes them, in the numeraire.",
        ("health", "asset"),
    ),
    "liquidator_seizures_live": Family(
        "Repayments against collateral that may be made.", ("pool",)
    ),
    "liquidator_auctions_live": Family("Auctions of collateral under way.", ("pool",)),
    "liquidator_auction_debt": Family(
        "What auctions have to raise, penalty included, in the asset.", ("pool", "asset")
    ),
    "liquidator_insurance_fund": Family(
        "Cash of an insurance fund, in the asset; the venue's has no name.", ("asset", "fund")
    ),
    "liquidator_withdrawal_gate_closed": Family(
        "1 while withdrawals are to stop: unpaid shortfall exceeds the funds.", ("asset",)
    ),
    "liquidator_market_halted": Family("1 while liquidation in a market is halted.", ("market",)),
    "liquidator_price_held": Family(
        "1 while a price that jumped waits for a second one; none otherwise.", ("symbol", "kind")
    ),
    "liquidator_forced_flow_ratio": Family(
        "Forced fills of the last minute as a part of open interest.", ("market",)
    ),
    "liquidator_requirement_factor": Family(
        "The factor of volatility on a market's requirement.", ("market", "requirement")
    ),
    "liquidator_realised_volatility": Family(
        "The volatility of a day that the factors follow.", ("market",)
    ),
    "liquidator_price_age_seconds": Family(
        "Engine time less the time of the last price.", ("symbol", "kind")
    ),
    "liquidator_engine_time_seconds": Family("The largest time applied, since 1970.", ()),
    "liquidator_orders_live": Family(
        "Orders, sales, seizures and transfers that the venue has not closed.", ()
    ),
    "liquidator_order_age_seconds": Family(
        "Engine time since the oldest live order was issued, 0 without any.", ()
    ),
    "liquidator_liquidation_age_seconds": Family(
        "Engine time since the oldest liquidation under way began to ask for orders.", ()
    ),
    "liquidator_account_risk_waiting": Family(
        "Accounts whose change of band or state is not told on account-risk yet.", ()
    ),
    "liquidator_lag_records": Family("Records not taken yet.", ("topic", "partition")),
    "liquidator_lag_seconds": Family(
        "Age of the oldest record not taken yet.", ("topic", "partition")
    ),
}

PROCESS = {
    "liquidator_shards": Family("Partitions of the topic of positions: how many shards run.", ()),
    "liquidator_shard_running": Family(
        "1 while a shard that the group gave to this process takes events; 0 until then, or when "
        "it is down.",
        ("shard",),
    ),
}
"""Gauges of the process: of all shards, or of those that do not run too."""

RELOADS = {
    "liquidator_reloads": Family(
        "Reloads of the daemon's file, by what became of them.",
        ("outcome",),
        (("done",), ("refused",), ("failed",)),
    ),
}

INFO = {
    "liquidator_build_info": Family("1; its labels say what runs.", ("version", "python")),
    "liquidator_config_info": Family(
        "1, for the configuration in use; shadow: true where it acts on nothing.",
        ("hash", "shadow"),
    ),
}

HISTOGRAMS = {
    "liquidator_detection_latency_seconds": Family(
        "From a record's arrival to the order that it caused.",
        ("shard",),
        buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
    ),
    "liquidator_commit_latency_seconds": Family(
        "From the begin of a transaction to the end of its commit.",
        ("shard",),
        buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 20),
    ),
    "liquidator_loop_lag_seconds": Family(
        "How late the event loop's heartbeat is, ten times a second.",
        (),
        buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
    ),
}

EVERY: tuple[tuple[Kind, Mapping[str, Family]], ...] = (
    ("counter", COUNTERS),
    ("counter", MEASURES),
    ("counter", TOTALS),
    ("gauge", GAUGES),
    ("gauge", PROCESS),
    ("counter", RELOADS),
    ("histogram", HISTOGRAMS),
    ("info", INFO),
)
"""All that the daemon shows, by kind, MQTT left out; counters have `_total` after their name."""

OF_SHARDS = (COUNTERS, MEASURES, TOTALS, GAUGES)
"""Families that are shown with the label `shard` before their own."""
