"""How many examples of a property a run of the tests takes."""

import os

from hypothesis import settings

EXAMPLES = settings(max_examples=int(os.environ.get("LIQUIDATOR_EXAMPLES", "5")))
"""For a property whose every example plays a market: few while one works, more in `make test`."""
