"""A profile fitted to a listing that it was not written for, and what it asks at an opening."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from msgspec import structs

from consumers.profiles import NoSuchProfile
from consumers.rules import Rules
from engine import rules as engine_rules
from engine.decisions import MarkUsed
from engine.holdings import Holdings, Leg
from engine.instruments import Listed
from engine.margin import level
from engine.markets import Markets
from engine.money import ONE, ZERO, exact, floor_to
from engine.profile import Bracket, Collateral, Requirement, RiskProfile, margin_rule
from engine.requirement import Exposure, initial_rate
from engine.weights import weight

T = TypeVar("T")

CENT = Decimal("0.01")
PORTFOLIO_SAMPLE = Decimal(1_000_000)
"""Notional by which a portfolio's rate is taken; a single leg's is the same for all sizes."""


class NotFitting(NoSuchProfile):
    """A profile has nothing to say of what is listed."""


def fitted(profile: RiskProfile, venue: Rules) -> RiskProfile:
    """Return `profile` for what `venue` lists.

    Its numeraire is called as the venue's, its collateral is what both know, tables by symbol keep
    what is listed, and nothing is lent. Orders live and wait as the venue's own profile says: that
    is about its market, not about risk. Raises `NotFitting` where an instrument has no rule of
    margin.
    """
    own = venue.profile
    for item in venue.derivatives:
        if margin_rule(profile, item.name, item.underlying, option=False) is None:
            raise NotFitting(f'profile "{profile.name}": no rule of margin for {item.name}')
    listed = {asset.name for asset in venue.assets} - {own.numeraire}
    known = [name for name in profile.collateral if name in listed and name != profile.numeraire]
    collateral = {own.numeraire: profile.collateral_of(profile.numeraire)}
    collateral |= {name: profile.collateral_of(name) for name in known}
    return structs.replace(
        profile,
        numeraire=own.numeraire,
        collateral=collateral,
        conversion=tuple(
            own.numeraire if name == profile.numeraire else name
            for name in profile.conversion
            if name == profile.numeraire or name in known
        ),
        requirements=_kept(profile.requirements, venue.derivatives),
        portfolios=_kept(profile.portfolios, venue.derivatives),
        lending=None,
        liquidation=structs.replace(
            profile.liquidation,
            order_ttl=own.liquidation.order_ttl,
            ack_timeout=own.liquidation.ack_timeout,
            gap_timeout=own.liquidation.gap_timeout,
        ),
        prices=own.prices,
    )


def _kept(table: Mapping[str, T], listed: Sequence[Listed]) -> dict[str, T]:
    names = {"*", *(item.name for item in listed), *(item.underlying for item in listed)}
    return {name: rule for name, rule in table.items() if name in names}


class Terms:
    """What a venue's rules ask at an opening, in floats near enough to size accounts by.

    `prices` are marks, in the numeraire. A factor for volatility counts as if it were at its cap:
    it gets there within hours.
    """

    def __init__(self, venue: Rules, prices: Mapping[str, float]) -> None:
        self.profile = venue.profile
        self._prices = prices
        self._rules = engine_rules.Rules()
        self._rules.put_in_force(venue.profile)
        for instrument in venue.assets + venue.derivatives:
            self._rules.list_instrument(instrument)
        self._rates: dict[str, float] = {}

    def accepts(self, asset: str) -> bool:
        """Tell whether an asset is worth anything as collateral."""
        return self.profile.collateral_of(asset).haircut < 1

    @exact
    def haircut(self, asset: str, value: float) -> float:
        """Return the haircut at an opening of an amount that is worth `value`."""
        rule = self.profile.collateral_of(asset)
        if rule == Collateral(haircut=rule.haircut):
            return float(rule.haircut)
        price = next(
            self._prices[item.name]
            for item in self._rules.derivatives.values()
            if item.underlying == asset
        )
        amount = _decimal(value / price)
        return float(ONE - weight(rule, amount, "initial"))

    @property
    def fixed(self) -> float:
        """The most that any leg needs whatever its size."""
        rules = self.profile.requirements.values()
        return float(max((rule.fixed for rule in rules), default=ZERO))

    @exact
    def initial(self, symbol: str, notional: float) -> float:
        """Return the initial requirement of a leg."""
        if self._rules.portfolio_of(symbol) is not None:
            return self._portfolio_rate(symbol) * notional
        curve = self._rules.curve(symbol)
        factor = ONE
        if self.profile.volatility is not None and self._rules.volatility_of(symbol) is not None:
            factor = self.profile.volatility.cap
        if factor == ONE and _by_brackets(curve.rule):
            return initial_margin(notional, curve.rule.brackets)
        price = self._prices[symbol]
        at = Exposure(_decimal(notional / price), _decimal(notional), _decimal(price))
        return float(curve.initial(at, factor=factor))

    def _portfolio_rate(self, symbol: str) -> float:
        """Return what a unit of notional needs, long or short, whichever needs more."""
        if symbol not in self._rates:
            listed = self._rules.derivatives[symbol]
            price = floor_to(_decimal(self._prices[symbol]), listed.price_unit)
            size = floor_to(PORTFOLIO_SAMPLE, listed.lot, price)
            needs = [self._needs(symbol, side, price) for side in (size, -size)]
            self._rates[symbol] = float(max(needs)) / float(size * price)
        return self._rates[symbol]

    def _needs(self, symbol: str, size: Decimal, price: Decimal) -> Decimal:
        held = Holdings(cash={}, legs={symbol: Leg(size, size * price)})
        markets = Markets()
        markets.prices[symbol, "mark"] = MarkUsed(symbol, "mark", price, "", 0)
        found = level(held, self._rules, markets, "initial")
        assert found is not None
        return found.requirement


def _by_brackets(rule: Requirement) -> bool:
    """Tell whether marginal brackets of notional are all that a requirement is."""
    grows = rule.slope or rule.root_factor or rule.fixed or rule.step is not None
    return rule.marginal and rule.measure == "notional" and not grows


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.8f}")


def initial_margin(notional: float, brackets: Sequence[Bracket]) -> float:
    """Return the initial margin of a leg by marginal brackets, near enough to size accounts by."""
    needed, floor = 0.0, 0.0
    for bracket in brackets[:-1]:
        cap = float(bracket.cap)
        if notional <= cap:
            return needed + (notional - floor) * float(initial_rate(bracket))
        needed += (cap - floor) * float(initial_rate(bracket))
        floor = cap
    return needed + (notional - floor) * float(initial_rate(brackets[-1]))
