"""The contracts as files: the AsyncAPI document, the schemas that it refers to, and where keys
go."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import PurePosixPath

from producers import asyncapi, partitioning, schemas
from producers.schemas import DIALECT, Schema


def texts() -> dict[str, str]:
    """Return the text of every file by its path."""
    made = {"asyncapi.yaml": asyncapi.to_yaml(asyncapi.document())}
    for name, schema in schemas.schemas().items():
        made[f"schemas/{name}.json"] = schemas.written(schema)
    made["murmur2.json"] = partitioning.written()
    return made


def text_of(name: str) -> str | None:
    """Return one contract: a file by its name, with or without folder and ending, or a type."""
    for path, text in texts().items():
        if name in (path, PurePosixPath(path).name, PurePosixPath(path).stem):
            return text
    schema = _of_type(name)
    return None if schema is None else schemas.written(schema)


def near(name: str) -> str:
    """Return the name that is nearest to one that is none, nothing where none is near."""
    known = [PurePosixPath(path).stem for path in texts()]
    for schema in schemas.schemas().values():
        known += schema.get("$defs", {})
    return next(iter(get_close_matches(name, known, n=1)), "")


def _of_type(name: str) -> Schema | None:
    """Return the schema of one type, with the definitions that it needs."""
    for schema in schemas.schemas().values():
        kinds = schema.get("$defs", {})
        if name in kinds:
            return schemas.used({"$schema": DIALECT, **kinds[name], "$defs": kinds})
    return None
