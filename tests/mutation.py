"""What a planted mistake is."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """In `module`, `old` (every place of it) becomes `new`; the test `caught_by` fails then.

    `caught_by` is "module::function" within tests/.
    """

    name: str
    module: str
    old: str
    new: str
    caught_by: str
