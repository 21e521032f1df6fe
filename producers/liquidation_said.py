"""A profile's rules of liquidation and of who pays, in words: what is said of them once.

Each rule is a pair of words, what is ruled and how; those of reports and of explanations are the
same.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.liquidation_profile import (
    AtBankruptcy,
    Bounded,
    Everything,
    FallingPrice,
    Fillable,
    LeastReduction,
    LiquidationRule,
    LowerTier,
    Portion,
    PriceRamp,
    Pricing,
    Sizing,
    WholeLegs,
)
from engine.money import ONE
from engine.waterfall_profile import Backstop, Deleveraging, FundRule, Waterfall
from producers.lending_profile_report import decay_said
from producers.report import full, span

Said = tuple[str, str]

TOXIC = {
    "tag": "go out and say so",
    "halt": "wait",
    "full": "close everything",
    "take_over": "go to those who take positions",
}
TAKERS = {"fund": "the insurance fund", "backstop": "the backstop", "adl": "deleveraging"}
RANKED = {
    "binance": "ranked as at Binance",
    "bitmex": "ranked as at BitMEX",
    "hyperliquid": "ranked as at Hyperliquid",
    "pro_rata": "in proportion",
    "water_fill": "from the highest leverage down",
}
SHARED = {
    "open_interest": "those with open interest in the market",
    "winners": "the day's winners",
}


def liquidation_said(rule: LiquidationRule) -> Iterator[Said]:
    """Say how much is closed, at what price, for which fee, and how fast."""
    yield "Orders close", sizing_said(rule.sizing)
    if not isinstance(rule.sizing, Everything | WholeLegs):
        yield "They close whole legs", _whole(rule)
    first = "the one that frees most for its cost" if rule.legs == "cost" else "what needs most"
    yield "The first leg is", first
    if rule.slippage:
        costs = ", ".join(f"{name} {full(value)}" for name, value in sorted(rule.slippage.items()))
        yield "Closing is expected to slip by", costs
    if rule.netting:
        yield "Before any order", "legs are set against those of the account's other groups"
    if rule.cooldown is not None:
        critical = full(rule.cooldown.critical)
        yield "After a part it waits", f"{span(rule.cooldown.time)}, above {critical} × maintenance"
    yield "Limit", price_said(rule.price)
    yield "Slippage in stage backstop", full(rule.max_slippage)
    yield "Orders that would lower health", TOXIC[rule.toxic]
    yield "Liquidation fee", fee_said(rule)
    yield from _pace(rule)
    if rule.fuses.max_jump is not None:
        yield "A price is held that jumps by more than", full(rule.fuses.max_jump)
    if rule.fuses.max_share_of_oi_per_minute is not None:
        share = full(rule.fuses.max_share_of_oi_per_minute)
        yield "A market is halted when a minute's forced fills pass", f"{share} of open interest"


def sizing_said(rule: Sizing) -> str:
    """Say how much of a position orders close."""
    match rule:
        case Everything():
            return "everything"
        case LeastReduction(ramp=ramp):
            least = "the fewest lots that meet the stop"
            if ramp is None:
                return least
            whole = f", all below {full(ramp.whole_below)}" if ramp.whole_below else ""
            rest = span(int(ramp.duration * (ONE - ramp.initial)))
            return f"{least}; of the shortage {full(ramp.initial)} at once, all in {rest}{whole}"
        case LowerTier():
            return "down to the next lower bracket"
        case Portion(share=share, least=least_notional, whole_below=whole_below):
            least_said = f", at least {full(least_notional)}" if least_notional else ""
            whole = f", whole up to {full(whole_below)}" if whole_below else ""
            return f"{full(share)} of a position's notional{least_said}{whole}"
    return "whole legs, until the stop would be met"


def _whole(rule: LiquidationRule) -> str:
    """Say where a rule that closes parts does not hold."""
    said = "in stage backstop, and without equity"
    if rule.cooldown is not None:
        said += f" or below {full(rule.cooldown.critical)} × maintenance"
    return said


def price_said(rule: Pricing) -> str:
    """Say at which limit orders in stage limit go out."""
    match rule:
        case Fillable(adjustment=adjustment, spread=spread):
            return f"fillable price, adjustment {full(adjustment)}, spread {full(spread)}"
        case Bounded(slippage=slippage):
            return f"{full(slippage)} from the mark, at most the bankruptcy price"
        case PriceRamp(start=start, end=end, duration=duration):
            return (
                f"{full(start)} to {full(end)} from the mark in {span(duration)}, at most the "
                "bankruptcy price"
            )
        case FallingPrice(decay=decay, duration=duration, premium=premium):
            return (
                f"{full(premium)} better than the mark, then {decay_said(decay)} for "
                f"{span(duration)}, at most the bankruptcy price"
            )
        case AtBankruptcy():
            return "where the leg's share of equity is used up, fee paid"


def fee_said(rule: LiquidationRule) -> str:
    """Say how large the liquidation fee is, and who gets it."""
    said = full(rule.fee_rate)
    if rule.fee_adaptive is not None:
        said += f", at most {full(rule.fee_adaptive)} of what closing frees"
    shares = {"venue": rule.fee_to_venue, "liquidator": rule.fee_to_liquidator}
    parts = [f"{full(share)} of it to the {who}" for who, share in shares.items() if share]
    return "; ".join([said, *parts])


def _pace(rule: LiquidationRule) -> Iterator[Said]:
    pace = rule.pace
    counts = {"an event": pace.per_event, "a second": pace.per_second}
    limits = [f"{count} {per}" for per, count in counts.items() if count is not None]
    if limits:
        yield "Orders at most", ", ".join(limits)
    if pace.in_flight:
        caps = ", ".join(f"{name} {full(cap)}" for name, cap in sorted(pace.in_flight.items()))
        yield "Notional of live orders at most", caps
    if pace.unfilled is not None:
        yield "One order at a time after", f"{pace.unfilled} unfilled"


def waterfall_said(rule: Waterfall) -> Iterator[Said]:
    """Say who takes a position that the market does not, and who pays what is lost."""
    takers = [TAKERS[taker] for taker in rule.takers]
    yield (
        "What the market does not take goes to",
        ", then ".join([*takers, "the market, stage backstop"]),
    )
    if rule.fund_account:
        bound = rule.fund.capacity
        most = "" if bound is None else f", up to a notional of {full(bound)}"
        yield "The fund's positions are those of", f"{rule.fund_account}{most}"
    if rule.backstop is not None:
        yield "The backstop is", _backstop(rule.backstop)
    if rule.adl is not None:
        yield "Deleveraging", _deleveraging(rule.adl)
    yield "A shortfall is paid by", ", then ".join(_payers(rule))
    if rule.fund.caps:
        caps = ", ".join(f"{name} {full(cap)}" for name, cap in sorted(rule.fund.caps.items()))
        yield "by a fund at most", caps
    if rule.gate:
        yield "Withdrawals are to stop while", "bad debt exceeds the funds"


def _backstop(rule: Backstop) -> str:
    said = f"{rule.account}, up to a notional of {full(rule.capacity)}"
    if rule.below is None:
        return said
    return f"{said}, at once below {full(rule.below)} × maintenance"


def _deleveraging(rule: Deleveraging) -> str:
    at = "at the mark" if rule.price == "mark" else "at the bankruptcy price"
    said = f"{RANKED[rule.ranking]}, {at}"
    if rule.drawdown is None:
        return said
    fall = rule.drawdown
    return (
        f"{said}, while the fund is empty or more than {full(fall.start)} below its peak of "
        f"{span(fall.window)}, until no more than {full(fall.stop)}"
    )


def _payers(rule: Waterfall) -> Iterator[str]:
    yield _fund(rule.fund)
    if rule.fund.by != "venue" and rule.fund.then_venue:
        yield "the venue's"
    if rule.socialised:
        yield SHARED[rule.socialised]
    yield "nobody: bad debt"


def _fund(rule: FundRule) -> str:
    named = {
        "venue": "the venue's fund",
        "market": "the market's fund",
        "group": f"the fund of its group ({', '.join(sorted(set(rule.groups.values())))})",
    }
    return named[rule.by] + (" if it holds all of it" if rule.whole else "")
