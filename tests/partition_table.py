"""The table of docs/producers.md, where keys go: `python -m tests.partition_table`."""

from __future__ import annotations

from pathlib import Path

from producers.partitioning import COUNTS, vectors

PAGE = Path(__file__).parents[1] / "docs" / "producers.md"
BEGIN = "<!-- written by `.venv/bin/python -m tests.partition_table` -->\n"
END = "<!-- until here -->\n"
LONGEST = 16


def table() -> str:
    """Return the table."""
    lines = [
        "| key | bytes | hash | " + " | ".join(f"of {count}" for count in COUNTS) + " |",
        "|---|---:|---:|" + "---:|" * len(COUNTS),
    ]
    for vector in vectors():
        key = vector["key"]
        said = f"`{key}`" if 0 < len(key) <= LONGEST else "empty" if not key else _short(key)
        places = " | ".join(str(vector["partition"][str(count)]) for count in COUNTS)
        lines.append(f"| {said} | {vector['bytes']} | {vector['hash']} | {places} |")
    return "\n".join(lines) + "\n"


def _short(key: str) -> str:
    part = key[:1] if len(set(key)) == 1 else key[:10]
    return f"`{part}`, {len(key) // len(part)} times"


def page() -> str:
    """Return the page with the table in it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
