"""What can be read of a table with faults of form, so that its faults of sense are named too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from consumers import toml_file
from consumers.toml_file import Key

T = TypeVar("T", bound=msgspec.Struct)


class Table(NamedTuple, Generic[T]):
    """What can be read of one table, where it is, and its keys that only stand for something."""

    path: str
    item: T
    dropped: set[Key]

    def faults(self, found: Iterable[str]) -> Iterator[str]:
        """Yield those of the engine's words that are about what is in the file."""
        for fault in found:
            if not any(_about(fault, key) for key in self.dropped):
                yield f"{self.path}: {fault}" if self.path else fault

    def has(self, key: str) -> bool:
        """Tell whether `key` could be read."""
        return (key,) not in self.dropped


def tables(items: Any, kind: type[T], path: str) -> list[Table[T]]:
    """Return those of `items` that are tables, without what has faults of form."""
    found = []
    for place, item in enumerate(items if isinstance(items, list) else [], start=1):
        if isinstance(item, dict):
            dropped: set[Key] = set()
            draft = toml_file.mended(item, kind, dropped)
            found.append(Table(f"{path}[{toml_file.label(item, place)}]", draft, dropped))
    return found


_ELEMENTS = {"brackets": "bracket", "extremes": "extreme"}
"""How the engine names an element of these arrays: `bracket 2`."""


def _about(fault: str, key: Key) -> bool:
    """Tell whether the engine's words are about `key`, a path inside their table."""
    match key:
        case (str(table), str(symbol), str(array), int(place), str(field)) if array in _ELEMENTS:
            element = f"{table} {symbol}: {_ELEMENTS[array]}"
            if fault.startswith(f"{element} {place}: "):
                return _says(fault, field)
            # A bracket is also compared with the one before it.
            follows = fault.startswith(f"{element} {place + 1}: ")
            compared = "a rate falls" in fault or " not above " in fault
            return follows and compared and _says(fault, field)
    return all(_says(fault, name) for name in key if isinstance(name, str))


def _says(fault: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", fault) is not None
