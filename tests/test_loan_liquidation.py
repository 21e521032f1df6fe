"""The steps of a liquidation of loans, one by one: what is asked for, what waits, what ends it."""

from decimal import Decimal as D
from typing import Any

import pytest

from engine import decisions as d
from engine import events as e
from engine.auction import Decay, InFlight, Reset
from engine.auctions import reset_due
from engine.core import Engine
from engine.instruments import Perpetual
from engine.lending import CloseFactor, WholeAccount
from engine.lending_profile import BadDebtRule, DutchAuction
from engine.liquidation import Auction
from engine.profile import Bracket, Requirement
from engine.state import digest, records, restore
from tests.loan_story import HOUR, LoanStory, pool
from tests.story import of, only

SECOND = 1_000_000
PERPETUAL = Perpetual("ETH-PERP", "USD", 3, 2, D("0.01"), D("0.001"), D(10) ** 6)


def borrower(*, others_lend: bool = True, **rules: Any) -> LoanStory:
    """Bea owes 1,500 USD against 1 ETH at 2,000, threshold 0.8; breached below 1,875."""
    story = LoanStory()
    pools = {"USD": pool("USD")}
    pools |= {coin: pool(coin, "0.8", borrowable=others_lend) for coin in ("ETH", "EUR")}
    story.market(pools, {"ETH": "2000", "EUR": "1"}, **rules)
    story.supply("lena", "USD", "5000")
    story.supply("bea", "ETH", "1")
    story.borrow("bea", "USD", "1500")
    return story


def liquidation(story: LoanStory, account: str = "bea") -> Any:
    """Return the liquidation of an account's cross group."""
    return story.engine.group_of(account, "cross").liquidation


# --- seizures are orders


def test_a_liquidation_of_loans_alone_cancels_no_orders():
    decided = borrower().price("ETH", "1800", "index")
    assert [type(one) for one in decided] == [d.LiquidationStarted, d.CollateralLiquidation]
    started, order = decided
    assert [loan.pool for loan in started.loans] == ["ETH", "USD"]
    assert [(mark.symbol, mark.price) for mark in started.marks] == [("ETH", D(1800))]
    assert (order.order_id, order.number, order.replaces) == ("bea:1:1:USD", 1, "")
    assert order.health_factor == D("0.96")


def test_a_seizure_that_nobody_carries_out_is_asked_for_anew():
    """It expires, is cancelled, and the next one replaces it; no order goes to the backstop."""
    story = borrower()
    first = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    expired = only(d.CancelOrder, story.wait(6 * SECOND))
    assert (expired.order_id, expired.reason) == (first.order_id, "expired")
    assert not liquidation(story).backstop
    closed = {"order_id": first.order_id, "filled_size": D(0)}
    second = only(d.CollateralLiquidation, story.tell(e.OrderClosed, account="bea", **closed))
    assert (second.order_id, second.replaces) == ("bea:1:2:USD", first.order_id)


def test_a_venue_that_does_not_answer_is_waited_for_once():
    story = borrower()
    first = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    story.wait(6 * SECOND)
    decided = story.wait(6 * SECOND)
    assert only(d.Anomaly, decided).order_id == first.order_id
    assert only(d.CollateralLiquidation, decided).replaces == first.order_id


def test_a_health_that_is_restored_takes_the_seizure_back():
    story = borrower()
    story.price("ETH", "1800", "index")
    assert only(d.CancelOrder, story.price("ETH", "1900", "index")).reason == "healthy"
    closed = {"order_id": "bea:1:1:USD", "filled_size": D(0)}
    decided = story.tell(e.OrderClosed, account="bea", **closed)
    assert only(d.LiquidationEnded, decided).reason == "healthy"


@pytest.mark.parametrize("symbol", ["USD", "ETH", ""])
def test_a_halt_of_either_pool_takes_the_seizure_back(symbol):
    story = borrower()
    first = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    assert only(d.CancelOrder, story.tell(e.Halt, symbol=symbol)).reason == "halted"
    closed = {"order_id": first.order_id, "filled_size": D(0)}
    assert not story.tell(e.OrderClosed, account="bea", **closed)
    # Of the debt's pool alone it is the liquidation that waits.
    assert liquidation(story).waits == ("" if symbol == "ETH" else "halted")
    assert only(d.CollateralLiquidation, story.tell(e.Resume, symbol=symbol)).pool == "USD"
    assert liquidation(story).waits == ""


def test_a_late_seizure_counts_all_the_same():
    story = borrower()
    order = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    story.tell(e.OrderClosed, account="bea", order_id=order.order_id, filled_size=D(0))
    decided = story.seized(order)
    assert only(d.Anomaly, decided).kind == "late"
    assert story.loan("bea", "USD") == (0, 0)


# --- means of one's own


def test_own_cash_repays_before_anything_is_seized():
    story = borrower()
    story.deposit("bea", "USD", "20")
    decided = story.price("ETH", "1800", "index")
    assert only(d.SetOff, decided).amount == D(20)
    assert only(d.CollateralLiquidation, decided).repay == D(1480)
    assert story.machine.cash("bea") == {}


def test_what_is_left_after_all_collateral_is_sold_for_the_debt():
    """Euros in the account are no collateral of the pools, yet they go before anything is lost."""
    story = borrower(bad_debt=BadDebtRule(charge=("lenders",)))
    story.deposit("bea", "EUR", "30")
    order = only(d.CollateralLiquidation, story.price("ETH", "1400", "index"))
    assert order.repay == D("1333.333334")
    sale = only(d.CollateralSale, story.seized(order))
    assert (sale.asset, sale.amount, sale.for_asset) == ("EUR", D(30), "USD")
    sold = {"asset": "EUR", "amount": D(30), "for_asset": "USD", "proceeds": D(29)}
    told = {"account": "bea", "margin": "cross", "order_id": sale.order_id}
    decided = story.tell(e.CollateralSold, **told, **sold)
    assert [type(one) for one in decided[:2]] == [d.SetOff, d.Shortfall]
    assert only(d.LossSocialised, decided).amount == D("1500") - D("1333.333334") - 29


def test_negative_cash_is_covered_by_what_was_lent():
    """Bea lends euros, and a fee leaves her with less than nothing in cash: nothing is booked, as
    euros can come back; when ETH has fallen they are sold for it."""
    story = borrower()
    story.supply("bea", "EUR", "200")
    story.tell(e.Withdrawal, account="bea", asset="USD", amount=D(150))
    assert story.machine.cash("bea") == {"USD": D(-150)}
    decided = story.price("ETH", "1800", "index")
    drawn, sale = only(d.SupplyDrawn, decided), only(d.CollateralSale, decided)
    assert (drawn.pool, drawn.amount) == ("EUR", D(150))
    assert (sale.asset, sale.amount) == ("EUR", D(150))
    assert not of(d.Shortfall, decided)


def test_negative_cash_of_who_lent_is_no_shortfall_while_healthy():
    story = borrower()
    story.supply("ned", "EUR", "200")
    assert not story.tell(e.Withdrawal, account="ned", asset="USD", amount=D(100))
    assert not of(d.Shortfall, story.decided)
    decided = story.price("EUR", "0.6", "index")
    assert only(d.SupplyDrawn, decided).amount == D("166.666667")


# --- positions beside loans


def test_positions_are_closed_before_loans_are_seized():
    bracket = Bracket(D(10) ** 9, initial_rate=D("0.1"), maintenance_rate=D("0.05"))
    story = borrower(requirements={"*": Requirement((bracket,))})
    story.tell(e.InstrumentListed, instrument=PERPETUAL)
    story.price("ETH-PERP", "2000")
    story.fill("bea", "ETH-PERP", "0.1", "2000", fee_asset="USD")
    decided = story.price("ETH", "1800", "index")
    assert only(d.LiquidationOrder, decided).symbol == "ETH-PERP"
    assert only(d.CancelOpenOrders, decided).account == "bea"
    assert not of(d.CollateralLiquidation, decided)
    order = only(d.LiquidationOrder, decided)
    decided = story.fill(
        "bea", "ETH-PERP", "-0.1", "1990", fee_asset="USD", order_id=order.order_id
    )
    # 1 USD was lost: an unpaid balance, for which ETH comes back and is sold.
    assert only(d.SupplyDrawn, decided).pool == "ETH"
    assert only(d.CollateralSale, decided).for_asset == "USD"


# --- whole accounts


def test_a_whole_account_is_taken_to_the_end():
    """Once it is opened a recovery does not stop it; what it brings beyond the debt is Bea's."""
    story = borrower(others_lend=False, repay=WholeAccount())
    story.supply("bea", "EUR", "100")
    orders = of(d.CollateralLiquidation, story.price("ETH", "1500", "index"))
    assert [(one.collateral, one.seize) for one in orders] == [("ETH", D(1)), ("EUR", D(100))]
    assert not of(d.CancelOrder, story.price("ETH", "2500", "index"))
    assert not of(d.CancelOrder, story.seized(orders[0]))
    decided = story.seized(orders[1])
    assert only(d.LiquidationEnded, decided).reason == "flat"
    assert story.machine.cash("bea") == {"USD": sum(one.repay for one in orders) - 1500}


# --- auctions


def auctioneer(*accounts: str, **rules: Any) -> LoanStory:
    """Bea and Bob (or others), each with 1,500 USD against 1 ETH; collateral is sold by auction."""
    story = LoanStory()
    rule = DutchAuction(Decay("linear", HOUR), Reset(HOUR, D("0.4")), **rules)
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8", borrowable=False)}
    story.market(pools, {"ETH": "2000"}, auction=rule)
    story.supply("lena", "USD", "5000")
    for account in accounts or ("bea", "bob"):
        story.supply(account, "ETH", "1")
        story.borrow(account, "USD", "1500")
    return story


def test_room_for_a_part_takes_a_part_and_the_rest_waits():
    story = auctioneer(in_flight=InFlight(D(2100), D(2100)))
    begun = of(d.AuctionStarted, story.price("ETH", "1800", "index"))
    # 1,575 with the penalty; then room for 525: a third of the other.
    assert [(one.account, one.debt) for one in begun] == [("bea", D(1575)), ("bob", D(525))]
    assert begun[1].lot == D("0.33333333")
    assert liquidation(story, "bob").waits == "capped"
    assert story.engine.watch.counts()["capped"] == 1


def test_a_group_that_waits_for_room_and_recovers_ends():
    story = auctioneer(in_flight=InFlight(D(1575), D(1575)))
    story.price("ETH", "1800", "index")
    assert liquidation(story, "bob").waits == "capped"
    ended = only(d.LiquidationEnded, story.price("ETH", "2000", "index"))
    assert (ended.account, ended.reason) == ("bob", "healthy")


def test_a_group_with_auctions_that_recovers_and_falls_again_goes_on():
    """While something of it is on auction a liquidation has not ended; a new fall sells more."""
    story = auctioneer("bea", in_flight=InFlight(D(1050), D(1050)))
    begun = only(d.AuctionStarted, story.price("ETH", "1800", "index"))
    assert (begun.due, begun.toxic) == (D(1000), False)
    assert not of(d.LiquidationEnded, story.repay("bea", "USD", "150"))
    assert not story.taken(begun.auction_id, "0.5", "900")
    more = only(d.AuctionStarted, story.price("ETH", "1300", "index"))
    assert (more.auction_id, more.due) == ("bea:1:2:USD", D(350))


@pytest.mark.parametrize(
    ("decay", "at"),
    [
        # Below 0.4 of the start: after 36 of 60 minutes, the first step, or the first second.
        (Decay("linear", HOUR), 36 * 60 * SECOND + 1),
        (Decay("stair_step", interval=90 * SECOND, cut=D("0.5")), 180 * SECOND),
        (Decay("exponential", cut=D("0.99")), 92 * SECOND),
        (Decay("exponential", cut=D("0.9999999")), HOUR + 1),
    ],
)
def test_a_reset_is_due_at_the_first_moment_that_asks_for_it(decay, at):
    story = auctioneer()
    rules = story.engine.rules
    lending = rules.lending
    rule = DutchAuction(decay, Reset(HOUR, D("0.4")))
    auction = Auction("bea:1:1:USD", 1, "USD", "ETH", D(1), D(1), D(1), D(1000), started=7)
    changed = type(lending)(lending.pools, auction=rule)
    profile = type(rules.profile)(name="loans", numeraire="USD", lending=changed)
    rules.put_in_force(profile)
    assert reset_due(rules, auction) == 7 + at


def test_a_profile_without_auctions_lets_live_ones_end():
    story = auctioneer()
    begun = of(d.AuctionStarted, story.price("ETH", "1800", "index"))
    lending = story.engine.rules.lending
    profile = story.engine.rules.profile
    changed = {field: getattr(profile, field) for field in profile.__struct_fields__}
    changed["lending"] = type(lending)(lending.pools, repay=CloseFactor())
    story.tell(e.ProfileChanged, profile=type(profile)(**changed))
    assert not of(d.AuctionReset, story.wait(2 * HOUR))
    decided = story.taken(begun[0].auction_id, "1", "1575")
    assert only(d.AuctionEnded, decided).reason == "raised"


# --- put down and taken up


def _again(engine: Engine) -> Engine:
    return restore(engine.shard, records(engine).items())


@pytest.mark.parametrize("kind", [borrower, auctioneer])
def test_a_liquidation_is_taken_up_where_it_was_put_down(kind):
    """A restart between any two events changes neither decisions nor state."""
    through, restarted = kind(), kind()
    told = [
        lambda story: story.price("ETH", "1800", "index"),
        lambda story: story.tell(e.Halt, symbol="ETH"),
        lambda story: story.wait(HOUR),
        lambda story: story.tell(e.Resume, symbol="ETH"),
        lambda story: story.wait(HOUR),
        lambda story: story.wait(HOUR),
        lambda story: story.price("ETH", "100", "index"),
        lambda story: story.wait(HOUR),
    ]
    for tell in told:
        restarted.machine.engine = _again(restarted.engine)
        assert tell(through) == tell(restarted)
        assert digest(through.engine) == digest(restarted.engine)


def test_what_is_disabled_as_collateral_backs_nothing():
    story = LoanStory()
    story.market({"USD": pool("USD"), "EUR": pool("EUR", "0.8")}, {"EUR": "1"})
    story.supply("lena", "USD", "10000")
    story.supply("leo", "EUR", "1000")
    story.borrow("leo", "USD", "700")
    decided = story.tell(e.CollateralEnabled, account="leo", pool="EUR", enabled=False)
    started = only(d.LiquidationStarted, decided)
    assert (started.margin_equity, started.maintenance) == (0, 700)


def test_an_index_that_the_venue_tells_takes_a_borrower_over_the_threshold():
    story = LoanStory()
    told = pool("USD", accrued_by="venue")
    story.market({"USD": told, "EUR": pool("EUR", "0.8")}, {"EUR": "1"})
    story.supply("lena", "USD", "10000")
    story.supply("leo", "EUR", "1000")
    story.borrow("leo", "USD", "700")
    indices = {"supply_index": D(1), "borrow_index": D("1.1")}
    assert not of(d.LiquidationStarted, story.tell(e.InterestAccrued, pool="USD", **indices))
    indices["borrow_index"] = D("1.2")
    decided = story.tell(e.InterestAccrued, pool="USD", **indices)
    assert only(d.LiquidationStarted, decided).maintenance == 840
