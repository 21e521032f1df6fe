"""Risk profiles, for people: what a profile says, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from engine.money import ONE
from engine.profile import (
    Bracket,
    Portfolio,
    Requirement,
    RiskProfile,
    Threshold,
    Volatility,
)
from engine.requirement import initial_rate
from producers import lending_profile_report
from producers.liquidation_said import liquidation_said, waterfall_said
from producers.report import full, span, table

SYMBOLS = 12
"""As many symbols' requirements are printed when none is asked for; JSON has all."""

LINES = 60
"""As many differences are printed; JSON has all."""


def listing(out: Console, profiles: Mapping[str, RiskProfile]) -> None:
    """Print what profiles there are."""
    columns = ["Profile", "Numeraire", "Rules", "Start", "Stop"]
    made = table("Profiles", columns, left=5)
    for name, profile in profiles.items():
        made.add_row(name, profile.numeraire, _curves(profile), *_trigger(profile))
    out.print(made)


def show(out: Console, profile: RiskProfile, symbols: Sequence[str] = ()) -> None:
    """Print a profile: its settings, collateral, the rules of `symbols` and pools, its sources."""
    out.print(settings(profile))
    out.print(_collateral(profile))
    margin(out, profile, symbols)
    lending_profile_report.show(out, profile, symbols)
    for title, lines in (("Sources", profile.sources), ("Leaves out", profile.leaves_out)):
        if lines:
            out.print(f"{title}:")
            for line in lines:
                out.print(Padding(line, (0, 0, 0, 2)))


def margin(out: Console, profile: RiskProfile, symbols: Sequence[str] = ()) -> None:
    """Print requirements and portfolios of `symbols`, or the first ones."""
    for found, made in (
        (profile.requirements, _requirements),
        (profile.portfolios, _portfolios),
    ):
        wanted = [name for name in (symbols or list(found)[:SYMBOLS]) if name in found]
        if wanted:
            out.print(made(profile, wanted))
            left = len(found) - len(wanted)
            if left and not symbols:
                out.print(f"{left} more symbols: name them, or ask for JSON.")


def differences(
    out: Console, names: tuple[str, str], found: Sequence[tuple[str, Any, Any]]
) -> None:
    """Print keys with the value that either of two profiles gives them."""
    if not found:
        out.print("The profiles say the same.")
        return
    made = table(f"{len(found)} differences", ["Key", *names], left=3)
    made.columns[0].no_wrap = True
    for key, before, after in found[:LINES]:
        made.add_row(key, _brief(before), _brief(after))
    out.print(made)
    if len(found) > LINES:
        out.print(f"{len(found) - LINES} more differences: ask for JSON.")


def _brief(value: Any) -> str:
    """Write a value of a profile in a few words."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return full(value)
    if isinstance(value, dict):
        if "brackets" in value:
            return _brief(value["brackets"])
        words = [f"{key} {_brief(item)}" for key, item in value.items() if item is not None]
        text = ", ".join(words)
        return text if len(text) <= 80 else f"{len(words)} keys"
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], dict) and "cap" in value[0]:
            count = f"{len(value)} brackets" if len(value) > 1 else "one bracket"
            return f"{count}, initial {_rates(value)}"
        text = ", ".join(_brief(item) for item in value) or "none"
        return text if len(text) <= 80 else f"{len(value)} lines"
    return str(value)


def _rates(brackets: Sequence[dict[str, Any]]) -> str:
    """Write the first and the last initial rate of brackets."""
    ends = [brackets[0], brackets[-1]] if len(brackets) > 1 else [brackets[0]]
    return " to ".join(
        f"1 ÷ {_brief(end['max_leverage'])}" if end["max_leverage"] else _brief(end["initial_rate"])
        for end in ends
    )


# --- in one line


def _curves(profile: RiskProfile) -> str:
    """Name the kinds of curves that a profile has, and of how many symbols."""
    count = len(profile.requirements)
    kinds = sorted({kind for rule in profile.requirements.values() for kind in _kinds(rule)})
    words = [f"{count}: {', '.join(kinds)}"] if count else []
    if profile.portfolios:
        words.append(f"{len(profile.portfolios)}: scenarios")
    if profile.volatility is not None:
        words.append("volatility")
    if profile.lending is not None:
        words.append(lending_profile_report.kind(profile.lending))
    return "; ".join(words)


def _kinds(rule: Requirement) -> Iterator[str]:
    if len(rule.brackets) > 1:
        yield "marginal" if rule.marginal else "whole position"
    elif rule.slope:
        yield "linear in size"
    elif rule.root_factor:
        yield "root of size"
    else:
        yield "flat"
    if rule.open_interest is not None:
        yield "open interest"


def _trigger(profile: RiskProfile) -> tuple[str, str]:
    trigger = profile.trigger
    inside = "+ costs" if trigger.taker_fee or trigger.liquidation_fee else ""
    start = f"{'≤' if trigger.at_equality else '<'} maintenance {inside}".strip()
    stop = f"≥ {trigger.stop_at}"
    if trigger.stop_buffer:
        stop += f" × {full(ONE + trigger.stop_buffer)}"
    if trigger.stop_notional_buffer:
        stop += f" + {full(trigger.stop_notional_buffer)} × notional"
    return start, stop


# --- settings


def settings(profile: RiskProfile) -> Table:
    """Return everything that a profile says once, for all symbols."""
    made = table(f'Profile "{profile.name}"', ["Rule", "Value"])
    for name, value in _settings(profile):
        made.add_row(name, value)
    return made


def _settings(profile: RiskProfile) -> Iterator[tuple[str, str]]:
    start, stop = _trigger(profile)
    rule = profile.liquidation
    yield "Numeraire", profile.numeraire
    yield "Collateral is sold in this order", ", ".join(profile.conversion) or "none"
    yield from _profit(profile)
    yield "Liquidation starts at margin equity", start.removesuffix(" + costs")
    yield from _closing(profile)
    yield "and stops at margin equity", stop
    yield from _threshold("Margin call", profile.margin_call)
    if profile.cancel_orders is not None:
        yield from _threshold("Own orders are cancelled", profile.cancel_orders)
    margins = bool(profile.requirements or profile.portfolios)
    if margins:
        yield "Own orders at entry", profile.entry.open_orders.replace("_", " ")
    if profile.entry.average_window is not None:
        yield "Prices at entry are averaged over", span(profile.entry.average_window)
    if profile.volatility is not None:
        yield from _volatility(profile.volatility)
    yield "An order lives", span(rule.order_ttl)
    yield "A cancellation is waited for", span(rule.ack_timeout)
    yield "Missing events are waited for", span(rule.gap_timeout)
    if margins:
        yield from liquidation_said(rule)
        yield from waterfall_said(profile.waterfall)
    prices = profile.prices
    yield "Sources of mark, index, last", ", ".join((prices.mark, prices.index, prices.last))
    for symbol, source in sorted(prices.symbols.items()):
        yield f"Source of {symbol}", source


def _profit(profile: RiskProfile) -> Iterator[tuple[str, str]]:
    rule = profile.profit
    what = "Profit beyond the requirement" if rule.after_requirement else "Unrealised profit"
    if rule.weight != 1 or rule.after_requirement:
        yield f"{what} counts at", full(rule.weight)
    if rule.initial_weight is not None:
        yield f"{what} at entry counts at", full(rule.initial_weight)
    if rule.initial_size_factor:
        factor = full(rule.initial_size_factor)
        yield "and at entry at most at", f"1.1 ÷ (1 + {factor} × √profit)"
    if rule.initial_cap is not None:
        yield "Profit of a position at entry, at most", full(rule.initial_cap)


def _closing(profile: RiskProfile) -> Iterator[tuple[str, str]]:
    trigger = profile.trigger
    fees = {"taker fee": trigger.taker_fee, "liquidation fee": trigger.liquidation_fee}
    inside = [name for name, counts in fees.items() if counts]
    if trigger.fixed_cost:
        inside.append(f"{full(trigger.fixed_cost)} {profile.numeraire}")
    if inside:
        yield "Maintenance includes", ", ".join(inside)


def _threshold(what: str, rule: Threshold) -> Iterator[tuple[str, str]]:
    yield f"{what} at maintenance ÷ margin equity", f"≥ {full(rule.at)}"
    yield "and again after", f"< {full(rule.reset)}"


def _volatility(rule: Volatility) -> Iterator[tuple[str, str]]:
    references = ", ".join(f"{name} {full(value)}" for name, value in rule.reference.items())
    yield "Initial grows with volatility above a day's", references
    yield "by a factor of", f"{full(rule.floor)} to {full(rule.cap)}, in steps of {full(rule.step)}"
    yield "that rises and falls in an hour by", f"{full(rule.rise)}, {full(rule.fall)}"
    yield "measured every", f"{span(rule.interval)}, decay {full(rule.decay)}"
    yield "and at least", f"{full(rule.lookback_share)} of the peak of {rule.lookback_days} days"
    ramp = rule.maintenance_ramp
    yield "Maintenance follows", f"in {span(ramp)}" if ramp is not None else "not at all"


# --- tables by asset and by symbol


def _collateral(profile: RiskProfile) -> Table:
    columns = ["Asset", "Haircut", "at entry", "Borrow weight", "at entry", "Size factor", "Pool"]
    made = table("Collateral", columns, caption="What is not named counts only when it is owed.")
    for asset, rule in profile.collateral.items():
        pool = [f"{full(at)}" for at in (rule.deposits_from, rule.borrows_from) if at is not None]
        made.add_row(
            asset,
            full(rule.haircut),
            full(_or(rule.initial_haircut, rule.haircut)),
            full(rule.borrow_weight),
            full(_or(rule.initial_borrow_weight, rule.borrow_weight)),
            full(rule.size_factor),
            " / ".join(pool) or "—",
        )
    return made


def _requirements(profile: RiskProfile, symbols: Iterable[str]) -> Table:
    made = table(
        "Requirements",
        ["Symbol", "Besides", "Up to", "Initial", "Maintenance"],
        left=2,
        caption="Rates of what a position is worth; the last bracket goes on without end.",
    )
    for symbol in symbols:
        rule = profile.requirements[symbol]
        words = "; ".join(_besides(rule))
        for place, bracket in enumerate(rule.brackets):
            first = place == 0
            made.add_row(
                symbol if first else "",
                words if first else "",
                full(bracket.cap) if len(rule.brackets) > 1 else "—",
                full(initial_rate(bracket)),
                _maintenance(rule, bracket),
            )
        made.add_section()
    return made


def _maintenance(rule: Requirement, bracket: Bracket) -> str:
    if bracket.maintenance_rate is not None:
        return full(bracket.maintenance_rate)
    return f"{full(_or(rule.maintenance_share, ONE))} of it"


def _besides(rule: Requirement) -> Iterator[str]:
    """Say what a table of rates does not."""
    if len(rule.brackets) > 1:
        yield "marginal" if rule.marginal else "rates for the whole position"
    if rule.measure == "size":
        yield "caps by size"
    if rule.slope:
        per = "" if rule.slope_per == 1 else f" ÷ {full(rule.slope_per)}"
        yield f"+ {full(rule.slope)} × size{per}"
    if rule.root_factor:
        yield f"or {full(rule.root_blend)} × rate + {full(rule.root_factor)} × √size"
    if rule.fixed:
        yield f"+ {full(rule.fixed)} each"
    if rule.step is not None:
        yield f"up to {full(rule.step)}"
    if rule.open_interest is not None:
        scale = rule.open_interest
        yield f"initial to 1 from open interest {full(scale.lower)} to {full(scale.upper)}"


def _portfolios(profile: RiskProfile, symbols: Iterable[str]) -> Table:
    columns = ["Underlying", "Prices", "Volatility", "Extremes", "Besides", "Initial"]
    made = table(
        "Portfolios",
        columns,
        left=5,
        caption="Maintenance is the worst loss over prices and volatilities, or over extremes.",
    )
    for symbol in symbols:
        rule = profile.portfolios[symbol]
        extremes = [f"{full(item.move)} at {full(item.weight)}" for item in rule.extremes]
        made.add_row(
            symbol,
            ", ".join(full(move) for move in rule.price_moves),
            f"{', '.join(full(move) for move in rule.volatility_moves)} ({rule.volatility})",
            ", ".join(extremes) or "—",
            "; ".join(_charges(rule)) or "—",
            f"× {full(rule.initial_factor)}",
        )
        made.add_section()
    return made


def _charges(rule: Portfolio) -> Iterator[str]:
    if rule.near_exponent or rule.far_exponent:
        yield f"(30 ÷ days) ^ {full(rule.near_exponent)}, {full(rule.far_exponent)}"
    if rule.short_option_minimum:
        yield f"short options ≥ {full(rule.short_option_minimum)}"
    if rule.option_contingency:
        yield f"short options + {full(rule.option_contingency)}"
    if rule.future_contingency:
        yield f"futures + {full(rule.future_contingency)}"
    if rule.maintenance_factor != 1:
        yield f"all × {full(rule.maintenance_factor)}"


def _or(value: Decimal | None, default: Decimal) -> Decimal:
    return default if value is None else value
