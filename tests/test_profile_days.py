"""The demo's day under every shipped profile, fitted to its listing."""

import asyncio
from random import Random

import pytest
from click.testing import CliRunner

from consumers import bars, market, population, profiles
from consumers.cli import main
from consumers.demo import Embedded
from consumers.fitting import NotFitting, Terms, fitted
from consumers.market import Scene, World
from consumers.player import Pace
from consumers.tally import Tally
from engine import invariants, profile_faults
from engine.decisions import Duplicate, Gap, Ignored, LiquidationOrder, Refused
from engine.events import Deposit

# Too long for `make check`.
pytestmark = pytest.mark.slow

SHIPPED = [name for name in profiles.margined() if not name.endswith("demo")]
OBJECTIONS = (Refused, Duplicate, Gap, Ignored)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_crash_is_played_under_any_profile(name):
    world = World(Scene(accounts=250, symbols=4, start_minute=765, end_minute=778, profile=name))
    tally, seen, heard = Tally(frozenset()), [], []
    hear, note = world.hear, tally.event
    world.hear = lambda decision: (heard.append(decision), hear(decision))[1]
    tally.event = lambda event: (seen.append(event), note(event))[1]
    embedded = Embedded(world, tally)
    asyncio.run(embedded.run(Pace(world.clock.time, None)))
    summary = tally.summary(world.scene, 1.0, None)
    assert summary.profile == name
    assert summary.liquidations > 5
    assert summary.fills > 5
    assert [decision for decision in heard if isinstance(decision, OBJECTIONS)] == []
    assert sum(isinstance(one, LiquidationOrder) for one in heard) == summary.orders
    for engine in embedded.engines:
        invariants.check(engine)
    # Nobody brings what is worth nothing there.
    deposited = {event.asset for event in seen if isinstance(event, Deposit)}
    assert deposited <= set(world.rules.profile.collateral)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_fitted_profile_is_sound_and_speaks_of_the_listing_alone(name):
    venue = market.venue_rules()
    found = fitted(profiles.read(name), venue)
    assert profile_faults.faults(found) == []
    assert found.numeraire == "USDT"
    assert set(found.collateral) <= {"USDT", "BTC", "ETH"}
    listed = {"*"} | {item.name for item in venue.perpetuals}
    listed |= {item.underlying for item in venue.perpetuals}
    assert set(found.requirements) | set(found.portfolios) <= listed
    assert found.liquidation.order_ttl == venue.profile.liquidation.order_ttl
    assert found.liquidation.fee_rate == profiles.read(name).liquidation.fee_rate


@pytest.mark.parametrize("name", SHIPPED)
def test_nobody_opens_with_less_than_the_profile_wants(name):
    rules = market.venue_rules(name)
    opens = {item.name: bars.load(item.name).of_day(0).open for item in rules.perpetuals}
    terms = Terms(rules, opens)
    shares = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "XRPUSDT": 0.2}
    tastes = population.Tastes(shares, {"BTC": 0.6, "ETH": 0.4}, 2.6e9 / 19_600)
    people = population.traders(Random(3), 500, tastes, terms)
    assert sum(bool(trader.gross) for trader in people) > 450
    for trader in people:
        counted = sum(
            value * (1 - (terms.haircut(asset, value) if asset != "USDT" else 0))
            for asset, value in trader.equity.items()
        )
        needed = sum(terms.initial(symbol, abs(worth)) for symbol, worth in trader.legs.items())
        if trader.gross:
            assert counted >= population.OPENING_MARGIN * needed * (1 - 1e-6)


def test_a_profile_that_knows_no_rule_for_what_is_listed_does_not_fit(tmp_path):
    (tmp_path / "one.toml").write_text(
        'name = "one"\nnumeraire = "USDC"\nconversion = ["USDC"]\ncollateral = { USDC = {} }\n'
        "[requirements.BTC]\nmaintenance_share = 0.5\nbrackets = [{ cap = 1, max_leverage = 9 }]\n"
    )
    with pytest.raises(NotFitting, match='profile "one": no rule of margin for ETHUSDT'):
        market.venue_rules(str(tmp_path / "one.toml"))
    result = CliRunner().invoke(main, ["demo", "--profile", str(tmp_path / "one.toml")])
    assert result.exit_code == 1
    assert "no rule of margin for ETHUSDT" in result.stderr


def test_the_demo_without_a_profile_is_the_one_with_a_band():
    assert Scene().whole
    assert not Scene(profile="default").whole
