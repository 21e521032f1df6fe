"""Running sums per asset and per market, and the identity that they satisfy."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.drawdown import FundHistory


def _sums() -> defaultdict[str, Decimal]:
    return defaultdict(Decimal)


def _pair_sums() -> defaultdict[tuple[str, str], Decimal]:
    return defaultdict(Decimal)


class Ledger:
    """Where value is that is in no account.

    By asset: `fund` (the venue's insurance fund), `fees` (paid to the venue), `deposits`,
    `withdrawals`, `top_ups` of funds, `adjustments` by snapshots. By (asset, name): `named_funds`,
    those of markets, and `histories` of all funds. `clearing` by (market, asset) takes the
    other side of every fill, funding payment, settlement, sale and seizure. By (asset, market), a
    market being a pool where loans are lost: `shortfall`, who bore it (`paid_by_fund`,
    `paid_by_reserve`, `socialised`, or nobody: `bad_debt`), and what of the last was `recovered` or
    `written_off`; `paid_for_positions`, beside all that, is what funds paid for what they took.
    """

    BY_ASSET = ("fund", "fees", "deposits", "withdrawals", "top_ups", "adjustments")
    BY_MARKET = (
        "shortfall", "paid_by_fund", "paid_by_reserve", "socialised", "bad_debt", "recovered",
        "written_off", "paid_for_positions",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fund = _sums()
        self.named_funds = _pair_sums()
        self.histories: dict[tuple[str, str], FundHistory] = {}
        self.fees = _sums()
        self.deposits = _sums()
        self.withdrawals = _sums()
        self.top_ups = _sums()
        self.adjustments = _sums()
        self.clearing = _pair_sums()
        self.shortfall = _pair_sums()
        self.paid_by_fund = _pair_sums()
        self.paid_by_reserve = _pair_sums()
        self.socialised = _pair_sums()
        self.bad_debt = _pair_sums()
        self.recovered = _pair_sums()
        self.written_off = _pair_sums()
        self.paid_for_positions = _pair_sums()
