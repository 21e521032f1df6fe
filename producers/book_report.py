"""The whole book for people: shards, markets, pools, losses, and margin groups, riskiest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table

from engine import funds
from engine.book import Group
from engine.core import Engine
from engine.lending import Backing
from engine.lending import health_factor as factor_of
from engine.liquidation import risk_key
from engine.loan_book import BANDS, PoolView, loan_book, pool_views
from engine.margin import Health
from engine.money import ZERO, exact
from engine.survey import Survey
from producers.account_report import state_of
from producers.loan_report import health_factor, pool_tables
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
            if group.cash or group.symbols or group.loans or group.liquidation:
                state = engine.health_of(group) if engine.ready else None
                lines.append(Line(engine.shard, group, state, state_of(engine, group, state)))
    return sorted(lines, key=lambda line: risk_key(line.health, line.group))


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
        "named_funds": [
            {"asset": asset, "fund": name, "amount": held}
            for (asset, name), held in sorted(ledger.named_funds.items())
        ],
        "gates_closed": sorted(engine.gates.closed),
        "halted": _halted(engine),
        "tripped": sorted(engine.rules.tripped),
        "held_prices": _held(engine),
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
        "pools": {name: view._asdict() for name, view in pool_views(engine).items()},
        "loans": loan_book(engine)._asdict(),
    }


def state_table(engines: Sequence[Engine], surveys: Sequence[Survey]) -> Table:
    """Return where the shards stand, and their margin groups by state."""
    lent = any(engine.rules.lending for engine in engines)
    rare = {"promised", "cooldown", "toxic"} | (set() if lent else {"capped"})
    found = {state for glance in surveys for state, count in glance.accounts.items() if count}
    states = [state for state in surveys[0].accounts if state not in rare or state in found]
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
            # Dust of several shards is rounded away; adding zero makes −0.0 a plain zero.
            round(sum(getattr(glance, name).get(symbol, 0.0) for glance in surveys), 2) + 0.0
            for name in ("long_notional", "short_notional", "unmatched_open_interest")
        )
        made.add_row(
            symbol,
            engine.rules.derivatives[symbol].settle,
            full(mark.price) if mark else NOTHING,
            *(f"{total:,.2f}" for total in sums),
        )
    return made


def _halted(engine: Engine) -> list[str]:
    return ["everything"] if engine.rules.halted_all else sorted(engine.rules.halted)


def _held(engine: Engine) -> list[dict[str, Any]]:
    """Return the prices that jumped too far, and what is in force in their place."""
    return [
        {
            "symbol": symbol,
            "kind": kind,
            "price": held.price,
            "in_force": engine.markets.price(symbol, kind),
            "since": held.since,
            "count": held.count,
        }
        for (symbol, kind), held in sorted(engine.markets.held.items())
    ]


def guard_table(engines: Sequence[Engine]) -> Table:
    """Return what is halted and by whom, and the prices that are held back; each shard has its
    own."""
    columns = ["Market", "Guard", "Since (UTC)", "In force", "Held back"]
    made = table(
        "Halts and held prices",
        columns,
        left=3,
        caption="A halt ends with Resume; a held price with one that agrees, or that stays away.",
    )
    for engine in engines:
        shard = f"{engine.shard}/" if len(engines) > 1 else ""
        for symbol in _halted(engine):
            by = "the breaker" if symbol in engine.rules.tripped else "an operator"
            made.add_row(shard + symbol, f"halted by {by}", *[NOTHING] * 3)
        for held in _held(engine):
            said = f"{held['kind']} held, {held['count']} in a row"
            prices = (full(held[name]) for name in ("in_force", "price"))
            made.add_row(shard + held["symbol"], said, moment(held["since"]), *prices)
    return made


@exact
def ledger_table(engines: Sequence[Engine]) -> Table:
    """Return insurance funds and what went in and out, by asset, over all shards."""
    columns = ["Asset", "Funds", "Fees", "Deposits", "Withdrawals", "Fund top-ups", "Adjustments"]
    made = table("Ledger", columns)
    for asset in sorted({asset for engine in engines for asset in engine.rules.assets}):
        held = sum((funds.in_all(engine.ledger, asset) for engine in engines), ZERO)
        sums = [held] + [
            sum((getattr(engine.ledger, name)[asset] for engine in engines), ZERO)
            for name in ("fees", "deposits", "withdrawals", "top_ups", "adjustments")
        ]
        if any(sums):
            made.add_row(asset, *(amount(total) for total in sums))
    return made


LOSSES = {
    "shortfall": "Shortfall",
    "paid_by_fund": "Paid by fund",
    "paid_by_reserve": "By reserve",
    "socialised": "Socialised",
    "bad_debt": "Bad debt",
    "recovered": "Recovered",
    "written_off": "Written off",
}
"""The columns of losses, by the name of their sums in the ledger."""

SELDOM = ("paid_by_reserve", "socialised", "recovered", "written_off")
"""Those that are shown where they are something."""


@exact
def loss_table(engines: Sequence[Engine], surveys: Sequence[Survey]) -> Table:
    """Return shortfalls, who paid them, and what is not booked yet, over all shards."""
    shown = [
        name
        for name in LOSSES
        if name not in SELDOM or any(any(getattr(of.ledger, name).values()) for of in engines)
    ]
    lacking = [[glance.unrealised for glance in surveys]]
    columns = ["Market", "Asset", *(LOSSES[name] for name in shown), "Unrealised"]
    caption = "Unrealised: negative equity at mark, not booked yet."
    if any(glance.holes for glance in surveys):
        lacking.append([glance.holes for glance in surveys])
        columns.append("Of it holes")
        caption += " Holes: that of accounts that are never liquidated."
    made = table("Losses", columns, left=2, caption=caption)
    keys = {key for engine in engines for key in engine.ledger.shortfall}
    keys |= {key for glance in surveys for key in glance.unrealised}
    for asset, market in sorted(keys):
        sums = [
            sum((getattr(engine.ledger, name)[asset, market] for engine in engines), ZERO)
            for name in shown
        ]
        for of in lacking:
            sums.append(sum((by_market.get((asset, market), ZERO) for by_market in of), ZERO))
        made.add_row(market, asset, *(amount(total) for total in sums))
    return made


def pools(engines: Sequence[Engine]) -> tuple[Table, Table]:
    """Return the pools of all shards; each shard has pools of its own."""
    found: dict[str, PoolView] = {}
    for engine in engines:
        prefix = f"{engine.shard}/" if len(engines) > 1 else ""
        for name, view in pool_views(engine).items():
            if name in engine.markets.lending:
                found[prefix + name] = view
    return pool_tables(found)


def debt_table(engines: Sequence[Engine]) -> Table:
    """Return debts to pools by the health of who owes them, and live seizures and auctions."""
    books = [loan_book(engine) for engine in engines if engine.ready]
    bands = {band: sum(book.debt_by_health[band] for book in books) for band in BANDS}
    live = sum(book.seizures.total() for book in books), sum(b.auctions.total() for b in books)
    made = table(
        "Debts to pools, in the numeraire",
        ["Health factor", "Debt", "of all"],
        caption=f"Seizures live: {live[0]:,}; auctions: {live[1]:,}.",
    )
    in_all = sum(bands.values())
    if in_all or any(live):
        for band, owed in bands.items():
            share = f"{owed / in_all:.1%}" if in_all else NOTHING
            made.add_row(band.replace("_", " "), f"{owed:,.2f}", share)
    return made


def book_table(lines: Sequence[Line], limit: int) -> Table:
    """Return the riskiest `limit` margin groups as a table."""
    rest, lent = len(lines) - limit, any(line.health and line.health.loans for line in lines)
    columns = ["Account", "Margin", "State", "Equity", "Margin equity", "Maintenance", "Used"]
    caption = "Used is maintenance as a part of margin equity; liquidation starts beyond 100 %."
    if any(line.state == "exempt" for line in lines):
        caption += " Exempt: its role is never liquidated."
    if lent:
        caption += " Health is its inverse, of groups that owe a pool."
    made = table(
        "Margin groups, riskiest first; amounts in the numeraire",
        [*columns, "Health" if lent else "Legs"],
        left=3,
        caption=caption + (f" {rest:,} more are not shown." if rest > 0 else ""),
    )
    for line in lines[:limit]:
        health, group = line.health, line.group
        if health is None:
            numbers = [NOTHING] * 4
        else:
            sums = (health.equity, health.margin_equity, health.maintenance)
            numbers = [*map(amount, sums), percent(health.maintenance, health.margin_equity)]
        last = _factor(health) if lent else f"{len(group.symbols):,}"
        made.add_row(group.account.id, group.margin, line.state, *numbers, last)
    return made


def _factor(health: Health | None) -> str:
    if health is None or not any(loan.owed for loan in health.loans):
        return NOTHING
    return health_factor(factor_of(Backing(health.margin_equity, health.maintenance)))
