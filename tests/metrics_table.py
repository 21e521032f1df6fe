"""The table of docs/metrics.md, from families and rules: `python -m tests.metrics_table`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from producers.metric_families import EVERY, OF_SHARDS
from producers.mqtt_metrics import OF_MQTT

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "deploy" / "prometheus" / "rules"

BEGIN = "<!-- written by `.venv/bin/python -m tests.metrics_table` -->\n"
END = "<!-- until here -->\n"

NAME = re.compile(r"\bliquidator[_:][a-z0-9_:]+")


class Row(NamedTuple):
    """A metric as Prometheus shows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def rows() -> list[Row]:
    """Return every metric of the daemon, in order of name."""
    found = []
    for kind, families in (*EVERY, *OF_MQTT):
        shard = ("shard",) if families in OF_SHARDS else ()
        for name, family in families.items():
            shown = f"{name}_total" if kind == "counter" else name
            found.append(Row(shown, kind, (*shard, *family.labels), family.help))
    return sorted(found)


def of_process() -> list[Row]:
    """Return what the client library adds about process and interpreter."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    found = []
    for metric in registry.collect():
        end = {"counter": "_total", "info": "_info"}.get(metric.type, "")
        labels = tuple(metric.samples[0].labels) if metric.samples else ()
        found.append(Row(metric.name + end, metric.type, labels, metric.documentation))
    return sorted(found)


def rules() -> list[dict[str, Any]]:
    """Return the recording rules and alerts."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that an expression reads, those behind recorded ones too; a histogram's by
    its own name."""
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    histograms = {row.name for row in rows() if row.kind == "histogram"}
    found = set()
    for name in NAME.findall(expression):
        if name in recorded:
            found |= metrics_in(recorded[name])
        else:
            whole = re.sub(r"_(bucket|sum|count)$", "", name)
            found.add(whole if whole in histograms else name)
    return found


def users() -> dict[str, list[str]]:
    """Return the alerts that use a metric."""
    found: dict[str, list[str]] = {}
    for rule in rules():
        for name in sorted(metrics_in(rule["expr"])) if "alert" in rule else ():
            found.setdefault(name, []).append(rule["alert"])
    return found


def table() -> str:
    """Return the table."""
    return "".join(f"| {' | '.join(line)} |\n" for line in _lines())


def _lines() -> Iterator[tuple[str, ...]]:
    yield "name", "type", "labels", "what it is", "alerts"
    yield "---", "---", "---", "---", "---"
    used = users()
    for row in [*rows(), *of_process()]:
        alerts = ", ".join(f"[{name}](runbooks/{name}.md)" for name in used.get(row.name, ()))
        labels = ", ".join(row.labels) or "—"
        yield f"`{row.name}`", row.kind, labels, row.help.rstrip("."), alerts or "—"


def page() -> str:
    """Return the page as it is to be: its own words around the table."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
