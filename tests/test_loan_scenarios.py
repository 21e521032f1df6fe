"""Days on which lending markets lose money, one after another."""

from decimal import Decimal as D

from engine import decisions as d
from engine import events as e
from engine.auction import Decay, InFlight, KeeperPay, Reset
from engine.interest import YEAR, RateCurve
from engine.lending import CloseFactor
from engine.lending_profile import BadDebtRule, Dust, DutchAuction
from tests.loan_story import DAY, HOUR, LoanStory, pool
from tests.story import of, only

MINUTE = HOUR // 60
SECOND = MINUTE // 60


# --- a loop of loans on a stable coin that is none


def looped() -> LoanStory:
    """Lena lends 10,000 USD; Leo borrows 90 % of his staked dollars four times over, and buys more
    of them each time."""
    story = LoanStory()
    pools = {"USD": pool("USD"), "EUR": pool("EUR", "0.95", "0.04")}
    losses = BadDebtRule(charge=("lenders",))
    story.market(pools, {"EUR": "1"}, repay=CloseFactor(), bad_debt=losses)
    story.supply("lena", "USD", "10000")
    story.supply("leo", "EUR", "1000")
    for amount in ("900", "810", "729", "656.1"):
        cash = D(amount)
        story.tell(e.Borrow, account="leo", pool="USD", amount=cash)
        bought = {"asset": "USD", "amount": cash, "for_asset": "EUR", "proceeds": cash}
        story.tell(e.CollateralSold, account="leo", margin="cross", **bought)
        story.tell(e.Supplied, account="leo", pool="EUR", amount=cash)
    return story


def test_a_looped_stable_coin_position_in_a_depeg():
    """Below 0.95·1.04 of health every repayment makes it worse: the loop unwinds into bad debt."""
    story = looped()
    assert story.loan("leo", "EUR")[0] == D("4095.1")
    assert story.loan("leo", "USD")[1] == D("3095.1")
    assert not of(d.LiquidationStarted, story.price("EUR", "0.80", "index"))
    order = only(d.CollateralLiquidation, story.price("EUR", "0.75", "index"))
    assert (order.repay, order.toxic) == (D("1547.55"), True)
    factors, repaid = [], D(0)
    while order is not None:
        factors.append(order.health_factor)
        repaid += order.repay
        decided = story.seized(order)
        order = next(iter(of(d.CollateralLiquidation, decided)), None)
    assert factors == sorted(factors, reverse=True)
    assert len(set(factors)) == len(factors) > 2
    assert story.loan("leo", "EUR") == (0, 0)
    loss = only(d.LossSocialised, decided)
    assert loss.amount == D("3095.1") - repaid
    # 4,095.1 at 0.75, of which the liquidators keep 4 in 104.
    assert abs(repaid - D("4095.1") * D("0.75") / D("1.04")) < D("0.0001")
    assert only(d.LiquidationEnded, decided).reason == "flat"
    lost = D(10000) - story.loan("lena", "USD")[0]
    assert loss.amount <= lost <= loss.amount + D("0.000001")


def test_a_small_depeg_heals():
    """Above it every repayment helps, and the second one is enough."""
    story = looped()
    first = only(d.CollateralLiquidation, story.price("EUR", "0.79", "index"))
    second = only(d.CollateralLiquidation, story.seized(first))
    assert D("0.988") < first.health_factor < second.health_factor < 1
    assert not first.toxic
    assert not second.toxic
    assert only(d.LiquidationEnded, story.seized(second)).reason == "healthy"


# --- collateral that falls through the threshold and through its debt in one tick


def gap_down(*charge: str, **rules: object) -> LoanStory:
    """Gus owes 1,500 USD against 1 ETH, which opens at 1,000 the next morning."""
    story = LoanStory()
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8")}
    story.market(pools, {"ETH": "2000"}, bad_debt=BadDebtRule(charge=charge), **rules)
    story.tell(e.FundMoved, shard=0, asset="USD", amount=D(100))
    story.supply("lena", "USD", "5000")
    story.tell(e.FundMoved, shard=0, asset="USD", amount=D(50), pool="USD")
    story.supply("gus", "ETH", "1")
    story.borrow("gus", "USD", "1500")
    return story


def test_collateral_that_falls_through_its_debt_in_one_tick():
    """All of it goes for 952.38; what is left of the debt is borne in the order of the profile."""
    story = gap_down("fund", "reserve", "lenders")
    decided = story.price("ETH", "1000", "index")
    started = only(d.LiquidationStarted, decided)
    assert (started.equity, started.maintenance) == (D(-500), D(1500))
    order = only(d.CollateralLiquidation, decided)
    assert (order.repay, order.seize, order.toxic) == (D("952.380953"), D(1), True)
    decided = story.seized(order)
    borne = [(type(one).__name__, one.amount) for one in decided if hasattr(one, "amount")]
    assert borne == [
        ("Shortfall", D("547.619047")),
        ("FundDraw", D(100)),
        ("ReserveDraw", D(50)),
        ("LossSocialised", D("397.619047")),
    ]
    assert story.loan("lena", "USD")[0] == D("4602.380953")
    assert story.machine.ledger("socialised") == {("USD", "USD"): D("397.619047")}


def test_what_nobody_bears_is_outstanding_until_it_is_repaid():
    story = gap_down()
    order = only(d.CollateralLiquidation, story.price("ETH", "1000", "index"))
    bad = only(d.BadDebt, story.seized(order))
    assert (bad.amount, bad.market, bad.cause) == (D("547.619047"), "USD", "breach")
    assert story.loan("lena", "USD")[0] == D(5000)
    back = only(d.BadDebtRecovered, story.repay("gus", "USD", "500"))
    assert (back.amount, back.outstanding) == (D(500), D(500))
    decided = story.repay("gus", "USD", "60")
    assert only(d.BadDebtRecovered, decided).amount == D("47.619047")
    assert only(d.Anomaly, decided).kind == "exceeds_debt"
    assert story.engine.markets.lending["USD"].deficit == 0


def test_insolvency_is_recognised_at_the_tick():
    """Where the profile says so, 500 are lost before anything is seized; the rest is covered."""
    story = LoanStory()
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8")}
    rule = BadDebtRule("insolvent", ("lenders",))
    story.market(pools, {"ETH": "2000"}, bad_debt=rule)
    story.supply("lena", "USD", "5000")
    story.supply("gus", "ETH", "1")
    story.borrow("gus", "USD", "1500")
    decided = story.price("ETH", "1000", "index")
    assert only(d.LossSocialised, decided).amount == D(500)
    order = only(d.CollateralLiquidation, decided)
    assert (order.repay, order.seize) == (D("952.380953"), D(1))
    # The bonus costs more than there is: that is lost too, once it is paid.
    assert only(d.LossSocialised, story.seized(order)).amount == D("47.619047")


def test_lenders_whose_supply_is_collateral_too_are_taken_under_by_a_loss():
    """Lena borrowed against what she lent; Gus's loss takes her under her threshold with it."""
    story = LoanStory()
    pools = {"USD": pool("USD", "0.8"), "ETH": pool("ETH", "0.8"), "EUR": pool("EUR")}
    story.market(pools, {"ETH": "2000", "EUR": "1"}, bad_debt=BadDebtRule(charge=("lenders",)))
    story.supply("eve", "EUR", "5000")
    story.supply("lena", "USD", "2000")
    story.borrow("lena", "EUR", "1500")
    story.supply("gus", "ETH", "1")
    story.borrow("gus", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1000", "index"))
    decided = story.seized(order)
    assert only(d.LossSocialised, decided).account == "gus"
    assert only(d.LiquidationStarted, decided).account == "lena"
    assert decided.index(only(d.LossSocialised, decided)) < decided.index(
        only(d.LiquidationStarted, decided)
    )


# --- dust


def test_dust_left_behind():
    """The last cent of debt is worth less than the smallest piece of collateral: it is lost, and
    the liquidation ends."""
    story = LoanStory()
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8")}
    story.market(pools, {"ETH": "2000"}, bad_debt=BadDebtRule(charge=("lenders",)))
    story.supply("lena", "USD", "5000")
    story.supply("dora", "ETH", "1")
    story.borrow("dora", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    assert order.seize == D("0.875")
    all_but = {"repaid": order.repay - D("0.000001"), "seized": D(1), "order_id": order.order_id}
    told = {"account": "dora", "margin": "cross", "pool": "USD", "collateral": "ETH"}
    decided = story.tell(e.Seized, **told, **all_but)
    assert only(d.Anomaly, decided).kind == "beyond_limit"
    closed = {"order_id": order.order_id, "filled_size": all_but["repaid"]}
    decided = story.tell(e.OrderClosed, account="dora", **closed)
    assert only(d.LossSocialised, decided).amount == D("0.000001")
    assert only(d.LiquidationEnded, decided).reason == "flat"
    assert story.loan("dora", "USD") == (0, 0)


def test_a_rule_against_dust_leaves_none():
    story = LoanStory()
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8")}
    half, least = CloseFactor(D("0.9")), Dust(D(200))
    story.market(pools, {"ETH": "2000"}, repay=half, dust=least)
    story.supply("lena", "USD", "5000")
    story.supply("dora", "ETH", "1")
    story.borrow("dora", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    assert (order.repay, order.seize) == (D(1500), D("0.875"))
    assert only(d.LiquidationEnded, story.seized(order)).reason == "flat"
    assert story.loan("dora", "ETH") == (D("0.125"), 0)


# --- a pool with no cash


def test_a_pool_with_no_cash_pays_in_supply():
    """All ETH is lent out: who liquidates gets a claim, to be redeemed when something is repaid."""
    story = LoanStory()
    pools = {"USD": pool("USD", "0.9"), "ETH": pool("ETH", "0.8", protocol_fee=D("0.1"))}
    story.market(pools, {"ETH": "2000"}, repay=CloseFactor())
    story.supply("whale", "USD", "100000")
    story.supply("penny", "ETH", "1")
    story.borrow("whale", "ETH", "1")
    story.borrow("penny", "USD", "1500")
    unpaid = only(d.WithdrawalUnpaid, story.redeem("penny", "ETH", "0.1"))
    assert (unpaid.amount, unpaid.cash) == (D("0.1"), D(0))
    order = only(d.CollateralLiquidation, story.price("ETH", "1800", "index"))
    assert order.paid_in == "supply"
    story.deposit("quick", "USD", "1")
    refused = only(d.Refused, story.seized(order))
    assert refused.rule == "pool_cash"
    story.seized(order, liquidator="quick")
    claim = story.loan("quick", "ETH")[0]
    assert claim == order.seize - order.fee
    assert only(d.WithdrawalUnpaid, story.redeem("quick", "ETH", "0.4")).cash == 0
    story.repay("whale", "ETH", "0.5")
    assert not story.redeem("quick", "ETH", "0.4")
    assert story.machine.cash("quick") == {"ETH": D("0.4"), "USD": D(1)}


# --- interest alone


def test_interest_alone_makes_an_account_liquidatable():
    """1,500 USD at 10 % a year against 1,600 that count: health is 1 after two thirds of a year,
    and nothing but time passes."""
    story = LoanStory()
    pools = {
        "USD": pool("USD", rates=RateCurve(base=D("0.1"))),
        "ETH": pool("ETH", "0.8"),
    }
    story.market(pools, {"ETH": "2000"})
    story.supply("lena", "USD", "5000")
    story.supply("ines", "ETH", "1")
    story.borrow("ines", "USD", "1500")
    begun = story.engine.markets.lending["USD"].borrow.since
    whole = YEAR * 2 // 3
    assert not story.wait(begun + whole // 2 - story.time)
    assert not story.wait(begun + whole - SECOND - story.time)
    assert story.loan("ines", "USD")[1] == D("1599.999996")
    decided = story.wait(SECOND)
    assert only(d.LiquidationStarted, decided).account == "ines"
    assert only(d.CollateralLiquidation, decided).pool == "USD"


# --- an auction that finds no taker


def auction_house(most_resets: int = 2, after: int = HOUR // 2) -> LoanStory:
    """Ann and Ben owe 1,000 USD each against 1 ETH; there is room for one auction at a time."""
    story = LoanStory()
    rule = DutchAuction(
        Decay("linear", duration=HOUR),
        Reset(after, below=D("0.4")),
        D("1.2"),
        KeeperPay(D(2), D("0.01")),
        InFlight(D(1500), D(1500)),
        most_resets,
    )
    pools = {
        "USD": pool("USD", least_debt=D(600)),
        "ETH": pool("ETH", "0.8", "0.1", borrowable=False),
    }
    story.market(
        pools, {"ETH": "2000"}, auction=rule, bad_debt=BadDebtRule(charge=("reserve", "lenders"))
    )
    story.supply("lena", "USD", "5000")
    story.tell(e.FundMoved, shard=0, asset="USD", amount=D(100), pool="USD")
    for account in ("ann", "ben"):
        story.supply(account, "ETH", "1")
        story.borrow(account, "USD", "1000")
    return story


def test_an_auction_that_finds_no_taker_is_reset_until_caps_stop_it():
    story = auction_house()
    decided = story.price("ETH", "1200", "index")
    assert [one.account for one in of(d.LiquidationStarted, decided)] == ["ann", "ben"]
    begun = only(d.AuctionStarted, decided)
    assert (begun.account, begun.lot, begun.due, begun.debt) == ("ann", D(1), D(1000), D(1100))
    assert (begun.start_price, begun.keeper_pay) == (D(1440), D(13))
    ben = story.engine.group_of("ben", "cross")
    assert ben.liquidation.waits == "capped"
    started = story.time
    assert not story.price("ETH", "1000", "index")
    assert not story.wait(HOUR // 2 - 1)
    reset = only(d.AuctionReset, story.wait(MINUTE))
    assert (reset.time, reset.start_price, reset.resets) == (started + HOUR // 2 + 1, D(1200), 1)
    decided = story.wait(DAY)
    assert [one.resets for one in of(d.AuctionReset, decided)] == [2]
    assert not story.wait(DAY)
    # Nobody bid, and no more resets: Ben waits, until somebody lets it go on.
    assert ben.liquidation.waits == "capped"
    story.tell(e.Resume)
    assert only(d.AuctionReset, story.wait(1)).resets == 1
    decided = story.taken(begun.auction_id, "1", "1100")
    ended, next_one = only(d.AuctionEnded, decided), only(d.AuctionStarted, decided)
    assert (ended.reason, ended.returned) == ("raised", D(0))
    assert (next_one.account, next_one.lot) == ("ben", D(1))
    assert only(d.LiquidationEnded, decided).account == "ann"


def test_an_auction_is_reset_when_its_price_has_fallen_too_far():
    """What falls to nothing in an hour is below 40 % of its start right after 36 minutes."""
    story = auction_house(after=HOUR)
    story.price("ETH", "1200", "index")
    started = story.time
    assert not story.wait(36 * MINUTE)
    assert only(d.AuctionReset, story.wait(SECOND)).time == started + 36 * MINUTE + 1


def test_a_lot_is_taken_in_parts_and_what_is_left_goes_back():
    story = auction_house()
    begun = only(d.AuctionStarted, story.price("ETH", "1200", "index"))
    story.wait(10 * MINUTE)
    # 1,440 less a sixth is 1,200.
    # Paid too little, and what is left to raise is less than any debt may be.
    few = of(d.Anomaly, story.taken(begun.auction_id, "0.5", "599.999998"))
    assert [one.kind for one in few] == ["beyond_limit", "leaves_dust"]
    # Room again: Ben's 1,000 are on auction too.
    assert story.engine.markets.lending["USD"].auctioned == D("1400.000002")
    assert only(d.Refused, story.taken(begun.auction_id, "0.6", "10")).rule == "lot"
    assert only(d.Refused, story.taken(begun.auction_id, "0.5", "501")).rule == "debt"
    assert only(d.Refused, story.taken("ann:1:2:USD", "0.5", "501")).rule == "no_auction"
    decided = story.taken(begun.auction_id, "0.416667", "500.000002")
    ended = only(d.AuctionEnded, decided)
    assert (ended.reason, ended.returned) == ("raised", D("0.083333"))
    assert story.loan("ann", "ETH") == (D("0.083333"), 0)
    # The penalty, less what keepers got for two auctions, is the reserve's.
    assert story.engine.markets.lending["USD"].reserve == D(100) - 13 - 13 + 100


def test_a_lot_that_does_not_raise_what_was_due_is_a_loss():
    story = auction_house()
    begun = only(d.AuctionStarted, story.price("ETH", "1200", "index"))
    story.wait(25 * MINUTE)
    decided = story.taken(begun.auction_id, "1", "840")
    ended = only(d.AuctionEnded, decided)
    assert (ended.reason, ended.uncovered) == ("sold_out", D(160))
    mine = [one for one in decided if one.account == "ann"]
    assert only(d.ReserveDraw, mine).amount == D(100) - 13
    assert only(d.LossSocialised, mine).amount == D(160) - 87


def test_a_halt_holds_resets_back():
    story = auction_house()
    only(d.AuctionStarted, story.price("ETH", "1200", "index"))
    story.tell(e.Halt, symbol="ETH")
    assert not of(d.AuctionReset, story.wait(DAY))
    story.tell(e.Resume, symbol="ETH")
    assert only(d.AuctionReset, story.wait(1)).resets == 1
