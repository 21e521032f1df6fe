"""Read a TOML file into a struct, strictly, and name every fault at once.

Numbers with a point become exact decimals; "nan" and "inf" are refused. A key is named by its path,
`profile.requirements.BTC-PERP.brackets[2].cap`: `[2]` is the second element, `assets[BTC]` the
table named BTC.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from engine.wire import DIGITS_MAX, WHOLE_MAX

T = TypeVar("T", bound=msgspec.Struct)

Key = tuple[str | int, ...]
"""The path of a key: names of keys, and numbers of elements, counted from 1."""

_STAND_INS: dict[Any, Any] = {int: 1, str: "", Decimal: Decimal(1), tuple: (), dict: {}}


class FileFaults(ValueError):
    """A file cannot be used; `faults` are all its faults, each naming file and key, and those of
    other files that it goes with."""

    def __init__(self, file: str, faults: list[str], *others: FileFaults) -> None:
        # Another process is handed an exception as what it was made of.
        super().__init__(file, faults, *others)
        self.faults = [f"{file}: {fault}" for fault in faults]
        self.faults += [fault for other in others for fault in other.faults]

    def __str__(self) -> str:
        return "\n".join(self.faults)


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
    except RecursionError as error:
        raise FileFaults(file, ["not TOML: arrays or tables are nested too deeply"]) from error
    except ArithmeticError as error:
        raise FileFaults(file, ["not TOML: a number is out of range"]) from error
    except ValueError as error:
        # Python's own limit on the digits of a whole number is such a fault too.
        raise FileFaults(file, [f"not TOML: {error}"]) from error


def form_faults(value: Any, kind: Any, path: str = "") -> Iterator[str]:
    """Yield every way in which `value`, found at `path`, is no `kind`, with the path of the key."""
    kind = _given(kind)
    if choices := _tagged(kind):
        if (fault := _tag_fault(value, choices, path)) is not None:
            yield fault
            return
        kind = choices[value[_tag_field(choices)]]
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _table_faults(value, kind, path)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from form_faults(item, args[1], _joined(path, key))
    elif origin is tuple and args[1:] == (...,) and isinstance(value, list):
        for place, item in enumerate(value, start=1):
            yield from form_faults(item, args[0], f"{path}[{label(item, place)}]")
    else:
        yield from _value_faults(value, kind, path)


def mended(table: Any, kind: type[T], dropped: set[Key], path: Key = ()) -> T:
    """Return `table` as `kind` without what has faults of form, so that the rest can be checked.

    A faulty key takes its default; where it has none, what is missing or faulty takes a stand-in
    that means nothing. The paths of both are added to `dropped`.
    """
    if not isinstance(table, dict):
        dropped.add(path)
        table = {}
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        key = (*path, field.name)
        if field.name in table:
            value = _mended(table[field.name], field.type, dropped, key)
            if value is not msgspec.UNSET:
                found[field.name] = value
                continue
        elif not field.required:
            continue
        dropped.add(key)
        if field.required:
            found[field.name] = _stand_in(field.type, dropped, key)
    return kind(**found)


def _mended(value: Any, kind: Any, dropped: set[Key], path: Key) -> Any:
    """Return what can be used of `value`; `UNSET` when nothing can."""
    kind = _given(kind)
    if choices := _tagged(kind):
        if _tag_fault(value, choices, "") is not None:
            return msgspec.UNSET
        kind = choices[value[_tag_field(choices)]]
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return mended(value, kind, dropped, path)
    if origin is dict and isinstance(value, dict):
        pairs = {
            name: _element(item, args[1], dropped, (*path, name)) for name, item in value.items()
        }
        return {name: item for name, item in pairs.items() if item is not msgspec.UNSET}
    if origin is tuple and args[1:] == (...,) and isinstance(value, list):
        items = [
            _element(item, args[0], dropped, (*path, place))
            for place, item in enumerate(value, start=1)
        ]
        kept = tuple(item for item in items if item is not msgspec.UNSET)
        return kept if kept or not items else msgspec.UNSET
    return msgspec.UNSET if any(_value_faults(value, kind, "")) else msgspec.convert(value, kind)


def _element(value: Any, kind: Any, dropped: set[Key], path: Key) -> Any:
    found = _mended(value, kind, dropped, path)
    if found is not msgspec.UNSET:
        return found
    dropped.add(path)
    return () if get_origin(kind) is tuple else msgspec.UNSET


def _given(kind: Any) -> Any:
    """Return what a key that may be left out holds when it is given: TOML has no null."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    kinds = [arg for arg in get_args(kind) if arg is not NoneType]
    return kinds[0] if len(kinds) == 1 else kind


def _tagged(kind: Any) -> dict[str, type[msgspec.Struct]]:
    """Return the structs of a union by what a table calls them; none if it is no such union."""
    if get_origin(kind) not in (Union, UnionType):
        return {}
    items = get_args(kind)
    if not all(isinstance(item, type) and issubclass(item, msgspec.Struct) for item in items):
        return {}
    return {item.__struct_config__.tag: item for item in items}


def _tag_field(choices: dict[str, type[msgspec.Struct]]) -> str:
    """Return the key under which a table says which of the structs it is."""
    return str(next(iter(choices.values())).__struct_config__.tag_field)


def _tag_fault(value: Any, choices: dict[str, type[msgspec.Struct]], path: str) -> str | None:
    """Return why a table does not say which of the structs it is, if it does not."""
    known, key = ", ".join(choices), _tag_field(choices)
    if not isinstance(value, dict):
        return f"{path}: expected a table, got {_shown(value)}"
    if key not in value:
        return f"{_joined(path, key)}: missing; known: {known}"
    if not isinstance(value[key], str) or value[key] not in choices:
        return f"{_joined(path, key)}: {_shown(value[key])} is none of {known}"
    return None


def _stand_in(kind: Any, dropped: set[Key], path: Key) -> Any:
    kind = next(iter(_tagged(kind).values()), kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return mended({}, kind, dropped, path)
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    return _STAND_INS[get_origin(kind) or kind]


def _table_faults(value: Any, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected a table, got {_shown(value)}"
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, item in value.items():
        if key == kind.__struct_config__.tag_field:
            continue
        if key in fields:
            yield from form_faults(item, fields[key].type, _joined(path, key))
            continue
        yield f"{_joined(path, key)}: unknown key; {_hint(key, list(fields))}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield f"{_joined(path, name)}: missing"


def _hint(key: str, known: list[str]) -> str:
    """Say which key may have been meant."""
    if meant := get_close_matches(key, known, n=1):
        return f"did you mean {meant[0]}?"
    return f"known: {', '.join(known)}" if known else "there is none here"


def _value_faults(value: Any, kind: Any, path: str) -> Iterator[str]:
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices and isinstance(value, str) and value not in choices:
        yield f"{path}: {_shown(value)} is none of {', '.join(map(str, choices))}"
        return
    try:
        found = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield f"{path}: {error}, here {_shown(value)}"
        return
    if isinstance(found, Decimal | float) and not isfinite(found):
        yield f"{path}: {found} is not a number"
    elif isinstance(value, Decimal) and not _carried(value):
        yield f"{path}: has more than {DIGITS_MAX} digits before or after the point"
    elif isinstance(value, int) and abs(value) >= WHOLE_MAX:
        yield f"{path}: {_shown(value)} is not below 2^53"


def outside(key: str, value: float, low: float, high: float) -> Iterator[str]:
    """Yield that `value`, found at `key`, is not between `low` and `high`, if so."""
    if not low <= value <= high:
        yield f"{key}: {value:g} is not in [{low:g}, {high:g}]"


def _carried(number: Decimal) -> bool:
    """Tell whether an event can carry `number`."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    return len(digits) <= DIGITS_MAX and -DIGITS_MAX <= exponent <= DIGITS_MAX - len(digits)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def label(item: Any, place: int) -> str:
    """Return how an element of an array is called: by its name, or by its place."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(place)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
