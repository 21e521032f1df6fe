"""At what limit a leg is closed, in which stage, and for which fee; pure, exact.

The formulas stand in docs/semantics.md, 5 and 11; bankruptcy prices in `closing`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.auction import price_at
from engine.closing import fillable_price, limit_price
from engine.decisions import Stage
from engine.liquidation_profile import Bounded, FallingPrice, PriceRamp
from engine.margin import Health, LegHealth
from engine.money import ONE, ZERO, ceil_to, floor_to
from engine.rules import Rules

FEE_STEP = Decimal("1e-6")
"""What an adaptive fee rate is a multiple of."""


class Offer(NamedTuple):
    """How a leg is offered: a limit, and whether that rests on equity or is at any price."""

    stage: Stage
    limit: Decimal


def offer(leg: LegHealth, state: Health, rules: Rules, elapsed: int, *, backstop: bool) -> Offer:
    """Return at which limit a leg is closed, `elapsed` microseconds after the liquidation was
    opened; `backstop`: not by its share of equity any more."""
    sells, rule = leg.size > 0, rules.in_force.liquidation
    limit = (limit_price if rule.fillable is None else fillable_price)(leg, state, rules)
    beyond = limit is not None and (leg.mark < limit if sells else leg.mark > limit)
    spent = limit is None and state.equity < 0
    if backstop or beyond or spent or passed_on(state, rules):
        return Offer("backstop", _at_slippage(leg, rule.max_slippage, rules))
    offered = _by_rule(leg, rules, elapsed)
    if limit is None:
        return Offer("limit", offered or _at_slippage(leg, rule.max_slippage, rules))
    if offered is not None:
        limit = max(limit, offered) if sells else min(limit, offered)
    return Offer("limit", limit)


def passed_on(state: Health, rules: Rules) -> bool:
    """Tell whether a group goes to those who take positions without trying the market."""
    rule = rules.in_force.waterfall.backstop
    below = None if rule is None else rule.below
    return below is not None and state.margin_equity < below * state.maintenance


def _by_rule(leg: LegHealth, rules: Rules, elapsed: int) -> Decimal | None:
    """Return the limit of the profile where that goes by the mark, none where it goes by equity."""
    match rules.in_force.liquidation.price:
        case Bounded(slippage=slippage):
            return _at_slippage(leg, slippage, rules)
        case PriceRamp(start=start, end=end, duration=duration):
            span, past = Decimal(duration), min(elapsed, duration)
            return _at_slippage(leg, start * span + (end - start) * past, rules, span)
        case FallingPrice(decay=decay, premium=premium):
            return _at_slippage(leg, ONE - price_at(decay, ONE + premium, elapsed), rules)
        case _:
            return None


def _at_slippage(
    leg: LegHealth, slippage: Decimal, rules: Rules, divisor: Decimal = ONE
) -> Decimal:
    """Return the mark less (sells) or plus (buys) `slippage / divisor` of it, to the tick, at least
    one."""
    tick = rules.derivatives[leg.symbol].tick
    if leg.size > 0:
        return max(ceil_to(leg.mark * (divisor - slippage), tick, divisor), tick)
    return max(floor_to(leg.mark * (divisor + slippage), tick, divisor), tick)


def fee_rate(leg: LegHealth, state: Health, rules: Rules) -> Decimal:
    """Return the liquidation fee of a leg's order, a fraction of notional.

    Where it adapts, at most a share of what closing the leg frees beyond the taker fee and what
    the group lacks (Drift v2, math/liquidation.rs:401).
    """
    rule = rules.in_force.liquidation
    if rule.fee_adaptive is None:
        return rule.fee_rate
    worth = leg.notional * state.prices[leg.settle]
    if not worth:
        return ZERO
    lacking = max(state.maintenance - state.margin_equity, ZERO)
    spare = leg.required - rules.derivatives[leg.symbol].taker_fee * worth - lacking
    return min(rule.fee_rate, max(floor_to(rule.fee_adaptive * spare, FEE_STEP, worth), ZERO))
