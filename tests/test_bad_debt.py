"""Bad debt after it was booked: recovered, written off, outstanding, and the gate it closes."""

from decimal import Decimal as D
from typing import Any

import pytest
from msgspec import structs

from engine import bad_debt
from engine import decisions as d
from engine import events as e
from engine.bad_debt import Standing
from engine.survey import survey
from engine.waterfall_profile import FundRule, Waterfall
from tests.loan_story import LoanStory, pool
from tests.loss_story import LossStory, charges, layers
from tests.story import of, only

KEY = ("USDT", "BTCUSDT")


def indebted(**waterfall: Any) -> LossStory:
    """Return a story with bad debt of 100 in BTCUSDT."""
    story = LossStory(**waterfall)
    story.lose("mallory", "100")
    return story


def standing(story: LossStory) -> tuple[D, ...]:
    """Return total, outstanding, recovered, written off and unrealised of BTCUSDT."""
    return tuple(survey(story.engine).debts[KEY])


# --- recovered and written off


def test_what_comes_in_and_what_is_given_up_reconcile() -> None:
    story = indebted()
    assert standing(story) == (100, 100, 0, 0, 0)
    assert list(story.treasury(e.Recovered, "30")) == []
    assert standing(story) == (100, 70, 30, 0, 0)
    assert list(story.treasury(e.WrittenOff, "50.5")) == []
    assert standing(story) == (100, D("19.5"), 30, D("50.5"), 0)
    assert story.machine.ledger("top_ups") == {"USDT": 30}
    assert list(story.treasury(e.WrittenOff, "19.5")) == []
    assert standing(story) == (100, 0, 30, 70, 0)
    story.lose("oscar", "1")
    assert standing(story) == (101, 1, 30, 70, 0)


@pytest.mark.parametrize("kind", [e.Recovered, e.WrittenOff])
@pytest.mark.parametrize(
    ("fields", "rule", "detail"),
    [
        (
            {"amount": D("100.00000001")},
            "outstanding",
            "bad debt outstanding is 100 USDT of BTCUSDT, not 100.00000001",
        ),
        (
            {"market": "ETHUSDT"},
            "outstanding",
            "bad debt outstanding is 0 USDT of ETHUSDT, not 100",
        ),
        ({"asset": "BTC"}, "outstanding", "bad debt outstanding is 0 BTC of BTCUSDT, not 100"),
        ({"amount": D(0)}, "not_positive", "amount 0 is not above zero"),
        ({"amount": D(-1)}, "not_positive", "amount -1 is not above zero"),
        ({"asset": "XYZ"}, "unknown_asset", "XYZ is not listed"),
        (
            {"amount": D("0.000000001")},
            "decimals",
            "amount 0.000000001 has more than the 8 decimals of USDT",
        ),
    ],
)
def test_what_is_not_outstanding_is_refused(
    kind: type[Any], fields: dict[str, Any], rule: str, detail: str
) -> None:
    story = indebted()
    about = {"asset": "USDT", "market": "BTCUSDT", "amount": D(100), **fields}
    refused = only(d.Refused, story.tell(kind, shard=0, **about))
    assert (refused.event, refused.record) == (kind.__name__, "fund#1")
    assert (refused.rule, refused.detail) == (rule, detail)
    assert standing(story) == (100, 100, 0, 0, 0)


@pytest.mark.parametrize("kind", [e.Recovered, e.WrittenOff])
def test_what_is_of_another_shard_changes_nothing(kind: type[Any]) -> None:
    story = indebted()
    told = {"asset": "XYZ", "market": "BTCUSDT", "amount": D(-1)}
    assert list(story.tell(kind, shard=3, **told)) == []
    assert standing(story) == (100, 100, 0, 0, 0)


def test_it_counts_in_one_sequence_with_the_moves_of_the_fund() -> None:
    story = indebted()
    story.fund("5")
    told = {"asset": "USDT", "market": "BTCUSDT", "amount": D(1), "shard": 0}
    again = story.machine.apply(e.Recovered(time=story.time, sequence=1, **told))
    assert (only(d.Duplicate, again).record, only(d.Duplicate, again).last) == ("fund#1", 1)
    late = story.machine.apply(e.WrittenOff(time=story.time, sequence=4, **told))
    assert (only(d.Gap, late).expected, only(d.Gap, late).received) == (2, 4)
    assert standing(story) == (100, 99, 0, 1, 0)


# --- unrealised


def test_what_is_not_booked_yet_goes_by_maintenance_until_it_is() -> None:
    """Ann lacks 60 at mark, two thirds of her maintenance are in BTCUSDT."""
    story = indebted()
    story.trader("ann", "240", "2")
    story.fill("ann", "ETHUSDT", "1", "1000")
    story.tell(e.Halt)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        story.price(symbol, "900")
    found = survey(story.engine).debts
    assert found[KEY] == Standing(D(100), D(100), D(0), D(0), D(40))
    assert found["USDT", "ETHUSDT"] == Standing(D(0), D(0), D(0), D(0), D(20))
    story.tell(e.Resume)
    for order in of(d.LiquidationOrder, story.decided):
        story.fill("ann", order.symbol, f"-{order.size}", "900", order_id=order.order_id)
    after = survey(story.engine).debts
    assert sum(one.unrealised for one in after.values()) == 0
    assert sum(one.total for one in after.values()) == 160


# --- pools


def given_up() -> LoanStory:
    """Gus's pool lacks 547.619047; of a second pool of the same asset nothing is lost."""
    story = LoanStory()
    pools = {"USD": pool("USD"), "other": pool("USD"), "ETH": pool("ETH", "0.8")}
    story.market(pools, {"ETH": "2000"})
    story.supply("lena", "USD", "5000")
    story.supply("gus", "ETH", "1")
    story.borrow("gus", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1000", "index"))
    story.seized(order)
    return story


def treasury(story: LoanStory, kind: type[Any], amount: str) -> list[d.Decision]:
    told = {"asset": "USD", "market": "USD", "amount": D(amount)}
    return list(story.tell(kind, shard=0, **told))


def test_what_is_recovered_fills_the_hole_of_a_pool() -> None:
    story = given_up()
    before = story.engine.markets.lending["USD"]
    assert before.deficit == D("547.619047")
    assert treasury(story, e.Recovered, "500") == []
    after = story.engine.markets.lending["USD"]
    assert after.deficit == D("47.619047")
    assert after.cash - before.cash == 500
    refused = only(d.Refused, treasury(story, e.Recovered, "47.619048"))
    assert refused.rule == "outstanding"


def test_a_pool_goes_on_lacking_what_is_written_off() -> None:
    """What Gus repays after all is recovered as far as it was not written off; the rest is the
    pool's own."""
    story = given_up()
    assert treasury(story, e.WrittenOff, "500") == []
    assert story.engine.markets.lending["USD"].deficit == D("547.619047")
    back = only(d.BadDebtRecovered, story.repay("gus", "USD", "100"))
    assert (back.amount, back.outstanding) == (100, D("47.619047"))
    state = story.engine.markets.lending["USD"]
    assert (state.deficit, state.reserve) == (500, 100 - D("47.619047"))
    assert bad_debt.outstanding(story.engine.ledger, ("USD", "USD")) == 0


def test_the_debt_of_a_balance_and_that_of_a_pool_may_share_a_name() -> None:
    """Mallory owes 700 of USD that no pool lent: a pool gets of a recovery what it lacks."""
    story = given_up()
    story.tell(e.AccountOpened, account="mallory", role="trader")
    story.tell(e.Withdrawal, account="mallory", asset="USD", amount=D(700))
    assert treasury(story, e.Recovered, "1000") == []
    assert story.engine.markets.lending["USD"].deficit == 0
    assert bad_debt.outstanding(story.engine.ledger, ("USD", "USD")) == D("247.619047")


# --- the gate


def gates(decided: Any) -> list[tuple[bool, D, D]]:
    """Return what gates did: closed or not, outstanding, funds."""
    return [(one.closed, one.outstanding, one.fund) for one in of(d.WithdrawalGate, decided)]


def test_withdrawals_stop_while_more_is_unpaid_than_the_funds_hold() -> None:
    story = LossStory(gate=True, fund=FundRule(by="market"))
    story.fund("60", "BTCUSDT")
    decided = story.lose("mallory", "100")
    assert gates(decided) == [(True, 40, 0)]
    assert decided.index(only(d.WithdrawalGate, decided)) > decided.index(only(d.BadDebt, decided))
    assert gates(story.fund("15", "ETHUSDT")) == []
    assert gates(story.treasury(e.WrittenOff, "10")) == []
    assert gates(story.treasury(e.Recovered, "15")) == [(False, 15, 15)]
    assert gates(story.fund("-0.5", "ETHUSDT")) == [(True, 15, D("14.5"))]
    assert gates(story.fund("0.5")) == [(False, 15, 15)]


def test_a_withdrawal_while_the_gate_is_closed_happened_and_is_an_anomaly() -> None:
    story = indebted(gate=True)
    story.trader("ann", "100")
    told = {"account": "ann", "asset": "USDT", "amount": D(30)}
    anomaly = only(d.Anomaly, story.tell(e.Withdrawal, **told))
    assert (anomaly.account, anomaly.margin, anomaly.kind) == ("ann", "cross", "gated")
    assert anomaly.detail == "30 USDT withdrawn while withdrawals are stopped"
    assert story.machine.cash("ann") == {"USDT": 70}
    story.deposit("ann", "BTC", "1")
    assert list(story.tell(e.Withdrawal, account="ann", asset="BTC", amount=D(1))) == []
    story.fund("100")
    assert list(story.tell(e.Withdrawal, **told)) == []


def test_without_the_rule_no_gate_closes_and_a_profile_closes_and_opens_them() -> None:
    story = indebted()
    assert of(d.WithdrawalGate, story.decided) == []
    open_rules = story.engine.rules.in_force
    closing = structs.replace(open_rules, waterfall=Waterfall(gate=True))
    assert gates(story.tell(e.ProfileChanged, profile=closing)) == [(True, 100, 0)]
    assert gates(story.tell(e.ProfileChanged, profile=closing)) == []
    assert gates(story.tell(e.ProfileChanged, profile=open_rules)) == [(False, 100, 0)]


def test_what_others_bear_closes_no_gate_and_their_excess_is_fund() -> None:
    story = LossStory(gate=True, socialised="open_interest")
    for account in ("ann", "bob", "cid"):
        story.trader(account, "100", "1")
    decided = story.lose("mallory", "100")
    assert sum(charges(decided).values()) > 100
    assert gates(decided) == []
    assert gates(story.lose("oscar", "250")) == [(True, 50, 0)]


def test_what_a_pool_lost_closes_the_gate_until_it_is_repaid() -> None:
    story = LoanStory()
    pools = {"USD": pool("USD"), "ETH": pool("ETH", "0.8")}
    story.market(pools, {"ETH": "2000"}, waterfall=Waterfall(gate=True))
    story.supply("lena", "USD", "5000")
    story.supply("gus", "ETH", "1")
    story.borrow("gus", "USD", "1500")
    order = only(d.CollateralLiquidation, story.price("ETH", "1000", "index"))
    decided = story.seized(order)
    assert layers(decided)[-1][0] == "BadDebt"
    assert gates(decided) == [(True, D("547.619047"), 0)]
    assert gates(story.repay("gus", "USD", "547")) == []
    assert gates(story.repay("gus", "USD", "0.619047")) == [(False, 0, 0)]
