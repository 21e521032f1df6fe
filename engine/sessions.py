"""What margin groups have won or lost since the last session was closed, by settlement asset.

A group keeps what its cash gained by fills, funding and settlement less the unrealised result at
the beginning of the session; its result adds the unrealised result of now. Kept only where today's
winners bear losses; docs/semantics.md, 12.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.money import ZERO

if TYPE_CHECKING:
    from engine.book import Group
    from engine.core import Engine


def kept(engine: Engine) -> bool:
    """Tell whether the rules in force have a use for results of sessions."""
    profile = engine.rules.profile
    return profile is not None and profile.waterfall.socialised == "winners"


def count(engine: Engine, group: Group, asset: str, cash: Decimal) -> None:
    """Count cash that a group gained (lost if < 0) by trading."""
    if kept(engine):
        _keep(group, asset, group.session.get(asset, ZERO) + cash)


def _keep(group: Group, asset: str, amount: Decimal) -> None:
    group.session.pop(asset, None)
    if amount:
        group.session[asset] = amount


def result(engine: Engine, group: Group, asset: str) -> Decimal:
    """Return what a group has won in an asset in this session."""
    return group.session.get(asset, ZERO) + unrealised(engine, group).get(asset, ZERO)


def unrealised(engine: Engine, group: Group) -> dict[str, Decimal]:
    """Return the unrealised results of legs that have a mark, by settlement asset."""
    found: dict[str, Decimal] = {}
    for symbol, leg in group.legs.items():
        mark = engine.markets.price(symbol, "mark")
        if mark is None:
            continue
        instrument = engine.rules.derivatives[symbol]
        unit = engine.rules.assets[instrument.settle].unit
        gain = instrument.value(leg.size, mark, unit) - leg.cost
        found[instrument.settle] = found.get(instrument.settle, ZERO) + gain
    return found


def close(engine: Engine) -> None:
    """Begin a session: results are counted from here, where anybody counts them."""
    for group in engine.book.all_groups():
        begun = {asset: -gain for asset, gain in unrealised(engine, group).items() if gain}
        begun = begun if kept(engine) else {}
        if group.session != begun:
            group.session = begun
            engine.changed.accounts.add(group.account.id)
