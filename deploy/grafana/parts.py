"""What dashboards are made of: queries, panels, variables and annotations.

In an expression `{@}` stands for the matchers of what a shard shows, `{#}` for those of a process;
more matchers follow a comma: `{@,market=~"$market"}`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as make
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common, dashboard, units
from grafana_foundation_sdk.models import prometheus as model

PROCESS = 'job=~"$job",instance=~"$instance"'
SHARD = PROCESS + ',shard=~"$shard"'
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

COUNT, RATE, RATIO, SECONDS = units.Short, units.CountsPerSecond, units.PercentUnit, units.Seconds
"""Units; an amount in an asset is a COUNT, since no unit of Grafana's is USDT."""

GREEN, YELLOW, RED = "green", "yellow", "red"
WIDTH = 24
"""Columns of Grafana's grid."""

AnyPanel = timeseries.Panel | stat.Panel | heatmap.Panel | statetimeline.Panel


class Query(NamedTuple):
    """An expression and what its series are called."""

    legend: str
    expr: str


class Row(NamedTuple):
    """A row of panels, of which each takes the same part of the width."""

    title: str
    panels: list[AnyPanel]
    across: int = 3


class Variable(NamedTuple):
    """A choice at the head: the label whose values are offered, and where they are seen; `every`
    is the pattern that stands for all of them."""

    name: str
    label: str
    metric: str
    every: str = ".+"


class Mark(NamedTuple):
    """An annotation: shown where its expression gives something above 0."""

    name: str
    color: str
    expr: str
    title: str


class Board(NamedTuple):
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: list[Row]
    variables: tuple[Variable, ...] = ()
    marks: tuple[Mark, ...] = ()


# The bridge may be a job of its own.
JOB = Variable(
    "job", "Job", '{__name__=~"liquidator_(build_info|bridge_connected)"}', "liquidator.*"
)
INSTANCE = Variable(
    "instance",
    "Instance",
    '{job=~"$job",__name__=~"liquidator_(build_info|bridge_connected)"}',
)
SHARDS = Variable("shard", "Shard", "liquidator_engine_time_seconds{#}")
MARKET = Variable("market", "Market", "liquidator_market_halted{@}")
ASSET = Variable("asset", "Asset", "liquidator_insurance_fund{@}")
POOL = Variable("pool", "Pool", "liquidator_pool_supplied{@}")

HALTS = Mark(
    "Halts and resumptions",
    "orange",
    "sum by (market) (changes(liquidator_market_halted{@}[$__rate_interval])) > 0",
    "Liquidation in {{market}} halted or resumed",
)
DELEVERAGING = Mark(
    "Deleveraging",
    RED,
    'sum by (layer) (increase(liquidator_transfers_total{@,layer="adl"}[$__rate_interval])) > 0',
    "Counterparties are deleveraged",
)
RESTARTS = Mark(
    "Restarts",
    "purple",
    "sum by (instance) (changes(process_start_time_seconds{#}[$__rate_interval])) > 0",
    "{{instance}} restarted",
)
MARKS = (HALTS, DELEVERAGING, RESTARTS)


def matched(expr: str) -> str:
    """Return an expression with its matchers in place."""
    return expr.replace("{@", "{" + SHARD).replace("{#", "{" + PROCESS)


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    least: float | None = 0,
) -> timeseries.Panel:
    """Draw lines over time, or areas upon each other; `least` is the least value of the axis."""
    panel = timeseries.Panel().unit(unit).line_width(1).fill_opacity(40 if stacked else 8)
    panel.show_points(common.VisibilityMode.NEVER).span_nulls(False)
    panel.tooltip(
        look.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    panel.legend(
        look.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    if stacked:
        panel.stacking(look.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if least is not None:
        panel.axis_soft_min(least)
    return _asking(panel.height(8), title, description, queries)


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    warn: float | None = None,
    bad: float | None = None,
    low_is_bad: bool = False,
) -> stat.Panel:
    """Show the last value large, in a colour: yellow from `warn` on, red from `bad` on; below
    `warn` it is red where low is bad."""
    panel = stat.Panel().unit(unit).height(4).thresholds(_steps(warn, bad, low_is_bad))
    panel.reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.AREA)
    return _asking(panel, title, description, (query,))


def states(title: str, description: str, query: Query, said: dict[str, str]) -> statetimeline.Panel:
    """Show when 0 and 1 held, in words: `said` is the word for each and its colour's name."""
    panel = statetimeline.Panel().unit(COUNT).height(8).merge_values(True)
    panel.show_value(common.VisibilityMode.NEVER)
    results = {
        value: dashboard.ValueMappingResult(text=text, color=color, index=place)
        for place, (value, text, color) in enumerate(
            (("0", said["0"], GREEN), ("1", said["1"], RED))
        )
    }
    panel.mappings([dashboard.ValueMap(options=results)])
    panel.legend(
        look.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    return _asking(panel, title, description, (query,))


def heat(title: str, description: str, histogram: str) -> heatmap.Panel:
    """Show how observations of a histogram of seconds are spread, over time."""
    panel = heatmap.Panel().unit(SECONDS).height(8).calculate(False)
    query = Query("{{le}}", f"sum by (le) (rate({histogram}_bucket{{@}}[$__rate_interval]))")
    panel.y_axis(heatmap.YAxisConfig().unit(SECONDS))
    return _asking(panel, title, description, (query,), model.PromQueryFormat.HEATMAP)


def quantiles(histogram: str, matchers: str = "{@}") -> list[Query]:
    """Return the median and the slowest hundredth of a histogram."""
    return [
        Query(
            said,
            f"histogram_quantile({part}, "
            f"sum by (le) (rate({histogram}_bucket{matchers}[$__rate_interval])))",
        )
        for said, part in (("p50", 0.5), ("p99", 0.99))
    ]


def _asking(
    panel: Any,
    title: str,
    description: str,
    queries: tuple[Query, ...],
    form: model.PromQueryFormat = model.PromQueryFormat.TIME_SERIES,
) -> Any:
    panel.title(title).description(description).datasource(SOURCE)
    for place, query in enumerate(queries):
        panel.with_target(
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + place))
            .expr(matched(query.expr))
            .legend_format(query.legend)
            .format(form)
            .range()
            .datasource(SOURCE)
        )
    return panel


def _steps(warn: float | None, bad: float | None, low_is_bad: bool) -> make.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color=RED if low_is_bad else GREEN)]
    if warn is not None:
        steps.append(dashboard.Threshold(value=warn, color=GREEN if low_is_bad else YELLOW))
    if bad is not None:
        steps.append(dashboard.Threshold(value=bad, color=RED))
    return make.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)
