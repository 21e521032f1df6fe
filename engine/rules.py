"""The rules in force: what is listed, the profile, and what is halted."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal

from engine.instruments import Asset, Instrument, Listed
from engine.money import ONE, ZERO
from engine.profile import Bracket, Collateral, RiskProfile


class Curve:
    """A requirement by marginal brackets: rate·notional − amount, continuous in the notional.

    amount(k) = amount(k−1) + cap(k−1)·(rate(k) − rate(k−1)): the "cumulative amount" of Binance's
    tables.
    """

    __slots__ = ("amounts", "caps", "rates")

    def __init__(self, caps: list[Decimal], rates: list[Decimal]) -> None:
        self.caps = caps
        self.rates = rates
        self.amounts = [ZERO]
        for place in range(1, len(rates)):
            step = caps[place - 1] * (rates[place] - rates[place - 1])
            self.amounts.append(self.amounts[-1] + step)

    def bracket(self, notional: Decimal) -> int:
        """Return the place of the bracket that `notional` falls into, the lower one at a cap."""
        return min(bisect_left(self.caps, notional), len(self.rates) - 1)

    def requirement(self, notional: Decimal) -> Decimal:
        """Return the requirement of `notional`, both in the settlement asset."""
        place = self.bracket(notional)
        return self.rates[place] * notional - self.amounts[place]


def curves(brackets: tuple[Bracket, ...]) -> tuple[Curve, Curve]:
    """Return the maintenance and the initial curve of a symbol."""
    caps = [bracket.cap for bracket in brackets]
    return (
        Curve(caps, [bracket.maintenance_rate for bracket in brackets]),
        Curve(caps, [bracket.initial_rate for bracket in brackets]),
    )


class Rules:
    """What is listed, the profile in force with its curves, halts and settlements."""

    def __init__(self) -> None:
        self.profile: RiskProfile | None = None
        self.assets: dict[str, Asset] = {}
        self.derivatives: dict[str, Listed] = {}
        self.maintenance: dict[str, Curve] = {}
        self.initial: dict[str, Curve] = {}
        self.halted: set[str] = set()
        self.halted_all = False
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
        self.maintenance, self.initial = {}, {}
        for symbol, brackets in profile.brackets.items():
            self.maintenance[symbol], self.initial[symbol] = curves(brackets)

    def list_instrument(self, instrument: Instrument) -> None:
        """Add or replace a definition."""
        if isinstance(instrument, Asset):
            self.assets[instrument.name] = instrument
        else:
            self.derivatives[instrument.name] = instrument

    def definition(self, name: str) -> Instrument | None:
        """Return what is listed under `name`, if anything."""
        return self.assets.get(name) or self.derivatives.get(name)

    def settle_of(self, symbol: str) -> Asset:
        """Return the settlement asset of a derivative."""
        return self.assets[self.derivatives[symbol].settle]

    def weight(self, asset: str, net: Decimal) -> Decimal:
        """Return what a unit of `net` counts in margin equity."""
        rule: Collateral = self.in_force.collateral_of(asset)
        return ONE - rule.haircut if net > 0 else rule.borrow_weight

    def halts(self, symbol: str) -> bool:
        """Tell whether orders in `symbol` are halted."""
        return self.halted_all or symbol in self.halted
