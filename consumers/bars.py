"""The bars of 18 and 19 May 2021, and what is read out of them: paths, volumes, volatility.

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

MINUTES = 1440
"""Minutes of a day; the bars of 19 May begin at this index."""

DAY = 1_621_382_400_000_000
"""19 May 2021, 00:00 UTC, in microseconds."""

WICK = 0.03
"""How far beyond its body a bar is believed: it is of trades, and one went 68 % beyond."""

VOLATILITY_WINDOW = 30
"""Minutes over which present volatility is measured."""

FOLDER = "samples/2021-05-19"


class Bar(NamedTuple):
    """One minute: prices in quote, `volume` in base."""

    open: float
    high: float
    low: float
    close: float
    volume: float


class History(NamedTuple):
    """The bars of one symbol, one a minute from 18 May 2021, 00:00 UTC."""

    symbol: str
    bars: tuple[Bar, ...]

    def of_day(self, minute: int) -> Bar:
        """Return the bar of a minute of 19 May."""
        return self.bars[MINUTES + minute]

    def volume_before(self) -> float:
        """Return the notional traded on 18 May, in quote."""
        return sum(bar.close * bar.volume for bar in self.bars[:MINUTES])

    def calm(self) -> list[float]:
        """Return how calm each minute of 19 May is: what a book holds shrinks with it.

        It is the volatility of 18 May ÷ that of the last half hour, within [0.2, 1]; volatility is
        the root mean square of one-minute log returns.
        """
        squares = [0.0]
        squares += [math.log(b.close / a.close) ** 2 for a, b in pairwise(self.bars)]
        usual = sum(squares[:MINUTES]) / MINUTES
        found = []
        for minute in range(MINUTES, 2 * MINUTES):
            recent = sum(squares[minute - VOLATILITY_WINDOW : minute]) / VOLATILITY_WINDOW
            found.append(min(1.0, max(0.2, math.sqrt(usual / recent))) if recent else 1.0)
        return found


def path(bar: Bar, ticks: int) -> list[float]:
    """Return `ticks` prices along a bar, evenly spaced by the way gone; the last is its close.

    A rising bar goes open, low, high, close, a falling one open, high, low, close, log-linearly.
    """
    top = min(bar.high, max(bar.open, bar.close) * (1 + WICK))
    bottom = max(bar.low, min(bar.open, bar.close) * (1 - WICK))
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
def load(symbol: str) -> History:
    """Read the shipped bars of `symbol`; raises `FileNotFoundError` when there are none."""
    packed = files("deploy").joinpath(FOLDER, f"{symbol}.csv.zst").read_bytes()
    text = io.StringIO(zstandard.ZstdDecompressor().decompress(packed).decode())
    next(text)
    rows = [Bar(*(float(field) for field in line.split(","))) for line in text]
    if len(rows) != 2 * MINUTES:
        raise ValueError(f"bars {symbol}: {len(rows)} of {2 * MINUTES} minutes")
    return History(symbol, tuple(rows))
