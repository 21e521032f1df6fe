"""What the daemon's file says of the topic `account-risk`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from consumers.toml_file import outside

MOST_BANDS = 100


class Risk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told on `account-risk`: bands of the margin ratio (rising bounds), no account more
    often than every `min_interval`, and no shard more than `max_per_second` accounts."""

    enabled: bool = True
    bands: tuple[float, ...] = (1.0, 1.05, 1.1, 1.25, 2.0)
    min_interval: float = 1.0
    max_per_second: float = 100.0


def risk_faults(risk: Risk) -> Iterator[str]:
    """Yield every fault of meaning."""
    if not 0 < len(risk.bands) <= MOST_BANDS:
        yield f"risk.bands: {len(risk.bands)} bounds, not 1 to {MOST_BANDS}"
    for bound in risk.bands:
        yield from outside("risk.bands", bound, 0.01, 1000)
    if any(low >= high for low, high in pairwise(risk.bands)):
        yield "risk.bands: do not rise"
    yield from outside("risk.min_interval", risk.min_interval, 0, 3600)
    yield from outside("risk.max_per_second", risk.max_per_second, 0.1, 10_000)
