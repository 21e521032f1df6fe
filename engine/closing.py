"""The prices at which a leg is closed: bankruptcy, limit, and a limit that widens with distress.

Pure functions of a group's health and the rules; the formulas stand in docs/semantics.md, 2.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.holdings import Holdings
from engine.margin import Health, LegHealth, fill_cost, health, notional
from engine.markets import Markets
from engine.money import ONE, ZERO, ceil_to, charge, exact, floor_to
from engine.rules import Rules


class Target(NamedTuple):
    """The value at which a leg has used up its share of equity, `numerator / divisor` (divisor >
    0)."""

    numerator: Decimal
    divisor: Decimal


def shares(leg: LegHealth, state: Health) -> tuple[Decimal, Decimal]:
    """Return a leg's share of the group's equity, as a part and its whole."""
    whole = sum((other.required for other in state.legs), ZERO)
    if whole:
        return leg.required, whole
    return leg.notional * state.prices[leg.settle], state.notional


def _value(leg: LegHealth, rules: Rules) -> Target:
    """Return a leg's value at mark without rounding."""
    instrument = rules.derivatives[leg.symbol]
    if instrument.inverse:
        return Target(-leg.size * instrument.multiplier, leg.mark)
    return Target(leg.size * instrument.multiplier * leg.mark, ONE)


def target(leg: LegHealth, state: Health, rules: Rules) -> Target:
    """Return T = V − E·mm / (MM·p): the leg's share of equity goes by maintenance requirement.

    V is the leg's value at mark without rounding, E equity, mm of MM its maintenance requirement, p
    the price of its settlement asset.
    """
    part, whole = shares(leg, state)
    scale = whole * state.prices[leg.settle]
    value = _value(leg, rules)
    return Target(
        value.numerator * scale - state.equity * part * value.divisor, value.divisor * scale
    )


@exact
def fillable_price(leg: LegHealth, state: Health, rules: Rules) -> Decimal | None:
    """Return the price whose distance from the mark widens with distress, to the tick.

    Value V − clamp(adjustment·(1 − e/M), 0, 1)·spread·mm: the mark at e = M, further by spread ·
    maintenance once margin equity e is used up. Up for sells, down for buys; none where no positive
    price exists, or the profile has no such rule. (dYdX v4, x/clob/keeper/liquidations.go:500.)
    """
    rule = rules.in_force.liquidation.fillable
    if rule is None:
        return None
    whole = state.maintenance
    distress = min(max(rule.adjustment * (whole - state.margin_equity), ZERO), whole)
    value = _value(leg, rules)
    goal = Target(value.numerator, value.divisor)
    if whole > 0:
        taken = distress * rule.spread * leg.maintenance * value.divisor
        goal = Target(value.numerator * whole - taken, value.divisor * whole)
    return _price_at(goal, leg, rules, ZERO, rules.derivatives[leg.symbol].tick)


@exact
def bankruptcy_price(leg: LegHealth, state: Health, rules: Rules) -> Decimal | None:
    """Return the price at which the leg's share of equity is used up, before fees.

    Rounded to the instrument's price decimals, up for a long and down for a short; none where no
    positive price exists.
    """
    step = rules.derivatives[leg.symbol].price_unit
    return _price_at(target(leg, state, rules), leg, rules, ZERO, step)


@exact
def bankruptcy_quote(
    symbol: str, delta: Decimal, holdings: Holdings, rules: Rules, markets: Markets
) -> Decimal:
    """Return what closing signed `delta` of a leg has to bring, that it costs no more than its
    share.

    −ΔV − ⌊E·|ΔMM| ÷ MM⌋ in the settlement asset, up to its unit, Δ from before to after at mark: a
    part's share goes by what it frees of maintenance; < 0 where it may cost that much. Raises
    `ValueError` unless `delta` reduces the leg, `LookupError` for a group that is unpriced. (dYdX
    v4, x/clob/keeper/liquidations.go:396.)
    """
    leg = holdings.legs.get(symbol)
    if leg is None or delta * leg.size >= 0 or abs(delta) > abs(leg.size):
        raise ValueError(f"bankruptcy quote {symbol}: {delta} does not reduce the leg")
    instrument = rules.derivatives[symbol]
    unit = rules.assets[instrument.settle].unit
    before = health(holdings, rules, markets)
    kept = {name: held for name, held in holdings.legs.items() if name != symbol}
    if leg.size + delta:
        kept[symbol] = leg._replace(size=leg.size + delta)
    after = health(holdings._replace(legs=kept), rules, markets)
    if before is None or after is None:
        raise LookupError(f"bankruptcy quote {symbol}: the group is unpriced")
    mark = markets.prices[symbol, "mark"].price
    freed, whole = abs(before.maintenance - after.maintenance), before.maintenance
    if not whole:
        freed, whole = before.notional - after.notional, before.notional
    share = floor_to(before.equity * freed, unit, whole * before.prices[instrument.settle])
    return ceil_to(-instrument.value(delta, mark, unit) - share, unit)


@exact
def limit_price(leg: LegHealth, state: Health, rules: Rules) -> Decimal | None:
    """Return the worst tick at which closing the leg, taker fee paid, costs no more than its share.

    Up for sells, down for buys; none where no positive price exists. Where the stored roundings of
    cost and fee would leave less, the limit is that of up to three units more, which they cannot
    eat.
    """
    instrument = rules.derivatives[leg.symbol]
    goal = target(leg, state, rules)
    unit = rules.assets[leg.settle].unit
    price = None
    for spare in range(4):
        lifted = Target(goal.numerator + spare * unit * goal.divisor, goal.divisor)
        price = _price_at(lifted, leg, rules, instrument.taker_fee, instrument.tick)
        if price is None:
            return None
        fee = charge(instrument.taker_fee * notional(instrument, leg.size, price, unit), unit)
        left = -fill_cost(instrument, -leg.size, price, unit) - fee
        if left * goal.divisor >= goal.numerator:
            break
    return price


def _price_at(
    goal: Target, leg: LegHealth, rules: Rules, fee: Decimal, step: Decimal
) -> Decimal | None:
    """Return the price at which closing the leg yields its target value after `fee`."""
    if not goal.divisor:
        return None  # nothing has a worth to share by: a long option marked at nothing
    instrument = rules.derivatives[leg.symbol]
    exposure = abs(leg.size) * instrument.multiplier
    long = leg.size > 0
    if instrument.inverse:
        worth = -goal.numerator if long else goal.numerator
        top = exposure * (ONE + fee if long else ONE - fee) * goal.divisor
        if worth <= 0:
            return None
        return ceil_to(top, step, worth) if long else _positive(floor_to(top, step, worth))
    worth = goal.numerator if long else -goal.numerator
    bottom = exposure * (ONE - fee if long else ONE + fee) * goal.divisor
    if worth <= 0:
        return None
    return ceil_to(worth, step, bottom) if long else _positive(floor_to(worth, step, bottom))


def _positive(price: Decimal) -> Decimal | None:
    return price if price > 0 else None
