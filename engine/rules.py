"""The rules in force: what is listed, the profile, and what is halted."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.instruments import Asset, Instrument, Listed, Option
from engine.lending_profile import Lending, PoolRule
from engine.money import ONE, ZERO
from engine.portfolio import Grid
from engine.profile import Portfolio, Profit, Requirement, RiskProfile, by_symbol, margin_rule
from engine.requirement import RequirementCurve
from engine.weights import weight

if TYPE_CHECKING:
    from engine.markets import Markets


class Rules:
    """What is listed, the profile in force with its curves, halts and settlements.

    `weighs_profit` tells whether unrealised profit counts for less than it is.
    """

    def __init__(self) -> None:
        self.profile: RiskProfile | None = None
        self.assets: dict[str, Asset] = {}
        self.derivatives: dict[str, Listed] = {}
        self.weighs_profit = False
        self._curves: dict[str, RequirementCurve] = {}
        self._portfolios: dict[str, Portfolio | None] = {}
        self._grids: dict[str, Grid] = {}
        self.halted: set[str] = set()
        self.halted_all = False
        self.tripped: set[str] = set()
        self.settled: set[str] = set()
        self.fund_sequence: int | None = None
        self.funding_sequences: dict[str, int] = {}

    @property
    def in_force(self) -> RiskProfile:
        """The profile; raises `LookupError` before there is one."""
        if self.profile is None:
            raise LookupError("no profile is in force")
        return self.profile

    def put_in_force(self, profile: RiskProfile) -> None:
        """Replace the profile and its curves."""
        self.profile = profile
        self.weighs_profit = profile.profit != Profit()
        self._curves, self._portfolios = {}, {}
        self._grids = {name: Grid(rule) for name, rule in profile.portfolios.items()}

    def list_instrument(self, instrument: Instrument) -> None:
        """Add or replace a definition."""
        if isinstance(instrument, Asset):
            self.assets[instrument.name] = instrument
        else:
            self.derivatives[instrument.name] = instrument
            self._curves.pop(instrument.name, None)
            self._portfolios.pop(instrument.name, None)

    def definition(self, name: str) -> Instrument | None:
        """Return what is listed under `name`, if anything."""
        return self.assets.get(name) or self.derivatives.get(name)

    @property
    def lending(self) -> Lending | None:
        """The rules of lending, none where nothing is lent."""
        return None if self.profile is None else self.profile.lending

    def pool(self, name: str) -> PoolRule:
        """Return the rule of a pool; raises `LookupError` if there is none of that name."""
        if self.lending is None or name not in self.lending.pools:
            raise LookupError(f"{name}: no pool in force")
        return self.lending.pools[name]

    def price_of(self, asset: str, markets: Markets) -> Decimal | None:
        """Return the price of an asset in the numeraire, if there is one."""
        if asset == self.in_force.numeraire:
            return ONE
        return markets.price(asset, "index")

    def settle_of(self, symbol: str) -> Asset:
        """Return the settlement asset of a derivative."""
        return self.assets[self.derivatives[symbol].settle]

    def margin_rule(self, symbol: str) -> Requirement | Portfolio | None:
        """Return the rule by which positions in a derivative are margined, if there is one."""
        listed = self.derivatives[symbol]
        option = isinstance(listed, Option)
        return margin_rule(self.in_force, symbol, listed.underlying, option=option)

    def portfolio_of(self, symbol: str) -> Portfolio | None:
        """Return the rule of the portfolio that a derivative belongs to, if it does to any."""
        if symbol not in self._portfolios:
            rule = self.margin_rule(symbol)
            self._portfolios[symbol] = rule if isinstance(rule, Portfolio) else None
        return self._portfolios[symbol]

    def grid_of(self, symbol: str) -> Grid | None:
        """Return the scenarios of the portfolio that a derivative belongs to, if it does to any."""
        if self.portfolio_of(symbol) is None:
            return None
        return by_symbol(self._grids, symbol, self.derivatives[symbol].underlying)

    def curve(self, symbol: str) -> RequirementCurve:
        """Return the requirement curve of a derivative; raises `LookupError` if it has none."""
        curve = self._curves.get(symbol)
        if curve is None:
            rule = self.margin_rule(symbol)
            if not isinstance(rule, Requirement):
                raise LookupError(f"{symbol}: no requirement in force")
            curve = self._curves[symbol] = RequirementCurve(rule)
        return curve

    def volatility_of(self, symbol: str) -> Decimal | None:
        """Return the calm volatility of a derivative's day, none where no factor follows it."""
        rule, listed = self.in_force.volatility, self.derivatives[symbol]
        if rule is None or self.portfolio_of(symbol) is not None:
            return None
        return by_symbol(rule.reference, symbol, listed.underlying)

    def closing_rate(self, symbol: str) -> Decimal:
        """Return what of the notional closing costs and is part of maintenance."""
        profile, rate = self.in_force, ZERO
        if profile.trigger.taker_fee:
            rate += self.derivatives[symbol].taker_fee
        if profile.trigger.liquidation_fee:
            rate += profile.liquidation.fee_rate
        return rate

    def weight(self, asset: str, net: Decimal) -> Decimal:
        """Return what a unit of `net` counts in margin equity."""
        return weight(self.in_force.collateral_of(asset), net)

    def halts(self, symbol: str) -> bool:
        """Tell whether orders in `symbol` are halted."""
        return self.halted_all or symbol in self.halted
