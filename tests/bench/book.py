"""A seeded book of accounts with one leg each, and prices that walk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from random import Random

from msgspec import structs

from engine.events import (
    AnyEvent,
    GroupSnapshot,
    InstrumentListed,
    LegSnapshot,
    PositionSnapshot,
    PriceUpdate,
    ProfileChanged,
)
from engine.instruments import Asset, Perpetual
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from engine.waterfall_profile import Waterfall

MARKETS = tuple(f"M{number:02}-PERP" for number in range(20))
FIRST_PRICE = Decimal(10_000)
MAINTENANCE = Decimal("0.004")
NOBODY_TAKES = Waterfall()

_USDT = Asset("USDT", decimals=8, largest=Decimal(40_000_000_000))
_BRACKET = Bracket(Decimal(10**9), initial_rate=Decimal("0.01"), maintenance_rate=MAINTENANCE)
_PROFILE = RiskProfile(
    name="bench",
    numeraire="USDT",
    requirements=dict.fromkeys(MARKETS, Requirement((_BRACKET,))),
    collateral={"USDT": Collateral()},
    conversion=("USDT",),
)


def now() -> int:
    """Return the time in microseconds UTC."""
    return time.time_ns() // 1000


def rules(waterfall: Waterfall = NOBODY_TAKES) -> list[AnyEvent]:
    """Return the events that put the book's rules in force."""
    at, profile = now(), structs.replace(_PROFILE, waterfall=waterfall)
    found: list[AnyEvent] = [ProfileChanged(time=at, profile=profile)]
    found.append(InstrumentListed(time=at, instrument=_USDT))
    for name in MARKETS:
        listed = Perpetual(
            name, "USDT", 3, 2, Decimal("0.01"), Decimal("0.001"), Decimal(1_000_000)
        )
        found.append(InstrumentListed(time=at, instrument=listed))
    return found


def account(name: str, symbol: str, size: int, deposit: Decimal) -> PositionSnapshot:
    """Return an account that holds `size` contracts from the first price on."""
    leg = LegSnapshot(symbol, Decimal(size), size * FIRST_PRICE)
    group = GroupSnapshot("cross", {"USDT": deposit}, (leg,))
    return PositionSnapshot(time=now(), account=name, sequence=1, groups=(group,))


def accounts(count: int) -> list[AnyEvent]:
    """Return accounts in all markets, long and short, with deposits of 3 to 50 % of notional."""
    random = Random(1)
    return [
        account(
            f"a{number:06}",
            MARKETS[number % len(MARKETS)],
            random.choice((-1, 1)),
            Decimal(round(float(FIRST_PRICE) * random.uniform(0.03, 0.5))),
        )
        for number in range(count)
    ]


def price(symbol: str, sequence: int, value: Decimal) -> PriceUpdate:
    """Return a mark price."""
    return PriceUpdate(
        time=now(), symbol=symbol, kind="mark", price=value, source="venue", sequence=sequence
    )


def first_prices() -> list[AnyEvent]:
    """Return the first mark of every market."""
    return [price(symbol, 1, FIRST_PRICE) for symbol in MARKETS]


def walk() -> Iterator[PriceUpdate]:
    """Yield ticks for ever, one market after the other, each about 5 basis points from the last."""
    random, prices, sequence = Random(2), dict.fromkeys(MARKETS, FIRST_PRICE), 1
    while True:
        sequence += 1
        for symbol in MARKETS:
            step = 1 + Decimal(round(random.gauss(0, 5))) / 10_000
            prices[symbol] = (prices[symbol] * step).quantize(Decimal("0.01"))
            yield price(symbol, sequence, prices[symbol])
