"""Pools and loans: what is lent at which rate, how healthy it is, and how it is liquidated."""

from __future__ import annotations

from deploy.grafana.parts import (
    COUNT,
    HALTS,
    POOL,
    RATE,
    RATIO,
    RESTARTS,
    AnyPanel,
    Board,
    Query,
    Row,
    graph,
    number,
)

OF = '{@,pool=~"$pool"}'


def _of_pool(title: str, description: str, family: str, unit: str = COUNT) -> AnyPanel:
    """Draw one gauge of each pool."""
    return graph(title, description, unit, Query("{{pool}}", f"sum by (pool) ({family}{OF})"))


HEALTHY = Row(
    "Healthy?",
    [
        number(
            "Highest utilisation",
            "The largest part of a pool that is lent: at 100 % nobody can withdraw from it.",
            RATIO,
            Query("utilisation", f"max(liquidator_pool_utilization_ratio{OF})"),
            warn=0.9,
            bad=0.99,
        ),
        number(
            "Debt below threshold",
            "Debts of margin groups whose health factor is below 1, in the numeraire.",
            COUNT,
            Query("{{asset}}", 'sum by (asset) (liquidator_debt_by_health{@,health="below_1"})'),
            warn=1,
        ),
        number(
            "Deficit",
            "Bad debt of pools that nobody bore and nobody repaid, by asset.",
            COUNT,
            Query("{{asset}}", f"sum by (asset) (liquidator_pool_deficit{OF})"),
            warn=0.000001,
            bad=1,
        ),
        number(
            "Withdrawals unpaid, last hour",
            "Withdrawals of the last hour that a pool had no cash for.",
            COUNT,
            Query("unpaid", "sum(increase(liquidator_withdrawals_unpaid_total{@}[1h]))"),
            warn=1,
        ),
    ],
    across=4,
)

POOLS = Row(
    "Pools",
    [
        _of_pool(
            "Supplied",
            "What lenders own of a pool, with interest, in its asset.",
            "liquidator_pool_supplied",
        ),
        _of_pool(
            "Borrowed",
            "What borrowers owe a pool, with interest, in its asset.",
            "liquidator_pool_borrowed",
        ),
        _of_pool("Cash", "What a pool can pay out, in its asset.", "liquidator_pool_cash"),
        _of_pool(
            "Utilisation",
            "The part of a pool that is lent.",
            "liquidator_pool_utilization_ratio",
            RATIO,
        ),
        graph(
            "Rates",
            "What lenders earn and borrowers pay in a year, without compounding.",
            RATIO,
            Query("{{pool}} supply", f"max by (pool) (liquidator_pool_supply_rate_ratio{OF})"),
            Query("{{pool}} borrow", f"max by (pool) (liquidator_pool_borrow_rate_ratio{OF})"),
        ),
        graph(
            "Indices",
            "What one unit of principal has grown to. An index of supply that falls: lenders bore "
            "a loss.",
            COUNT,
            Query("{{pool}} supply", f"max by (pool) (liquidator_pool_supply_index_ratio{OF})"),
            Query("{{pool}} borrow", f"max by (pool) (liquidator_pool_borrow_index_ratio{OF})"),
            least=None,
        ),
        _of_pool("Reserve", "What belongs to a pool itself.", "liquidator_pool_reserve"),
        _of_pool(
            "Deficit",
            "Bad debt of a pool that nobody bore and nobody repaid.",
            "liquidator_pool_deficit",
        ),
        _of_pool(
            "On auction",
            "What auctions of collateral have to bring back to a pool.",
            "liquidator_pool_auctioned",
        ),
    ],
)

LOANS = Row(
    "Loans",
    [
        graph(
            "Debt by health",
            "Debts to pools by the health factor of who owes them, in the numeraire.",
            COUNT,
            Query("{{health}}", "sum by (health) (liquidator_debt_by_health{@})"),
            stacked=True,
        ),
        graph(
            "Collateral",
            "What is supplied, counts and backs a debt, in its asset.",
            COUNT,
            Query("{{asset}}", "sum by (asset) (liquidator_collateral{@})"),
        ),
        graph(
            "Shortfall of loans, by who paid",
            "What liquidated loans lacked since the beginning, by who bore it, and what nobody "
            "bore.",
            COUNT,
            Query(
                "{{layer}}, {{asset}}",
                'sum by (layer, asset) (liquidator_shortfall_paid_total{@,market=~"$pool"})',
            ),
            Query(
                "nobody, {{asset}}",
                'sum by (asset) (liquidator_bad_debt_total{@,market=~"$pool"})',
            ),
        ),
    ],
)

LIQUIDATION = Row(
    "Liquidation",
    [
        graph(
            "Seizures asked for",
            "Repayments against collateral asked for in a second. Toxic: what lowers health.",
            RATE,
            Query(
                "toxic: {{toxic}}",
                "sum by (toxic) (rate(liquidator_seizures_total{@}[$__rate_interval]))",
            ),
            stacked=True,
        ),
        _of_pool(
            "Seizures live",
            "Repayments against collateral that may be made.",
            "liquidator_seizures_live",
        ),
        _of_pool("Auctions live", "Auctions of collateral under way.", "liquidator_auctions_live"),
        graph(
            "Auctions begun, reset, ended",
            "Auctions of collateral in a second.",
            RATE,
            Query(
                "begun, toxic: {{toxic}}",
                "sum by (toxic) (rate(liquidator_auctions_started_total{@}[$__rate_interval]))",
            ),
            Query("reset", "sum(rate(liquidator_auctions_reset_total{@}[$__rate_interval]))"),
            Query(
                "ended: {{reason}}",
                "sum by (reason) (rate(liquidator_auctions_ended_total{@}[$__rate_interval]))",
            ),
        ),
        _of_pool(
            "To be raised by auctions",
            "What auctions have to raise, penalty included, in the pool's asset.",
            "liquidator_auction_debt",
        ),
        graph(
            "Withdrawals unpaid",
            "Withdrawals in a second that a pool had no cash for.",
            RATE,
            Query(
                "unpaid",
                "sum(rate(liquidator_withdrawals_unpaid_total{@}[$__rate_interval]))",
            ),
        ),
    ],
)

BOARD = Board(
    "liquidator-lending",
    "Liquidator / Lending pools",
    "What is lent at which rate, how healthy the loans are, and how they are liquidated.",
    [HEALTHY, POOLS, LOANS, LIQUIDATION],
    variables=(POOL,),
    marks=(HALTS, RESTARTS),
)
