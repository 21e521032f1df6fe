"""A seeded book of loans against ten coins, and coins whose prices walk."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from engine.events import (
    AnyEvent,
    FundMoved,
    GroupSnapshot,
    InstrumentListed,
    PositionSnapshot,
    PriceUpdate,
    ProfileChanged,
)
from engine.instruments import Asset
from engine.interest import RateCurve
from engine.lending_profile import Lending, PoolRule, Terms
from engine.profile import Collateral, RiskProfile
from engine.seizure import FixedBonus
from tests.bench import book

COINS = tuple(f"C{number:02}" for number in range(10))
FIRST_PRICE = Decimal(100)
THRESHOLD = Decimal("0.8")

_LARGEST = Decimal(40_000_000_000)
_TERMS = Terms(Decimal("0.75"), THRESHOLD, FixedBonus(Decimal("0.05")))
_PROFILE = RiskProfile(
    name="bench",
    numeraire="USDT",
    collateral={"USDT": Collateral()},
    conversion=("USDT",),
    lending=Lending(
        {
            "USDT": PoolRule("USDT", rates=RateCurve(slope_low=Decimal("0.05"))),
            **{coin: PoolRule(coin, borrowable=False, collateral=_TERMS) for coin in COINS},
        }
    ),
)


def rules() -> list[AnyEvent]:
    """Return the events that put the book's rules in force, and money into what lends."""
    at = book.now()
    assets = [Asset("USDT", 8, _LARGEST), *(Asset(coin, 8, _LARGEST, 2) for coin in COINS)]
    listed = [InstrumentListed(time=at, instrument=asset) for asset in assets]
    money = FundMoved(
        time=at, shard=0, asset="USDT", pool="USDT", amount=Decimal(10**9), sequence=1
    )
    return [*listed, ProfileChanged(time=at, profile=_PROFILE), money]


def accounts(count: int) -> list[AnyEvent]:
    """Return accounts that supplied a coin and owe USDT, at health factors of 1.1 to 3."""
    random = Random(1)
    found: list[AnyEvent] = []
    for number in range(count):
        coin, health = COINS[number % len(COINS)], round(random.uniform(1.1, 3), 4)
        owed = (FIRST_PRICE * 10 * THRESHOLD / Decimal(str(health))).quantize(Decimal("0.01"))
        group = GroupSnapshot("cross", supplied={coin: Decimal(10)}, owed={"USDT": owed})
        name = f"a{number:06}"
        found.append(PositionSnapshot(time=book.now(), account=name, sequence=1, groups=(group,)))
    return found


def price(coin: str, sequence: int, value: Decimal) -> PriceUpdate:
    """Return an index price."""
    return PriceUpdate(
        time=book.now(), symbol=coin, kind="index", price=value, source="venue", sequence=sequence
    )


def first_prices() -> list[AnyEvent]:
    """Return the first price of every coin."""
    return [price(coin, 1, FIRST_PRICE) for coin in COINS]


def walk() -> Iterator[PriceUpdate]:
    """Yield ticks for ever, one coin after the other, each about 5 basis points from the last."""
    random, prices, sequence = Random(2), dict.fromkeys(COINS, FIRST_PRICE), 1
    while True:
        sequence += 1
        for coin in COINS:
            step = 1 + Decimal(round(random.gauss(0, 5))) / 10_000
            prices[coin] = (prices[coin] * step).quantize(Decimal("0.01"))
            yield price(coin, sequence, prices[coin])
