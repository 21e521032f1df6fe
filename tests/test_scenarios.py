"""Every scenario of tests/scenarios, told to the engine and to its naive twin."""

from pathlib import Path
from typing import Any

import pytest

from engine import invariants, state
from tests.scenarios.table import Scenario, Teller, scenarios
from tests.story import WholeEngine
from tests.twin import Twin

FOLDER = Path(__file__).parent / "scenarios"
TOLD = [(path.stem, one) for path in sorted(FOLDER.glob("*.txt")) for one in scenarios(path)]


class Restarted(WholeEngine):
    """The engine, checked and restored from its state before every event."""

    def apply(self, event: Any) -> Any:
        """Return every decision of an event."""
        self.engine = state.restore(0, state.records(self.engine).items())
        decided = super().apply(event)
        invariants.check(self.engine)
        return decided


@pytest.mark.parametrize("machine", [WholeEngine, Restarted, Twin])
@pytest.mark.parametrize("told", TOLD, ids=[f"{file}: {one.name}" for file, one in TOLD])
def test_a_scenario(told: tuple[str, Scenario], machine: type[Any]) -> None:
    file, scenario = told
    teller = Teller(machine())
    for line in scenario.lines:
        decided = teller.tell(line.event)
        assert decided == line.expected, f"{file}.txt:{line.number}: {line.event}"


def test_names_are_told_once_and_there_are_enough() -> None:
    names = [one.name for _, one in TOLD]
    assert len(set(names)) == len(names)
    assert len(names) >= 40
