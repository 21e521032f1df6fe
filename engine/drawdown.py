"""What the venue's insurance fund was lately, and whether it has fallen so far that deleveraging
begins; docs/semantics.md, 12."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from engine.money import ZERO
from engine.waterfall_profile import Drawdown

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.rules import Rules

Sample = tuple[int, Decimal]
"""What the fund was from a time (microseconds UTC) on."""


class FundHistory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The samples that can still be the fund's peak, falling, and whether deleveraging has begun
    and not ended since."""

    samples: tuple[Sample, ...] = ()
    deleveraging: bool = False


NO_HISTORY = FundHistory()


def _within(samples: tuple[Sample, ...], rule: Drawdown, now: int) -> tuple[Sample, ...]:
    """Return the samples of the window: those in it, and the last one before it."""
    older = sum(1 for time, _ in samples if time <= now - rule.window)
    return samples[max(older - 1, 0) :]


def begins(rule: Drawdown, peak: Decimal, amount: Decimal) -> bool:
    """Tell whether a fund has fallen so far from its peak that deleveraging begins."""
    return peak - amount > rule.start * peak


def ends(rule: Drawdown, peak: Decimal, amount: Decimal) -> bool:
    """Tell whether a fund has come so near to its peak that deleveraging ends."""
    return peak - amount < rule.stop * peak


def _peak(samples: tuple[Sample, ...]) -> Decimal:
    return max((amount for _, amount in samples), default=ZERO)


def deleverages(history: FundHistory, rule: Drawdown, now: int, amount: Decimal) -> bool:
    """Tell whether deleveraging goes on while the fund is `amount`: time alone can end it, when
    the peak is too long ago."""
    samples = _within(history.samples, rule, now)
    return history.deleveraging and not ends(rule, _peak(samples), amount)


def followed(
    history: FundHistory, rule: Drawdown, now: int, before: Decimal, after: Decimal
) -> FundHistory:
    """Return the history with a change of the fund; the first one begins with what it was before.

    A sample that a later one passes can be no peak any more, and is dropped.
    """
    began = deleverages(history, rule, now, before)
    samples = _within(history.samples or ((now, before),), rule, now)
    samples = (*(sample for sample in samples if sample[1] > after), (now, after))
    peak = _peak(samples)
    began = begins(rule, peak, after) or (began and not ends(rule, peak, after))
    return FundHistory(samples, began)


def _rule(rules: Rules) -> Drawdown | None:
    adl = rules.in_force.waterfall.adl
    return None if adl is None else adl.drawdown


def follow(engine: Engine, asset: str, before: Decimal) -> None:
    """Take note that the venue's fund has changed; without a rule nothing is remembered."""
    rule, histories = _rule(engine.rules), engine.ledger.histories
    if rule is None:
        histories.pop(asset, None)
        return
    history, amount = histories.get(asset, NO_HISTORY), engine.ledger.fund[asset]
    histories[asset] = followed(history, rule, engine.time, before, amount)


def deleveraging(engine: Engine, asset: str) -> bool:
    """Tell whether positions settled in an asset may be deleveraged now."""
    rule = _rule(engine.rules)
    history = engine.ledger.histories.get(asset, NO_HISTORY)
    amount = engine.ledger.fund.get(asset, ZERO)
    return rule is None or deleverages(history, rule, engine.time, amount)
