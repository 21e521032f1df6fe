"""Accounts for people: one in every detail, or the whole book, riskiest first."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from engine.book import Account, Group
from engine.closing import bankruptcy_price
from engine.core import Engine
from engine.liquidation import Liquidation, Order, risk_key
from engine.liquidation_price import liquidation_prices
from engine.margin import (
    Health,
    LegHealth,
    Level,
    level,
)
from engine.money import ZERO, exact
from engine.survey import Survey
from producers.report import amount, full, moment, percent, table

NOTHING = "—"


class Line(NamedTuple):
    """One margin group of the book at the marks; without health while a price is missing."""

    shard: int
    group: Group
    health: Health | None
    state: str


@exact
def book(engines: Sequence[Engine]) -> list[Line]:
    """Return every margin group that holds or owes something, riskiest first, unpriced last."""
    lines = []
    for engine in engines:
        for group in engine.book.all_groups():
            if group.cash or group.symbols:
                state = engine.health_of(group) if engine.ready else None
                lines.append(Line(engine.shard, group, state, state_of(engine, group, state)))
    return sorted(lines, key=lambda line: risk_key(line.health, line.group))


def state_of(engine: Engine, group: Group, health: Health | None) -> str:
    """Say in one word how a group stands."""
    if group.liquidation is not None:
        return "liquidating" if not group.liquidation.waits else group.liquidation.waits
    if health is None:
        return "unpriced"
    if group.account.gap_since is not None:
        return "gap"
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
        "open_orders": [
            {"symbol": symbol, "buy": buy, "sell": sell}
            for symbol, (buy, sell) in sorted(group.open_orders.items())
        ],
        "liquidation": _liquidation(group.liquidation) if group.liquidation else None,
    }
    return found


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
        "stage": "backstop" if liquidation.backstop else "limit",
        "awaits_cancellation_until": liquidation.awaiting_until,
        "orders": [_order(order) for order in liquidation.in_order()],
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.id,
        "side": order.side,
        "symbol": order.symbol,
        "for_asset": order.for_asset or None,
        "size": order.size,
        "filled": order.filled,
        "limit": order.limit,
        "bankruptcy_price": order.bankruptcy,
        "expires": order.expires,
        "cancelling_until": order.cancelling_until,
    }


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
    elif group["legs"] or group["balances"]:
        out.print("Its health is not known: a price is missing.")
    if group["balances"]:
        out.print(_balance_table(group["balances"]))
    if group["legs"]:
        for made in _leg_tables(group["legs"]):
            out.print(made)
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
    out.print(
        f"Liquidation {liquidation['number']} ({liquidation['reason']}), "
        f"stage {liquidation['stage']}{waits}"
    )
    if liquidation["awaits_cancellation_until"]:
        until = moment(liquidation["awaits_cancellation_until"])
        out.print(f"It awaits the cancellation of own orders until {until}.")
    if liquidation["orders"]:
        columns = ["Live order", "Side", "Size", "Filled", "Limit", "Until"]
        made = table("", columns, left=2)
        for order in liquidation["orders"]:
            numbers = (full(order[key]) for key in ("size", "filled", "limit"))
            until = moment(order["cancelling_until"] or order["expires"])
            state = " (cancelling)" if order["cancelling_until"] else ""
            made.add_row(order["order_id"], order["side"], *numbers, until + state)
        out.print(made)


def shard_data(engine: Engine, glance: Survey) -> dict[str, Any]:
    """Return what a shard's book comes to; notionals are pictures, in floats, amounts exact."""
    ledger = engine.ledger
    return {
        "shard": engine.shard,
        "time": engine.time,
        "seq": engine.seq,
        "groups": glance.accounts,
        "long_notional": glance.long_notional,
        "short_notional": glance.short_notional,
        "unmatched_open_interest": glance.unmatched_open_interest,
        "gap_notional": glance.gap_notional,
        "ledger": {name: dict(sorted(getattr(ledger, name).items())) for name in ledger.BY_ASSET},
        "losses": [
            {
                "market": market,
                "asset": asset,
                **{
                    name: getattr(ledger, name).get((asset, market), ZERO)
                    for name in ledger.BY_MARKET
                },
                "unrealised": glance.unrealised.get((asset, market), ZERO),
            }
            for asset, market in sorted({*ledger.shortfall, *glance.unrealised})
        ],
    }


def state_table(engines: Sequence[Engine], surveys: Sequence[Survey]) -> Table:
    """Return where the shards stand, and their margin groups by state."""
    states = list(surveys[0].accounts)
    columns = ["Shard", "Time (UTC)", "Events", *map(str.capitalize, states)]
    made = table("Shards, and margin groups by state", columns, left=2)
    for engine, glance in zip(engines, surveys, strict=True):
        counts = (f"{glance.accounts[state]:,}" for state in states)
        time = moment(engine.time, fraction=False) if engine.seq else NOTHING
        made.add_row(str(engine.shard), time, f"{engine.seq:,}", *counts)
    return made


def market_table(engines: Sequence[Engine], surveys: Sequence[Survey]) -> Table:
    """Return marks and notionals by market, over all shards."""
    columns = ["Market", "Settles in", "Mark", "Long notional", "Short notional", "Unmatched size"]
    made = table("Markets", columns, left=2)
    for symbol in sorted({symbol for glance in surveys for symbol in glance.long_notional}):
        engine = next(engine for engine in engines if symbol in engine.rules.derivatives)
        mark = engine.prices.get((symbol, "mark"))
        sums = (
            # Adding zero makes −0.0 a plain zero.
            sum(getattr(glance, name).get(symbol, 0.0) for glance in surveys) + 0.0
            for name in ("long_notional", "short_notional", "unmatched_open_interest")
        )
        made.add_row(
            symbol,
            engine.rules.derivatives[symbol].settle,
            full(mark.price) if mark else NOTHING,
            *(f"{total:,.2f}" for total in sums),
        )
    return made


@exact
def ledger_table(engines: Sequence[Engine]) -> Table:
    """Return the insurance fund and what went in and out, by asset, over all shards."""
    columns = ["Asset", "Fund", "Fees", "Deposits", "Withdrawals", "Fund top-ups", "Adjustments"]
    made = table("Ledger", columns)
    for asset in sorted({asset for engine in engines for asset in engine.rules.assets}):
        sums = [
            sum((getattr(engine.ledger, name)[asset] for engine in engines), ZERO)
            for name in ("fund", "fees", "deposits", "withdrawals", "top_ups", "adjustments")
        ]
        if any(sums):
            made.add_row(asset, *(amount(total) for total in sums))
    return made


@exact
def loss_table(engines: Sequence[Engine], surveys: Sequence[Survey]) -> Table:
    """Return shortfalls, who paid them, and what is not booked yet, over all shards."""
    columns = ["Market", "Asset", "Shortfall", "Paid by fund", "Bad debt", "Unrealised"]
    made = table(
        "Losses", columns, left=2, caption="Unrealised: negative equity at mark, not booked yet."
    )
    keys = {key for engine in engines for key in engine.ledger.shortfall}
    keys |= {key for glance in surveys for key in glance.unrealised}
    for asset, market in sorted(keys):
        sums = [
            sum((getattr(engine.ledger, name)[asset, market] for engine in engines), ZERO)
            for name in ("shortfall", "paid_by_fund", "bad_debt")
        ]
        sums.append(sum((glance.unrealised.get((asset, market), ZERO) for glance in surveys), ZERO))
        made.add_row(market, asset, *(amount(total) for total in sums))
    return made


def book_table(lines: Sequence[Line], limit: int) -> Table:
    """Return the riskiest `limit` margin groups as a table."""
    rest = len(lines) - limit
    made = table(
        "Margin groups, riskiest first; amounts in the numeraire",
        ["Account", "Margin", "State", "Equity", "Margin equity", "Maintenance", "Used", "Legs"],
        left=3,
        caption=(
            "Used is maintenance as a part of margin equity; liquidation starts beyond 100 %."
            + (f" {rest:,} more are not shown." if rest > 0 else "")
        ),
    )
    for line in lines[:limit]:
        health, group = line.health, line.group
        if health is None:
            numbers = [NOTHING] * 4
        else:
            sums = (health.equity, health.margin_equity, health.maintenance)
            numbers = [*map(amount, sums), percent(health.maintenance, health.margin_equity)]
        legs = f"{len(group.symbols):,}"
        made.add_row(group.account.id, group.margin, line.state, *numbers, legs)
    return made
