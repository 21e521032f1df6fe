"""The committed contracts, as a program beside this one would use them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

CONTRACTS = Path(__file__).parents[1] / "docs" / "contracts"


@cache
def schema(name: str) -> Any:
    """Return a committed schema."""
    return json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text())


@cache
def validator(name: str, kind: str = "") -> Draft202012Validator:
    """Return the validator of a schema, or of one type of it."""
    names = [path.name for path in (CONTRACTS / "schemas").iterdir()]
    resources = [(file, DRAFT202012.create_resource(schema(file[:-5]))) for file in names]
    registry: Registry[Any] = Registry[Any]().with_resources(resources)
    of = {"$ref": f"{name}.json#/$defs/{kind}" if kind else f"{name}.json"}
    return Draft202012Validator(of, registry=registry)


def faults(name: str, raw: bytes, kind: str = "") -> list[str]:
    """Return what a schema says against a record."""
    errors = validator(name, kind).iter_errors(json.loads(raw))
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in errors]
