"""The arithmetic of a liquidation order or collateral sale, step by step, as plain data.

The same functions that decided are asked for each result; what stands between them is written out.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from engine.book import Group
from engine.core import Engine
from engine.decisions import CollateralSale, LiquidationOrder
from engine.instruments import Listed
from engine.margin import Health, LegHealth, Target, bankruptcy_price, limit_price, target
from engine.money import ONE, ZERO, exact
from engine.rules import Rules

_SHOWN = Context(prec=20, rounding=ROUND_HALF_EVEN, traps=[])
"""What no decision rests on is shown to this many digits."""


@exact
def of_group(engine: Engine, group: Group) -> dict[str, Any] | None:
    """Return how a group's health comes about, and of each leg its limit; none if unpriced."""
    health = engine.health_of(group)
    if health is None:
        return None
    rules = engine.rules
    trigger = rules.in_force.trigger
    return {
        "margin": group.margin,
        "numeraire": rules.in_force.numeraire,
        "equity": health.equity,
        "margin_equity": health.margin_equity,
        "maintenance": health.maintenance,
        "at_equality": trigger.at_equality,
        "stop_buffer": trigger.stop_buffer,
        "stop": health.maintenance * (ONE + trigger.stop_buffer),
        "max_slippage": rules.in_force.liquidation.max_slippage,
        "prices": _prices(engine, health),
        "balances": [_balance(asset, health, rules) for asset in sorted(health.net)],
        "legs": [_leg(leg, health, rules) for leg in health.legs],
        "assets": {
            asset.name: {"decimals": asset.decimals, "price_decimals": asset.price_decimals}
            for asset in rules.assets.values()
        },
    }


def fits_order(found: dict[str, Any], order: LiquidationOrder) -> bool:
    """Tell whether `found` is what `order` was decided on."""
    return found["margin"] == order.margin and any(
        leg["symbol"] == order.symbol
        and abs(leg["size"]) == order.size
        and leg["mark"] == order.decided_mark
        and leg["bankruptcy_price"] == order.bankruptcy_price
        for leg in found["legs"]
    )


def fits_sale(found: dict[str, Any], sale: CollateralSale) -> bool:
    """Tell whether `found` is what `sale` was decided on."""
    cash = {balance["asset"]: balance["cash"] for balance in found["balances"]}
    return (
        found["margin"] == sale.margin
        and cash.get(sale.asset, 0) >= sale.amount
        and cash.get(sale.for_asset, 0) < 0
    )


def _prices(engine: Engine, health: Health) -> list[dict[str, Any]]:
    keys = [(leg.symbol, "mark") for leg in health.legs]
    keys += [(asset, "index") for asset in sorted(health.net)]
    marks = [engine.prices[key] for key in keys if key in engine.prices]
    return [
        {field: getattr(mark, field) for field in ("symbol", "kind", "price", "source", "time")}
        for mark in marks
    ]


def _balance(asset: str, health: Health, rules: Rules) -> dict[str, Any]:
    cash, net = health.cash.get(asset, Decimal(0)), health.net[asset]
    return {
        "asset": asset,
        "cash": cash,
        "unrealised": net - cash,
        "net": net,
        "price": health.prices[asset],
        "weight": rules.weight(asset, net),
        "owned": net > 0,
    }


def _leg(leg: LegHealth, health: Health, rules: Rules) -> dict[str, Any]:
    instrument, curve = rules.derivatives[leg.symbol], rules.maintenance[leg.symbol]
    place = curve.bracket(leg.notional)
    goal = target(leg, health, rules)
    price = health.prices[leg.settle]
    share = _quotient(health.equity * leg.required, health.maintenance * price)
    return {
        "symbol": leg.symbol,
        "settle": leg.settle,
        "inverse": instrument.inverse,
        "multiplier": instrument.multiplier,
        "size": leg.size,
        "mark": leg.mark,
        "value": leg.value,
        "cost": leg.cost,
        "unrealised": leg.value - leg.cost,
        "notional": leg.notional,
        "bracket": place + 1,
        "rate": curve.rates[place],
        "amount": curve.amounts[place],
        "maintenance": leg.maintenance,
        "settle_price": price,
        "required": leg.required,
        "share": share,
        "unrounded_value": _unrounded(leg, instrument),
        "target": _quotient(goal.numerator, goal.divisor),
        "taker_fee": instrument.taker_fee,
        "price_unit": instrument.price_unit,
        "tick": instrument.tick,
        **_solutions(leg, instrument, goal),
        "bankruptcy_price": bankruptcy_price(leg, health, rules),
        "limit_price": limit_price(leg, health, rules),
    }


def _unrounded(leg: LegHealth, instrument: Listed) -> Decimal:
    """Return the value that prices are solved from: an inverse one is not rounded there."""
    if instrument.inverse:
        return _quotient(-leg.size * instrument.multiplier, leg.mark)
    return leg.value


def _solutions(leg: LegHealth, instrument: Listed, goal: Target) -> dict[str, Decimal]:
    """Return the price that yields the target, before and after the taker fee, not rounded."""
    exposure = abs(leg.size) * instrument.multiplier
    value = _quotient(goal.numerator, goal.divisor)
    if not value:
        return {"bankruptcy_exact": ZERO, "limit_exact": ZERO}
    fee = instrument.taker_fee
    factor = ONE - fee if (leg.size > 0) != instrument.inverse else ONE + fee
    if instrument.inverse:
        prices = _quotient(exposure, abs(value)), _quotient(exposure * factor, abs(value))
    else:
        prices = _quotient(abs(value), exposure), _quotient(abs(value), exposure * factor)
    return dict(zip(("bankruptcy_exact", "limit_exact"), prices, strict=True))


def _quotient(part: Decimal, whole: Decimal) -> Decimal:
    return _SHOWN.divide(part, whole).normalize(_SHOWN)
