"""Each check of a crisis can fail: mistakes planted in the engine, and the check that finds them.

All of them within the twenty crises that are always played.
"""

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine import (
    candidates,
    core,
    deleveraging,
    funds,
    planning,
    repayment,
    shortfalls,
    socialising,
    takers,
)
from engine.deleveraging import Candidate
from engine.money import ONE, ZERO
from engine.socialising import Bearer
from engine.steps import STEPS
from tests.crises import Crisis
from tests.crises.checks import Checks

Planted = Callable[[pytest.MonkeyPatch], None]


def found_by(name: str) -> bool:
    """Tell whether the first check that fails in the fast crises is the one so named."""
    for seed in range(20):
        crisis = Crisis(seed)
        checks = Checks(crisis.engine)
        try:
            for event, decided in crisis:
                checks.after(event, decided)
        except AssertionError as error:
            functions = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            assert name in functions, (seed, functions[-3:])
            return True
    return False


def _of(module: Any, name: str, make: Callable[[Any], Any]) -> Planted:
    """Replace a function of a module by what is made of it."""
    return lambda patch: patch.setattr(module, name, make(getattr(module, name)))


def _fund_that_pays_without_losing(move: Any) -> Any:
    return lambda engine, asset, amount, name="": amount > 0 and move(engine, asset, amount, name)


def _half_paid(allocate: Any) -> Any:
    def wrong(amount: Any, capacities: Any) -> Any:
        payments, rest = allocate(amount, capacities)
        halves = [one._replace(amount=one.amount / 2) for one in payments]
        return halves, rest + sum(one.amount for one in halves)

    return wrong


def _charged_twice(shares: Any) -> Any:
    return lambda *args: [2 * charge for charge in shares(*args)]


def _beyond_equity(bearers: Any) -> Any:
    return lambda *args: [
        Bearer(one.group, one.weight, 100 * one.able) for one in bearers(*args)[-1:]
    ]


def _twice_the_leg(plan: Any) -> Any:
    def wrong(*args: Any, **rest: Any) -> Any:
        found = plan(*args, **rest)
        return found._replace(orders=tuple(o._replace(size=2 * o.size) for o in found.orders))

    return wrong


def _blind_to_breaches(situation_of: Any) -> Any:
    def wrong(engine: Any, group: Any, state: Any) -> Any:
        return situation_of(engine, group, state)._replace(breached=False)

    return wrong


def _waits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    send = STEPS["orders"]

    def orders(engine: Any, group: Any, state: Any) -> None:
        send(engine, group, state)
        if group.liquidation.orders:
            group.liquidation.waits = "gap"

    patch.setitem(STEPS, "orders", orders)


def _losers_too(candidate: Any) -> Any:
    """Take whoever holds the side, worth as much as it may be."""

    def wrong(engine: Any, group: Any, symbol: str, side: Any) -> Any:
        found, leg = candidate(engine, group, symbol, side), engine.book.leg_of(group, symbol)
        if found is not None or group.liquidation is not None or leg is None:
            return found
        if (leg.size > 0) is not (side == "sell"):
            return None
        return Candidate((False, ZERO, group.key), group, abs(leg.size), ONE, ONE, ONE)

    return wrong


def _all_who_hold(bounds: Any) -> Any:
    def wrong(engine: Any, symbol: str, *_: Any) -> Any:
        table = engine.book.legs[symbol]
        return table.group[: len(table)], np.full(len(table), np.inf)

    return wrong


def _losers(patch: pytest.MonkeyPatch) -> None:
    _of(candidates, "candidate", _losers_too)(patch)
    _of(candidates, "bounds", _all_who_hold)(patch)


def _the_same_side(of: Any) -> Any:
    def wrong(self: Any, engine: Any, symbol: str, side: str, without: Any) -> Any:
        return of(self, engine, symbol, "sell" if side == "buy" else "buy", without)

    return wrong


def _twice_what_is_left(shared_out: Any) -> Any:
    return lambda ranking, size, *rest: shared_out(ranking, 2 * size, *rest)


def _whoever_has_given(left: Any) -> Any:
    """What was promised already can be given again."""
    return lambda self, one: one.size


MISTAKES: list[tuple[str, str, Planted]] = [
    ("a fund pays and keeps it", "value_is_conserved",
     _of(funds, "move", _fund_that_pays_without_losing)),
    ("a fund pays more than it holds", "no_fund_is_negative",
     _of(funds, "held", lambda held: lambda *args: held(*args) + 1000)),
    ("a fund pays half of what it could", "layers_pay_in_order",
     _of(shortfalls, "allocate", _half_paid)),
    ("a fund is passed over", "no_layer_starts_before_the_funds_are_used_up",
     _of(funds, "capacities", lambda of: lambda *args: dict.fromkeys(of(*args), 0))),
    ("a socialised loss is charged twice", "shares_add_up",
     _of(socialising, "shares", _charged_twice)),
    ("a share beyond equity", "nobody_is_charged_below_zero",
     _of(socialising, "_bearers", _beyond_equity)),
    ("more than the leg", "never_more_than_is_left",
     _of(planning, "_plan", _twice_the_leg)),
    ("more is deleveraged than is left", "never_more_than_is_left",
     _of(takers, "shared_out", _twice_what_is_left)),
    ("losers are deleveraged", "deleveraged_are_on_the_other_side_and_in_profit", _losers),
    ("the same side is deleveraged", "deleveraged_are_on_the_other_side_and_in_profit",
     _of(candidates.Candidates, "of", _the_same_side)),
    ("a position is deleveraged twice", "deleveraged_are_on_the_other_side_and_in_profit",
     _of(candidates.Line, "_left", _whoever_has_given)),
    ("somebody is pushed under though another could give", "_nobody_else_could",
     _of(takers, "stands", lambda _: takers.solvent)),
    ("the hedged give before the others", "_nobody_else_could",
     _of(deleveraging, "_hedged", lambda hedged: lambda *args: not hedged(*args))),
    ("a counterparty is made bankrupt",
     "nobody_is_pushed_under_or_unhedged_while_another_could_give",
     _of(takers, "solvent", lambda _: lambda *args: True)),
    ("a breach is overlooked", "nobody_is_forgotten",
     _of(core, "situation_of", _blind_to_breaches)),
    ("a reason that is none", "waits_for_what_is_so", _waits_for_nothing),
    ("a toxic order is not tagged", "a_part_leaves_nobody_riskier",
     _of(planning, "_lowers_health", lambda _: lambda before, after: False)),
    ("a toxic seizure is not tagged", "a_seizure_leaves_nobody_riskier",
     _of(repayment, "toxic", lambda _: lambda *args: False)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "planted"), [found for _, *found in MISTAKES], ids=[name for name, *_ in MISTAKES]
)
def test_a_planted_mistake_is_found(
    check: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch)
    assert found_by(check)
