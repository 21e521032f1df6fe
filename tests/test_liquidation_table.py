"""The transition tables of a liquidation: complete, known names only, and drawn as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.liquidation import TABLES, next_step
from engine.situation import Situation
from tests import diagram


def test_the_page_shows_the_tables_as_they_are():
    assert diagram.page() == diagram.PAGE.read_text()


def test_tables_name_only_conditions_and_steps_that_exist():
    assert diagram.unreachable_names() == set()


def _reaching(rows, place: int) -> dict[str, bool] | None:
    """Return conditions under which the row at `place` is the first that holds, if there are any:
    every row before it has to fail on some condition of its own."""

    def extend(told: dict[str, bool], before: int) -> dict[str, bool] | None:
        if before == place:
            return told
        for name, value in rows[before][0].items():
            if told.get(name, not value) != value:
                found = extend({**told, name: not value}, before + 1)
                if found is not None:
                    return found
        return None

    return extend(dict(rows[place][0]), 0)


def _situation(told: dict[str, bool]) -> Situation:
    return Situation(**{name: told.get(name, False) for name in Situation._fields})


@pytest.mark.parametrize("reason", TABLES)
def test_every_situation_has_a_step(reason):
    """The last row asks for nothing."""
    assert TABLES[reason][-1][0] == {}
    assert next_step(reason, _situation({})) in {step for _, step in TABLES[reason]}


@pytest.mark.parametrize(
    ("reason", "place"),
    [(reason, place) for reason, rows in TABLES.items() for place in range(len(rows))],
)
def test_every_row_is_reached(reason, place):
    """No row is dead, and the first one that holds names the step."""
    rows = TABLES[reason]
    told = _reaching(rows, place)
    assert told is not None, f"{reason}: rows before row {place + 1} leave nothing for it"
    assert next_step(reason, _situation(told)) == rows[place][1]


@given(st.sampled_from(list(TABLES)), st.data())
def test_the_first_row_that_holds_names_the_step(reason, data):
    told = {name: data.draw(st.booleans(), label=name) for name in Situation._fields}
    first = next(
        step
        for conditions, step in TABLES[reason]
        if all(told[name] == value for name, value in conditions.items())
    )
    assert next_step(reason, Situation(**told)) == first
