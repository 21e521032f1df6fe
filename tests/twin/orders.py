"""Which orders and sales a liquidation sends."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

from engine.decisions import CollateralSale, LiquidationOrder
from tests.twin.amounts import ZERO, ceil, decimal, decimals_of, floor
from tests.twin.books import Group, Liquidation, Order, World
from tests.twin.closing import bankruptcy_price, limit_price
from tests.twin.pools import rule_of
from tests.twin.values import Health, LegHealth, health, meets_stop


def send_orders(world: World, group: Group, now: Health) -> None:
    """Close whole legs, the most demanding first, until the rest would be healthy."""
    left = replace(group, cash=defaultdict(Fraction, group.cash), legs=dict(group.legs))
    chosen = []
    legs = [leg for leg in now.legs if leg.symbol not in world.halted]
    for leg in sorted(legs, key=lambda leg: (-leg.required, leg.symbol)):
        terms = world.contracts[leg.symbol]
        rate = terms.fee + Fraction(world.rules.source.liquidation.fee_rate)
        left.cash[terms.settle] += leg.value - leg.leg.cost - rate * leg.notional
        del left.legs[leg.symbol]
        chosen.append(leg)
        if meets_stop(world, left):
            break
    then = health(world, left)
    assert then is not None
    lower = then.margin_equity * now.requirement < now.margin_equity * then.requirement
    whole = now.equity <= 0 or _of(group).backstop
    for leg in chosen:
        _send_order(world, group, now, leg, toxic=then.requirement > 0 and lower and not whole)


def _send_order(world: World, group: Group, now: Health, leg: LegHealth, *, toxic: bool) -> None:
    liquidation = _of(group)
    sells = leg.leg.size > 0
    limit = limit_price(world, now, leg)
    beyond = limit is not None and (leg.mark < limit if sells else leg.mark > limit)
    backstop = liquidation.backstop or beyond or (limit is None and now.equity < 0)
    price = _slipped(world, leg) if backstop or limit is None else limit
    bankruptcy = bankruptcy_price(world, now, leg)
    order, replaces = issue(
        world, group, leg.symbol, sells, size=abs(leg.leg.size), limit=price, bankruptcy=bankruptcy
    )
    world.emit_for(
        group,
        LiquidationOrder,
        order_id=order.id,
        number=liquidation.number,
        symbol=leg.symbol,
        side="sell" if sells else "buy",
        size=decimal(order.size),
        limit_price=decimal(price),
        bankruptcy_price=None if bankruptcy is None else decimal(bankruptcy),
        stage="backstop" if backstop else "limit",
        reason=liquidation.reason,
        expires=order.expires,
        replaces=replaces,
        decided_mark=decimal(leg.mark),
        toxic=toxic,
        fee_rate=world.rules.source.liquidation.fee_rate,
    )


def _slipped(world: World, leg: LegHealth) -> Fraction:
    tick, slippage = world.contracts[leg.symbol].tick, _slippage(world)
    if leg.leg.size > 0:
        return max(tick, ceil(leg.mark * (1 - slippage), tick))
    return max(tick, floor(leg.mark * (1 + slippage), tick))


def _slippage(world: World) -> Fraction:
    return Fraction(world.rules.source.liquidation.max_slippage)


def send_sales(world: World, group: Group, owed: dict[str, Fraction]) -> None:
    """Sell just enough collateral for what is owed of each asset, in the profile's order."""
    lent = {rule_of(world, name).asset for name in group.debts()}
    order = [asset for asset in world.rules.source.conversion if group.cash.get(asset, ZERO) > 0]
    left = {asset: group.cash[asset] for asset in order}
    if not group.owed():
        left = {asset: amount for asset, amount in left.items() if asset not in lent}
    for debt, need in sorted(owed.items()):
        for asset in left:
            if need <= 0:
                break
            if asset == debt or left[asset] <= 0:
                continue
            rate = _index(world, asset) / _index(world, debt)
            amount = min(left[asset], ceil(need / rate, world.unit(asset)))
            left[asset] -= amount
            need -= floor(amount * rate, world.unit(debt))
            _send_sale(world, group, asset, amount, debt, rate)


def _index(world: World, asset: str) -> Fraction:
    price = world.price(asset, "index")
    assert price is not None
    return price


def _send_sale(
    world: World, group: Group, asset: str, amount: Fraction, debt: str, rate: Fraction
) -> None:
    step = decimals_of(world.assets[asset].price_decimals)
    limit = ceil(rate * (1 - _slippage(world)), step)
    order, replaces = issue(
        world, group, asset, True, size=amount, limit=limit, bankruptcy=None, for_asset=debt
    )
    world.emit_for(
        group,
        CollateralSale,
        order_id=order.id,
        number=_of(group).number,
        asset=asset,
        amount=decimal(amount),
        for_asset=debt,
        limit_price=decimal(limit),
        expires=order.expires,
        replaces=replaces,
    )


def issue(
    world: World,
    group: Group,
    symbol: str,
    sells: bool,
    *,
    size: Fraction,
    limit: Fraction,
    bankruptcy: Fraction | None,
    for_asset: str = "",
    collateral: str = "",
    seize: Fraction = ZERO,
) -> tuple[Order, str]:
    """Make the next order of a group's liquidation; return the id that it replaces too."""
    order_id, attempt, replaces = next_id(world, group, symbol)
    order = Order(
        id=order_id,
        attempt=attempt,
        symbol=symbol,
        sells=sells,
        size=size,
        limit=limit,
        bankruptcy=bankruptcy,
        expires=world.time + world.rules.source.liquidation.order_ttl,
        for_asset=for_asset,
        collateral=collateral,
        seize=seize,
    )
    _of(group).live[order.id] = order
    return order, replaces


def next_id(world: World, group: Group, symbol: str) -> tuple[str, int, str]:
    """Return the next id in a group's liquidation, its attempt, and the last id of the symbol."""
    liquidation = _of(group)
    _, symbols = world.accounts[group.account].issued[liquidation.number - 1]
    stem = f"{group.account}:{liquidation.number}"
    last = max((n for n, issued in enumerate(symbols, start=1) if issued == symbol), default=0)
    symbols.append(symbol)
    attempt = len(symbols)
    return f"{stem}:{attempt}:{symbol}", attempt, f"{stem}:{last}:{symbol}" if last else ""


def _of(group: Group) -> Liquidation:
    assert group.liquidation is not None
    return group.liquidation
