"""Whether the rules of who takes positions and who pays contradict themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.profile import DAY, SECOND
from engine.waterfall_profile import Drawdown, FundRule, Waterfall

Checks = Iterator[bool]


def waterfall_checks(rule: Waterfall) -> Checks:
    """Yield whether each demand on the rules is met."""
    yield len(set(rule.takers)) == len(rule.takers)
    yield ("fund" in rule.takers) == (rule.fund_account != "")
    yield rule.fund_account == "" or _is_name(rule.fund_account)
    yield ("backstop" in rule.takers) == (rule.backstop is not None)
    yield ("adl" in rule.takers) == (rule.adl is not None)
    if rule.backstop is not None:
        yield _is_name(rule.backstop.account)
        yield rule.backstop.capacity > 0
        yield rule.backstop.account != rule.fund_account
        yield rule.backstop.below is None or 0 < rule.backstop.below < 1
    if rule.adl is not None and rule.adl.drawdown is not None:
        yield from _drawdown(rule.adl.drawdown)
        yield rule.fund.by != "market" or rule.fund.then_venue
    yield from _fund(rule.fund)


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) is not None


def _drawdown(rule: Drawdown) -> Checks:
    yield SECOND <= rule.window <= 30 * DAY
    yield 0 < rule.stop < rule.start < 1


def _fund(rule: FundRule) -> Checks:
    yield bool(rule.groups) == (rule.by == "group")
    yield all(_is_name(name) for name in rule.groups.values())
    yield not rule.then_venue or rule.by != "venue"
    yield all(cap >= 0 for cap in rule.caps.values())
