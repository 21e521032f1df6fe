"""Alerts: what they read exists, each is proved in three ways, and each has a page that helps."""

from __future__ import annotations

from tests import metrics_table


def test_the_table_of_metrics_is_what_the_code_says() -> None:
    written = metrics_table.PAGE.read_text()
    assert written == metrics_table.page(), "run: .venv/bin/python -m tests.metrics_table"


def test_every_metric_in_a_rule_exists() -> None:
    known = {row.name for row in metrics_table.rows()}
    for rule in metrics_table.rules():
        assert metrics_table.metrics_in(rule["expr"]) <= known, rule
