"""The dashboards as they are committed, opened for tests: their panels, queries and variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


class Asked(NamedTuple):
    """An expression, where it is asked, and what its series are called."""

    place: str
    expr: str
    legend: str


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    """Give every expression of every panel, annotation and variable."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                place = f"{name}: {panel['title']} {target['refId']}"
                yield Asked(place, target["expr"], target["legendFormat"])
        for mark in board["annotations"]["list"]:
            yield Asked(f"{name}: {mark['name']}", mark["expr"], mark["titleFormat"])
        for variable in variables(board):
            metric, label = variable_query(variable)
            place = f"{name}: ${variable['name']}"
            yield Asked(place, f"group by ({label}) ({metric})", f"{{{{{label}}}}}")


def variables(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the variables of a dashboard that ask for the values of a label."""
    return [one for one in board["templating"]["list"] if one["type"] == "query"]


def variable_query(variable: dict[str, Any]) -> tuple[str, str]:
    """Return the metric in which a variable looks, and the label whose values it offers."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert found is not None, variable["query"]
    return found[1], found[2]


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics in an expression; each has matchers."""
    return set(re.findall(r"([A-Za-z_:][A-Za-z0-9_:]*)\{", expr))
