"""Which fund pays for a market and how far, and what follows from what the funds hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from engine.decisions import WithdrawalGate
from engine.waterfall_profile import Drawdown
from tests.twin.amounts import ONE, ZERO, ceil, decimal, floor
from tests.twin.books import Order, World
from tests.twin.terms import ContractTerms
from tests.twin.values import exact_value

VENUE = ""


@dataclass
class Draw:
    """What a fund paid, and what it could have paid."""

    fund: str
    amount: Fraction
    capacity: Fraction


def fund_of(world: World, market: str) -> str:
    """Return the name of the fund of a market, the venue's where it has none of its own."""
    rule = world.rules.source.waterfall.fund
    own = {"venue": VENUE, "market": market, "group": rule.groups.get(market, VENUE)}
    return own[rule.by]


def layers_of(world: World, market: str) -> list[str]:
    """Return the funds that pay for a market, in their order."""
    first = fund_of(world, market)
    if first != VENUE and world.rules.source.waterfall.fund.then_venue:
        return [first, VENUE]
    return [first]


def held(world: World, name: str, asset: str) -> Fraction:
    """Return what a fund has of an asset."""
    if name == VENUE:
        return world.ledger.fund.get(asset, ZERO)
    return world.ledger.named_funds.get((asset, name), ZERO)


def lost(terms: ContractTerms, sells: bool, price: Fraction, mark: Fraction) -> Fraction:
    """Return what whoever takes a size of 1 at a price loses at the mark, exactly."""
    size = ONE if sells else -ONE
    return exact_value(terms, size, price) - exact_value(terms, size, mark)


def held_by(world: World, order: Order) -> Fraction:
    """Return what a live transfer may still cost who takes it."""
    terms, mark = world.contracts[order.symbol], world.price(order.symbol, "mark")
    assert mark is not None
    each = max(ZERO, lost(terms, order.sells, order.limit, mark))
    return ceil(each * (order.size - order.filled), world.unit(terms.settle))


def _promises(world: World, asset: str) -> list[tuple[str, str, Fraction]]:
    """Return what each fund has promised in each market: fund, market, amount."""
    found = list[tuple[str, str, Fraction]]()
    live = [order for _, order in world.live_orders() if order.layer == "fund"]
    for symbol in sorted({order.symbol for order in live}):
        if world.contracts[symbol].settle != asset:
            continue
        due = sum((held_by(world, order) for order in live if order.symbol == symbol), ZERO)
        for name in layers_of(world, symbol):
            left = held(world, name, asset)
            left -= sum((part for fund, _, part in found if fund == name), ZERO)
            found.append((name, symbol, min(due, left)))
            due -= min(due, left)
    return found


def capacities(
    world: World, asset: str, market: str, amount: Fraction = ZERO
) -> list[tuple[str, Fraction]]:
    """Return what each fund of a market can give of an amount, of positions without one."""
    found, promises = [], _promises(world, asset)
    most = _uncapped(world, asset, market)
    most -= sum((part for _, symbol, part in promises if symbol == market), ZERO)
    for name in layers_of(world, market):
        has = held(world, name, asset)
        has -= sum((part for fund, _, part in promises if fund == name), ZERO)
        can = max(ZERO, min(has, most))
        if world.rules.source.waterfall.fund.whole and can < amount:
            can = ZERO
        most -= can
        found.append((name, can))
    return found


def _uncapped(world: World, asset: str, market: str) -> Fraction:
    """Return what may still be paid for a market in all."""
    caps, ledger = world.rules.source.waterfall.fund.caps, world.ledger
    if market not in caps:
        return world.assets[asset].largest * 10
    cap, key = floor(Fraction(caps[market]), world.unit(asset)), (asset, market)
    return cap - ledger.paid_by_fund.get(key, ZERO) - ledger.paid_for_positions.get(key, ZERO)


def pay(
    world: World, asset: str, market: str, amount: Fraction, whole: bool = True
) -> Iterator[Draw]:
    """Take an amount from the funds of a market, as far as they can."""
    for name, can in capacities(world, asset, market, amount if whole else ZERO):
        paid = min(amount, can)
        if paid > 0:
            amount -= paid
            change_fund(world, name, asset, -paid)
            yield Draw(name, paid, can)


def change_fund(world: World, name: str, asset: str, amount: Fraction) -> None:
    """Add to a fund, or take from it; deleveraging follows."""
    before = held(world, name, asset)
    if name == VENUE:
        world.ledger.fund[asset] += amount
    else:
        world.ledger.named_funds[asset, name] += amount
    if amount:
        _follow(world, name, asset, before)


def _drawdown(world: World) -> Drawdown | None:
    if world.policy is None or world.rules.source.waterfall.adl is None:
        return None
    return world.rules.source.waterfall.adl.drawdown


def _follow(world: World, name: str, asset: str, before: Fraction) -> None:
    rule, key = _drawdown(world), (name, asset)
    if rule is None:
        world.fund_samples.pop(key, None)
        world.deleveraging.discard(key)
        return
    if not _has_fallen(world, name, asset, before):
        world.deleveraging.discard(key)
    after, slot = held(world, name, asset), _slot(rule)
    samples = world.fund_samples.setdefault(key, [])
    samples += [(world.time // slot * slot, amount) for amount in (before, after)]
    peak = _peak(world, name, asset, after)
    if not after or peak - after > Fraction(rule.start) * peak:
        world.deleveraging.add(key)
    elif peak - after <= Fraction(rule.stop) * peak:
        world.deleveraging.discard(key)


def _slot(rule: Drawdown) -> int:
    """Return how long a slot of the window is."""
    return int(ceil(Fraction(rule.window, 64), ONE))


def _peak(world: World, name: str, asset: str, now: Fraction) -> Fraction:
    rule = _drawdown(world)
    assert rule is not None
    slot = _slot(rule)
    since = (world.time // slot - 64) * slot
    samples = world.fund_samples.get((name, asset), [])
    return max([now, *(amount for time, amount in samples if time >= since)])


def deleverages(world: World, asset: str, market: str) -> bool:
    """Tell whether all funds of a market have fallen so far that positions in profit are closed."""
    return _drawdown(world) is None or all(
        _has_fallen(world, name, asset, held(world, name, asset))
        for name in layers_of(world, market)
    )


def _has_fallen(world: World, name: str, asset: str, fund: Fraction) -> bool:
    rule = _drawdown(world)
    assert rule is not None
    if not fund or (name, asset) not in world.deleveraging:
        return not fund
    peak = _peak(world, name, asset, fund)
    return peak - fund > Fraction(rule.stop) * peak


# --- what nobody paid


def outstanding(world: World, asset: str, market: str) -> Fraction:
    """Return what of the bad debt of a market neither came in nor was given up."""
    ledger, key = world.ledger, (asset, market)
    gone = ledger.recovered.get(key, ZERO) + ledger.written_off.get(key, ZERO)
    return ledger.bad_debt.get(key, ZERO) - gone


def review_gates(world: World) -> None:
    """Stop withdrawals while more is unpaid than all funds hold, and let them go on again."""
    if world.policy is None:
        return
    ledger = world.ledger
    for asset in sorted(world.assets):
        keys = [key for key in ledger.bad_debt if key[0] == asset]
        unpaid = sum((outstanding(world, *key) for key in keys), ZERO)
        fund = ledger.fund.get(asset, ZERO)
        funds = ledger.named_funds.items()
        fund += sum((part for (named, _), part in funds if named == asset), ZERO)
        closed = world.rules.source.waterfall.gate and unpaid > fund
        if closed != (asset in world.gated):
            world.gated ^= {asset}
            world.emit(
                WithdrawalGate,
                asset=asset,
                closed=closed,
                outstanding=decimal(unpaid),
                fund=decimal(fund),
            )
