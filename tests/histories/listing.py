"""A random venue: what it lists and its rules."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Literal

import msgspec

from engine.instruments import Asset, Future, Option, Perpetual
from engine.profile import DAY, RiskProfile
from tests.histories.lending_rules import Market, draw_lending, draw_market
from tests.histories.rules import draw_profile

USDT = "USDT"
NAMELESS = "GIFT"
PRICES = {"BTC": 10_000.0, "ETH": 600.0, "SOL": 40.0, NAMELESS: 2.0}
BEGIN = 1_600_000_000_000_000
EXPIRY = 10**15

Contract = Perpetual | Future | Option


@dataclass
class Listing:
    """Assets, derivatives with the asset they follow, and the profile; index prices to begin at."""

    assets: dict[str, Asset]
    contracts: dict[str, Contract]
    underlying: dict[str, str]
    profile: RiskProfile
    prices: dict[str, float]
    market: Market | None = None


def quantity(value: float, decimals: int) -> Decimal:
    """Round a float to a number of decimals."""
    return Decimal(round(value * 10**decimals)).scaleb(-decimals)


def worth(contract: Contract, size: float, price: float) -> float:
    """Return about what a size is worth at a price, in the settlement asset."""
    multiplied = size * float(contract.multiplier)
    return multiplied / price if contract.inverse else multiplied * price


def listing(chance: Random, *, lends: bool = False) -> Listing:
    """Draw a venue, with pools where it lends."""
    coins = ["BTC", *(coin for coin in ("ETH", "SOL") if chance.random() < 0.6)]
    held = [USDT, *coins, *([NAMELESS] if chance.random() < 0.3 else [])]
    assets = {name: _asset(chance, name) for name in held}
    prices = {coin: PRICES[coin] * chance.uniform(0.7, 1.4) for coin in held if coin != USDT}
    contracts: dict[str, Contract] = {}
    underlying: dict[str, str] = {}
    for coin in coins:
        drawn: list[Contract] = [*_contracts(chance, coin)]
        if coin == "BTC" and chance.random() < 0.55:
            drawn += _options(chance, coin, prices[coin])
        for contract in drawn:
            contracts[contract.name] = contract
            underlying[contract.name] = coin
    profile = draw_profile(chance, assets, contracts)
    market = None
    if lends:
        market = draw_market(chance, list(assets), prices, list(contracts))
        profile = msgspec.structs.replace(profile, lending=draw_lending(chance, market))
    return Listing(assets, contracts, underlying, profile, prices, market)


def _asset(chance: Random, name: str) -> Asset:
    decimals = chance.choice((2, 6, 8)) if name == USDT else chance.choice((6, 8))
    return Asset(name, decimals, Decimal(5_000_000_000), price_decimals=4)


def _contracts(chance: Random, coin: str) -> list[Perpetual | Future]:
    linear: dict[str, object] = {
        "settle": USDT,
        "size_decimals": chance.choice((2, 3)),
        "price_decimals": 2,
        "tick": chance.choice((Decimal("0.01"), Decimal("0.1"))),
        "lot": Decimal("0.01"),
        "largest_size": Decimal(1_000_000),
        "multiplier": chance.choice((Decimal(1), Decimal(1), Decimal("0.1"))),
        "taker_fee": chance.choice((Decimal(0), Decimal("0.0005"), Decimal("0.002"))),
        "underlying": coin if chance.random() < 0.8 else "",
    }
    inverse: dict[str, object] = {
        **linear,
        "settle": coin,
        "style": "inverse",
        "size_decimals": 0,
        "lot": Decimal(1),
        "largest_size": Decimal(1_000_000_000),
        "multiplier": chance.choice((Decimal(1), Decimal(10))),
    }
    funding = chance.choice(("venue", "engine"))
    drawn: list[Perpetual | Future] = [_perpetual(f"{coin}USDT", linear, funding)]
    if chance.random() < 0.6:
        drawn.append(_perpetual(f"{coin}USD", inverse, chance.choice(("venue", "engine"))))
    if chance.random() < 0.4:
        terms = linear if chance.random() < 0.5 else inverse
        drawn.append(
            msgspec.convert(
                {**terms, "type": "future", "name": f"{coin}-DATED", "expiry": EXPIRY}, Future
            )
        )
    return drawn


def _perpetual(name: str, terms: dict[str, object], funding: str) -> Perpetual:
    fields = {**terms, "type": "perpetual", "name": name, "funding": funding}
    return msgspec.convert(fields, Perpetual)


def _options(chance: Random, coin: str, price: float) -> list[Option]:
    """Draw a few options around the price, some about to expire, some in coin."""
    drawn: dict[str, Option] = {}
    for _ in range(chance.randint(1, 4)):
        strike = Decimal(max(1, round(price * chance.uniform(0.75, 1.3), -2)))
        in_coin = chance.random() < 0.5
        days = chance.choice((0.0005, 0.5, 5, 20, 45, 200))
        terms: dict[str, Any] = {
            "settle": coin if in_coin else USDT,
            "style": "inverse" if in_coin else "linear",
            "price_decimals": chance.choice((4, 6)) if in_coin else 2,
            "tick": Decimal("0.0001") if in_coin else chance.choice((Decimal("0.01"), Decimal(5))),
            "multiplier": chance.choice((Decimal(1), Decimal("0.1"))),
            "taker_fee": chance.choice((Decimal(0), Decimal("0.0005"), Decimal("0.01"))),
        }
        kind: Literal["call", "put"] = "call" if chance.random() < 0.5 else "put"
        name = f"{coin}-{days}D-{strike}-{'COIN-' if in_coin else ''}{kind.upper()}"
        drawn[name] = Option(
            name=name,
            kind=kind,
            strike=strike,
            expiry=BEGIN + int(days * DAY),
            underlying=coin,
            size_decimals=2,
            lot=Decimal("0.01"),
            largest_size=Decimal(1_000_000),
            **terms,
        )
    return list(drawn.values())
