"""What a person sees of the demo's lending market: the day as it goes, and what it came to."""

from __future__ import annotations

import sys
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from consumers.crashes import MAY_2021
from consumers.demo_screen import (
    clock,
    millions,
    show_history,
    show_tries,
    verdict,
    whole,
)
from consumers.lending_market import LendingScene
from consumers.lending_tally import LendingSummary, LendingTally
from consumers.tally import Finding
from engine.decisions import LiquidationStarted, WithdrawalUnpaid
from producers import report

TOKEN_LOSS = (Decimal(50_000_000), Decimal(110_000_000))
"""What the largest borrower is expected to leave, USDT: between Venus's own count and the press's,
77 and 100 million, and then some on either side."""

HAPPENED = (
    (
        "Venus's token went from 76 to 143 dollars and back to 72 within six hours of 18 May; over "
        "$200 million were liquidated, and about $100 million stayed behind as bad debt (press).",
        "thedefiant.io/bscs-venus-protocol-left-with-bad-debt-after-liquidations",
    ),
    (
        "One borrower had put up 2 million of it and taken 4,100 BTC and 9,600 ETH; its factor had "
        "been raised from 60 to 80 % ten days before.",
        "chaincatcher.com/en/article/2061967",
    ),
    (
        "Venus itself counted a loss of $77 million, to be made good from its grants.",
        "binancechain.news/post-mortem-released-after-venus-protocols-string-of-massive-liquidations",
    ),
)


class LendingView:
    """The view of the lending market's day."""

    symbol = "BTC"
    crash = MAY_2021

    def __init__(self, tally: LendingTally) -> None:
        self._tally = tally

    @property
    def notional(self) -> Decimal:
        """What liquidators repaid up to now, in USDT."""
        return self._tally.notional

    def figures(self) -> list[tuple[str, str]]:
        """Return names and values for the picture."""
        tally = self._tally
        return [
            ("accounts liquidated", f"{tally.accounts_liquidated:,}"),
            ("liquidations", f"{tally.count[LiquidationStarted.__name__]:,}"),
            ("repaid by liquidators", f"{whole(tally.notional)} USDT"),
            ("bonus", f"{whole(tally.bonus)} USDT"),
            ("unrealised bad debt", f"{whole(self._unrealised)} USDT"),
            ("shortfall", f"{whole(tally.shortfall)} USDT"),
            ("withdrawals unpaid", f"{tally.count[WithdrawalUnpaid.__name__]:,}"),
        ]

    def line(self, clock: str, price: Decimal) -> str:
        """Return a line of text for a time of the day."""
        tally = self._tally
        return (
            f"{clock}  BTC {price:>6,.0f}  liquidated {tally.accounts_liquidated:>4,}  "
            f"{millions(tally.notional):>7}  unrealised {millions(self._unrealised):>6}  "
            f"bad debt {millions(tally.bad_debt):>6}"
        )

    @property
    def _unrealised(self) -> Decimal:
        observer = self._tally.observer
        return observer.last.value if observer and observer.last else Decimal(0)


def show_summary(summary: LendingSummary, scene: LendingScene) -> None:
    """Print what the day came to, the full day beside what is expected of it."""
    out = report.console(sys.stdout, markup=True)
    out.print(_losses(summary))
    out.print(_seizures(summary))
    out.print(_pools(summary))
    out.print(_findings(summary, scene.whole))
    out.print(
        f"{summary.events:,} events in {summary.seconds:.0f} s: {summary.liquidations:,} "
        f"liquidations, {summary.margin_calls:,} margin calls, {summary.offers:,} seizures "
        f"offered, {summary.takes:,} takes ({summary.partial_takes:,} in part), "
        f"{summary.closed_offers:,} offers closed before all was taken, "
        f"{summary.shortfalls:,} shortfalls, "
        f"{summary.withdrawals_unpaid:,} withdrawals unpaid, {summary.anomalies:,} anomalies."
    )
    _show_checks(out, summary)
    show_history(out, HAPPENED)
    if summary.digest is not None:
        out.print(f"\nDigest: {summary.digest}", soft_wrap=True)
    show_tries(out, TRIES)


TRIES = (
    ("liquidator demo --book lending --seed 2", "the same day with other people"),
    ("liquidator demo --book thin", "the same day on a market of perpetuals"),
    ("liquidator demo --book lending --log l.zst", "keep every event"),
    ("liquidator replay l.zst", "the same again from the log: the same digest"),
)


def _show_checks(out: Console, summary: LendingSummary) -> None:
    if not summary.checks:
        return
    out.print(
        f"Checked {summary.checks} times, the last time at the end, to the last unit: in each "
        "asset, what accounts, pools and liquidators have is what was brought in less what was "
        "taken away; in each pool, cash and debts are what lenders and the reserve are owed; each "
        "shortfall is what fund, reserve and lenders paid, and what is outstanding."
    )


def _losses(summary: LendingSummary) -> Table:
    made = report.table(
        "19 May 2021, lending: bad debt by asset, in the asset",
        ["Asset", "Shortfall", "Fund", "Reserve", "Lenders", "Outstanding", "At worst", "At end"],
        caption="At worst, at end: unrealised bad debt, what debts exceed their collateral by, "
        "booked or not yet.",
    )
    for row in summary.losses:
        made.add_row(
            row.asset,
            report.amount(row.shortfall),
            report.amount(row.paid_by_fund),
            report.amount(row.paid_by_reserve),
            report.amount(row.borne_by_lenders),
            report.amount(row.outstanding),
            _known(row.unrealised_worst),
            _known(row.unrealised_end),
        )
    return made


def _known(amount: Decimal | None) -> str:
    return "" if amount is None else report.amount(amount)


def _seizures(summary: LendingSummary) -> Table:
    made = report.table(
        "Collateral seized by asset",
        ["Asset", "Takes", "Seized", "Worth, USDT", "Repaid, USDT", "Bonus, USDT", "Toxic"],
        caption="Worth: at the prices of then. Toxic: the part of what was repaid that lowered the "
        "health of who was liquidated.",
    )
    for row in summary.seizures:
        made.add_row(
            row.asset,
            f"{row.takes:,}",
            report.amount(row.seized),
            whole(row.worth),
            whole(row.repaid),
            whole(row.worth - row.repaid),
            f"{row.toxic_share:.1%}",
        )
    made.add_section()
    made.add_row(
        "All",
        f"{summary.takes:,}",
        "",
        whole(summary.seized),
        whole(summary.repaid),
        whole(summary.bonus),
        f"{summary.toxic_share:.1%}",
        style="bold",
    )
    return made


def _pools(summary: LendingSummary) -> Table:
    made = report.table(
        "Pools that lent or were asked for money back",
        ["Pool", "Used at worst", "At", "At end", "Asked", "Unpaid", "Amount unpaid"],
        caption="Used: borrowed ÷ (borrowed + cash). Amount unpaid: the most that each lender was "
        "refused, in the asset.",
    )
    for row in summary.pools:
        if row.utilization_worst or row.asked:
            made.add_row(
                row.pool,
                "" if row.utilization_worst is None else f"{row.utilization_worst:.1%}",
                "" if row.worst_at is None else clock(row.worst_at),
                "" if row.utilization_end is None else f"{row.utilization_end:.1%}",
                f"{row.asked:,}",
                f"{row.unpaid:,}",
                report.amount(row.unpaid_amount),
            )
    return made


def _findings(summary: LendingSummary, full: bool) -> Table:
    made = report.table(
        "The day in figures", ["", "This run", *(["Expected", ""] if full else [])], left=1
    )
    for finding in findings(summary):
        made.add_row(finding.name, finding.value, *(verdict(finding) if full else ()))
    return made


def findings(summary: LendingSummary) -> list[Finding]:
    """Return the figures of a day; only what the largest borrower leaves has a band."""
    largest = summary.largest
    left = largest.shortfall + (largest.unrealised_end or 0)
    low, high = TOKEN_LOSS
    found = [
        Finding("accounts liquidated", f"{summary.accounts_liquidated_share:.1%}", "", None),
        Finding("repaid by liquidators", f"{whole(summary.repaid)} USDT", "", None),
        Finding("bonus", f"{whole(summary.bonus)} USDT", "", None),
        Finding("shortfall", f"{whole(summary.shortfall)} USDT", "", None),
        Finding("of it outstanding", f"{whole(summary.bad_debt)} USDT", "", None),
    ]
    if summary.unrealised_worst is not None and summary.unrealised_worst_at is not None:
        at = clock(summary.unrealised_worst_at)
        value = f"{whole(summary.unrealised_worst)} USDT, {at}"
        found.append(Finding("unrealised bad debt at worst", value, "", None))
        ended = f"{whole(summary.unrealised_end or Decimal(0))} USDT"
        found.append(Finding("unrealised bad debt at end", ended, "", None))
    found += [
        Finding("largest borrower: borrowed", f"{whole(largest.borrowed)} USDT", "", None),
        Finding("largest borrower: repaid", f"{whole(largest.repaid)} USDT", "", None),
        Finding(
            "largest borrower: left",
            f"{whole(left)} USDT",
            f"{millions(low)} – {millions(high)}",
            low <= left <= high,
        ),
    ]
    return found
