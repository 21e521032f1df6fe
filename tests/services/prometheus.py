"""Run a real Prometheus that watches a daemon by the shipped configuration, with short times."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.services import Server, free_port

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"

FASTER = 20
"""By how much a test shortens every duration of the rules: a minute lasts three seconds."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def faster(text: str) -> str:
    """Return rules with durations divided by `FASTER`; what is not 0 stays 2 s at least.

    Nothing else changes: only what stands after `for:`, in brackets, and after `offset`.
    """

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found["count"]) * UNITS[found["unit"]]
        return f"{found['before']}{seconds and max(2, round(seconds / FASTER))}s"

    durations = r"(?P<count>[0-9]+)(?P<unit>[smhd])\b"
    return re.sub(rf"(?P<before>for: |\[|offset ){durations}", shorter, text)


def configuration(directory: Path, targets: list[int], alertmanager: int) -> Path:
    """Write the shipped configuration and rules for daemons on these ports, scraped each second."""
    config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config["global"]["evaluation_interval"] = "1s"
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets]}]
    (one,) = config["alerting"]["alertmanagers"]
    one["static_configs"] = [{"targets": [f"127.0.0.1:{alertmanager}"]}]
    rules = directory / "rules"
    rules.mkdir(exist_ok=True)
    for file in (DEPLOYED / "rules").glob("*.yml"):
        (rules / file.name).write_text(faster(file.read_text()))
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def server(directory: Path, targets: list[int], alertmanager: int) -> Server:
    """Return a Prometheus for daemons and an Alertmanager on these ports, not started yet."""
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={configuration(directory, targets, alertmanager)}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    return Server(command, directory, port)


def query(url: str, expression: str, at: float | None = None) -> list[dict[str, Any]]:
    """Return what an expression gives, now or at a time in seconds since 1970.

    Raises `urllib.error.HTTPError` for one that Prometheus cannot read.
    """
    asked = {"query": expression} | ({} if at is None else {"time": str(at)})
    with urllib.request.urlopen(
        f"{url}/api/v1/query?{urllib.parse.urlencode(asked)}", timeout=10
    ) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found
