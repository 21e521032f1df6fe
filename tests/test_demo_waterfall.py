"""The demo's crash where positions are taken over, netted against profits, and losses shared."""

from collections import Counter, defaultdict
from decimal import Decimal as D
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from consumers import market
from consumers.demo import Embedded
from consumers.market import World
from consumers.replay import decide
from consumers.tally import Tally
from engine import decisions as d
from engine import invariants
from engine.events import Fill
from producers import waterfall_report
from producers.waterfall_tally import WaterfallTally
from tests.test_demo import CRASH, played

DEMO = Path(market.__file__).parents[1] / "deploy" / "profiles" / "demo.toml"

EVERYTHING = """
[profile.waterfall]
takers = ["fund", "backstop", "adl"]
fund_account = "treasury"
backstop = { account = "vault", capacity = 20_000 }
adl = { ranking = "bitmex", price = "bankruptcy" }
socialised = "open_interest"
gate = true
"""
SHARED = """
[profile.waterfall]
socialised = "open_interest"
"""


class Day(NamedTuple):
    """A day that was played to its end."""

    world: World
    embedded: Embedded
    tally: Tally
    decided: list[Any]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the decisions of a kind."""
        return [decision for decision in self.decided if isinstance(decision, kind)]


def played_under(path: Path, rules: str) -> Day:
    """Play the crash by the demo's own profile with a waterfall."""
    path.write_text(DEMO.read_text() + rules)
    return Day(*played(msgspec.structs.replace(CRASH, profile=str(path))))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Every taker in turn, at the bankruptcy price."""
    return played_under(tmp_path_factory.mktemp("day") / "all.toml", EVERYTHING)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Nobody takes a position; those with open interest bear what is lost."""
    return played_under(tmp_path_factory.mktemp("day") / "shared.toml", SHARED)


def test_every_taker_takes_something(everything: Day) -> None:
    layers = Counter(one.layer for one in everything.of(d.TakeOver))
    assert set(layers) == {"fund", "backstop"}
    assert len(everything.of(d.Deleverage)) > 5
    summary = everything.tally.summary(everything.world.scene, 1.0, None)
    assert summary.taken_over == layers.total()
    assert summary.deleveraged == len(everything.of(d.Deleverage))
    assert summary.forgone == sum(one.forgone for one in everything.of(d.Deleverage)) > 0


@pytest.mark.parametrize("day", ["everything", "shared"])
def test_the_engine_agrees_with_what_the_venue_did(
    day: str, request: pytest.FixtureRequest
) -> None:
    found: Day = request.getfixturevalue(day)
    objections = (d.Refused, d.Duplicate, d.Gap, d.Ignored)
    assert found.of(objections[0]) == found.of(objections[1]) == []
    kinds = {one.kind for one in found.of(d.Anomaly)}
    assert kinds <= {"unacknowledged", "late"}, kinds
    (engine,) = found.embedded.engines
    invariants.check(engine)
    held = {
        (account.id, group.margin, symbol): leg.size
        for account in engine.accounts.values()
        for group in account.ordered_groups()
        for symbol, leg in group.legs.items()
    }
    assert held == {key: size for key, size in found.world.exchange.positions.items() if size}
    sums: dict[str, D] = defaultdict(D)
    for (_, _, symbol), size in held.items():
        sums[symbol] += size
    assert not any(sums.values())


@pytest.mark.parametrize("day", ["everything", "shared"])
def test_the_tally_is_what_the_ledger_says(day: str, request: pytest.FixtureRequest) -> None:
    found: Day = request.getfixturevalue(day)
    (engine,) = found.embedded.engines
    summary = found.tally.summary(found.world.scene, 1.0, None)
    ledger = engine.ledger
    assert summary.shortfall == sum(ledger.shortfall.values())
    assert summary.paid_by_fund == sum(ledger.paid_by_fund.values())
    assert summary.socialised == sum(ledger.socialised.values())
    assert summary.bad_debt == sum(ledger.bad_debt.values())
    assert summary.fund == ledger.fund["USDT"]
    for row in summary.markets:
        assert row.socialised == ledger.socialised.get((row.asset, row.market), 0)


def test_losses_are_shared_by_those_with_open_interest(shared: Day) -> None:
    assert len(shared.of(d.LossShared)) > 5
    charged = sum(one.amount for one in shared.of(d.LossCharged))
    excess = sum(one.excess for one in shared.of(d.LossShared))
    assert charged - excess == sum(one.amount for one in shared.of(d.LossShared))


def test_what_takers_take_leaves_less_to_be_shared(everything: Day, shared: Day) -> None:
    """Deleveraging at the bankruptcy price takes profit, where sharing takes cash."""
    lost = [day.tally.shortfall for day in (everything, shared)]
    assert lost[0] < lost[1]


def test_what_a_log_of_it_tells_reconciles(everything: Day) -> None:
    world = World(everything.world.scene)
    embedded = Embedded(world, Tally(frozenset()))
    (engine,), tally = embedded.engines, WaterfallTally()
    forced = 0
    for records in world.play():
        for _, event in records:
            decided = decide(engine, event)
            tally.fold(engine, event, decided)
            forced += isinstance(event, Fill) and bool(event.order_id)
            for decision in decided:
                world.hear(decision)
    assert list(waterfall_report.differences(waterfall_report.losses([engine]), tally)) == []
    takers = {taker for _, _, taker in tally.taken}
    assert takers >= {"limit", "fund", "backstop", "adl"}
    assert sum(one.notional for one in tally.taken.values()) == everything.tally.notional
    assert forced == everything.tally.count["forced"]
