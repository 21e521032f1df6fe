"""What stops by itself: prices that jump too far, and markets with too many forced fills."""

from __future__ import annotations

from fractions import Fraction

from engine.decisions import BreakerTripped, PriceHeld
from engine.events import PriceUpdate
from tests.twin.amounts import ZERO, decimal
from tests.twin.books import World


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
    row = [] if waiting is None else [*waiting, (world.time, price)]
    last = Fraction(before.price)
    near = abs(price - last) <= Fraction(jump) * last
    if near or _confirmed(row, Fraction(jump)):
        world.held.pop(key, None)
        return False
    believed = len(row) >= 5 and world.time >= row[0][0] + 10_000_000
    world.held[key] = row or [(world.time, price)]
    if believed:
        del world.held[key]
    world.emit(
        PriceHeld,
        symbol=event.symbol,
        kind=event.kind,
        price=event.price,
        last=before.price,
        source=event.source,
        believed=believed,
    )
    return not believed


def _confirmed(row: list[tuple[int, Fraction]], jump: Fraction) -> bool:
    """Tell whether the last of the prices held in a row agrees with the one before it."""
    if len(row) < 2:
        return False
    (_, first), (_, second) = row[-2:]
    return first != second and abs(second - first) <= jump * first


def watch_flow(world: World, symbol: str, closed: Fraction) -> None:
    """Halt a market of which too much was closed by force within a minute."""
    share = world.rules.source.liquidation.fuses.max_share_of_oi_per_minute
    interest = max(world.interest.get(symbol, (ZERO, ZERO)))
    if share is None or interest <= 0:
        return
    second = world.time // 1_000_000
    flow = [*world.forced[symbol], (second, abs(closed))]
    world.forced[symbol] = flow = [each for each in flow if each[0] > second - 60]
    total = sum((size for _, size in flow), ZERO)
    if total > Fraction(share) * interest and not world.is_halted(symbol):
        world.halted.add(symbol)
        world.tripped.add(symbol)
        world.emit(
            BreakerTripped,
            symbol=symbol,
            flow=decimal(total),
            open_interest=decimal(interest),
        )


def clear_flow(world: World, symbol: str) -> None:
    """Count forced fills anew once a halt of a market, or of all, ends, and let it go on."""
    for name in list(world.tripped):
        if symbol in ("", name):
            world.tripped.discard(name)
            world.halted.discard(name)
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
