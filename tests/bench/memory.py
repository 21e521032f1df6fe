"""What a shard weighs: `python -m tests.bench.memory`; the table is in docs/deployment.md.

Each size is a process of its own, so that none has what another left. Its memory is resident memory
after the book was given, each market has ticked, and /metrics was asked for, less that of a process
that has loaded the daemon and no account.
"""

from __future__ import annotations

import subprocess
import sys
import time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

import consumers.daemon  # noqa: F401  (what a daemon has loaded is no part of a book)
from consumers.replay import decide
from engine import state
from engine.core import Engine
from engine.events import GroupSnapshot, LegSnapshot, PositionSnapshot
from producers.metrics import Metrics
from tests.bench import book

SIZES = ((10_000, 1), (10_000, 5), (50_000, 1), (50_000, 5), (200_000, 1))
"""Accounts, and legs of each."""

HEADER = """\
| accounts | legs each | memory | an account | state on Kafka | ticks/s | a scrape |
|---:|---:|---:|---:|---:|---:|---:|"""


class Weight(NamedTuple):
    """What one size came to: bytes, seconds, and a rate."""

    memory: int
    state: int
    ticks: float
    scrape: float


def measure(accounts: int, legs: int) -> Weight:
    """Return what a book of so many accounts weighs in this process, which must have none yet."""
    before = resident()
    engine, random = Engine(), Random(1)
    for event in book.rules():
        decide(engine, event)
    for number in range(accounts):
        decide(engine, _account(number, legs, random))
    for event in book.first_prices():
        decide(engine, event)
    ticks = list(islice(book.walk(), 400))
    began = time.perf_counter()
    for tick in ticks:
        decide(engine, tick)
    rate = len(ticks) / (time.perf_counter() - began)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    began = time.perf_counter()
    metrics.observe_state(0, engine)
    generate_latest(registry)
    scrape = time.perf_counter() - began
    memory = resident() - before
    records = state.records(engine)
    return Weight(memory, sum(map(len, records.values())), rate, scrape)


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def _account(number: int, legs: int, random: Random) -> PositionSnapshot:
    """Return an account that is far from its threshold, long or short in each of its markets."""
    held = []
    for place in range(legs):
        size = random.choice((-1, 1))
        symbol = book.MARKETS[(number + place) % len(book.MARKETS)]
        held.append(LegSnapshot(symbol, Decimal(size), size * book.FIRST_PRICE))
    deposit = legs * book.FIRST_PRICE
    group = GroupSnapshot("cross", {"USDT": deposit}, tuple(held))
    return PositionSnapshot(time=book.now(), account=f"a{number:06}", sequence=1, groups=(group,))


def main() -> None:
    """Measure every size in a process of its own and print the table."""
    print(HEADER)
    for accounts, legs in SIZES:
        command = [sys.executable, "-m", "tests.bench.memory", str(accounts), str(legs)]
        found = msgspec.json.decode(subprocess.check_output(command), type=Weight)
        print(
            f"| {accounts:,} | {legs} | {found.memory / 2**20:,.0f} MiB "
            f"| {found.memory / accounts / 1024:.1f} KiB | {found.state / 2**20:,.0f} MiB "
            f"| {found.ticks:,.0f} | {1000 * found.scrape:,.0f} ms |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        accounts, legs = map(int, sys.argv[1:])
        print(msgspec.json.encode(measure(accounts, legs)).decode())
