"""What goes on inside: events, decisions, times, and the interpreter."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.grafana.parts import (
    COUNT,
    MARKS,
    RATE,
    SECONDS,
    AnyPanel,
    Board,
    Query,
    Row,
    graph,
    heat,
    number,
    quantiles,
)


def _counted(
    title: str, description: str, family: str, label: str, *, stacked: bool = True
) -> AnyPanel:
    """Draw how often something happened, by one label."""
    query = Query(
        f"{{{{{label}}}}}", f"sum by ({label}) (rate({family}_total{{@}}[$__rate_interval]))"
    )
    return graph(title, description, RATE, query, stacked=stacked)


HEALTHY = Row(
    "Healthy?",
    [
        number(
            "Refused, last hour",
            "Records of the last hour that could not be applied; `dead-letters` has them.",
            COUNT,
            Query("refused", 'sum(increase(liquidator_events_total{@,outcome="refused"}[1h]))'),
            warn=1,
            bad=100,
        ),
        number(
            "Anomalies, last hour",
            "Facts of the last hour that disagree with what was decided.",
            COUNT,
            Query("anomalies", "sum(increase(liquidator_anomalies_total{@}[1h]))"),
            warn=1,
            bad=100,
        ),
        number(
            "Notional that waits",
            "Notional of accounts that wait for missing events: they are not liquidated until "
            "these come, or a snapshot does.",
            COUNT,
            Query("{{asset}}", "sum by (asset) (liquidator_gap_waiting_notional{@})"),
            warn=1,
        ),
        number(
            "Engine time",
            "The largest time that an event brought, of the shard where that is least.",
            units.DatetimeISO,
            Query("engine time", "1000 * min(liquidator_engine_time_seconds{@})"),
        ),
    ],
    across=4,
)

EVENTS = Row(
    "Events",
    [
        _counted("By type", "Records taken in a second, by type.", "liquidator_events", "type"),
        _counted(
            "By outcome",
            "Records taken in a second, by what became of them.",
            "liquidator_events",
            "outcome",
        ),
        graph(
            "Time",
            "Engine time, that is the largest time applied, in a second: 1 with the clock, more "
            "while old data is read.",
            COUNT,
            Query(
                "shard {{shard}}",
                "sum by (shard) (deriv(liquidator_engine_time_seconds{@}[$__rate_interval]))",
            ),
        ),
        _counted(
            "Anomalies",
            "Facts that disagree with what was decided, by kind.",
            "liquidator_anomalies",
            "kind",
        ),
        graph(
            "Gaps and snapshots",
            "Gaps in a sequence, and snapshots that brought an account in or put it right.",
            RATE,
            Query("gap", "sum(rate(liquidator_gaps_total{@}[$__rate_interval]))"),
            Query(
                "snapshot differs",
                "sum(rate(liquidator_snapshot_differences_total{@}[$__rate_interval]))",
            ),
        ),
        graph(
            "Margin groups by state",
            "All margin groups: healthy, called, unpriced, and those in liquidation by what they "
            "wait for.",
            COUNT,
            Query("{{state}}", "sum by (state) (liquidator_accounts{@})"),
            stacked=True,
        ),
    ],
)

DECISIONS = Row(
    "Decisions",
    [
        _counted(
            "Liquidations begun",
            "Liquidations begun in a second, by reason.",
            "liquidator_liquidations_started",
            "reason",
        ),
        _counted(
            "Liquidations over",
            "Liquidations over in a second, by how they ended.",
            "liquidator_liquidations_ended",
            "reason",
        ),
        _counted(
            "Orders by stage",
            "Liquidation orders in a second, by stage.",
            "liquidator_orders",
            "stage",
        ),
        _counted(
            "Orders by toxicity",
            "Liquidation orders in a second; toxic: what lowers the health of the account.",
            "liquidator_orders",
            "toxic",
        ),
        _counted(
            "Cancellations",
            "Orders and sales to be cancelled in a second, by reason.",
            "liquidator_cancels",
            "reason",
        ),
        graph(
            "Calls, sales, own orders",
            "Margin calls, sales of collateral, and groups whose own orders were to be cancelled.",
            RATE,
            Query("margin call", "sum(rate(liquidator_margin_calls_total{@}[$__rate_interval]))"),
            Query(
                "collateral sale",
                "sum(rate(liquidator_collateral_sales_total{@}[$__rate_interval]))",
            ),
            Query(
                "own orders cancelled",
                "sum(rate(liquidator_own_order_cancels_total{@}[$__rate_interval]))",
            ),
        ),
        _counted(
            "Requirements changed",
            "Changes of a factor of volatility, by the requirement that it is on.",
            "liquidator_requirement_changes",
            "requirement",
        ),
        _counted(
            "Pushed under by that",
            "Margin groups that such a change took below the requirement.",
            "liquidator_pushed_under",
            "requirement",
        ),
        _counted(
            "Prices held",
            "Prices that jumped too far and were held, by kind.",
            "liquidator_price_jumps",
            "kind",
        ),
    ],
)

TIMES = Row(
    "Times",
    [
        heat(
            "From a record to its order",
            "How long it took from the arrival of a record to the commit of its order.",
            "liquidator_detection_latency_seconds",
        ),
        heat(
            "Commits",
            "How long transactions took, from their begin to the end of the commit.",
            "liquidator_commit_latency_seconds",
        ),
        graph(
            "Commit, median and slowest",
            "The same, in two figures.",
            SECONDS,
            *quantiles("liquidator_commit_latency_seconds"),
        ),
        graph(
            "Lag by partition",
            "Age of the oldest record of each partition that is not taken yet.",
            SECONDS,
            Query(
                "{{topic}} {{partition}}",
                "max by (topic, partition) (liquidator_lag_seconds{@})",
            ),
        ),
    ],
    across=2,
)

INTERPRETER = Row(
    "Process",
    [
        graph(
            "Garbage collections",
            "Collections of Python's garbage collector in a second, by generation.",
            RATE,
            Query(
                "{{instance}} {{generation}}",
                "rate(python_gc_collections_total{#}[$__rate_interval])",
            ),
        ),
        graph(
            "Reloads",
            "Reloads of the daemon's file in a second, by what became of them.",
            RATE,
            Query(
                "{{outcome}}",
                "sum by (outcome) (rate(liquidator_reloads_total{#}[$__rate_interval]))",
            ),
        ),
        graph(
            "Configurations",
            "Processes by the hash of the configuration in use: more than one while some have not "
            "reloaded it.",
            COUNT,
            Query(
                "{{hash}}, shadow: {{shadow}}",
                "count by (hash, shadow) (liquidator_config_info{#})",
            ),
        ),
        graph(
            "Virtual memory",
            "Address space of the process; what counts is the resident memory (overview).",
            units.BytesIEC,
            Query("{{instance}}", "process_virtual_memory_bytes{#}"),
        ),
        graph(
            "Samples of a scrape",
            "What /metrics had to say. More than 2,000 make a scrape hold up the event loop.",
            COUNT,
            Query("{{instance}}", "scrape_samples_scraped{#}"),
        ),
    ],
)

BOARD = Board(
    "liquidator-engine",
    "Liquidator / Engine internals",
    "Events, decisions, times and the interpreter: for whoever looks for the cause.",
    [HEALTHY, EVENTS, DECISIONS, TIMES, INTERPRETER],
    marks=MARKS,
)
