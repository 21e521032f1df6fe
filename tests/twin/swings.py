"""Averages of prices, and the factors that follow their volatility."""

from __future__ import annotations

from fractions import Fraction

from engine.decisions import RequirementChanged
from engine.events import PriceUpdate
from engine.profile import DAY, HOUR, Volatility
from tests.twin.amounts import ONE, RATE_STEP, ZERO, ceil, clamp, decimal, nearest, root
from tests.twin.books import Group, Swing, World
from tests.twin.values import breached, exposed, health

DAILY = Fraction(1, 10**9)
VARIANCE = Fraction(1, 10**18)
FACTOR = Fraction(1, 10**6)
NOT_LIQUIDATED = ("backstop", "fund", "exempt")


def average(world: World, event: PriceUpdate) -> None:
    """Take the price that was in force until now into its average."""
    window = world.rules.source.entry.average_window
    follows = "mark" if event.symbol in world.contracts else "index"
    if window is None or event.kind != follows:
        return
    key = (event.symbol, event.kind)
    before, known = world.prices.get(key), world.averages.get(key)
    if before is None or known is None:
        world.averages[key] = Fraction(event.price)
        return
    past = Fraction(before.price)
    elapsed = max(0, world.time - before.time)
    if elapsed < window:
        past = nearest((known * (window - elapsed) + past * elapsed) / window, RATE_STEP)
    world.averages[key] = past


def sample(world: World, event: PriceUpdate) -> None:
    """Take a mark into the volatility of its market, and tell which factors change."""
    rule = world.rules.source.volatility
    terms = world.contracts.get(event.symbol)
    if rule is None or terms is None or event.kind != "mark":
        return
    reference = world.rules.reference(event.symbol, terms)
    if reference is None:
        return
    price = Fraction(event.price)
    swing = world.swings.get(event.symbol)
    if swing is None:
        swing = world.swings[event.symbol] = _first(world, rule, reference, price)
        if swing.in_force["initial"] != 1:
            change = (ONE, swing.in_force["initial"])
            _tell(world, event.symbol, "initial", change, reference)
        return
    steps = (world.time - swing.sampled_at) // rule.interval
    if steps > 0:
        _enter(rule, swing, price, steps)
        used = _used(world, rule, swing)
        before = dict(swing.in_force)
        after = _follow(rule, swing, used / reference, steps * rule.interval)
        for requirement in ("initial", "maintenance"):
            change = (before[requirement], after[requirement])
            if change[0] != change[1]:
                _tell(world, event.symbol, requirement, change, used)


def forget(world: World) -> None:
    """Drop what the rules in force do not ask for."""
    if world.rules.source.entry.average_window is None:
        world.averages.clear()
    for symbol in list(world.swings):
        if world.rules.reference(symbol, world.contracts[symbol]) is None:
            del world.swings[symbol]


def _first(world: World, rule: Volatility, reference: Fraction, price: Fraction) -> Swing:
    start = clamp(ONE, Fraction(rule.floor), Fraction(rule.cap))
    factors = {"initial": start, "maintenance": ONE}
    variance = ceil(reference**2, VARIANCE)
    return Swing(world.time, price, variance, factors, dict(factors))


def _enter(rule: Volatility, swing: Swing, price: Fraction, steps: int) -> None:
    moved = ceil(abs(price - swing.sampled_price) / swing.sampled_price, RATE_STEP)
    kept = ONE
    for _ in range(min(steps, 100)):
        kept = ceil(kept * Fraction(rule.decay), VARIANCE)
    fresh = (1 - kept) * moved**2 * DAY / (steps * rule.interval)
    swing.variance = ceil(kept * swing.variance + fresh, VARIANCE)
    swing.sampled_at += steps * rule.interval
    swing.sampled_price = price


def _used(world: World, rule: Volatility, swing: Swing) -> Fraction:
    daily = root(swing.variance, DAILY)
    today = world.time // DAY
    peak = max(swing.peaks.get(today, ZERO), daily)
    swing.peaks = {d: p for d, p in swing.peaks.items() if d > today - rule.lookback_days}
    swing.peaks[today] = peak
    return max(daily, ceil(Fraction(rule.lookback_share) * max(swing.peaks.values()), DAILY))


def _follow(rule: Volatility, swing: Swing, ratio: Fraction, elapsed: int) -> dict[str, Fraction]:
    """Let both factors run towards where they should be; return what is then in force."""
    floor, cap, step = Fraction(rule.floor), Fraction(rule.cap), Fraction(rule.step)
    target = clamp(ceil(ratio, FACTOR), floor, cap)
    hours = Fraction(elapsed, HOUR)
    running = swing.running
    running["initial"] = _towards(
        target, running["initial"], Fraction(rule.rise) * hours, Fraction(rule.fall) * hours
    )
    if rule.maintenance_ramp is None:
        running["maintenance"] = ONE
    else:
        most = (cap - floor) * elapsed / rule.maintenance_ramp
        running["maintenance"] = _towards(running["initial"], running["maintenance"], most, most)
    after = {name: min(cap, ceil(running[name], step)) for name in running}
    if rule.maintenance_ramp is None:
        after["maintenance"] = ONE
    # Nobody opens with less than it takes to be liquidated.
    after["initial"] = max(after["initial"], after["maintenance"])
    return after


def _towards(target: Fraction, now: Fraction, rise: Fraction, fall: Fraction) -> Fraction:
    if target >= now:
        return min(target, ceil(now + rise, FACTOR))
    return max(target, ceil(now - fall, FACTOR))


def _tell(
    world: World,
    symbol: str,
    requirement: str,
    change: tuple[Fraction, Fraction],
    used: Fraction,
) -> None:
    groups = [group for account in world.accounts.values() for group in account.groups.values()]
    concerned = [group for group in groups if symbol in group.legs]
    in_force = world.swings[symbol].in_force
    in_force[requirement] = change[0]
    met = [group for group in concerned if _meets(world, group, requirement)]
    in_force[requirement] = change[1]
    pushed = [group for group in met if not _meets(world, group, requirement)]
    world.emit(
        RequirementChanged,
        symbol=symbol,
        requirement=requirement,
        before=decimal(change[0]),
        after=decimal(change[1]),
        volatility=decimal(used),
        pushed_under=len(pushed),
    )


def _meets(world: World, group: Group, requirement: str) -> bool:
    now = health(world, group)
    if now is None or world.accounts[group.account].role in NOT_LIQUIDATED or not exposed(group):
        return False
    if requirement == "maintenance":
        return not breached(world, group, now)
    initial = health(world, group, "initial")
    return initial is not None and initial.margin_equity >= initial.requirement
