"""What a planted mistake is."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """In `module`, `old` (every place of it) becomes `new`."""

    name: str
    module: str
    old: str
    new: str
