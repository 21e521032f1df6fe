"""Combinations of rules that once hid a breach from the screens, or asked too much of a number."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from typing import Any

import msgspec

from engine import events, invariants
from engine.decisions import LiquidationStarted, RequirementChanged
from engine.instruments import Asset, Option, Perpetual
from engine.profile import (
    DAY,
    HOUR,
    SECOND,
    Bracket,
    Collateral,
    Portfolio,
    Profit,
    Requirement,
    RiskProfile,
    Volatility,
)
from tests.story import Story, WholeEngine, of

COIN = Asset("COIN", 2, D(10**12), price_decimals=4)
FLAT = Requirement((Bracket(D(10**12), D("0.05"), D("0.025")),))


class Watched(WholeEngine):
    """The engine, everything that must hold asked after every event."""

    def apply(self, event: events.AnyEvent):
        decided = super().apply(event)
        invariants.check(self.engine)
        return decided


@contextmanager
def told(**fields: Any) -> Iterator[Story]:
    """Begin a story under a profile of these fields."""
    story = Story(Watched())
    given: dict[str, Any] = {
        "requirements": {"*": FLAT},
        "collateral": {"USDT": Collateral(), "COIN": Collateral()},
        "conversion": ("USDT", "COIN"),
        **fields,
    }
    for asset in (Asset("USDT", 8, D(10**10)), COIN):
        story.tell(events.InstrumentListed, instrument=asset)
    story.tell(events.ProfileChanged, profile=RiskProfile("rare", "USDT", **given))
    yield story


def perpetual(name: str = "P", **fields: Any) -> Perpetual:
    given: dict[str, Any] = {"settle": "USDT", "size_decimals": 3, "price_decimals": 4, **fields}
    return Perpetual(name, tick=D("0.0001"), lot=D(1), largest_size=D(10**9), **given)


def test_a_coin_settled_option_that_was_worth_its_cost_is_still_its_coin_s_concern():
    grid = Portfolio((D("-0.1"), D("0.1")), (D(0),), short_option_minimum=D("0.1"))
    call = Option(
        "C", "COIN", 2, 4, D("0.0001"), D("0.01"), D(10**6), style="inverse", underlying="X",
        kind="call", strike=D(10_000), expiry=100 * DAY,
    )  # fmt: skip
    with told(portfolios={"X": grid}) as story:
        story.tell(events.InstrumentListed, instrument=call)
        story.price("COIN", "10000", "index")
        mark = {"symbol": "C", "forward": D(10_000), "source": "venue"}
        story.tell(events.OptionMark, iv=D("0.5"), **mark)
        story.deposit("bob", "COIN", "1")
        story.price("COIN", "10001", "index")
        story.deposit("al", "USDT", "24000")
        now = story.machine.engine.prices["C", "mark"].price
        story.fill("al", "C", "-10", str(now))
        story.tell(events.OptionMark, iv=D("0.9"), **mark)
        prices = range(10_100, 20_000, 100)
        started = [of(LiquidationStarted, story.price("COIN", str(p), "index")) for p in prices]
        assert sum(map(len, started)) == 1


def test_a_rule_of_volatility_that_comes_late_ramps_maintenance_from_one():
    ramp = Volatility(reference={"*": D("0.03")}, floor=D("1.5"), maintenance_ramp=30 * DAY)
    with told() as story:
        story.tell(events.InstrumentListed, instrument=perpetual())
        story.price("P", "10000")
        story.deposit("al", "USDT", "300")
        story.fill("al", "P", "1", "10000")
        profile = story.machine.engine.rules.profile
        story.tell(events.ProfileChanged, profile=msgspec.structs.replace(profile, volatility=ramp))
        changed = of(RequirementChanged, story.price("P", "10000"))
        assert [(one.requirement, one.before, one.after) for one in changed] == [
            ("initial", 1, D("1.5"))
        ]
        assert not of(LiquidationStarted, story.price("P", "10000.5"))
        assert story.machine.engine.markets.maintenance_factor("P") == 1


def test_a_rounded_requirement_times_a_factor_is_off_by_the_factor_too():
    rounded = Requirement((Bracket(D(10**12), D("0.00001")),), maintenance_share=D(1), step=D(1000))
    wild = Volatility(
        reference={"*": D("0.0001")}, cap=D(99), rise=D(1000), fall=D("0.0001"), step=D(1),
        maintenance_ramp=HOUR,
    )  # fmt: skip
    with told(requirements={"*": rounded}, volatility=wild) as story:
        story.tell(events.InstrumentListed, instrument=perpetual())
        story.price("P", "10000")
        story.deposit("al", "USDT", "1000000000")
        story.fill("al", "P", "10000", "10000")
        for minute in range(80):
            story.time += 60 * SECOND
            story.price("P", str(10_000 + minute % 2 * 100))
        group = story.machine.engine.accounts["al"].groups["cross"]
        state = story.machine.engine.health_of(group)
        out = state.margin_equity - 2 * state.maintenance
        story.tell(events.Withdrawal, account="al", asset="USDT", amount=out)
        for price in range(99_990, 100_210):
            story.price("P", str(D(price) / 10))


def test_an_inverse_notional_that_is_rounded_up_over_a_cap():
    tiers = Requirement(
        (Bracket(D("10.005"), D("0.05"), D("0.02")), Bracket(D(1000), D("0.5"), D("0.4"))),
        marginal=False,
    )
    with told(requirements={"*": tiers}) as story:
        inverse = perpetual("I", settle="COIN", size_decimals=0, style="inverse")
        story.tell(events.InstrumentListed, instrument=inverse)
        story.price("COIN", "100", "index")
        story.price("I", "100")
        story.deposit("al", "COIN", "2")
        story.fill("al", "I", "900", "100", fee_asset="COIN")
        prices = [D(90_100 - step) / 1000 for step in range(200)]
        started = [of(LiquidationStarted, story.price("I", str(price))) for price in prices]
        assert sum(map(len, started)) == 1


def test_a_factor_ends_with_the_reference_that_it_followed():
    swing = Volatility(reference={"X": D("0.001")}, rise=D(100))
    with told(volatility=swing) as story:
        listed = perpetual(underlying="X")
        story.tell(events.InstrumentListed, instrument=listed)
        story.price("P", "100")
        story.time += 60 * SECOND
        story.price("P", "110")
        assert story.machine.engine.markets.initial_factor("P") > 1
        moved = msgspec.structs.replace(listed, underlying="Y")
        story.tell(events.InstrumentListed, instrument=moved)
        assert story.machine.engine.markets.initial_factor("P") == 1


def test_rules_of_thirty_digits_each_leave_every_product_exact():
    long = "345678901234567890123456789"
    rule = Requirement(
        (Bracket(D(10**12), D(f"0.012{long}")),),
        maintenance_share=D(f"0.912{long}"),
        slope=D(f"0.012{long}"),
    )
    coin = Asset("COIN", 18, D("4.5"), price_decimals=18)
    weighed = Collateral(D(f"0.051{long}"), D(f"1.12{long}"), size_factor=D(f"0.012{long}"))
    story = Story(Watched())
    for asset in (Asset("USDT", 8, D(10**10)), coin):
        story.tell(events.InstrumentListed, instrument=asset)
    profile = RiskProfile(
        "long", "USDT", requirements={"*": rule}, conversion=("USDT", "COIN"),
        collateral={"USDT": Collateral(), "COIN": weighed},
        profit=Profit(weight=D(f"0.912{long}"), after_requirement=True),
        volatility=Volatility({"*": D("0.00003")}, floor=D(f"1.01{long}"), rise=D(100),
                              step=D(f"0.012{long}"), maintenance_ramp=HOUR),
    )  # fmt: skip
    story.tell(events.ProfileChanged, profile=profile)
    unit = D(1).scaleb(-18)
    fine = Perpetual("P", "COIN", 18, 18, unit, unit, D("4.5"), multiplier=D(f"1.234{long}"))
    story.tell(events.InstrumentListed, instrument=fine)
    story.price("COIN", "30123.123456789012345678", "index")
    story.price("P", "1.012345678901234567")
    for account, size in (("al", "0.912345678901234567"), ("bob", "-0.812345678901234567")):
        story.deposit(account, "USDT", "5000")
        story.fill(account, "P", size, "1.012345678901234567", fee_asset="COIN")
    for step in range(1, 15):
        story.time += 60 * SECOND
        story.price("P", str(D("1.012345678901234567") - step * D("0.010309278350515463")))
    assert of(LiquidationStarted, story.decided)
