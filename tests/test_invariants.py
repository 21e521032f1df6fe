"""The sentences of docs/semantics.md that hold after every event, in the engine and in its twin."""

from collections.abc import Iterable
from decimal import Decimal

import pytest

from engine import invariants
from engine.core import Engine
from engine.ledger import Ledger
from tests.histories import History
from tests.twin import Twin
from tests.twin.identities import broken_identities

FAST = range(100, 104)


def check_history(seed: int) -> None:
    """Check engine and twin after every slice of a history."""
    history, engine = History(seed), Engine(shard=0)
    for event, _ in history:
        engine.apply(event)
        invariants.check(engine)
        while engine.proceed():
            invariants.check(engine)
        check_twin(history.twin)


def check_twin(twin: Twin) -> None:
    """Check the identities in fractions, on books that share nothing with the engine's."""
    world = twin.world
    assert list(broken_identities(world)) == []
    assert all(amount >= 0 for amount in world.ledger.fund.values()), world.ledger.fund
    for group in world.groups():
        busy = group.legs or group.owed() or group.debts()
        if group.liquidation and not busy:
            assert group.liquidation.live or group.liquidation.auctions, group


@pytest.mark.parametrize("seed", FAST)
def test_they_hold_after_every_event(seed: int) -> None:
    check_history(seed)


@pytest.mark.slow
def test_they_hold_after_every_event_at_length(seeds: range) -> None:
    for seed in seeds:
        check_history(FAST.stop + seed)


def amounts(ledger: Ledger) -> Iterable[tuple[str, dict[str, Decimal]]]:
    """Return the sums of a ledger that every asset has."""
    return (("fund", ledger.fund), ("deposits", ledger.deposits), ("fees", ledger.fees))


@pytest.mark.parametrize("name", ["fund", "deposits", "fees"])
def test_a_cent_that_comes_from_nowhere_is_noticed(name: str) -> None:
    history, engine = History(FAST.start), Engine(shard=0)
    for event, _ in history:
        engine.apply(event)
        while engine.proceed():
            pass
    invariants.check(engine)
    dict(amounts(engine.ledger))[name]["USDT"] += Decimal("0.01")
    with pytest.raises(AssertionError, match="value is conserved"):
        invariants.check(engine)
