"""Whether the rules of how groups are closed contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from engine.auction import Decay
from engine.liquidation_profile import (
    Bounded,
    Everything,
    FallingPrice,
    Fillable,
    Fuses,
    LeastReduction,
    LiquidationRule,
    Pace,
    Portion,
    PriceRamp,
    Pricing,
    Sizing,
    WholeLegs,
)
from engine.profile import DAY, HOUR, SECOND

Checks = Iterator[bool]
MOMENT = SECOND // 1000


def liquidation_checks(rule: LiquidationRule) -> Checks:
    """Yield whether each demand on the rules is met."""
    for wait in (rule.order_ttl, rule.ack_timeout, rule.gap_timeout):
        yield MOMENT <= wait <= HOUR
    for part in (rule.max_slippage, *rule.slippage.values()):
        yield 0 <= part < 1
    yield from _fees(rule)
    if rule.cooldown is not None:
        yield MOMENT <= rule.cooldown.time <= DAY
        yield 0 <= rule.cooldown.critical < 1
        yield not isinstance(rule.sizing, WholeLegs | Everything)
    yield from _sizing(rule.sizing)
    yield from _price(rule.price)
    yield from _pace(rule.pace)
    yield from _fuses(rule.fuses)


def _fees(rule: LiquidationRule) -> Checks:
    yield 0 <= rule.fee_rate <= Decimal("0.5")
    yield rule.fee_adaptive is None or 0 < rule.fee_adaptive <= 1
    for share in (rule.fee_to_venue, rule.fee_to_liquidator):
        yield 0 <= share <= 1
    yield rule.fee_to_venue + rule.fee_to_liquidator <= 1
    split = rule.fee_adaptive is not None or rule.fee_to_venue or rule.fee_to_liquidator
    yield rule.fee_rate > 0 or not split


def _sizing(rule: Sizing) -> Checks:
    if isinstance(rule, LeastReduction) and rule.ramp is not None:
        yield 0 <= rule.ramp.initial < 1 and rule.ramp.whole_below >= 0
        yield MOMENT <= rule.ramp.duration <= DAY
    if isinstance(rule, Portion):
        yield 0 < rule.share <= 1
        yield rule.least >= 0 and rule.whole_below >= 0


def _price(rule: Pricing) -> Checks:
    match rule:
        case Fillable():
            yield 0 < rule.adjustment < 100 and 0 < rule.spread < 100
        case Bounded():
            yield 0 <= rule.slippage < 1
        case PriceRamp():
            yield 0 <= rule.start < rule.end < 1
            yield MOMENT <= rule.duration <= DAY
        case FallingPrice():
            yield 0 <= rule.premium < 1
            yield MOMENT <= rule.duration <= DAY
            yield from _decay(rule.decay)
            yield rule.decay.shape != "stair_step" or rule.decay.interval < rule.duration
        case _:
            pass


def _decay(rule: Decay) -> Checks:
    yield 0 < rule.step < 1
    if rule.shape == "linear":
        yield rule.duration > 0
    else:
        yield 0 < rule.cut < 1 and rule.interval > 0
        yield rule.shape == "stair_step" or rule.interval == SECOND


def _pace(rule: Pace) -> Checks:
    for count in (rule.per_event, rule.per_second, rule.unfilled):
        yield count is None or count > 0
    yield all(limit > 0 for limit in rule.in_flight.values())
    yield (rule.per_event or 0) <= (rule.per_second or rule.per_event or 0)


def _fuses(rule: Fuses) -> Checks:
    for limit in (rule.max_jump, rule.max_share_of_oi_per_minute):
        yield limit is None or 0 < limit < 1
    yield rule.max_jump is None or rule.max_jump >= Decimal("0.001")
