"""Seeded histories of little venues, told by a twin that hears every event first.

A `History` draws a venue, its customers, its prices and its mistakes. Because a venue answers what
it is told to do, each event is first given to a twin, and the venue reacts to the twin's decisions.
Iterating yields every event with those decisions.
"""

from tests.histories.history import History

__all__ = ["History"]
