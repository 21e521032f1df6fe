"""What is listed and which rules hold, as plain fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engine.instruments import Asset, Future, Option, Perpetual
from engine.profile import Portfolio, Requirement, RiskProfile
from tests.twin.amounts import decimals_of


@dataclass
class AssetTerms:
    """An asset; amounts in itself."""

    unit: Fraction
    largest: Fraction
    price_decimals: int

    @classmethod
    def of(cls, listed: Asset) -> AssetTerms:
        """Read a listed asset."""
        return cls(decimals_of(listed.decimals), Fraction(listed.largest), listed.price_decimals)


@dataclass
class OptionTerms:
    """What makes a derivative an option; `in_coin` when it is quoted in the underlying."""

    call: bool
    strike: Fraction
    expiry: int
    in_coin: bool


@dataclass
class ContractTerms:
    """A derivative; `funding` is the party that computes it, nobody but for a perpetual."""

    settle: str
    underlying: str
    inverse: bool
    multiplier: Fraction
    fee: Fraction
    tick: Fraction
    lot: Fraction
    size_unit: Fraction
    price_decimals: int
    largest: Fraction
    funding: str
    option: OptionTerms | None

    @classmethod
    def of(cls, listed: Perpetual | Future | Option) -> ContractTerms:
        """Read a listed derivative."""
        in_coin = listed.style == "inverse"
        option = None
        if isinstance(listed, Option):
            strike = Fraction(listed.strike)
            option = OptionTerms(listed.kind == "call", strike, listed.expiry, in_coin)
        return cls(
            settle=listed.settle,
            underlying=listed.underlying,
            inverse=in_coin and option is None,
            multiplier=Fraction(listed.multiplier),
            fee=Fraction(listed.taker_fee),
            tick=Fraction(listed.tick),
            lot=Fraction(listed.lot),
            size_unit=decimals_of(listed.size_decimals),
            price_decimals=listed.price_decimals,
            largest=Fraction(listed.largest_size),
            funding=listed.funding if isinstance(listed, Perpetual) else "",
            option=option,
        )


@dataclass
class Policy:
    """A risk profile, and what it says of one instrument."""

    source: RiskProfile

    def counts(self, symbol: str, kind: str, source: str) -> bool:
        """Tell whether the prices of `source` are the ones that count."""
        prices = self.source.prices
        return source == (prices.symbols.get(symbol) or getattr(prices, kind))

    def rule_of(self, symbol: str, terms: ContractTerms) -> Requirement | Portfolio | None:
        """Return the rule of margin of an instrument: the first that is found, name by name."""
        for name in names_of(symbol, terms):
            if name in self.source.portfolios:
                return self.source.portfolios[name]
            if name in self.source.requirements and terms.option is None:
                return self.source.requirements[name]
        return None

    def reference(self, symbol: str, terms: ContractTerms) -> Fraction | None:
        """Return the daily volatility at which the factor of an instrument is 1."""
        if self.source.volatility is None or isinstance(self.rule_of(symbol, terms), Portfolio):
            return None
        found = named(self.source.volatility.reference, symbol, terms)
        return None if found is None else Fraction(found)


def names_of(symbol: str, terms: ContractTerms) -> list[str]:
    """Return the names under which a table by symbol may speak of an instrument."""
    return [symbol, *([terms.underlying] if terms.underlying else []), "*"]


def named(table: Mapping[str, Any], symbol: str, terms: ContractTerms) -> Any:
    """Return what a table by symbol says of an instrument, none where it says nothing."""
    return next((table[name] for name in names_of(symbol, terms) if name in table), None)
