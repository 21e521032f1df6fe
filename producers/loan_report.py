"""Loans for people: tables of what is supplied and owed, what is allowed, and where it breaks.

`loans` is everywhere what `loan_outlook.loan_rows` gives, `found` what `outlook` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.decisions import CollateralLiquidation
from engine.loan_book import PoolView
from engine.money import exact
from producers.report import amount, full, moment, table

NOTHING = "—"

_DOWN = Context(prec=60, rounding=ROUND_FLOOR, traps=[])
_UP = Context(prec=60, rounding=ROUND_CEILING, traps=[])
_SHOWN = Decimal("0.0001")


def health_factor(value: Decimal | None) -> str:
    """Write a health factor to four decimals, down; "none" without a debt."""
    return "none" if value is None else f"{value.quantize(_SHOWN, context=_DOWN):,f}"


def show(
    out: Console, loans: Sequence[dict[str, Any]], found: dict[str, Any], numeraire: str
) -> None:
    """Print everything about a group's loans but what is seized."""
    out.print(_headline(found))
    for made in (_loans(loans, numeraire), _allowed(found), _prices(found)):
        if made.row_count:
            out.print(made)
    for line in _warnings(found):
        out.print(line)


def _headline(found: dict[str, Any]) -> str:
    said = f"Health factor {health_factor(found['health_factor'])}"
    if found["category"]:
        said += f", category {found['category']}"
    if found["collateral_drop"] is not None:
        drop = found["collateral_drop"]
        said += f"; all that is supplied may fall by {rate(drop)} together before it is liquidated"
    return f"{said}."


def _loans(loans: Sequence[dict[str, Any]], numeraire: str) -> Table:
    made = table(
        f"Loans; values in {numeraire}",
        ["Pool", "Supplied", "Value", "Threshold", "Opening", "Owed", "Value", "Weight"],
        caption="A supply counts its value at the threshold, a debt at its weight; new debts must "
        "be met at the opening loan-to-value.",
    )
    for loan in loans:
        supplied = [NOTHING] * 4
        if loan["supplied"]:
            supplied = [short(loan["supplied"]), amount(loan["supplied_value"])]
            supplied += [short(loan[key]) for key in ("threshold", "loan_to_value")]
            if not loan["counts"]:
                supplied[2:] = ["no" if loan["enabled"] else "disabled", NOTHING]
        owed = [NOTHING] * 3
        if loan["owed"]:
            owed = [short(loan["owed"]), amount(loan["owed_value"]), full(loan["weight"])]
        made.add_row(loan["pool"], *supplied, *owed)
    return made


def _allowed(found: dict[str, Any]) -> Table:
    made = table(
        "What may still be borrowed or redeemed, and taken away",
        ["Pool", "Borrow", "limited by", "Costs", "Redeem", "limited by", "Earns"],
        caption="Each alone. Rates are of a year, without compounding.",
    )
    for row in found["allowed"]:
        cells: list[str] = []
        for key, of in (("borrow", "borrow_rate"), ("redeem", "supply_rate")):
            known = row[key] is not None
            cells += [short(row[key]), row[f"{key}_limit"]] if known else [NOTHING, ""]
            cells.append(_rate(row[of]))
        made.add_row(row["pool"], *cells)
    return made


def _prices(found: dict[str, Any]) -> Table:
    return _healed(found) if found["breached"] else _broken(found)


def _healed(found: dict[str, Any]) -> Table:
    """Return the table of prices that end a breach: at one below which a group is liquidated it is
    not."""
    made = table(
        "Prices at which it would be healthy again",
        ["Asset", "Price", "At or above", "At or below", "Move"],
        caption="Each price moves alone and all others are held.",
    )
    for row in found["prices"]:
        made.add_row(row["asset"], short(row["price"]), *_ends(row))
    return made


def _ends(row: Mapping[str, Any]) -> tuple[str, str, str]:
    below, above = (_price(row[key]) for key in ("liquidated_below", "liquidated_above"))
    return below, above, NOTHING if row["move"] is None else rate(row["move"], sign=True)


def _broken(found: dict[str, Any]) -> Table:
    made = table(
        "Prices at which it is liquidated",
        ["Asset", "Price", "Below", "Above", "Move", "Then repaid", "Then seized"],
        caption="Each price moves alone and all others are held; one step beyond, so much may be "
        "repaid and seized.",
    )
    for row in found["prices"]:
        then = [NOTHING, NOTHING]
        if row["seizures"]:
            first = row["seizures"][0]
            then = [f"{short(first['repay'])} {first['pool']}"]
            then.append(f"{short(first['seize'])} {first['collateral']}")
        made.add_row(row["asset"], short(row["price"]), *_ends(row), *then)
    return made


def seizures(planned: Sequence[Mapping[str, Any]], title: str = "May be seized now") -> Table:
    """Return the table of repayments and what is seized for them, planned or decided."""
    made = table(
        title, ["Repay", "Pool", "Seize", "Collateral", "Fee of it", "Bonus", "Toxic", "Paid in"]
    )
    for one in planned:
        made.add_row(
            short(one["repay"]),
            one["pool"],
            short(one["seize"]),
            one["collateral"],
            short(one["fee"]),
            rate(one["bonus"]),
            "toxic" if one["toxic"] else "no",
            one["paid_in"],
        )
    return made


def _warnings(found: dict[str, Any]) -> Iterator[str]:
    for row in found["toxic_below"]:
        factor = row["health_factor"].quantize(_SHOWN, context=_UP)
        yield f"Toxic: below a health factor of {factor:,f} a seizure of {row['pool']} lowers it."
    for lost in found["unrealised_bad_debt"]:
        yield (
            f"Unrealised bad debt: {full(lost['amount'])} {lost['asset']}, owed to "
            f"{lost['market']}."
        )


def auctions(begun: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of auctions that are decided."""
    columns = ["Lot", "Collateral", "For", "Pool", "Of it penalty", "Starts at", "Toxic"]
    made = table("On auction now", columns)
    for one in begun:
        penalty = one["debt"] - one["due"]
        made.add_row(
            short(one["lot"]),
            one["collateral"],
            short(one["debt"]),
            one["pool"],
            short(penalty),
            short(one["start_price"]),
            "toxic" if one["toxic"] else "no",
        )
    return made


def live_auctions(live: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of auctions under way."""
    columns = ["Live auction", "Lot", "Collateral", "Debt", "Started at", "Since", "Resets"]
    made = table("", columns)
    for one in live:
        numbers = short(one["lot"]), one["collateral"], short(one["debt"])
        since = moment(one["started"], fraction=False)
        price = short(one["start_price"])
        made.add_row(one["id"], *numbers, price, since, str(one["resets"]))
    return made


@exact
def loans_said(loans: Sequence[dict[str, Any]], numeraire: str) -> Iterator[str]:
    """Say how each supply and each debt comes into health."""
    for loan in loans:
        if loan["supplied"]:
            said = _product(loan["pool"], "supplied", loan, numeraire)
            if loan["counts"]:
                said += (
                    f"× threshold {full(loan['threshold'])} ({loan['terms']}) = "
                    f"{full(loan['counted'])} {numeraire}"
                )
            elif loan["enabled"]:
                said += "it has no terms as collateral and backs nothing"
            else:
                said += "it is disabled as collateral and backs nothing"
            yield said
        if loan["owed"]:
            yield _product(loan["pool"], "owed", loan, numeraire) + (
                f"× {full(loan['weight'])} (borrow_weight, collateral.{loan['asset']}) = "
                f"{full(loan['required'])} {numeraire}"
            )


def _product(pool: str, side: str, loan: dict[str, Any], numeraire: str) -> str:
    return (
        f"{pool}: {side} {full(loan[side])} × price {full(loan['price'])} = "
        f"{full(loan[f'{side}_value'])} {numeraire}; "
    )


@exact
def seizure_said(
    asked: CollateralLiquidation, loans: Sequence[dict[str, Any]], rule: str
) -> Iterator[str]:
    """Say how the size of a seizure comes about; `rule` is that of `lending.repay`."""
    held = {loan["pool"]: loan for loan in loans}
    debt, collateral = held[asked.pool], held[asked.collateral]
    yield (
        f"repaid: {full(asked.repay)} of {full(debt['owed'])} {debt['asset']} owed to {asked.pool} "
        f"(lending.repay, {rule}), at a health factor of {health_factor(asked.health_factor)}"
    )
    what = "all that is supplied, " if asked.seize == collateral["supplied"] else ""
    end = ";" if asked.fee else ""
    yield (
        f"seized: {what}{full(asked.seize)} {collateral['asset']} × price "
        f"{full(collateral['price'])} = {full(asked.seize * collateral['price'])}, for "
        f"{full(asked.repay)} × price {full(debt['price'])} × (1 + bonus {full(asked.bonus)}) = "
        f"{full(asked.repay * debt['price'] * (1 + asked.bonus))}, down to units{end}"
    )
    if asked.fee:
        kept = f"{full(asked.fee)} {collateral['asset']}"
        yield f"of it {kept} stay with the reserve of {asked.collateral}: its share of the bonus"
    if asked.toxic:
        yield "toxic: what is left is nearer to its threshold, or further beyond it, than before"
    if asked.paid_in == "supply":
        yield f"{asked.collateral} has no cash for it: the liquidator gets the supply itself"


# --- pools


def pool_tables(views: Mapping[str, PoolView]) -> tuple[Table, Table]:
    """Return what each pool holds and owes, and its indices and rates: two tables, since one would
    not fit."""
    held = table(
        "Pools, in their assets",
        ["Pool", "Supplied", "Borrowed", "Used", "Cash", "Reserve", "Deficit", "On auction"],
        caption="A deficit is bad debt that nobody bore.",
    )
    grown = table(
        "Indices and rates of pools",
        ["Pool", "Asset", "Supply index", "Borrow index", "Suppliers get", "Borrowers pay"],
        left=2,
        caption="Rates are of a year, without compounding.",
    )
    for name, view in views.items():
        sums = (view.cash, view.reserve, view.deficit, view.auctioned)
        lent = (amount(view.supplied), amount(view.borrowed), rate(view.utilization))
        held.add_row(name, *lent, *map(amount, sums))
        rates = (_rate(view.supply_rate), _rate(view.borrow_rate))
        indices = (f"{index:.9f}" for index in (view.supply_index, view.borrow_index))
        grown.add_row(name, view.asset, *indices, *rates)
    return held, grown


def _rate(value: Decimal | None) -> str:
    return NOTHING if value is None else rate(value)


def rate(value: Decimal, *, sign: bool = False) -> str:
    """Write a fraction in per cent, to two decimals."""
    return f"{100 * value:{'+' if sign else ''}.2f} %"


def short(value: Decimal) -> str:
    """Write a number whole if it is short, else rounded."""
    text = full(value)
    return text if len(text) <= 14 else amount(value)


def _price(value: Decimal | None) -> str:
    return NOTHING if value is None else short(value)
