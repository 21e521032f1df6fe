"""Who pays a negative balance: funds, those who share the loss, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.decisions import BadDebt, FundDraw, LossCharged, LossShared, Shortfall
from tests.twin.amounts import ZERO, ceil, decimal, floor
from tests.twin.books import Group, World
from tests.twin.funds import VENUE, change_fund, pay
from tests.twin.values import health, value


@dataclass
class Part:
    """What one market caused of a negative balance, and what of it is still unpaid."""

    asset: str
    market: str
    left: Fraction

    def about(self, amount: Fraction) -> dict[str, object]:
        """Return what every decision about an amount of it says."""
        return {"asset": self.asset, "market": self.market, "amount": decimal(amount)}


def pay_shortfall(world: World, group: Group, number: int, cause: str, part: Part) -> None:
    """Let each layer pay what it can; what is left is bad debt."""
    ledger, key = world.ledger, (part.asset, part.market)
    world.emit_for(group, Shortfall, number=number, **part.about(part.left))
    ledger.shortfall[key] += part.left
    for draw in list(pay(world, part.asset, part.market, part.left)):
        ledger.paid_by_fund[key] += draw.amount
        part.left -= draw.amount
        can = decimal(draw.capacity)
        world.emit_for(group, FundDraw, capacity=can, fund=draw.fund, **part.about(draw.amount))
    _share(world, group, part)
    if part.left > 0:
        account = world.accounts[group.account]
        account.debts += 1
        ledger.bad_debt[key] += part.left
        world.emit_for(
            group,
            BadDebt,
            id=f"{group.account}:debt:{account.debts}",
            number=number,
            cause=cause,
            **part.about(part.left),
        )


# --- shared losses


@dataclass
class Sharer:
    """A group that bears a part of somebody else's loss: its weight, and what it can bear."""

    group: Group
    weight: Fraction
    able: Fraction


def _share(world: World, group: Group, part: Part) -> None:
    by, terms = world.rules.source.waterfall.socialised, world.contracts.get(part.market)
    if not by or not part.left or terms is None or terms.settle != part.asset:
        return
    sharers = _sharers(world, group, part)
    charges = _charges(sharers, part.left, world.unit(part.asset))
    amount = min(part.left, sum(charges, ZERO))
    if amount <= 0:
        return
    excess = sum(charges, ZERO) - amount
    part.left -= amount
    world.ledger.socialised[part.asset, part.market] += amount
    change_fund(world, VENUE, part.asset, excess)
    world.emit_for(
        group,
        LossShared,
        by=by,
        capacity=decimal(sum((each.able for each in sharers), ZERO)),
        excess=decimal(excess),
        **part.about(amount),
    )
    for each, charge in zip(sharers, charges, strict=True):
        if charge:
            each.group.cash[part.asset] -= charge
            world.emit_for(each.group, LossCharged, **part.about(charge))
    world.others_changed = True


def _charges(sharers: list[Sharer], left: Fraction, unit: Fraction) -> list[Fraction]:
    """Charge everybody its part; who has less gives all, and the others share what it lacks."""
    charged: dict[int, Fraction] = {}
    while left > 0 and len(charged) < len(sharers):
        rest = [place for place in range(len(sharers)) if place not in charged]
        whole = sum((sharers[place].weight for place in rest), ZERO)
        parts = {place: ceil(left * sharers[place].weight / whole, unit) for place in rest}
        unable = [place for place in rest if parts[place] > sharers[place].able]
        if not unable:
            charged |= parts
            break
        for place in unable:
            charged[place] = sharers[place].able
            left -= sharers[place].able
    return [charged.get(place, ZERO) for place in range(len(sharers))]


def _sharers(world: World, group: Group, part: Part) -> list[Sharer]:
    price, unit = world.price(part.asset, "index"), world.unit(part.asset)
    if price is None:
        return []
    found = []
    for each in world.groups():
        if each.account == group.account or not _bears(world, each):
            continue
        now = health(world, each)
        if now is None:
            continue
        weight, able = _weight(world, each, part), floor(now.equity / price, unit)
        if world.rules.source.waterfall.socialised == "winners":
            able = min(able, floor(weight, unit))
        if weight > 0 and able > 0:
            found.append(Sharer(each, weight, able))
    return found


def _bears(world: World, group: Group) -> bool:
    """Tell whether losses of others may be charged to a group."""
    rule = world.rules.source.waterfall
    if group.account == rule.fund_account:
        return False
    if rule.backstop is not None and group.account == rule.backstop.account:
        return False
    return world.accounts[group.account].role in ("trader", "market_maker")


def _weight(world: World, group: Group, part: Part) -> Fraction:
    if world.rules.source.waterfall.socialised == "winners":
        return session_result(world, group, part.asset)
    leg = group.legs.get(part.market)
    return ZERO if leg is None else abs(leg.size)


# --- the result of a session


def note_flow(world: World, group: Group, symbol: str, cash: Fraction) -> None:
    """Note what a symbol brought a group, where winners may have to bear losses."""
    if world.rules.source.waterfall.socialised == "winners":
        group.flow[symbol] += cash


def close_session(world: World) -> None:
    """Count what groups win from here, where winners may have to bear losses."""
    for group in world.groups():
        group.flow.clear()
        group.base.clear()
    if world.policy is None or world.rules.source.waterfall.socialised != "winners":
        return
    for group in world.groups():
        for symbol in group.legs:
            group.base[symbol] = _unrealised(world, group, symbol)


def session_result(world: World, group: Group, asset: str) -> Fraction:
    """Return what a group won in a session in what settles in an asset."""
    symbols = {*group.flow, *group.base, *group.legs}
    return sum(
        (
            group.flow.get(symbol, ZERO)
            + _unrealised(world, group, symbol)
            - group.base.get(symbol, ZERO)
            for symbol in symbols
            if world.contracts[symbol].settle == asset
        ),
        ZERO,
    )


def _unrealised(world: World, group: Group, symbol: str) -> Fraction:
    leg, mark, terms = group.legs.get(symbol), world.price(symbol, "mark"), world.contracts[symbol]
    if leg is None or mark is None:
        return ZERO
    return value(terms, leg.size, mark, world.unit(terms.settle)) - leg.cost
