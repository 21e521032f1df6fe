"""Who changed what, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from producers.report import moment, printable, table


def show(out: Console, rows: Sequence[dict[str, Any]]) -> None:
    """Print the changes, oldest first, each with who asked for it, why, and what became of it."""
    columns = ["Offset", "Time (UTC)", "What", "By", "Reason", "Outcome"]
    made = table("Changes", columns, left=len(columns))
    for row in rows:
        offset = row.get("offset")
        time = row["time"] if row["time"] is not None else (row["written"] or 0) * 1000
        made.add_row(
            "—" if offset is None else str(offset),
            moment(time, fraction=False),
            row["what"],
            printable(row["by"]) or "—",
            printable(row["reason"]) or "—",
            row["outcome"],
        )
    out.print(made)
