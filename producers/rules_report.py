"""The rules in force, for people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from engine.rules import Rules
from producers import profile_report
from producers.report import full, table


def data(rules: Rules) -> dict[str, Any]:
    """Return the rules as plain data; numbers of money are decimals."""
    listed = [*rules.assets.values(), *rules.derivatives.values()]
    return {
        "profile": _builtins(rules.profile) if rules.profile else None,
        "instruments": [_builtins(instrument) for instrument in listed],
        "halted": ["everything"] if rules.halted_all else sorted(rules.halted),
        "settled": sorted(rules.settled),
    }


def _builtins(value: msgspec.Struct) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(value, builtin_types=(Decimal,))
    return made


def show(out: Console, rules: Rules) -> None:
    """Print what is listed, the profile, and what is halted."""
    if rules.assets:
        out.print(_assets(rules))
    if rules.derivatives:
        out.print(_derivatives(rules))
    if rules.profile is None:
        out.print("No profile is in force.")
        return
    out.print(profile_report.settings(rules.profile))
    profile_report.margin(out, rules.profile)
    halted = "everything" if rules.halted_all else ", ".join(sorted(rules.halted))
    if halted:
        out.print(f"Halted: {halted}.")
    if rules.settled:
        out.print(f"Settled: {', '.join(sorted(rules.settled))}.")


def _assets(rules: Rules) -> Table:
    columns = ["Asset", "Decimals", "Largest", "Haircut", "Borrow weight", "Converted below"]
    made = table("Assets", columns, caption="A haircut of 1: worth nothing as collateral.")
    for asset in rules.assets.values():
        rule = rules.profile.collateral_of(asset.name) if rules.profile else None
        below = rule.auto_convert_below if rule else None
        made.add_row(
            asset.name,
            str(asset.decimals),
            full(asset.largest),
            full(rule.haircut) if rule else "—",
            full(rule.borrow_weight) if rule else "—",
            full(-below) if below is not None else "—",
        )
    return made


def _derivatives(rules: Rules) -> Table:
    columns = ["Symbol", "Style", "Settles in", "Multiplier", "Tick", "Lot", "Taker fee", "Largest"]
    made = table("Instruments", columns, left=3)
    for item in rules.derivatives.values():
        numbers = (item.multiplier, item.tick, item.lot, item.taker_fee, item.largest_size)
        made.add_row(item.name, item.style, item.settle, *(full(number) for number in numbers))
    return made
