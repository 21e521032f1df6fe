"""An account for people, in every detail."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from engine.book import Account, Group
from engine.closing import bankruptcy_price
from engine.core import Engine
from engine.liquidation import Liquidation, Order
from engine.liquidation_price import liquidation_prices
from engine.margin import (
    Health,
    LegHealth,
    Level,
    level,
)
from engine.money import exact
from producers import loan_report
from producers.loan_outlook import loan_rows, outlook
from producers.report import amount, full, moment, percent, table

NOTHING = "—"


def state_of(engine: Engine, group: Group, health: Health | None) -> str:
    """Say in one word how a group stands."""
    if group.liquidation is not None:
        return "liquidating" if not group.liquidation.waits else group.liquidation.waits
    if health is None:
        return "unpriced"
    if group.account.gap_since is not None:
        return "gap"
    if group.account.protected:
        return "exempt"
    return "called" if group.called else "healthy"


@exact
def account_data(engine: Engine, account: Account) -> dict[str, Any]:
    """Return all that the engine knows of an account; amounts are decimals."""
    return {
        "account": account.id,
        "shard": engine.shard,
        "role": account.role,
        "sequence": account.sequence,
        "gap_since": account.gap_since,
        "bad_debts": account.debts,
        "time": engine.time,
        "numeraire": engine.rules.in_force.numeraire if engine.rules.profile else None,
        "groups": [group_data(engine, group) for group in account.ordered_groups()],
    }


@exact
def group_data(engine: Engine, group: Group) -> dict[str, Any]:
    """Return all that the engine knows of a margin group."""
    health = engine.health_of(group) if engine.ready else None
    entry = level(group.holdings, engine.rules, engine.markets) if health else None
    pools = engine.rules.lending.pools if engine.rules.lending else ()
    found: dict[str, Any] = {
        "account": group.account.id,
        "margin": group.margin,
        "state": state_of(engine, group, health),
        "called": group.called,
        "equity": health.equity if health else None,
        "margin_equity": health.margin_equity if health else None,
        "initial": entry.requirement if entry else None,
        "maintenance": health.maintenance if health else None,
        "balances": _balances(engine, group, health),
        "legs": _legs(engine, group, health, entry),
        "loans": loan_rows(engine, group, health) if health else _principals(group),
        "lending": outlook(engine, group, health, pools) if health else None,
        "given_up": group.given_up,
        "open_orders": [
            {"symbol": symbol, "buy": buy, "sell": sell}
            for symbol, (buy, sell) in sorted(group.open_orders.items())
        ],
        "liquidation": _liquidation(group.liquidation) if group.liquidation else None,
    }
    return found


def _principals(group: Group) -> list[dict[str, Any]]:
    """Return what can be said of loans while a price is missing: principals, without interest."""
    return [{"pool": pool, **loan._asdict()} for pool, loan in group.loans.items()]


def _balances(engine: Engine, group: Group, health: Health | None) -> list[dict[str, Any]]:
    cash = group.cash
    if health is None:
        return [{"asset": asset, "cash": held} for asset, held in cash.items()]
    return [
        {
            "asset": asset,
            "cash": cash.get(asset, Decimal(0)),
            "net": net,
            "price": health.prices[asset],
            "weight": engine.rules.weight(asset, health.counted[asset]),
        }
        for asset, net in sorted(health.net.items())
    ]


def _legs(
    engine: Engine, group: Group, health: Health | None, entry: Level | None
) -> list[dict[str, Any]]:
    if health is None or entry is None:
        legs = group.legs.items()
        return [{"symbol": symbol, "size": leg.size, "cost": leg.cost} for symbol, leg in legs]
    initial = entry.required
    return [_leg(engine, group, leg, health, initial[leg.symbol]) for leg in health.legs]


def _leg(
    engine: Engine, group: Group, leg: LegHealth, health: Health, initial: Decimal
) -> dict[str, Any]:
    """Return all that is known of a leg; both requirements in the numeraire."""
    rules = engine.rules
    prices = liquidation_prices(leg.symbol, group.holdings, rules, engine.markets)
    return {
        "symbol": leg.symbol,
        "size": leg.size,
        "mark": leg.mark,
        "settle": leg.settle,
        "value": leg.value,
        "cost": leg.cost,
        "unrealised": leg.value - leg.cost,
        "notional": leg.notional,
        "initial": initial,
        "maintenance": leg.required,
        "liquidation_price_below": prices.below,
        "liquidation_price_above": prices.above,
        "bankruptcy_price": bankruptcy_price(leg, health, rules),
    }


def _liquidation(liquidation: Liquidation) -> dict[str, Any]:
    return {
        "number": liquidation.number,
        "reason": liquidation.reason,
        "waits": liquidation.waits,
        "waits_until": liquidation.cooling_until if liquidation.waits == "cooldown" else None,
        "stage": "backstop" if liquidation.backstop else "limit",
        "awaits_cancellation_until": liquidation.awaiting_until,
        "orders": [_order(order) for order in liquidation.in_order()],
        "auctions": [
            msgspec.to_builtins(auction, builtin_types=(Decimal,))
            for auction in liquidation.auctions.values()
        ],
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.id,
        "side": order.side,
        "symbol": order.symbol,
        "for_asset": order.for_asset or None,
        "collateral": order.collateral or None,
        "seize": order.seize if order.is_seizure else None,
        "size": order.size,
        "filled": order.filled,
        "limit": order.limit,
        "bankruptcy_price": order.bankruptcy,
        "fee_rate": order.fee_rate,
        "taker": _taker(order),
        "expires": order.expires,
        "cancelling_until": order.cancelling_until,
    }


def _taker(order: Order) -> dict[str, str] | None:
    """Return who is to take the position, none where that is the market."""
    account, margin = order.counterparty
    if not order.layer:
        return None
    return {"layer": order.layer, "account": account, "margin": margin}


def show_account(out: Console, data: dict[str, Any]) -> None:
    """Print an account: each margin group with its balances, legs and liquidation."""
    gap = f", events missing since {moment(data['gap_since'])}" if data["gap_since"] else ""
    debts = f", {data['bad_debts']} bad debts" if data["bad_debts"] else ""
    out.print(
        f"Account {data['account']} ({data['role']}), shard {data['shard']}, "
        f"sequence {data['sequence']}, at {moment(data['time'])} UTC{gap}{debts}"
    )
    for group in data["groups"]:
        _show_group(out, group, data["numeraire"])


def _show_group(out: Console, group: dict[str, Any], numeraire: str | None) -> None:
    out.print(f"\nMargin group {group['margin']}: {group['state']}", style="bold")
    if group["equity"] is not None:
        out.print(_health(group, numeraire or ""))
    elif group["legs"] or group["balances"] or group["loans"]:
        out.print("Its health is not known: a price is missing.")
    if group["balances"]:
        out.print(_balance_table(group["balances"]))
    if group["legs"]:
        for made in _leg_tables(group["legs"]):
            out.print(made)
    if group["lending"]:
        loan_report.show(out, group["loans"], group["lending"], numeraire or "")
        if group["lending"]["seizures"]:
            out.print(loan_report.seizures(group["lending"]["seizures"]))
    for pool, given_up in group["given_up"].items():
        out.print(f"Given up of its debt to {pool}: {full(given_up)}.")
    if group["open_orders"]:
        made = table("Own open orders", ["Symbol", "Buy", "Sell"])
        for own in group["open_orders"]:
            made.add_row(own["symbol"], full(own["buy"]), full(own["sell"]))
        out.print(made)
    if group["liquidation"]:
        _show_liquidation(out, group["liquidation"])


def _health(group: dict[str, Any], numeraire: str) -> Table:
    made = table(f"Health, in {numeraire}", ["", "Amount", "of margin equity"])
    margin_equity = group["margin_equity"]
    for name in ("equity", "margin_equity", "initial", "maintenance"):
        share = percent(group[name], margin_equity) if name in ("initial", "maintenance") else ""
        made.add_row(name.replace("_", " ").capitalize(), full(group[name]), share)
    return made


def _balance_table(balances: list[dict[str, Any]]) -> Table:
    columns = ["Asset", "Cash", "With unrealised", "Price", "Weight"]
    made = table("Balances", columns)
    for row in balances:
        keys = ("cash", "net", "price", "weight")
        made.add_row(row["asset"], *(full(row[key]) if key in row else NOTHING for key in keys))
    return made


def _leg_tables(legs: list[dict[str, Any]]) -> list[Table]:
    """Return two tables, since one would not fit: what each leg is worth, and where it breaks."""
    worth = table("Legs", ["Symbol", "Size", "Mark", "Value", "Cost", "Unrealised", "Settles in"])
    breaks = table(
        "Requirements and prices",
        ["Symbol", "Notional", "Initial", "Maintenance", "Liquidation below / above", "Bankrupt"],
        caption=(
            "Requirements in the numeraire, notional in what the leg settles in. Liquidation "
            "prices hold all other prices still."
        ),
    )
    for leg in legs:
        shown = {key: _number(value) for key, value in leg.items()}
        keys = ("size", "mark", "value", "cost", "unrealised")
        values = (shown.get(key, NOTHING) for key in keys)
        worth.add_row(leg["symbol"], *values, leg.get("settle", NOTHING))
        if "mark" in leg:
            pair = f"{shown['liquidation_price_below']} / {shown['liquidation_price_above']}"
            needs = (amount(leg[key]) for key in ("notional", "initial", "maintenance"))
            breaks.add_row(leg["symbol"], *needs, pair, shown["bankruptcy_price"])
    return [worth, breaks] if breaks.row_count else [worth]


def _number(value: Any) -> str:
    return full(value) if isinstance(value, Decimal) else NOTHING


def _show_liquidation(out: Console, liquidation: dict[str, Any]) -> None:
    waits = f", waits: {liquidation['waits']}" if liquidation["waits"] else ""
    if liquidation["waits_until"]:
        waits += f" until {moment(liquidation['waits_until'])}"
    on_loans = liquidation["auctions"] or any(one["collateral"] for one in liquidation["orders"])
    # Orders in a market have stages; seizures and auctions do not.
    stage = "" if on_loans else f", stage {liquidation['stage']}"
    out.print(f"Liquidation {liquidation['number']} ({liquidation['reason']}){stage}{waits}")
    if liquidation["awaits_cancellation_until"]:
        until = moment(liquidation["awaits_cancellation_until"])
        out.print(f"It awaits the cancellation of own orders until {until}.")
    for made in (
        _live_transfers([order for order in liquidation["orders"] if order["taker"]]),
        _live_orders(
            [one for one in liquidation["orders"] if not (one["collateral"] or one["taker"])]
        ),
        _live_seizures([order for order in liquidation["orders"] if order["collateral"]]),
    ):
        if made.row_count:
            out.print(made)
    if liquidation["auctions"]:
        out.print(loan_report.live_auctions(liquidation["auctions"]))


def _live_orders(orders: list[dict[str, Any]]) -> Table:
    made = table("", ["Live order", "Side", "Size", "Filled", "Limit", "Until"], left=2)
    for order in orders:
        numbers = (full(order[key]) for key in ("size", "filled", "limit"))
        made.add_row(order["order_id"], order["side"], *numbers, _until(order))
    return made


def _live_transfers(orders: list[dict[str, Any]]) -> Table:
    made = table("", ["Live transfer", "To", "Side", "Size", "Filled", "Price", "Until"], left=3)
    for order in orders:
        taker = order["taker"]
        to = f"{taker['layer']}: {taker['account']} {taker['margin']}"
        numbers = (full(order[key]) for key in ("size", "filled", "limit"))
        made.add_row(order["order_id"], to, order["side"], *numbers, _until(order))
    return made


def _live_seizures(orders: list[dict[str, Any]]) -> Table:
    made = table("", ["Live seizure", "Repay", "Repaid", "Seize", "Collateral", "Until"])
    for order in orders:
        numbers = (full(order[key]) for key in ("size", "filled", "seize"))
        made.add_row(order["order_id"], *numbers, order["collateral"], _until(order))
    return made


def _until(order: dict[str, Any]) -> str:
    state = " (cancelling)" if order["cancelling_until"] else ""
    return moment(order["cancelling_until"] or order["expires"]) + state
