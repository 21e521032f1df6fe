"""The sentences of docs/semantics.md that hold after every event, in the engine and in its twin."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import pytest

from engine import invariants
from engine.core import Engine
from engine.ledger import Ledger
from tests.histories import History
from tests.twin import Twin

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
    world, ledger = twin.world, twin.world.ledger
    groups = [group for account in world.accounts.values() for group in account.groups.values()]
    for asset in world.assets:
        held = sum((group.cash.get(asset, Fraction(0)) for group in groups), Fraction(0))
        held += ledger.fund[asset] + ledger.fees[asset]
        held += sum((v for (_, a), v in ledger.clearing.items() if a == asset), Fraction(0))
        held -= sum((v for (a, _), v in ledger.bad_debt.items() if a == asset), Fraction(0))
        brought = ledger.deposits[asset] - ledger.withdrawals[asset]
        brought += ledger.top_ups[asset] + ledger.adjustments[asset]
        assert held == brought, f"{asset}: holds {held}, was brought {brought}"
        assert ledger.fund[asset] >= 0, f"{asset}: the fund is {ledger.fund[asset]}"
    for key, amount in ledger.shortfall.items():
        assert amount == ledger.paid_by_fund[key] + ledger.bad_debt[key], key
    for group in groups:
        assert all(leg.size for leg in group.legs.values()), group
        if group.liquidation and not group.legs and not group.owed():
            assert group.liquidation.live, group


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
