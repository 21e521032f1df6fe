"""Insurance funds: which one a market has, what it pays, how it is filled."""

from decimal import Decimal as D
from typing import Any

import pytest
from msgspec import structs

from engine import decisions as d
from engine import events as e
from engine import funds
from engine.lending_profile import BadDebtRule
from engine.liquidation_profile import LiquidationRule
from engine.waterfall_profile import FundRule, Waterfall
from tests.loan_story import LoanStory, pool
from tests.loss_story import LossStory, layers
from tests.story import of, only

BY_GROUP = {"by": "group", "groups": {"BTCUSDT": "majors", "ETHUSDT": "majors"}}
NEARLY = D("9.99999999")
CAP = {"BTCUSDT": D(70)}


def venue(**fund: Any) -> LossStory:
    """Return a story with 60 in the fund of BTCUSDT and of majors each, and 30 in the venue's."""
    story = LossStory(fund=FundRule(**fund))
    for name, amount in (("BTCUSDT", "60"), ("majors", "60"), ("", "30")):
        story.fund(amount, name)
    return story


def drawn(story: LossStory, amount: str) -> list[tuple[str, D, D]]:
    """Return fund, amount and capacity of the draws of a loss."""
    draws = of(d.FundDraw, story.lose("mallory", amount))
    return [(draw.fund, draw.amount, draw.capacity) for draw in draws]


@pytest.mark.parametrize(
    ("rule", "loss", "draws", "left"),
    [
        ({}, "100", [("", 30, 30)], 70),
        ({"by": "market"}, "100", [("BTCUSDT", 60, 60)], 40),
        ({"by": "market"}, "60", [("BTCUSDT", 60, 60)], 0),
        (BY_GROUP, "100", [("majors", 60, 60)], 40),
        ({"by": "group", "groups": {"X": "majors"}}, "100", [("", 30, 30)], 70),
        ({"by": "group", "groups": {"X": "m"}, "then_venue": True}, "100", [("", 30, 30)], 70),
        ({"by": "market", "then_venue": True}, "100", [("BTCUSDT", 60, 60), ("", 30, 30)], 10),
        ({"by": "market", "then_venue": True}, "90", [("BTCUSDT", 60, 60), ("", 30, 30)], 0),
        ({"by": "market", "then_venue": True}, "60", [("BTCUSDT", 60, 60)], 0),
        ({"by": "market", "caps": {"BTCUSDT": D(0)}}, "100", [], 100),
        ({"by": "market", "caps": {"ETHUSDT": D(0)}}, "100", [("BTCUSDT", 60, 60)], 40),
        ({"by": "market", "caps": {"BTCUSDT": D(50)}}, "100", [("BTCUSDT", 50, 50)], 50),
        ({"caps": {"BTCUSDT": D("9.999999999")}}, "10", [("", NEARLY, NEARLY)], 10 - NEARLY),
        (
            {"by": "market", "then_venue": True, "caps": CAP},
            "100",
            [("BTCUSDT", 60, 60), ("", 10, 10)],
            30,
        ),
        ({"by": "market", "whole": True}, "60", [("BTCUSDT", 60, 60)], 0),
        ({"by": "market", "whole": True}, "60.00000001", [], D("60.00000001")),
        ({"by": "market", "whole": True, "caps": {"BTCUSDT": D(50)}}, "51", [], 51),
        ({"by": "market", "whole": True, "then_venue": True}, "61", [], 61),
        ({"whole": True}, "30", [("", 30, 30)], 0),
    ],
)
def test_the_fund_of_a_market_pays(rule: Any, loss: str, draws: Any, left: Any) -> None:
    story = venue(**rule)
    assert drawn(story, loss) == draws
    bad = story.machine.ledger("bad_debt").get(("USDT", "BTCUSDT"), 0)
    assert bad == left
    paid = sum(amount for _, amount, _ in draws)
    assert funds.in_all(story.engine.ledger, "USDT") == 150 - paid


def test_the_venue_pays_whole_what_the_fund_of_the_market_cannot() -> None:
    story = venue(by="market", whole=True, then_venue=True)
    story.fund("40")
    assert drawn(story, "70") == [("", 70, 70)]
    assert funds.held(story.engine.ledger, "USDT", "BTCUSDT") == 60


def test_a_cap_counts_what_was_paid_before_and_other_markets_have_their_own() -> None:
    story = venue(caps={"BTCUSDT": D(20)})
    assert layers(story.lose("ann", "15")) == [("Shortfall", 15), ("FundDraw", 15)]
    assert layers(story.lose("bob", "15")) == [("Shortfall", 15), ("FundDraw", 5), ("BadDebt", 10)]
    assert layers(story.lose("cid", "15")) == [("Shortfall", 15), ("BadDebt", 15)]
    assert layers(story.lose("eve", "12", "ETHUSDT"))[1:] == [("FundDraw", 10), ("BadDebt", 2)]


def test_an_inverse_market_has_a_fund_in_its_coin() -> None:
    story = LossStory(fund=FundRule(by="market"))
    story.fund("0.5", "BTCUSD", "BTC")
    story.fund("0.5", "BTCUSD", "USDT")
    decided = story.lose("mallory", "0.7", "BTCUSD")
    assert layers(decided) == [
        ("Shortfall", D("0.7")),
        ("FundDraw", D("0.5")),
        ("BadDebt", D("0.2")),
    ]
    assert only(d.BadDebt, decided).asset == "BTC"


def test_fees_go_to_the_fund_of_their_market() -> None:
    story = LossStory(fund=FundRule(by="market"))
    rule = LiquidationRule(fee_rate=D("0.01"))
    profile = structs.replace(story.engine.rules.in_force, liquidation=rule)
    story.tell(e.ProfileChanged, profile=profile)
    story.trader("ann", "100", "1")
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "900"))
    decided = story.fill("ann", "BTCUSDT", "-1", "980", order_id=order.order_id)
    fee = only(d.FeeCharged, decided).amount
    assert fee == D("9.8")
    assert funds.held(story.engine.ledger, "USDT", "BTCUSDT") == fee
    assert funds.held(story.engine.ledger, "USDT") == 0


def test_money_moves_into_and_out_of_a_named_fund_alone() -> None:
    story = venue()
    story.fund("-60", "majors")
    assert story.machine.ledger("named_funds") == {("USDT", "BTCUSDT"): D(60)}
    assert story.machine.ledger("fund") == {"USDT": D(30)}
    refused = only(d.Refused, story.fund("-60.01", "BTCUSDT"))
    assert (refused.rule, refused.detail) == (
        "fund",
        "the fund BTCUSDT of shard 0 holds less USDT",
    )
    assert only(d.Refused, story.fund("-1", "nobody's")).rule == "fund"


def test_a_move_names_a_fund_or_a_pool() -> None:
    story = LoanStory()
    story.market({"USD": pool("USD")}, {})
    both = {"asset": "USD", "pool": "USD", "fund": "USD", "amount": D(1)}
    refused = only(d.Refused, story.tell(e.FundMoved, shard=0, **both))
    assert refused.detail == "the reserve of USD or the fund USD: one of them, not both"


@pytest.mark.parametrize(
    ("rule", "charge", "expected"),
    [
        ({"by": "market"}, ("fund", "reserve"), [("FundDraw", 40), ("ReserveDraw", 50)]),
        (
            {"by": "market", "then_venue": True},
            ("fund", "lenders"),
            [("FundDraw", 40), ("FundDraw", 100), ("LossSocialised", D("407.619047"))],
        ),
        ({"whole": True}, ("fund",), []),
        # What the reserve leaves is as much as the fund can pay.
        (
            {"whole": True},
            ("reserve", "fund"),
            [("ReserveDraw", D("447.619047")), ("FundDraw", 100)],
        ),
        ({"by": "market", "caps": {"USD": D(30)}}, ("fund",), [("FundDraw", 30)]),
    ],
)
def test_the_fund_of_a_pool_bears_its_losses(rule: Any, charge: Any, expected: Any) -> None:
    """Gus's loss of 547.619047, of a pool called USD."""
    story = LoanStory()
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8")}
    rules = {"bad_debt": BadDebtRule(charge=charge), "waterfall": Waterfall(fund=FundRule(**rule))}
    story.market(pools, {"ETH": "2000"}, **rules)
    reserve = "50" if charge != ("reserve", "fund") else "447.619047"
    story.tell(e.FundMoved, shard=0, asset="USD", amount=D(reserve), pool="USD")
    for name, amount in (("", D(100)), ("USD", D(40))):
        story.tell(e.FundMoved, shard=0, asset="USD", amount=amount, fund=name)
    story.supply("lena", "USD", "5000")
    story.supply("gus", "ETH", "1")
    story.borrow("gus", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1000", "index"))
    borne = layers(story.seized(order))
    assert borne[0] == ("Shortfall", D("547.619047"))
    paid = sum(amount for _, amount in expected)
    rest = [("BadDebt", D("547.619047") - paid)] if paid < D("547.619047") else []
    assert borne[1:] == [*expected, *rest]
