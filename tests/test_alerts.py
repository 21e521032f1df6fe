"""Alerts: what they read exists, each is proved in three ways, and each has a page that helps."""

from __future__ import annotations

import re

import yaml

from consumers.cli import main
from tests import metrics_table

ALERTS = [rule for rule in metrics_table.rules() if "alert" in rule]
PROOFS = metrics_table.ROOT / "deploy" / "prometheus" / "tests"
RUNBOOKS = metrics_table.ROOT / "docs" / "runbooks"
ALERTMANAGER = metrics_table.ROOT / "deploy" / "alertmanager" / "alertmanager.yml"

MONEY = {
    "LiquidatorBadDebtGrew",
    "LiquidatorDeleveraged",
    "LiquidatorFundDrawdown",
    "LiquidatorUnrealisedAboveFund",
}


def test_the_table_of_metrics_is_what_the_code_says() -> None:
    written = metrics_table.PAGE.read_text()
    assert written == metrics_table.page(), "run: .venv/bin/python -m tests.metrics_table"


def test_every_metric_in_a_rule_exists() -> None:
    known = {row.name for row in metrics_table.rows()}
    for rule in metrics_table.rules():
        assert metrics_table.metrics_in(rule["expr"]) <= known, rule


def test_alerts_are_named_after_the_daemon_and_say_whom_they_wake() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    for alert in ALERTS:
        assert alert["alert"].startswith("Liquidator")
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert {"for", "expr"} <= set(alert)
        annotations = alert["annotations"]
        assert set(annotations) == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"].endswith(f"/docs/runbooks/{alert['alert']}.md")


def test_every_alert_is_proved_in_three_ways() -> None:
    assert {path.stem for path in PROOFS.glob("*.yml")} == {alert["alert"] for alert in ALERTS}
    for alert in ALERTS:
        name = alert["alert"]
        tests = yaml.safe_load((PROOFS / f"{name}.yml").read_text())["tests"]
        found = {}
        for test in tests:
            asked = [one for one in test["alert_rule_test"] if one["alertname"] == name]
            found[test["name"].split()[0]] = [bool(one["exp_alerts"]) for one in asked]
        assert found == {"fires": [True], "stays": [False], "resolves": [True, False]}, name


def test_an_alert_that_is_hidden_behind_another_exists() -> None:
    config = yaml.safe_load(ALERTMANAGER.read_text())
    names = {alert["alert"] for alert in ALERTS}
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = matcher.split("=")[1].strip('~"')
            matched = {name for name in names if re.fullmatch(pattern, name)}
            assert len(matched) == pattern.count("|") + 1, matcher
            assert not matched & MONEY, "what was lost is told in any case"


def test_every_alert_has_a_runbook() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}
    known = {row.name for row in metrics_table.rows() + metrics_table.of_process()}
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        wanted = ["First look", "What to do", "Whom to call", "At the end"]
        assert headings == [path.stem, *wanted]
        named = set(re.findall(r"\b(?:liquidator|process)_\w+", text))
        assert named <= known, path.stem
        others = set(re.findall(r"\bLiquidator[A-Z]\w+", text))
        assert others <= {alert["alert"] for alert in ALERTS}, path.stem
        commands = re.findall(r"^liquidator (\S+)|`liquidator (\S+?)[ `]", text, re.MULTILINE)
        assert {first or second for first, second in commands} <= set(main.commands), path.stem
