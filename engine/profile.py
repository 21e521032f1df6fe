"""A venue's rules as data: one tree, read from TOML, sent as one event, kept in state.

Rates and weights are fractions, amounts are in the asset named beside them, times in microseconds.
A profile never refers to code; two venues differ in their files only. What makes a profile unsound
stands in `profile_faults`.

Tables by symbol are looked up by the instrument's name, then by its underlying, then by "*".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, TypeVar

import msgspec

from engine.lending_profile import Lending
from engine.liquidation_profile import LiquidationRule
from engine.money import ZERO
from engine.waterfall_profile import Waterfall

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

T = TypeVar("T")


class Bracket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates up to `cap`; the last bracket goes on without end.

    The initial rate is given, or follows from `max_leverage` as 1 ÷ max_leverage. The maintenance
    rate is given, or follows from the requirement's `maintenance_share`.
    """

    cap: Decimal
    initial_rate: Decimal | None = None
    maintenance_rate: Decimal | None = None
    max_leverage: Decimal | None = None


class OpenInterest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Open interest, in the settlement asset, from which the initial rate rises, and at which it
    is 1 (dYdX v4, x/perpetuals/types/liquidity_tier.go:103)."""

    lower: Decimal
    upper: Decimal


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The requirement curve of one position; docs/semantics.md, 2, has the formulas.

    `brackets` by notional (settlement asset) or size (base units), marginal or for the whole
    position. With one bracket the rates may grow with the size s in base units: by
    slope · s ÷ slope_per (Deribit; Synthetix with slope_per = the skew scale), or to
    root_blend · rate + root_factor · √s where that is more (Drift; FTX with root_blend = 0).
    `maintenance_share` makes maintenance that share of initial. `fixed` is added per position, and
    `step` is what a requirement is rounded up to, both in the settlement asset.
    """

    brackets: tuple[Bracket, ...]
    marginal: bool = True
    measure: Literal["notional", "size"] = "notional"
    maintenance_share: Decimal | None = None
    slope: Decimal = ZERO
    slope_per: Decimal = Decimal(1)
    root_factor: Decimal = ZERO
    root_blend: Decimal = Decimal("0.8")
    fixed: Decimal = ZERO
    step: Decimal | None = None
    open_interest: OpenInterest | None = None


class Collateral(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one asset counts in margin equity: owned at 1 − haircut, owed at borrow_weight.

    The initial ones hold at entry, and are the same where not given. With `size_factor` f an amount
    s counts at min(w, 1.1 ÷ (1 + f·√s)) while owned and max(w, 0.8·w + f·√s) while owed (Drift). At
    entry the weight owned falls as the pool's deposits, and the weight owed rises as its borrows,
    go beyond `deposits_from` and `borrows_from`, both values in the numeraire (Drift, Mango). A
    cross balance below −`auto_convert_below` (in the asset) is converted without a breach.
    """

    haircut: Decimal = ZERO
    borrow_weight: Decimal = Decimal(1)
    initial_haircut: Decimal | None = None
    initial_borrow_weight: Decimal | None = None
    size_factor: Decimal = ZERO
    deposits_from: Decimal | None = None
    borrows_from: Decimal | None = None
    auto_convert_below: Decimal | None = None


NO_COLLATERAL = Collateral(haircut=Decimal(1))
"""An asset that the profile does not name is worth nothing while owned and counts in full when
owed."""


class Profit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a leg's unrealised profit counts in margin equity; a loss always counts in full.

    At `weight`, at entry at `initial_weight`, there also no more than 1.1 ÷ (1 + f·√p) of a profit
    p with `initial_size_factor` f (Drift), and at most `initial_cap` (settlement asset) of it. With
    `after_requirement` what is weighted is the profit less the leg's requirement (Mango), and both
    then count at the settlement asset's weight.
    """

    weight: Decimal = Decimal(1)
    initial_weight: Decimal | None = None
    initial_size_factor: Decimal = ZERO
    initial_cap: Decimal | None = None
    after_requirement: bool = False


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When liquidation starts and stops.

    Starts when margin equity < maintenance (<= with `at_equality`). Maintenance includes what
    closing costs where `taker_fee` or `liquidation_fee` says so, and `fixed_cost` (numeraire) for a
    group with a position. Stops when margin equity at the weights of `stop_at` >= the requirement
    of `stop_at` · (1 + stop_buffer) + stop_notional_buffer · notional.
    """

    at_equality: bool = False
    taker_fee: bool = False
    liquidation_fee: bool = False
    fixed_cost: Decimal = ZERO
    stop_at: Literal["maintenance", "initial"] = "maintenance"
    stop_buffer: Decimal = Decimal("0.1")
    stop_notional_buffer: Decimal = ZERO


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds on maintenance ÷ margin equity: crossed at `at`, and anew after it was below
    `reset`."""

    at: Decimal = Decimal("0.8")
    reset: Decimal = Decimal("0.7")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts at entry alone, in initial margin.

    `open_orders`: "ignored", or "worst_case": a position counts as if all its own orders of the
    worse side were filled. `average_window`: prices are the worse of the mark and its average over
    this time.
    """

    open_orders: Literal["ignored", "worst_case"] = "ignored"
    average_window: int | None = None


class Volatility(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A factor on initial requirements that follows realised volatility.

    Every `interval` the squared return of the mark enters an exponentially weighted average with
    weight `decay` on what was; the volatility is that of a day, never below `lookback_share` of its
    peak in the last `lookback_days`. The factor is volatility ÷ `reference` (by symbol, a day's),
    in [floor, cap], rises and falls by at most `rise` and `fall` an hour, and is rounded up to
    `step`. Maintenance follows it only where a `maintenance_ramp` (at least an hour) is given: the
    time in which its factor may go from floor to cap.
    """

    reference: dict[str, Decimal]
    interval: int = 60 * SECOND
    decay: Decimal = Decimal("0.97")
    lookback_days: int = 30
    lookback_share: Decimal = Decimal("0.25")
    floor: Decimal = Decimal(1)
    cap: Decimal = Decimal(3)
    rise: Decimal = Decimal(1)
    fall: Decimal = Decimal("0.1")
    step: Decimal = Decimal("0.1")
    maintenance_ramp: int | None = None


class Extreme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price move beyond the grid, with a move of volatility, of whose loss `weight` counts."""

    move: Decimal
    weight: Decimal
    volatility_move: Decimal = ZERO


class Portfolio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Scenario margin of everything on one underlying: options and what hedges them.

    The grid is every price move of `price_moves` with every one of `volatility_moves`, each a
    fraction of what is (relative) or points (absolute), scaled by (30 ÷ days to expiry) ^
    `near_exponent` below 30 days and ^ `far_exponent` above, days at least one. Maintenance is the
    worst loss over grid and `extremes`, at least `short_option_minimum` of each short option's
    underlying value, plus `option_contingency` of the underlying value of short options and
    `future_contingency` of that of all else, all times `maintenance_factor`. A loss in an extreme
    is lessened by `dampener` (numeraire) times |move| ÷ the grid's range − 1. Initial is
    `initial_factor` times maintenance.
    """

    price_moves: tuple[Decimal, ...]
    volatility_moves: tuple[Decimal, ...]
    volatility: Literal["relative", "absolute"] = "relative"
    near_exponent: Decimal = ZERO
    far_exponent: Decimal = ZERO
    extremes: tuple[Extreme, ...] = ()
    dampener: Decimal = ZERO
    short_option_minimum: Decimal = ZERO
    option_contingency: Decimal = ZERO
    future_contingency: Decimal = ZERO
    maintenance_factor: Decimal = Decimal(1)
    initial_factor: Decimal = Decimal("1.2")


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
    is sold; `requirements` and `portfolios` the margin of each symbol; `lending` the pools, and how
    loans are liquidated; `waterfall` who takes positions and pays what is lost. `sources` and
    `leaves_out` say to people what the numbers rest on, and what of the venue's rules is not
    expressed."""

    name: str
    numeraire: str
    requirements: dict[str, Requirement] = {}
    portfolios: dict[str, Portfolio] = {}
    collateral: dict[str, Collateral] = {}
    conversion: tuple[str, ...] = ()
    profit: Profit = Profit()
    trigger: Trigger = Trigger()
    entry: Entry = Entry()
    volatility: Volatility | None = None
    lending: Lending | None = None
    margin_call: Threshold = Threshold()
    cancel_orders: Threshold | None = None
    liquidation: LiquidationRule = LiquidationRule()
    waterfall: Waterfall = Waterfall()
    prices: PriceSources = PriceSources()
    sources: tuple[str, ...] = ()
    leaves_out: tuple[str, ...] = ()

    def collateral_of(self, asset: str) -> Collateral:
        """Return the rule of `asset`."""
        return self.collateral.get(asset, NO_COLLATERAL)

    def source_of(self, symbol: str, kind: str) -> str:
        """Return the source whose prices of this kind count for `symbol`."""
        source: str = self.prices.symbols.get(symbol) or getattr(self.prices, kind)
        return source


def by_symbol(table: Mapping[str, T], symbol: str, underlying: str) -> T | None:
    """Return what a table by symbol says of an instrument, none where it says nothing."""
    for key in (symbol, underlying, "*"):
        if key and key in table:
            return table[key]
    return None


def margin_rule(
    profile: RiskProfile, symbol: str, underlying: str, *, option: bool
) -> Requirement | Portfolio | None:
    """Return the rule by which a position is margined; an option's can be a portfolio's only."""
    for key in (symbol, underlying, "*"):
        if key and key in profile.portfolios:
            return profile.portfolios[key]
        if key and key in profile.requirements and not option:
            return profile.requirements[key]
    return None
