"""What a sample of volatility changes: the factors in force, and whom that pushes under."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from engine import decisions as d
from engine.book import Group
from engine.entry_screen import pushed
from engine.margin import breached, level
from engine.money import ONE
from engine.volatility import VolatilityState, begun, sampled

if TYPE_CHECKING:
    from engine.core import Engine

Kind = Literal["initial", "maintenance"]


def follow_volatility(engine: Engine, symbol: str, price: Decimal) -> None:
    """Take a price into the volatility of a symbol, and say where a factor in force changes."""
    if symbol not in engine.rules.derivatives:
        return
    rule, reference = engine.rules.in_force.volatility, engine.rules.volatility_of(symbol)
    if rule is None or reference is None:
        return
    before = engine.markets.volatilities.get(symbol)
    if before is None:
        after = begun(rule, reference, price, engine.time)
        before = msgspec.structs.replace(after, initial=ONE)
    else:
        after = sampled(rule, reference, before, price, engine.time)
    engine.markets.volatilities[symbol] = after
    if after.initial != before.initial:
        halfway = msgspec.structs.replace(after, maintenance=before.maintenance)
        _say(engine, symbol, "initial", before, halfway)
    if after.maintenance != before.maintenance:
        halfway = msgspec.structs.replace(after, maintenance=before.maintenance)
        _say(engine, symbol, "maintenance", halfway, after)
        engine.watch.new_factor(symbol)
        engine.look_at(engine.book.holders(symbol))


def _say(
    engine: Engine, symbol: str, kind: Kind, before: VolatilityState, after: VolatilityState
) -> None:
    engine.emit(
        d.RequirementChanged,
        symbol=symbol,
        requirement=kind,
        before=getattr(before, kind),
        after=getattr(after, kind),
        volatility=after.used,
        pushed_under=_pushed_under(engine, symbol, kind, before, after),
    )


def _pushed_under(
    engine: Engine, symbol: str, kind: Kind, before: VolatilityState, after: VolatilityState
) -> int:
    """Count the holders who met a requirement with the factor before, and do not after."""
    if getattr(after, kind) <= getattr(before, kind):
        return 0
    volatilities = engine.markets.volatilities
    now = volatilities[symbol]
    if kind == "initial":
        holders = pushed(engine, symbol, before.initial, after.initial)
    else:
        holders = engine.book.holders(symbol)
    volatilities[symbol] = before
    met = [g for g in holders if not g.account.protected and _meets(engine, g, kind)]
    volatilities[symbol] = after
    count = sum(not _meets(engine, group, kind) for group in met)
    volatilities[symbol] = now
    return count


def _meets(engine: Engine, group: Group, kind: Kind) -> bool:
    """Tell whether a priced group meets a requirement; an unpriced one is counted with neither."""
    if kind == "maintenance":
        state = engine.health_of(group)
        return state is not None and not breached(state, engine.rules)
    found = level(group.holdings, engine.rules, engine.markets, "initial")
    return found is not None and found.margin_equity >= found.requirement
