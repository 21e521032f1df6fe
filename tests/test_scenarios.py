"""Every scenario of tests/scenarios, told to the engine, to one that is restored before every
event, and to the naive twin."""

from pathlib import Path
from typing import Any

import pytest

from engine import core, invariants, state
from engine.liquidation import TABLES, next_step
from tests.scenarios.table import Scenario, Teller, scenarios
from tests.story import WholeEngine
from tests.twin import Twin

FOLDER = Path(__file__).parent / "scenarios"
TOLD = [(path.stem, one) for path in sorted(FOLDER.glob("*.txt")) for one in scenarios(path)]


class Restarted(WholeEngine):
    """The engine, restored from its state before every event and checked after it."""

    def apply(self, event: Any) -> Any:
        """Return every decision of an event."""
        self.engine = state.restore(0, state.records(self.engine).items())
        decided = super().apply(event)
        invariants.check(self.engine)
        return decided


CASES = [
    pytest.param(told, machine, id=f"{told[0]}: {told[1].name} ({machine.__name__})")
    for told in TOLD
    for machine in (WholeEngine, Restarted, Twin)
]


@pytest.mark.parametrize(("told", "machine"), CASES)
def test_a_scenario(told: tuple[str, Scenario], machine: type[Any]) -> None:
    file, scenario = told
    teller = Teller(machine())
    for line in scenario.lines:
        decided, expected = teller.tell(line.event), line.expected
        if machine is Twin:
            # The twin refuses what the engine does, and has its own words for why.
            decided, expected = map(_without_reasons, (decided, expected))
        place = f"{file}.txt:{line.number}: {line.event}"
        assert decided == expected, place
        for who, waits in line.waits.items():
            assert teller.machine.waits(*who) == waits, (place, who)


def _without_reasons(decided: list[str]) -> list[str]:
    return [one.partition(":")[0] if one.startswith("refused") else one for one in decided]


def test_names_are_told_once_and_there_are_enough() -> None:
    names = [one.name for _, one in TOLD]
    assert len(set(names)) == len(names)
    assert len(names) >= 60


def test_every_row_of_the_tables_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = set()

    def noted(reason: Any, situation: Any) -> Any:
        for place, (conditions, _) in enumerate(TABLES[reason], start=1):
            if all(getattr(situation, name) is value for name, value in conditions.items()):
                taken.add((reason, place))
                break
        return next_step(reason, situation)

    monkeypatch.setattr(core, "next_step", noted)
    for _, scenario in TOLD:
        teller = Teller(WholeEngine())
        for line in scenario.lines:
            teller.tell(line.event)
    rows = {(reason, place) for reason in TABLES for place in range(1, len(TABLES[reason]) + 1)}
    assert rows - taken == set()
