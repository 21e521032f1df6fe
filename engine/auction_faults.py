"""What makes the rules of a Dutch auction unsound, in words, as in `profile_faults`."""

from __future__ import annotations

from engine.auction import Decay, Reset
from engine.lending_profile import DutchAuction
from engine.profile import SECOND
from engine.ranges import Faults, at, not_negative, part, positive, step, within


def auction_faults(rule: DutchAuction) -> Faults:
    """Yield every fault of how collateral is auctioned."""
    yield from at("decay", decay_faults(rule.decay))
    yield from at("reset", _reset(rule.reset, rule.decay))
    yield from positive("start_factor", rule.start_factor)
    yield from not_negative("pay: flat", rule.pay.flat)
    yield from at("pay", part("share", rule.pay.share))
    if rule.in_flight is not None:
        yield from positive("in_flight: limit", rule.in_flight.limit)
        yield from positive("in_flight: collateral_limit", rule.in_flight.collateral_limit)
        if rule.in_flight.collateral_limit > rule.in_flight.limit:
            yield (
                f"in_flight: collateral_limit {rule.in_flight.collateral_limit} above limit "
                f"{rule.in_flight.limit}"
            )
    if rule.most_resets is not None and rule.most_resets < 0:
        yield f"most_resets {rule.most_resets} negative"


def decay_faults(rule: Decay) -> Faults:
    """Yield every fault of how an auction's price falls."""
    yield from step("step", rule.step)
    if rule.shape == "linear":
        yield from positive("duration", rule.duration)
        return
    if not (within(rule.cut, 0, 1) and rule.cut > 0):
        yield f"cut {rule.cut} not in (0, 1): the price has to fall"
    yield from positive("interval", rule.interval)
    if rule.shape == "exponential" and rule.interval != SECOND:
        yield f"interval {rule.interval} µs not a second: an exponential price is cut each second"


def _reset(rule: Reset, decay: Decay) -> Faults:
    if rule.after < SECOND:
        yield f"after {rule.after} µs below a second"
    yield from part("below", rule.below)
    if decay.shape == "linear" and 0 < decay.duration < rule.after:
        yield f"after {rule.after} µs beyond the duration {decay.duration}: it stands at nothing"
