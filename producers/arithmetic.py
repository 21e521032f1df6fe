"""The arithmetic of a liquidation order or collateral sale, step by step, as plain data.

The same functions that decided are asked for each result; what stands between them is written out.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from msgspec import to_builtins

from engine.book import Group
from engine.closing import (
    Target,
    bankruptcy_price,
    fillable_price,
    limit_price,
    shares,
    target,
)
from engine.core import Engine
from engine.decisions import (
    AuctionStarted,
    CollateralLiquidation,
    CollateralSale,
    Deleverage,
    LiquidationOrder,
    TakeOver,
)
from engine.instruments import Listed
from engine.lending import Backing, health_factor
from engine.liquidation_profile import AtBankruptcy, Fillable
from engine.margin import (
    Health,
    LegHealth,
    stop_level,
)
from engine.markets import Markets
from engine.money import ONE, ZERO, exact
from engine.profile import RiskProfile
from engine.rules import Rules
from producers.liquidation_said import price_said, sizing_said
from producers.loan_outlook import loan_rows, repayment_rule
from producers.requirement_steps import maintenance_steps, portfolios, rule_key, weight_said

_SHOWN = Context(prec=20, rounding=ROUND_HALF_EVEN, traps=[])
"""What no decision rests on is shown to this many digits."""


@exact
def of_group(engine: Engine, group: Group) -> dict[str, Any] | None:
    """Return how a group's health comes about, and of each leg its limit; none if unpriced."""
    health = engine.health_of(group)
    if health is None:
        return None
    rules, markets = engine.rules, engine.markets
    profile = rules.in_force
    trigger = profile.trigger
    stop_equity, stop = stop_level(health, group.holdings, rules, markets)
    return {
        "margin": group.margin,
        "numeraire": profile.numeraire,
        "equity": health.equity,
        "margin_equity": health.margin_equity,
        "maintenance": health.maintenance,
        "at_equality": trigger.at_equality,
        "fixed_cost": trigger.fixed_cost if health.legs else ZERO,
        "stop_at": trigger.stop_at,
        "stop_buffer": trigger.stop_buffer,
        "stop_notional_buffer": trigger.stop_notional_buffer,
        "stop_margin_equity": stop_equity,
        "stop": stop,
        "max_slippage": profile.liquidation.max_slippage,
        "rules": _rules_of_orders(profile),
        "opened_at": group.liquidation.opened_at if group.liquidation else None,
        "prices": _prices(engine, health),
        "balances": [_balance(asset, health, rules) for asset in sorted(health.net)],
        "returned": _returned(health, rules),
        "legs": [_leg(leg, health, rules, markets) for leg in health.legs],
        "portfolios": portfolios(health, rules, markets),
        "loans": loan_rows(engine, group, health),
        "repayment": repayment_rule(rules),
        "assets": {
            asset.name: {"decimals": asset.decimals, "price_decimals": asset.price_decimals}
            for asset in rules.assets.values()
        },
    }


def _rules_of_orders(profile: RiskProfile) -> dict[str, Any]:
    """Return what decides sizes, limits, and what becomes of orders that lower health."""
    rule, backstop = profile.liquidation, profile.waterfall.backstop
    below = backstop.below if backstop is not None else None
    return {
        "sizing": sizing_said(rule.sizing),
        "limit": price_said(rule.price),
        "by_mark": not isinstance(rule.price, AtBankruptcy | Fillable),
        "toxic": rule.toxic,
        "backstop_below": below,
    }


def fits_order(found: dict[str, Any], order: LiquidationOrder) -> bool:
    """Tell whether `found` is what `order` was decided on."""
    return found["margin"] == order.margin and any(
        leg["symbol"] == order.symbol
        and abs(leg["size"]) >= order.size
        and leg["mark"] == order.decided_mark
        and leg["bankruptcy_price"] == order.bankruptcy_price
        for leg in found["legs"]
    )


def fits_transfer(found: dict[str, Any], transfer: TakeOver | Deleverage) -> bool:
    """Tell whether `found` is what a transfer was decided on: it is at the bankruptcy price of its
    leg, or at the mark."""
    return found["margin"] == transfer.margin and any(
        leg["symbol"] == transfer.symbol
        and abs(leg["size"]) >= transfer.size
        and transfer.price in (leg["bankruptcy_price"], leg["mark"])
        for leg in found["legs"]
    )


def fits_sale(found: dict[str, Any], sale: CollateralSale) -> bool:
    """Tell whether `found` is what `sale` was decided on."""
    cash = {balance["asset"]: balance["cash"] for balance in found["balances"]}
    lent = any(loan["asset"] == sale.for_asset and loan["owed"] for loan in found["loans"])
    return (
        found["margin"] == sale.margin
        and cash.get(sale.asset, 0) >= sale.amount
        and (cash.get(sale.for_asset, 0) < 0 or lent)
    )


@exact
def fits_seizure(found: dict[str, Any], asked: CollateralLiquidation | AuctionStarted) -> bool:
    """Tell whether `found` is what a seizure or an auction was decided on."""
    pools = {loan["pool"] for loan in found["loans"]}
    if found["margin"] != asked.margin or not {asked.pool, asked.collateral} <= pools:
        return False
    backing = Backing(found["margin_equity"], found["maintenance"])
    return health_factor(backing) == asked.health_factor


def _prices(engine: Engine, health: Health) -> list[dict[str, Any]]:
    keys = [(leg.symbol, "mark") for leg in health.legs]
    assets = {*health.net, *(loan.asset for loan in health.loans)}
    keys += [(asset, "index") for asset in sorted(assets)]
    marks = [engine.prices[key] for key in keys if key in engine.prices]
    return [
        {field: getattr(mark, field) for field in ("symbol", "kind", "price", "source", "time")}
        for mark in marks
    ]


def _balance(asset: str, health: Health, rules: Rules) -> dict[str, Any]:
    cash, net = health.cash.get(asset, ZERO), health.net[asset]
    counted = health.counted[asset]
    return {
        "asset": asset,
        "cash": cash,
        "unrealised": net - cash,
        "net": net,
        "counted": counted,
        "price": health.prices[asset],
        "weight": rules.weight(asset, counted),
        "weight_rule": weight_said(asset, counted, rules.in_force, "maintenance", told=False),
    }


def _returned(health: Health, rules: Rules) -> Decimal:
    """Return the requirements that were taken off the results of legs, and come back after the
    weight of their asset."""
    if not rules.in_force.profit.after_requirement:
        return ZERO
    alone = (leg.required for leg in health.legs if rules.portfolio_of(leg.symbol) is None)
    return sum(alone, ZERO)


def _leg(leg: LegHealth, health: Health, rules: Rules, markets: Markets) -> dict[str, Any]:
    instrument, fillable = rules.derivatives[leg.symbol], rules.in_force.liquidation.fillable
    goal = target(leg, health, rules)
    part, whole = shares(leg, health)
    price = health.prices[leg.settle]
    limit = limit_price if fillable is None else fillable_price
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
        "rule": rule_key(leg.symbol, rules),
        "steps": [step._asdict() for step in maintenance_steps(leg, rules, markets)],
        "maintenance": leg.maintenance,
        "settle_price": price,
        "required": leg.required,
        "in_portfolio": rules.portfolio_of(leg.symbol) is not None,
        "share_part": part,
        "share_whole": whole,
        "share": _quotient(health.equity * part, whole * price),
        "unrounded_value": _unrounded(leg, instrument),
        "target": _quotient(goal.numerator, goal.divisor),
        "taker_fee": instrument.taker_fee,
        "price_unit": instrument.price_unit,
        "tick": instrument.tick,
        **_solutions(leg, instrument, goal),
        "bankruptcy_price": bankruptcy_price(leg, health, rules),
        "limit_price": limit(leg, health, rules),
        "fillable": None if fillable is None else to_builtins(fillable, builtin_types=(Decimal,)),
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
    """Return part ÷ whole as it is shown; a leg that is worth nothing has a share of nothing."""
    if not whole:
        return ZERO
    return _SHOWN.divide(part, whole).normalize(_SHOWN)
