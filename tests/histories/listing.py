"""A random venue: what it lists and its rules."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random

import msgspec

from engine.instruments import Asset, Future, Perpetual
from engine.profile import (
    Bracket,
    Collateral,
    LiquidationRule,
    MarginCallRule,
    PriceSources,
    RiskProfile,
    Trigger,
)

USDT = "USDT"
NAMELESS = "GIFT"
SECOND = 1_000_000
PRICES = {"BTC": 10_000.0, "ETH": 600.0, "SOL": 40.0, NAMELESS: 2.0}
EXPIRY = 10**15


@dataclass
class Listing:
    """Assets, derivatives with the asset they follow, and the profile; index prices to begin at."""

    assets: dict[str, Asset]
    contracts: dict[str, Perpetual | Future]
    underlying: dict[str, str]
    profile: RiskProfile
    prices: dict[str, float]


def quantity(value: float, decimals: int) -> Decimal:
    """Round a float to a number of decimals."""
    return Decimal(round(value * 10**decimals)).scaleb(-decimals)


def listing(chance: Random) -> Listing:
    """Draw a venue."""
    coins = ["BTC", *(coin for coin in ("ETH", "SOL") if chance.random() < 0.6)]
    held = [USDT, *coins, *([NAMELESS] if chance.random() < 0.3 else [])]
    assets = {name: _asset(chance, name) for name in held}
    contracts: dict[str, Perpetual | Future] = {}
    underlying: dict[str, str] = {}
    for coin in coins:
        for contract in _contracts(chance, coin):
            contracts[contract.name] = contract
            underlying[contract.name] = coin
    prices = {coin: PRICES[coin] * chance.uniform(0.7, 1.4) for coin in held if coin != USDT}
    profile = draw_profile(chance, assets, contracts)
    return Listing(assets, contracts, underlying, profile, prices)


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


def draw_profile(
    chance: Random, assets: dict[str, Asset], contracts: dict[str, Perpetual | Future]
) -> RiskProfile:
    """Draw the rules for what is listed; the nameless asset stays unnamed."""
    coins = [name for name in assets if name not in (USDT, NAMELESS)]
    collateral = {USDT: _collateral(chance, USDT), **{c: _collateral(chance, c) for c in coins}}
    order = [USDT, *coins]
    chance.shuffle(order)
    at_equality = chance.random() < 0.4
    buffers = ("0.05", "0.1", "0.3") if at_equality else ("0", "0.1", "0.25")
    return RiskProfile(
        name=f"rules-{chance.randrange(10**6)}",
        numeraire=USDT,
        brackets={name: _brackets(chance, contracts[name]) for name in contracts},
        collateral=collateral,
        conversion=tuple(order),
        trigger=Trigger(at_equality=at_equality, stop_buffer=Decimal(chance.choice(buffers))),
        margin_call=MarginCallRule(
            at=Decimal(chance.choice(("0.5", "0.8"))), reset=Decimal(chance.choice(("0.3", "0.45")))
        ),
        liquidation=LiquidationRule(
            order_ttl=chance.choice((1, 3, 5)) * SECOND,
            ack_timeout=chance.choice((1, 2, 5)) * SECOND,
            gap_timeout=chance.choice((2, 10)) * SECOND,
            max_slippage=Decimal(chance.choice(("0.01", "0.05", "0.1"))),
            fee_rate=Decimal(chance.choice(("0", "0.003", "0.0125"))),
        ),
        prices=PriceSources(
            index=chance.choice(("venue", "oracle")),
            symbols={name: "other" for name in contracts if chance.random() < 0.1},
        ),
    )


def _collateral(chance: Random, asset: str) -> Collateral:
    below = chance.choice((None, Decimal(0), Decimal(50) if asset == USDT else Decimal("0.01")))
    if asset == USDT:
        return Collateral(auto_convert_below=below)
    return Collateral(
        haircut=Decimal(chance.choice(("0", "0.05", "0.2"))),
        borrow_weight=Decimal(chance.choice(("1", "1.05", "1.2"))),
        auto_convert_below=below,
    )


def _brackets(chance: Random, contract: Perpetual | Future) -> tuple[Bracket, ...]:
    cap = Decimal(chance.choice((2_000, 10_000, 50_000)))
    if contract.style == "inverse":
        cap /= 10_000
    maintenance, initial = Decimal(chance.choice(("0.004", "0.02", "0.05"))), Decimal("0.1")
    brackets: list[Bracket] = []
    for _ in range(chance.randint(1, 4)):
        brackets.append(Bracket(cap, maintenance, initial))
        cap *= chance.choice((2, 5))
        maintenance = min(maintenance * chance.choice((1, 2)), Decimal("0.2"))
        initial = max(maintenance, min(initial * 2, Decimal(1)))
    return tuple(brackets)
