"""What holds liquidation back by itself: prices that jump too far, and too much of forced flow.

docs/semantics.md, 11. A bad print costs nothing, because it needs a second one that agrees with it;
and a market that liquidation itself drives is halted like by an operator, until `Resume`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import events as e
from engine.decisions import BreakerTripped, PriceHeld
from engine.instruments import Option
from engine.liquidation_profile import SECOND
from engine.money import ZERO

if TYPE_CHECKING:
    from engine.core import Engine

MINUTE = 60 * SECOND


def holds(engine: Engine, event: e.PriceUpdate) -> bool:
    """Hold a price that jumped too far from the one in force, unless the one held before agrees
    with it; tell whether it is held."""
    jump = engine.rules.in_force.liquidation.fuses.max_jump
    key = (event.symbol, event.kind)
    last, held = engine.markets.price(*key), engine.markets.held.pop(key, None)
    option = isinstance(engine.rules.definition(event.symbol), Option)
    if jump is None or last is None or option or event.kind == "last":
        return False
    known = (last,) if held is None else (last, held)
    if any(abs(event.price - price) <= jump * price for price in known):
        return False
    engine.markets.held[key] = event.price
    engine.emit(
        PriceHeld,
        symbol=event.symbol,
        kind=event.kind,
        price=event.price,
        last=last,
        source=event.source,
    )
    return True


def note_flow(engine: Engine, symbol: str, closed: Decimal) -> None:
    """Count what a forced fill closed (signed size), and halt a market in which a minute's are more
    than the share of its open interest allowed."""
    share = engine.rules.in_force.liquidation.fuses.max_share_of_oi_per_minute
    interest = max(engine.markets.interest.get(symbol, (ZERO,)))
    if share is None or not interest:
        return
    since = engine.time - MINUTE
    flow = [one for one in engine.markets.flow.get(symbol, ()) if one[0] > since]
    flow.append((engine.time, abs(closed)))
    engine.markets.flow[symbol] = flow
    engine.changed.markets.add(symbol)
    total = sum((size for _, size in flow), ZERO)
    if total <= share * interest or engine.rules.halts(symbol):
        return
    engine.emit(BreakerTripped, symbol=symbol, flow=total, open_interest=interest)
    engine.rules.halted.add(symbol)
    engine.changed.rules = True
    engine.look_at(list(engine.liquidating))


def resumed(engine: Engine, scope: str) -> None:
    """Begin to count anew in the markets that the end of a halt covers ("": all of them)."""
    flow = engine.markets.flow
    for symbol in [name for name in flow if scope in ("", name)]:
        del flow[symbol]
        engine.changed.markets.add(symbol)


def drop_unruled(engine: Engine) -> None:
    """Forget held prices and flow where the profile in force has no such fuse."""
    fuses, markets = engine.rules.in_force.liquidation.fuses, engine.markets
    if fuses.max_jump is None:
        engine.changed.markets.update(symbol for symbol, _ in markets.held)
        markets.held.clear()
    if fuses.max_share_of_oi_per_minute is None:
        engine.changed.markets.update(markets.flow)
        markets.flow.clear()
