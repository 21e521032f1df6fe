"""Dashboards are what the code says, and keep the rules that Grafana's public linter knows."""

from __future__ import annotations

import re
from typing import Any

import pytest

from consumers.config import Config
from consumers.daemon import Daemon
from consumers.mqtt import Bridge
from consumers.mqtt_config import Mqtt, Publish
from deploy.grafana import build
from producers.metric_families import TOTALS
from tests.dashboards import BOARDS, FOLDER, Asked, asked, metrics, panels, variables

BY_SCRAPE = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
"""What Prometheus itself says of each scrape."""

OF_A_PROCESS = tuple(
    f"liquidator_{part}"
    for part in ("bridge", "build", "config", "loop", "mqtt", "reloads", "shards")
)
"""How metrics begin that know of no shard."""

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}

QUERIES = [pytest.param(one, id=one.place) for one in asked() if ": $" not in one.place]
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in panels(board)
]


def test_what_is_committed_is_what_the_code_says() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == build.texts(), "run: python -m deploy.grafana.build"


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_lets_one_choose_source_job_and_instance(name: str) -> None:
    board = BOARDS[name]
    assert board["editable"] is False
    (source,) = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    found = {one["name"]: one for one in variables(board)}
    assert {"job", "instance", "shard"} <= set(found)
    for variable in found.values():
        assert variable["refresh"] == 2, "values follow the range of time that is shown"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["label"]
        every = "liquidator.*" if variable["name"] == "job" else ".+"
        assert (variable["multi"], variable["allValue"]) == (True, every)


def test_dashboards_do_not_clash() -> None:
    for key in ("uid", "title"):
        assert len({board[key] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_is_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 10
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_keeps_the_rules(query: Asked) -> None:
    selectors = re.findall(r"([a-z_]+)\{([^}]*)\}", query.expr)
    assert selectors
    for metric, matchers in selectors:
        assert 'job=~"$job",instance=~"$instance"' in matchers
        if metric.startswith("liquidator_") and not metric.startswith(OF_A_PROCESS):
            assert 'shard=~"$shard"' in matchers
    assert set(re.findall(r"\[(.+?)\]", query.expr)) <= {"$__rate_interval", "$__range", "1h"}


@pytest.mark.parametrize("query", QUERIES)
def test_a_counter_that_starts_at_0_is_shown_as_a_rate_or_an_increase(query: Asked) -> None:
    """Totals of money are read from the state and survive a restart: they may be shown as such."""
    kept = {f"{name}_total" for name in TOTALS}
    for before, metric in re.findall(r"(\w+\(|)([a-z_]+_(?:total|bucket|count))\{", query.expr):
        assert metric in kept or before in ("rate(", "increase(")


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """Return every family that daemon and bridge may show, with the names of its series."""
    found: dict[str, set[str]] = {}
    publishes = Config(mqtt=Mqtt(publish=Publish(enabled=True)))
    for family in (*Daemon(publishes).registry.collect(), *Bridge(Config()).registry.collect()):
        suffixes = SUFFIXES.get(family.type, ("",))
        found[family.name] = {family.name + suffix for suffix in suffixes}
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_is_shown(query: Asked, shown: dict[str, set[str]]) -> None:
    assert metrics(query.expr) <= set().union(*shown.values(), BY_SCRAPE)


def test_everything_of_ours_is_on_a_dashboard(shown: dict[str, set[str]]) -> None:
    used: set[str] = set().union(*(metrics(query.expr) for query in asked()))
    ours = {name: series for name, series in shown.items() if name.startswith("liquidator_")}
    missing = [name for name, series in ours.items() if not series & used]
    assert missing == [], "put them into deploy/grafana and run: python -m deploy.grafana.build"
