"""What coins of the lending market cost over the day: bars, and rules where there are none.

Bars are those of the coin's pair against USDT. Of three there are none, and docs/demo.md says what
is assumed: the governance token goes the way of Venus's, and a pegged coin gives way as BTC falls.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from itertools import pairwise

from consumers import bars
from engine.money import unit_of

QUOTE = "USDT"
TOKEN = "GOV"

TOKEN_PATH = ((0, 76.0), (150, 143.0), (360, 72.0))
"""Minutes and prices that the governance token passes through, log-linearly: XVS on 18 May 2021
went from 76 to 143 in two hours and a half, and to 72 within six hours in all (The Defiant)."""
TOKEN_LOW = 32.0
"""What it costs at its low, XVS's of 19 May."""
TOKEN_FOLLOWS = "BAT"
"""Whose bars it follows after its path, all moves stretched so that the low is that: the pair with
the least volume there is."""

PEGGED = {"USDC": (None, 0.01), "BETH": ("ETH", 0.05)}
"""What a pegged coin is worth 1 of, none for USDT; and how much less it is at the low of BTC."""
LEADS = {"USDC": "BTC", "BETH": "ETH"}
"""With whose price a pegged coin's comes."""

DEPTH_OF = {"USDC": ("BTC", 1.0), "BETH": ("ETH", 0.1), TOKEN: (TOKEN, 1.5)}
"""Of whose book a coin's is how much, where that is not its own."""


def history(coin: str) -> bars.History:
    """Return the bars that a coin goes by."""
    return bars.load(f"{TOKEN_FOLLOWS if coin == TOKEN else coin}{QUOTE}")


def path(coin: str, minute: int, ticks: int) -> list[float]:
    """Return the prices of one minute of a coin that leads, the last one its close."""
    if coin == TOKEN and minute < TOKEN_PATH[-1][0]:
        return [_token_price(minute + tick / ticks) for tick in range(1, ticks + 1)]
    prices = bars.path(history(coin).of_day(minute), ticks)
    return [_stretched(price) for price in prices] if coin == TOKEN else prices


def first_price(coin: str, minute: int) -> float:
    """Return what a coin that leads costs when a minute begins."""
    if coin == TOKEN and minute < TOKEN_PATH[-1][0]:
        return _token_price(minute)
    price = history(coin).of_day(minute).open
    return _stretched(price) if coin == TOKEN else price


@cache
def _stretch() -> tuple[float, float]:
    """Return what the followed coin costs where the token's own path ends, and the exponent."""
    last, price = TOKEN_PATH[-1]
    day = [history(TOKEN).of_day(minute) for minute in range(last, bars.MINUTES)]
    low = min(min(bars.path(bar, 12)) for bar in day)
    return day[0].open, math.log(TOKEN_LOW / price) / math.log(low / day[0].open)


def _stretched(price: float) -> float:
    start, exponent = _stretch()
    return TOKEN_PATH[-1][1] * math.exp(exponent * math.log(price / start))


def _token_price(minute: float) -> float:
    for (begin, before), (end, after) in pairwise(TOKEN_PATH):
        if minute <= end:
            part = (minute - begin) / (end - begin)
            return before * math.exp(part * math.log(after / before))
    raise ValueError(f"{TOKEN}: minute {minute} is past its path")


def pegged_price(coin: str, price: Decimal, bitcoin: Decimal, decimals: int) -> Decimal:
    """Return what a pegged coin costs while what it is pegged to costs `price`."""
    high, low = _bitcoin_range()
    stress = min(1.0, max(0.0, (high - float(bitcoin)) / (high - low)))
    discount = Decimal(round(PEGGED[coin][1] * stress * 10**6)).scaleb(-6)
    return (price * (1 - discount)).quantize(unit_of(decimals))


@cache
def _bitcoin_range() -> tuple[float, float]:
    day = [history("BTC").of_day(minute) for minute in range(bars.MINUTES)]
    return day[0].open, min(bar.low for bar in day)


def exact(price: float, decimals: int) -> Decimal:
    """Return a price to its last decimal."""
    return Decimal(round(price * 10**decimals)) * unit_of(decimals)
