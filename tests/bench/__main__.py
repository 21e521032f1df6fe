"""Measure, and print a table for the README: `make bench`."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import tempfile
from os import cpu_count
from pathlib import Path

from tests.bench import account_risk, crash, detection, latency, throughput
from tests.broker import Broker, BrokerError

BOOKS = (1_000, 10_000)
TOLD = 20_000
HEADER = """\
| what | this | baseline | ratio |
|---|---:|---:|---:|"""


def main() -> int:
    """Run what is asked for, everything by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="*",
        choices=["detection", "crash", "throughput", "latency", []],
        help="only these; everything when none is given",
    )
    wanted = parser.parse_args().what or ["throughput", "detection", "crash", "latency"]
    rows: list[str] = []
    try:
        if "detection" in wanted:
            rows += map(_detection, BOOKS)
            rows += map(_portfolios, BOOKS)
            rows += map(_loans, BOOKS)
            rows.append(_account_risk(TOLD))
        if "crash" in wanted:
            rows += _crashes(BOOKS[-1])
        if {"throughput", "latency"} & {*wanted}:
            rows += _on_broker(wanted)
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    machine = f"Python {platform.python_version()}, {cpu_count()} processors"
    print(f"{machine}; the broker runs on them too.\n")
    print("\n".join([HEADER, *rows]))
    return 0


def _on_broker(wanted: list[str]) -> list[str]:
    Broker.fetch()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        directory = Path(scratch)
        with Broker(directory / "broker") as broker:
            rows = []
            if "throughput" in wanted:
                rows += _throughput(broker.bootstrap, directory)
            if "latency" in wanted:
                rows += _latency(broker.bootstrap, directory)
            return rows


def _detection(accounts: int) -> str:
    found = detection.measure(accounts)
    return _row(
        f"detection, {accounts:,} accounts, 20 markets; baseline: the naive twin, same decisions",
        f"{found.engine_per_second:,.0f} ticks/s",
        f"{found.twin_per_second:,.2f} ticks/s",
        found.engine_per_second / found.twin_per_second,
    )


def _portfolios(accounts: int) -> str:
    what = f"portfolio margin, {accounts:,} accounts of two options and a perpetual, 29 scenarios"
    return _screened(what, detection.measure_portfolios(accounts))


def _loans(accounts: int) -> str:
    what = f"loans, {accounts:,} accounts, 10 coins, interest by the engine"
    return _screened(what, detection.measure_loans(accounts))


def _account_risk(accounts: int) -> str:
    found = account_risk.measure(accounts)
    return _row(
        f"account-risk, a look at {accounts:,} accounts in steps of {found.step * 1e3:.1f} ms at "
        f"most, a record {found.record * 1e6:,.0f} µs; baseline: everybody valued exactly",
        f"{1 / found.look:,.0f} looks/s",
        f"{1 / found.exact:,.1f} looks/s",
        found.exact / found.look,
    )


def _screened(what: str, found: detection.Screened) -> str:
    return _row(
        f"{what}; baseline: every holder valued exactly, same decisions",
        f"{found.screened_per_second:,.0f} ticks/s",
        f"{found.exact_per_second:,.2f} ticks/s",
        found.screened_per_second / found.exact_per_second,
    )


def _crashes(accounts: int) -> list[str]:
    of = f"{accounts:,} of them; baseline: everybody valued exactly, same decisions"
    deleveraging = (
        f"{crash.BANKRUPT:,} bankrupt at one price, deleveraged against those in profit, {of}"
    )
    return [
        _bankrupt(deleveraging, crash.measure_deleveraging(accounts)),
        _bankrupt(f"a loss that all holders bear, {of}", crash.measure_socialised(accounts)),
    ]


def _bankrupt(what: str, found: crash.Crash) -> str:
    return _row(
        what,
        f"{found.screened_per_second:,.1f} groups/s",
        f"{found.exact_per_second:,.1f} groups/s",
        found.screened_per_second / found.exact_per_second,
    )


def _throughput(bootstrap: str, directory: Path) -> list[str]:
    rows = []
    for name, scene in throughput.SCENES.items():
        found = asyncio.run(throughput.measure(bootstrap, directory, scene))
        what = f"{name}, {found.events:,} events, {found.decisions:,} decisions"
        for way, rate in (("end to end", found.per_second), ("replay", found.engine)):
            rows.append(
                _row(
                    f"{way}, one shard: {what}; baseline: fetching and decoding them from Kafka",
                    f"{rate:,.0f} events/s",
                    f"{found.ceiling:,.0f} events/s",
                    rate / found.ceiling,
                )
            )
    return rows


def _latency(bootstrap: str, directory: Path) -> list[str]:
    found = asyncio.run(latency.measure(bootstrap, directory))
    rows = []
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        daemon, bare = (times[int(len(times) * part)] for times in found)
        rows.append(
            _row(
                f"tick fetched to order visible, {name}; baseline: a bare transaction",
                f"{daemon:.1f} ms",
                f"{bare:.1f} ms",
                daemon / bare,
            )
        )
    return rows


def _row(what: str, this: str, baseline: str, ratio: float) -> str:
    digits = 2 if ratio < 10 else 0
    return f"| {what} | {this} | {baseline} | {ratio:,.{digits}f} |"


if __name__ == "__main__":
    sys.exit(main())
