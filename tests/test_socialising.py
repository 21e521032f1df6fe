"""Losses that others bear: by open interest, or by what they won today."""

from decimal import Decimal as D
from decimal import localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from engine import decisions as d
from engine import events as e
from engine.money import EXACT
from engine.waterfall import shares
from engine.waterfall_profile import Waterfall
from tests.loss_story import LossStory, charges, layers
from tests.story import of, only

UNIT = D("0.00000001")


def by_interest(**positions: tuple[str, str]) -> LossStory:
    """Return a story of traders with money and a position in BTCUSDT, losses shared by size."""
    story = LossStory(socialised="open_interest")
    for account, (money, size) in positions.items():
        story.trader(account, money, size)
    return story


# --- by open interest


def test_those_with_open_interest_bear_a_loss_by_size_on_both_sides() -> None:
    story = by_interest(ann=("100", "2"), bob=("100", "-1"), cid=("100", "0"))
    decided = story.lose("mallory", "30")
    assert layers(decided) == [("Shortfall", 30), ("LossShared", 30)]
    shared = only(d.LossShared, decided)
    assert (shared.by, shared.capacity, shared.excess) == ("open_interest", 200, 0)
    assert (shared.account, shared.market) == ("mallory", "BTCUSDT")
    assert charges(decided) == {"ann": 20, "bob": 10}
    assert story.machine.cash("ann") == {"USDT": 80}
    assert story.machine.ledger("socialised") == {("USDT", "BTCUSDT"): 30}


def test_the_fund_pays_first_and_what_nobody_can_bear_is_bad_debt() -> None:
    story = by_interest(ann=("10", "1"), bob=("20", "-1"))
    story.fund("5")
    decided = story.lose("mallory", "50")
    assert layers(decided) == [
        ("Shortfall", 50),
        ("FundDraw", 5),
        ("LossShared", 30),
        ("BadDebt", 15),
    ]
    assert charges(decided) == {"ann": 10, "bob": 20}
    assert story.machine.cash("ann") == story.machine.cash("bob") == {}


def test_who_cannot_bear_its_part_bears_what_it_can_and_the_others_the_rest() -> None:
    story = by_interest(ann=("10", "1"), bob=("1000", "1"), cid=("1000", "2"))
    decided = story.lose("mallory", "100")
    assert charges(decided) == {"ann": 10, "bob": 30, "cid": 60}


def test_a_fund_that_has_exactly_what_is_lost_leaves_nothing_to_share() -> None:
    story = by_interest(ann=("100", "1"))
    story.fund("50")
    assert layers(story.lose("mallory", "50")) == [("Shortfall", 50), ("FundDraw", 50)]


def test_open_interest_of_zero_leaves_bad_debt() -> None:
    story = by_interest(ann=("100", "0"))
    story.trader("bob", "100", "1", symbol="ETHUSDT")
    assert layers(story.lose("mallory", "50")) == [("Shortfall", 50), ("BadDebt", 50)]


def test_those_without_deposits_bear_nothing() -> None:
    story = by_interest(ann=("0", "1"), bob=("0", "-1"))
    assert layers(story.lose("mallory", "50")) == [("Shortfall", 50), ("BadDebt", 50)]


def test_who_is_never_liquidated_bears_nothing() -> None:
    story = by_interest(ann=("100", "1"))
    for role in ("fund", "backstop", "exempt"):
        story.trader(role, "100", "1", role=role)
    assert charges(story.lose("mallory", "50")) == {"ann": 50}


def test_isolated_groups_bear_for_themselves() -> None:
    story = by_interest(ann=("100", "1"))
    story.tell(e.MarginMoved, account="ann", symbol="BTCUSDT", amount=D(40))
    story.fill("ann", "BTCUSDT", "-1", "1000", margin="isolated:BTCUSDT")
    decided = story.lose("mallory", "90")
    found = [(one.margin, one.amount) for one in of(d.LossCharged, decided)]
    assert found == [("cross", 50), ("isolated:BTCUSDT", 40)]


@pytest.mark.parametrize(("lost", "started"), [("96", []), ("96.00000001", ["ann"])])
def test_who_is_charged_below_its_threshold_is_liquidated_at_once(
    lost: str, started: list[str]
) -> None:
    story = by_interest(ann=("100", "1"))
    decided = story.lose("mallory", lost)
    assert charges(decided) == {"ann": D(lost)}
    assert [one.account for one in of(d.LiquidationStarted, decided)] == started


def test_roundings_up_go_to_the_fund() -> None:
    story = by_interest(ann=("100", "1"), bob=("100", "1"), cid=("100", "1"))
    shared = only(d.LossShared, story.lose("mallory", "100"))
    assert (shared.amount, shared.excess) == (100, 2 * UNIT)
    assert story.machine.ledger("fund") == {"USDT": 2 * UNIT}


def test_an_inverse_market_is_shared_in_its_coin() -> None:
    story = LossStory(socialised="open_interest")
    story.trader("ann", "1", "100", symbol="BTCUSD", fee_asset="BTC")
    story.trader("bob", "1", "-300", symbol="BTCUSD", fee_asset="BTC")
    decided = story.lose("mallory", "0.4", "BTCUSD")
    assert charges(decided) == {"ann": D("0.1"), "bob": D("0.3")}
    assert only(d.LossShared, decided).asset == "BTC"


def test_a_loss_of_no_derivative_is_nobodys() -> None:
    """The market of a balance that never traded is its asset."""
    story = by_interest(ann=("100", "1"))
    story.tell(e.AccountOpened, account="mallory", role="trader")
    decided = story.tell(e.Withdrawal, account="mallory", asset="USDT", amount=D(7))
    assert only(d.BadDebt, decided).market == "USDT"


def test_a_loss_in_another_asset_than_the_markets_is_nobodys() -> None:
    story = by_interest(ann=("100", "1"))
    decided = story.lose("mallory", "0", "BTCUSDT")
    decided = story.tell(e.Withdrawal, account="mallory", asset="BTC", amount=D(7))
    assert layers(decided) == [("Shortfall", 7), ("BadDebt", 7)]
    assert only(d.BadDebt, decided).market == "BTCUSDT"


def test_who_is_taken_under_its_requirement_by_a_loss_is_liquidated_with_it() -> None:
    story = by_interest(ann=("54", "10"), bob=("1000", "-10"))
    decided = story.lose("mallory", "40")
    assert charges(decided) == {"ann": 20, "bob": 20}
    started = only(d.LiquidationStarted, decided)
    assert (started.account, started.equity, started.maintenance) == ("ann", 34, 40)
    assert decided.index(started) > decided.index(of(d.LossCharged, decided)[-1])


def test_both_sides_may_be_bankrupt() -> None:
    """Ann and Bob stood against each other, and both lose more than they have: Ann's loss takes
    Bob's last money, and Cid bears for both as far as he can."""
    story = by_interest(ann=("10", "1"), bob=("10", "-1"), cid=("30", "1"))
    first = story.fill("ann", "BTCUSDT", "-1", "1000", "30")
    assert charges(first) == {"bob": 10, "cid": 10}
    order = only(d.LiquidationOrder, first)
    second = story.fill("bob", "BTCUSDT", "1", "1000", "25", order_id=order.order_id)
    assert layers(second) == [("Shortfall", 25), ("LossShared", 20), ("BadDebt", 5)]
    assert charges(second) == {"cid": 20}


# --- by today's winners


def winners() -> LossStory:
    """Ann is 20 up on 2, Bob 10 down on the other side, Cid 5 up and flat again; Dan won in
    another asset."""
    story = LossStory(socialised="winners")
    for account in ("ann", "bob", "cid", "dan"):
        story.tell(e.AccountOpened, account=account, role="trader")
        story.deposit(account, "USDT", "100")
        story.deposit(account, "BTC", "1")
    story.fill("ann", "BTCUSDT", "2", "1000")
    story.fill("bob", "BTCUSDT", "-1", "1000")
    story.fill("cid", "BTCUSDT", "1", "995")
    story.fill("cid", "BTCUSDT", "-1", "1000", "1")
    story.fill("dan", "BTCUSD", "100", "900", fee_asset="BTC")
    story.price("BTCUSDT", "1010")
    return story


def test_todays_winners_bear_a_loss_by_what_they_won_fees_aside() -> None:
    story = winners()
    decided = story.lose("mallory", "20", "BTCUSDT")
    # Mallory bought and sold at 1,000 and won nothing.
    shared = only(d.LossShared, decided)
    assert (shared.by, shared.amount, shared.capacity) == ("winners", 20, 25)
    assert charges(decided) == {"ann": 16, "cid": 4}


def test_nobody_bears_more_than_it_won() -> None:
    decided = winners().lose("mallory", "30")
    assert layers(decided) == [("Shortfall", 30), ("LossShared", 25), ("BadDebt", 5)]
    assert charges(decided) == {"ann": 20, "cid": 5}


def test_winners_in_coin_bear_what_is_lost_in_coin() -> None:
    assert list(charges(winners().lose("mallory", "0.005", "BTCUSD"))) == ["dan"]


def test_a_new_session_counts_from_its_first_moment() -> None:
    story = winners()
    assert list(story.tell(e.SessionClosed)) == []
    assert layers(story.lose("eve", "20")) == [("Shortfall", 20), ("BadDebt", 20)]
    story.price("BTCUSDT", "1013")
    assert charges(story.lose("mallory", "3")) == {"ann": 3}
    story.price("BTCUSDT", "1004")
    # Ann has lost 12 since, Bob has won 6.
    assert charges(story.lose("oscar", "3")) == {"bob": 3}


def test_realised_gains_stay_gains_of_the_session_and_unrealised_ones_move_into_them() -> None:
    story = winners()
    story.tell(e.SessionClosed)
    story.price("BTCUSDT", "1020")
    story.fill("ann", "BTCUSDT", "-2", "1020")
    story.price("BTCUSDT", "900")
    decided = story.lose("mallory", "500")
    assert charges(decided)["ann"] == 20


def test_funding_and_settlement_are_gains_of_the_session() -> None:
    story = winners()
    story.tell(e.SessionClosed)
    paid = {"symbol": "BTCUSDT", "margin": "cross", "amount": D(-4)}
    story.tell(e.FundingPaid, account="ann", **paid)
    story.tell(e.Settled, symbol="BTCUSDT", price=D(1015))
    # Ann: 10 by settlement less 4 of funding.
    decided = story.lose("mallory", "500", "ETHUSDT")
    assert charges(decided) == {"ann": 6}


def test_a_leg_without_a_mark_begins_at_nothing() -> None:
    story = winners()
    rules = story.engine.rules
    fresh = structs.replace(rules.derivatives["ETHUSDT"], name="SOLUSDT", underlying="SOL")
    story.tell(e.InstrumentListed, instrument=fresh)
    story.fill("cid", "SOLUSDT", "1", "40")
    story.tell(e.SessionClosed)
    story.price("SOLUSDT", "43")
    assert charges(story.lose("mallory", "500")) == {"cid": 3}


def test_results_are_kept_while_the_rules_have_a_use_for_them() -> None:
    """A profile that begins to count begins a session; one that does not forgets it."""
    story = winners()
    counting = story.engine.rules.in_force
    story.tell(e.ProfileChanged, profile=structs.replace(counting, waterfall=Waterfall()))
    assert all(not group.session for group in story.engine.book.all_groups())
    story.fill("cid", "BTCUSDT", "1", "1000")
    story.tell(e.ProfileChanged, profile=counting)
    story.price("BTCUSDT", "1012")
    assert charges(story.lose("mallory", "500")) == {"ann": 4, "cid": 2}
    story.tell(e.ProfileChanged, profile=structs.replace(counting, name="again"))
    assert story.engine.group_of("ann", "cross").session


# --- shares

AMOUNTS = st.integers(0, 10_000).map(lambda units: units * UNIT)
BEARERS = st.lists(
    st.tuples(st.integers(1, 1000).map(lambda n: D(n) / 8), AMOUNTS.filter(bool)), max_size=8
)


@given(AMOUNTS.filter(bool), BEARERS)
def test_shares_bear_all_that_can_be_borne_in_proportion(
    amount: D, bearers: list[tuple[D, D]]
) -> None:
    with localcontext(EXACT):
        charged = shares(amount, bearers, UNIT)
        able = sum((most for _, most in bearers), D(0))
        over = sum(charged, D(0)) - min(amount, able)
    assert 0 <= over < UNIT * max(len(bearers), 1)
    assert all(0 < charge <= most for charge, (_, most) in zip(charged, bearers, strict=True))
    free = [
        (charge, weight)
        for charge, (weight, most) in zip(charged, bearers, strict=True)
        if charge < most
    ]
    for charge, weight in free:
        for other, its in zip(charged, (weight for weight, _ in bearers), strict=True):
            # Who could bear more bears as much of its weight as anybody, to the unit.
            assert (charge * its - other * weight) >= -UNIT * weight


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shares_of_nobody_and_of_equals(count: int) -> None:
    with localcontext(EXACT):
        assert shares(D(1), [], UNIT) == []
        equal = shares(D(7), [(D(3), D(100))] * count, D(1))
    assert equal == [-(-7 // count)] * count
