"""`liquidator compare`: play a crash under one liquidation policy after another.

Each run is a world of its own with the same people, prices and book; runs share nothing, so they
are spread over processes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from typing import NamedTuple

import msgspec
from rich.table import Table

from consumers.costs import Costs, Outcome
from consumers.crashes import CRASHES, DayName
from consumers.demo import Embedded
from consumers.demo_screen import whole
from consumers.market import Book, Scene, World
from consumers.player import Pace
from consumers.policies import POLICIES, Policy, RuleName
from engine import invariants
from producers import report

TITLES: dict[RuleName, str] = {
    "sizing": "How much is closed",
    "price": "At what limit",
    "adl": "Who takes what the market does not",
}
CLOSING = {
    "accounts_liquidated": "Accounts",
    "notional": "Liquidated",
    "losses": "Traders' losses",
    "slippage": "Slippage",
    "shortfall": "Shortfall",
    "bad_debt": "Bad debt",
    "fund": "Fund",
}
TAKING = {
    "notional": "Liquidated",
    "losses": "Traders' losses",
    "bad_debt": "Bad debt",
    "deleveraged": "Delev.",
    "taken_over": "Taken",
    "forgone": "Forgone",
    "forgone_by_end": "By the end",
    "fund": "Fund",
    "backstop": "Backstop",
}
COLUMNS = {"sizing": CLOSING, "price": CLOSING, "adl": TAKING}
"""What is shown of an outcome, by rule."""
CAPTION = (
    "Traders' losses: how far forced fills were from the mark at their decision, whichever way, "
    "and fees; slippage: the former with its sign. Delev.: notional closed against counterparties, "
    "who forwent so much at the mark of the decision, and at the last one (below 0: they were "
    "spared it). Taken: notional that the fund's account and the backstop took. Fund, backstop: "
    "what the fund has and the backstop made, positions at the last mark included."
)


class Played(NamedTuple):
    """What a run came to, and its seconds of processor time."""

    outcome: Outcome
    seconds: float


class Row(msgspec.Struct, frozen=True):
    """A policy with what it came to."""

    rule: RuleName
    policy: str
    outcome: Outcome
    seconds: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Policies on the same crash, by rule, each beginning with the baseline."""

    day: DayName
    book: Book
    profile: str | None
    seed: int
    accounts: int
    rows: tuple[Row, ...]


def run(
    *,
    rules: Sequence[RuleName],
    day: DayName,
    accounts: int,
    seed: int,
    book: Book,
    profile: str | None,
    jobs: int,
    as_json: bool = False,
) -> None:
    """Play a crash under every policy of these rules (none: all) and print what it comes to.

    Raises as `profiles.read` and `fitting.fitted` do.
    """
    scene = Scene(day=day, accounts=accounts, seed=seed, book=book, profile=profile)
    found = compared(scene, chosen(rules), jobs)
    if as_json:
        print(report.to_json(msgspec.to_builtins(found, builtin_types=(Decimal,))))
    else:
        show(found)


def chosen(rules: Sequence[RuleName]) -> list[Policy]:
    """Return the policies of these rules, of all where none is named."""
    return [policy for policy in POLICIES if not rules or policy.rule in rules]


def compared(scene: Scene, policies: Sequence[Policy], jobs: int = 1) -> Comparison:
    """Play `scene` once under each different policy, over `jobs` processes."""
    different: dict[str, Policy] = {}
    for policy in policies:
        different.setdefault(_key(policy), policy)
    scenes = [msgspec.structs.replace(scene, policy=policy) for policy in different.values()]
    played = dict(zip(different, _spread(scenes, jobs), strict=True))
    return Comparison(
        day=scene.day,
        book=scene.book,
        profile=scene.profile,
        seed=scene.seed,
        accounts=scene.accounts,
        rows=tuple(Row(policy.rule, policy.name, *played[_key(policy)]) for policy in policies),
    )


def _key(policy: Policy) -> str:
    """Return a name for what is played: a baseline is the same under every rule."""
    return "" if policy.baseline else policy.name


def _spread(scenes: Sequence[Scene], jobs: int) -> list[Played]:
    """Play every scene, and say how far it is."""
    if jobs == 1:
        return list(_told_of(scenes, map(play, scenes)))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        return list(_told_of(scenes, workers.map(play, scenes)))


def _told_of(scenes: Sequence[Scene], runs: Iterable[Played]) -> Iterator[Played]:
    for number, (scene, played) in enumerate(zip(scenes, runs, strict=True), start=1):
        name = scene.policy.name if scene.policy else ""
        print(f"{number} of {len(scenes)}: {name}, {played.seconds} s", file=sys.stderr)
        yield played


def play(scene: Scene) -> Played:
    """Play a scene to its end, and check what the engine's books say."""
    began = time.process_time()
    world, costs = World(scene), Costs()
    embedded = Embedded(world, costs)
    asyncio.run(embedded.run(Pace(world.clock.time, None)))
    for engine in embedded.engines:
        invariants.check(engine)
    return Played(costs.outcome(), round(time.process_time() - began, 1))


def show(comparison: Comparison) -> None:
    """Print a table for each rule."""
    out = report.console(sys.stdout, markup=True)
    under = f" by the profile {comparison.profile}" if comparison.profile else ""
    out.print(
        f"{CRASHES[comparison.day].title}{under}, {comparison.book} book, "
        f"{comparison.accounts:,} accounts, seed {comparison.seed}. Amounts in thousand USDT."
    )
    for rule, title in TITLES.items():
        rows = [row for row in comparison.rows if row.rule == rule]
        if rows:
            out.print(_table(title, rows))
    out.print(CAPTION)


def _table(title: str, rows: Sequence[Row]) -> Table:
    columns = COLUMNS[rows[0].rule]
    made = report.table(title, ["Policy", *columns.values()])
    for row in rows:
        made.add_row(row.policy, *(_written(getattr(row.outcome, name)) for name in columns))
    return made


def _written(value: int | Decimal) -> str:
    """Write a count, or an amount in thousands."""
    return f"{value:,}" if isinstance(value, int) else whole(value / 1000)
