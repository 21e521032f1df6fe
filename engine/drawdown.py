"""The most that insurance funds were lately, and whether they have fallen so far that deleveraging
begins; docs/semantics.md, 12."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from engine.waterfall_profile import Drawdown

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.rules import Rules

SLOTS = 64
"""The parts of a window: of each one sample is kept, and it falls out of the window as a whole."""

Sample = tuple[int, Decimal]
"""The most that a fund was in a slot, with the time at which that begins (microseconds UTC)."""


class FundHistory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The samples that can still be a fund's peak, falling, and whether deleveraging has begun and
    not ended since."""

    samples: tuple[Sample, ...] = ()
    deleveraging: bool = False


NO_HISTORY = FundHistory()


def _length(rule: Drawdown) -> int:
    """Return how long a slot is, rounded up."""
    return -(-rule.window // SLOTS)


def _slot(rule: Drawdown, now: int) -> int:
    """Return when the slot of a time begins."""
    return now // _length(rule) * _length(rule)


def _since(rule: Drawdown, now: int) -> int:
    """Return when the window begins, with its first slot."""
    return _slot(rule, now) - SLOTS * _length(rule)


def begins(rule: Drawdown, peak: Decimal, amount: Decimal) -> bool:
    """Tell whether a fund has fallen so far from its peak that deleveraging begins, or is empty."""
    return not amount or peak - amount > rule.start * peak


def ends(rule: Drawdown, peak: Decimal, amount: Decimal) -> bool:
    """Tell whether a fund that is not empty has come so near to its peak that deleveraging ends."""
    return amount > 0 and peak - amount <= rule.stop * peak


def _peak(samples: tuple[Sample, ...], rule: Drawdown, now: int, amount: Decimal) -> Decimal:
    since = _since(rule, now)
    return max((most for time, most in samples if time >= since), default=amount)


def deleverages(history: FundHistory, rule: Drawdown, now: int, amount: Decimal) -> bool:
    """Tell whether deleveraging goes on while the fund is `amount`: time alone can end it, when
    the peak is too long ago."""
    peak = _peak(history.samples, rule, now, amount)
    return not amount or (history.deleveraging and not ends(rule, peak, amount))


def followed(
    history: FundHistory, rule: Drawdown, now: int, before: Decimal, after: Decimal
) -> FundHistory:
    """Return the history with a change of the fund.

    What it was before is of the slot too: nothing has changed it since the last sample. A sample
    that a later one reaches can be no peak any more, and is dropped.
    """
    began = deleverages(history, rule, now, before)
    slot, since, most = _slot(rule, now), _since(rule, now), max(before, after)
    most = max([most, *(amount for time, amount in history.samples if time == slot)])
    kept = (one for one in history.samples if one[0] >= since and one[1] > most)
    samples = (*kept, (slot, most))
    peak = _peak(samples, rule, now, after)
    began = begins(rule, peak, after) or (began and not ends(rule, peak, after))
    return FundHistory(samples, began)


def _rule(rules: Rules) -> Drawdown | None:
    adl = rules.profile.waterfall.adl if rules.profile is not None else None
    return None if adl is None else adl.drawdown


def follow(engine: Engine, asset: str, name: str, before: Decimal, after: Decimal) -> None:
    """Take note that a fund has changed; without a rule nothing is remembered."""
    rule, histories, key = _rule(engine.rules), engine.ledger.histories, (asset, name)
    if rule is None:
        histories.pop(key, None)
        return
    history = histories.get(key, NO_HISTORY)
    histories[key] = followed(history, rule, engine.time, before, after)


def deleveraging(engine: Engine, asset: str, name: str, amount: Decimal) -> bool:
    """Tell whether a fund, which is `amount` now, has fallen so far that positions may be
    deleveraged."""
    rule = _rule(engine.rules)
    history = engine.ledger.histories.get((asset, name), NO_HISTORY)
    return rule is None or deleverages(history, rule, engine.time, amount)
