"""Seeded crises: a small venue under drawn rules, prices that gap, a market that may not answer.

`world` makes one and plays it; `checks` has the sentences that must hold after every event.
"""

from tests.crises.world import Crisis

__all__ = ["Crisis"]
