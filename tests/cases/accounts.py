"""Accounts as cases describe them, as the engine's functions take them.

Everything is in one asset at the finest resolution, so that what is rounded is rounded by the rule
of the case and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from engine.decisions import MarkUsed
from engine.holdings import Holdings, Leg
from engine.instruments import Asset, Perpetual
from engine.margin import Health, Level, fill_cost, health, level
from engine.markets import Markets
from engine.money import ONE, ZERO
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from engine.rules import Rules

USD = "USD"
FINEST = 18
PRICE_DECIMALS = 12
LARGEST = Decimal("1e6")


class NotExpressible(Exception):
    """The engine has no rule for what a case describes; the message says which."""


class Inputs(dict[str, Any]):
    """The keys of a case; one that is missing makes it not expressible."""

    def __missing__(self, key: str) -> Any:
        raise NotExpressible(f"no {key} among the inputs")


class Position(NamedTuple):
    """One leg: its rule, and its cost, as itself or as the price of entry (neither: all of it is
    in the balance), in the asset it settles in."""

    symbol: str
    size: Decimal
    mark: Decimal
    rule: Requirement
    entry: Decimal | None = None
    cost: Decimal = ZERO
    taker_fee: Decimal = ZERO
    settle: str = USD


class Account(NamedTuple):
    """A margin group with the rules and markets it is in."""

    holdings: Holdings
    rules: Rules
    markets: Markets

    @property
    def health(self) -> Health:
        """Its health in the context of maintenance."""
        found = health(*self)
        assert found is not None
        return found

    @property
    def entry(self) -> Level:
        """Where it stands in the context of entry."""
        found = level(*self, "entry")
        assert found is not None
        return found


def number(value: Any) -> Decimal:
    """Return a number of a case, which JSON has as itself or as text."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def complement(weight: Decimal) -> Decimal:
    """Return the haircut that leaves `weight`: a profile has the one, venues name the other."""
    return ONE - weight


def flat(
    initial: Decimal | None = None, maintenance: Decimal | None = None, **more: Any
) -> Requirement:
    """Return a requirement by one bracket."""
    bracket = Bracket(ONE, initial_rate=initial or ZERO, maintenance_rate=maintenance or ZERO)
    return Requirement((bracket,), **more)


def account(
    cash: Mapping[str, Decimal],
    positions: Iterable[Position],
    *,
    prices: Mapping[str, Decimal] | None = None,
    interest: Decimal | None = None,
    orders: Mapping[str, tuple[Decimal, Decimal]] | None = None,
    decimals: int = FINEST,
    **policies: Any,
) -> Account:
    """Return an account under a profile with the given policies.

    `prices` are index prices by asset, `interest` the open interest of every symbol, and `decimals`
    those of the settlement asset.
    """
    positions = list(positions)
    policies.setdefault("collateral", {asset: Collateral() for asset in [USD, *cash]})
    requirements = {one.symbol: one.rule for one in positions}
    rules, markets = Rules(), Markets()
    rules.put_in_force(RiskProfile("case", USD, requirements, conversion=(USD,), **policies))
    for asset in [USD, *cash, *(prices or {})]:
        rules.list_instrument(Asset(asset, decimals if asset == USD else FINEST, LARGEST))
    for asset, price in (prices or {}).items():
        markets.prices[asset, "index"] = MarkUsed(asset, "index", price, "case", 0)
    legs = {}
    for one in positions:
        listed = _perpetual(one)
        rules.list_instrument(listed)
        cost = one.cost
        if one.entry is not None:
            cost = fill_cost(listed, one.size, one.entry, rules.assets[one.settle].unit)
        legs[one.symbol] = Leg(one.size, cost)
        markets.prices[one.symbol, "mark"] = MarkUsed(one.symbol, "mark", one.mark, "case", 0)
        if interest is not None:
            markets.interest[one.symbol] = (interest, interest)
    return Account(Holdings(cash, legs, orders or {}), rules, markets)


def _perpetual(one: Position) -> Perpetual:
    finest = Decimal(1).scaleb(-PRICE_DECIMALS)
    return Perpetual(
        name=one.symbol,
        settle=one.settle,
        size_decimals=FINEST,
        price_decimals=PRICE_DECIMALS,
        tick=finest,
        lot=Decimal(1).scaleb(-FINEST),
        largest_size=LARGEST,
        taker_fee=one.taker_fee,
    )
