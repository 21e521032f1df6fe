"""What makes the rules of how groups are closed unsound, in words, as in `profile_faults`."""

from __future__ import annotations

from decimal import Decimal

from engine.auction_faults import decay_faults
from engine.liquidation_profile import (
    SECOND,
    Bounded,
    Cooldown,
    FallingPrice,
    Fillable,
    Fuses,
    LeastReduction,
    LiquidationRule,
    Pace,
    Portion,
    PriceRamp,
    SizeRamp,
)
from engine.ranges import (
    HUNDRED,
    Faults,
    at,
    fraction,
    not_negative,
    part,
    positive,
    step,
    within,
)

HOUR = 3600 * SECOND
DAY = 24 * HOUR
MOMENT = SECOND // 1000


def liquidation_faults(rule: LiquidationRule) -> Faults:
    """Yield every fault of how groups are closed, with its place."""
    for field in ("order_ttl", "ack_timeout", "gap_timeout"):
        if not MOMENT <= getattr(rule, field) <= HOUR:
            yield f"{field} {getattr(rule, field)} µs not in a millisecond to an hour"
    yield from part("max_slippage", rule.max_slippage)
    for symbol, slippage in sorted(rule.slippage.items()):
        yield from part(f"slippage {symbol}:", slippage)
    yield from at("sizing", _sizing(rule))
    if rule.cooldown is not None:
        yield from at("cooldown", _cooldown(rule.cooldown))
    yield from at("price", _price(rule))
    yield from _fees(rule)
    yield from at("pace", _pace(rule.pace))
    yield from at("fuses", _fuses(rule.fuses))


def _sizing(rule: LiquidationRule) -> Faults:
    sizing = rule.sizing
    if isinstance(sizing, LeastReduction) and sizing.ramp is not None:
        yield from at("ramp", _size_ramp(sizing.ramp))
    elif isinstance(sizing, Portion):
        if not (sizing.share == 1 or (within(sizing.share, 0, 1) and sizing.share > 0)):
            yield f"share {sizing.share} not in (0, 1]"
        yield from not_negative("least", sizing.least)
        yield from not_negative("whole_below", sizing.whole_below)


def _size_ramp(rule: SizeRamp) -> Faults:
    yield from fraction("initial", rule.initial)
    yield from _duration("duration", rule.duration)
    yield from not_negative("whole_below", rule.whole_below)


def _cooldown(rule: Cooldown) -> Faults:
    yield from _duration("time", rule.time)
    if not within(rule.critical, 0, 1):
        yield f"critical {rule.critical} not in [0, 1): at 1 no group ever waits"


def _price(rule: LiquidationRule) -> Faults:
    match rule.price:
        case Fillable() as price:
            for field in ("adjustment", "spread"):
                if not within(getattr(price, field), 0, HUNDRED):
                    yield f"{field} {getattr(price, field)} not in [0, 100)"
        case Bounded() as price:
            yield from part("slippage", price.slippage)
        case PriceRamp() as price:
            yield from part("start", price.start)
            yield from part("end", price.end)
            if price.end < price.start:
                yield f"end {price.end} below start {price.start}: the limit has to give way"
            yield from _duration("duration", price.duration)
        case FallingPrice() as price:
            yield from at("decay", decay_faults(price.decay))
            yield from _duration("duration", price.duration)
            yield from part("premium", price.premium)
        case _:
            pass


def _fees(rule: LiquidationRule) -> Faults:
    yield from part("fee_rate", rule.fee_rate)
    for field in ("fee_adaptive", "fee_to_venue", "fee_to_liquidator"):
        yield from fraction(field, getattr(rule, field))
    both = rule.fee_to_venue + rule.fee_to_liquidator
    if both > 1:
        yield f"fee_to_venue, fee_to_liquidator: {both} of the fee together, more than there is"


def _duration(field: str, time: int) -> Faults:
    if not MOMENT <= time <= DAY:
        yield f"{field} {time} µs not in a millisecond to a day"


def _pace(rule: Pace) -> Faults:
    for field in ("per_event", "per_second", "unfilled"):
        yield from positive(field, getattr(rule, field))
    for symbol, limit in sorted(rule.in_flight.items()):
        yield from positive(f"in_flight {symbol}:", limit)


def _fuses(rule: Fuses) -> Faults:
    for field in ("max_jump", "max_share_of_oi_per_minute"):
        value: Decimal | None = getattr(rule, field)
        if value is not None:
            yield from step(field, value)
