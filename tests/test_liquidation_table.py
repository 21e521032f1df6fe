"""The transition tables of a liquidation: complete, known names only, and drawn as they are."""

import itertools

import pytest

from engine.liquidation import TABLES, next_step
from engine.situation import Situation
from tests import diagram


def test_the_page_shows_the_tables_as_they_are():
    assert diagram.page() == diagram.PAGE.read_text()


def test_tables_name_only_conditions_and_steps_that_exist():
    assert diagram.unreachable_names() == set()


@pytest.mark.parametrize("reason", TABLES)
def test_every_situation_has_a_step_and_every_row_is_reached(reason):
    """All combinations of the conditions that a table asks for: none falls through, no row is
    dead."""
    rows = TABLES[reason]
    asked = sorted({name for conditions, _ in rows for name in conditions})
    reached = set()
    for values in itertools.product((False, True), repeat=len(asked)):
        told = dict(zip(asked, values, strict=True))
        situation = Situation(**{name: told.get(name, False) for name in Situation._fields})
        step = next_step(reason, situation)
        first = next(
            place
            for place, (conditions, _) in enumerate(rows)
            if all(told[name] == value for name, value in conditions.items())
        )
        assert rows[first][1] == step
        reached.add(first)
    assert reached == set(range(len(rows)))
