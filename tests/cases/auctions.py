"""What each kind of auction case is computed by, as `adapters` has it for derivatives.

MakerDAO keeps collateral and principal in wad, 10^-18, prices in ray, 10^-27, and debts in rad,
their product.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine.auction import (
    Decay,
    InFlight,
    KeeperPay,
    Reset,
    keeper_pay,
    keeper_pay_again,
    needs_reset,
    price_at,
    room,
    start,
    storefront_amount,
    storefront_price,
    take,
)
from tests.cases.accounts import Inputs, NotExpressible, complement, number

Results = dict[str, Any]

WAD, RAY, RAD, USD8 = 18, 27, 45, 8
SECOND = 1_000_000


def _of(inputs: Inputs, name: str, decimals: int = 0) -> Decimal:
    return number(inputs[name]).scaleb(-decimals)


def _step(decimals: int) -> Decimal:
    return Decimal(1).scaleb(-decimals)


def _seconds(inputs: Inputs, name: str) -> int:
    return int(number(inputs[name])) * SECOND


def into_auction(inputs: Inputs) -> Results:
    """Give what of a loan goes on auction."""
    principal, lot = _of(inputs, "art", WAD), _of(inputs, "ink", WAD)
    limits = InFlight(_of(inputs, "Hole", RAD), _of(inputs, "hole", RAD))
    found = start(
        principal,
        lot,
        _of(inputs, "rate", RAY),
        -complement(_of(inputs, "chop", WAD)),
        room(limits, _of(inputs, "Dirt", RAD), _of(inputs, "dirt", RAD)),
        _of(inputs, "dust", RAD),
        _step(WAD),
        _step(RAD),
    )
    if found is None:
        raise NotExpressible("an auction that is refused")
    return {
        "tab": found.debt.scaleb(RAD),
        "lot": found.lot.scaleb(WAD),
        "art_left": (principal - found.principal).scaleb(WAD),
        "ink_left": (lot - found.lot).scaleb(WAD),
    }


def auction_price(inputs: Inputs) -> Results:
    """Give an auction's price after some seconds, or what a sale at a fixed discount gives."""
    if "store_front_factor_wad" in inputs:
        return _storefront(inputs)
    top, elapsed = _of(inputs, "top_ray", RAY), _seconds(inputs, "elapsed_s")
    shape = inputs["curve"]
    if shape == "linear":
        rule = Decay("linear", duration=_seconds(inputs, "tau"))
    elif shape == "exponential":
        rule = Decay("exponential", cut=_of(inputs, "cut_ray", RAY))
    else:
        interval, cut = _seconds(inputs, "step"), _of(inputs, "cut_ray", RAY)
        rule = Decay("stair_step", interval=interval, cut=cut)
    return {"price_ray": price_at(rule, top, elapsed).scaleb(RAY)}


def _storefront(inputs: Inputs) -> Results:
    price = storefront_price(
        _of(inputs, "asset_price", USD8),
        _of(inputs, "store_front_factor_wad", WAD),
        _of(inputs, "liquidation_factor_wad", WAD),
        _step(USD8),
        _step(WAD),
    )
    unit, paid_unit = (
        _step(number(inputs[name]).adjusted()) for name in ("asset_scale", "base_scale")
    )
    paid = _of(inputs, "base_amount") * paid_unit
    found = storefront_amount(paid, _of(inputs, "base_price", USD8), price, unit)
    return {"collateral_out": found / unit}


def auction_reset(inputs: Inputs) -> Results:
    """Tell whether an auction must start anew."""
    rule = Reset(_seconds(inputs, "tail"), _of(inputs, "cusp_ray", RAY))
    top, elapsed = _of(inputs, "top_ray", RAY), _seconds(inputs, "elapsed_s")
    price = price_at(Decay("linear", duration=_seconds(inputs, "tau")), top, elapsed)
    return {"needs_reset": needs_reset(rule, top, price, elapsed)}


def auction_take(inputs: Inputs) -> Results:
    """Give what a taker pays and gets, and what is left."""
    found = take(
        _of(inputs, "amt", WAD),
        _of(inputs, "price_ray", RAY),
        _of(inputs, "lot", WAD),
        _of(inputs, "tab", RAD),
        _of(inputs, "chost", RAD),
        _step(WAD),
    )
    if found is None:
        raise NotExpressible("a take that is refused")
    return {
        "owe": found.paid.scaleb(RAD),
        "slice": found.taken.scaleb(WAD),
        "tab": found.debt.scaleb(RAD),
        "lot": found.lot.scaleb(WAD),
    }


def liquidator_incentive(inputs: Inputs) -> Results:
    """Give what a keeper gets for starting an auction, or for starting it anew."""
    rule = KeeperPay(_of(inputs, "tip", RAD), _of(inputs, "chip_wad", WAD))
    debt = _of(inputs, "tab", RAD)
    if "chost" not in inputs:
        return {"coin": keeper_pay(rule, debt, _step(RAD)).scaleb(RAD)}
    lot, price = _of(inputs, "lot", WAD), _of(inputs, "price_ray", RAY)
    found = keeper_pay_again(rule, debt, lot, price, _of(inputs, "chost", RAD), _step(RAD))
    return {"coin": found.scaleb(RAD)}


AUCTIONS: dict[str, Callable[[Inputs], Results]] = {
    "auction_price": auction_price,
    "auction_reset": auction_reset,
    "auction_take": auction_take,
    "liquidator_incentive": liquidator_incentive,
}
"""The adapter of each kind of auction case that the engine has rules for."""
