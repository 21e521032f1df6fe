"""Read a TOML file into a struct, strictly, and name every fault at once.

Numbers with a point become exact decimals; "nan" and "inf" are refused. A key is named by its path,
`profile.brackets.BTC-PERP[2].cap`: `[2]` is the second element, `assets[BTC]` the table named BTC.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class FileFaults(ValueError):
    """A file cannot be used; `faults` are all its faults, each naming file and key."""

    def __init__(self, file: str, faults: list[str]) -> None:
        self.faults = [f"{file}: {fault}" for fault in faults]
        super().__init__("\n".join(self.faults))


def read(path: str | Path, kind: type[T]) -> T:
    """Read the file at `path` as `kind`.

    Raises `FileFaults` naming every fault of form, `OSError` when the file cannot be read.
    """
    tree = parse(Path(path).read_bytes(), str(path))
    if faults := list(form_faults(tree, kind)):
        raise FileFaults(str(path), faults)
    return msgspec.convert(tree, kind)


def parse(raw: bytes, file: str) -> dict[str, Any]:
    """Return the tree of keys in `raw`, the content of `file`; raises `FileFaults` if not TOML."""
    try:
        return tomllib.loads(raw.decode(), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileFaults(file, [f"not TOML: {error}"]) from error


def form_faults(value: Any, kind: Any, path: str = "") -> Iterator[str]:
    """Yield every way in which `value`, found at `path`, is no `kind`, with the path of the key."""
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _table_faults(value, kind, path)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from form_faults(item, args[1], _joined(path, key))
    elif origin is tuple and args[1:] == (...,) and isinstance(value, list):
        for place, item in enumerate(value, start=1):
            yield from form_faults(item, args[0], f"{path}[{_label(item, place)}]")
    else:
        yield from _value_faults(value, kind, path)


def _table_faults(value: Any, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected a table, got {_shown(value)}"
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, item in value.items():
        if key in fields:
            yield from form_faults(item, fields[key].type, _joined(path, key))
            continue
        meant = get_close_matches(key, fields, n=1)
        hint = f"; did you mean {meant[0]}?" if meant else f"; known: {', '.join(fields)}"
        yield f"{_joined(path, key)}: unknown key{hint}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield f"{_joined(path, name)}: missing"


def _value_faults(value: Any, kind: Any, path: str) -> Iterator[str]:
    try:
        found = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield f"{path}: {error}, here {_shown(value)}"
        return
    if isinstance(found, Decimal | float) and not isfinite(found):
        yield f"{path}: {found} is not a number"


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _label(item: Any, place: int) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(place)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
