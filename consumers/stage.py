"""What a scene of the demo takes to be played: its world, a count of it, and how both are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from consumers import demo_screen, lending_screen
from consumers.demo_screen import MarketsView, View
from consumers.feed import Count, Day
from consumers.lending_market import LendingScene, LendingWorld
from consumers.lending_observer import Observer
from consumers.lending_screen import LendingView
from consumers.lending_tally import LendingSummary, LendingTally
from consumers.market import Scene, World
from consumers.tally import Summary, Tally

AnyScene = Scene | LendingScene
AnySummary = Summary | LendingSummary


class Stage(NamedTuple):
    """A world to be played once; `summary` is of seconds of wall time and a digest, where there is
    one, and `observer` looks into engines that are in reach."""

    world: Day
    tally: Count
    view: View
    summary: Callable[[float, str | None], AnySummary]
    observer: Observer | None = None


def staged(scene: AnyScene, *, embedded: bool = True) -> Stage:
    """Return a scene ready to be played, through engines in this process or into a daemon."""
    if isinstance(scene, Scene):
        world = World(scene)
        tally = Tally(frozenset(trader.account for trader in world.traders if trader.long))
        return Stage(
            world,
            tally,
            MarketsView(tally, scene.crash),
            lambda seconds, digest: tally.summary(scene, seconds, digest),
        )
    market = LendingWorld(scene)
    count = LendingTally(market.loans)
    count.observer = Observer() if embedded else None
    return Stage(
        market,
        count,
        LendingView(count),
        lambda seconds, digest: count.summary(scene, seconds, digest),
        count.observer,
    )


def show(summary: AnySummary, scene: AnyScene) -> None:
    """Print what a scene came to."""
    if isinstance(summary, LendingSummary) and isinstance(scene, LendingScene):
        lending_screen.show_summary(summary, scene)
    elif isinstance(summary, Summary) and isinstance(scene, Scene):
        demo_screen.show_summary(summary, scene)
