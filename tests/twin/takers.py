"""Who takes a position that the market does not: the fund, the backstop, those in profit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from tests.twin.amounts import ONE, ZERO, floor
from tests.twin.books import Group, Order, World
from tests.twin.deleveraging import counterparties
from tests.twin.funds import capacities, deleverages, held_by, lost
from tests.twin.values import Health, LegHealth, health, notional, value


@dataclass
class Transfer:
    """A part of a leg that `account` is to take; of deleveraging rank, score and what is
    forgone."""

    layer: str
    account: str
    margin: str
    size: Fraction
    price: Fraction
    capacity: Fraction = ZERO
    rank: int = 0
    score: Fraction = ZERO
    forgone: Fraction = ZERO


@dataclass
class Offer:
    """What is left to close of a leg of a group, and its bankruptcy price."""

    group: Group
    leg: LegHealth
    left: Fraction
    bankruptcy: Fraction


def transfers(world: World, offer: Offer, layer: str) -> Iterator[Transfer]:
    """Yield what one of those who take positions takes of an offer."""
    if layer == "adl":
        yield from _by_others(world, offer)
        return
    found = _by_fund(world, offer) if layer == "fund" else _by_backstop(world, offer)
    if found is not None and found.size > 0 and asks(offer, found.layer, found.account, "cross"):
        yield found


def asks(offer: Offer, layer: str, account: str, margin: str) -> bool:
    """Tell whether a counterparty did not fail the group before."""
    liquidation = offer.group.liquidation
    assert liquidation is not None
    return (offer.leg.symbol, layer, account, margin) not in liquidation.passed


def loss(world: World, symbol: str, size: Fraction, price: Fraction, mark: Fraction) -> Fraction:
    """Return by how much a signed size at a price is worth more than at the mark."""
    terms = world.contracts[symbol]
    unit = world.unit(terms.settle)
    return max(ZERO, value(terms, size, price, unit) - value(terms, size, mark, unit))


def _taking_group(world: World, offer: Offer, account: str) -> Group | None:
    """Return the group that takes for others, none where that cannot take."""
    if account not in world.accounts or account == offer.group.account:
        return None
    group = world.accounts[account].group("cross")
    return None if group.liquidation is not None else group


# --- the fund


def _by_fund(world: World, offer: Offer) -> Transfer | None:
    name = world.rules.source.waterfall.fund_account
    if _taking_group(world, offer, name) is None:
        return None
    rule = world.rules.source.waterfall.fund
    now = health(world, world.accounts[name].group("cross"))
    if now is None:
        return None
    asset = world.contracts[offer.leg.symbol].settle
    free = sum((can for _, can in capacities(world, asset, offer.leg.symbol)), ZERO)
    can = _bearable(world, offer, free * now_price(world, asset) + min(ZERO, now.equity))
    if rule.capacity is not None:
        can = min(can, _room(world, offer, now, "fund", name, Fraction(rule.capacity)))
    return Transfer("fund", name, "cross", min(offer.left, can), offer.bankruptcy, can)


def _bearable(world: World, offer: Offer, behind: Fraction) -> Fraction:
    """Return how much may be taken so that what it loses at the mark is behind it."""
    leg = offer.leg
    terms = world.contracts[leg.symbol]
    each = lost(terms, leg.leg.size > 0, offer.bankruptcy, leg.mark)
    if behind <= 0:
        return ZERO
    if each <= 0:
        return offer.left
    return floor(behind / (each * now_price(world, terms.settle)), terms.lot)


def now_price(world: World, asset: str) -> Fraction:
    """Return the price of a settlement asset, which is known where something is closed in it."""
    price = world.price(asset, "index")
    assert price is not None
    return price


# --- the backstop


def _by_backstop(world: World, offer: Offer) -> Transfer | None:
    rule = world.rules.source.waterfall.backstop
    if rule is None:
        return None
    group = _taking_group(world, offer, rule.account)
    now = health(world, group) if group is not None else None
    if now is None:
        return None
    behind = now.equity
    for order in _live(world, "backstop", rule.account):
        behind -= held_by(world, order) * now_price(world, world.contracts[order.symbol].settle)
    can = _room(world, offer, now, "backstop", rule.account, Fraction(rule.capacity))
    can = min(can, _bearable(world, offer, behind))
    return Transfer("backstop", rule.account, "cross", min(offer.left, can), offer.bankruptcy, can)


def _live(world: World, layer: str, account: str) -> list[Order]:
    """Return the live transfers of a layer to an account."""
    return [order for order in world.transfers_to(account, "cross") if order.layer == layer]


def _room(
    world: World, offer: Offer, now: Health, layer: str, account: str, room: Fraction
) -> Fraction:
    """Return how much may be taken for a notional that an account may hold in all."""
    for leg in now.legs:
        room -= leg.notional * now.price[world.contracts[leg.symbol].settle]
    for order in _live(world, layer, account):
        room -= _worth(world, order.symbol, order.size - order.filled)
    lot = world.contracts[offer.leg.symbol].lot
    each = _worth(world, offer.leg.symbol, lot)
    return max(ZERO, floor(room / each, ONE)) * lot if each else offer.left


def _worth(world: World, symbol: str, size: Fraction) -> Fraction:
    """Return the notional of a size in the numeraire."""
    terms, mark = world.contracts[symbol], world.price(symbol, "mark")
    assert mark is not None
    worth = notional(terms, size, mark, world.unit(terms.settle))
    return worth * now_price(world, terms.settle)


# --- those in profit on the other side


def _by_others(world: World, offer: Offer) -> Iterator[Transfer]:
    rule = world.rules.source.waterfall.adl
    if rule is None:
        return
    symbol, mark = offer.leg.symbol, offer.leg.mark
    terms = world.contracts[symbol]
    if not deleverages(world, terms.settle, symbol):
        return
    price = mark if rule.price == "mark" else offer.bankruptcy
    sign = 1 if offer.leg.leg.size > 0 else -1
    found = counterparties(world, offer.group, offer.leg, offer.left, price)
    for rank, (candidate, taken) in enumerate(found, start=1):
        if taken > 0:
            yield Transfer(
                layer="adl",
                account=candidate.group.account,
                margin=candidate.group.margin,
                size=taken,
                price=price,
                rank=rank,
                score=candidate.score,
                forgone=loss(world, symbol, sign * taken, price, mark),
            )
