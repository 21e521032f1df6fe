"""What prices and rules change: which groups have to be looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as e
from engine import guard, loans, pace, sessions
from engine.book import Group
from engine.decisions import MarkUsed
from engine.instruments import Option
from engine.options import OptionInputs, value
from engine.volatility import averaged
from engine.volatility_steps import follow_volatility

if TYPE_CHECKING:
    from engine.core import Engine


def price_moved(engine: Engine, event: e.PriceUpdate) -> None:
    """Take over a price, unless it is held, and touch the groups that it may have taken over a
    threshold."""
    if guard.holds(engine, event):
        return
    repriced(engine, MarkUsed(event.symbol, event.kind, event.price, event.source, event.time))


def option_marked(engine: Engine, event: e.OptionMark) -> None:
    """Take over what an option is valued by, and its value as its mark."""
    option = engine.rules.derivatives[event.symbol]
    if not isinstance(option, Option):
        raise LookupError(f"option mark {event.symbol}: no option")
    inputs = OptionInputs(event.iv, event.forward, event.discount, engine.time)
    engine.markets.options[event.symbol] = inputs
    price = value(option, inputs)
    repriced(engine, MarkUsed(event.symbol, event.kind, price, event.source, event.time))


def repriced(engine: Engine, mark: MarkUsed) -> None:
    """Put a price in force: averages and volatility follow, then groups are touched."""
    symbol, kind = mark.symbol, mark.kind
    before = engine.prices.get((symbol, kind))
    is_asset = symbol in engine.rules.assets
    counts = kind == ("index" if is_asset else "mark")
    if counts:
        _average(engine, mark, before)
    engine.prices[symbol, kind] = mark
    if not counts:
        return
    _touch_moved(engine, mark, before, is_asset=is_asset)
    follow_volatility(engine, symbol, mark.price)


def _average(engine: Engine, mark: MarkUsed, before: MarkUsed | None) -> None:
    window = engine.rules.in_force.entry.average_window
    listed = engine.rules.derivatives.get(mark.symbol)
    if window is None or isinstance(listed, Option):
        return
    key = (mark.symbol, mark.kind)
    since = None if before is None else (before.price, before.time)
    averages = engine.markets.averages
    averages[key] = averaged(averages.get(key), window, mark.price, since, engine.time)


def _touch_moved(
    engine: Engine, mark: MarkUsed, before: MarkUsed | None, *, is_asset: bool
) -> None:
    """Touch the groups that a price may have taken over a threshold."""
    symbol = mark.symbol
    was, now = float((before or mark).price), float(mark.price)
    if engine.watch.strayed(symbol, was, now) or before is None:
        holders = _holders_of_asset(engine, symbol) if is_asset else engine.book.holders(symbol)
        engine.look_at(holders)
    elif engine.watch.worn():
        engine.watch.renewed()
        engine.look_at(list(engine.book.all_groups()))
    elif is_asset:
        engine.look_at(engine.watch.index_moved(symbol, was, now))
    else:
        engine.look_at(engine.watch.mark_moved(symbol, was, now))


def _holders_of_asset(engine: Engine, asset: str) -> list[Group]:
    """Return the groups that own or owe an asset, have a leg settled in it, or a loan of it."""
    column = engine.book.cash_column(asset)
    found = {engine.book.at(row) for row in column.nonzero()[0].tolist()}
    for symbol, table in engine.book.legs.items():
        if table.settle.name == asset:
            found.update(engine.book.holders(symbol))
    for pool, rule in engine.rules.lending.pools.items() if engine.rules.lending else ():
        if rule.asset == asset:
            found.update(loans.concerned(engine, pool))
    return sorted(found, key=lambda group: group.key)


def instrument_listed(engine: Engine, event: e.InstrumentListed) -> None:
    """Define an asset or instrument; the same definition again changes nothing."""
    if engine.rules.definition(event.instrument.name) != event.instrument:
        engine.list_instrument(event.instrument)
        rules_changed(engine)


def profile_changed(engine: Engine, event: e.ProfileChanged) -> None:
    """Put a profile in force; the same content again changes nothing."""
    if engine.rules.profile != event.profile:
        old, new = engine.rules.profile, event.profile
        held, counted = loans.leave_rules(engine), sessions.kept(engine)
        engine.rules.put_in_force(new)
        engine.list_pools()
        loans.enter_rules(engine, held)
        if sessions.kept(engine) != counted:
            sessions.close(engine)
        engine.gates.unsettled.update(engine.rules.assets)
        if old and (old.liquidation, old.waterfall) != (new.liquidation, new.waterfall):
            _unpause(engine)
        rules_changed(engine)


def _unpause(engine: Engine) -> None:
    """Have no group wait for what other rules had it wait for."""
    for group in engine.liquidating:
        if group.liquidation is not None:
            group.liquidation.unpause()
            engine.touch(group)


def _forget_what_no_rule_keeps(engine: Engine) -> None:
    """Drop averages, samples and counts that the profile in force has no use for."""
    guard.drop_unruled(engine)
    pace.drop_unruled(engine)
    markets, rules = engine.markets, engine.rules
    if rules.in_force.entry.average_window is None:
        engine.changed.markets.update(symbol for symbol, _ in markets.averages)
        markets.averages.clear()
    for symbol in [name for name in markets.volatilities if rules.volatility_of(name) is None]:
        del markets.volatilities[symbol]
        engine.changed.markets.add(symbol)


def rules_changed(engine: Engine) -> None:
    """Renew what is derived from the rules, and look at every group again."""
    engine.changed.rules = True
    if engine.rules.profile is not None:
        _forget_what_no_rule_keeps(engine)
        engine.watch.new_rules()
        engine.timers.set_anew(engine)
        engine.look_at(list(engine.book.all_groups()))
