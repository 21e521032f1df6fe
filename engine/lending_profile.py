"""A lending market's rules as data: its pools, and how loans are liquidated.

Rates, thresholds and bonuses are fractions; amounts are in the asset of their pool, values in the
profile's numeraire, times in microseconds. What makes these rules unsound stands in
`lending_faults`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from engine.auction import Decay, InFlight, KeeperPay, Reset
from engine.interest import Accrual, Ramp, RateCurve
from engine.lending import (
    CloseFactor,
    FullRepayment,
    Recognition,
    TargetHealth,
    TargetLoanToValue,
    WholeAccount,
)
from engine.money import ONE, ZERO, Rounding
from engine.seizure import (
    FixedBonus,
    HealthBonus,
    HealthDiscount,
    ThresholdBonus,
    pool_impact,
)

Bonus = FixedBonus | HealthBonus | ThresholdBonus | HealthDiscount
Repayment = CloseFactor | TargetHealth | TargetLoanToValue | FullRepayment | WholeAccount
Layer = Literal["fund", "reserve", "lenders"]
"""Who bears bad debt: the insurance fund, the reserve of the pool, or its lenders by their index.
"""


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a supply counts as collateral: at `loan_to_value` to open a loan, at
    `liquidation_threshold` to keep it.

    While a `ramp` runs the threshold is on its way down to the one given. Liquidation seizes with
    the `bonus`, of which the pool's reserve keeps the share `protocol_fee`. What is seized is taken
    to be sold to a constant-product pool that holds `depth` of the debt's asset (numeraire), for
    whether that is toxic; none: it moves no price.
    """

    loan_to_value: Decimal
    liquidation_threshold: Decimal
    bonus: Bonus
    protocol_fee: Decimal = ZERO
    ramp: Ramp | None = None
    depth: Decimal | None = None

    def impact(self, worth: Decimal) -> Decimal:
        """Return how many times over a sale weighs on a supply worth so much (numeraire)."""
        return ONE if self.depth is None else pool_impact(worth, self.depth)


class Isolation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Collateral in isolation: a group whose supply counts has no other, borrows only of pools that
    allow it, and all such groups together at most `debt_ceiling` (numeraire) (Aave v3)."""

    debt_ceiling: Decimal


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Other terms for a group that chose the category (Aave's e-mode): those of `collateral` by
    pool replace the pools' own; only pools of `borrowable` may be borrowed of, all if empty.

    A group "isolated:POOL" is in the category POOL, if there is one: the terms of one market.
    """

    collateral: dict[str, Terms]
    borrowable: tuple[str, ...] = ()


class PoolRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pool: what it lends, at which rates, and what a supply to it counts as collateral.

    `rates` and `accrual` are those of what is borrowed. Suppliers earn by `supply_rates` of their
    own (Compound III), or what borrowers pay less `reserve_factor`: by an index of its own where
    `supply_accrual` is given (Aave), else just what borrowers came to owe (Morpho, Euler).
    Utilisation is borrowed ÷ (borrowed + cash), or ÷ supplied. With `accrued_by` "venue" indices
    come as events. A supply without `collateral` terms backs nothing; what is not `borrowable` is
    collateral only. `least_debt` is the smallest debt that may be left of a loan. `owed` is the
    direction in which a debt is rounded to the unit of its asset.
    """

    asset: str
    borrowable: bool = True
    rates: RateCurve = RateCurve()
    accrual: Accrual = Accrual()
    supply_rates: RateCurve | None = None
    supply_accrual: Accrual | None = None
    utilization: Literal["cash", "supplied"] = "cash"
    reserve_factor: Decimal = ZERO
    accrued_by: Literal["engine", "venue"] = "engine"
    collateral: Terms | None = None
    isolation: Isolation | None = None
    borrowable_in_isolation: bool = False
    supply_cap: Decimal | None = None
    borrow_cap: Decimal | None = None
    least_debt: Decimal = ZERO
    owed: Rounding = "up"


class Dust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No liquidation leaves debt and collateral of a pair of which one is worth less than `least`
    (numeraire).

    Where one would, `remedy` "all" takes all that the pair can pay (Aave v4), and "leave" only so
    much that enough is left of both (Aave v3).
    """

    least: Decimal
    remedy: Literal["all", "leave"] = "all"


class BadDebtRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When bad debt is recognised, and who bears it: each layer what it can, in this order; what
    none bears is outstanding."""

    recognise: Recognition = "no_collateral"
    charge: tuple[Layer, ...] = ()


class DutchAuction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Liquidation by auction (MakerDAO, clip.sol): starts at the price times `start_factor`, and
    falls by `decay` until `reset`.

    The debt to raise includes the bonus, as a penalty. After `most_resets` an auction is reset no
    more; it keeps its part of `in_flight` until it is taken or resumed.
    """

    decay: Decay
    reset: Reset
    start_factor: Decimal = ONE
    pay: KeeperPay = KeeperPay()
    in_flight: InFlight | None = None
    most_resets: int | None = None


class Lending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about loans: pools by name, categories, and how loans are liquidated.

    Of a group's debts and collaterals one pair is taken at a time: the largest or smallest debt,
    and the collateral of the largest value or of the lowest threshold. `rounded_in` and `quoted`
    say where a market rounds in between (see `seizure.seize`), `value_step` to what values are
    rounded where they are compared.
    """

    pools: dict[str, PoolRule]
    categories: dict[str, Category] = {}
    repay: Repayment = FullRepayment()
    dust: Dust | None = None
    debt_first: Literal["largest", "smallest"] = "largest"
    collateral_first: Literal["largest", "lowest_threshold"] = "largest"
    rounded_in: Literal["debt", "collateral"] | None = None
    quoted: Rounding | None = None
    value_step: Decimal | None = None
    bad_debt: BadDebtRule = BadDebtRule()
    auction: DutchAuction | None = None

    def category_of(self, margin: str, chosen: str) -> str:
        """Return the category of a margin group: the one chosen, or that of its own market."""
        if chosen:
            return chosen
        market = margin.partition(":")[2]
        return market if market in self.categories else ""

    def terms_of(self, pool: str, category: str) -> Terms | None:
        """Return the terms of a supply to `pool` for a group in a category, if there are any."""
        if category in self.categories:
            found = self.categories[category].collateral.get(pool)
            if found is not None:
                return found
        return self.pools[pool].collateral
