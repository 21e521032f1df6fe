"""Which partition a key is in, as Kafka's Java client chooses it; vectors for other languages."""

from __future__ import annotations

import json
from typing import Any

from aiokafka.partitioner import murmur2

KEYS = (
    "",
    "a",
    "ab",
    "abc",
    "abcd",
    "alice",
    "trader-15802",
    "A.b_C-9",
    "jürgen",
    "口座",
    "x" * 255,
    "0123456789" * 100,
)
"""Of every length modulo four, beyond one byte a letter, and long."""

COUNTS = (1, 2, 8, 12, 128)


def hash_of(key: bytes) -> int:
    """Return murmur2 of a key without its sign, as Java's `Utils.toPositive` takes it off."""
    return int(murmur2(key)) & 0x7FFFFFFF


def vectors() -> list[dict[str, Any]]:
    """Return keys with their hash and their partition of each count."""
    found = []
    for key in KEYS:
        positive = hash_of(key.encode())
        at = {str(count): positive % count for count in COUNTS}
        found.append({"key": key, "bytes": len(key.encode()), "hash": positive, "partition": at})
    return found


def written() -> str:
    """Return the vectors as the text of their file, one a line."""
    lines = [json.dumps(vector, ensure_ascii=False) for vector in vectors()]
    return "[\n  " + ",\n  ".join(lines) + "\n]\n"
