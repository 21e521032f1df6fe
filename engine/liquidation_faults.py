"""What makes the rules of how groups are closed unsound, in words, as in `profile_faults`."""

from __future__ import annotations

from decimal import Decimal

from engine.auction_faults import decay_faults
from engine.liquidation_profile import (
    SECOND,
    Bounded,
    Cooldown,
    Everything,
    FallingPrice,
    Fillable,
    Fuses,
    LeastReduction,
    LiquidationRule,
    Pace,
    Portion,
    PriceRamp,
    SizeRamp,
    WholeLegs,
)
from engine.money import ZERO
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

FEE_LARGEST = Decimal("0.5")
"""A fee of more of the notional is a slip of the pen."""

JUMP_LEAST = Decimal("0.001")
"""Prices move by less between two ticks; a fuse below would hold most of them."""


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
        if isinstance(rule.sizing, WholeLegs | Everything):
            yield "cooldown: given, and sizing closes no part after which to wait"
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
    yield from part("initial", rule.initial)
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
                if not (within(getattr(price, field), 0, HUNDRED) and getattr(price, field) > 0):
                    yield f"{field} {getattr(price, field)} not in (0, 100)"
        case Bounded() as price:
            yield from part("slippage", price.slippage)
        case PriceRamp() as price:
            yield from part("start", price.start)
            yield from part("end", price.end)
            if price.end <= price.start:
                yield f"end {price.end} not above start {price.start}: the limit has to give way"
            yield from _duration("duration", price.duration)
        case FallingPrice() as price:
            yield from _falling(price)
        case _:
            pass


def _falling(rule: FallingPrice) -> Faults:
    yield from at("decay", decay_faults(rule.decay))
    yield from _duration("duration", rule.duration)
    yield from part("premium", rule.premium)
    if rule.decay.shape == "stair_step" and rule.decay.interval >= rule.duration:
        yield f"duration {rule.duration} µs not above the interval of decay: the price never falls"


def _fees(rule: LiquidationRule) -> Faults:
    if not 0 <= rule.fee_rate <= FEE_LARGEST:
        yield f"fee_rate {rule.fee_rate} not in [0, {FEE_LARGEST}]"
    if rule.fee_adaptive is not None and not ZERO < rule.fee_adaptive <= 1:
        yield f"fee_adaptive {rule.fee_adaptive} not in (0, 1]"
    shares = ("fee_to_venue", "fee_to_liquidator")
    for field in shares:
        yield from fraction(field, getattr(rule, field))
    both = rule.fee_to_venue + rule.fee_to_liquidator
    if both > 1:
        yield f"fee_to_venue, fee_to_liquidator: {both} of the fee together, more than there is"
    for field in ("fee_adaptive", *shares):
        if getattr(rule, field) and rule.fee_rate == 0:
            yield f"{field}: given, and fee_rate is 0"


def _duration(field: str, time: int) -> Faults:
    if not MOMENT <= time <= DAY:
        yield f"{field} {time} µs not in a millisecond to a day"


def _pace(rule: Pace) -> Faults:
    for field in ("per_event", "per_second", "unfilled"):
        yield from positive(field, getattr(rule, field))
    for symbol, limit in sorted(rule.in_flight.items()):
        yield from positive(f"in_flight {symbol}:", limit)
    if rule.per_second is not None and (rule.per_event or 0) > max(rule.per_second, 0):
        yield f"per_event {rule.per_event} above per_second {rule.per_second}: it never binds"


def _fuses(rule: Fuses) -> Faults:
    for field in ("max_jump", "max_share_of_oi_per_minute"):
        value: Decimal | None = getattr(rule, field)
        if value is not None:
            yield from step(field, value)
    if rule.max_jump is not None and within(rule.max_jump, 0, JUMP_LEAST) and rule.max_jump > 0:
        yield f"max_jump {rule.max_jump} below {JUMP_LEAST}: most prices would be held"
