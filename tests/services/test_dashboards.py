"""Every query of the dashboards, put to a real Prometheus that watched a crash, finds something."""

from __future__ import annotations

import json
import math
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.dashboards import Asked, asked, metrics
from tests.services import Server, free_port
from tests.services.crash_day import CrashDay

pytestmark = pytest.mark.services

CONFIG = """
global: {{ scrape_interval: 250ms, scrape_timeout: 250ms }}
scrape_configs:
  - job_name: liquidator
    static_configs: [{{ targets: [{targets}] }}]
"""
BOOKS = ("derivatives", "lending", "bridge")
CHOSEN = {
    "$__rate_interval": "30s",
    "$__range": "60s",
    "$job": "liquidator.*",
    "$instance": ".+",
    "$shard": ".+",
    "$market": ".+",
    "$pool": ".+",
}


class Watched:
    """A Prometheus that watched crashes, from `began` on."""

    def __init__(self, server: Server, began: float | None = None) -> None:
        self.server = server
        self.began = time.time() if began is None else began

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """Return the series that an expression gave since the beginning, one sample a second."""
        for name, value in CHOSEN.items():
            expr = expr.replace(name, value)
        values = {"query": expr, "start": self.began, "end": time.time(), "step": 1}
        url = f"{self.server.url}/api/v1/query_range?{urllib.parse.urlencode(values)}"
        with urllib.request.urlopen(url) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Play a crash of derivatives, which is started anew once, one of loans, and a bridge."""
    if reason := services.missing("prometheus"):
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("watched")
    plays = [_play(book, directory / book) for book in BOOKS]
    targets = ", ".join(f'"127.0.0.1:{play.port}"' for play in plays)
    (directory / "prometheus.yml").write_text(CONFIG.format(targets=targets))
    port = free_port()
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    prometheus = Server(command, directory, port)
    with ExitStack() as stack:
        found = Watched(stack.enter_context(prometheus))
        for play in plays:
            stack.callback(play.kill)
            play.start()
        _until(
            lambda: len(found.ask('count by (instance) (up{job="liquidator"} == 1)')) == len(BOOKS)
        )
        plays[0].kill()
        plays[0].start()
        _until(lambda: all((play.directory / "played").exists() for play in plays))
        time.sleep(1)
        yield found


def _play(book: str, directory: Path) -> Server:
    directory.mkdir()
    port = free_port()
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "tests.services.played", book, str(port)]
    return Server(command, directory, port, {"PYTHONPATH": root})


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("query", [pytest.param(one, id=one.place) for one in asked()])
def test_a_query_finds_something(watched: Watched, query: Asked) -> None:
    series = watched.ask(query.expr)
    assert series, query.expr
    values = [float(value) for one in series for _, value in one["values"]]
    assert any(math.isfinite(value) for value in values), query.expr
    for label in re.findall(r"{{(\w+)}}", query.legend):
        assert any(label in one["metric"] for one in series), f"{label}: in no series"


ELSEWHERE = (
    "liquidator_bridge_",
    "liquidator_mqtt_",
    "liquidator_forced_flow_ratio",
    "liquidator_price_held",
    "liquidator_realised_volatility",
    "liquidator_requirement_factor",
    "liquidator_withdrawal_gate_closed",
)
"""What a daemon shows only where file or profile ask for it, or another process does."""

OF_THE_DAEMON = [
    pytest.param(one, id=one.place)
    for one in asked()
    if not one.place.startswith("lending-pools")
    and "> 0" not in one.expr
    and not any(name.startswith(ELSEWHERE) for name in metrics(one.expr))
]


@pytest.mark.kafka
@pytest.mark.parametrize("query", OF_THE_DAEMON)
def test_a_query_finds_something_of_a_real_daemon(crash_day: CrashDay, query: Asked) -> None:
    assert Watched(crash_day.prometheus, crash_day.began).ask(query.expr)
