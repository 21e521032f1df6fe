"""Accounts and positions, as the inputs of a case describe them by the names that venues have."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from engine.margin import Health, LegHealth, notional
from engine.money import ONE, ZERO
from engine.profile import OpenInterest, Requirement
from tests.cases.accounts import (
    USD,
    Account,
    Inputs,
    NotExpressible,
    Position,
    account,
    flat,
    number,
)

Results = dict[str, Any]

PPM = Decimal("0.000001")
"""What dYdX keeps rates to, rounded down, and quote amounts, rounded up; Drift rounds both down."""

SYMBOL = "X"


def described(inputs: Inputs, **policies: Any) -> Account:
    """Return the account that a case describes."""
    names = ("quote_balance", "collateral", "wallet_balance", "equity")
    name = next((name for name in names if name in inputs), None)
    if name is None:
        raise NotExpressible(f"no balance among the inputs: {', '.join(names)}")
    cash = {USD: number(inputs[name])}
    # dYdX' balances are whole numbers of its quote step.
    decimals = {"decimals": -PPM.adjusted()} if "quote_balance" in inputs else {}
    others = list(_others(inputs.get("other_positions", ())))
    results = dict(_results(inputs.get("other_positions", ())))
    return account(
        {**cash, **results},
        [*positions_of(inputs), *others],
        prices=dict.fromkeys(results, ONE),
        **decimals,
        **policies,
    )


def positions_of(inputs: Inputs) -> list[Position]:
    if "positions" in inputs:
        return [
            Position(
                one["market"],
                number(one["size"]),
                number(one["mark_price"]),
                flat(number(one["imf"]), number(one["mmf"]), step=PPM),
            )
            for one in inputs["positions"]
        ]
    return [position_of(SYMBOL, inputs)] if "size" in inputs else []


def position_of(symbol: str, inputs: Inputs) -> Position:
    entry = first_of(inputs, "entry_price", "entry")
    mark = first_of(inputs, "mark_price", "mark")
    found = entry if mark is None else mark
    if found is None:
        raise NotExpressible("neither a mark nor a price of entry among the inputs")
    return Position(symbol, size_of(inputs), found, rule_of(inputs), entry)


def _others(positions: list[Inputs]) -> Iterator[Position]:
    for place, one in enumerate(positions):
        name = f"OTHER{place}"
        if "size" in one:
            yield position_of(name, one)
        else:
            yield Position(name, ONE, ZERO, flat(fixed=number(one["maintenance_margin"])))


def _results(positions: list[Inputs]) -> Iterator[tuple[str, Decimal]]:
    """Yield what other positions have gained or lost where that is all that is told of them."""
    for place, one in enumerate(positions):
        if "size" not in one:
            yield f"RESULT{place}", number(one["unrealized_pnl"])


def rule_of(inputs: Inputs) -> Requirement:
    """Return the requirement by the names that venues have for its parts."""
    initial = first_of(inputs, "base_imf", "imf", "base_im_ratio", "imr")
    maintenance = first_of(inputs, "base_mmf", "mmf", "mmr")
    # A maintenance amount comes off the requirement: it is a fixed part with its sign turned.
    amount = first_of(inputs, "maintenance_amount", "mm_deduction") or ZERO
    slope = first_of(inputs, "slope_per_unit") or ZERO
    return flat(initial, maintenance, slope=slope, fixed=-amount)


def dydx_rule(inputs: Inputs) -> Requirement:
    share = first_of(inputs, "maintenance_fraction") or ZERO
    rate, step = number(inputs["base_imf"]), first_of(inputs, "quote_step") or PPM
    scale = caps_of(inputs) if "oi_upper_cap" in inputs else None
    return flat(rate, maintenance_share=share, step=step, open_interest=scale)


def caps_of(inputs: Inputs) -> OpenInterest:
    return OpenInterest(number(inputs["oi_lower_cap"]), number(inputs["oi_upper_cap"]))


def interest_of(inputs: Inputs, mark: Decimal) -> Decimal | None:
    """Return the open interest as a notional, told as one or as a size."""
    if "open_interest_notional" in inputs:
        return number(inputs["open_interest_notional"])
    return worth_of(number(inputs["oi_base"]), mark) if "oi_base" in inputs else None


def size_of(inputs: Inputs) -> Decimal:
    size = number(inputs.get("size", 1))
    return -size if inputs.get("side") == "short" else size


def mark_of(inputs: Inputs) -> Decimal:
    found = first_of(inputs, "mark_price", "index_price", "mark", "entry_price")
    return ONE if found is None else found


def worth_of(size: Decimal, price: Decimal) -> Decimal:
    made = account({}, [Position(SYMBOL, size, price, flat())])
    return notional(made.rules.derivatives[SYMBOL], size, price, made.rules.assets[USD].unit)


def leg_of(state: Health, symbol: str) -> LegHealth:
    return next(leg for leg in state.legs if leg.symbol == symbol)


def first_of(inputs: Inputs, *names: str) -> Decimal | None:
    return next((number(inputs[name]) for name in names if inputs.get(name) is not None), None)
