"""Keys of the daemon's file that the environment overrides: LIQUIDATOR_KAFKA_GROUP is kafka.group.

A variable counts where what follows LIQUIDATOR_ begins with a section's name, or almost is a key's;
others, such as those that Kubernetes sets for a Service of that name, do not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

import msgspec

PREFIX = "LIQUIDATOR_"

MISSPELT = 0.8
"""From this likeness to a key on, a variable was meant to be one."""


def override(
    tree: dict[str, Any], kind: type[msgspec.Struct], environment: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Put the environment's values into `tree`, that of a file whose form is `kind`.

    Returns which variable each overridden key has its value from, and a fault for each variable
    that speaks of a section and of no key in it, or is misspelt.
    """
    taken, faults = {}, []
    sections = tuple(f"{PREFIX}{field.name.upper()}_" for field in msgspec.structs.fields(kind))
    for name in sorted(environment):
        if not name.startswith(PREFIX):
            continue
        if not name.startswith(sections) and not _near(name, kind):
            continue
        found = _key(name.removeprefix(PREFIX), kind)
        if found is None:
            faults.append(f"{name}: an environment variable that names no key{_hint(name, kind)}")
        elif _put(tree, found[0], _value(environment[name], found[1])):
            taken[".".join(found[0])] = name
    return taken, faults


def variables(kind: type[msgspec.Struct], prefix: str = PREFIX) -> list[str]:
    """Return the variable of every key that can be overridden: not of tables in an array."""
    found = []
    for field in msgspec.structs.fields(kind):
        name = prefix + field.name.upper()
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found += variables(field.type, f"{name}_")
        elif _plain(field.type):
            found.append(name)
    return found


def _key(rest: str, kind: type[msgspec.Struct]) -> tuple[tuple[str, ...], Any] | None:
    """Return the path and the type of the key that a variable names."""
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            if rest.startswith(f"{name}_"):
                found = _key(rest.removeprefix(f"{name}_"), field.type)
                if found is not None:
                    return (field.name, *found[0]), found[1]
        elif rest == name and _plain(field.type):
            return (field.name,), field.type
    return None


def _plain(kind: Any) -> bool:
    """Tell whether a text can say what a key of this type holds."""
    listed = get_origin(kind) is tuple and get_args(kind)[1:] == (...,)
    kind = get_args(kind)[0] if listed else kind
    return kind in (str, bool, int, float) or get_origin(kind) is Literal


def _value(text: str, kind: Any) -> Any:
    """Return what TOML would have; a text that is no such value stays one, and is a fault there."""
    if kind is str or get_origin(kind) is Literal:
        return text
    if get_origin(kind) is tuple:
        items = (item.strip() for item in text.split(","))
        return [_value(item, get_args(kind)[0]) for item in items if item]
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except (ValueError, ArithmeticError):
        return text


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    """Put a value in its place, unless the file has something else than a table on the way."""
    at: Any = tree
    for name in path[:-1]:
        at = at.setdefault(name, {})
        if not isinstance(at, dict):
            return False
    at[path[-1]] = value
    return True


def _hint(name: str, kind: type[msgspec.Struct]) -> str:
    near = _near(name, kind)
    return f"; did you mean {near}?" if near else ""


def _near(name: str, kind: type[msgspec.Struct]) -> str:
    """Return the variable that is most like this name, nothing where none is."""
    known = [one.removeprefix(PREFIX) for one in variables(kind)]
    near = get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=MISSPELT)
    return f"{PREFIX}{near[0]}" if near else ""
