"""The rules of liquidation and of who pays, in words: each rule says something of its own."""

from decimal import Decimal as D
from typing import Any

import pytest
from msgspec import structs

from engine.auction import Decay
from engine.liquidation_profile import (
    AtBankruptcy,
    Bounded,
    Cooldown,
    Everything,
    FallingPrice,
    Fillable,
    Fuses,
    LeastReduction,
    LiquidationRule,
    LowerTier,
    Pace,
    Portion,
    PriceRamp,
    SizeRamp,
    WholeLegs,
)
from engine.waterfall_profile import Backstop, Deleveraging, Drawdown, FundRule, Waterfall
from producers.liquidation_said import liquidation_said, price_said, sizing_said, waterfall_said

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (WholeLegs(), "whole legs, until the stop would be met"),
        (Everything(), "everything"),
        (LowerTier(), "down to the next lower bracket"),
        (LeastReduction(), "the fewest lots that meet the stop"),
        (
            LeastReduction(SizeRamp(D("0.1"), 60 * SECOND, D(50))),
            "the fewest lots that meet the stop; of the shortage 0.1 at once, all in 54 s, "
            "all below 50",
        ),
        (Portion(D("0.2")), "0.2 of a position's notional"),
        (
            Portion(D("0.2"), D(1000), D(100_000)),
            "0.2 of a position's notional, at least 1,000, whole up to 100,000",
        ),
    ],
)
def test_how_much(rule: Any, said: str) -> None:
    assert sizing_said(rule) == said


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (AtBankruptcy(), "where the leg's share of equity is used up, fee paid"),
        (Fillable(D(1), D("1.5")), "fillable price, adjustment 1, spread 1.5"),
        (Bounded(D("0.01")), "0.01 from the mark, at most the bankruptcy price"),
        (
            PriceRamp(D(0), D("0.05"), 10 * SECOND),
            "0 to 0.05 from the mark in 10 s, at most the bankruptcy price",
        ),
        (
            FallingPrice(Decay("linear", 100 * SECOND), 20 * SECOND, D("0.02")),
            "0.02 better than the mark, then in a line, to nothing in 100 s for 20 s, at most the "
            "bankruptcy price",
        ),
    ],
)
def test_at_what_limit(rule: Any, said: str) -> None:
    assert price_said(rule) == said


LIQUIDATION = LiquidationRule(
    cooldown=Cooldown(30 * SECOND),
    legs="cost",
    slippage={"*": D("0.01")},
    netting=True,
    toxic="full",
    fee_rate=D("0.01"),
    fee_adaptive=D("0.95"),
    fee_to_venue=D("0.2"),
    fee_to_liquidator=D("0.3"),
    pace=Pace(1, 2, {"*": D(1000)}, 3),
    fuses=Fuses(D("0.3"), D("0.1")),
)
WATERFALL = Waterfall(
    takers=("fund", "backstop", "adl"),
    fund_account="treasury",
    backstop=Backstop("vault", D(5000), D("0.6667")),
    adl=Deleveraging("water_fill", "mark", Drawdown()),
    fund=FundRule("group", {"A": "x", "B": "x"}, True, {"A": D(7)}, True),
    socialised="winners",
    gate=True,
)


def test_every_rule_of_liquidation_that_is_given_is_said() -> None:
    said = dict(liquidation_said(LIQUIDATION))
    assert "They close whole legs" not in said
    parts = dict(liquidation_said(structs.replace(LIQUIDATION, sizing=LowerTier())))
    assert parts["They close whole legs"] == (
        "in stage backstop, and without equity or below 0.6667 × maintenance"
    )
    assert said["After a part it waits"] == "30 s, above 0.6667 × maintenance"
    assert said["Liquidation fee"] == (
        "0.01, at most 0.95 of what closing frees; 0.2 of it to the venue; 0.3 of it to the "
        "liquidator"
    )
    assert said["Orders at most"] == "1 an event, 2 a second"
    assert said["Orders that would lower health"] == "close everything"
    # Whatever is taken back to its default leaves a line, or changes one.
    for field in structs.fields(LiquidationRule):
        if getattr(LIQUIDATION, field.name) != getattr(LiquidationRule(), field.name):
            default = {field.name: getattr(LiquidationRule(), field.name)}
            assert dict(liquidation_said(structs.replace(LIQUIDATION, **default))) != said


def test_every_rule_of_who_pays_that_is_given_is_said() -> None:
    said = dict(waterfall_said(WATERFALL))
    assert said["What the market does not take goes to"] == (
        "the insurance fund, then the backstop, then deleveraging, then the market, stage backstop"
    )
    assert said["Deleveraging"] == (
        "from the highest leverage down, at the mark, while the fund is empty or more than 0.3 "
        "below its peak of 8 h, until no more than 0.25"
    )
    assert said["A shortfall is paid by"] == (
        "the fund of its group (x) if it holds all of it, then the venue's, then the day's "
        "winners, then nobody: bad debt"
    )
    for field in structs.fields(Waterfall):
        default = {field.name: getattr(Waterfall(), field.name)}
        assert dict(waterfall_said(structs.replace(WATERFALL, **default))) != said, field.name
    assert dict(waterfall_said(Waterfall())) == {
        "What the market does not take goes to": "the market, stage backstop",
        "A shortfall is paid by": "the venue's fund, then nobody: bad debt",
    }
