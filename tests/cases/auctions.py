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
    decay_time,
    keeper_pay,
    keeper_pay_again,
    needs_reset,
    price_at,
    room,
    start,
    storefront_amount,
    storefront_price,
    take,
    throughput_time,
)
from engine.money import floor_to
from tests.cases.accounts import Inputs, NotExpressible, complement, number
from tests.cases.units import RAD, RAY, USD8, WAD, as_float, microseconds, of, step_of, unit_of

Results = dict[str, Any]

MINUTE = Decimal(60)


def into_auction(inputs: Inputs) -> Results:
    """Give what of a loan goes on auction."""
    principal, lot = of(inputs, "art", WAD), of(inputs, "ink", WAD)
    limits = InFlight(of(inputs, "Hole", RAD), of(inputs, "hole", RAD))
    found = start(
        principal,
        lot,
        of(inputs, "rate", RAY),
        -complement(of(inputs, "chop", WAD)),
        room(limits, of(inputs, "Dirt", RAD), of(inputs, "dirt", RAD)),
        of(inputs, "dust", RAD),
        step_of(WAD),
        step_of(WAD),
        step_of(RAD),
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
    top, elapsed = of(inputs, "top_ray", RAY), microseconds(inputs, "elapsed_s")
    shape = inputs["curve"]
    if shape == "linear":
        rule = Decay("linear", duration=microseconds(inputs, "tau"))
    elif shape == "exponential":
        rule = Decay("exponential", cut=of(inputs, "cut_ray", RAY))
    else:
        interval, cut = microseconds(inputs, "step"), of(inputs, "cut_ray", RAY)
        rule = Decay("stair_step", interval=interval, cut=cut)
    return {"price_ray": price_at(rule, top, elapsed).scaleb(RAY)}


def _storefront(inputs: Inputs) -> Results:
    price = storefront_price(
        of(inputs, "asset_price", USD8),
        of(inputs, "store_front_factor_wad", WAD),
        of(inputs, "liquidation_factor_wad", WAD),
        step_of(USD8),
        step_of(WAD),
    )
    unit, paid_unit = (unit_of(inputs, name) for name in ("asset_scale", "base_scale"))
    paid = of(inputs, "base_amount") * paid_unit
    found = storefront_amount(paid, of(inputs, "base_price", USD8), price, unit)
    return {"collateral_out": found / unit}


def auction_reset(inputs: Inputs) -> Results:
    """Tell whether an auction must start anew."""
    rule = Reset(microseconds(inputs, "tail"), of(inputs, "cusp_ray", RAY))
    top, elapsed = of(inputs, "top_ray", RAY), microseconds(inputs, "elapsed_s")
    price = price_at(Decay("linear", duration=microseconds(inputs, "tau")), top, elapsed)
    return {"needs_reset": needs_reset(rule, top, price, elapsed)}


def auction_take(inputs: Inputs) -> Results:
    """Give what a taker pays and gets, and what is left."""
    found = take(
        of(inputs, "amt", WAD),
        of(inputs, "price_ray", RAY),
        of(inputs, "lot", WAD),
        of(inputs, "tab", RAD),
        of(inputs, "chost", RAD),
        step_of(WAD),
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
    rule = KeeperPay(of(inputs, "tip", RAD), of(inputs, "chip_wad", WAD))
    debt = of(inputs, "tab", RAD)
    if "chost" not in inputs:
        return {"coin": keeper_pay(rule, debt, step_of(RAD)).scaleb(RAD)}
    lot, price = of(inputs, "lot", WAD), of(inputs, "price_ray", RAY)
    found = keeper_pay_again(rule, debt, lot, price, of(inputs, "chost", RAD), step_of(RAD))
    return {"coin": found.scaleb(RAD)}


def auction_throughput(inputs: Inputs) -> Results:
    """Give how long a debt takes to be auctioned that is more than may be on auction at once."""
    debt, limit = number(inputs["debt"]), number(inputs["hole"])
    cycle = decay_time(*(as_float(inputs, name) for name in ("cut", "buf", "step")))
    in_all = throughput_time(debt * number(inputs["percent_liquidated"]), limit, cycle)
    return {
        "auction_cycle_min": floor_to(cycle, step_of(WAD), MINUTE),
        "duration_h": floor_to(in_all, step_of(WAD), MINUTE * MINUTE),
        "debt_exposure_share_pct": floor_to(limit * 100, step_of(WAD), debt),
    }


AUCTIONS: dict[str, Callable[[Inputs], Results]] = {
    "auction_price": auction_price,
    "auction_reset": auction_reset,
    "auction_take": auction_take,
    "auction_throughput": auction_throughput,
    "liquidator_incentive": liquidator_incentive,
}
"""The adapter of each kind of auction case that the engine has rules for."""
