"""Who takes a position that the market does not: the fund, the backstop, those in profit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from tests.twin.amounts import ONE, ZERO, ceil, floor
from tests.twin.books import Group, Order, World
from tests.twin.deleveraging import counterparties
from tests.twin.funds import capacities, deleverages, layers_of
from tests.twin.terms import ContractTerms
from tests.twin.values import LegHealth, exact_value, health, notional, value


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


def live_transfers(world: World, layer: str) -> list[Order]:
    """Return every live transfer of a layer."""
    return [order for _, order in world.live_orders() if order.layer == layer]


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
    leg = offer.leg
    terms = world.contracts[leg.symbol]
    sells = leg.leg.size > 0
    each = _lost(terms, sells, offer.bankruptcy, leg.mark)
    free = sum((can for _, can in capacities(world, terms.settle, leg.symbol)), ZERO)
    funds = set(layers_of(world, leg.symbol))
    for order in live_transfers(world, "fund"):
        its = world.contracts[order.symbol]
        if its.settle == terms.settle and funds & set(layers_of(world, order.symbol)):
            free -= _held_by(world, order)
    can = offer.left if each <= 0 else floor(max(ZERO, free) / each, terms.lot)
    return Transfer("fund", name, "cross", min(offer.left, can), offer.bankruptcy, can)


def _lost(terms: ContractTerms, sells: bool, price: Fraction, mark: Fraction) -> Fraction:
    """Return what whoever takes a size of 1 at a price loses at the mark, exactly."""
    size = ONE if sells else -ONE
    return exact_value(terms, size, price) - exact_value(terms, size, mark)


def _held_by(world: World, order: Order) -> Fraction:
    """Return what a live transfer to the fund may still cost it."""
    terms, mark = world.contracts[order.symbol], world.price(order.symbol, "mark")
    assert mark is not None
    each = max(ZERO, _lost(terms, order.sells, order.limit, mark))
    return ceil(each * (order.size - order.filled), world.unit(terms.settle))


# --- the backstop


def _by_backstop(world: World, offer: Offer) -> Transfer | None:
    rule = world.rules.source.waterfall.backstop
    if rule is None:
        return None
    group = _taking_group(world, offer, rule.account)
    now = health(world, group) if group is not None else None
    if now is None:
        return None
    lot = world.contracts[offer.leg.symbol].lot
    room = Fraction(rule.capacity)
    for leg in now.legs:
        room -= leg.notional * now.price[world.contracts[leg.symbol].settle]
    for order in world.transfers_to(rule.account, "cross"):
        if order.layer == "backstop":
            room -= _worth(world, order.symbol, order.size - order.filled)
    each = _worth(world, offer.leg.symbol, lot)
    can = max(ZERO, floor(room / each, ONE)) * lot if each else offer.left
    size = min(offer.left, can)
    return Transfer("backstop", rule.account, "cross", size, offer.bankruptcy, can)


def _worth(world: World, symbol: str, size: Fraction) -> Fraction:
    """Return the notional of a size in the numeraire."""
    terms, mark = world.contracts[symbol], world.price(symbol, "mark")
    price = world.price(terms.settle, "index")
    assert mark is not None
    assert price is not None
    return notional(terms, size, mark, world.unit(terms.settle)) * price


# --- those in profit on the other side


def _by_others(world: World, offer: Offer) -> Iterator[Transfer]:
    rule = world.rules.source.waterfall.adl
    if rule is None:
        return
    symbol, mark = offer.leg.symbol, offer.leg.mark
    terms = world.contracts[symbol]
    if not deleverages(world, terms.settle):
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
