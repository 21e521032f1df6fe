"""Liquidation policies that are compared: a rule of the profile each, all else being equal.

Each changes one thing of a baseline: whole legs, at the price of bankruptcy, with no one but the
market to take positions. Numbers are those of a venue that is known for the rule, where there is
one; docs/demo.md names them. Amounts are of the whole world, and smaller in a smaller one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from engine.auction import Decay
from engine.liquidation_profile import (
    SECOND,
    AtBankruptcy,
    Bounded,
    Cooldown,
    Everything,
    FallingPrice,
    Fillable,
    LeastReduction,
    LowerTier,
    Portion,
    PriceRamp,
    SizeRamp,
    WholeLegs,
)
from engine.money import ZERO
from engine.profile import RiskProfile
from engine.waterfall_profile import Backstop, Deleveraging, Drawdown, FundRule, Taker, Waterfall

RuleName = Literal["sizing", "price", "adl"]

FUND_ACCOUNT = "insurance-fund"
BACKSTOP_ACCOUNT = "backstop"
BY_BITMEX = Deleveraging()
CAPACITY = Decimal(50_000_000)
"""Notional that the backstop may hold, and the account of the fund, USDT, in the whole world."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile becomes: fields of its liquidation rule, and who takes positions."""

    rule: RuleName
    name: str
    liquidation: dict[str, Any] = {}
    waterfall: Waterfall = Waterfall()

    @property
    def baseline(self) -> bool:
        """Whether nothing is changed."""
        return self == msgspec.structs.replace(BASELINE, rule=self.rule, name=self.name)

    def applied(self, profile: RiskProfile, scale: float) -> RiskProfile:
        """Return `profile` under this policy, in a world of `scale`."""
        replace = msgspec.structs.replace
        rules: dict[str, Any] = {"sizing": WholeLegs(), "price": AtBankruptcy(), "cooldown": None}
        waterfall = self.waterfall
        capacity = Decimal(round(CAPACITY * Decimal(scale)))
        if waterfall.backstop is not None:
            backstop = replace(waterfall.backstop, capacity=capacity)
            waterfall = replace(waterfall, backstop=backstop)
        if waterfall.fund.capacity is not None:
            waterfall = replace(waterfall, fund=replace(waterfall.fund, capacity=capacity))
        if profile.liquidation.toxic == "take_over" and not waterfall.takers:
            rules["toxic"] = "tag"
        liquidation = replace(profile.liquidation, **{**rules, **self.liquidation})
        return replace(profile, liquidation=liquidation, waterfall=waterfall)


BASELINE = Policy(rule="sizing", name="whole legs")


def _sizing(name: str, **liquidation: Any) -> Policy:
    return Policy(rule="sizing", name=name, liquidation=liquidation)


def _price(name: str, price: Any) -> Policy:
    return Policy(rule="price", name=name, liquidation={"price": price})


def _adl(
    name: str,
    *takers: Taker,
    below: Decimal | None = None,
    deleveraging: Deleveraging = BY_BITMEX,
) -> Policy:
    backstop = Backstop(account=BACKSTOP_ACCOUNT, capacity=CAPACITY, below=below)
    waterfall = Waterfall(
        takers=takers,
        fund_account=FUND_ACCOUNT if "fund" in takers else "",
        fund=FundRule(capacity=CAPACITY if "fund" in takers else None),
        backstop=backstop if "backstop" in takers else None,
        adl=deleveraging if "adl" in takers else None,
    )
    return Policy(rule="adl", name=name, waterfall=waterfall)


POLICIES = (
    BASELINE,
    _sizing("everything", sizing=Everything()),
    _sizing("least", sizing=LeastReduction()),
    _sizing(
        "least, ramp 1 min",
        sizing=LeastReduction(SizeRamp(initial=Decimal("0.1"), duration=60 * SECOND)),
    ),
    _sizing("lower tier", sizing=LowerTier()),
    _sizing(
        "portion, cooldown",
        sizing=Portion(share=Decimal("0.2"), whole_below=Decimal(100_000)),
        cooldown=Cooldown(time=30 * SECOND),
    ),
    Policy(rule="price", name="bankruptcy"),
    _price("fillable", Fillable(adjustment=Decimal(1), spread=Decimal("1.5"))),
    _price("bounded, 1 %", Bounded(slippage=Decimal("0.01"))),
    _price(
        "ramp to 5 %, 1 min",
        PriceRamp(start=ZERO, end=Decimal("0.05"), duration=60 * SECOND),
    ),
    _price(
        "auction, +1 to −4 %",
        FallingPrice(
            # Linear to nothing in twenty minutes: 5 % a minute.
            decay=Decay(duration=1200 * SECOND),
            duration=60 * SECOND,
            premium=Decimal("0.01"),
        ),
    ),
    Policy(rule="adl", name="none"),
    _adl("Binance", "adl", deleveraging=Deleveraging(ranking="binance")),
    _adl("BitMEX", "adl"),
    _adl("Hyperliquid", "adl", deleveraging=Deleveraging(ranking="hyperliquid")),
    _adl("pro rata", "adl", deleveraging=Deleveraging(ranking="pro_rata")),
    _adl("leverage levelled", "adl", deleveraging=Deleveraging(ranking="water_fill")),
    _adl("BitMEX, at the mark", "adl", deleveraging=Deleveraging(price="mark")),
    _adl(
        "BitMEX, fund −30 %",
        "adl",
        deleveraging=Deleveraging(drawdown=Drawdown()),
    ),
    _adl("fund, BitMEX", "fund", "adl"),
    _adl("backstop, BitMEX", "backstop", "adl"),
    _adl("backstop 2/3, BitMEX", "backstop", "adl", below=Decimal("0.6667")),
)
