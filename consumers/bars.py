"""The bars of a crash and of the day before, and what is read out of them: paths, volumes,
volatility.

Where they come from is told in deploy/samples/README.md. Logarithms are taken one value at a time
with `math`, so that a path is the same on every processor.
"""

from __future__ import annotations

import io
import math
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

import zstandard

from consumers.crashes import CRASHES, MAY_2021, Crash

MINUTES = MAY_2021.minutes
"""Minutes of 19 May 2021."""

DAY = MAY_2021.begin
"""19 May 2021, 00:00 UTC, in microseconds."""

VOLATILITY_WINDOW = 30
"""Minutes over which present volatility is measured."""

FOLDER = "samples"


class Bar(NamedTuple):
    """One bar: prices in quote, `volume` in base."""

    open: float
    high: float
    low: float
    close: float
    volume: float


class History(NamedTuple):
    """The bars of one symbol in a crash, the first one a day before it begins."""

    symbol: str
    bars: tuple[Bar, ...]
    crash: Crash

    def of_day(self, minute: int) -> Bar:
        """Return the bar of a minute of the crash."""
        return self.bars[self.crash.bars_before + minute // self.crash.minutes_a_bar]

    def path(self, minute: int) -> list[float]:
        """Return the prices along a minute, the part of its bar's path that falls into it."""
        length, ticks = self.crash.minutes_a_bar, self.crash.ticks_a_minute
        part = minute % length * ticks
        return path(self.of_day(minute), ticks * length, self.crash.wick)[part : part + ticks]

    def opening(self, minute: int) -> float:
        """Return the price at which a minute begins."""
        if minute % self.crash.minutes_a_bar == 0:
            return self.of_day(minute).open
        return self.path(minute - 1)[-1]

    def volume_before(self) -> float:
        """Return the notional traded on the day before, in quote."""
        return sum(bar.close * bar.volume for bar in self.bars[: self.crash.bars_before])

    def calm(self) -> list[float]:
        """Return how calm each bar of the crash is: what a book holds shrinks with it.

        It is the volatility of the day before ÷ that of the last half hour, within [0.2, 1];
        volatility is the root mean square of log returns from bar to bar.
        """
        before, window = self.crash.bars_before, VOLATILITY_WINDOW // self.crash.minutes_a_bar
        squares = [0.0]
        squares += [math.log(b.close / a.close) ** 2 for a, b in pairwise(self.bars)]
        usual = sum(squares[:before]) / before
        found = []
        for bar in range(before, len(self.bars)):
            recent = sum(squares[bar - window : bar]) / window
            found.append(min(1.0, max(0.2, math.sqrt(usual / recent))) if recent else 1.0)
        return found


def path(bar: Bar, ticks: int, wick: float = MAY_2021.wick) -> list[float]:
    """Return `ticks` prices along a bar, evenly spaced by the way gone; the last is its close.

    A rising bar goes open, low, high, close, a falling one open, high, low, close, log-linearly.
    """
    top = min(bar.high, max(bar.open, bar.close) * (1 + wick))
    bottom = max(bar.low, min(bar.open, bar.close) * (1 - wick))
    turns = (bottom, top) if bar.close >= bar.open else (top, bottom)
    corners = [math.log(price) for price in (bar.open, *turns, bar.close)]
    lengths = [abs(after - before) for before, after in pairwise(corners)]
    step = sum(lengths) / ticks
    found, leg, gone = [], 0, 0.0
    for tick in range(1, ticks):
        while leg < 2 and gone + lengths[leg] < tick * step:
            gone += lengths[leg]
            leg += 1
        part = min(1.0, (tick * step - gone) / lengths[leg]) if lengths[leg] else 1.0
        found.append(math.exp(corners[leg] + part * (corners[leg + 1] - corners[leg])))
    return [*found, bar.close]


@cache
def load(symbol: str, day: str = MAY_2021.name) -> History:
    """Read the shipped bars of `symbol`; raises `FileNotFoundError` when there are none."""
    crash = CRASHES[day]
    packed = files("deploy").joinpath(FOLDER, day, f"{symbol}.csv.zst").read_bytes()
    text = io.StringIO(zstandard.ZstdDecompressor().decompress(packed).decode())
    next(text)
    rows = [Bar(*(float(field) for field in line.split(","))) for line in text]
    if len(rows) < crash.bars:
        raise ValueError(f"bars {symbol}: {len(rows)} of {crash.bars}")
    return History(symbol, tuple(rows[: crash.bars]), crash)
