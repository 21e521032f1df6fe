"""What a shadow would have done otherwise, for people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.console import Console

from producers.report import full, moment, table

ONE_SIDE = {"only_ours": "Liquidated by the shadow alone", "only_theirs": "By the other alone"}


def show(out: Console, told: dict[str, Any], limit: int) -> None:
    """Print totals, what one side alone liquidated, and by how much one was ahead of the other."""
    totals = told["totals"]
    out.print(f"Liquidated by both:              {totals['both']:,}")
    if totals["both"]:
        same = totals["both"] - totals["ours_first"] - totals["theirs_first"]
        out.print(f"  the shadow first:              {totals['ours_first']:,}")
        out.print(f"  the other first:               {totals['theirs_first']:,}")
        out.print(f"  at the same time:              {same:,}")
        out.print(f"  the shadow ahead by (median):  {totals['median_lead_ms']:,.1f} ms")
    for name, who in (("only_ours", "shadow alone:  "), ("only_theirs", "other alone:   ")):
        again = sum(row["group_of_both"] for row in told[name])
        of_both = f", {again:,} of them of accounts that both liquidated" if again else ""
        out.print(f"By the {who}           {totals[name]:,}{of_both}")
    out.print(f"Accounts of one side alone:      {totals['groups_of_one_side']:,}")
    for name, title in ONE_SIDE.items():
        if told[name]:
            _one_side(out, title, told[name], limit)
    if told["both"]:
        _both(out, told["both"], limit)


def _one_side(out: Console, title: str, rows: list[dict[str, Any]], limit: int) -> None:
    made = table(title, ["Account", "Margin", "Time (UTC)", "Symbol", "Size", "Price"], left=4)
    for row in rows[:limit]:
        for symbol, closed in list(row["closed"].items()) or [("—", None)]:
            at = moment(row["time"])
            made.add_row(row["account"], row["margin"], at, symbol, *_closed(closed))
    out.print(made)
    _left_out(out, rows, limit)


def _both(out: Console, rows: list[dict[str, Any]], limit: int) -> None:
    columns = ["Account", "Margin", "Symbol", "Ahead, ms", "Size", "Limit", "Theirs", "At"]
    caption = "Ahead: by so much the shadow began earlier than the other's first order or fill."
    made = table("Liquidated by both, furthest apart first", columns, left=3, caption=caption)
    ordered = sorted(rows, key=lambda row: -abs(row["lead_ms"]))
    for row in ordered[:limit]:
        for symbol, closed in row["closed"].items():
            sides = (*_closed(closed["ours"]), *_closed(closed["theirs"]))
            lead = f"{row['lead_ms']:,.1f}"
            made.add_row(row["account"], row["margin"], symbol, lead, *sides)
    out.print(made)
    _left_out(out, rows, limit)


def _closed(closed: dict[str, Any] | None) -> tuple[str, str]:
    if closed is None:
        return "—", "—"
    return full(closed["size"]), _price(closed["price"])


def _price(price: Decimal | None) -> str:
    return "—" if not price else full(price)


def _left_out(out: Console, rows: list[dict[str, Any]], limit: int) -> None:
    if len(rows) > limit:
        out.print(f"{len(rows) - limit:,} more are not shown (--limit, --json).")
