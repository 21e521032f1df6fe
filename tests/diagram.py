"""docs/liquidation.md, written from the tables that drive the engine: `python -m tests.diagram`."""

import inspect
import re
from pathlib import Path

from engine import steps
from engine.liquidation import TABLES
from engine.situation import Situation

PAGE = Path(__file__).parent.parent / "docs" / "liquidation.md"

TITLES = {
    "idle": "A group without a liquidation",
    "breach": "A liquidation after a breach",
    "auto_convert": "A conversion of debt without a breach",
}

INTRODUCTION = """# The life of a liquidation

Written from the tables in `engine/liquidation.py` by `python -m tests.diagram`; a test compares.

Whenever an event touched a margin group, or a price may have taken it over a threshold, the table
of its state is read from the top; the first row whose conditions all hold names the step. After a
step the table is read again, until the step is `rest`. Conditions are functions of state, so a
liquidation can be put down and taken up between any two events. What a step does is in
`engine/steps.py`, and word by word in [semantics.md](semantics.md), section 5.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION]
    for reason, rows in TABLES.items():
        parts.append(f"## {TITLES[reason]}\n")
        parts.append("| | when | step |\n|---|---|---|")
        for place, (conditions, step) in enumerate(rows, start=1):
            when = ", ".join(name if value else f"not {name}" for name, value in conditions.items())
            parts.append(f"| {place} | {when.replace('_', ' ') or 'otherwise'} | `{step}` |")
        parts.append("")
    parts.append("## What the conditions mean\n")
    source = inspect.getsource(Situation)
    for name in Situation._fields:
        meaning = re.search(rf"^    {name}: bool(?:  # (.*))?$", source, re.MULTILINE)
        parts.append(f"* **{name.replace('_', ' ')}**: {(meaning and meaning[1]) or 'as it says'}")
    return "\n".join([*parts, ""])


def unreachable_names() -> set[str]:
    """Return conditions and steps of the tables that do not exist."""
    conditions = {name for rows in TABLES.values() for row, _ in rows for name in row}
    taken = {step for rows in TABLES.values() for _, step in rows} - {"rest"}
    return (conditions - set(Situation._fields)) | (taken ^ set(steps.STEPS))


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.name}: {len(TABLES)} tables")
