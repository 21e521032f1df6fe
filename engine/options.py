"""European options by Black-76: values at a mark, payoffs at expiry.

The formulas need a logarithm, a root and the normal distribution. They are taken in floats by
Python's `math`, one value at a time and in one order of operations, never by numpy, whose results
depend on the machine's vector units. A value is rounded once, to the option's price unit; from
there everything is exact. Machines whose C libraries differ in the last bit of a logarithm can
differ only in a value that lies within such a bit of half a unit.

Black, The Pricing of Commodity Contracts, Journal of Financial Economics 3 (1976), 167.
"""

from __future__ import annotations

from decimal import Decimal
from math import erfc, log, pow, sqrt
from typing import NamedTuple

from engine.instruments import Option
from engine.money import ONE, ZERO, from_units
from engine.profile import DAY, Portfolio

YEAR = 365 * DAY
"""A year of an implied volatility, in microseconds."""

FULL_DAYS = 30
"""Days to expiry at which a move of volatility counts as it is."""

ROOT_2 = sqrt(2.0)


class OptionInputs(NamedTuple):
    """What an option is valued by: implied volatility (a year's), forward, discount factor, and
    the time in microseconds UTC as of which they hold."""

    iv: Decimal
    forward: Decimal
    discount: Decimal
    time: int


def value(option: Option, inputs: OptionInputs) -> Decimal:
    """Return the mark of an option, in its settlement asset, to its price unit."""
    return valued(option, float(inputs.iv), inputs.forward, inputs)


def valued(option: Option, volatility: float, forward: Decimal, inputs: OptionInputs) -> Decimal:
    """Return the value of an option at another volatility and forward, all else as marked."""
    years = max(0, option.expiry - inputs.time) / YEAR
    at, discount = float(forward), float(inputs.discount)
    price = black_76(option.kind == "call", at, float(option.strike), volatility, years, discount)
    return _to_price_unit(price / at if option.in_coin else price, option.price_decimals)


def volatility_move(move: Decimal, days: float, exponent: Decimal) -> float:
    """Return a move of volatility scaled to an expiry in `days`: move·(30 ÷ days)^exponent.

    (Deribit, Portfolio Margin: "vol range up × (30 / days to expiry) ^ 0.30".)
    """
    return float(move) * pow(FULL_DAYS / days, float(exponent))


def moved_volatility(option: Option, inputs: OptionInputs, move: Decimal, rule: Portfolio) -> float:
    """Return an option's implied volatility after a move of a portfolio's grid, at least zero."""
    days = max(1.0, (option.expiry - inputs.time) / DAY)
    exponent = rule.near_exponent if days < FULL_DAYS else rule.far_exponent
    by, marked = volatility_move(move, days, exponent), float(inputs.iv)
    return max(0.0, marked * (1.0 + by) if rule.volatility == "relative" else marked + by)


def payoff(option: Option, price: Decimal) -> tuple[Decimal, Decimal]:
    """Return what one unit of the underlying brings at the settlement price, as numerator and
    divisor: in coin a gain is divided by the price."""
    gain = price - option.strike if option.kind == "call" else option.strike - price
    return max(gain, ZERO), price if option.in_coin else ONE


def black_76(
    call: bool,
    forward: float,
    strike: float,
    volatility: float,
    years: float,
    discount: float = 1.0,
) -> float:
    """Return D·(F·Φ(d1) − K·Φ(d2)) for a call, D·(K·Φ(−d2) − F·Φ(−d1)) for a put.

    d1 = (ln(F/K) + v²/2·T)/(v·√T), d2 = d1 − v·√T; without volatility or time left the discounted
    payoff at the forward. Forward F and strike K are positive, the volatility v is a year's, T in
    years.
    """
    deviation = volatility * sqrt(years)
    if deviation == 0.0:
        return discount * max(forward - strike if call else strike - forward, 0.0)
    d1 = (log(forward / strike) + volatility * volatility / 2.0 * years) / deviation
    d2 = d1 - deviation
    if call:
        return discount * (forward * _normal(d1) - strike * _normal(d2))
    return discount * (strike * _normal(-d2) - forward * _normal(-d1))


def _normal(x: float) -> float:
    """Return Φ(x), the standard normal distribution."""
    return erfc(-x / ROOT_2) / 2.0


def _to_price_unit(price: float, decimals: int) -> Decimal:
    """Return a price, not below zero, as the nearest multiple of its unit, the upper one of two;
    in whole numbers, since the exact value of a float may have a thousand digits."""
    numerator, divisor = max(price, 0.0).as_integer_ratio()
    return from_units((2 * numerator * 10**decimals + divisor) // (2 * divisor), decimals)
