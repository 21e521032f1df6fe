"""The prices that use a leg up: bankruptcy price and limit."""

from __future__ import annotations

from fractions import Fraction

from engine.auction import price_at
from engine.liquidation_profile import (
    AtBankruptcy,
    Bounded,
    FallingPrice,
    Fillable,
    LeastReduction,
    PriceRamp,
)
from engine.money import ONE as EXACT_ONE
from tests.twin.amounts import ONE, ZERO, ceil, clamp, decimals_of, floor
from tests.twin.books import Liquidation, World
from tests.twin.terms import ContractTerms
from tests.twin.values import Health, LegHealth, cost, exact_value, notional


def patience(world: World) -> int:
    """Return how long after its opening a liquidation's orders are issued by the same rules."""
    rule = world.rules.source.liquidation
    durations = [rule.order_ttl]
    if isinstance(rule.price, PriceRamp | FallingPrice):
        durations.append(rule.price.duration)
    if isinstance(rule.sizing, LeastReduction) and rule.sizing.ramp is not None:
        durations.append(rule.sizing.ramp.duration)
    return max(durations)


def bankruptcy_price(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return the fee-free price that uses the leg's share up, to the instrument's price
    decimals."""
    terms = world.contracts[leg.symbol]
    wanted = _target(world, now, leg)
    if wanted is None or (terms.inverse and wanted == 0):
        return None
    if terms.inverse:
        price = leg.leg.size * terms.multiplier / -wanted
    else:
        price = wanted / (leg.leg.size * terms.multiplier)
    if price <= 0:
        return None
    unit = decimals_of(terms.price_decimals)
    shown = ceil(price, unit) if leg.leg.size > 0 else floor(price, unit)
    return shown if shown > 0 else None


def limit_price(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return the limit of a leg's order, as the profile has it."""
    terms = world.contracts[leg.symbol]
    if world.rules.source.liquidation.fillable is not None:
        wanted = exact_value(terms, leg.leg.size, leg.mark) - _fillable(world, now, leg)
        return _limit(terms, leg.leg.size, wanted, ZERO)
    return _limit_of_share(world, now, leg)


def order_price(
    world: World, liquidation: Liquidation, leg: LegHealth, limit: Fraction | None
) -> Fraction | None:
    """Return the limit of an order in stage limit, given the one beyond which the leg's share of
    equity is used up."""
    rule = world.rules.source.liquidation.price
    elapsed, sells = world.time - liquidation.opened_at, leg.leg.size > 0
    if isinstance(rule, AtBankruptcy | Fillable):
        return limit
    if isinstance(rule, Bounded):
        factor = ONE - Fraction(rule.slippage) if sells else ONE + Fraction(rule.slippage)
    elif isinstance(rule, PriceRamp):
        start, end = Fraction(rule.start), Fraction(rule.end)
        away = start + (end - start) * min(ONE, Fraction(elapsed, rule.duration))
        factor = ONE - away if sells else ONE + away
    else:
        assert isinstance(rule, FallingPrice)
        falling = Fraction(price_at(rule.decay, EXACT_ONE + rule.premium, elapsed))
        factor = falling if sells else 2 - falling
    tick = world.contracts[leg.symbol].tick
    price = max(tick, (ceil if sells else floor)(leg.mark * factor, tick))
    if limit is None:
        return price
    return max(price, limit) if sells else min(price, limit)


def share_of_equity(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return a leg's part of equity, by requirement, or by notional where nothing is needed."""
    price = {each.symbol: now.price[world.contracts[each.symbol].settle] for each in now.legs}
    parts = {each.symbol: each.required for each in now.legs}
    if sum(parts.values()) == 0:
        parts = {each.symbol: each.notional * price[each.symbol] for each in now.legs}
    total = sum(parts.values(), ZERO)
    if total == 0:
        return None
    return now.equity * parts[leg.symbol] / (total * price[leg.symbol])


def _target(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return the value at which a leg's share of the group's equity is used up."""
    share = share_of_equity(world, now, leg)
    if share is None:
        return None
    return exact_value(world.contracts[leg.symbol], leg.leg.size, leg.mark) - share


def _fillable(world: World, now: Health, leg: LegHealth) -> Fraction:
    """Return how far below its value a leg may be closed."""
    rule = world.rules.source.liquidation.fillable
    assert rule is not None
    if now.requirement == 0:
        return ZERO
    missing = ONE - now.margin_equity / now.requirement
    part = clamp(Fraction(rule.adjustment) * missing, ZERO, ONE)
    return part * Fraction(rule.spread) * leg.needed


def _limit_of_share(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return the first limit, of four, whose fill leaves the leg's share at zero or above."""
    terms = world.contracts[leg.symbol]
    unit = world.unit(terms.settle)
    wanted = _target(world, now, leg)
    if wanted is None:
        return None
    for more in range(4):
        limit = _limit(terms, leg.leg.size, wanted + more * unit, terms.fee)
        if limit is None or _left(terms, leg.leg.size, limit, unit) >= wanted:
            return limit
    raise AssertionError(f"{leg.symbol}: three units were not enough")


def _limit(
    terms: ContractTerms, size: Fraction, wanted: Fraction, fee: Fraction
) -> Fraction | None:
    sells = size > 0
    amount = abs(size) * terms.multiplier
    after_fee = ONE - fee if sells is not terms.inverse else ONE + fee
    numerator, denominator = (
        (amount * after_fee, -wanted if sells else wanted)
        if terms.inverse
        else (wanted if sells else -wanted, amount * after_fee)
    )
    if numerator <= 0 or denominator <= 0:
        return None
    exact = numerator / denominator
    limit = ceil(exact, terms.tick) if sells else floor(exact, terms.tick)
    return limit if limit > 0 else None


def _left(terms: ContractTerms, size: Fraction, limit: Fraction, unit: Fraction) -> Fraction:
    fee = ceil(terms.fee * notional(terms, size, limit, unit), unit)
    return -cost(terms, -size, limit, unit) - fee
