"""Random rules of a lending market: every policy in a good share of histories that lend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Literal

from engine.auction import Decay, InFlight, KeeperPay, Reset
from engine.interest import YEAR, Accrual, Ramp, RateCurve
from engine.lending import (
    CloseFactor,
    FullRepayment,
    Recognition,
    TargetHealth,
    TargetLoanToValue,
    WholeAccount,
)
from engine.lending_profile import (
    BadDebtRule,
    Bonus,
    Category,
    Dust,
    DutchAuction,
    Isolation,
    Layer,
    Lending,
    PoolRule,
    Repayment,
    Terms,
)
from engine.profile import DAY, HOUR, SECOND
from engine.seizure import FixedBonus, HealthBonus, HealthDiscount, ThresholdBonus

Style = Literal["seizures", "whole_account", "auctions"]

CUT = Decimal("0.97")
LATER = 1_600_000_000_000_000
"""When histories begin, which ramps run from."""


@dataclass
class Market:
    """What of a lending market stays while its rules change: pools by name with their asset, what
    their assets are worth, how it liquidates, and for which markets there are categories."""

    pools: dict[str, str]
    prices: dict[str, float]
    style: Style
    auction: DutchAuction | None
    categories: tuple[str, ...]

    def worth(self, pool: str, value: str) -> Decimal:
        """Return about how much of a pool's asset is worth `value`, in two digits."""
        amount = float(value) / self.prices.get(self.pools[pool], 1.0)
        return Decimal(f"{amount:.1e}").quantize(Decimal("0.01"))

    def lends(self, pool: str) -> bool:
        """Tell whether a pool may be borrowed of."""
        money = self.pools[pool] == "USDT"
        return {"seizures": True, "auctions": money, "whole_account": pool == self.base}[self.style]

    def backs(self, pool: str) -> bool:
        """Tell whether a supply may be collateral: no lot on auction may be lent."""
        return self.style != "auctions" or not self.lends(pool)

    @property
    def base(self) -> str:
        """The pool that is the only one to be borrowed of where whole accounts are taken."""
        return next(name for name, asset in self.pools.items() if asset == "USDT")


def _one(chance: Random, *values: str) -> Decimal:
    return Decimal(chance.choice(values))


def _maybe(chance: Random, *values: str) -> Decimal | None:
    return _one(chance, *values) if chance.random() < 0.3 else None


def draw_market(
    chance: Random, assets: list[str], prices: dict[str, float], derivatives: list[str]
) -> Market:
    """Draw pools over the assets, and how loans are liquidated."""
    pools = {}
    for asset in assets:
        if asset in ("USDT", "BTC") or chance.random() < 0.7:
            pools[asset if chance.random() < 0.6 else f"{asset}-main"] = asset
    if chance.random() < 0.35:
        pools["USDT-core"] = "USDT"
    style: Style = chance.choice(("seizures",) * 7 + ("whole_account",) + ("auctions",) * 3)
    markets = [*chance.sample(sorted(pools), 2), chance.choice(derivatives)]
    categories = ("stable", *markets) if chance.random() < 0.7 else ()
    auction = _auction(chance) if style == "auctions" else None
    return Market(pools, prices, style, auction, categories)


def draw_lending(chance: Random, market: Market) -> Lending:
    """Draw the rules for the pools of a market."""
    pools = {name: _pool(chance, market, name) for name in market.pools}
    if not any(pool.borrowable_in_isolation for pool in pools.values()):
        pools = {name: _without_isolation(pool) for name, pool in pools.items()}
    categories = {name: _category(chance, market) for name in market.categories}
    dusty = market.style == "seizures" and chance.random() < 0.4
    return Lending(
        pools=pools,
        categories=categories,
        repay=_repay(chance, market, [*_terms_of(pools, categories)]),
        dust=_dust(chance) if dusty else None,
        debt_first=chance.choice(("largest", "smallest")),
        collateral_first=chance.choice(("largest", "lowest_threshold")),
        rounded_in=chance.choice((None, None, "debt", "collateral")),
        quoted=chance.choice((None, None, "down", "up", "nearest")),
        value_step=_maybe(chance, "0.01", "1", "25"),
        bad_debt=_bad_debt(chance),
        auction=market.auction,
    )


def _terms_of(pools: dict[str, PoolRule], categories: dict[str, Category]) -> Iterator[Terms]:
    for pool in pools.values():
        if pool.collateral is not None:
            yield pool.collateral
    for category in categories.values():
        yield from category.collateral.values()


# --- pools


def _pool(chance: Random, market: Market, name: str) -> PoolRule:
    accrued: dict[str, Any] = {"accrued_by": "venue", "reserve_factor": _factor(chance)}
    if chance.random() < 0.8:
        accrued = _accrued(chance)
    backing = market.backs(name) and (not market.lends(name) or chance.random() < 0.85)
    isolated = backing and market.style == "seizures" and chance.random() < 0.15
    return PoolRule(
        asset=market.pools[name],
        borrowable=market.lends(name),
        utilization=chance.choice(("cash", "cash", "supplied")),
        collateral=_terms(chance, market) if backing else None,
        isolation=Isolation(_one(chance, "100", "900")) if isolated else None,
        borrowable_in_isolation=chance.random() < 0.5,
        supply_cap=_cap(chance, market, name),
        borrow_cap=_cap(chance, market, name),
        least_debt=market.worth(name, chance.choice(("0", "0", "20", "90"))),
        owed=chance.choice(("up", "up", "down", "nearest")),
        **accrued,
    )


def _cap(chance: Random, market: Market, name: str) -> Decimal | None:
    return market.worth(name, chance.choice(("300", "3000"))) if chance.random() < 0.2 else None


def _without_isolation(pool: PoolRule) -> PoolRule:
    fields = {name: getattr(pool, name) for name in PoolRule.__struct_fields__}
    return PoolRule(**{**fields, "isolation": None})


def _factor(chance: Random) -> Decimal:
    return _one(chance, "0", "0.1", "0.35", "1")


def _accrued(chance: Random) -> dict[str, Any]:
    """Draw who earns what, and how indices grow."""
    period = chance.choice((YEAR, HOUR, SECOND))
    drawn: dict[str, Any] = {"rates": _curve(chance, period), "accrual": _accrual(chance, period)}
    earns = chance.choice(("interest", "index", "curve", "curve and index"))
    if earns in ("interest", "index"):
        drawn["reserve_factor"] = _factor(chance)
    if earns == "index":
        drawn["supply_accrual"] = _accrual(chance, period)
    if earns == "curve and index":
        period = chance.choice((YEAR, HOUR))
        drawn["supply_accrual"] = _accrual(chance, period)
    if earns in ("curve", "curve and index"):
        drawn["supply_rates"] = _curve(chance, period)
    return drawn


def _curve(chance: Random, period: int) -> RateCurve:
    """Draw rates that matter within a silence of hours."""
    scale = {YEAR: Decimal(1), HOUR: Decimal("0.0001"), SECOND: Decimal("0.00000003")}[period]
    return RateCurve(
        base=_one(chance, "0", "0", "0.5") * scale,
        kink=_one(chance, "0.5", "0.8", "1"),
        slope_low=_one(chance, "0", "1", "8") * scale,
        slope_high=_one(chance, "0", "20", "90") * scale,
        whole_slopes=chance.random() < 0.5,
        step=_one(chance, "1e-18", "1e-18", "1e-9", "1e-27"),
        rounding=chance.choice(("down", "up", "nearest")),
    )


def _accrual(chance: Random, period: int) -> Accrual:
    return Accrual(
        method=chance.choice(("linear", "compound", "taylor", "taylor_nested")),
        period=period,
        growth_step=_one(chance, "1e-27", "1e-18"),
        index_step=_one(chance, "1e-27", "1e-18", "1e-8"),
        rounding=chance.choice(("down", "down", "up", "nearest")),
    )


# --- terms


def _category(chance: Random, market: Market) -> Category:
    backing = [name for name in market.pools if market.backs(name)]
    named = chance.sample(backing, chance.randint(1, len(backing)))
    lending = [name for name in market.pools if market.lends(name)]
    only = chance.sample(lending, 1) if chance.random() < 0.4 else []
    return Category({name: _terms(chance, market) for name in named}, tuple(only))


def _terms(chance: Random, market: Market) -> Terms:
    """Draw terms by which no liquidation at the threshold lowers health."""
    bonus: Bonus = FixedBonus(_one(chance, "0", "0.05", "0.1"))
    if market.style != "auctions":
        bonus = chance.choice((bonus, _by_health(chance), _by_threshold(chance), _discount(chance)))
    threshold = _one(chance, "0.5", "0.75", "0.86", "0.9")
    ramp = None
    if chance.random() < 0.2:
        until = LATER + chance.choice((10 * SECOND, HOUR, 2 * DAY))
        start = threshold + Decimal("0.009")
        ramp = Ramp(start, until, chance.choice((5 * SECOND, HOUR, 3 * DAY)))
    fee = _one(chance, "0", "0.1", "1") if market.style != "auctions" else Decimal(0)
    opening = threshold - _one(chance, "0", "0.05", "0.1")
    return Terms(opening, threshold, bonus, fee, ramp, _maybe(chance, "300", "9000"))


def _by_health(chance: Random) -> HealthBonus:
    return HealthBonus(
        most=_one(chance, "0.05", "0.1", "0.2"),
        least_share=_one(chance, "0", "0.4", "0.5"),
        most_at=_one(chance, "0", "0.9", "0.97"),
        step=_one(chance, "1e-18", "1e-4"),
    )


def _by_threshold(chance: Random) -> ThresholdBonus:
    return ThresholdBonus(cursor=_one(chance, "0.3", "0.1"), most=_one(chance, "0.15", "0.02"))


def _discount(chance: Random) -> HealthDiscount:
    rounding: Literal["down", "up", "nearest"] = chance.choice(("down", "up", "nearest"))
    step = _one(chance, "1e-18", "1e-4")
    return HealthDiscount(most=_one(chance, "0.05", "0.15"), step=step, rounding=rounding)


# --- liquidations


def _repay(chance: Random, market: Market, terms: list[Terms]) -> Repayment:
    if market.style == "whole_account":
        return WholeAccount()
    if market.style == "auctions":
        return FullRepayment()
    lowest = min((one.liquidation_threshold for one in terms), default=Decimal(1))
    target = min(_one(chance, "0", "0.3", "0.7"), lowest)
    return chance.choice(
        (
            CloseFactor(
                share=_one(chance, "0.25", "0.5", "1"),
                of_account=chance.random() < 0.4,
                full_at=_one(chance, "0", "0.9", "0.97"),
                full_below=_one(chance, "0", "40", "200"),
            ),
            TargetHealth(_one(chance, "1.32", "1.5", "3")),
            TargetLoanToValue(target, full_above=_one(chance, "0.5", "0.9", "1")),
            FullRepayment(),
        )
    )


def _dust(chance: Random) -> Dust:
    return Dust(_one(chance, "15", "60", "250"), chance.choice(("all", "leave")))


def _bad_debt(chance: Random) -> BadDebtRule:
    layers: list[Layer] = ["fund", "reserve", "lenders"]
    charge = tuple(chance.sample(layers, chance.choice((0, 1, 1, 2, 2, 3))))
    policies: tuple[Recognition, ...] = ("no_collateral", "no_value", "insolvent")
    recognise = chance.choice(policies)
    return BadDebtRule(recognise=recognise, charge=charge)


def _auction(chance: Random) -> DutchAuction:
    shape = chance.choice(("linear", "stair_step", "exponential"))
    if shape == "linear":
        decay = Decay("linear", duration=chance.choice((20, 60)) * SECOND)
    elif shape == "stair_step":
        decay = Decay(
            "stair_step", interval=chance.choice((300_000, 2_000_000)), cut=Decimal("0.97")
        )
    else:
        decay = Decay("exponential", cut=_one(chance, "0.99", "0.95"), step=Decimal("1e-18"))
    limit = _one(chance, "80", "400", "2000")
    flights = (None, InFlight(limit, limit / chance.choice((1, 2))))
    return DutchAuction(
        decay=decay,
        reset=Reset(chance.choice((2, 8, 20)) * SECOND, _one(chance, "0.4", "0.8", "0.95")),
        start_factor=_one(chance, "1", "1.2", "0.9"),
        pay=KeeperPay(_one(chance, "0", "1"), _one(chance, "0", "0.02")),
        in_flight=chance.choice(flights),
        # Without a last one, a silence of a day would be told in tens of thousands of resets.
        most_resets=chance.choice((0, 1, 3, 20, 20)),
    )
