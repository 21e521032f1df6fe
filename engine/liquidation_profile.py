"""How a venue liquidates: how much, which legs, at what price, how fast, and for which fee.

Rates and shares are fractions, times microseconds. docs/semantics.md, 12, has the formulas.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from engine.auction import Decay
from engine.money import ZERO

SECOND = 1_000_000

Toxic = Literal["tag", "halt", "full", "take_over"]
"""What becomes of a liquidation that would lower health: it goes on, and says so; all of the group
is closed, unless that does too: then it waits; all of the group is closed, whatever that does; or
it goes to those who take positions (`waterfall.takers`)."""


class WholeLegs(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="whole_legs"
):
    """Whole legs, until what is left meets the stop requirement."""


class Everything(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="everything"
):
    """Every leg, whatever would suffice."""


class SizeRamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be restored of a shortage grows with time: initial + elapsed ÷ duration of it, what
    was restored before included, all of it where it is below `whole_below` (numeraire) (Drift v2,
    math/liquidation.rs:368)."""

    initial: Decimal
    duration: int
    whole_below: Decimal = ZERO


class LeastReduction(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="least"
):
    """The fewest lots that meet the stop requirement, fees paid (Drift's cover)."""

    ramp: SizeRamp | None = None


class LowerTier(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="lower_tier"
):
    """Of a leg as much as takes it to the next lower bracket, whole in the lowest (Binance, OKX,
    BitMEX)."""


class Portion(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="portion"
):
    """Of a leg the `share` of its notional, at least `least`; whole up to a notional of
    `whole_below`, both in the settlement asset (dYdX v4, Hyperliquid)."""

    share: Decimal
    least: Decimal = ZERO
    whole_below: Decimal = ZERO


Sizing = WholeLegs | Everything | LeastReduction | LowerTier | Portion


class Cooldown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After orders that closed only a part the next ones wait `time`; a group whose margin equity
    is below `critical` · maintenance does not, and is closed by whole legs."""

    time: int
    critical: Decimal = Decimal("0.6667")


class AtBankruptcy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="bankruptcy"
):
    """The limit is the price at which the leg's share of equity is used up, fee paid."""


class Fillable(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="fillable"
):
    """A limit whose distance from the mark, as a part of the leg's maintenance, is
    clamp(adjustment·(1 − margin equity ÷ maintenance), 0, 1)·spread (dYdX v4)."""

    adjustment: Decimal
    spread: Decimal


class Bounded(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="bounded"
):
    """A limit `slippage` from the mark, and never beyond the one at bankruptcy."""

    slippage: Decimal


class PriceRamp(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="ramp"
):
    """A limit whose distance from the mark grows from `start` to `end` over `duration` since the
    liquidation was opened, never beyond the one at bankruptcy."""

    start: Decimal
    end: Decimal
    duration: int


class FallingPrice(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule", tag="auction"
):
    """A limit that starts `premium` better than the mark and decays from there since the
    liquidation was opened, for `duration` (a Dutch auction, re-issued as orders expire), never
    beyond the one at bankruptcy."""

    decay: Decay
    duration: int
    premium: Decimal = ZERO


Pricing = AtBankruptcy | Fillable | Bounded | PriceRamp | FallingPrice


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many orders in derivatives may go out, none of these where not given.

    `per_event` and `per_second` (of engine time) count orders; `in_flight` by symbol is the
    notional (settlement asset, at the mark) that live orders may have together (Maker's hole).
    After `unfilled` orders of a symbol in a row that found nobody one goes out at a time.
    """

    per_event: int | None = None
    per_second: int | None = None
    in_flight: dict[str, Decimal] = {}
    unfilled: int | None = None


class Fuses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stops liquidation by itself, none of these where not given.

    A price that differs from the last one by more than `max_jump` of it waits for a second one that
    agrees, or until none has been near for ten seconds. A market in which forced fills of a minute
    pass `max_share_of_oi_per_minute` of its open interest is halted until `Resume`.
    """

    max_jump: Decimal | None = None
    max_share_of_oi_per_minute: Decimal | None = None


class LiquidationRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a breached group is closed.

    `order_ttl`, `ack_timeout`, `gap_timeout`: life of an order, and waits. `max_slippage`: the
    distance from the mark of an order at any price. `legs`: which leg goes first, the one with the
    largest maintenance, or the one that frees most margin per unit of expected cost, fees and
    `slippage` by symbol (fractions of notional). `netting`: what another group of the account holds
    against a leg is set against it first. The liquidation fee is `fee_rate` of notional, with
    `fee_adaptive` at most that share of what closing frees; `fee_to_venue` and `fee_to_liquidator`
    of it do not go to the fund.
    """

    order_ttl: int = 5 * SECOND
    ack_timeout: int = 5 * SECOND
    gap_timeout: int = 5 * SECOND
    max_slippage: Decimal = Decimal("0.05")
    sizing: Sizing = WholeLegs()
    cooldown: Cooldown | None = None
    legs: Literal["maintenance", "cost"] = "maintenance"
    slippage: dict[str, Decimal] = {}
    netting: bool = False
    price: Pricing = AtBankruptcy()
    toxic: Toxic = "tag"
    fee_rate: Decimal = ZERO
    fee_adaptive: Decimal | None = None
    fee_to_venue: Decimal = ZERO
    fee_to_liquidator: Decimal = ZERO
    pace: Pace = Pace()
    fuses: Fuses = Fuses()

    @property
    def fillable(self) -> Fillable | None:
        """The rule of a limit that widens with distress, if that is how limits are set."""
        return self.price if isinstance(self.price, Fillable) else None

    @property
    def patience(self) -> int:
        """The time since a liquidation was opened within which an order that expires or is refused
        is issued again by the same rules, not at any price: as long as one order may live, and size
        or limit still give way."""
        times = [self.order_ttl]
        if isinstance(self.price, PriceRamp | FallingPrice):
            times.append(self.price.duration)
        if isinstance(self.sizing, LeastReduction) and self.sizing.ramp is not None:
            times.append(self.sizing.ramp.duration)
        return max(times)
