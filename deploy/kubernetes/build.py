"""Write the PrometheusRule from Prometheus' own rule files: `python -m deploy.kubernetes.build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[1] / "prometheus" / "rules"
TARGET = Path(__file__).parent / "base" / "prometheus-rule.yaml"
HEAD = "# Made from deploy/prometheus/rules by `python -m deploy.kubernetes.build`.\n"


def groups() -> list[dict[str, Any]]:
    """Return the groups of all rule files."""
    files = sorted(RULES.glob("*.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def text() -> str:
    """Return the PrometheusRule as it is written."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "liquidator"},
        "spec": {"groups": groups()},
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=1000)


if __name__ == "__main__":
    TARGET.write_text(text())
