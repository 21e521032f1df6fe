"""What a person sees of the demo: the day as it goes, and what it came to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from consumers.crashes import CRASHES, LUNA, MAY_2021, MINUTES_A_DAY, Crash
from consumers.feed import Day
from consumers.market import SECOND, Scene
from consumers.tally import Finding, Summary, Tally, findings
from engine.decisions import LiquidationStarted
from producers import report

HOUR = 3600 * SECOND
DAY = 24 * HOUR
WIDTH = 72
"""Columns of a picture of a whole crash."""

SHOW = 0.2
"""Seconds between two pictures."""

SHADES = " ▁▂▃▄▅▆▇█"
MAY_HAPPENED = (
    (
        "By the evening over $8 billion of positions of some 800,000 traders had been liquidated, "
        "on all venues within 24 hours (press, from figures of Bybt).",
        "beincrypto.com/thousands-of-crypto-traders-liquidated",
    ),
    (
        "The three insurance funds of the largest venue hardly moved: 632.7 million USDT before, "
        "629.3 after.",
        "bitcointalksearch.org/topic/binance-announces-crypto-industry-recovery-fundftx-question-5422355",
    ),
    (
        "Several venues hung while the price fell; the largest one's futures for over an hour.",
        "coalexander.com/post/binance-s-insurance-fund",
    ),
)


LUNA_HAPPENED = (
    (
        "By the morning of 11 May $106 million of LUNA futures had been liquidated within 24 "
        "hours, on all venues, and $387 million were still open (press, from Coinglass).",
        "coindesk.com/markets/2022/05/11/ust-falls-to-035-terra-futures-see-106m-in-liquidations",
    ),
    (
        "The largest venue cut the leverage of LUNA from 25 to 8 times and settled its contract "
        "in USDT on 12 May at 15:30 UTC, below 0.005 USDT: here it goes on until spot stopped.",
        "y4l.net/post/AWXB6M",
    ),
)
HAPPENED = {MAY_2021.name: MAY_HAPPENED, LUNA.name: LUNA_HAPPENED}


class View(Protocol):
    """What of a crash is shown while it goes on: the price of `symbol`, and what was counted."""

    symbol: str
    crash: Crash

    @property
    def notional(self) -> Decimal:
        """What was liquidated up to now, in USDT."""

    def figures(self) -> list[tuple[str, str]]:
        """Return names and values for the picture."""

    def line(self, clock: str, price: Decimal) -> str:
        """Return a line of text for a time of the day."""


class MarketsView:
    """The view of a crash of perpetuals."""

    def __init__(self, tally: Tally, crash: Crash) -> None:
        self.crash = crash
        self.symbol = crash.leader
        self._tally = tally

    @property
    def notional(self) -> Decimal:
        """What liquidation orders filled up to now, in USDT."""
        return self._tally.notional

    def figures(self) -> list[tuple[str, str]]:
        """Return names and values for the picture."""
        tally = self._tally
        return [
            ("accounts liquidated", f"{tally.accounts_liquidated:,}"),
            ("of them long", f"{tally.long_share:.0%}"),
            ("liquidations", f"{tally.count[LiquidationStarted.__name__]:,}"),
            ("liquidated notional", f"{whole(tally.notional)} USDT"),
            ("insurance fund", f"{whole(tally.fund)} USDT"),
            ("shortfall", f"{whole(tally.shortfall)} USDT"),
            ("bad debt", f"{whole(tally.bad_debt)} USDT"),
        ]

    def line(self, clock: str, price: Decimal) -> str:
        """Return a line of text for a time of the day."""
        tally = self._tally
        return (
            f"{clock}  {leader(self)} {quoted(price):>9}  "
            f"liquidated {tally.accounts_liquidated:>5,} ({tally.long_share:>4.0%} long)  "
            f"{millions(tally.notional):>7}  "
            f"fund {millions(tally.fund):>6}  bad debt {millions(tally.bad_debt):>6}"
        )


class Screen:
    """The day as it goes: a picture on a terminal, else a line for each hour of the day."""

    def __init__(self, world: Day, view: View) -> None:
        self._world = world
        self._view = view
        self._began = world.clock.time
        whole_crash = view.crash.minutes * 60 * SECOND
        self._column = whole_crash // WIDTH
        self._line = HOUR * -(-whole_crash // DAY)
        self._console = report.console(sys.stdout, markup=True)
        self._live: Live | None = None
        self._told = self._began
        self._shown = 0.0
        self._prices: dict[int, Decimal] = {}
        self._notional: dict[int, Decimal] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self) -> None:
        """Show how far the day is, at most a few times a second."""
        if monotonic() < self._shown + SHOW:
            return
        self._shown = monotonic()
        time, price = self._world.clock.time, self._world.prices.get(self._view.symbol)
        if price is None:
            return
        column = (time - self._view.crash.begin) // self._column
        self._prices[column] = price
        self._notional[column] = self._view.notional
        if self._live is not None:
            self._live.update(self._picture(time, price), refresh=True)
        elif time >= self._told + self._line:
            self._told = time - time % self._line
            self._console.print(self._view.line(self._clock(self._told), price))

    def _picture(self, time: int, price: Decimal) -> Panel:
        total = len(self._world.minutes) * 60 * SECOND
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", min_width=18)
        grid.add_column()
        bar = ProgressBar(total=total, completed=time - self._began, width=WIDTH)
        grid.add_row(self._clock(time), bar)
        low, high = min(self._prices.values()), max(self._prices.values())
        skyline = _skyline(self._by_column(self._prices), low)
        grid.add_row(f"{leader(self._view)} {quoted(price, 2):>12}", Text(skyline))
        grid.add_row(f"range {quoted(low)} – {quoted(high)}", "")
        steps = _differences(self._by_column(self._notional))
        minutes = self._column // (60 * SECOND)
        grid.add_row(f"liquidated, {minutes} min", Text(_skyline(steps, Decimal(0)), style="red"))
        figures = Table.grid(padding=(0, 3))
        for name, value in self._view.figures():
            figures.add_row(Text(name, style="dim"), Text(value, justify="right"))
        return Panel(Group(grid, "", figures), title=self._view.crash.title, border_style="dim")

    def _clock(self, time: int) -> str:
        """Write a time, with its date where there are several."""
        date = report.moment(time)[5:11] if self._view.crash.minutes > MINUTES_A_DAY else ""
        return date + clock(time)

    def _by_column(self, values: dict[int, Decimal]) -> list[Decimal]:
        """Return one value a column; one that was passed over repeats the last."""
        first, last = min(values), max(values)
        found = [values[first]]
        for column in range(first + 1, last + 1):
            found.append(values.get(column, found[-1]))
        return found


def show_summary(summary: Summary, scene: Scene) -> None:
    """Print what the day came to, the full day beside what is expected of it."""
    out = report.console(sys.stdout, markup=True)
    out.print(_markets(summary))
    out.print(_findings(summary, scene.whole))
    out.print(
        f"{summary.events:,} events in {summary.seconds:.0f} s: {summary.liquidations:,} "
        f"liquidations, {summary.margin_calls:,} margin calls, {summary.orders:,} orders, "
        f"{summary.fills:,} fills ({summary.partial_fills:,} in part), {summary.expired_orders:,} "
        f"expired, {summary.shortfalls:,} shortfalls, {summary.anomalies:,} anomalies."
    )
    out.print(
        f"Insurance fund: {_fund_story(summary)}. It began with 1 million USDT, deliberately small."
    )
    if summary.taken_over or summary.deleveraged or summary.socialised:
        out.print(
            f"Transfers: {summary.taken_over:,} taken over, {summary.deleveraged:,} deleveraged, "
            f"whose counterparties forgo {whole(summary.forgone)} USDT; "
            f"{whole(summary.socialised)} USDT of losses socialised."
        )
    show_history(out, HAPPENED[scene.day])
    if summary.digest is not None:
        out.print(f"\nDigest: {summary.digest}", soft_wrap=True)
    _show_next(out, summary)


def show_history(out: Console, happened: Sequence[tuple[str, str]]) -> None:
    """Print what happened that day, with sources."""
    headline(out, "What happened that day")
    for text, source in happened:
        out.print(f"* {text}")
        out.print(f"  {source}", style="dim", soft_wrap=True)


COLUMNS = {
    "notional": "Notional",
    "shortfall": "Shortfall",
    "paid_by_fund": "Paid by fund",
    "socialised": "Socialised",
    "bad_debt": "Bad debt",
}
"""The amounts of a market, and of all of them, as columns."""


def _markets(summary: Summary) -> Table:
    shown = [name for name in COLUMNS if name != "socialised" or summary.socialised]
    title = f"{CRASHES[summary.day].title}{_under(summary)}, {summary.book} book"
    made = report.table(
        f"{title}: liquidations and losses by market",
        ["Market", "Asset", "Accounts", *(COLUMNS[name] for name in shown)],
        left=2,
        caption="Accounts: liquidated in that market. Notional: what liquidation orders filled.",
    )
    for row in summary.markets:
        amounts = (whole(getattr(row, name)) for name in shown)
        made.add_row(row.market, row.asset, f"{row.accounts:,}", *amounts)
    made.add_section()
    made.add_row(
        "All",
        "USDT",
        f"{summary.accounts_liquidated:,}",
        *(whole(getattr(summary, name)) for name in shown),
        style="bold",
    )
    return made


def _under(summary: Summary) -> str:
    return f" by the profile {summary.profile}" if summary.profile else ""


def _findings(summary: Summary, full: bool) -> Table:
    """Return the figures of a day; only a whole one is set beside what is expected."""
    made = report.table(
        "The day in figures", ["", "This run", *(["Expected", ""] if full else [])], left=1
    )
    for finding in findings(summary):
        made.add_row(finding.name, finding.value, *(verdict(finding) if full else ()))
    return made


def verdict(finding: Finding) -> tuple[str, Text | str]:
    """Return what is expected of a figure, and whether it is so."""
    if finding.inside is None:
        return "", ""
    return finding.band, Text("inside", "green") if finding.inside else Text("outside", "red")


def _show_next(out: Console, summary: Summary) -> None:
    other = "deep" if summary.book == "thin" else "thin"
    tries = (
        (f"liquidator demo --book {other}", "the same day with another book"),
        ("liquidator demo --day 2022-05-luna", "LUNA's fall, five days"),
        ("liquidator demo --book lending", "the same day on a lending market"),
        ("liquidator demo --profile default", "by other rules: `liquidator profiles list`"),
        ("liquidator demo --speed 600 --port 9464", "slowly, with metrics on port 9464"),
        ("liquidator demo --log day.jsonl.zst", "keep every event"),
        ("liquidator replay day.jsonl.zst", "the same again from the log: the same digest"),
        ("liquidator demo --kafka HOST:PORT", "the same day into a daemon that runs"),
    )
    show_tries(out, tries)


def show_tries(out: Console, tries: Sequence[tuple[str, str]]) -> None:
    """Print commands to try next, and what they do."""
    headline(out, "What to try next")
    for command, what in tries:
        out.print(Text.assemble(f"  {command:<42} ", (what, "dim")), soft_wrap=True)


def headline(out: Console, text: str) -> None:
    """Print a line that begins a part."""
    out.print()
    out.print(text, style="bold")


def _fund_story(summary: Summary) -> str:
    return (
        f"{whole(summary.fees_to_fund)} USDT of fees in, "
        f"{whole(summary.paid_by_fund + summary.fund_losses)} paid out, "
        f"{whole(summary.fund_lowest)} at its lowest, {whole(summary.fund)} at the end"
    )


def clock(time: int) -> str:
    """Write a time of the day, to the second."""
    return f"{report.moment(time - time % SECOND)[11:]} UTC"


def whole(amount: Decimal) -> str:
    """Write an amount without decimals."""
    return f"{amount:,.0f}"


def leader(view: View) -> str:
    """Name what is shown of a view, without what it is quoted in."""
    return view.symbol.removesuffix("USDT")


def quoted(price: Decimal, decimals: int = 0) -> str:
    """Write a price, with `decimals` where it is a large one, else with five digits."""
    return f"{price:,.{decimals}f}" if price >= 1000 else f"{float(price):.5g}"


def millions(amount: Decimal) -> str:
    """Write an amount in millions."""
    return f"{amount / 10**6:,.2f}M"


def _skyline(values: Sequence[Decimal], floor: Decimal) -> str:
    """Draw values as columns, `floor` the lowest and the largest the highest."""
    span = max(values) - floor
    top = len(SHADES) - 1
    if not span:
        return SHADES[1] * len(values)
    return "".join(SHADES[max(1, round((value - floor) / span * top))] for value in values)


def _differences(sums: Sequence[Decimal]) -> list[Decimal]:
    before = [Decimal(0), *sums[:-1]]
    return [after - start for start, after in zip(before, sums, strict=True)]
