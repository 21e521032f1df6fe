"""Loans at the edges: pools that profiles drop, dust that cannot be sold, silences, indices beyond
all floats."""

from decimal import Decimal as D
from typing import Any

import pytest
from msgspec import structs

from engine import decisions as d
from engine import events as e
from engine.auction import Decay, InFlight, Reset
from engine.interest import Accrual, RateCurve
from engine.lending_profile import BadDebtRule, DutchAuction, Lending, PoolRule
from tests.loan_story import DAY, HOUR, LoanStory, pool
from tests.story import of, only

AUCTION = DutchAuction(Decay("linear", 6 * HOUR), Reset(2 * HOUR, D("0.3")), D("1.1"))
ETH = pool("ETH", "0.8", bonus="0.1", borrowable=False)
POOLS = {"ETH": ETH, "USD": pool("USD")}
YEAR = 365 * DAY


def under_way(**rules: Any) -> LoanStory:
    """Return a market in which ben's ETH no longer covers what he owes."""
    story = LoanStory()
    story.market(POOLS, {"ETH": "2000", "EUR": "1"}, **rules)
    story.supply("lena", "USD", "100000")
    story.supply("ben", "ETH", "1")
    story.borrow("ben", "USD", "1500")
    story.price("ETH", "1700", "index")
    return story


def change(story: LoanStory, pools: dict[str, PoolRule], **rules: Any) -> list[str]:
    """Put other pools in force; return why not."""
    before = story.engine.rules.profile
    assert isinstance(before.lending, Lending)
    lending = structs.replace(before.lending, pools=pools, **rules)
    profile = structs.replace(before, name="other", lending=lending)
    return [one.detail for one in of(d.Refused, story.tell(e.ProfileChanged, profile=profile))]


@pytest.mark.parametrize("rules", [{"auction": AUCTION}, {}])
def test_a_pool_stays_while_a_liquidation_names_it(rules: dict[str, Any]) -> None:
    story = under_way(**rules)
    if not rules:
        story.redeem("ben", "ETH", "1")
    (why,) = change(story, {"USD": POOLS["USD"], "EUR": pool("EUR", "0.8")}, auction=None)
    assert why == "lending pools ETH: missing, and a liquidation or a lost debt names it"


def test_the_asset_of_a_pool_that_has_begun_stays() -> None:
    story = under_way(auction=AUCTION)
    pools = {"ETH": structs.replace(ETH, asset="EUR"), "USD": POOLS["USD"]}
    assert any("asset EUR, and it was ETH" in why for why in change(story, pools))


def test_a_pool_that_was_dropped_may_come_back_with_another_asset() -> None:
    story = LoanStory()
    story.market({**POOLS, "X": pool("USD", "0.8")}, {"ETH": "2000"})
    assert change(story, POOLS) == []
    assert change(story, {**POOLS, "X": pool("ETH", "0.8")}) == []
    story.supply("ann", "X", "0.12345678")
    assert story.loan("ann", "X")[0] == D("0.12345678")


def test_an_order_of_a_pool_that_is_no_more_may_be_closed_late() -> None:
    story = LoanStory()
    story.market({**POOLS, "V": pool("USD")}, {"ETH": "2000"})
    story.supply("lena", "V", "1500")
    story.supply("ben", "ETH", "1")
    story.borrow("ben", "V", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    story.seized(order)
    story.redeem("lena", "V", "1500")
    assert change(story, POOLS) == []
    closed = story.tell(e.OrderClosed, account="ben", order_id=order.order_id, filled_size=D(0))
    assert not closed


def test_a_snapshot_of_more_principal_than_can_be_kept_is_refused() -> None:
    story = LoanStory()
    rule = BadDebtRule("no_collateral", ("lenders",))
    story.market(POOLS, {"ETH": "1000000000"}, bad_debt=rule)
    story.supply("lena", "USD", "9000000000")
    story.supply("ben", "ETH", "100")
    story.borrow("ben", "USD", "8999999999")
    decided = story.price("ETH", "0.00000001", "index")
    for order in of(d.CollateralLiquidation, decided):
        story.seized(order)
    assert story.engine.markets.lending["USD"].booked_supply < D("1e-6")
    snapshot = (e.GroupSnapshot("cross", supplied={"USD": D(8_000_000)}),)
    refused = story.tell(e.PositionSnapshot, account="lena", groups=snapshot)
    assert only(d.Refused, refused).rule == "limit"


def test_an_index_beyond_all_floats_hides_nobody() -> None:
    """One unit is owed to a pool whose index passes 1e308; ben has nothing to do with it."""
    story = LoanStory()
    rates = RateCurve(base=D("0.2739"))
    steep = PoolRule("ETH", rates=rates, accrual=Accrual("compound", DAY))
    story.market({**POOLS, "E2": steep}, {"ETH": "2000"})
    story.tell(e.AccountOpened, account="xena", role="exempt")
    story.supply("lena", "USD", "100000")
    story.supply("xena", "E2", "1")
    story.borrow("xena", "E2", "0.00000001")
    for _ in range(9):
        story.wait(YEAR)
        story.supply("xena", "E2", "0.00000001")
    story.supply("ben", "ETH", "1")
    story.borrow("ben", "USD", "1500")
    assert of(d.LiquidationStarted, story.price("ETH", "1700", "index"))


def test_what_could_never_go_on_auction_is_lost_and_not_waited_for() -> None:
    in_flight = InFlight(D(1000), D(1000))
    story = LoanStory()
    story.market(POOLS, {"ETH": "2000"}, auction=structs.replace(AUCTION, in_flight=in_flight))
    story.supply("lena", "USD", "100000")
    story.supply("ben", "ETH", "1")
    story.borrow("ben", "USD", "1500")
    rest = D("0.99999999")
    story.redeem("ben", "ETH", str(rest))
    decided = story.tell(e.Withdrawal, account="ben", asset="ETH", amount=rest)
    assert only(d.BadDebt, decided).amount == 1500


def test_an_auction_is_reset_once_after_a_silence() -> None:
    story = under_way(auction=AUCTION)
    assert len(of(d.AuctionReset, story.wait(30 * DAY))) == 1
    assert len(of(d.AuctionReset, story.wait(3 * HOUR))) == 1


def test_a_take_that_leaves_dust_is_told() -> None:
    story = LoanStory()
    pools = {"ETH": ETH, "USD": pool("USD", least_debt=D(600))}
    story.market(pools, {"ETH": "2000"}, auction=AUCTION)
    story.supply("lena", "USD", "100000")
    story.supply("ben", "ETH", "1")
    story.borrow("ben", "USD", "1500")
    started = only(d.AuctionStarted, story.price("ETH", "1700", "index"))
    left = D(20)
    taken = story.taken(started.auction_id, "0.8", str(started.debt - left))
    assert only(d.Anomaly, taken).kind == "leaves_dust"
