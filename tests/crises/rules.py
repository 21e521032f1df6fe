"""Draws the rules of liquidation and of who pays, every policy about as often as the others."""

from __future__ import annotations

from decimal import Decimal as D
from random import Random

from msgspec.structs import replace

from engine.auction import Decay, InFlight, Reset
from engine.interest import RateCurve
from engine.lending import CloseFactor, FullRepayment, TargetHealth
from engine.lending_profile import BadDebtRule, DutchAuction, Lending, PoolRule, Terms
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
    Pricing,
    SizeRamp,
    Sizing,
    WholeLegs,
)
from engine.profile import (
    Bracket,
    Collateral,
    Extreme,
    Portfolio,
    Requirement,
    RiskProfile,
    Trigger,
)
from engine.seizure import FixedBonus
from engine.waterfall_profile import Backstop, Deleveraging, Drawdown, FundRule, Taker, Waterfall

SECOND = 1_000_000
BACKSTOP, FUND = "bank", "house"
LOANS, PLEDGES = "loans", "pledges"
"""The pools: of USDT that is lent, of BTC that backs it."""
PORTFOLIO = Portfolio(
    price_moves=(D("-0.1"), D(0), D("0.1")),
    volatility_moves=(D("-0.2"), D("0.3")),
    extremes=(Extreme(D("-0.4"), D("0.4")), Extreme(D("0.6"), D("0.3"))),
    short_option_minimum=D("0.03"),
    future_contingency=D("0.005"),
)
"""Scenario margin of X and its options."""


def draw_rules(chance: Random) -> RiskProfile:
    """Draw a profile for two linear perpetuals in USDT and an inverse one in BTC, often with
    options on the first and a market that lends USDT against BTC."""
    steep = (
        Bracket(D(1000), initial_rate=D("0.04"), maintenance_rate=D("0.02")),
        Bracket(D(5000), initial_rate=D("0.1"), maintenance_rate=D("0.05")),
        Bracket(D(10**9), initial_rate=D("0.4"), maintenance_rate=D("0.2")),
    )
    flat = (Bracket(D(10**9), initial_rate=D("0.1"), maintenance_rate=D("0.05")),)
    liquidation, waterfall = _liquidation(chance), _waterfall(chance)
    if liquidation.toxic == "take_over" and not waterfall.takers:
        liquidation = replace(liquidation, toxic="tag")
    return RiskProfile(
        name="crisis",
        numeraire="USDT",
        requirements={"*": Requirement(chance.choice((steep, flat)))},
        collateral={"USDT": Collateral(), "BTC": Collateral(haircut=D("0.1"))},
        conversion=("USDT", "BTC"),
        trigger=Trigger(stop_buffer=chance.choice((D(0), D("0.1")))),
        liquidation=liquidation,
        waterfall=waterfall,
        portfolios={"X": PORTFOLIO} if chance.random() < 0.5 else {},
        lending=_lending(chance) if chance.random() < 0.6 else None,
    )


def _liquidation(chance: Random) -> LiquidationRule:
    sizing, fee_rate = _sizing(chance), chance.choice((D(0), D("0.01"), D("0.03")))
    cooldown = chance.choice((None, None, Cooldown(10 * SECOND)))
    return LiquidationRule(
        order_ttl=chance.choice((1, 5)) * SECOND,
        sizing=sizing,
        cooldown=None if isinstance(sizing, WholeLegs | Everything) else cooldown,
        legs=chance.choice(("maintenance", "cost")),
        slippage=chance.choice(({}, {"*": D("0.002"), "X": D("0.03")}, {"*": D("0.03")})),
        netting=chance.random() < 0.3,
        price=_price(chance),
        toxic=chance.choice(("tag", "tag", "tag", "halt", "full", "take_over")),
        fee_rate=fee_rate,
        fee_adaptive=chance.choice((None, None, D("0.95"))) if fee_rate else None,
        fee_to_venue=chance.choice((D(0), D("0.2"))) if fee_rate else D(0),
        fee_to_liquidator=chance.choice((D(0), D("0.3"))) if fee_rate else D(0),
        pace=chance.choice(
            (
                Pace(),
                Pace(),
                Pace(per_event=1),
                Pace(per_second=2),
                Pace(in_flight={"*": D(3000)}),
                Pace(unfilled=2),
            )
        ),
        fuses=chance.choice(
            (Fuses(), Fuses(), Fuses(D("0.3")), Fuses(None, D("0.2")), Fuses(D("0.2"), D("0.5")))
        ),
    )


def _sizing(chance: Random) -> Sizing:
    """Draw how much is closed; parts, which may lower health, more often than all."""
    ramp = SizeRamp(D("0.2"), 20 * SECOND, D(chance.choice((0, 20))))
    part = Portion(D("0.2"), D(chance.choice((0, 100))), D(chance.choice((0, 500))))
    kinds = (WholeLegs(), Everything(), LeastReduction(), LeastReduction(ramp), LowerTier(), part)
    return chance.choices(kinds, (1, 1, 1, 2, 2, 4))[0]


def _price(chance: Random) -> Pricing:
    return chance.choice(
        (
            AtBankruptcy(),
            Fillable(D(1), D("1.5")),
            Bounded(D("0.02")),
            PriceRamp(D(0), D("0.05"), 10 * SECOND),
            FallingPrice(Decay("linear", 60 * SECOND), 10 * SECOND, D("0.01")),
        )
    )


def _waterfall(chance: Random) -> Waterfall:
    kinds: tuple[tuple[Taker, ...], ...] = (
        (), ("adl",), ("fund", "adl"), ("backstop", "adl"), ("fund", "backstop", "adl"), ("fund",)
    )  # fmt: skip
    takers = chance.choices(kinds, (1, 3, 2, 1, 1, 1))[0]
    below = chance.choice((None, D("0.6667")))
    ranking = chance.choice(("binance", "bitmex", "hyperliquid", "pro_rata", "water_fill"))
    backstop = Backstop(BACKSTOP, D(chance.choice((500, 20_000))), below)
    adl = Deleveraging(
        ranking,
        chance.choice(("bankruptcy", "bankruptcy", "mark")),
        chance.choice((None, None, None, Drawdown())),
    )
    by = chance.choice(("venue", "market", "group"))
    then_venue = by != "venue" and chance.random() < 0.5
    if by == "market" and not then_venue:
        adl = replace(adl, drawdown=None)
    return Waterfall(
        takers=takers,
        fund_account=FUND if "fund" in takers else "",
        backstop=backstop if "backstop" in takers else None,
        adl=adl if "adl" in takers else None,
        fund=FundRule(
            by=by,
            groups={"X": "majors", "Y": "majors"} if by == "group" else {},
            then_venue=then_venue,
            caps=chance.choice(({}, {"X": D(50)})),
            whole=chance.random() < 0.3,
        ),
        socialised=chance.choice(("", "open_interest", "winners")),
        gate=chance.random() < 0.5,
    )


def _lending(chance: Random) -> Lending:
    """Draw a market that lends USDT against BTC, and who bears what is not repaid."""
    terms = Terms(D("0.75"), D("0.8"), FixedBonus(chance.choice((D("0.05"), D("0.15")))))
    auction = None
    if chance.random() < 0.25:
        in_flight = chance.choice((None, InFlight(D(500), D(500))))
        reset = Reset(30 * SECOND, D("0.4"))
        auction = DutchAuction(Decay("linear", 60 * SECOND), reset, in_flight=in_flight)
    repay = chance.choice((CloseFactor(), FullRepayment(), TargetHealth(D("1.3"))))
    return Lending(
        {
            LOANS: PoolRule("USDT", rates=RateCurve(D("0.1")), reserve_factor=D("0.2")),
            PLEDGES: PoolRule("BTC", borrowable=False, collateral=terms),
        },
        repay=FullRepayment() if auction else repay,
        bad_debt=BadDebtRule(
            chance.choice(("no_collateral", "insolvent")),
            chance.choice(
                ((), ("lenders",), ("fund", "lenders"), ("reserve", "fund"), ("fund", "reserve"))
            ),
        ),
        auction=auction,
    )
