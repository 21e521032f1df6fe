"""What makes the rules of who takes and who pays unsound; each check yields a fault, or nothing."""

from __future__ import annotations

from engine.liquidation_profile import SECOND
from engine.ranges import NAME, Faults, at, not_negative, positive, within
from engine.waterfall_profile import Backstop, Deleveraging, Drawdown, FundRule, Waterfall

WINDOW_LARGEST = 30 * 86_400 * SECOND
"""The longest memory of a fund's peak."""


def waterfall_faults(rule: Waterfall) -> Faults:
    """Yield every fault of a waterfall, with its place."""
    yield from _takers(rule)
    if rule.backstop is not None:
        yield from at("backstop", _backstop(rule.backstop))
    if rule.adl is not None:
        yield from at("adl", _adl(rule.adl))
    yield from at("fund", _fund(rule.fund))
    if rule.fund.capacity is not None and "fund" not in rule.takers:
        yield "fund: capacity: given, and takers does not name fund"


def _takers(rule: Waterfall) -> Faults:
    if len(set(rule.takers)) != len(rule.takers):
        yield "takers: names one twice"
    if rule.fund_account:
        yield from _account("fund_account", rule.fund_account)
        if "fund" not in rule.takers:
            yield "fund_account: given, and takers does not name fund"
        if rule.backstop is not None and rule.backstop.account == rule.fund_account:
            yield f"backstop: account {rule.fund_account} is the fund_account too"
    elif "fund" in rule.takers:
        yield "takers: fund, and there is no fund_account whose positions those are"
    for taker, table in (("backstop", rule.backstop), ("adl", rule.adl)):
        if taker in rule.takers and table is None:
            yield f"takers: {taker}, and there is no table {taker}"
        elif taker not in rule.takers and table is not None:
            yield f"{taker}: given, and takers does not name it"


def _account(field: str, name: str) -> Faults:
    if not NAME.fullmatch(name):
        yield f"{field} {name!r} is no account id"


def _backstop(rule: Backstop) -> Faults:
    yield from _account("account", rule.account)
    yield from positive("capacity", rule.capacity)
    if rule.below is not None and not (within(rule.below, 0, 1) and rule.below > 0):
        yield f"below {rule.below} not in (0, 1): at 1 the market is never tried"


def _adl(rule: Deleveraging) -> Faults:
    if rule.drawdown is not None:
        yield from at("drawdown", _drawdown(rule.drawdown))


def _drawdown(rule: Drawdown) -> Faults:
    if not SECOND <= rule.window <= WINDOW_LARGEST:
        yield f"window {rule.window} µs not in a second to 30 days"
    if not (within(rule.start, 0, 1) and rule.start > 0):
        yield f"start {rule.start} not in (0, 1)"
    if rule.stop < 0:
        yield f"stop {rule.stop} negative"
    if rule.stop >= rule.start:
        yield f"stop {rule.stop} not below start {rule.start}: a start would be at once a stop"


def _fund(rule: FundRule) -> Faults:
    if rule.groups and rule.by != "group":
        yield f"groups: given, and by is {rule.by}"
    elif rule.by == "group" and not rule.groups:
        yield "by group, and no groups are given"
    for market, name in sorted(rule.groups.items()):
        if not NAME.fullmatch(name):
            yield f"groups {market}: {name!r} is no name of a fund"
    if rule.then_venue and rule.by == "venue":
        yield "then_venue: given, and the venue's fund is the only one"
    for market, cap in sorted(rule.caps.items()):
        yield from not_negative(f"caps {market}", cap)
    if rule.capacity is not None:
        yield from positive("capacity", rule.capacity)
