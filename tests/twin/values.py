"""What legs are worth and need, the health of a group, the prices that use a leg up."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tests.twin.amounts import ONE, ZERO, ceil, decimals_of, floor
from tests.twin.books import Group, Leg, World
from tests.twin.terms import ContractTerms


@dataclass
class LegHealth:
    """One leg at mark; amounts in its settlement asset but for `required`, in the numeraire."""

    symbol: str
    leg: Leg
    mark: Fraction
    value: Fraction
    notional: Fraction
    maintenance: Fraction
    required: Fraction


@dataclass
class Health:
    """One group at mark; sums in the numeraire, `net` in each asset."""

    legs: list[LegHealth]
    net: dict[str, Fraction]
    price: dict[str, Fraction]
    equity: Fraction
    margin_equity: Fraction
    maintenance: Fraction


def value(terms: ContractTerms, size: Fraction, price: Fraction, unit: Fraction) -> Fraction:
    """Value a signed size in the settlement asset."""
    if terms.inverse:
        return floor(-size * terms.multiplier / price, unit)
    return size * terms.multiplier * price


def exact_value(terms: ContractTerms, size: Fraction, price: Fraction) -> Fraction:
    """Value a signed size without any rounding."""
    if terms.inverse:
        return -size * terms.multiplier / price
    return size * terms.multiplier * price


def notional(terms: ContractTerms, size: Fraction, price: Fraction, unit: Fraction) -> Fraction:
    """Size a position in the settlement asset, whatever its direction."""
    if terms.inverse:
        return ceil(abs(size) * terms.multiplier / price, unit)
    return abs(size) * terms.multiplier * price


def cost(terms: ContractTerms, size: Fraction, price: Fraction, unit: Fraction) -> Fraction:
    """Return what a fill of a signed size costs."""
    return ceil(exact_value(terms, size, price), unit)


def requirement(curve: list[tuple[Fraction, Fraction]], size: Fraction) -> Fraction:
    """Add up the maintenance of each bracket's part of a notional."""
    total, lower = ZERO, ZERO
    for place, (cap, rate) in enumerate(curve, start=1):
        if size <= cap or place == len(curve):
            return total + (size - lower) * rate
        total += (cap - lower) * rate
        lower = cap
    raise AssertionError("a curve has at least one bracket")


def net_of(world: World, group: Group, marks: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return cash and unrealised results by asset."""
    net = {asset: amount for asset, amount in group.cash.items() if amount}
    for symbol, leg in group.legs.items():
        terms = world.contracts[symbol]
        worth = value(terms, leg.size, marks[symbol], world.unit(terms.settle))
        net[terms.settle] = net.get(terms.settle, ZERO) + worth - leg.cost
    return dict(sorted(net.items()))


def health(world: World, group: Group) -> Health | None:
    """Value a whole group; none if it is unpriced."""
    marks: dict[str, Fraction] = {}
    for symbol in sorted(group.legs):
        mark = world.price(symbol, "mark")
        if mark is None:
            return None
        marks[symbol] = mark
    net = net_of(world, group, marks)
    price = _asset_prices(world, group, net)
    if price is None:
        return None
    legs = [
        _leg_health(world, symbol, group.legs[symbol], marks[symbol], price) for symbol in marks
    ]
    return Health(
        legs=legs,
        net=net,
        price=price,
        equity=sum((net[asset] * price[asset] for asset in net), ZERO),
        margin_equity=weighted(world, net, price),
        maintenance=sum((leg.required for leg in legs), ZERO),
    )


def weighted(world: World, net: dict[str, Fraction], price: dict[str, Fraction]) -> Fraction:
    """Return margin equity."""
    return sum((net[a] * price[a] * world.rules.weight(a, net[a]) for a in net), ZERO)


def _asset_prices(
    world: World, group: Group, net: dict[str, Fraction]
) -> dict[str, Fraction] | None:
    settles = {world.contracts[symbol].settle for symbol in group.legs}
    prices: dict[str, Fraction] = {}
    for asset, amount in net.items():
        price = world.price(asset, "index")
        if price is None:
            nameless = asset not in world.rules.collateral and amount > 0
            if asset in settles or not nameless:
                return None
            price = ZERO
        prices[asset] = price
    return prices


def _leg_health(
    world: World, symbol: str, leg: Leg, mark: Fraction, price: dict[str, Fraction]
) -> LegHealth:
    terms = world.contracts[symbol]
    unit = world.unit(terms.settle)
    size = notional(terms, leg.size, mark, unit)
    maintenance = requirement(world.rules.brackets[symbol], size)
    return LegHealth(
        symbol=symbol,
        leg=leg,
        mark=mark,
        value=value(terms, leg.size, mark, unit),
        notional=size,
        maintenance=maintenance,
        required=maintenance * price[terms.settle],
    )


def exposed(group: Group) -> bool:
    """Tell whether a group can lose more than it owns."""
    return bool(group.legs) or bool(group.owed())


def breached(world: World, group: Group, now: Health) -> bool:
    """Tell whether a group must be liquidated."""
    if not exposed(group):
        return False
    if world.rules.source.trigger.at_equality:
        return now.margin_equity <= now.maintenance
    return now.margin_equity < now.maintenance


def restored(world: World, group: Group, now: Health) -> bool:
    """Tell whether a liquidation has done enough."""
    enough = now.maintenance * (1 + world.rules.buffer)
    return not breached(world, group, now) and now.margin_equity >= enough


def target(world: World, now: Health, leg: LegHealth) -> Fraction:
    """Return the value at which a leg's share of the group's equity is used up."""
    terms = world.contracts[leg.symbol]
    share = now.equity * leg.required / (now.maintenance * now.price[terms.settle])
    return exact_value(terms, leg.leg.size, leg.mark) - share


def bankruptcy_price(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return the fee-free price of that value, to the instrument's price decimals."""
    terms = world.contracts[leg.symbol]
    wanted = target(world, now, leg)
    if terms.inverse:
        if wanted == 0:
            return None
        price = leg.leg.size * terms.multiplier / -wanted
    else:
        price = wanted / (leg.leg.size * terms.multiplier)
    if price <= 0:
        return None
    unit = decimals_of(terms.price_decimals)
    shown = ceil(price, unit) if leg.leg.size > 0 else floor(price, unit)
    return shown if shown > 0 else None


def limit_price(world: World, now: Health, leg: LegHealth) -> Fraction | None:
    """Return the first limit, of four, whose fill leaves the leg's share at zero or above."""
    terms = world.contracts[leg.symbol]
    unit = world.unit(terms.settle)
    wanted = target(world, now, leg)
    for more in range(4):
        limit = _limit(terms, leg.leg.size, wanted + more * unit)
        if limit is None or _left(terms, leg.leg.size, limit, unit) >= wanted:
            return limit
    raise AssertionError(f"{leg.symbol}: three units were not enough")


def _limit(terms: ContractTerms, size: Fraction, wanted: Fraction) -> Fraction | None:
    sells = size > 0
    amount = abs(size) * terms.multiplier
    after_fee = ONE - terms.fee if sells is not terms.inverse else ONE + terms.fee
    numerator, denominator = (
        (amount * after_fee, -wanted if sells else wanted)
        if terms.inverse
        else (wanted if sells else -wanted, amount * after_fee)
    )
    if numerator <= 0 or denominator <= 0:
        return None
    exact = numerator / denominator
    limit = ceil(exact, terms.tick) if sells else floor(exact, terms.tick)
    return limit if limit > 0 else None


def _left(terms: ContractTerms, size: Fraction, limit: Fraction, unit: Fraction) -> Fraction:
    fee = ceil(terms.fee * notional(terms, size, limit, unit), unit)
    return -cost(terms, -size, limit, unit) - fee
