"""Runbooks end in commands, and these do what they say on what a crash left."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from consumers import config, journal
from engine import wire
from engine.decisions import LiquidationOrder
from tests.metrics_table import ROOT
from tests.services.crash_day import CrashDay

pytestmark = [pytest.mark.kafka, pytest.mark.services]

PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
CONFIG = "/etc/liquidator/liquidator.toml"


def last_commands(page: Path) -> list[str]:
    """Return the commands that a page ends in."""
    *_, block = re.findall(r"```\n(.*?)\n```\n\Z", page.read_text(), re.DOTALL)
    return block.splitlines()


@pytest.fixture(scope="module")
def order(crash_day: CrashDay) -> LiquidationOrder:
    """Return an order of the crash."""
    settings = config.read(crash_day.config)

    async def first() -> LiquidationOrder:
        topic = journal.TopicPartition(settings.topics.liquidation_orders, 0)
        async for record in journal.committed(settings.client(), topic):
            decision = wire.read_decision(record.value)
            if isinstance(decision, LiquidationOrder):
                return decision
        raise AssertionError("no order in the crash")

    return asyncio.run(first())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_at_the_end_of_a_runbook_work(
    page: Path, crash_day: CrashDay, order: LiquidationOrder, tmp_path: Path
) -> None:
    meant = {CONFIG: str(crash_day.config), "ACCOUNT": order.account, "ORDER": order.order_id}
    for line in last_commands(page):
        program, *words = (meant.get(word, word) for word in shlex.split(line))
        assert program == "liquidator"
        ran = subprocess.run(
            [sys.executable, "-m", "consumers.cli", *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
        assert ran.stdout.strip() or "-o" in words, "it says something"
