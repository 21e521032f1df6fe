"""Which orders and sales a liquidation sends."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from engine.decisions import CollateralSale, Deleverage, LiquidationOrder, TakeOver
from tests.twin.amounts import ZERO, ceil, decimal, decimals_of, floor
from tests.twin.books import Group, Liquidation, Order, World
from tests.twin.closing import bankruptcy_price, limit_price, order_price
from tests.twin.deleveraging import most_lots, stands
from tests.twin.pace import SECOND, count_order, fits, is_open, most, passing
from tests.twin.planning import Part, Plan, given_up, is_toxic, make_plan, urgent
from tests.twin.pools import rule_of
from tests.twin.takers import Offer, Transfer, transfers
from tests.twin.values import Health, LegHealth


def send_orders(world: World, group: Group, now: Health) -> None:
    """Send what comes next for the legs of a group, or note what it waits for."""
    rule, liquidation = world.rules.source.liquidation, _of(group)
    if _rests(world, group, now):
        return
    promised = world.transfers_to(group.account, group.margin)
    if any(order.symbol in group.legs for order in promised):
        liquidation.waits = "promised"
        return
    if _cools(world, group, now):
        liquidation.waits = "cooldown"
        return
    if found := _nettings(world, group, now):
        for leg, transfer in found:
            _send_transfer(world, group, leg, transfer, bankruptcy_price(world, now, leg))
        liquidation.waits = ""
        return
    plan = make_plan(world, group, now)
    if plan is None:
        liquidation.waits, liquidation.cooling_until = "cooldown", world.time + SECOND
        return
    if plan.toxic and rule.toxic == "halt":
        liquidation.waits, liquidation.awaits = "toxic", set()
        liquidation.again_at = world.time + SECOND
        return
    if _toxic_apart(world, group, now, plan):
        last = any(_in_backstop(world, group, now, plan, part.leg) for part in plan.parts)
        waits = rule.toxic != "tag" and not (last or urgent(world, group, now))
        if waits and fits(world, _sizes(plan.parts)):
            liquidation.waits, liquidation.awaits = "capped", set()
            liquidation.again_at = world.time + SECOND
            return
        plan.apart = True
    sent = [_send_part(world, group, now, plan, part) for part in plan.parts]
    if plan.parts and not any(sent):
        liquidation.waits, liquidation.again_at = "capped", world.time + SECOND
        liquidation.awaits = {part.leg.symbol for part in plan.parts}
        return
    liquidation.waits = ""
    if rule.cooldown is not None and any(part.size < abs(part.leg.leg.size) for part in plan.parts):
        liquidation.cooling_until = world.time + rule.cooldown.time


def _sizes(parts: list[Part]) -> dict[str, Fraction]:
    return {part.leg.symbol: part.size for part in parts}


def _toxic_apart(world: World, group: Group, now: Health, plan: Plan) -> bool:
    """Tell whether what may go out of a plan would lower health where all of it would not."""
    sizes = _sizes(plan.parts)
    going = passing(world, sizes)
    if plan.toxic or now.margin_equity <= 0 or going in ({}, sizes):
        return False
    alone = [
        replace(part, size=going[name]) for part in plan.parts if (name := part.leg.symbol) in going
    ]
    return is_toxic(world, group, now, alone)


def _rests(world: World, group: Group, now: Health) -> bool:
    """Tell whether orders that were held back are not to be planned anew yet."""
    rule, liquidation = world.rules.source.liquidation, _of(group)
    if liquidation.waits not in ("capped", "toxic"):
        return False
    if any(is_open(world, symbol) for symbol in liquidation.awaits):
        return False
    if world.time < liquidation.again_at:
        return True
    toxic, waterfall = liquidation.waits == "toxic", world.rules.source.waterfall
    if rule.netting or (_presses(world, group, now) and (toxic or waterfall.takers)):
        return False
    if toxic:
        return world.time < liquidation.again_at + rule.order_ttl
    return not any(is_open(world, symbol) for symbol in group.legs)


def _cools(world: World, group: Group, now: Health) -> bool:
    """Tell whether the next orders wait after those that closed a part."""
    until = _of(group).cooling_until
    if until is None or world.time >= until:
        return False
    return not _presses(world, group, now)


def _presses(world: World, group: Group, now: Health) -> bool:
    """Tell whether a group is in no state to wait."""
    return urgent(world, group, now) or given_up(world, now)


def _nettings(world: World, group: Group, now: Health) -> list[tuple[LegHealth, Transfer]]:
    """Return what legs of the account's other groups give safely."""
    found = list[tuple[LegHealth, Transfer]]()
    if not world.rules.source.liquidation.netting or _of(group).backstop:
        return found
    for leg in now.legs:
        for other in world.accounts[group.account].ordered_groups():
            held = other.legs.get(leg.symbol)
            if leg.symbol in world.halted or held is None or held.size * leg.leg.size > 0:
                continue
            own = other.liquidation.live.values() if other.liquidation else ()
            if any(order.symbol == leg.symbol for order in own):
                continue
            if (leg.symbol, "netting", other.account, other.margin) in _of(group).passed:
                continue
            can = abs(held.size)
            for order in world.transfers_to(other.account, other.margin):
                can -= order.size - order.filled if order.symbol == leg.symbol else ZERO
            size = _safely(world, other, leg, min(abs(leg.leg.size), can))
            if size > 0:
                transfer = Transfer("netting", group.account, other.margin, size, leg.mark, size)
                found.append((leg, transfer))
    return found


def _safely(world: World, other: Group, leg: LegHealth, wanted: Fraction) -> Fraction:
    """Return how much a group can give against a leg at the mark."""
    lot = world.contracts[leg.symbol].lot

    def holds(size: Fraction) -> bool:
        return stands(world, other, leg.symbol, size, leg.mark)

    return most_lots(wanted, lot, holds) if holds(ZERO) else wanted


def _send_part(world: World, group: Group, now: Health, plan: Plan, part: Part) -> bool:
    """Send a part of a plan to those who take it; tell whether anything went out."""
    leg, liquidation, left = part.leg, _of(group), part.size
    waterfall = world.rules.source.waterfall
    sells, limit = leg.leg.size > 0, limit_price(world, now, leg)
    backstop = _in_backstop(world, group, now, plan, leg)
    bankruptcy = bankruptcy_price(world, now, leg)
    if backstop and bankruptcy is not None:
        for layer in waterfall.takers:
            offer = Offer(group, leg, left, bankruptcy)
            for found in list(transfers(world, offer, layer)):
                _send_transfer(world, group, leg, found, bankruptcy)
                left -= found.size
    if not left:
        return True
    limited = most(world, leg.symbol)
    size = left if limited is None else min(left, limited)
    if not size:
        return left != part.size
    price = None if backstop else order_price(world, liquidation, leg, limit)
    if price is None:
        price = _slipped(world, leg)
    order, replaces = issue(
        world, group, leg.symbol, sells, size=size, limit=price, bankruptcy=bankruptcy
    )
    order.fee_rate = part.rate
    count_order(world)
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
        toxic=plan.toxic or plan.apart,
        fee_rate=decimal(part.rate),
    )
    return True


def _in_backstop(world: World, group: Group, now: Health, plan: Plan, leg: LegHealth) -> bool:
    """Tell whether an order for a leg is one of last resort."""
    limit = limit_price(world, now, leg)
    beyond = limit is not None and (leg.mark < limit if leg.leg.size > 0 else leg.mark > limit)
    given = plan.toxic and world.rules.source.liquidation.toxic == "take_over"
    spent = limit is None and now.equity < 0
    return _of(group).backstop or beyond or spent or given or given_up(world, now)


def _send_transfer(
    world: World, group: Group, leg: LegHealth, found: Transfer, bankruptcy: Fraction | None
) -> None:
    order, replaces = issue(
        world,
        group,
        leg.symbol,
        leg.leg.size > 0,
        size=found.size,
        limit=found.price,
        bankruptcy=bankruptcy,
    )
    order.layer, order.counterparty = found.layer, (found.account, found.margin)
    world.accounts[group.account].transferred.add(order.id)
    details: dict[str, object] = {
        "layer": found.layer,
        "taker": found.account,
        "taker_margin": found.margin,
        "capacity": decimal(found.capacity),
    }
    if found.layer == "adl":
        details = {
            "counterparty": found.account,
            "counterparty_margin": found.margin,
            "rank": found.rank,
            "score": decimal(found.score),
            "forgone": decimal(found.forgone),
        }
    world.emit_for(
        group,
        Deleverage if found.layer == "adl" else TakeOver,
        order_id=order.id,
        number=_of(group).number,
        symbol=leg.symbol,
        side="sell" if order.sells else "buy",
        size=decimal(found.size),
        price=decimal(found.price),
        expires=order.expires,
        replaces=replaces,
        **details,
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
    earlier = [n for n, issued in enumerate(symbols, start=1) if issued == symbol]
    if symbol in world.contracts:
        earlier = [n for n in earlier if f"{stem}:{n}:{symbol}" not in liquidation.live]
    last = max(earlier, default=0)
    symbols.append(symbol)
    attempt = len(symbols)
    return f"{stem}:{attempt}:{symbol}", attempt, f"{stem}:{last}:{symbol}" if last else ""


def _of(group: Group) -> Liquidation:
    assert group.liquidation is not None
    return group.liquidation
