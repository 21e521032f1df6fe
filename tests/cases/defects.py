"""Numbers of venues that the engine does not give on purpose, because they are wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Defect(NamedTuple):
    """What the engine gives, what the venue's own rule gives instead, and why, in numbers.

    A case that expects the venue's number is a defect of the venue; it does not pass, nor fail.
    """

    value: Decimal
    asserted: Decimal
    why: str
