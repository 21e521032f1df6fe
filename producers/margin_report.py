"""One account under a profile, for people: margins, prices, what would be liquidated, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from engine.book import Group
from engine.core import Engine
from engine.decisions import (
    AuctionStarted,
    BadDebt,
    CancelOpenOrders,
    CollateralLiquidation,
    CollateralSale,
    Decision,
    Deleverage,
    FundDraw,
    LiquidationOrder,
    LiquidationStarted,
    LossShared,
    LossSocialised,
    MarginCall,
    ReserveDraw,
    SetOff,
    Shortfall,
    SupplyDrawn,
    TakeOver,
)
from engine.liquidation_price import liquidation_prices
from engine.margin import level
from engine.money import RATE_STEP, ceil_to, exact
from engine.weights import weight
from producers import arithmetic, loan_report
from producers.explanation import health_said, limit_said
from producers.loan_outlook import outlook
from producers.order_size import size_said
from producers.report import amount, full, percent, table
from producers.requirement_steps import initial_steps, weight_said

NOTHING = "—"

Told = (
    MarginCall
    | LiquidationStarted
    | CancelOpenOrders
    | LiquidationOrder
    | TakeOver
    | Deleverage
    | CollateralSale
    | CollateralLiquidation
    | AuctionStarted
    | SetOff
    | SupplyDrawn
    | Shortfall
    | FundDraw
    | ReserveDraw
    | LossSocialised
    | LossShared
    | BadDebt
)


@exact
def group_data(engine: Engine, group: Group, told: Collection[str] = ()) -> dict[str, Any]:
    """Return where a margin group stands; amounts are decimals, in the numeraire or as named.

    `told` are the pools of which all is known that they hold. Raises `LookupError` for a group
    without a price.
    """
    rules, markets, holdings = engine.rules, engine.markets, group.holdings
    found = arithmetic.of_group(engine, group)
    entry, state = level(holdings, rules, markets), engine.health_of(group)
    if found is None or entry is None or state is None:
        raise LookupError(f"{group.margin}: a price is missing")
    for leg in found["legs"]:
        symbol = leg["symbol"]
        prices = liquidation_prices(symbol, holdings, rules, markets)
        size, steps = initial_steps(symbol, holdings, rules, markets)
        leg["initial"] = entry.required[symbol]
        leg["initial_size"] = size
        leg["initial_steps"] = [step._asdict() for step in steps]
        leg["liquidation_price_below"] = prices.below
        leg["liquidation_price_above"] = prices.above
    margins = {
        "initial": (entry.margin_equity, entry.requirement),
        "maintenance": (found["margin_equity"], found["maintenance"]),
        "stop": (found["stop_margin_equity"], found["stop"]),
    }
    del found["assets"]
    profile = rules.in_force
    return {
        **found,
        "margins": {
            name: {"margin_equity": equity, "requirement": requirement}
            for name, (equity, requirement) in margins.items()
        },
        "margin_ratio": _ratio(found["maintenance"], found["margin_equity"]),
        "lending": outlook(engine, group, state, told),
        "margin_call_at": profile.margin_call.at,
        "cancel_orders_at": profile.cancel_orders.at if profile.cancel_orders else None,
        "initial_weights": [_entry_weight(engine, held) for held in found["balances"]],
        "open_orders": [
            {"symbol": symbol, "buy": buy, "sell": sell}
            for symbol, (buy, sell) in sorted(holdings.orders.items())
        ],
    }


def _ratio(maintenance: Decimal, margin_equity: Decimal) -> Decimal | None:
    """Return maintenance ÷ margin equity, up to 10^-12; none where nothing is left."""
    return ceil_to(maintenance, RATE_STEP, margin_equity) if margin_equity > 0 else None


def _entry_weight(engine: Engine, held: dict[str, Any]) -> dict[str, Any]:
    """Return what an asset counts at entry, profit as it counts in maintenance."""
    profile, asset, counted = engine.rules.in_force, held["asset"], held["counted"]
    rule, pool = profile.collateral_of(asset), engine.markets.pools.get(asset)
    return {
        "asset": asset,
        "weight": weight(rule, counted, "entry", held["price"], pool),
        "weight_rule": weight_said(asset, counted, profile, "entry", told=pool is not None),
    }


@exact
def data(
    engine: Engine,
    account: str,
    groups: Sequence[dict[str, Any]],
    decisions: Sequence[Decision],
) -> dict[str, Any]:
    """Return the whole report as plain data; `groups` as `group_data` had them before the
    `decisions`, those of the engine about the account."""
    profile = engine.rules.in_force
    told = [decision for decision in decisions if isinstance(decision, Told)]
    return {
        "account": account,
        "profile": profile.name,
        "numeraire": profile.numeraire,
        "time": engine.time,
        "groups": [
            {
                **group,
                "state": _state(group, told),
                "decisions": [
                    msgspec.to_builtins(decision, builtin_types=(Decimal,))
                    for decision in told
                    if _margin_of(decision, told) == group["margin"]
                ],
                "why": list(_why(group, told)),
            }
            for group in groups
        ],
        "leaves_out": list(profile.leaves_out),
    }


def _margin_of(decision: Told, told: Sequence[Told]) -> str:
    """Return the margin group that a decision is about; a draw is about that of its shortfall."""
    if not isinstance(decision, FundDraw):
        return decision.margin
    before = [one for one in told[: told.index(decision)] if isinstance(one, Shortfall)]
    return before[-1].margin


def _state(group: dict[str, Any], told: Sequence[Told]) -> str:
    mine = [decision for decision in told if _margin_of(decision, told) == group["margin"]]
    for kind, state in (
        (BadDebt, "bad_debt"),
        (Shortfall, "shortfall"),
        (LiquidationStarted, "liquidated"),
        (MarginCall, "called"),
        (CancelOpenOrders, "orders_cancelled"),
    ):
        if kind is CancelOpenOrders and not group["open_orders"]:
            continue
        if any(isinstance(decision, kind) for decision in mine):
            return state
    return "healthy"


def _why(group: dict[str, Any], told: Sequence[Told]) -> Iterator[str]:
    """Say how health comes about, what initial margin adds, and how orders are priced."""
    unit = group["numeraire"]
    yield from health_said(group)
    for leg in group["legs"]:
        yield from _initial(leg)
    for held in group["portfolios"]:
        yield f"portfolio {held['underlying']}: at entry {full(held['initial'])} {unit}"
    for held, at_entry in zip(group["balances"], group["initial_weights"], strict=True):
        if held["weight"] != at_entry["weight"]:
            told_weight = f"{full(at_entry['weight'])} ({at_entry['weight_rule']})"
            yield f"{held['asset']}: weight at entry {told_weight}"
    planned = [one for one in told if isinstance(one, LiquidationOrder | TakeOver | Deleverage)]
    for decision in told:
        if isinstance(decision, LiquidationOrder) and decision.margin == group["margin"]:
            yield f"{decision.side} {full(decision.size)} {decision.symbol}:"
            yield from (f"  {line}" for line in size_said(decision, group, planned))
            yield from (f"  {line}" for line in limit_said(decision, group))
        if isinstance(decision, CollateralLiquidation) and decision.margin == group["margin"]:
            yield f"{decision.pool} against {decision.collateral}:"
            said = loan_report.seizure_said(decision, group["loans"], group["repayment"])
            yield from (f"  {line}" for line in said)


def _initial(leg: dict[str, Any]) -> Iterator[str]:
    steps = leg["initial_steps"]
    if not steps:
        return
    unit, size = leg["settle"], leg["initial_size"]
    orders = "" if size == leg["size"] else f", with own orders {full(size)}"
    yield f"{leg['symbol']}: at entry{orders}"
    *before, last = [f"{step['what']} = {full(step['amount'])} {unit}" for step in steps]
    yield from (f"  {said}" for said in before)
    yield f"  initial ({leg['rule']}): {last}"


LOST = {
    "Shortfall": "shortfall",
    "FundDraw": "paid by the fund",
    "ReserveDraw": "borne by the reserve",
    "LossSocialised": "borne by lenders",
    "LossShared": "borne by other accounts",
    "BadDebt": "bad debt",
}
"""How losses and those who bear them are told, by the type of the decision."""

TRANSFERS = {"TakeOver": "taken over", "Deleverage": "deleveraged"}
"""How transfers are told, by the type of the decision."""

STATES = {
    "healthy": "healthy: nothing is liquidated",
    "orders_cancelled": "near its maintenance margin: its own orders are cancelled",
    "called": "called: near its maintenance margin",
    "liquidated": "liquidated now",
    "shortfall": "without positions and short: its debt is booked",
    "bad_debt": "without positions and short: its debt is booked",
}


@exact
def show(out: Console, found: dict[str, Any], called: str) -> None:
    """Print the report: for each margin group its margins, balances, legs, orders and reasons.

    `called` is the name or file by which the profile was asked for.
    """
    out.print(f"Account {found['account']} under profile {found['profile']}")
    if not found["groups"]:
        out.print("\nIt holds nothing: no cash, no position, no loan, no order.")
    for group in found["groups"]:
        out.print(f"\nMargin group {group['margin']}: {_headline(group)}", style="bold")
        out.print(_margins(group))
        if group["lending"] is not None:
            loan_report.show(out, group["loans"], group["lending"], group["numeraire"])
        for made in (_balances(group), *_legs(group), _orders(group), *_on_loans(group)):
            if made.row_count:
                out.print(made)
        for line in (*_hedges(group), *_course(group)):
            out.print(line)
        out.print("\nWhy", style="bold")
        for line in group["why"]:
            indent = len(line) - len(line.lstrip())
            out.print(Padding(line.lstrip(), (0, 0, 0, 2 + indent)))
    if found["leaves_out"]:
        out.print(f"\nWhat the profile leaves out: `liquidator profiles show {called}`.")


def _headline(group: dict[str, Any]) -> str:
    said = STATES[group["state"]]
    if group["state"] in ("shortfall", "bad_debt") and group["lending"] is not None:
        said = "without collateral: its debt is given up"
    cancels = group["state"] == "called" and any(_cancellations(group))
    return f"{said}; its own orders are cancelled" if cancels else said


def _cancellations(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the decisions by which orders of the group, if it has any, are cancelled."""
    for told in group["decisions"]:
        if told["type"] == "CancelOpenOrders" and group["open_orders"]:
            yield told


def _margins(group: dict[str, Any]) -> Table:
    unit = group["numeraire"]
    made = table(
        f"Margins, in {unit}",
        ["", "Margin equity", "Requirement", "Left", "Used"],
        caption=(
            f"Equity without haircuts: {full(group['equity'])}. Used is the requirement as a part "
            "of margin equity: beyond 100 % of maintenance liquidation starts."
        ),
    )
    for name, margin in group["margins"].items():
        equity, needs = margin["margin_equity"], margin["requirement"]
        used = percent(needs, equity) if equity > 0 else NOTHING
        made.add_row(name.capitalize(), *map(amount, (equity, needs, equity - needs)), used)
    return made


def _balances(group: dict[str, Any]) -> Table:
    made = table("Balances", ["Asset", "Cash", "With unrealised", "Price", "Weight", "At entry"])
    for held, at_entry in zip(group["balances"], group["initial_weights"], strict=True):
        numbers = (held["cash"], held["net"], held["price"], held["weight"], at_entry["weight"])
        made.add_row(held["asset"], *map(_short, numbers))
    return made


def _legs(group: dict[str, Any]) -> tuple[Table, Table]:
    together = any(leg["in_portfolio"] for leg in group["legs"])
    worth = table(
        f"Legs; requirements in {group['numeraire']}, all else in what they settle in",
        ["Symbol", "Size", "Mark", "Unrealised", "Notional", "Initial", "Maintenance"],
        caption="In a portfolio: what the leg would need alone." if together else "",
    )
    breaks = table(
        "Prices at which it breaks",
        ["Symbol", "Liquidated below", "Liquidated above", "Bankrupt at"],
        caption=(
            "A liquidation price moves one mark and holds all others; bankruptcy prices share the "
            "group's equity over its legs, by maintenance."
        ),
    )
    for leg in group["legs"]:
        sums = (leg["unrealised"], leg["notional"], leg["initial"], leg["required"])
        worth.add_row(leg["symbol"], full(leg["size"]), full(leg["mark"]), *map(amount, sums))
        keys = ("liquidation_price_below", "liquidation_price_above", "bankruptcy_price")
        breaks.add_row(leg["symbol"], *(_price(leg[key]) for key in keys))
    return worth, breaks


def _orders(group: dict[str, Any]) -> Table:
    columns = ["What", "Side", "Size", "Limit", "Bankrupt at", "Stage"]
    made = table("Liquidated now", columns, left=2)
    for told in group["decisions"]:
        if told["type"] == "LiquidationOrder":
            prices = full(told["limit_price"]), _price(told["bankruptcy_price"])
            made.add_row(told["symbol"], told["side"], full(told["size"]), *prices, told["stage"])
        elif told["type"] in TRANSFERS:
            made.add_row(
                told["symbol"], told["side"], full(told["size"]), full(told["price"]), NOTHING,
                TRANSFERS[told["type"]],
            )  # fmt: skip
        elif told["type"] == "CollateralSale":
            limit = f"{full(told['limit_price'])} {told['for_asset']}"
            made.add_row(told["asset"], "sell", full(told["amount"]), limit, NOTHING, "conversion")
    return made


def _on_loans(group: dict[str, Any]) -> Iterator[Table]:
    """Yield what is decided of loans: seizures, and auctions."""
    told = group["decisions"]
    asked = [one for one in told if one["type"] == "CollateralLiquidation"]
    yield loan_report.seizures(asked, "Seized now")
    yield loan_report.auctions([one for one in told if one["type"] == "AuctionStarted"])


def _hedges(group: dict[str, Any]) -> Iterator[str]:
    """Warn of liquidation prices of legs that are margined together."""
    for held in group["portfolios"]:
        yield (
            f"{', '.join(held['symbols'])}: one portfolio. A liquidation price moves this one mark "
            "alone and holds the hedges: a hedged book may show prices that the market would not "
            "reach alone."
        )


def _course(group: dict[str, Any]) -> Iterator[str]:
    """Say what the engine decides besides orders, with the threshold that is passed."""
    kinds = [told["type"] for told in group["decisions"]]
    used = percent(group["maintenance"], group["margin_equity"])
    if "MarginCall" in kinds:
        yield f"Called: margin_call at {full(group['margin_call_at'])}, used {used}."
    for told in _cancellations(group):
        if told["number"]:
            yield "Its own open orders are cancelled first."
        else:
            at = full(group["cancel_orders_at"])
            yield f"Its own open orders are cancelled: cancel_orders at {at}, used {used}."
    if "LiquidationOrder" in kinds:
        yield f"Orders close {group['rules']['sizing']}."
    if any(told.get("toxic") for told in group["decisions"] if told["type"] == "LiquidationOrder"):
        yield "Toxic: what they leave has less margin for what it needs."
    for told in group["decisions"]:
        if told["type"] in LOST:
            yield f"{told['market']}: {LOST[told['type']]} {full(told['amount'])} {told['asset']}."
        if told["type"] == "SetOff":
            yield f"{told['pool']}: {full(told['amount'])} of its debt is set off against cash."
        if told["type"] == "SupplyDrawn":
            yield f"{told['pool']}: {full(told['amount'])} of the supply is drawn, to be sold."


def _short(value: Decimal) -> str:
    """Write a number whole if it is short, else rounded."""
    text = full(value)
    return text if len(text) <= 16 else amount(value)


def _price(value: Decimal | None) -> str:
    return NOTHING if value is None else full(value)
