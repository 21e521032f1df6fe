"""The crashes that can be played: whose bars, which markets, how much is traded in them.

What is assumed of each is told in docs/demo.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

MINUTES_A_DAY = 1440

DayName = Literal["2021-05-19", "2022-05-luna"]


class Fall(msgspec.Struct, frozen=True):
    """The hours of the fall, counted from the beginning: from, and before; `told` says when."""

    first: int
    end: int
    told: str


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """One crash: bars in deploy/samples/`name`, rules in deploy/profiles/`rules`.

    It begins at `begin` (microseconds UTC) and is `minutes` long; the bars begin a day earlier, one
    in `minutes_a_bar`; prices tick `ticks_a_minute` times. A bar is believed up to `wick` beyond
    its body: it is of trades, not of marks. `gross` is the notional of all positions that traders
    take (USDT, whole world); `shares` the part of it in some markets, the rest goes by the volume
    of the day before. `coins` are what collateral other than USDT is in, by share. `leader` is the
    market that is shown.
    """

    name: DayName
    title: str
    rules: str
    begin: int
    minutes: int
    minutes_a_bar: int
    ticks_a_minute: int
    wick: float
    gross: float
    shares: Mapping[str, float]
    coins: Mapping[str, float]
    leader: str
    fall: Fall

    @property
    def bars_before(self) -> int:
        """How many bars the day before has."""
        return MINUTES_A_DAY // self.minutes_a_bar

    @property
    def bars(self) -> int:
        """How many bars are needed of each market, the day before included."""
        return self.bars_before + -(-self.minutes // self.minutes_a_bar)


MAY_2021: Final = Crash(
    name="2021-05-19",
    title="19 May 2021",
    rules="demo.toml",
    begin=1_621_382_400_000_000,
    minutes=MINUTES_A_DAY,
    minutes_a_bar=1,
    ticks_a_minute=12,
    wick=0.03,
    gross=2.6e9,
    shares=MappingProxyType({"BTCUSDT": 0.40, "ETHUSDT": 0.25}),
    coins=MappingProxyType({"BTC": 0.60, "ETH": 0.40}),
    leader="BTCUSDT",
    fall=Fall(11, 14, "11:00–14:00 UTC"),
)
LUNA: Final = Crash(
    name="2022-05-luna",
    title="LUNA, 8 to 13 May 2022",
    rules="luna-demo.toml",
    begin=1_651_968_000_000_000,
    # To the last bar there is of LUNA: its trading was halted on 13 May at 00:40.
    minutes=5 * MINUTES_A_DAY + 40,
    minutes_a_bar=5,
    # A path through a bar of five minutes is √5 times as long as one through a bar of one minute,
    # not 5 times: half as many ticks make steps of the same size.
    ticks_a_minute=6,
    wick=0.07,
    gross=1.3e9,
    shares=MappingProxyType({"LUNAUSDT": 0.40, "BTCUSDT": 0.40}),
    coins=MappingProxyType({"BTC": 1.0}),
    leader="LUNAUSDT",
    fall=Fall(3 * 24, 4 * 24, "11 May"),
)
CRASHES: Final[Mapping[str, Crash]] = MappingProxyType({c.name: c for c in (MAY_2021, LUNA)})
