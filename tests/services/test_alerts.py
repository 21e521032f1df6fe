"""Rules and routes as Prometheus and Alertmanager understand them, in a crash and an outage."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import alertmanager, missing
from tests.services.crash_day import CrashDay
from tests.services.prometheus import DEPLOYED, faster

pytestmark = pytest.mark.services


def run(*command: str | Path, given: bytes = b"") -> str:
    """Return what a tool says; fails where it is not satisfied."""
    if reason := missing(str(command[0])):
        pytest.skip(reason)
    found = subprocess.run(command, input=given, capture_output=True, check=False)
    said = (found.stdout + found.stderr).decode()
    assert found.returncode == 0, said
    return said


def test_promtool_finds_no_fault_in_rules_and_configuration() -> None:
    run("promtool", "check", "rules", *(DEPLOYED / "rules").glob("*.yml"))
    run("promtool", "check", "config", DEPLOYED / "prometheus.yml")


def test_every_alert_fires_stays_quiet_and_resolves_when_it_should() -> None:
    tests = sorted((DEPLOYED / "tests").glob("*.yml"))
    assert run("promtool", "test", "rules", *tests).count("SUCCESS") == len(tests)


def test_the_rules_of_the_crash_differ_in_durations_alone() -> None:
    rule = "expr: increase(x[10m]) > 30 and y offset 1h\n  for: 1m\n  for: 0s\n  for: 30s"
    shorter = "expr: increase(x[30s]) > 30 and y offset 180s\n  for: 3s\n  for: 0s\n  for: 2s"
    assert faster(rule) == shorter


def test_amtool_finds_no_fault_and_knows_who_is_told() -> None:
    run("amtool", "check-config", alertmanager.SHIPPED)
    for severity, receiver in (("page", "pager"), ("ticket", "tickets")):
        test = ("amtool", "config", "routes", "test", f"--config.file={alertmanager.SHIPPED}")
        expected = f"--verify.receivers={receiver}"
        run(*test, expected, f"severity={severity}", "alertname=LiquidatorDown", "job=liquidator")


@pytest.mark.kafka
def test_promtool_finds_no_fault_in_what_a_daemon_shows(crash_day: CrashDay) -> None:
    with urllib.request.urlopen(f"{crash_day.daemon.url}/metrics", timeout=10) as answer:
        shown = answer.read()
    assert run("promtool", "check", "metrics", given=shown) == ""


@pytest.mark.kafka
def test_the_crash_pages_in_its_order_and_an_outage_hides_what_follows_from_it(
    crash_day: CrashDay,
) -> None:
    told = crash_day.receiver
    pages = told.alerts("/page", "firing")
    lost = {"LiquidatorBadDebtGrew", "LiquidatorDeleveraged", "LiquidatorUnrealisedAboveFund"}
    assert lost <= set(pages)
    first = pages.index("LiquidatorFundDrawdown")
    assert all(first < pages.index(name) for name in lost), "the fund is used up before all else"
    assert not lost & set(told.alerts("/ticket", "firing"))
    assert {one.authorization for one in told.told if one.path == "/page"} == {
        "Bearer secret of pager"
    }
    before = len(told.told)
    crash_day.daemon.kill()
    until(lambda: "LiquidatorDown" in told.alerts("/page", "firing"))
    hidden = {"LiquidatorInstanceDown", "LiquidatorShardWithoutOwner"}
    until(lambda: hidden <= alertmanager.suppressed(crash_day.alertmanager.url))
    assert not hidden & {one.alert for one in told.told[before:]}
    crash_day.daemon.start()
    until(lambda: "LiquidatorDown" in told.alerts("/page", "resolved"))


def until(true: Callable[[], bool], seconds_max: float = 40) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds_max
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
