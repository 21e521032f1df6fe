"""Write the dashboards: `python -m deploy.grafana.build`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard as make
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana import internals, lending, losses, market, overview
from deploy.grafana.parts import (
    INSTANCE,
    JOB,
    SHARDS,
    SOURCE,
    WIDTH,
    Board,
    Mark,
    Row,
    Variable,
    matched,
)

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {
    "overview": overview.BOARD,
    "market": market.BOARD,
    "waterfall-and-bad-debt": losses.BOARD,
    "lending-pools": lending.BOARD,
    "engine-internals": internals.BOARD,
}
TAG = "liquidator"


def texts() -> dict[str, str]:
    """Return each dashboard's file name and content."""
    return {
        f"{name}.json": json.dumps(_tree(board), indent=2, sort_keys=True) + "\n"
        for name, board in BOARDS.items()
    }


def _tree(board: Board) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    made = make.Dashboard(board.title).uid(board.uid).description(board.description).tags([TAG])
    made.readonly().timezone("utc").time("now-1h", "now").refresh("30s")
    made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    made.link(
        make.DashboardLink("Liquidator")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    made.with_variable(
        make.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )
    for variable in (JOB, INSTANCE, SHARDS, *board.variables):
        made.with_variable(_variable(variable))
    for row in board.rows:
        _add(made, row)
    tree: dict[str, Any] = json.loads(JSONEncoder().encode(made.build()))
    tree["annotations"] = {"list": [_annotation(mark) for mark in board.marks]}
    _number(tree["panels"])
    return tree


def _add(made: make.Dashboard, row: Row) -> None:
    made.with_row(make.Row(row.title))
    for panel in row.panels:
        made.with_panel(panel.span(WIDTH // row.across))


def _number(panels: list[dict[str, Any]]) -> None:
    """Give panels the numbers by which links to them are made."""
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number


def _variable(variable: Variable) -> make.QueryVariable:
    found = make.QueryVariable(variable.name).label(variable.label).datasource(SOURCE)
    found.query(
        {
            "query": f"label_values({matched(variable.metric)}, {variable.name})",
            "refId": variable.name,
        }
    )
    found.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    found.sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    chosen = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    return found.multi(True).include_all(True).all_value(variable.every).current(chosen)


def _annotation(mark: Mark) -> dict[str, Any]:
    """Return an annotation in the form that Grafana's Prometheus source reads."""
    return {
        "datasource": json.loads(JSONEncoder().encode(SOURCE)),
        "enable": True,
        "expr": matched(mark.expr),
        "iconColor": mark.color,
        "name": mark.name,
        "titleFormat": mark.title,
    }


def main() -> None:
    """Write every dashboard into its file."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
