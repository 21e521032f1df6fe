"""Random rules: every policy of a profile in a good share of histories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from random import Random
from typing import Any, Literal

from engine.instruments import Asset, Future, Option, Perpetual
from engine.liquidation_profile import AtBankruptcy, Fillable, LiquidationRule, Pricing
from engine.profile import (
    HOUR,
    SECOND,
    Bracket,
    Collateral,
    Entry,
    Extreme,
    OpenInterest,
    Portfolio,
    PriceSources,
    Profit,
    Requirement,
    RiskProfile,
    Threshold,
    Trigger,
    Volatility,
)

Contracts = Mapping[str, Perpetual | Future | Option]

NUMERAIRE, UNNAMED = "USDT", "GIFT"


def draw_profile(chance: Random, assets: dict[str, Asset], contracts: Contracts) -> RiskProfile:
    """Draw the rules for what is listed; the nameless asset stays unnamed."""
    coins = [name for name in assets if name not in (NUMERAIRE, UNNAMED)]
    order = [NUMERAIRE, *coins]
    chance.shuffle(order)
    return RiskProfile(
        name=f"rules-{chance.randrange(10**6)}",
        numeraire=NUMERAIRE,
        requirements=_requirements(chance, contracts),
        portfolios=_portfolios(chance, contracts),
        collateral={asset: _collateral(chance, asset) for asset in (NUMERAIRE, *coins)},
        conversion=tuple(order),
        profit=_profit(chance),
        trigger=_trigger(chance),
        entry=Entry(
            open_orders=chance.choice(("ignored", "worst_case")),
            average_window=chance.choice((None, 2 * SECOND, 20 * SECOND)),
        ),
        volatility=_volatility(chance, coins) if chance.random() < 0.5 else None,
        margin_call=_threshold(chance, ("0.5", "0.8"), ("0.3", "0.45")),
        cancel_orders=(
            _threshold(chance, ("0.1", "0.5"), ("0.02", "0.08")) if chance.random() < 0.6 else None
        ),
        liquidation=_liquidation(chance),
        prices=PriceSources(
            index=chance.choice(("venue", "oracle")),
            symbols={name: "other" for name in contracts if chance.random() < 0.1},
        ),
    )


def _one(chance: Random, *values: str) -> Decimal:
    return Decimal(chance.choice(values))


def _maybe(chance: Random, *values: str) -> Decimal | None:
    return _one(chance, *values) if chance.random() < 0.5 else None


def _threshold(chance: Random, at: tuple[str, ...], reset: tuple[str, ...]) -> Threshold:
    return Threshold(at=_one(chance, *at), reset=_one(chance, *reset))


def _liquidation(chance: Random) -> LiquidationRule:
    price: Pricing = AtBankruptcy()
    if chance.random() < 0.2:
        price = Fillable(
            adjustment=_one(chance, "0.1", "1", "5"), spread=_one(chance, "0.5", "1.5")
        )
    return LiquidationRule(
        order_ttl=chance.choice((1, 3, 5)) * SECOND,
        ack_timeout=chance.choice((1, 2, 5)) * SECOND,
        gap_timeout=chance.choice((2, 10)) * SECOND,
        max_slippage=_one(chance, "0.01", "0.05", "0.1"),
        fee_rate=_one(chance, "0", "0.003", "0.0125"),
        price=price,
    )


def _trigger(chance: Random) -> Trigger:
    at_equality = chance.random() < 0.4
    buffers = ("0.05", "0.1", "0.3") if at_equality else ("0", "0.1", "0.25")
    return Trigger(
        at_equality=at_equality,
        taker_fee=chance.random() < 0.25,
        liquidation_fee=chance.random() < 0.25,
        fixed_cost=_one(chance, "0", "0", "0", "2.5"),
        stop_at=chance.choice(("maintenance", "maintenance", "initial")),
        stop_buffer=_one(chance, *buffers),
        stop_notional_buffer=_one(chance, "0", "0", "0.01"),
    )


def _profit(chance: Random) -> Profit:
    if chance.random() < 0.5:
        return Profit()
    weight = _one(chance, "1", "0.9", "0.5")
    initial = _maybe(chance, "0", "0.4", "0.95")
    return Profit(
        weight=weight,
        initial_weight=None if initial is None else min(initial, weight),
        initial_size_factor=_one(chance, "0", "0.01", "0.2"),
        initial_cap=_maybe(chance, "1", "200"),
        after_requirement=chance.random() < 0.4,
    )


def _collateral(chance: Random, asset: str) -> Collateral:
    if asset == NUMERAIRE:
        return Collateral(auto_convert_below=chance.choice((None, Decimal(0), Decimal(50))))
    haircut, owed = _one(chance, "0", "0.05", "0.2"), _one(chance, "1", "1.05", "1.2")
    initial, initial_owed = _maybe(chance, "0.1", "0.3"), _maybe(chance, "1.1", "1.5")
    return Collateral(
        haircut=haircut,
        borrow_weight=owed,
        initial_haircut=None if initial is None else max(haircut, initial),
        initial_borrow_weight=None if initial_owed is None else max(owed, initial_owed),
        size_factor=_one(chance, "0", "0", "0.3", "2"),
        deposits_from=_maybe(chance, "100000", "3000000"),
        borrows_from=_maybe(chance, "50000", "2000000"),
        auto_convert_below=chance.choice((None, Decimal(0), Decimal("0.01"))),
    )


def _volatility(chance: Random, coins: list[str]) -> Volatility:
    """Draw a rule whose factors move within a minute or two."""
    names = ["*", *coins, f"{coins[0]}USDT"]
    named = chance.sample(names, chance.randint(1, 2))
    floor = _one(chance, "1", "1", "1.2")
    return Volatility(
        reference={name: _one(chance, "0.01", "0.4", "1.5") for name in named},
        interval=chance.choice((1, 5, 20)) * SECOND,
        decay=_one(chance, "0.2", "0.6", "0.97"),
        lookback_days=chance.choice((0, 1, 30)),
        lookback_share=_one(chance, "0", "0", "0.1", "1"),
        floor=floor,
        cap=_one(chance, "1.2", "4", "30", "30"),
        rise=_one(chance, "20", "9000", "9000"),
        fall=_one(chance, "60", "900"),
        step=_one(chance, "0.01", "0.1", "0.3"),
        maintenance_ramp=chance.choice((None, HOUR, HOUR, 5 * HOUR)),
    )


# --- requirements


def _requirements(chance: Random, contracts: Contracts) -> dict[str, Requirement]:
    """Draw curves by symbol, by underlying or for all."""
    single = [contract for contract in contracts.values() if not isinstance(contract, Option)]
    by = chance.choice(("symbol", "symbol", "underlying", "all"))
    if by == "symbol":
        return {each.name: _requirement(chance, each) for each in single}
    drawn = {"*": _requirement(chance, single[0])}
    if by == "underlying":
        named = {each.underlying: each for each in single if each.underlying}
        drawn |= {name: _requirement(chance, each) for name, each in named.items()}
    return drawn


def _requirement(chance: Random, contract: Perpetual | Future) -> Requirement:
    scale = 10_000 if contract.inverse else 1
    rest: dict[str, Any] = {}
    share = _one(chance, "0.5", "0.75") if chance.random() < 0.25 else None
    if chance.random() < 0.4:
        rest = {
            "fixed": _one(chance, "0", "1.5") / scale,
            "step": _maybe(chance, "0.01", "7"),
            "open_interest": _open_interest(chance, scale),
        }
        rest["step"] = None if rest["step"] is None else rest["step"] / scale
    rest["maintenance_share"] = share
    if chance.random() < 0.35:
        brackets = tuple(_brackets(chance, Decimal(5_000_000), share is None, 1))
        return Requirement(brackets, **_growth(chance), **rest)
    measure: Literal["notional", "size"] = "size" if chance.random() < 0.35 else "notional"
    cap = _one(chance, "2000", "10000", "50000") / scale
    if measure == "size" and not contract.inverse:
        cap /= 5_000
    brackets = tuple(_brackets(chance, cap, share is None, chance.randint(1, 4)))
    return Requirement(brackets, marginal=chance.random() < 0.6, measure=measure, **rest)


def _growth(chance: Random) -> dict[str, Any]:
    """Draw a growth with size in base units."""
    grows = chance.choice(("slope", "scale", "root", "both"))
    drawn: dict[str, Any] = {}
    if grows in ("slope", "both"):
        drawn["slope"] = _one(chance, "0.001", "0.005")
    if grows == "scale":
        drawn = {"slope": Decimal(1), "slope_per": _one(chance, "300", "70000")}
    if grows in ("root", "both"):
        drawn["root_factor"] = _one(chance, "0.002", "0.02")
        drawn["root_blend"] = _one(chance, "0", "0.8", "1")
    return drawn


def _open_interest(chance: Random, scale: int) -> OpenInterest | None:
    lower = _one(chance, "100000", "1000000") / scale
    upper = lower * chance.choice((2, 7))
    return chance.choice((None, OpenInterest(lower, upper)))


def _brackets(chance: Random, cap: Decimal, maintenance: bool, count: int) -> Iterator[Bracket]:
    rate, initial = _one(chance, "0.004", "0.02", "0.05"), _one(chance, "0.1", "0.05")
    leverage = chance.random() < 0.3
    for _ in range(count):
        kept = rate if maintenance else None
        if leverage:
            yield Bracket(cap, maintenance_rate=kept, max_leverage=Decimal(int(1 / initial)))
        else:
            yield Bracket(cap, initial_rate=initial, maintenance_rate=kept)
        cap *= chance.choice((2, 5))
        rate = min(rate * chance.choice((1, 2)), Decimal("0.2"))
        initial = max(rate, min(initial * 2, Decimal(1)))


# --- portfolios


def _portfolios(chance: Random, contracts: Contracts) -> dict[str, Portfolio]:
    """Draw a portfolio rule for the underlying of options, sometimes where there are none."""
    options = [each for each in contracts.values() if isinstance(each, Option)]
    if not options and chance.random() < 0.85:
        return {}
    drawn = {"*" if chance.random() < 0.2 else "BTC": _portfolio(chance)}
    if chance.random() < 0.2:
        drawn[chance.choice(list(contracts))] = _portfolio(chance)
    return drawn


def _portfolio(chance: Random) -> Portfolio:
    return Portfolio(
        price_moves=chance.choice(
            (
                (Decimal("-0.15"), Decimal(0), Decimal("0.15")),
                (Decimal("-0.1"), Decimal("-0.05"), Decimal("0.12")),
            )
        ),
        volatility_moves=chance.choice(
            ((Decimal("-0.25"), Decimal(0), Decimal("0.5")), (Decimal("0.2"),))
        ),
        volatility=chance.choice(("relative", "absolute")),
        near_exponent=_one(chance, "0", "0.3"),
        far_exponent=_one(chance, "0", "0.13", "1"),
        extremes=chance.choice(
            (
                (),
                (Extreme(Decimal("0.6"), Decimal("0.3")), Extreme(Decimal("-0.5"), Decimal(1))),
                (Extreme(Decimal("0.4"), Decimal("0.5"), Decimal("0.3")),),
            )
        ),
        dampener=_one(chance, "0", "70"),
        short_option_minimum=_one(chance, "0", "0.05"),
        option_contingency=_one(chance, "0", "0.01"),
        future_contingency=_one(chance, "0", "0.006"),
        maintenance_factor=_one(chance, "1", "0.8"),
        initial_factor=_one(chance, "1", "1.3"),
    )
