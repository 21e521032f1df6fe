"""The gates of withdrawals: closed while unpaid shortfall exceeds what the funds of an asset hold.

docs/semantics.md, 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import bad_debt, funds
from engine.decisions import WithdrawalGate

if TYPE_CHECKING:
    from engine.core import Engine


class Gates:
    """Which gates are closed, by asset, and which have to be looked at: both follow from the ledger
    and the rules."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.unsettled: set[str] = set()

    def settle(self, engine: Engine) -> None:
        """Close and open gates as they have to be, and say so."""
        for asset in sorted(self.unsettled):
            closed = has_to_close(engine, asset)
            if closed == (asset in self.closed):
                continue
            self.closed ^= {asset}
            engine.emit(
                WithdrawalGate,
                asset=asset,
                closed=closed,
                outstanding=bad_debt.outstanding_in(engine.ledger, asset),
                fund=funds.in_all(engine.ledger, asset),
            )
        self.unsettled.clear()

    def restore(self, engine: Engine) -> None:
        """Find the gates that are closed, after the state was restored."""
        self.closed = {asset for asset in engine.rules.assets if has_to_close(engine, asset)}


def has_to_close(engine: Engine, asset: str) -> bool:
    """Tell whether the gate of an asset is to be closed."""
    profile = engine.rules.profile
    if profile is None or not profile.waterfall.gate:
        return False
    return bad_debt.outstanding_in(engine.ledger, asset) > funds.in_all(engine.ledger, asset)
