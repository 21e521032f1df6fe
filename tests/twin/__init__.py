"""The naive twin: the whole engine again, slow, obvious, written from docs/semantics.md alone.

Numbers are `Fraction`s, books are dicts, and after every event every group is looked at. It
shares events and decisions with the engine, and not one line of arithmetic.
"""

from tests.twin.twin import Twin

__all__ = ["Twin"]
