"""Rules that contradict themselves: each must be refused, and leave the last ones in force."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from msgspec.structs import replace

from engine.auction import Decay
from engine.interest import RateCurve
from engine.lending_profile import BadDebtRule, Category, Isolation, Lending, Terms
from engine.liquidation_profile import (
    Cooldown,
    Everything,
    FallingPrice,
    Fuses,
    LeastReduction,
    Pace,
    Portion,
    PriceRamp,
    SizeRamp,
)
from engine.profile import (
    HOUR,
    SECOND,
    Bracket,
    OpenInterest,
    Portfolio,
    Requirement,
    RiskProfile,
    Threshold,
    Volatility,
)
from engine.seizure import FixedBonus
from engine.waterfall_profile import Backstop, Deleveraging, Drawdown, FundRule

CAP, HALF, TENTH = Decimal(1000), Decimal("0.5"), Decimal("0.1")
BRACKET = Bracket(CAP, initial_rate=TENTH, maintenance_rate=TENTH)
UPSIDE_DOWN = Drawdown(start=TENTH, stop=HALF)
GRID = Portfolio(price_moves=(-TENTH, TENTH), volatility_moves=(Decimal(0),))


def contradicted(chance: Random, profile: RiskProfile) -> RiskProfile:
    """Return a profile with one fault, or another numeraire."""
    wrongs: list[dict[str, Any]] = [
        {"numeraire": "BTC"},
        {"numeraire": "NONE"},
        {"collateral": {}},
        {"conversion": (*profile.conversion, profile.numeraire)},
        {"conversion": profile.conversion[1:]},
        {"margin_call": Threshold(at=TENTH, reset=HALF)},
        {"cancel_orders": Threshold(at=Decimal(1), reset=HALF)},
        {"trigger": replace(profile.trigger, stop_buffer=-TENTH)},
        {"profit": replace(profile.profit, weight=HALF, initial_weight=Decimal(1))},
        {"liquidation": replace(profile.liquidation, order_ttl=2 * HOUR)},
        {"requirements": {}, "portfolios": {}},
        {"requirements": {"*": chance.choice(_requirements())}},
        {"portfolios": {"BTC": chance.choice(_portfolios())}},
        {"volatility": chance.choice(_volatilities())},
        {"collateral": {**profile.collateral, **_collateral(chance, profile)}},
    ]
    controlled = profile.liquidation.toxic != "tag" or profile.waterfall.takers
    if controlled and chance.random() < 0.7:
        return replace(profile, **chance.choice(_controls(profile)))
    if profile.lending is not None and chance.random() < 0.5:
        return replace(profile, lending=_lending(chance, profile.lending))
    return replace(profile, **chance.choice(wrongs))


def _controls(profile: RiskProfile) -> list[dict[str, Any]]:
    """Return faults of how groups are closed, and of who takes and pays."""
    rule, waterfall = profile.liquidation, profile.waterfall
    one, takers = Decimal(1), waterfall.takers
    falling = FallingPrice(Decay(duration=0), duration=1)
    rules = [
        replace(rule, sizing=Portion(2 * one)),
        replace(rule, sizing=LeastReduction(SizeRamp(one, 0))),
        replace(rule, cooldown=Cooldown(SECOND, one)),
        replace(rule, price=PriceRamp(HALF, TENTH, SECOND)),
        replace(rule, price=falling),
        replace(rule, slippage={"*": one}),
        replace(rule, fee_to_venue=one, fee_to_liquidator=one),
        replace(rule, pace=Pace(per_event=0)),
        replace(rule, pace=Pace(in_flight={"*": Decimal(0)})),
        replace(rule, fuses=Fuses(max_jump=one)),
        replace(rule, fuses=Fuses(max_jump=Decimal("0.0005"))),
        replace(rule, pace=Pace(per_event=2, per_second=1)),
        replace(rule, price=PriceRamp(TENTH, TENTH, SECOND)),
        replace(rule, sizing=Everything(), cooldown=Cooldown(SECOND)),
        replace(rule, fee_rate=Decimal(0), fee_adaptive=HALF),
        replace(rule, fee_rate=one),
    ]
    waterfalls = [
        replace(waterfall, takers=(*takers, *(takers or ("adl",)))),
        replace(waterfall, takers=("fund",), fund_account="", backstop=None, adl=None),
        replace(waterfall, takers=(), fund_account="a", backstop=None, adl=None),
        replace(waterfall, fund=FundRule(by="group")),
        replace(waterfall, fund=FundRule(then_venue=True)),
        replace(waterfall, fund=FundRule(caps={"*": -one})),
        replace(waterfall, takers=("adl",), backstop=None, adl=Deleveraging(drawdown=UPSIDE_DOWN)),
        replace(waterfall, takers=("backstop",), adl=None, backstop=Backstop("a", one, below=one)),
    ]
    return [{"liquidation": each} for each in rules] + [{"waterfall": each} for each in waterfalls]


def _lending(chance: Random, lending: Lending) -> Lending:
    """Return rules of a lending market with one fault."""
    one = Decimal(1)
    name, pool = next(iter(lending.pools.items()))
    toxic = Terms(HALF, Decimal("0.99"), FixedBonus(TENTH))
    pools: list[dict[str, Any]] = [
        {"reserve_factor": 2 * one},
        {"rates": RateCurve(base=-one)},
        {"rates": RateCurve(kink=Decimal(0))},
        {"supply_rates": RateCurve(), "reserve_factor": TENTH},
        {"accrued_by": "venue", "rates": RateCurve(base=TENTH)},
        {"collateral": toxic},
        {"collateral": Terms(HALF, TENTH, FixedBonus(TENTH))},
        {"collateral": None, "isolation": Isolation(CAP)},
    ]
    wrongs: list[dict[str, Any]] = [
        {"pools": {}},
        {"pools": {**lending.pools, name: replace(pool, **chance.choice(pools))}},
        {"pools": {**lending.pools, name: replace(pool, **chance.choice(pools))}},
        {"categories": {"odd": Category({"NONE": toxic})}},
        {"categories": {"odd": Category({name: toxic})}},
        {"categories": {"odd": Category({})}},
        {"bad_debt": BadDebtRule(charge=("fund", "fund"))},
    ]
    return replace(lending, **chance.choice(wrongs))


def _requirements() -> list[Requirement]:
    """Return requirements that fall as size grows, or do not protect."""
    more = Bracket(2 * CAP, initial_rate=HALF, maintenance_rate=TENTH)
    return [
        Requirement(()),
        Requirement((replace(BRACKET, cap=Decimal(0)),)),
        Requirement((more, BRACKET)),
        Requirement((BRACKET, replace(more, maintenance_rate=TENTH / 2))),
        Requirement((BRACKET, more), slope=TENTH),
        Requirement((replace(BRACKET, max_leverage=Decimal(5)),)),
        Requirement((replace(BRACKET, initial_rate=None),)),
        Requirement((replace(BRACKET, maintenance_rate=HALF),)),
        Requirement((replace(BRACKET, maintenance_rate=None),)),
        Requirement((BRACKET,), maintenance_share=HALF),
        Requirement((replace(BRACKET, maintenance_rate=None),), maintenance_share=Decimal(2)),
        Requirement((BRACKET,), open_interest=OpenInterest(CAP, CAP)),
        Requirement((BRACKET,), fixed=-CAP),
        Requirement((BRACKET,), step=Decimal(0)),
    ]


def _portfolios() -> list[Portfolio]:
    return [
        replace(GRID, price_moves=()),
        replace(GRID, price_moves=(TENTH, HALF)),
        replace(GRID, volatility_moves=(Decimal(-1),)),
        replace(GRID, initial_factor=HALF),
    ]


def _volatilities() -> list[Volatility]:
    sound = Volatility(reference={"*": TENTH})
    return [
        replace(sound, reference={}),
        replace(sound, cap=HALF),
        replace(sound, interval=7_000_001),
        replace(sound, maintenance_ramp=HOUR - 1),
        replace(sound, decay=Decimal(1)),
        replace(sound, fall=Decimal(0)),
    ]


def _collateral(chance: Random, profile: RiskProfile) -> dict[str, Any]:
    """Weigh the numeraire, or weigh a coin less at first than later."""
    milder = {"haircut": TENTH, "initial_haircut": Decimal(0)}
    heavy = {"borrow_weight": Decimal(2), "initial_borrow_weight": Decimal(1)}
    asset = chance.choice(list(profile.collateral))
    return {asset: replace(profile.collateral[asset], **chance.choice((milder, heavy)))}
