"""Who paid for what, for people and as data: by market, layer by layer, down to one liquidation.

Totals are the ledger's. What a log tells besides (takers, single shortfalls, layers with what they
could have paid) is folded from its decisions, and every sum of it is held against the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from decimal import Decimal
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from engine import decisions as d
from engine.core import Engine
from engine.funds import every
from engine.money import ZERO, exact
from engine.survey import survey
from producers.course import Course
from producers.report import amount, full, moment, table
from producers.waterfall_tally import TAKERS, Booking, Taken, WaterfallTally

NOTHING = "—"

SUMS = (
    "shortfall", "paid_by_fund", "paid_by_reserve", "socialised", "bad_debt", "recovered",
    "written_off", "paid_for_positions", "outstanding", "unrealised",
    "holes",
)  # fmt: skip
"""What is summed of a market; all but the last three stand in the ledger."""

TAKER_SAID = {
    "limit": "market, at limit",
    "any_price": "market, stage backstop",
    "netting": "own group",
    "fund": "insurance fund",
    "backstop": "backstop",
    "adl": "deleveraging",
}
LAYER_SAID = {
    "fund": "fund",
    "reserve": "reserve",
    "lenders": "lenders",
    "open_interest": "open interest",
    "winners": "winners",
}

Key = tuple[str, str]


class Scope(NamedTuple):
    """What of a run is asked for: a market, an account, or all."""

    market: str | None = None
    account: str | None = None


@exact
def losses(engines: Sequence[Engine]) -> dict[Key, dict[str, Decimal]]:
    """Return the sums of every (asset, market) over all shards that lost something."""
    found: dict[Key, dict[str, Decimal]] = {}
    for engine in engines:
        ledger = engine.ledger
        for name in ledger.BY_MARKET:
            for key, value in getattr(ledger, name).items():
                _of(found, key)[name] += value
        glance = survey(engine)
        for name, lacking in (("unrealised", glance.unrealised), ("holes", glance.holes)):
            for key, value in lacking.items():
                _of(found, key)[name] += value
    for sums in found.values():
        sums["outstanding"] = sums["bad_debt"] - sums["recovered"] - sums["written_off"]
    return {key: sums for key, sums in sorted(found.items()) if any(sums.values())}


def _of(found: dict[Key, dict[str, Decimal]], key: Key) -> dict[str, Decimal]:
    return found.setdefault(key, dict.fromkeys(SUMS, ZERO))


@exact
def differences(
    found: dict[Key, dict[str, Decimal]], tally: WaterfallTally | None
) -> Iterator[str]:
    """Yield, in words, every sum that does not agree with what it is made of."""
    for (asset, market), sums in found.items():
        paid = sums["paid_by_fund"] + sums["paid_by_reserve"] + sums["socialised"]
        if sums["shortfall"] != paid + sums["bad_debt"]:
            yield (
                f"{market}: shortfall {full(sums['shortfall'])} {asset} is not paid "
                f"{full(paid)} + bad debt {full(sums['bad_debt'])}"
            )
        if sums["outstanding"] < 0:
            yield f"{market}: {full(-sums['outstanding'])} {asset} more was recovered than lost"
    if tally is not None:
        yield from _untold(found, tally)


def _untold(found: dict[Key, dict[str, Decimal]], tally: WaterfallTally) -> Iterator[str]:
    """Yield what the decisions of a log say otherwise than its ledger."""
    told: dict[Key, dict[str, Decimal]] = {}
    for booking in tally.bookings:
        sums = _of(told, (booking.asset, booking.market))
        sums["shortfall"] += booking.shortfall
        sums["bad_debt"] += booking.bad_debt
        for paid in booking.paid:
            sums[_COLUMN[paid.layer]] += paid.paid
    for (market, asset, _), taken in tally.taken.items():
        _of(told, (asset, market))["paid_for_positions"] += taken.paid
    for key in sorted({*found, *told}):
        kept, said = _of(found, key), _of(told, key)
        for name in _TOLD:
            if kept[name] != said[name]:
                yield (
                    f"{key[1]}: {name} is {full(kept[name])} {key[0]} in the ledger and "
                    f"{full(said[name])} in the decisions"
                )


_TOLD = (
    "shortfall", "paid_by_fund", "paid_by_reserve", "socialised", "bad_debt", "paid_for_positions",
)  # fmt: skip
"""The sums that decisions alone make up."""
_COLUMN = {
    "fund": "paid_by_fund",
    "reserve": "paid_by_reserve",
    "lenders": "socialised",
    "open_interest": "socialised",
    "winners": "socialised",
}


@exact
def layers(bookings: Iterable[Booking]) -> list[dict[str, Any]]:
    """Return what each layer paid of these shortfalls, by market, in the order in which they were
    asked; `left_after` of all shortfalls of the market."""
    markets: dict[Key, dict[tuple[str, str], list[Decimal]]] = {}
    left: dict[Key, Decimal] = {}
    for booking in bookings:
        key = (booking.asset, booking.market)
        left[key] = left.get(key, ZERO) + booking.shortfall
        asked = markets.setdefault(key, {})
        for one in booking.paid:
            asked.setdefault((one.layer, one.fund), []).append(one.paid)
    rows = []
    for key, asked in sorted(markets.items()):
        for (layer, fund), paid in asked.items():
            left[key] -= sum(paid, ZERO)
            rows.append(
                {
                    "market": key[1],
                    "asset": key[0],
                    "layer": layer,
                    "fund": fund,
                    "asked": len(paid),
                    "payments": sum(1 for amount_paid in paid if amount_paid),
                    "paid": sum(paid, ZERO),
                    "left_after": left[key],
                }
            )
    return rows


def takers(tally: WaterfallTally, scope: Scope) -> list[dict[str, Any]]:
    """Return who took positions, by market, in the order in which they are asked."""
    rows = sorted(tally.taken.items(), key=lambda row: (*row[0][:2], TAKERS.index(row[0][2])))
    return [
        {"market": market, "asset": asset, "taker": taker, **_taken(taken)}
        for (market, asset, taker), taken in rows
        if scope.market in (None, market)
    ]


def _taken(taken: Taken) -> dict[str, Any]:
    return {
        "orders": taken.orders,
        "filled": taken.filled,
        "notional": taken.notional,
        "forgone": taken.forgone,
        "paid": taken.paid,
    }


def booking_data(booking: Booking) -> dict[str, Any]:
    """Return one shortfall with the layers that paid it."""
    return {
        "time": booking.time,
        "account": booking.account,
        "margin": booking.margin,
        "number": booking.number,
        "market": booking.market,
        "asset": booking.asset,
        "cause": booking.cause,
        "shortfall": booking.shortfall,
        "layers": [one._asdict() for one in booking.paid],
        "bad_debt": booking.bad_debt,
        "debt_id": booking.debt_id or None,
    }


def of_scope(tally: WaterfallTally, scope: Scope) -> list[Booking]:
    """Return the shortfalls that are asked for, as they were booked."""
    return [booking for booking in tally.bookings if scope.market in (None, booking.market)]


@exact
def data(engines: Sequence[Engine], tally: WaterfallTally | None, scope: Scope) -> dict[str, Any]:
    """Return everything as plain data; amounts are decimals.

    Of one account there are no totals: what is recovered or written off is a market's.
    """
    found: dict[str, Any] = {}
    if scope.account is None:
        kept = losses(engines)
        found["markets"] = [
            {"market": market, "asset": asset, **sums}
            for (asset, market), sums in kept.items()
            if scope.market in (None, market)
        ]
        found["totals"] = _totals(found["markets"])
        found["funds"] = funds(engines, {asset for asset, _ in kept})
        found["differences"] = list(differences(kept, tally))
    if tally is not None:
        bookings = of_scope(tally, scope)
        found["takers"] = takers(tally, scope)
        found["layers"] = layers(bookings)
        found["shortfalls"] = [booking_data(booking) for booking in bookings]
        if scope.account is not None:
            found["liquidations"] = [
                {
                    "account": account,
                    "number": number,
                    "time": life.time,
                    "margin": life.margin,
                    "reason": life.reason,
                    "ended": life.ended or None,
                }
                for (account, number), life in tally.lives.items()
            ]
    return found


def _totals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sums of each asset over its markets."""
    return [
        {
            "asset": asset,
            **{
                name: sum((row[name] for row in rows if row["asset"] == asset), ZERO)
                for name in SUMS
            },
        }
        for asset in sorted({row["asset"] for row in rows})
    ]


@exact
def funds(engines: Sequence[Engine], lost: Set[str]) -> list[dict[str, Any]]:
    """Return what each insurance fund holds, over all shards; the venue's has no name.

    One that holds nothing is there where something was `lost` in its asset.
    """
    found: dict[Key, Decimal] = {}
    for engine in engines:
        for key, held in every(engine.ledger):
            found[key] = found.get(key, ZERO) + held
    return [
        {"asset": asset, "fund": name, "amount": held}
        for (asset, name), held in sorted(found.items())
        if held or asset in lost
    ]


# --- for people


def show(out: Console, told: dict[str, Any], limit: int) -> None:
    """Print what `data` gives, the largest `limit` shortfalls of it."""
    if told.get("liquidations"):
        out.print(_liquidations(told["liquidations"]))
    if told.get("takers"):
        out.print(_takers(told["takers"]))
    if told.get("markets"):
        out.print(_paid(told["markets"], told["totals"]))
        out.print(_debts(told["markets"], told["totals"]))
    elif not told.get("shortfalls"):
        out.print("No shortfall.")
    if told.get("layers"):
        out.print(_layers(told["layers"]))
    if told.get("funds"):
        out.print(_funds(told["funds"]))
    if told.get("shortfalls"):
        out.print(_shortfalls(told["shortfalls"], limit))
    if told.get("markets"):
        _reconciled(out, told["differences"])


def _reconciled(out: Console, found: Sequence[str]) -> None:
    if not found:
        out.print(
            "Reconciles: shortfall = fund + reserve + socialised + bad debt; "
            "outstanding = bad debt − recovered − written off."
        )
    for line in found:
        out.print(f"Does not reconcile: {line}.")


def _rows(
    made: Table,
    rows: Sequence[dict[str, Any]],
    totals: Sequence[dict[str, Any]],
    names: Sequence[str],
) -> Table:
    """Fill a table with the sums of markets, and of each asset that has several."""
    for total in totals:
        of_asset = [row for row in rows if row["asset"] == total["asset"]]
        for row in of_asset:
            made.add_row(row["market"], row["asset"], *(amount(row[name]) for name in names))
        if len(of_asset) > 1:
            sums = (amount(total[name]) for name in names)
            made.add_row("All", total["asset"], *sums, style="bold")
        made.add_section()
    return made


_PAID = {
    "shortfall": "Shortfall",
    "paid_by_fund": "Fund",
    "paid_by_reserve": "Reserve",
    "socialised": "Socialised",
    "bad_debt": "Bad debt",
}
_OWED = {
    "bad_debt": "Bad debt",
    "recovered": "Recovered",
    "written_off": "Written off",
    "outstanding": "Outstanding",
    "unrealised": "Unrealised",
    "holes": "Of it holes",
}


def _paid(rows: Sequence[dict[str, Any]], totals: Sequence[dict[str, Any]]) -> Table:
    made = table("Who paid, by market", ["Market", "Asset", *_PAID.values()], left=2)
    return _rows(made, rows, totals, list(_PAID))


def _debts(rows: Sequence[dict[str, Any]], totals: Sequence[dict[str, Any]]) -> Table:
    made = table(
        "What nobody paid, by market",
        ["Market", "Asset", *_OWED.values()],
        left=2,
        caption=(
            "Unrealised: negative equity at mark, not booked yet and in no sum; of it holes: "
            "that of accounts that are never liquidated, as those who take positions."
        ),
    )
    return _rows(made, rows, totals, list(_OWED))


def _takers(rows: Sequence[dict[str, Any]]) -> Table:
    made = table(
        "Who took the positions, by market",
        ["Market", "Asset", "Taker", "Orders", "Filled", "Notional", "Forgone", "Paid for it"],
        left=3,
        caption=(
            "Stage backstop: max_slippage beyond the mark. Orders: all sent, filled or not. "
            "Forgone: what takers have less than at the mark; paid for it: what the insurance fund "
            "gave them of it; both beside the shortfall and not in it. Rounded here, exact in JSON."
        ),
    )
    for row in rows:
        numbers = (amount(row[name]) for name in ("filled", "notional", "forgone", "paid"))
        said = TAKER_SAID[row["taker"]]
        made.add_row(row["market"], row["asset"], said, f"{row['orders']:,}", *numbers)
    return made


def _layers(rows: Sequence[dict[str, Any]]) -> Table:
    made = table(
        "Layer by layer",
        ["Market", "Asset", "Layer", "Asked", "Payments", "Paid", "Left after it"],
        left=3,
        caption="Asked: shortfalls that were not paid above it; one that then has nothing pays 0.",
    )
    for row in rows:
        counts = (f"{row[name]:,}" for name in ("asked", "payments"))
        numbers = (amount(row[name]) for name in ("paid", "left_after"))
        made.add_row(row["market"], row["asset"], _layer(row), *counts, *numbers)
    return made


def _layer(row: dict[str, Any]) -> str:
    return f'fund "{row["fund"]}"' if row["fund"] else LAYER_SAID[row["layer"]]


def _funds(rows: Sequence[dict[str, Any]]) -> Table:
    made = table("Insurance funds", ["Asset", "Fund", "Cash"], left=2)
    for row in rows:
        made.add_row(row["asset"], row["fund"] or "the venue's", amount(row["amount"]))
    return made


def _shortfalls(rows: Sequence[dict[str, Any]], limit: int) -> Table:
    rest = len(rows) - limit
    made = table(
        "Shortfalls, largest first",
        ["Liquidation", "Time (UTC)", "Market", "Asset", "Shortfall", "Paid", "Bad debt"],
        left=4,
        caption=f"{rest:,} more are not shown." if rest > 0 else "",
    )
    largest = sorted(rows, key=lambda row: (row["asset"], -row["shortfall"], row["time"]))
    for row in largest[:limit]:
        paid = row["shortfall"] - row["bad_debt"]
        made.add_row(
            f"{row['account']}:{row['number']}" if row["number"] else row["account"],
            moment(row["time"], fraction=False),
            row["market"],
            row["asset"],
            *(amount(value) for value in (row["shortfall"], paid, row["bad_debt"])),
        )
    return made


def _liquidations(rows: Sequence[dict[str, Any]]) -> Table:
    made = table(
        "Liquidations", ["Liquidation", "Margin", "Began (UTC)", "Reason", "Ended"], left=5
    )
    for row in rows:
        name, began = f"{row['account']}:{row['number']}", moment(row["time"], fraction=False)
        made.add_row(name, row["margin"], began, row["reason"], row["ended"] or "goes on")
    return made


def show_layers(out: Console, bookings: Sequence[Booking], course: Course) -> None:
    """Print each shortfall of one liquidation, layer by layer, down to what nobody paid."""
    charged = _charges(course)
    for booking in bookings:
        made = table(
            f"\n{booking.market}: shortfall {full(booking.shortfall)} {booking.asset}",
            ["Layer", "Could pay", "Paid", "Left"],
        )
        for one in booking.paid:
            numbers = (full(value) for value in (one.capacity, one.paid, one.remainder))
            made.add_row(_layer(one._asdict()), *numbers)
            if one.layer in ("open_interest", "winners"):
                for who, part in charged.get((booking.market, booking.asset), ()):
                    made.add_row(f"  {who}", NOTHING, full(part), NOTHING)
        made.add_row(f"bad debt {booking.debt_id}".rstrip(), NOTHING, full(booking.bad_debt), "0")
        out.print(made)


def _charges(course: Course) -> dict[Key, list[tuple[str, Decimal]]]:
    found: dict[Key, list[tuple[str, Decimal]]] = {}
    for _, happened in course:
        if isinstance(happened, d.LossCharged):
            who = f"{happened.account} {happened.margin}"
            found.setdefault((happened.market, happened.asset), []).append((who, happened.amount))
    return found
