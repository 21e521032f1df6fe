"""Whether a profile contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from engine.profile import Bracket, Requirement, RiskProfile

MILLISECOND, HOUR = 1000, 3_600_000_000


def faulty(profile: RiskProfile) -> bool:
    """Tell whether a profile contradicts itself."""
    return not all(_sound(profile))


def _sound(profile: RiskProfile) -> Iterator[bool]:
    trigger, rule = profile.trigger, profile.liquidation
    yield bool(profile.requirements or profile.portfolios)
    yield profile.numeraire in profile.collateral
    yield all(asset in profile.collateral for asset in profile.conversion)
    yield len(set(profile.conversion)) == len(profile.conversion)
    yield all(_sound_collateral(profile, asset) for asset in profile.collateral)
    yield all(_sound_requirement(rule) for rule in profile.requirements.values())
    yield 0 <= trigger.stop_buffer < 10 and trigger.stop_notional_buffer >= 0
    yield trigger.fixed_cost >= 0
    buffered = trigger.stop_buffer > 0 or trigger.stop_notional_buffer > 0
    yield not trigger.at_equality or buffered or trigger.stop_at == "initial"
    for threshold in (profile.margin_call, profile.cancel_orders):
        yield threshold is None or 0 <= threshold.reset < threshold.at <= 1
    for wait in (rule.order_ttl, rule.ack_timeout, rule.gap_timeout):
        yield MILLISECOND <= wait <= HOUR
    yield 0 <= rule.max_slippage < 1 and 0 <= rule.fee_rate < 1


def _sound_requirement(rule: Requirement) -> bool:
    share = rule.maintenance_share
    grows = all(low.cap < high.cap for low, high in pairwise(rule.brackets))
    rates = [(_initial(b), b.maintenance_rate) for b in rule.brackets]
    for (lower, less), (higher, more) in pairwise(rates):
        grows = grows and lower <= higher and (share is not None or (less or 0) <= (more or 0))
    return bool(rule.brackets) and grows and all(_sound_bracket(b, share) for b in rule.brackets)


def _sound_bracket(bracket: Bracket, share: object) -> bool:
    initial, maintenance = _initial(bracket), bracket.maintenance_rate
    below = share is not None or (maintenance is not None and 0 < maintenance <= initial)
    return bracket.cap > 0 and 0 < initial <= 1 and below


def _initial(bracket: Bracket) -> float:
    if bracket.initial_rate is not None:
        return float(bracket.initial_rate)
    return 1 / float(bracket.max_leverage) if bracket.max_leverage else 0.0


def _sound_collateral(profile: RiskProfile, asset: str) -> bool:
    rule = profile.collateral[asset]
    sound = asset in profile.conversion
    if asset == profile.numeraire:
        sound = sound and rule.haircut == 0 and rule.borrow_weight == 1
    else:
        sound = sound or rule.haircut == 1
    below = rule.auto_convert_below
    return (
        sound
        and 0 <= rule.haircut <= 1
        and 1 <= rule.borrow_weight < 100
        and (below is None or below >= 0)
    )
