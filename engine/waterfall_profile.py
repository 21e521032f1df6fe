"""Who pays: who takes positions that the market does not, and who bears what is lost.

Shares are fractions, times microseconds. docs/semantics.md, 13, has the formulas.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

HOUR = 3600 * 1_000_000

Taker = Literal["fund", "backstop", "adl"]
Ranking = Literal["binance", "bitmex", "hyperliquid", "pro_rata", "water_fill"]


class Backstop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account that takes positions at their bankruptcy price, up to a notional of `capacity`
    (numeraire) held. A group whose margin equity is below `below` · maintenance goes to those who
    take positions without trying the market (Hyperliquid: 2/3)."""

    account: str
    capacity: Decimal
    below: Decimal | None = None


class Drawdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deleveraging starts when the fund of the market has lost more than `start` of its peak of the
    last `window`, or is empty, and stops when it has lost no more than `stop` (Bybit: 8 h, 0.3,
    0.25)."""

    window: int = 8 * HOUR
    start: Decimal = Decimal("0.3")
    stop: Decimal = Decimal("0.25")


class Deleveraging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Positions in profit on the other side are closed against a bankrupt one.

    `ranking` says whose, `price` at which: the bankruptcy price (the counterparty forgoes the
    difference to the mark), or the mark. With `drawdown` only while the fund has fallen that far.
    """

    ranking: Ranking = "bitmex"
    price: Literal["bankruptcy", "mark"] = "bankruptcy"
    drawdown: Drawdown | None = None


class FundRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which insurance fund pays for a market, and how far.

    `by`: the venue's one fund, one a market, or one a group of markets (`groups` by market; a
    market without one has the venue's). `then_venue`: the venue's fund pays what that of the market
    cannot. `caps` by market (in its asset) limit what is paid for it in all. `whole`: a fund pays a
    shortfall whole or nothing of it (dYdX). `capacity`: the notional (numeraire) that the fund's
    account may hold of what it takes."""

    by: Literal["venue", "market", "group"] = "venue"
    groups: dict[str, str] = {}
    then_venue: bool = False
    caps: dict[str, Decimal] = {}
    whole: bool = False
    capacity: Decimal | None = None


class Waterfall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two questions, in this order.

    Who takes the position, when the market does not at the limit: `takers` in their order, then the
    market at any price. The fund's positions are those of the account `fund_account`. Who pays the
    cash: the `fund`, then by `socialised` those with open interest in the market, or today's
    winners; what is left is bad debt. `gate`: withdrawals stop while unpaid shortfall exceeds the
    funds of the asset.
    """

    takers: tuple[Taker, ...] = ()
    fund_account: str = ""
    backstop: Backstop | None = None
    adl: Deleveraging | None = None
    fund: FundRule = FundRule()
    socialised: Literal["", "open_interest", "winners"] = ""
    gate: bool = False

    def takes(self, account: str) -> bool:
        """Tell whether an account takes positions for others."""
        return account in (self.fund_account, self.backstop.account if self.backstop else "")
