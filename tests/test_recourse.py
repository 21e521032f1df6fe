"""What goes on auction while there is room, what an account pays with besides, and what is lost."""

from decimal import Decimal as D
from typing import Any

from engine.auction import Decay, InFlight, Reset
from engine.lending import FullRepayment
from engine.lending_profile import BadDebtRule, DutchAuction
from engine.liquidation import Auction
from engine.money import ONE, exact
from engine.pools import LendingPool
from engine.recourse import plan_draws
from tests.loan_account import USD, Account, eth_account

# --- auctions


def maker(price: str = "1200", **rules: Any) -> Account:
    rule = DutchAuction(Decay("linear", 3600), Reset(1800, D("0.4")), D("1.2"), **rules)
    return eth_account(price, auction=rule, pool={"least_debt": D(100)})


def live(debt: str, pool: str = "USD", collateral: str = "ETH") -> Auction:
    amount = D(debt)
    return Auction("one", 1, pool, collateral, ONE, amount, amount, ONE, 0)


@exact
def test_all_of_a_debt_goes_on_auction_where_there_is_no_limit():
    found = maker().auction()
    assert (found.lot, found.due, found.debt) == (D(1), D(1000), D(1080))
    assert (found.start_price, found.toxic) == (D(1440), False)


@exact
def test_what_there_is_no_room_for_waits():
    limits = InFlight(D(2000), D(800))
    found = maker(in_flight=limits).auction(live("260"), live("5000", "BTC"))
    # Room for 540 of this collateral: 500 with their penalty, and half of the lot.
    assert (found.lot, found.due, found.debt) == (D("0.5"), D(500), D(540))
    assert maker(in_flight=limits).auction(live("1900", collateral="BTC")) is None
    assert maker(in_flight=limits).auction(live("800")) is None
    # Less than the least debt would be left behind: all of it, beyond the room.
    roomy = maker(in_flight=InFlight(D(2000), D(1000))).auction()
    assert (roomy.lot, roomy.due) == (D(1), D(1000))


# --- what is lost


@exact
def test_a_debt_without_collateral_is_lost():
    assert Account({}, {"USD": "10"}, {}).lost() == {"USD": D(10)}
    assert eth_account("1").lost() == {}


@exact
def test_worthless_collateral_is_none_by_value():
    dusty = {"value_step": D(1), "repay": FullRepayment()}
    by_value = BadDebtRule("no_value")
    account = Account({"ETH": "0.5"}, {"USD": "10"}, {"ETH": "1.9"}, bad_debt=by_value, **dusty)
    assert account.lost() == {"USD": D(10)}
    account = Account({"ETH": "0.5"}, {"USD": "10"}, {"ETH": "2"}, bad_debt=by_value, **dusty)
    assert account.lost() == {}


@exact
def test_an_insolvent_group_loses_what_its_collateral_does_not_cover():
    rule = BadDebtRule("insolvent")
    account = Account(
        {"BTC": "1"}, {"USD": "100", "ETH": "2"}, {"BTC": "199", "ETH": "100"}, bad_debt=rule
    )
    # 300 owed, 199 there: a third and two thirds of 101, up to the unit.
    assert account.lost() == {"USD": D("33.67"), "ETH": D("0.6734")}
    solvent = Account({"BTC": "1"}, {"USD": "199"}, {"BTC": "199"}, bad_debt=rule)
    assert solvent.lost() == {}


@exact
def test_a_debt_worth_less_than_a_unit_of_collateral_is_lost_unless_halted():
    account = Account({"ETH": "1"}, {"USD": "0.01"}, {"ETH": "10000"})
    assert account.seizures() == []
    assert account.lost() == {"USD": USD.unit}
    account.rules.halted = {"ETH"}
    assert account.lost() == {}


@exact
def test_what_was_lent_comes_back_for_negative_cash():
    account = Account(
        {"ETH": "1", "USD": "30"},
        {},
        {"ETH": "1000", "BTC": "1000"},
        cash={"BTC": "-0.1"},
        pool_cash="0.05",
    )
    draws = plan_draws(account.state, account.holdings, account.rules, account.markets)
    assert draws == [("USD", D("0.05")), ("ETH", D("0.05"))]
    account.markets.lending["ETH"] = account.markets.lending["USD"] = LendingPool(cash=D(100))
    draws = plan_draws(account.state, account.holdings, account.rules, account.markets)
    assert draws == [("USD", D(30)), ("ETH", D("0.0700"))]
