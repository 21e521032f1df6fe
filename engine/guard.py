"""What holds liquidation back by itself: prices that jump too far, and too much of forced flow.

docs/semantics.md, 11. A bad print costs nothing, because it needs a second one that agrees with it;
a price that stays away is believed in the end. A market that liquidation itself drives is halted
like by an operator, until `Resume`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine import events as e
from engine.decisions import BreakerTripped, PriceHeld
from engine.instruments import Option
from engine.liquidation_profile import SECOND
from engine.markets import HeldPrice
from engine.money import ZERO

if TYPE_CHECKING:
    from engine.core import Engine

MINUTE = 60
"""Seconds."""

FEWEST, LONGEST = 5, 10 * SECOND
"""So many prices in a row that jumped too far, over so long a time, are believed, even if no two of
them agree."""


def holds(engine: Engine, event: e.PriceUpdate) -> bool:
    """Hold a price that jumped too far from the one in force, unless the one held before agrees
    with it, or none has been near for too long; tell whether it is held."""
    jump = engine.rules.in_force.liquidation.fuses.max_jump
    key = (event.symbol, event.kind)
    last, held = engine.markets.price(*key), engine.markets.held.pop(key, None)
    option = isinstance(engine.rules.definition(event.symbol), Option)
    if jump is None or last is None or option or event.kind == "last":
        return False
    if abs(event.price - last) <= jump * last:
        return False
    count, since = 1, engine.time
    if held is not None:
        if held.price != event.price and abs(event.price - held.price) <= jump * held.price:
            return False
        count, since = held.count + 1, held.since
    believed = count >= FEWEST and engine.time >= since + LONGEST
    if not believed:
        engine.markets.held[key] = HeldPrice(event.price, since, count)
    engine.emit(
        PriceHeld,
        symbol=event.symbol,
        kind=event.kind,
        price=event.price,
        last=last,
        source=event.source,
        believed=believed,
    )
    return not believed


def forced_flow(engine: Engine, symbol: str) -> Decimal:
    """Return the size that forced orders closed in a market within the last minute."""
    since = engine.time // SECOND - MINUTE
    flow = engine.markets.flow.get(symbol, ())
    return sum((size for second, size in flow if second > since), ZERO)


def note_flow(engine: Engine, symbol: str, closed: Decimal) -> None:
    """Count what a forced fill closed (signed size), and halt a market in which a minute's are more
    than the share of its open interest allowed."""
    share = engine.rules.in_force.liquidation.fuses.max_share_of_oi_per_minute
    interest = max(engine.markets.interest.get(symbol, (ZERO,)))
    if share is None or not interest:
        return
    flow, second = engine.markets.flow.setdefault(symbol, []), engine.time // SECOND
    while flow and flow[0][0] <= second - MINUTE:
        del flow[0]
    before = flow.pop()[1] if flow and flow[-1][0] == second else ZERO
    flow.append((second, before + abs(closed)))
    engine.changed.markets.add(symbol)
    total = forced_flow(engine, symbol)
    if total <= share * interest or engine.rules.halts(symbol):
        return
    engine.emit(BreakerTripped, symbol=symbol, flow=total, open_interest=interest)
    engine.rules.halted.add(symbol)
    engine.rules.tripped.add(symbol)
    engine.changed.rules = True
    engine.look_at(list(engine.liquidating))


def resumed(engine: Engine, scope: str) -> None:
    """Begin to count anew in the markets that the end of a halt covers ("": all of them), and end
    the halts that came of the count."""
    flow, rules = engine.markets.flow, engine.rules
    covered = rules.tripped if not scope else rules.tripped & {scope}
    rules.halted -= covered
    rules.tripped = rules.tripped - covered
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
