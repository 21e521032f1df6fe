"""Random rules of liquidation under control, and of who takes positions and pays losses."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from engine.auction import Decay
from engine.liquidation_profile import (
    SECOND,
    Bounded,
    Cooldown,
    Everything,
    FallingPrice,
    Fuses,
    LeastReduction,
    LiquidationRule,
    LowerTier,
    Pace,
    Portion,
    PriceRamp,
    Pricing,
    SizeRamp,
    Sizing,
    WholeLegs,
)
from engine.money import ZERO
from engine.waterfall_profile import (
    Backstop,
    Deleveraging,
    Drawdown,
    FundRule,
    Ranking,
    Taker,
    Waterfall,
)

INSURANCE, RESCUE = "insurance", "rescue"
"""The accounts of the fund and of the backstop."""

GROUPS = ("majors", "others")
RANKINGS: tuple[Ranking, ...] = ("binance", "bitmex", "hyperliquid", "pro_rata", "water_fill")


def one(chance: Random, *values: str) -> Decimal:
    """Draw one of a few numbers."""
    return Decimal(chance.choice(values))


# --- how it is closed


def draw_liquidation(chance: Random, plain: LiquidationRule, names: list[str]) -> LiquidationRule:
    """Draw how much, which legs, at what price, how fast and for which fee; `names` are those
    under which a table by symbol may speak of a market."""
    drawn = msgspec.structs.replace(
        plain,
        sizing=_sizing(chance),
        cooldown=_cooldown(chance) if chance.random() < 0.4 else None,
        legs=chance.choice(("maintenance", "cost")),
        slippage=_by_name(chance, ["*", *names], "0", "0.001", "0.02", "0.1"),
        netting=chance.random() < 0.4,
        price=_pricing(chance, plain.price),
        toxic=chance.choice(("tag", "halt", "full", "take_over")),
        fee_adaptive=one(chance, "0.1", "0.5", "1") if chance.random() < 0.4 else None,
        fee_to_venue=one(chance, "0", "0.25", "0.5"),
        fee_to_liquidator=one(chance, "0", "0.3", "0.5"),
        pace=_pace(chance, names) if chance.random() < 0.5 else Pace(),
        fuses=Fuses(
            max_jump=one(chance, "0.01", "0.05", "0.1") if chance.random() < 0.35 else None,
            max_share_of_oi_per_minute=(
                one(chance, "0.00005", "0.0005", "0.005") if chance.random() < 0.4 else None
            ),
        ),
    )
    return _sensible(drawn)


def _sensible(rule: LiquidationRule) -> LiquidationRule:
    """Take from rules what comes to nothing beside the others: they would be refused for it."""
    nothing: dict[str, Any] = {}
    if rule.fee_rate == 0:
        nothing |= {"fee_adaptive": None, "fee_to_venue": ZERO, "fee_to_liquidator": ZERO}
    if isinstance(rule.sizing, WholeLegs | Everything):
        nothing["cooldown"] = None
    return msgspec.structs.replace(rule, **nothing)


def _by_name(chance: Random, names: list[str], *values: str) -> dict[str, Decimal]:
    drawn = chance.sample(names, chance.randint(0, min(3, len(names))))
    return {name: one(chance, *values) for name in drawn}


def _sizing(chance: Random) -> Sizing:
    kinds = ("whole", "everything", "least", "ramp", "tier", "part")
    kind = chance.choices(kinds, (1, 1, 2, 2, 4, 3))[0]
    if kind == "least":
        return LeastReduction()
    if kind == "ramp":
        below = one(chance, "0", "0", "20", "100")
        ramp = SizeRamp(one(chance, "0", "0.1", "0.5"), chance.choice((1, 5, 20)) * SECOND, below)
        return LeastReduction(ramp)
    if kind == "tier":
        return LowerTier()
    if kind == "part":
        least, below = one(chance, "0", "0.01", "300"), one(chance, "0", "0.005", "100")
        return Portion(one(chance, "0.05", "0.2", "0.5"), least, below)
    return Everything() if kind == "everything" else WholeLegs()


def _cooldown(chance: Random) -> Cooldown:
    return Cooldown(chance.choice((2, 5, 30)) * SECOND, one(chance, "0.3", "0.6667", "0.9"))


def _pricing(chance: Random, plain: Pricing) -> Pricing:
    kind = chance.choice(("plain", "plain", "bounded", "ramp", "auction"))
    if kind == "bounded":
        return Bounded(one(chance, "0.001", "0.01", "0.05"))
    if kind == "ramp":
        end = one(chance, "0.005", "0.05")
        return PriceRamp(one(chance, "0", "0.001"), end, chance.choice((1, 3, 20)) * SECOND)
    if kind == "auction":
        decays = (
            Decay(duration=20 * SECOND),
            Decay("stair_step", interval=SECOND, cut=Decimal("0.99")),
            Decay("exponential", cut=Decimal("0.999")),
        )
        duration = chance.choice((2, 3, 20)) * SECOND
        return FallingPrice(chance.choice(decays), duration, one(chance, "0", "0.02"))
    return plain


def _pace(chance: Random, names: list[str]) -> Pace:
    per_event, per_second = chance.choice((None, 1, 2)), chance.choice((None, 1, 3))
    if per_event and per_second:
        per_event = min(per_event, per_second)
    return Pace(
        per_event=per_event,
        per_second=per_second,
        in_flight=_by_name(chance, names, "0.05", "100", "1000", "10000"),
        unfilled=chance.choice((None, 1, 2)),
    )


# --- who takes, who pays


def draw_waterfall(chance: Random, symbols: list[str], settles: dict[str, str]) -> Waterfall:
    """Draw who takes positions and who pays, for the markets listed."""
    layers: list[Taker] = ["fund", "backstop", "adl"]
    chance.shuffle(layers)
    if chance.random() < 0.5:
        layers.sort(key=lambda layer: layer != "adl")
    takers = tuple(layers[: chance.choice((0, 1, 1, 2, 3, 3))])
    account = chance.choice((INSURANCE, INSURANCE, INSURANCE, "trader-0", "ghost"))
    adl = _deleveraging(chance) if "adl" in takers else None
    fund = _fund(chance, symbols, settles)
    if adl is not None and fund.by == "market" and not fund.then_venue:
        adl = msgspec.structs.replace(adl, drawdown=None)
    return Waterfall(
        takers=takers,
        fund_account=account if "fund" in takers else "",
        backstop=_backstop(chance) if "backstop" in takers else None,
        adl=adl,
        fund=fund,
        socialised=chance.choice(("", "open_interest", "winners")),
        gate=chance.random() < 0.5,
    )


def _backstop(chance: Random) -> Backstop:
    return Backstop(
        account=chance.choice((RESCUE, RESCUE, RESCUE, "maker")),
        capacity=one(chance, "500", "10000", "1000000"),
        below=one(chance, "0.3", "0.6667") if chance.random() < 0.5 else None,
    )


def _deleveraging(chance: Random) -> Deleveraging:
    drawdown = None
    if chance.random() < 0.3:
        window = chance.choice((2, 60, 3600)) * SECOND
        drawdown = Drawdown(window, one(chance, "0.05", "0.3"), one(chance, "0.01", "0.04"))
    return Deleveraging(
        ranking=chance.choice(RANKINGS),
        price=chance.choice(("bankruptcy", "bankruptcy", "mark")),
        drawdown=drawdown,
    )


def _fund(chance: Random, symbols: list[str], settles: dict[str, str]) -> FundRule:
    drawn: dict[str, Any] = {"by": chance.choice(("venue", "market", "group"))}
    if drawn["by"] == "group":
        named = chance.sample(symbols, chance.randint(1, len(symbols)))
        drawn["groups"] = {name: chance.choice(GROUPS) for name in named}
    if chance.random() < 0.35:
        capped = chance.sample(symbols, chance.randint(1, len(symbols)))
        drawn["caps"] = {
            name: one(chance, "0", "5", "60.123456789")
            if settles[name] == "USDT"
            else Decimal("0.01")
            for name in capped
        }
    then_venue = drawn["by"] != "venue" and chance.random() < 0.5
    return FundRule(then_venue=then_venue, whole=chance.random() < 0.25, **drawn)
