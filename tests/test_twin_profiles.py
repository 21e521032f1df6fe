"""The naive twin beside the engine under every shipped profile: minutes of the fall, told twice."""

from collections import Counter

import msgspec
import pytest

from consumers import profiles
from consumers.market import Scene, World
from engine.decisions import LiquidationOrder, LiquidationStarted
from tests.story import WholeEngine
from tests.test_twin import first_difference
from tests.twin import Twin

PROFILES = [name for name in profiles.margined() if not name.endswith("demo")]

FALL = Scene(accounts=30, symbols=2, start_minute=768, end_minute=780)
"""Twelve minutes around the low, of a book that the twin can keep up with."""


def told_twice(scene: Scene) -> Counter[str]:
    """Play a scene into engine and twin, the engine's decisions answered; count what it decided."""
    world, whole, twin = World(scene), WholeEngine(), Twin()
    seen: Counter[str] = Counter()
    for records in world.play():
        for _, event in records:
            decided, expected = whole.apply(event), twin.apply(event)
            difference = first_difference(decided, expected)
            assert not difference, f"{event}\n{difference}"
            for decision in decided:
                seen[type(decision).__name__] += 1
                world.hear(decision)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", PROFILES)
def test_engine_and_twin_agree_on_the_fall(name: str) -> None:
    seen = told_twice(msgspec.structs.replace(FALL, profile=name))
    assert seen[LiquidationStarted.__name__] > 0
    assert seen[LiquidationOrder.__name__] > 0
