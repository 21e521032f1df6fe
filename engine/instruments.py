"""What is traded and held, and in which units.

An amount of an `Asset` is a multiple of 10^-decimals and its absolute value at most `largest`. A
size of an instrument is a multiple of 10^-size_decimals and at most `largest_size`; a price (mark,
index or fill) has at most `price_decimals`; an order's limit is a multiple of `tick`.

Values, in the settlement asset, of a size s (signed) at price P with multiplier m:
linear s·m·P, inverse −s·m/P (a contract is worth m of the quote currency). An option's is always
s·m·P: its price is in its settlement asset, whatever that is.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from engine.money import LARGEST_UNITS, ONE, credit, unit_of


class Asset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="asset"):
    """A spot asset: held as collateral, owed, or used to settle instruments.

    `largest` bounds one balance, in the asset. `price_decimals` bounds its index price, which is
    quoted in the profile's numeraire.
    """

    name: str
    decimals: int
    largest: Decimal
    price_decimals: int = 8

    @property
    def unit(self) -> Decimal:
        """The smallest amount."""
        return unit_of(self.decimals)


class Derivative(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What perpetuals, futures and options share.

    `lot` is the smallest order, `size_decimals` the resolution of positions, `taker_fee` a fraction
    of notional, `multiplier` the base amount (linear) or the quote amount (inverse) of one
    contract. What has the same `underlying` shares rules and portfolios.
    """

    name: str
    settle: str
    size_decimals: int
    price_decimals: int
    tick: Decimal
    lot: Decimal
    largest_size: Decimal
    style: Literal["linear", "inverse"] = "linear"
    multiplier: Decimal = ONE
    taker_fee: Decimal = Decimal("0.0005")
    underlying: str = ""

    @property
    def inverse(self) -> bool:
        """Whether the instrument settles in its base currency."""
        return self.style == "inverse"

    @property
    def price_unit(self) -> Decimal:
        """The resolution of marks and fills."""
        return unit_of(self.price_decimals)

    def value(self, size: Decimal, price: Decimal, unit: Decimal) -> Decimal:
        """Return the value of `size` at `price` in the settlement asset.

        Linear values are exact; an inverse value is rounded to `unit`, down, against the holder.
        """
        if self.inverse:
            return credit(-size * self.multiplier, unit, price)
        return size * self.multiplier * price


class Perpetual(Derivative, frozen=True, forbid_unknown_fields=True, tag="perpetual"):
    """A perpetual; `funding` says who computes payments: the venue (`FundingPaid`) or the engine
    (`FundingRate`)."""

    funding: Literal["venue", "engine"] = "venue"


class Future(Derivative, frozen=True, forbid_unknown_fields=True, tag="future", kw_only=True):
    """A dated future; settles in cash when `Settled` arrives. `expiry` in microseconds UTC."""

    expiry: int


class Option(Derivative, frozen=True, forbid_unknown_fields=True, tag="option", kw_only=True):
    """A European option on `underlying`, settled in cash when `Settled` arrives.

    Quoted in the quote currency ("linear") or in coin ("inverse"), either of them its settlement
    asset; `multiplier` is the base amount of one contract, `strike` in the quote currency, `expiry`
    in microseconds UTC.
    """

    kind: Literal["call", "put"]
    strike: Decimal
    expiry: int

    @property
    def inverse(self) -> bool:
        """Whether its value goes by one over its price: never, also when it is quoted in coin."""
        return False

    @property
    def in_coin(self) -> bool:
        """Whether it is quoted, and settles, in the underlying coin."""
        return self.style == "inverse"


Instrument = Asset | Perpetual | Future | Option
Listed = Perpetual | Future | Option


def faults(instrument: Instrument) -> list[str]:
    """Return every fault of a definition taken by itself, in words; none when it may be listed."""
    found: list[str] = []
    if not instrument.name or any(c in instrument.name for c in ":/ \t\n"):
        found.append(f"name {instrument.name!r}: empty, or has a colon, slash or space")
    if isinstance(instrument, Asset):
        found += _outside("decimals", instrument.decimals)
        found += _outside("price_decimals", instrument.price_decimals)
        found += _too_large("largest", instrument.largest, instrument.decimals)
        return found
    found += _outside("size_decimals", instrument.size_decimals)
    found += _outside("price_decimals", instrument.price_decimals)
    found += _too_large("largest_size", instrument.largest_size, instrument.size_decimals)
    for field in ("tick", "lot", "multiplier"):
        value: Decimal = getattr(instrument, field)
        if not value.is_finite() or value <= 0:
            found.append(f"{field} {value}: not positive")
    if not found and instrument.tick % instrument.price_unit:
        found.append(
            f"tick {instrument.tick}: finer than price_decimals {instrument.price_decimals}"
        )
    if not found and instrument.lot % unit_of(instrument.size_decimals):
        found.append(f"lot {instrument.lot}: finer than size_decimals {instrument.size_decimals}")
    if not instrument.taker_fee.is_finite() or not 0 <= instrument.taker_fee < 1:
        found.append(f"taker_fee {instrument.taker_fee}: not in [0, 1)")
    if isinstance(instrument, Option):
        found += _option_faults(instrument)
    return found


def _option_faults(option: Option) -> list[str]:
    found = []
    if not option.underlying:
        found.append("underlying '': an option needs one")
    if not option.strike.is_finite() or option.strike <= 0:
        found.append(f"strike {option.strike}: not positive")
    if option.expiry <= 0:
        found.append(f"expiry {option.expiry}: not positive")
    return found


def _outside(field: str, decimals: int) -> list[str]:
    return [] if 0 <= decimals <= 18 else [f"{field} {decimals}: not in 0..18"]


def _too_large(field: str, largest: Decimal, decimals: int) -> list[str]:
    if not largest.is_finite() or largest <= 0:
        return [f"{field} {largest}: not positive"]
    if largest.adjusted() > 40 or int(largest.scaleb(decimals)) > LARGEST_UNITS:
        return [f"{field} {largest}: more than 2^62 - 1 units of {decimals} decimals"]
    return []
