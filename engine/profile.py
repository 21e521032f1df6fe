"""A venue's rules as data: one tree, read from TOML, sent as one event, kept in state.

Rates are fractions of notional, amounts are in the settlement asset of their symbol, times in
microseconds. A profile never refers to code; two venues differ in their files only.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import msgspec

from engine.money import ZERO

SECOND = 1_000_000


class Bracket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates for the part of a notional up to `cap`; the last bracket goes on without end.

    Requirements are marginal (Binance's form): rate·notional − amount, where amount of bracket k is
    amount(k−1) + floor(k)·(rate(k) − rate(k−1)), so that the curve is continuous.
    """

    cap: Decimal
    maintenance_rate: Decimal
    initial_rate: Decimal


class Collateral(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one asset counts in margin equity: owned at 1 − haircut, owed at borrow_weight.

    A cross balance below −`auto_convert_below` (in the asset) is converted without a breach.
    """

    haircut: Decimal = ZERO
    borrow_weight: Decimal = Decimal(1)
    auto_convert_below: Decimal | None = None


NO_COLLATERAL = Collateral(haircut=Decimal(1))
"""An asset that the profile does not name is worth nothing while owned and counts in full when
owed."""


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When liquidation starts and stops.

    Starts when margin equity < maintenance (<= with `at_equality`); stops when margin equity >=
    maintenance · (1 + stop_buffer).
    """

    at_equality: bool = False
    stop_buffer: Decimal = Decimal("0.1")


class MarginCallRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds on maintenance ÷ margin equity: a call goes out at `at`, and may again below
    `reset`."""

    at: Decimal = Decimal("0.8")
    reset: Decimal = Decimal("0.7")


class LiquidationRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Orders: life, waits, slippage beyond the mark in stage backstop, and the liquidation fee."""

    order_ttl: int = 5 * SECOND
    ack_timeout: int = 5 * SECOND
    gap_timeout: int = 5 * SECOND
    max_slippage: Decimal = Decimal("0.05")
    fee_rate: Decimal = ZERO


class PriceSources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one source that counts for a kind of price, unless `symbols` names another for a
    symbol."""

    mark: str = "venue"
    index: str = "venue"
    last: str = "venue"
    symbols: dict[str, str] = {}


class RiskProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of a venue's rules.

    `numeraire` is the asset in which health is counted; `conversion` the order in which collateral
    is sold; `brackets` the requirement curve of each symbol.
    """

    name: str
    numeraire: str
    brackets: dict[str, tuple[Bracket, ...]]
    collateral: dict[str, Collateral] = {}
    conversion: tuple[str, ...] = ()
    trigger: Trigger = Trigger()
    margin_call: MarginCallRule = MarginCallRule()
    liquidation: LiquidationRule = LiquidationRule()
    prices: PriceSources = PriceSources()

    def collateral_of(self, asset: str) -> Collateral:
        """Return the rule of `asset`."""
        return self.collateral.get(asset, NO_COLLATERAL)

    def source_of(self, symbol: str, kind: str) -> str:
        """Return the source whose prices of this kind count for `symbol`."""
        source: str = self.prices.symbols.get(symbol) or getattr(self.prices, kind)
        return source


def faults(profile: RiskProfile) -> list[str]:
    """Return every fault of a profile, in words; none when it may be put in force."""
    found: list[str] = []
    for symbol in sorted(profile.brackets):
        found += [
            f"brackets {symbol}: {fault}" for fault in _bracket_faults(profile.brackets[symbol])
        ]
    if profile.numeraire not in profile.collateral:
        found.append(f"collateral: numeraire {profile.numeraire} has no entry")
    for asset in sorted(profile.collateral):
        found += [f"collateral {asset}: {fault}" for fault in _collateral_faults(profile, asset)]
    for asset in profile.conversion:
        if asset not in profile.collateral:
            found.append(f"conversion {asset}: not a collateral")
    if len(set(profile.conversion)) != len(profile.conversion):
        found.append("conversion: names an asset twice")
    trigger, call, rule = profile.trigger, profile.margin_call, profile.liquidation
    if not _within(trigger.stop_buffer, 0, 10):
        found.append(f"trigger: stop_buffer {trigger.stop_buffer} not in [0, 10)")
    elif trigger.at_equality and trigger.stop_buffer == 0:
        found.append(
            "trigger: at_equality needs a stop_buffer above 0, or a stop is at once a start"
        )
    if not _within(call.at, 0, 1) or not _within(call.reset, 0, 1) or call.reset >= call.at:
        found.append(f"margin_call: needs 0 <= reset < at < 1, has {call.reset} and {call.at}")
    for field in ("order_ttl", "ack_timeout", "gap_timeout"):
        if not SECOND // 1000 <= getattr(rule, field) <= 3600 * SECOND:
            found.append(
                f"liquidation: {field} {getattr(rule, field)} µs not in a millisecond to an hour"
            )
    for field in ("max_slippage", "fee_rate"):
        if not _within(getattr(rule, field), 0, 1):
            found.append(f"liquidation: {field} {getattr(rule, field)} not in [0, 1)")
    return found


def _within(value: Decimal, low: int, high: int) -> bool:
    return value.is_finite() and low <= value < high


def _bracket_faults(brackets: tuple[Bracket, ...]) -> list[str]:
    if not brackets:
        return ["none given"]
    found: list[str] = []
    for place, bracket in enumerate(brackets, start=1):
        if not bracket.cap.is_finite() or bracket.cap <= 0:
            found.append(f"bracket {place}: cap {bracket.cap} not positive")
        if not (_within(bracket.maintenance_rate, 0, 1) and bracket.maintenance_rate > 0):
            found.append(
                f"bracket {place}: maintenance_rate {bracket.maintenance_rate} not in (0, 1)"
            )
        if not bracket.maintenance_rate <= bracket.initial_rate <= 1:
            found.append(
                f"bracket {place}: initial_rate {bracket.initial_rate} not in [maintenance_rate, 1]"
            )
    for place, (lower, upper) in enumerate(pairwise(brackets), start=2):
        if upper.cap <= lower.cap:
            found.append(f"bracket {place}: cap {upper.cap} not above {lower.cap}")
        if (
            upper.maintenance_rate < lower.maintenance_rate
            or upper.initial_rate < lower.initial_rate
        ):
            found.append(f"bracket {place}: a rate falls as size grows")
    return found


def _collateral_faults(profile: RiskProfile, asset: str) -> list[str]:
    rule = profile.collateral[asset]
    found: list[str] = []
    if not (rule.haircut == 1 or _within(rule.haircut, 0, 1)):
        found.append(f"haircut {rule.haircut} not in [0, 1]")
    elif rule.haircut < 1 and asset not in profile.conversion:
        found.append("counts as collateral but is missing in conversion")
    if not (_within(rule.borrow_weight, 1, 100)):
        found.append(f"borrow_weight {rule.borrow_weight} not in [1, 100)")
    below = rule.auto_convert_below
    if below is not None and not (below.is_finite() and below >= 0):
        found.append(f"auto_convert_below {below} negative")
    if asset == profile.numeraire and (rule.haircut != 0 or rule.borrow_weight != 1):
        found.append("is the numeraire and takes neither haircut nor borrow weight")
    return found
