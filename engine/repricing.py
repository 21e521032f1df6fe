"""What prices and rules change: which groups have to be looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as e
from engine.book import Group
from engine.decisions import MarkUsed

if TYPE_CHECKING:
    from engine.core import Engine


def price_moved(engine: Engine, event: e.PriceUpdate) -> None:
    """Take over a price, and touch the groups that it may have taken over a threshold."""
    symbol, kind = event.symbol, event.kind
    before = engine.prices.get((symbol, kind))
    engine.prices[symbol, kind] = MarkUsed(symbol, kind, event.price, event.source, event.time)
    is_asset = symbol in engine.rules.assets
    if kind == "last" or (kind == "index" and not is_asset):
        return
    was, now = float((before or event).price), float(event.price)
    if engine.watch.strayed(symbol, was, now) or before is None:
        holders = _holders_of_asset(engine, symbol) if is_asset else engine.book.holders(symbol)
        engine.look_at(holders)
    elif engine.watch.worn():
        engine.watch.renewed()
        engine.look_at(list(engine.book.all_groups()))
    elif is_asset:
        engine.look_at(engine.watch.index_moved(symbol, was, now))
    else:
        engine.look_at(engine.watch.mark_moved(symbol, was, now, engine.prices))


def _holders_of_asset(engine: Engine, asset: str) -> list[Group]:
    """Return the groups that own or owe an asset, or have a leg settled in it."""
    column = engine.book.cash_column(asset)
    found = {engine.book.at(row) for row in column.nonzero()[0].tolist()}
    for symbol, table in engine.book.legs.items():
        if table.settle.name == asset:
            found.update(engine.book.holders(symbol))
    return sorted(found, key=lambda group: group.key)


def instrument_listed(engine: Engine, event: e.InstrumentListed) -> None:
    """Define an asset or instrument; the same definition again changes nothing."""
    if engine.rules.definition(event.instrument.name) != event.instrument:
        engine.list_instrument(event.instrument)
        rules_changed(engine)


def profile_changed(engine: Engine, event: e.ProfileChanged) -> None:
    """Put a profile in force; the same content again changes nothing."""
    if engine.rules.profile != event.profile:
        engine.rules.put_in_force(event.profile)
        rules_changed(engine)


def rules_changed(engine: Engine) -> None:
    """Renew what is derived from the rules, and look at every group again."""
    engine.changed.rules = True
    if engine.rules.profile is not None:
        engine.watch.new_rules()
        engine.timers.set_anew(engine)
        engine.look_at(list(engine.book.all_groups()))
