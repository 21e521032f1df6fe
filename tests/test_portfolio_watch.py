"""Portfolios under walking prices: nobody is overlooked, and few are looked at in vain."""

from decimal import Decimal as D
from random import Random

import pytest

from engine import events as e
from engine import invariants
from engine.core import Engine
from engine.instruments import Option, Perpetual
from engine.profile import (
    DAY,
    Bracket,
    Collateral,
    Extreme,
    Portfolio,
    Profit,
    Requirement,
    RiskProfile,
)
from tests.story import BTC, USDT, Story, WholeEngine

CENTS = {"size_decimals": 1, "price_decimals": 2, "tick": D("0.05"), "lot": D("0.1")}
CENTS |= {"largest_size": D(1_000_000), "underlying": "BTC", "taker_fee": D("0.0005")}
COIN = CENTS | {"price_decimals": 4, "tick": D("0.0005"), "style": "inverse"}
EXPIRY = 20 * DAY
LISTED = (
    Perpetual("BTC-PERP", "USDT", **CENTS),
    Perpetual("BTCUSD", "BTC", **(CENTS | {"style": "inverse", "multiplier": D(10)})),
    Perpetual("ETH-PERP", "USDT", **(CENTS | {"underlying": "ETH"})),
    Option("BTC-C", "USDT", **CENTS, kind="call", strike=D(110), expiry=EXPIRY),
    Option("BTC-P", "USDT", **CENTS, kind="put", strike=D(95), expiry=EXPIRY),
    Option("COIN-C", "BTC", **COIN, kind="call", strike=D(105), expiry=EXPIRY),
)
RULE = Portfolio(
    price_moves=tuple(D(move) / 100 for move in (-16, -8, 0, 8, 16)),
    volatility_moves=(D("-0.3"), D(0), D("0.5")),
    near_exponent=D("0.3"),
    extremes=(Extreme(D("-0.5"), D("0.3")), Extreme(D(2), D("0.1"))),
    short_option_minimum=D("0.02"),
    option_contingency=D("0.005"),
    future_contingency=D("0.006"),
)


def profile(**changes) -> RiskProfile:
    rules = {
        "portfolios": {"BTC": RULE},
        "collateral": {"USDT": Collateral(), "BTC": Collateral(haircut=D("0.05"))},
        "requirements": {"ETH": Requirement((Bracket(D(10) ** 9, D("0.02"), D("0.01")),))},
    }
    return RiskProfile(
        name="options", numeraire="USDT", conversion=("USDT", "BTC"), **(rules | changes)
    )


def crowd(rules: RiskProfile, count: int) -> tuple[Story, Engine]:
    """Open small portfolios of many kinds, each with its own margin."""
    machine, chance = WholeEngine(), Random(5)
    story = Story(machine)
    for asset in (USDT, BTC):
        story.tell(e.InstrumentListed, instrument=asset)
    story.tell(e.ProfileChanged, profile=rules)
    for listed in LISTED:
        story.tell(e.InstrumentListed, instrument=listed)
    quote(story, D(100), D("0.6"))
    for number in range(count):
        account = f"a{number}"
        story.deposit(account, "USDT", str(chance.randint(30, 400)))
        story.deposit(account, "BTC", str(chance.randint(1, 30) / D(10)))
        for listed in chance.sample(LISTED, chance.randint(1, 4)):
            size = str(D(chance.choice((-40, -10, -5, 5, 10, 40))) / 10)
            mark = str(machine.engine.markets.price(listed.name, "mark"))
            story.fill(account, listed.name, size, mark)
    return story, machine.engine


def quote(story: Story, price: D, iv: D, *, only: str = "") -> None:
    """Tell one price, or all of them."""
    for listed in (BTC, *LISTED):
        if only not in ("", listed.name):
            continue
        if isinstance(listed, Option):
            fields = {"source": "venue", "iv": iv, "forward": price}
            story.tell(e.OptionMark, symbol=listed.name, **fields)
        else:
            kind = "index" if listed is BTC else "mark"
            story.price(listed.name, str(price), kind=kind)


def walk(story: Story, engine: Engine, steps: int) -> None:
    """Move price and volatility, and tell one symbol of it at a time."""
    chance, price, iv = Random(11), D(100), D("0.6")
    names = [BTC.name, *(listed.name for listed in LISTED)]
    for _ in range(steps):
        price = max(price + D(chance.randint(-60, 62)) / 50, D(40))
        iv = max(iv + D(chance.randint(-10, 10)) / 500, D("0.05"))
        quote(story, price, iv, only=chance.choice(names))
        invariants.check(engine)


@pytest.mark.parametrize(
    "rules",
    [
        profile(),
        profile(profit=Profit(weight=D("0.5"), after_requirement=True)),
        profile(portfolios={"BTC": RULE, "COIN-C": RULE, "BTCUSD": RULE}),
    ],
    ids=["plain", "weighed profit", "several rules"],
)
def test_a_walk_overlooks_nobody(rules: RiskProfile) -> None:
    story, engine = crowd(rules, 40)
    walk(story, engine, 150)
    assert {type(decision).__name__ for decision in story.decided} >= {
        "MarginCall",
        "LiquidationStarted",
        "LiquidationOrder",
    }


def test_few_are_looked_at_in_vain(monkeypatch) -> None:
    """Of 200 portfolios that a tick concerns, only those that it takes to a threshold."""
    story, engine = crowd(profile(), 200)
    looked: list[str] = []
    original = Engine.health_of

    def counted(self, group):
        looked.append(group.account.id)
        return original(self, group)

    concerned = len(engine.book.legs["BTC-PERP"])
    assert concerned > 60
    monkeypatch.setattr(Engine, "health_of", counted)
    for step in range(20):
        quote(story, D(100) + D(step) / 20, D("0.6"), only="BTC-PERP")
    assert len(looked) < concerned


def test_the_index_of_a_coin_moves_what_is_settled_in_it() -> None:
    """A call in coin and an inverse perpetual need 60 USDT at 100 a coin, beside equity of 102.7 of
    which 0.027 coins: called near 138, breached near 174."""
    story, engine = crowd(profile(), 0)
    story.deposit("alice", "USDT", "100")
    story.fill("alice", "COIN-C", "-2", "0.0493", fee_asset="BTC")
    story.fill("alice", "BTCUSD", "20", "100", fee_asset="BTC")
    decided = []
    for price in ("136", "140", "173", "175"):
        said = story.price("BTC", price, kind="index")
        decided.append([type(decision).__name__ for decision in said][:1])
        invariants.check(engine)
    assert decided == [[], ["MarginCall"], [], ["LiquidationStarted"]]
