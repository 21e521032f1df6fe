"""A seeded book of hedged option portfolios on one underlying, and marks that walk."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from engine.events import (
    AnyEvent,
    GroupSnapshot,
    InstrumentListed,
    LegSnapshot,
    OptionMark,
    PositionSnapshot,
    PriceEvent,
    ProfileChanged,
)
from engine.instruments import Asset, Option, Perpetual
from engine.profile import DAY, Collateral, Extreme, Portfolio, RiskProfile
from tests.bench import book

PERPETUAL = "BTC-PERP"
FIRST_PRICE = Decimal(10_000)
VOLATILITY = Decimal("0.6")
STRIKES = range(8_000, 12_001, 500)
PREMIUM = Decimal(500)

_USDT = Asset("USDT", decimals=8, largest=Decimal(40_000_000_000))
_TERMS = {
    "settle": "USDT",
    "size_decimals": 3,
    "price_decimals": 2,
    "tick": Decimal("0.01"),
    "lot": Decimal("0.001"),
    "largest_size": Decimal(1_000_000),
    "underlying": "BTC",
}
_GRID = Portfolio(
    price_moves=tuple(Decimal(move) / 100 for move in (-16, -12, -8, -4, 0, 4, 8, 12, 16)),
    volatility_moves=(Decimal("-0.25"), Decimal(0), Decimal("0.5")),
    near_exponent=Decimal("0.3"),
    extremes=(
        Extreme(Decimal("-0.5"), Decimal("0.3")),
        Extreme(Decimal(1), Decimal("0.15")),
    ),
    short_option_minimum=Decimal("0.01"),
)
_PROFILE = RiskProfile(
    name="bench",
    numeraire="USDT",
    portfolios={"BTC": _GRID},
    collateral={"USDT": Collateral()},
    conversion=("USDT",),
)


def options() -> list[Option]:
    """Return calls and puts of every strike, with a month to go."""
    expiry = book.now() + 30 * DAY
    return [
        Option(f"BTC-{strike}-{kind}", **_TERMS, kind=kind, strike=Decimal(strike), expiry=expiry)
        for strike in STRIKES
        for kind in ("call", "put")
    ]


NAMES = [option.name for option in options()]


def rules() -> list[AnyEvent]:
    """Return the events that put the book's rules in force."""
    at = book.now()
    listed = [_USDT, Perpetual(PERPETUAL, **_TERMS), *options()]
    found: list[AnyEvent] = [ProfileChanged(time=at, profile=_PROFILE)]
    return found + [InstrumentListed(time=at, instrument=instrument) for instrument in listed]


def accounts(count: int) -> list[AnyEvent]:
    """Return accounts with two options each, mostly sold, and a perpetual against them."""
    random = Random(1)
    found: list[AnyEvent] = []
    for number in range(count):
        legs = []
        for symbol in sorted([*random.sample(NAMES, 2), PERPETUAL]):
            size = Decimal(random.choice((-2, -1, 1)))
            cost = size * (FIRST_PRICE if symbol == PERPETUAL else PREMIUM)
            legs.append(LegSnapshot(symbol, size, cost))
        group = GroupSnapshot("cross", {"USDT": Decimal(random.randint(13, 30) * 1_000)}, (*legs,))
        name = f"a{number:06}"
        found.append(PositionSnapshot(time=book.now(), account=name, sequence=1, groups=(group,)))
    return found


def mark(symbol: str, sequence: int, volatility: Decimal, forward: Decimal) -> OptionMark:
    """Return what an option is valued by."""
    told = {"time": book.now(), "source": "venue", "sequence": sequence}
    return OptionMark(symbol=symbol, iv=volatility, forward=forward, **told)


def first_prices() -> list[AnyEvent]:
    """Return the first mark of everything."""
    found: list[AnyEvent] = [book.price(PERPETUAL, 1, FIRST_PRICE)]
    return found + [mark(name, 1, VOLATILITY, FIRST_PRICE) for name in NAMES]


def walk() -> Iterator[PriceEvent]:
    """Yield ticks for ever, of the perpetual and one option after the other in turn."""
    random, price, volatility, sequence = Random(2), FIRST_PRICE, VOLATILITY, 1
    while True:
        sequence += 1
        for place, name in enumerate(NAMES):
            price = (price * (1 + Decimal(round(random.gauss(0, 5))) / 10_000)).quantize(
                Decimal("0.01")
            )
            volatility = max(volatility + Decimal(random.randint(-5, 5)) / 10_000, Decimal("0.1"))
            yield book.price(PERPETUAL, (sequence - 2) * len(NAMES) + place + 2, price)
            yield mark(name, sequence, volatility, price)
