"""What is listed and which rules hold, as plain fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from engine.instruments import Asset, Future, Perpetual
from engine.profile import Bracket, RiskProfile
from tests.twin.amounts import ONE, ZERO, decimals_of


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
class ContractTerms:
    """A perpetual or a future; `funding` is the party that computes it, nobody for a future."""

    settle: str
    inverse: bool
    multiplier: Fraction
    fee: Fraction
    tick: Fraction
    size_unit: Fraction
    price_decimals: int
    largest: Fraction
    funding: str

    @classmethod
    def of(cls, listed: Perpetual | Future) -> ContractTerms:
        """Read a listed derivative."""
        return cls(
            settle=listed.settle,
            inverse=listed.style == "inverse",
            multiplier=Fraction(listed.multiplier),
            fee=Fraction(listed.taker_fee),
            tick=Fraction(listed.tick),
            size_unit=decimals_of(listed.size_decimals),
            price_decimals=listed.price_decimals,
            largest=Fraction(listed.largest_size),
            funding=listed.funding if isinstance(listed, Perpetual) else "",
        )


@dataclass
class CollateralTerms:
    """How an asset counts: owned, owed, and from which debt on it is converted."""

    owned: Fraction
    owed: Fraction
    convert_below: Fraction | None


@dataclass
class Policy:
    """A risk profile."""

    source: RiskProfile
    brackets: dict[str, list[tuple[Fraction, Fraction]]]
    collateral: dict[str, CollateralTerms]
    buffer: Fraction
    call_at: Fraction
    call_reset: Fraction
    slippage: Fraction
    fee_rate: Fraction

    @classmethod
    def of(cls, profile: RiskProfile) -> Policy:
        """Read a profile."""
        return cls(
            source=profile,
            brackets={name: _curve(curve) for name, curve in profile.brackets.items()},
            collateral={
                name: CollateralTerms(
                    owned=ONE - Fraction(rule.haircut),
                    owed=Fraction(rule.borrow_weight),
                    convert_below=(
                        None
                        if rule.auto_convert_below is None
                        else Fraction(rule.auto_convert_below)
                    ),
                )
                for name, rule in profile.collateral.items()
            },
            buffer=Fraction(profile.trigger.stop_buffer),
            call_at=Fraction(profile.margin_call.at),
            call_reset=Fraction(profile.margin_call.reset),
            slippage=Fraction(profile.liquidation.max_slippage),
            fee_rate=Fraction(profile.liquidation.fee_rate),
        )

    def weight(self, asset: str, net: Fraction) -> Fraction:
        """Return how much of `net` counts in margin equity."""
        rule = self.collateral.get(asset, CollateralTerms(ZERO, ONE, None))
        return rule.owned if net > 0 else rule.owed

    def counts(self, symbol: str, kind: str, source: str) -> bool:
        """Tell whether the prices of `source` are the ones that count."""
        prices = self.source.prices
        return source == (prices.symbols.get(symbol) or getattr(prices, kind))


def _curve(brackets: tuple[Bracket, ...]) -> list[tuple[Fraction, Fraction]]:
    return [(Fraction(b.cap), Fraction(b.maintenance_rate)) for b in brackets]


def faulty(profile: RiskProfile) -> bool:
    """Tell whether a profile contradicts itself."""
    call, rule, trigger = profile.margin_call, profile.liquidation, profile.trigger
    sound = (
        profile.numeraire in profile.collateral
        and all(_sound_curve(curve) for curve in profile.brackets.values())
        and all(_sound_collateral(profile, asset) for asset in profile.collateral)
        and all(asset in profile.collateral for asset in profile.conversion)
        and len(set(profile.conversion)) == len(profile.conversion)
        and 0 <= trigger.stop_buffer < 10
        and not (trigger.at_equality and trigger.stop_buffer == 0)
        and 0 <= call.reset < call.at < 1
        and all(
            1000 <= wait <= 3_600_000_000
            for wait in (rule.order_ttl, rule.ack_timeout, rule.gap_timeout)
        )
        and 0 <= rule.max_slippage < 1
        and 0 <= rule.fee_rate < 1
    )
    return not sound


def _sound_curve(curve: tuple[Bracket, ...]) -> bool:
    rates = all(b.cap > 0 and 0 < b.maintenance_rate <= b.initial_rate <= 1 for b in curve)
    grows = all(
        low.cap < high.cap
        and low.maintenance_rate <= high.maintenance_rate
        and low.initial_rate <= high.initial_rate
        for low, high in pairwise(curve)
    )
    return bool(curve) and rates and grows and all(b.maintenance_rate < 1 for b in curve)


def _sound_collateral(profile: RiskProfile, asset: str) -> bool:
    rule = profile.collateral[asset]
    plain = rule.haircut == 1 or asset in profile.conversion
    if asset == profile.numeraire:
        plain = plain and rule.haircut == 0 and rule.borrow_weight == 1
    below = rule.auto_convert_below
    return (
        plain
        and 0 <= rule.haircut <= 1
        and 1 <= rule.borrow_weight < 100
        and (below is None or below >= 0)
    )
