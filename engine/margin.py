"""Margin of one group: values, requirements, health, bankruptcy, limit and liquidation prices.

Pure functions of a group's cash and legs, the rules and the prices. Amounts of a leg are in its
settlement asset; equity and requirements of a group in the profile's numeraire. Sums and products
are exact; a division rounds once, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.book import Leg
from engine.decisions import MarkUsed
from engine.instruments import Listed
from engine.money import ONE, ZERO, ceil_to, charge, exact, floor_to
from engine.rules import Rules

Prices = Mapping[tuple[str, str], MarkUsed]


class LegHealth(NamedTuple):
    """One leg at its mark; amounts in the settlement asset, `required` (maintenance) in the
    numeraire."""

    symbol: str
    size: Decimal
    cost: Decimal
    mark: Decimal
    settle: str
    value: Decimal
    notional: Decimal
    maintenance: Decimal
    initial: Decimal
    required: Decimal


class Health(NamedTuple):
    """One margin group at the marks; `net` by asset (cash and unrealised), the rest in the
    numeraire."""

    equity: Decimal
    margin_equity: Decimal
    maintenance: Decimal
    initial: Decimal
    cash: dict[str, Decimal]
    net: dict[str, Decimal]
    prices: dict[str, Decimal]
    legs: tuple[LegHealth, ...]

    @property
    def exposed(self) -> bool:
        """Whether the group has a position or owes something."""
        return bool(self.legs) or any(amount < 0 for amount in self.cash.values())


def notional(instrument: Listed, size: Decimal, price: Decimal, unit: Decimal) -> Decimal:
    """Return the unsigned value of `size` at `price` in the settlement asset, rounded up if
    inverse."""
    if instrument.inverse:
        return charge(abs(size) * instrument.multiplier, unit, price)
    return abs(size) * instrument.multiplier * price


def health(
    cash: Mapping[str, Decimal], legs: Mapping[str, Leg], rules: Rules, prices: Prices
) -> Health | None:
    """Return the health of a group; none while a price that counts is missing.

    Raises `LookupError` without a profile. To be called in the exact context.
    """
    profile = rules.in_force
    net = dict(cash)
    looked_at: list[tuple[str, Leg, Decimal, Decimal, Decimal]] = []
    for symbol, leg in legs.items():
        mark = prices.get((symbol, "mark"))
        if mark is None:
            return None
        instrument = rules.derivatives[symbol]
        unit = rules.assets[instrument.settle].unit
        value = instrument.value(leg.size, mark.price, unit)
        size_value = notional(instrument, leg.size, mark.price, unit)
        net[instrument.settle] = net.get(instrument.settle, ZERO) + value - leg.cost
        looked_at.append((symbol, leg, mark.price, value, size_value))
    asset_prices: dict[str, Decimal] = {}
    equity = margin_equity = ZERO
    needed = {rules.derivatives[symbol].settle for symbol in legs}
    for asset in sorted(net):
        amount = net[asset]
        price = asset_price(asset, rules, prices)
        if price is None:
            owned_and_unnamed = asset not in profile.collateral and amount >= 0
            if asset in needed or not (owned_and_unnamed or amount == 0):
                return None
            price = ZERO
        asset_prices[asset] = price
        worth = amount * price
        equity += worth
        margin_equity += worth * rules.weight(asset, amount)
    maintenance = initial = ZERO
    found: list[LegHealth] = []
    for symbol, leg, mark_price, value, size_value in looked_at:
        settle = rules.derivatives[symbol].settle
        required = rules.maintenance[symbol].requirement(size_value)
        opening = rules.initial[symbol].requirement(size_value)
        price = asset_prices[settle]
        maintenance += required * price
        initial += opening * price
        found.append(
            LegHealth(
                symbol, leg.size, leg.cost, mark_price, settle, value, size_value,
                required, opening, required * price,
            )
        )  # fmt: skip
    return Health(
        equity, margin_equity, maintenance, initial, dict(cash), net, asset_prices, tuple(found)
    )


def asset_price(asset: str, rules: Rules, prices: Prices) -> Decimal | None:
    """Return the price of `asset` in the numeraire, if there is one."""
    if asset == rules.in_force.numeraire:
        return ONE
    mark = prices.get((asset, "index"))
    return None if mark is None else mark.price


def margin_equity_of(
    net: Mapping[str, Decimal], prices: Mapping[str, Decimal], rules: Rules
) -> Decimal:
    """Return Σ net·price·weight, in the numeraire."""
    total = ZERO
    for asset, amount in net.items():
        total += amount * prices[asset] * rules.weight(asset, amount)
    return total


def breached(state: Health, rules: Rules) -> bool:
    """Tell whether liquidation starts: margin equity below maintenance, or at it where equality
    counts."""
    if not state.exposed:
        return False
    if rules.in_force.trigger.at_equality:
        return state.margin_equity <= state.maintenance
    return state.margin_equity < state.maintenance


def restored(state: Health, rules: Rules) -> bool:
    """Tell whether liquidation stops."""
    enough = suffices(state.margin_equity, state.maintenance, rules)
    return enough and not breached(state, rules)


def suffices(margin_equity: Decimal, maintenance: Decimal, rules: Rules) -> bool:
    """Tell whether margin equity is at or above the buffered maintenance."""
    return margin_equity >= maintenance * (ONE + rules.in_force.trigger.stop_buffer)


class Target(NamedTuple):
    """The value at which a leg has used up its share of equity, `numerator / divisor` (divisor >
    0)."""

    numerator: Decimal
    divisor: Decimal


def target(leg: LegHealth, state: Health, rules: Rules) -> Target:
    """Return T = V − E·mm / (MM·p): the leg's share of equity goes by maintenance requirement.

    V is the leg's value at mark without rounding, E equity, mm of MM its maintenance requirement, p
    the price of its settlement asset.
    """
    instrument = rules.derivatives[leg.symbol]
    scale = state.maintenance * state.prices[leg.settle]
    if instrument.inverse:
        value = -leg.size * instrument.multiplier
        return Target(value * scale - state.equity * leg.required * leg.mark, leg.mark * scale)
    value = leg.size * instrument.multiplier * leg.mark
    return Target(value * scale - state.equity * leg.required, scale)


@exact
def bankruptcy_price(leg: LegHealth, state: Health, rules: Rules) -> Decimal | None:
    """Return the price at which the leg's share of equity is used up, before fees.

    Rounded to the instrument's price decimals, up for a long and down for a short; none where no
    positive price exists.
    """
    step = rules.derivatives[leg.symbol].price_unit
    return _price_at(target(leg, state, rules), leg, rules, ZERO, step)


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


def fill_cost(instrument: Listed, size: Decimal, price: Decimal, unit: Decimal) -> Decimal:
    """Return what `size` bought at `price` costs in the settlement asset, rounded up."""
    if instrument.inverse:
        return charge(-size * instrument.multiplier, unit, price)
    return charge(size * instrument.multiplier * price, unit)


def _price_at(
    goal: Target, leg: LegHealth, rules: Rules, fee: Decimal, step: Decimal
) -> Decimal | None:
    """Return the price at which closing the leg yields its target value after `fee`."""
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
