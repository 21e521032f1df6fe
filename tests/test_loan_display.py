"""Loans as people see them: `liquidator margin`, `inspect` and `explain` under lending profiles."""

import functools
import json
import re
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from consumers import profiles
from engine.seizure import (
    FixedBonus,
    HealthBonus,
    HealthDiscount,
    ThresholdBonus,
    bonus_by_health,
    bonus_by_threshold,
)
from producers.loan_outlook import toxic_below
from tests.commands import faults, said, written

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "deploy" / "loan-account.json"

AAVE = ("--profile", "aave-v3")


@pytest.fixture(autouse=True)
def _profiles_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "read", _read)


_read = functools.cache(profiles.read)


def told(file: Path, *options: object) -> Any:
    """Return the group of the report as JSON."""
    (group,) = json.loads(said("margin", file, *options, "--json"))["groups"]
    return group


def by(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


# --- health, by hand: 10 WETH at 2,000 and a threshold of 0.83 against 12,000 USDC


def test_health_is_what_counts_by_what_is_owed() -> None:
    group = told(SAMPLE, *AAVE)
    assert group["state"] == "healthy"
    assert (group["equity"], group["margin_equity"], group["maintenance"]) == (
        "8000",
        "16600",
        "12000",
    )
    # 16,600 ÷ 12,000, down.
    assert group["lending"]["health_factor"] == "1.383333333333333333"
    # 1 − 12,000 ÷ 16,600, down.
    assert group["lending"]["collateral_drop"] == "0.277108433734"
    loans = by(group["loans"], "pool")
    assert (loans["WETH"]["supplied"], loans["WETH"]["counted"]) == ("10", "16600")
    assert (loans["USDC"]["owed"], loans["USDC"]["required"]) == ("12000", "12000")
    assert (loans["WETH"]["loan_to_value"], loans["WETH"]["threshold"]) == ("0.805", "0.83")


def test_what_may_be_borrowed_and_redeemed_leaves_the_opening_ratio() -> None:
    allowed = by(told(SAMPLE, *AAVE)["lending"]["allowed"], "pool")
    # 20,000 · 0.805 − 12,000; and 4,100 ÷ (2,000 · 0.805) = 2.546583850…, which is less than what
    # maintenance leaves: 4,600 ÷ (2,000 · 0.83).
    assert (allowed["USDC"]["borrow"], allowed["USDC"]["borrow_limit"]) == ("4100", "collateral")
    assert (allowed["WETH"]["borrow"], allowed["WETH"]["redeem"]) == ("2.05", "2.54658385")
    assert allowed["WETH"]["redeem_limit"] == "debts"
    assert allowed["USDC"]["redeem"] is None


@pytest.mark.parametrize(
    ("pool", "limit"),
    [
        ({"supplied": 15000, "borrowed": 14000}, ("1000", "cash")),
        ({"supplied": 15000, "borrowed": 14000, "cash": 1500}, ("1500", "cash")),
        # The profile lends 1,580,000,000 at most.
        ({"supplied": 1600000000, "borrowed": 1579999000}, ("1000", "cap")),
        ({"supplied": 1600000000, "borrowed": 1590000000}, ("0", "cap")),
    ],
)
def test_cash_and_cap_of_a_pool_limit_what_may_be_borrowed(
    pool: dict[str, int], limit: tuple[str, str], tmp_path: Path
) -> None:
    account = {**json.loads(SAMPLE.read_text()), "pools": {"USDC": pool}}
    allowed = by(told(written(tmp_path, **account), *AAVE)["lending"]["allowed"], "pool")
    assert (allowed["USDC"]["borrow"], allowed["USDC"]["borrow_limit"]) == limit


def test_what_is_borrowed_and_redeemed_as_allowed_can_stand_and_a_unit_more_cannot(
    tmp_path: Path,
) -> None:
    account = json.loads(SAMPLE.read_text(), parse_float=str)
    for weth, usdc, left in (
        ("10", "16100", "0"),
        ("10", "16100.00000001", None),
        ("7.45341615", "12000", "0.00000075"),
        ("7.45341614", "12000", None),
    ):
        account["loans"] = {"WETH": {"supplied": weth}, "USDC": {"owed": usdc}}
        # So small a pool that all decimals fit.
        account["pools"] = {}
        initial = told(written(tmp_path, **account), *AAVE)["margins"]["initial"]
        over = D(initial["margin_equity"]) - D(initial["requirement"])
        assert (over < 0) if left is None else (over == D(left) or 0 <= over < D("0.00002"))


def test_rates_are_those_of_the_pool_that_is_told(tmp_path: Path) -> None:
    allowed = by(told(SAMPLE, *AAVE)["lending"]["allowed"], "pool")
    # Used 0.8, at the kink: 2.8 %. Suppliers get 0.8 of it, less the reserve's 15 %.
    assert D(allowed["WETH"]["borrow_rate"]) == D("0.028")
    assert D(allowed["WETH"]["supply_rate"]) == D("0.01904")
    account = {**json.loads(SAMPLE.read_text()), "pools": {}}
    untold = by(told(written(tmp_path, **account), *AAVE)["lending"]["allowed"], "pool")
    assert untold["WETH"]["borrow_rate"] is None
    assert untold["USDC"]["borrow"] == "4100"


# --- where it is liquidated


def test_a_liquidation_price_is_where_health_is_one() -> None:
    prices = by(told(SAMPLE, *AAVE)["lending"]["prices"], "asset")
    # 12,000 ÷ (10 · 0.83), up; 16,600 ÷ 12,000, down.
    assert prices["WETH"]["liquidated_below"] == "1445.78313254"
    assert prices["USDC"]["liquidated_above"] == "1.38333333"
    assert prices["WETH"]["liquidated_above"] is prices["USDC"]["liquidated_below"] is None
    for asset, at, beyond in (
        ("WETH", "1445.78313254", "1445.78313253"),
        ("USDC", "1.38333333", "1.38333334"),
    ):
        assert told(SAMPLE, *AAVE, "--price", f"{asset}={at}")["state"] == "called"
        moved = told(SAMPLE, *AAVE, "--price", f"{asset}={beyond}")
        assert moved["state"] == "liquidated"
        (planned,) = prices[asset]["seizures"]
        assert moved["lending"]["seizures"] == [planned]


def test_what_is_supplied_and_owed_in_one_asset_moves_together(tmp_path: Path) -> None:
    account = {
        "loans": {"WETH": {"supplied": 10, "owed": 2}, "USDC": {"supplied": 6000, "owed": 8000}},
        "prices": {"WETH": 2000, "USDC": 1},
    }
    path = written(tmp_path, **account)
    prices = by(told(path, *AAVE)["lending"]["prices"], "asset")
    # WETH counts 10 · 0.83 − 2 = 6.3 a unit of its price; USDC 6,000 · 0.8 − 8,000 = −3,200.
    assert prices["WETH"]["liquidated_below"] == "507.93650794"
    assert prices["USDC"]["liquidated_above"] == "3.9375"


def test_a_debt_in_its_own_asset_has_no_price_that_liquidates_it(tmp_path: Path) -> None:
    account = {"loans": {"WETH": {"supplied": 10, "owed": 5}}, "prices": {"WETH": 2000}}
    path = written(tmp_path, **account)
    (row,) = told(path, *AAVE)["lending"]["prices"]
    # 8.3 · price against 5 · price: healthy at every price, and breached at none above 0.
    assert (row["liquidated_below"], row["liquidated_above"], row["seizures"]) == (None, None, [])


def test_what_is_seized_is_told_with_its_arithmetic() -> None:
    group = told(SAMPLE, *AAVE, "--price", "WETH=1400")
    assert group["state"] == "liquidated"
    (asked,) = [one for one in group["decisions"] if one["type"] == "CollateralLiquidation"]
    # Half of the debt; 6,000 ÷ 1,400 down, × 1.05 down; a tenth of the bonus, up twice.
    assert (asked["repay"], asked["seize"]) == ("6000", "4.49999999")
    assert (asked["fee"], asked["bonus"]) == ("0.02142858", "0.05")
    assert (asked["toxic"], asked["paid_in"]) == (False, "cash")
    (planned,) = group["lending"]["seizures"]
    assert {key: asked[key] for key in planned} == planned
    text = said("margin", SAMPLE, *AAVE, "--price", "WETH=1400")
    assert "Margin group cross: liquidated now" in text
    assert re.search(r"│ 6,000 │ USDC │ 4.49999999 │ +WETH │ 0.02142858 │ 5.00 % │ +no │", text)
    flat = re.sub(r"\s+", " ", text)
    assert "repaid: 6,000 of 12,000 USDC owed to USDC (lending.repay, close_factor)" in flat
    assert "4.49999999 WETH × price 1,400 = 6,299.999986" in flat


def test_an_account_that_owes_nothing_has_no_health_factor(tmp_path: Path) -> None:
    account = {"loans": {"WETH": {"supplied": 10}}, "prices": {"WETH": 2000}}
    path = written(tmp_path, **account)
    assert told(path, *AAVE)["lending"]["health_factor"] is None
    assert "Health factor none." in said("margin", path, *AAVE)


def test_more_debt_than_collateral_is_bad_debt_not_booked_yet(tmp_path: Path) -> None:
    account = {
        "loans": {"WETH": {"supplied": 10}, "USDC": {"owed": 9000}, "DAI": {"owed": 3000}},
        "prices": {"WETH": 1000, "USDC": 1, "DAI": 1},
    }
    path = written(tmp_path, **account)
    # Toxic above 1 ÷ 1.05 of loan to value: here it is 1.2. The loss is 2,000, by debts.
    lending = told(path, *AAVE)["lending"]
    assert lending["unrealised_bad_debt"] == [
        {"asset": "DAI", "market": "DAI", "amount": "500"},
        {"asset": "USDC", "market": "USDC", "amount": "1500"},
    ]
    (planned,) = lending["seizures"]
    assert planned["toxic"] is True
    text = said("margin", path, *AAVE)
    assert "Unrealised bad debt: 1,500 USDC, owed to USDC." in text
    assert "Toxic: below a health factor of 0.8715 a seizure of WETH lowers it." in text


def test_debt_without_collateral_is_given_up(tmp_path: Path) -> None:
    account = {"loans": {"USDC": {"owed": 100}}, "prices": {"USDC": 1}}
    path = written(tmp_path, **account)
    group = told(path, *AAVE)
    assert group["state"] == "bad_debt"
    text = said("margin", path, *AAVE)
    assert "without collateral: its debt is given up" in text
    assert "USDC: shortfall 100 USDC." in text


# --- what the file may say


def test_a_category_has_terms_of_its_own_and_rules_pools_out(tmp_path: Path) -> None:
    account = {
        "loans": {"wstETH": {"supplied": 10}, "WETH": {"owed": 9}},
        "prices": {"wstETH": 2000, "WETH": 2000, "USDC": 1},
        "pools": {"USDC": {"supplied": 1000, "borrowed": 0}},
    }
    plain = told(written(tmp_path, **account), *AAVE)
    assert plain["state"] == "liquidated"
    group = told(written(tmp_path, **account, category="ETH-correlated"), *AAVE)
    assert group["state"] == "called"
    loans = by(group["loans"], "pool")
    assert loans["wstETH"]["threshold"] == "0.93"
    assert loans["wstETH"]["terms"] == "lending.categories.ETH-correlated.collateral.wstETH"
    allowed = by(group["lending"]["allowed"], "pool")
    assert allowed["USDC"]["borrow_limit"] == "category ETH-correlated does not borrow it"


def test_a_supply_that_is_disabled_backs_nothing_and_can_be_redeemed(tmp_path: Path) -> None:
    account = {
        "loans": {
            "WETH": {"supplied": 10},
            "WBTC": {"supplied": 1, "collateral": False},
            "USDC": {"owed": 12000},
        },
        "prices": {"WETH": 2000, "WBTC": 60000, "USDC": 1},
    }
    path = written(tmp_path, **account)
    group = told(path, *AAVE)
    assert (group["margin_equity"], group["equity"]) == ("16600", "68000")
    assert by(group["lending"]["allowed"], "pool")["WBTC"]["redeem"] == "1"
    assert "disabled" in said("margin", path, *AAVE)


def test_collateral_in_isolation_has_a_ceiling_and_few_pools(tmp_path: Path) -> None:
    account = {
        "loans": {"UNI": {"supplied": 5000000}, "USDC": {"owed": 16999000}},
        "prices": {"UNI": 10, "USDC": 1, "WETH": 2000},
        "pools": {"WETH": {"supplied": 10, "borrowed": 0}},
    }
    allowed = by(told(written(tmp_path, **account), *AAVE)["lending"]["allowed"], "pool")
    # 17,000,000 in all, whatever 50,000,000 · 0.65 would allow.
    assert (allowed["USDC"]["borrow"], allowed["USDC"]["borrow_limit"]) == ("1000", "ceiling")
    assert allowed["WETH"]["borrow_limit"] == "not to be borrowed against UNI in isolation"
    said("margin", written(tmp_path, **account), *AAVE)


def test_a_pool_without_cash_pays_in_supply(tmp_path: Path) -> None:
    account = json.loads(SAMPLE.read_text())
    account["pools"] = {"WETH": {"supplied": 1000, "borrowed": 999}}
    path = written(tmp_path, **account)
    group = told(path, *AAVE, "--price", "WETH=1400")
    assert group["lending"]["seizures"][0]["paid_in"] == "supply"
    assert by(group["lending"]["allowed"], "pool")["WETH"]["redeem"] == "0"
    healthy = told(path, *AAVE)
    allowed = by(healthy["lending"]["allowed"], "pool")["WETH"]
    assert (allowed["redeem"], allowed["redeem_limit"]) == ("1", "cash")


ISOLATED: dict[str, dict[str, Any]] = {
    "maker": {
        "groups": [
            {
                "margin": "isolated:ETH-A",
                "loans": {"ETH-A": {"supplied": 10}, "DAI-ETH-A": {"owed": 13000}},
            }
        ],
        "prices": {"WETH": 1800},
    },
    "morpho-blue": {
        "groups": [
            {
                "margin": "isolated:USDC-WBTC-860",
                "loans": {"WBTC": {"supplied": 1}, "USDC-WBTC-860": {"owed": 50000}},
            }
        ],
        "prices": {"WBTC": 58000, "USDC": 1},
    },
    "compound-v3": {
        "loans": {"WETH": {"supplied": 10}, "UNI": {"supplied": 100}, "USDC": {"owed": 19000}},
        "prices": {"WETH": 2000, "UNI": 5, "USDC": 1},
    },
    "aave-v4": {
        "loans": {"WETH": {"supplied": 10}, "USDC": {"owed": 18000}},
        "prices": {"WETH": 2000, "USDC": 1},
    },
}
"""An account that is liquidated, by profile."""


@pytest.mark.parametrize("name", ISOLATED)
def test_every_way_to_liquidate_is_shown(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, **ISOLATED[name])
    group = told(path, "--profile", name)
    assert group["state"] == "liquidated"
    kind = "AuctionStarted" if name == "maker" else "CollateralLiquidation"
    asked = [one for one in group["decisions"] if one["type"] == kind]
    planned = group["lending"]["seizures"]
    assert [one["collateral"] for one in asked] == [one["collateral"] for one in planned]
    assert len(planned) == (2 if name == "compound-v3" else 1)
    if name == "maker":
        assert (asked[0]["lot"], asked[0]["due"], asked[0]["debt"]) == ("10", "13000", "14690")
        assert planned[0]["bonus"] == "0.13"
    text = said("margin", path, "--profile", name)
    assert ("On auction now" if name == "maker" else "Seized now") in text


def test_a_market_of_its_own_has_the_terms_of_its_category(tmp_path: Path) -> None:
    group = told(written(tmp_path, **ISOLATED["morpho-blue"]), "--profile", "morpho-blue")
    assert group["margin"] == "isolated:USDC-WBTC-860"
    assert group["lending"]["category"] == "USDC-WBTC-860"
    assert by(group["loans"], "pool")["WBTC"]["threshold"] == "0.86"


MIXED = """
name = "mixed"
numeraire = "USD"
conversion = ["USD", "ETH"]

[requirements."*"]
brackets = [{ cap = 1, initial_rate = 0.1, maintenance_rate = 0.05 }]

[collateral]
USD = {}
ETH = { haircut = 0.1 }

[lending.pools.ETH]
asset = "ETH"

[lending.pools.ETH.collateral]
loan_to_value = 0.7
liquidation_threshold = 0.8
bonus = { rule = "fixed", rate = 0.05 }

[lending.pools.DAI]
asset = "DAI"
"""


def test_loans_and_positions_of_one_group_stand_together(tmp_path: Path) -> None:
    profile = tmp_path / "mixed.toml"
    profile.write_text(MIXED)
    account = {
        "balances": {"ETH": 2, "USD": 1000},
        "legs": [{"symbol": "BTC-PERP", "size": 1, "entry_price": 60000}],
        "marks": {"BTC-PERP": 61000},
        "loans": {"ETH": {"supplied": 10}, "DAI": {"owed": 12000}},
        "prices": {"ETH": 2000, "DAI": 1},
    }
    path = written(tmp_path, **account)
    group = told(path, "--profile", profile)
    # 2 · 2,000 · 0.9 + 1,000 + 1,000 of profit + 10 · 2,000 · 0.8; 12,000 + 5 % of 61,000.
    assert (group["margin_equity"], group["maintenance"]) == ("21600", "15050")
    assert group["equity"] == "14000"
    prices = by(group["lending"]["prices"], "asset")
    # Each dollar of ETH is 1.8 + 8 dollars of health: 2,000 − 6,550 ÷ 9.8.
    assert prices["ETH"]["liquidated_below"] == "1331.63265307"
    for at, state in (("1331.63265307", "called"), ("1331.63265306", "liquidated")):
        assert told(path, "--profile", profile, "--price", f"ETH={at}")["state"] == state
    allowed = by(group["lending"]["allowed"], "pool")
    # At entry 3,600 + 2,000 + 14,000 against 12,000 + 6,100.
    assert allowed["DAI"]["borrow"] == "1500"
    (leg,) = group["legs"]
    assert leg["liquidation_price_below"] is not None
    text = re.sub(r"\s+", " ", said("margin", path, "--profile", profile))
    assert "maintenance = 15,050 USD" in text
    assert "margin equity = 21,600 USD" in text


# --- what is wrong with a file


def test_every_fault_of_loans_is_named_with_its_key(tmp_path: Path) -> None:
    account = {
        "loans": {"WETH": {"supplied": -1}, "PEPE": {"supplied": 5}, "USDC": {"owes": 3}},
        "category": "none",
        "groups": [{"margin": "isolated:UNI", "loans": {"UNI": {"owed": -2}, "X": {}}}],
        "pools": {
            "WETH": {"supplied": 5, "borrowed": 7},
            "DAI": {"supplied": 10, "borrowed": 4, "cash": 5},
            "USDT": {"supplied": -3, "borrowed": -4},
        },
        "prices": {"WETH": 2000},
    }
    found = faults(written(tmp_path, **account), *AAVE)
    assert found == [
        "loans.USDC.owes: unknown key; did you mean owed?",
        "loans.WETH.supplied: -1 is negative",
        "groups[1].loans.UNI.owed: -2 is negative",
        "pools.USDT.supplied: -3 is negative",
        "pools.USDT.borrowed: -4 is negative",
        "loans.PEPE: no pool of profile aave-v3",
        "category: none is no category of profile aave-v3",
        "groups[1].loans.X: no pool of profile aave-v3",
        "pools.WETH.borrowed: 7 is more than the 5 that are supplied",
        "pools.DAI.cash: 5 is less than the 6 that are supplied and not borrowed",
        "prices.UNI: missing; it counts, in USD",
    ]


def test_a_pool_holds_no_less_than_the_account_itself(tmp_path: Path) -> None:
    account = json.loads(SAMPLE.read_text())
    account["pools"] = {
        "WETH": {"supplied": 9, "borrowed": 0},
        "USDC": {"supplied": 20000, "borrowed": 11000},
    }
    assert faults(written(tmp_path, **account), *AAVE) == [
        "pools.WETH.supplied: 9 is less than the 10 of the account itself",
        "pools.USDC.borrowed: 11000 is less than the 12000 of the account itself",
    ]


def test_loans_need_a_profile_with_pools_and_a_price(tmp_path: Path) -> None:
    assert faults(SAMPLE, "--profile", "default") == ["loans: profile default has no pools"]
    account = {"loans": {"WETH": {"supplied": 1}, "USDC": {"owed": 5}}}
    assert faults(written(tmp_path, **account), *AAVE) == [
        "prices.USDC: missing; it counts, in USD",
        "prices.WETH: missing; it counts, in USD",
    ]


def test_what_the_engine_refuses_of_loans_is_told_with_its_rule(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        groups=[
            {
                "margin": "isolated:ETH-A",
                "loans": {"ETH-A": {"owed": 1}},
            }
        ],
        prices={"WETH": 1800},
    )
    (fault,) = faults(path, "--profile", "maker")
    assert fault == "groups[1].loans.ETH-A.owed: not_borrowable: ETH-A lends nothing"


# --- toxicity


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        (FixedBonus(D("0.05")), D("0.83")),
        (ThresholdBonus(), D("0.86")),
        (HealthBonus(D("0.1"), D("0.2"), D("0.9")), D("0.85")),
        (HealthBonus(D("0.1"), D("0.2"), D("0.95")), D("0.8")),
        (HealthDiscount(D("0.15")), D("0.9")),
        (HealthDiscount(D("0.15")), D("0.6")),
    ],
)
def test_the_frontier_is_where_a_seizure_leaves_health_as_it_is(rule: Any, threshold: D) -> None:
    """At the frontier h = threshold·(1 + bonus at h), to the last of 18 decimals."""
    frontier = toxic_below(rule, threshold)
    if isinstance(rule, FixedBonus):
        bonus = rule.rate
    elif isinstance(rule, ThresholdBonus):
        bonus = bonus_by_threshold(rule, threshold)
    elif isinstance(rule, HealthBonus):
        bonus = bonus_by_health(rule, frontier)
    else:
        bonus = 1 / max(frontier, 1 - rule.most) - 1
    assert abs(frontier - threshold * (1 + bonus)) < D("1e-17")


def test_in_breach_the_prices_are_those_that_would_heal() -> None:
    text = said("margin", SAMPLE, *AAVE, "--price", "WETH=1400")
    assert "Prices at which it would be healthy again" in text
    assert "Prices at which it is liquidated" not in text
    (row,) = (line for line in text.splitlines() if "1,445.78313254" in line)
    # Up by 45.78 of 1,400, down.
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "WETH", "1,400", "1,445.78313254", "—", "+3.27 %",
    ]  # fmt: skip


@pytest.mark.parametrize("account", ["a" * 64, "a" * 50 + ".lenders", "a" * 50 + ".borrowers"])
def test_an_account_may_have_every_name_that_is_one(account: str, tmp_path: Path) -> None:
    file = written(tmp_path, **{**json.loads(SAMPLE.read_text()), "account": account})
    assert told(file, *AAVE)["lending"]["health_factor"] == "1.383333333333333333"


# --- the documentation


def test_what_the_documentation_shows_is_what_is_said() -> None:
    text = (ROOT / "docs" / "margin.md").read_text()
    shown = re.findall(r"```\n\$ liquidator (margin [^\n]*)\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 2
    for command, output in shown:
        arguments = [ROOT / one if one.startswith("deploy/") else one for one in command.split()]
        real = [line.rstrip() for line in said(*arguments).splitlines()]
        assert [line for line in output.splitlines() if line.rstrip() not in real] == []
