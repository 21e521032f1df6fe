"""What stops by itself: prices that jump too far, and markets with too many forced fills."""

from __future__ import annotations

from fractions import Fraction

from engine.decisions import BreakerTripped, PriceHeld
from engine.events import PriceUpdate
from tests.twin.amounts import ZERO, decimal
from tests.twin.books import World

MINUTE = 60_000_000


def holds(world: World, event: PriceUpdate) -> bool:
    """Tell whether a price has to wait for a second one that agrees with it."""
    jump = world.rules.source.liquidation.fuses.max_jump
    terms = world.contracts.get(event.symbol)
    optional = terms is not None and terms.option is not None
    if jump is None or optional or event.kind not in ("mark", "index"):
        return False
    key, price = (event.symbol, event.kind), Fraction(event.price)
    before, waiting = world.prices.get(key), world.held.get(key)
    if before is None:
        return False
    agreed = [Fraction(before.price), *([waiting] if waiting is not None else [])]
    if any(abs(price - last) <= Fraction(jump) * last for last in agreed):
        world.held.pop(key, None)
        return False
    world.held[key] = price
    world.emit(
        PriceHeld,
        symbol=event.symbol,
        kind=event.kind,
        price=event.price,
        last=before.price,
        source=event.source,
    )
    return True


def watch_flow(world: World, symbol: str, closed: Fraction) -> None:
    """Halt a market of which too much was closed by force within a minute."""
    share = world.rules.source.liquidation.fuses.max_share_of_oi_per_minute
    interest = max(world.interest.get(symbol, (ZERO, ZERO)))
    if share is None or interest <= 0:
        return
    flow = [*world.forced[symbol], (world.time, abs(closed))]
    world.forced[symbol] = flow = [each for each in flow if each[0] > world.time - MINUTE]
    total = sum((size for _, size in flow), ZERO)
    if total > Fraction(share) * interest and not world.is_halted(symbol):
        world.halted.add(symbol)
        world.emit(
            BreakerTripped,
            symbol=symbol,
            flow=decimal(total),
            open_interest=decimal(interest),
        )


def clear_flow(world: World, symbol: str) -> None:
    """Count forced fills anew once a halt of a market, or of all, ends."""
    for name in [symbol] if symbol else list(world.forced):
        world.forced.pop(name, None)


def forget_control(world: World) -> None:
    """Drop what the rules in force do not ask for."""
    rule = world.rules.source.liquidation
    if rule.fuses.max_jump is None:
        world.held.clear()
    if rule.fuses.max_share_of_oi_per_minute is None:
        world.forced.clear()
    if rule.pace.unfilled is None:
        world.unfilled.clear()
