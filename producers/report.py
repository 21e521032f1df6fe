"""What people read: tables by rich, and the same as JSON by orjson.

Tables round to what fits and say so; JSON is exact, amounts as decimal strings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import IO, Any

import orjson
from rich.console import Console
from rich.table import Table

from engine.money import EXACT, exact, plain
from engine.profile import HOUR, SECOND
from producers.fitted import Fitted
from producers.summary import OUTCOMES, Market, Summary

WIDTH = 100
"""Columns of a table that goes to a file or a pipe."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDED = Context(prec=EXACT.prec, traps=[])


def console(file: IO[str] | None = None, *, markup: bool = False) -> Console:
    """Return a console on `file` (standard output): as wide as its terminal, else 100 columns.

    `markup` is for text that is all our own: square brackets or colons in a venue's names are none.
    """
    out = file or sys.stdout
    return Console(
        file=out,
        width=None if out.isatty() else WIDTH,
        highlight=False,
        markup=markup,
        emoji=False,
    )


def to_json(data: Any) -> str:
    """Write plain data as indented JSON, decimals as strings."""
    return orjson.dumps(data, default=_plain, option=orjson.OPT_INDENT_2).decode()


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"report: {type(value).__name__} has no place in JSON")


def amount(value: Decimal) -> str:
    """Write an amount with thousands separators: two decimals from 1 on, four digits below.

    What is not zero never looks like zero.
    """
    if value == 0:
        return "0"
    places = 2 if abs(value) >= 1 else 3 - value.adjusted()
    rounded = value.quantize(Decimal((0, (1,), -places)), ROUND_HALF_EVEN, _ROUNDED)
    text = f"{rounded:,f}"
    if places > 2:
        text = text.rstrip("0")
        whole, _, part = text.partition(".")
        text = f"{whole}.{part:0<2}"
    return text


def full(value: Decimal) -> str:
    """Write a number with thousands separators and all of its decimals."""
    whole, point, part = plain(value).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{part}"


def percent(part: Decimal, whole: Decimal) -> str:
    """Write part ÷ whole in per cent; "> 999 %" also where nothing or less is left of the whole."""
    if part == 0:
        return "0 %"
    if whole <= 0 or part > whole * 10:
        return "> 999 %"
    return f"{_ROUNDED.divide(100 * part, whole):.1f} %"


def moment(time: int, *, fraction: bool = True) -> str:
    """Write microseconds UTC as a date and time, with what is beyond the second unless zero."""
    try:
        at = _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        return f"{time} µs"
    part = f".{at.microsecond:06d}" if fraction and at.microsecond else ""
    return at.strftime("%Y-%m-%d %H:%M:%S") + part


def printable(text: str) -> str:
    """Return foreign text without what would steer a terminal: each such sign becomes �."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def span(time: int) -> str:
    """Write a span of microseconds in hours or seconds."""
    return f"{time / HOUR:g} h" if time >= HOUR else f"{time / SECOND:g} s"


def table(title: str, columns: Sequence[str], left: int = 1, caption: str = "") -> Table:
    """Start a table whose first `left` columns are words and the others numbers."""
    return Fitted(title, columns, left, caption)


def show_summary(out: Console, summary: Summary, digests: Sequence[str], run_digest: str) -> None:
    """Print what a run did: events, decisions, markets, and its digests."""
    if summary.events:
        out.print(_events(summary))
    if summary.unreadable:
        out.print(f"Lines that could not be read and were passed over: {summary.unreadable:,}")
    if summary.decisions:
        out.print(_decisions(summary))
    if summary.markets:
        out.print(markets(summary))
    if summary.first_time is not None and summary.last_time is not None:
        out.print(f"Time:   {moment(summary.first_time)} to {moment(summary.last_time)} UTC")
    if len(digests) > 1:
        for shard, digest in enumerate(digests):
            out.print(f"Shard {shard}: {digest}", soft_wrap=True)
    out.print(f"Digest: {run_digest}", soft_wrap=True)


def summary_data(summary: Summary, digests: Sequence[str], run_digest: str) -> dict[str, Any]:
    """Return the same as plain data."""
    return {**summary.as_data(), "shards": list(digests), "digest": run_digest}


def _events(summary: Summary) -> Table:
    kinds = sorted({kind for kind, _ in summary.events})
    outcomes = [name for name in OUTCOMES if any(result == name for _, result in summary.events)]
    made = table("Events, by what became of them", ["Event", *outcomes, "All"])
    for kind in kinds:
        counts = [summary.events[kind, result] for result in outcomes]
        made.add_row(kind, *(f"{count:,}" for count in [*counts, sum(counts)]))
    made.add_section()
    sums = [sum(summary.events[kind, result] for kind in kinds) for result in outcomes]
    made.add_row("All", *(f"{count:,}" for count in [*sums, sum(sums)]))
    return made


def _decisions(summary: Summary) -> Table:
    made = table("Decisions", ["Decision", "Count"])
    for kind, count in sorted(summary.decisions.items()):
        made.add_row(kind, f"{count:,}")
    made.add_section()
    made.add_row("All", f"{summary.decisions.total():,}")
    return made


LOSSES = {
    "notional": "Notional",
    "shortfall": "Shortfall",
    "paid_by_fund": "Paid by fund",
    "paid_by_reserve": "By reserve",
    "socialised": "Socialised",
    "bad_debt": "Bad debt",
}
"""The sums of a market by name, as columns."""

SELDOM = ("paid_by_reserve", "socialised")
"""Those that are shown where they are something."""


def markets(summary: Summary) -> Table:
    """Return the table of what happened by market and asset, with a sum for each asset."""
    shown = [
        name
        for name in LOSSES
        if name not in SELDOM or any(getattr(of, name) for of in summary.markets.values())
    ]
    made = table(
        "Liquidations and losses, by market",
        ["Market", "Asset", "Liquidations", *(LOSSES[name] for name in shown)],
        left=2,
        caption=(
            f"Liquidations in all: {summary.liquidations:,}, of "
            f"{len(summary.liquidated):,} accounts; one with orders in several markets counts in "
            "each. Notional: what liquidation orders filled. Rounded here, exact in JSON."
        ),
    )
    rows = sorted(
        summary.markets.items(), key=lambda item: (item[0][1], -item[1].notional, item[0][0])
    )
    for asset in sorted({asset for _, asset in summary.markets}):
        of_asset = [(name, market) for (name, its), market in rows if its == asset]
        for name, market in of_asset:
            made.add_row(name, asset, f"{len(market.groups):,}", *_losses([market], shown))
        made.add_section()
        if len(of_asset) > 1:
            groups = set().union(*(market.groups for _, market in of_asset))
            sums = _losses([market for _, market in of_asset], shown)
            made.add_row("All", asset, f"{len(groups):,}", *sums, style="bold")
            made.add_section()
    return made


@exact
def _losses(of: Sequence[Market], names: Sequence[str]) -> list[str]:
    totals = [sum((getattr(market, name) for market in of), Decimal(0)) for name in names]
    return [amount(total) for total in totals]
