"""The first dashboard: is it healthy, how much does it do, what is at risk, what holds it up."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.grafana.parts import (
    COUNT,
    MARKS,
    RATE,
    RATIO,
    SECONDS,
    Board,
    Query,
    Row,
    graph,
    number,
    quantiles,
    states,
)

HEALTHY = Row(
    "Healthy?",
    [
        number(
            "Instances up",
            "Processes that answered the last scrape. None: nobody watches the accounts.",
            COUNT,
            Query("{{job}}", "sum by (job) (up{#})"),
            warn=1,
            low_is_bad=True,
        ),
        number(
            "Shards without an owner",
            "Partitions of `positions` less shards that take events. Above 0: some accounts are "
            "watched by nobody.",
            COUNT,
            Query("shards", "max(liquidator_shards{#}) - sum(liquidator_shard_running{@})"),
            bad=1,
        ),
        number(
            "Furthest behind",
            "Age of the oldest record of any input that is not taken yet. Beyond http.lag_max "
            "/readyz says no.",
            SECONDS,
            Query("lag", "max(liquidator_lag_seconds{@})"),
            warn=2,
            bad=10,
        ),
        number(
            "Oldest price",
            "Engine time less the time of the last price, of the symbol where that is most. What "
            "is decided on an old price is decided too late.",
            SECONDS,
            Query("age", "max(liquidator_price_age_seconds{@})"),
            warn=10,
            bad=60,
        ),
        number(
            "Markets halted",
            "Markets in which liquidation is halted, by an operator or by the breaker.",
            COUNT,
            Query("halted", "sum(max by (market) (liquidator_market_halted{@}))"),
            warn=1,
        ),
        number(
            "Bad debt outstanding",
            "What nobody paid of a shortfall, less what was recovered or written off since, by "
            "asset.",
            COUNT,
            Query("{{asset}}", "sum by (asset) (liquidator_bad_debt_outstanding{@})"),
            warn=0.01,
            bad=1,
        ),
    ],
    across=6,
)

GOLDEN = Row(
    "Golden signals",
    [
        graph(
            "Traffic: records by outcome",
            "Records taken in a second, by what became of them. Refused ones are in the topic of "
            "dead letters with their reason.",
            RATE,
            Query(
                "{{outcome}}",
                "sum by (outcome) (rate(liquidator_events_total{@}[$__rate_interval]))",
            ),
            stacked=True,
        ),
        graph(
            "Latency: from a record to its order",
            "From the arrival of a record to the commit of the order that it caused.",
            SECONDS,
            *quantiles("liquidator_detection_latency_seconds"),
        ),
        graph(
            "Errors: refused, in disagreement, with a gap",
            "Records refused; facts that disagree with what was decided; gaps in the sequence of "
            "an account or a price source.",
            RATE,
            Query(
                "refused",
                'sum(rate(liquidator_events_total{@,outcome="refused"}[$__rate_interval]))',
            ),
            Query(
                "anomaly: {{kind}}",
                "sum by (kind) (rate(liquidator_anomalies_total{@}[$__rate_interval]))",
            ),
            Query("gap", "sum(rate(liquidator_gaps_total{@}[$__rate_interval]))"),
        ),
        graph(
            "Saturation: how far behind",
            "Age of the oldest record that is not taken yet, by topic.",
            SECONDS,
            Query("{{topic}}", "max by (topic) (liquidator_lag_seconds{@})"),
        ),
        graph(
            "Commits",
            "From the begin of a transaction to the end of its commit.",
            SECONDS,
            *quantiles("liquidator_commit_latency_seconds"),
        ),
        graph(
            "Saturation: event loop",
            "How late the event loop's heartbeat is, ten times a second. Beyond 20 ms something "
            "holds it up.",
            SECONDS,
            *quantiles("liquidator_loop_lag_seconds", "{#}"),
        ),
        graph(
            "Dead letters",
            "Records put aside in a second, by what was wrong with them.",
            RATE,
            Query(
                "{{topic}}: {{reason}}",
                "sum by (topic, reason) (rate(liquidator_dead_letters_total{@}[$__rate_interval]))",
            ),
        ),
        graph(
            "Account risk",
            "Accounts told of on `account-risk` in a second, and those whose change waits to be "
            "told.",
            COUNT,
            Query(
                "told in a second",
                "sum(rate(liquidator_account_risk_records_total{@}[$__rate_interval]))",
            ),
            Query("waiting", "sum(liquidator_account_risk_waiting{@})"),
        ),
        graph(
            "Processors in use",
            "Seconds of processor time in a second. A process has one event loop: 1 is full.",
            COUNT,
            Query("{{instance}}", "rate(process_cpu_seconds_total{#}[$__rate_interval])"),
        ),
    ],
)

RISK = Row(
    "Risk",
    [
        graph(
            "Margin groups, not healthy",
            "Margin groups that are called, in liquidation, or wait for something.",
            COUNT,
            Query(
                "{{state}}",
                'sum by (state) (liquidator_accounts{@,state!="healthy"})',
            ),
            stacked=True,
        ),
        graph(
            "Liquidations begun",
            "Liquidations begun in a second, by reason.",
            RATE,
            Query(
                "{{reason}}",
                "sum by (reason) "
                "(rate(liquidator_liquidations_started_total{@}[$__rate_interval]))",
            ),
            stacked=True,
        ),
        graph(
            "Shortfall, by what became of it",
            "What liquidated groups lacked since the beginning, by who paid, and what nobody paid.",
            COUNT,
            Query(
                "{{layer}}, {{asset}}",
                "sum by (layer, asset) (liquidator_shortfall_paid_total{@})",
            ),
            Query("nobody, {{asset}}", "sum by (asset) (liquidator_bad_debt_total{@})"),
            stacked=True,
        ),
        graph(
            "Insurance funds",
            "Cash of all funds, by asset.",
            COUNT,
            Query("{{asset}}", "sum by (asset) (liquidator_insurance_fund{@})"),
        ),
        graph(
            "Notional",
            "Notional of positions at mark, by side and asset.",
            COUNT,
            Query(
                "{{side}}, {{asset}}",
                "sum by (side, asset) (liquidator_position_notional{@})",
            ),
        ),
        graph(
            "With the venue",
            "Orders, sales, seizures and transfers that the venue has not closed.",
            COUNT,
            Query("shard {{shard}}", "sum by (shard) (liquidator_orders_live{@})"),
        ),
        graph(
            "Oldest of these",
            "Engine time since the oldest live order was issued, and since the oldest liquidation "
            "under way began to ask for orders. An order that grows old: the venue is silent.",
            SECONDS,
            Query("order", "max(liquidator_order_age_seconds{@})"),
            Query("liquidation", "max(liquidator_liquidation_age_seconds{@})"),
        ),
        graph(
            "Negative equity not booked",
            "What groups lack at mark whose liquidation is not over, by asset, and what of it "
            "accounts lack that are never liquidated.",
            COUNT,
            Query("{{asset}}", "sum by (asset) (liquidator_bad_debt_unrealised{@})"),
            Query("holes, {{asset}}", "sum by (asset) (liquidator_bad_debt_holes{@})"),
        ),
    ],
)

CLIENTS = Row(
    "Kafka and MQTT clients",
    [
        graph(
            "Records that wait",
            "Records of each input that no commit has taken yet.",
            COUNT,
            Query("{{topic}}", "sum by (topic) (liquidator_lag_records{@})"),
        ),
        graph(
            "Records taken, by type",
            "Records taken in a second, by the type of event; unreadable ones too.",
            RATE,
            Query(
                "{{type}}",
                "sum by (type) (rate(liquidator_events_total{@}[$__rate_interval])) > 0",
            ),
        ),
        graph(
            "Transactions",
            "Transactions committed in a second, by shard.",
            RATE,
            Query(
                "shard {{shard}}",
                "sum by (shard) "
                "(rate(liquidator_commit_latency_seconds_count{@}[$__rate_interval]))",
            ),
        ),
        graph(
            "Messages from MQTT",
            "Messages that the bridge took in a second, by source and by what became of them.",
            RATE,
            Query(
                "{{source}} {{outcome}}",
                "sum by (source, outcome) "
                "(rate(liquidator_bridge_messages_total{#}[$__rate_interval])) > 0",
            ),
        ),
        graph(
            "From MQTT to Kafka",
            "From the arrival of a message at the bridge to its price being in Kafka; and from the "
            "price's own time, of the last price of each source.",
            SECONDS,
            *quantiles("liquidator_bridge_latency_seconds", "{#}"),
            Query("{{source}}: age", "max by (source) (liquidator_bridge_price_lag_seconds{#})"),
        ),
        graph(
            "Waiting in the bridge, and for MQTT",
            "Prices that wait for Kafka, messages not acknowledged yet, and alerts of the daemon "
            "that the MQTT broker does not have yet.",
            COUNT,
            Query("prices", "sum(liquidator_bridge_waiting_prices{#})"),
            Query("not acknowledged", "sum(liquidator_bridge_unacknowledged{#})"),
            Query("alerts", "sum(liquidator_mqtt_alerts_waiting{#})"),
        ),
        graph(
            "Last price carried",
            "Seconds since the bridge wrote a price of each source to Kafka.",
            SECONDS,
            Query(
                "{{source}}",
                "time() - max by (source) (liquidator_bridge_last_forwarded_timestamp_seconds{#})",
            ),
        ),
        states(
            "Connections to MQTT",
            "Whether the bridge, and the daemon where it publishes, are connected.",
            Query(
                "{{job}} {{instance}}",
                "1 - (liquidator_bridge_connected{#} or liquidator_mqtt_connected{#})",
            ),
            {"0": "connected", "1": "not connected"},
        ),
        graph(
            "Connections broken, writes failed",
            "Connections to the MQTT broker that broke or could not be made, and writes of the "
            "bridge to Kafka that failed, in a second.",
            RATE,
            Query(
                "bridge, MQTT",
                "sum(rate(liquidator_bridge_disconnections_total{#}[$__rate_interval]))",
            ),
            Query(
                "bridge, Kafka",
                "sum(rate(liquidator_bridge_kafka_failures_total{#}[$__rate_interval]))",
            ),
            Query(
                "daemon, MQTT",
                "sum(rate(liquidator_mqtt_disconnections_total{#}[$__rate_interval]))",
            ),
        ),
        graph(
            "Lost on the way",
            "Alerts of the daemon and malformed messages of the bridge that were dropped, since "
            "too many waited, in a second.",
            RATE,
            Query(
                "alerts",
                'sum(rate(liquidator_mqtt_alerts_total{#,outcome="dropped"}[$__rate_interval]))',
            ),
            Query(
                "malformed messages",
                "sum(rate(liquidator_bridge_dead_letters_dropped_total{#}[$__rate_interval]))",
            ),
        ),
    ],
)

PROCESS = Row(
    "Process",
    [
        graph(
            "Memory",
            "Resident memory. docs/deployment.md says what to expect for so many accounts.",
            units.BytesIEC,
            Query("{{instance}}", "process_resident_memory_bytes{#}"),
        ),
        graph(
            "Files open",
            "File descriptors in use: connections to brokers, and those of who scrapes.",
            COUNT,
            Query("{{instance}}", "process_open_fds{#}"),
        ),
        graph(
            "Time of a scrape",
            "How long Prometheus waited for /metrics.",
            SECONDS,
            Query("{{instance}}", "scrape_duration_seconds{#}"),
        ),
        number(
            "Version",
            "What runs: more than one line while a deployment is under way.",
            COUNT,
            Query(
                "liquidator {{version}}, Python {{python}}",
                "count by (version, python) (liquidator_build_info{#})",
            ),
        ),
        number(
            "Up since",
            "When the process began; the counters of what happened began with it.",
            units.DateTimeFromNow,
            Query("{{instance}}", "1000 * process_start_time_seconds{#}"),
        ),
        number(
            "Part of the process's files",
            "File descriptors in use as a part of what the process may open.",
            RATIO,
            Query("{{instance}}", "process_open_fds{#} / process_max_fds{#}"),
            warn=0.5,
            bad=0.9,
        ),
    ],
)

BOARD = Board(
    "liquidator-overview",
    "Liquidator / Overview",
    "Is the daemon healthy, what does it do, what is at risk, and what holds it up.",
    [HEALTHY, GOLDEN, RISK, CLIENTS, PROCESS],
    marks=MARKS,
)
