"""`liquidator margin`: what the engine makes of one account under any profile, told in full."""

import functools
import json
import re
from decimal import Decimal
from math import log, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from consumers import profiles
from consumers.account_instruments import underlying_of
from tests.commands import WIDTH, faults, margin, written

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "deploy" / "account.json"
RULES = ROOT / "deploy" / "rules.toml"
_read = functools.cache(profiles.read)


def _margins_positions(name: str) -> bool:
    profile = _read(name)
    return bool(profile.requirements or profile.portfolios)


PROFILES = [
    name for name in profiles.shipped() if not name.endswith("demo") and _margins_positions(name)
]


@pytest.fixture(autouse=True)
def _profiles_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile of hundreds of symbols takes longer to read than an account to be looked at."""
    monkeypatch.setattr(profiles, "read", _read)


def told(file: Path, *options: object) -> Any:
    """Return the report as JSON, numbers as decimals where they are read."""
    result = margin(file, *options, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


LONG = {
    "balances": {"USDT": 1000},
    "legs": [{"symbol": "BTC-PERP", "size": 1, "entry_price": 10000}],
    "marks": {"BTC-PERP": 9036},
}
"""Worked number (a): long 1 BTC at 10,000 with 1,000 USDT; maintenance 0.4 %."""


# --- numbers


def test_the_worked_number_of_a_long(tmp_path: Path) -> None:
    (group,) = told(written(tmp_path, **LONG), "--rules", RULES)["groups"]
    (leg,) = group["legs"]
    assert group["equity"] == group["margin_equity"] == "36"
    assert group["margins"]["maintenance"] == {"margin_equity": "36", "requirement": "36.144"}
    assert (leg["liquidation_price_below"], leg["liquidation_price_above"]) == ("9036.15", None)
    assert leg["bankruptcy_price"] == "9000"
    (order,) = [one for one in group["decisions"] if one["type"] == "LiquidationOrder"]
    assert (order["side"], order["size"], order["limit_price"]) == ("sell", "1", "9004.6")
    assert order["stage"] == "limit"
    assert group["state"] == "liquidated"
    why = "\n".join(group["why"])
    assert "maintenance (requirements.BTC-PERP): bracket 1 of" in why
    assert "0.004 × notional 9,036 − 0 = 36.144 USDT" in why


def test_the_table_says_it_all(tmp_path: Path) -> None:
    text = margin(written(tmp_path, **LONG), "--rules", RULES).stdout
    assert "Margin group cross: liquidated now" in text
    assert re.search(r"│ Maintenance │ +36.00 │ +36.14 │ +-0.144 │ +100.4 % │", text)
    assert re.search(r"│ BTC-PERP │ +9,036.15 │ +— │ +9,000 │", text)
    assert re.search(r"│ BTC-PERP │ sell │ +1 │ +9,004.6 │ +9,000 │ +limit │", text)
    flat = re.sub(r"\s+", " ", text)
    assert "× 1 (1 − haircut 0, collateral.USDT) = 36 USDT" in flat
    assert "up to tick 0.1: 9,004.6" in flat
    assert "liquidation starts at margin equity < maintenance and stops at ≥" in flat


@pytest.mark.parametrize("name", PROFILES)
def test_a_liquidation_price_is_where_it_is_liquidated(name: str) -> None:
    (group, _) = told(SAMPLE, "--profile", name)["groups"]
    tried = 0
    for leg in group["legs"]:
        for key, beyond in (("liquidation_price_below", -1), ("liquidation_price_above", 1)):
            if leg[key] is None:
                continue
            price = Decimal(leg[key])
            unit = Decimal(leg["price_unit"])
            for at, state in ((price, False), (price + beyond * unit, True)):
                moved = told(SAMPLE, "--profile", name, "--price", f"{leg['symbol']}={at}")
                assert (moved["groups"][0]["state"] == "liquidated") is state, (leg["symbol"], at)
                tried += 1
    assert tried


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_tells_margins_that_its_steps_come_to(name: str) -> None:
    found = told(SAMPLE, "--profile", name, "--price", "BTC=56500")
    assert found["profile"] == profiles.read(name).name
    for group in found["groups"]:
        margins = group["margins"]
        assert set(margins) == {"initial", "maintenance", "stop"}
        for leg in group["legs"]:
            assert leg["steps"][-1]["amount"] == leg["maintenance"]
            if leg["initial_steps"]:
                # All settle in the numeraire here.
                assert leg["initial_steps"][-1]["amount"] == leg["initial"]
        alone = sum(Decimal(leg["initial"]) for leg in group["legs"] if not leg["in_portfolio"])
        if not group["portfolios"]:
            assert alone == Decimal(margins["initial"]["requirement"])


@pytest.mark.parametrize("name", PROFILES)
def test_no_table_is_wider_than_a_screen(name: str) -> None:
    for options in ((), ("--price", "BTC=40000", "--price", "SOL=1")):
        result = margin(SAMPLE, "--profile", name, *options)
        assert result.exit_code == 0, result.output
        assert max(map(len, result.stdout.splitlines())) <= WIDTH
    assert result.stdout.count("liquidated now") == 2
    assert "leaves out" in result.stdout


def test_the_stop_of_a_profile_is_told_with_its_buffer(tmp_path: Path) -> None:
    (group,) = told(written(tmp_path, **LONG), "--rules", RULES)["groups"]
    stop = group["margins"]["stop"]["requirement"]
    assert Decimal(stop) == Decimal("36.144") * (1 + Decimal(group["stop_buffer"]))


# --- what the file may say


def test_cost_and_price_of_entry_are_the_same(tmp_path: Path) -> None:
    by_cost = {**LONG, "legs": [{"symbol": "BTC-PERP", "size": "1", "cost": "10000"}]}
    first = told(written(tmp_path, **LONG), "--rules", RULES)
    assert told(written(tmp_path, **by_cost), "--rules", RULES) == first


def test_an_inverse_leg_costs_what_its_coins_were(tmp_path: Path) -> None:
    account = {
        "balances": {"BTC": "0.1"},
        "legs": [{"symbol": "BTCUSD-PERP", "size": 100, "entry_price": 10000}],
        "marks": {"BTCUSD-PERP": 9200},
        "prices": {"BTC": 9200},
    }
    (group,) = told(written(tmp_path, **account), "--rules", RULES)["groups"]
    (leg,) = group["legs"]
    assert leg["cost"] == "-1"
    assert leg["bankruptcy_price"] == "9090.91"


def test_open_orders_count_at_entry_and_are_cancelled_first(tmp_path: Path) -> None:
    account = {**LONG, "open_orders": [{"symbol": "BTC-PERP", "buy": "0.5"}]}
    path = written(tmp_path, **account)
    (group,) = told(path, "--profile", "binance-usdm", "--price", "BTC=9000")["groups"]
    assert group["legs"][0]["initial_size"] == "1.5"
    kinds = [one["type"] for one in group["decisions"]]
    assert kinds == ["LiquidationStarted", "CancelOpenOrders", "LiquidationOrder"]
    text = margin(path, "--profile", "binance-usdm", "--price", "BTC=9000").stdout
    assert "Its own open orders are cancelled first." in text


@pytest.mark.parametrize("symbols", [["BTC-PERP"], []])
def test_own_orders_are_cancelled_by_a_rule_and_only_where_there_are_any(
    symbols: list[str], tmp_path: Path
) -> None:
    orders = [{"symbol": symbol, "buy": "0.5"} for symbol in symbols]
    path = written(tmp_path, **{**LONG, "marks": {"BTC-PERP": 9260}}, open_orders=orders)
    (group,) = told(path, "--profile", "default")["groups"]
    assert (group["state"], group["margin_call_at"]) == ("called", "0.75")
    text = margin(path, "--profile", "default").stdout
    assert "Called: margin_call at 0.75, used 90.8 %." in text
    said = "Its own open orders are cancelled: cancel_orders at 0.9, used 90.8 %."
    assert (said in text) is bool(symbols)
    headline = (
        "Margin group cross: called: near its maintenance margin; its own orders are cancelled"
    )
    assert (headline in text) is bool(symbols)
    assert ("cancelled" in text) is bool(symbols)


def test_where_only_own_orders_are_cancelled_it_is_the_state(tmp_path: Path) -> None:
    source = (ROOT / "deploy" / "profiles" / "default.toml").read_text()
    profile = tmp_path / "late.toml"
    profile.write_text(source.replace("at = 0.75\nreset = 0.65", "at = 0.99\nreset = 0.98"))
    account = {**LONG, "marks": {"BTC-PERP": 9260}}
    for orders, state in (
        ([{"symbol": "BTC-PERP", "buy": 1}], "orders_cancelled"),
        ([], "healthy"),
    ):
        path = written(tmp_path, **account, open_orders=orders)
        assert told(path, "--profile", profile)["groups"][0]["state"] == state
    path = written(tmp_path, **account, open_orders=[{"symbol": "BTC-PERP", "buy": 1}])
    text = margin(path, "--profile", profile).stdout
    assert "cross: near its maintenance margin: its own orders are cancelled\n" in text
    assert "cancel_orders at 0.9, used 90.8 %." in text


def test_open_interest_raises_initial_margin_alone(tmp_path: Path) -> None:
    account = json.loads(SAMPLE.read_text())
    found = []
    for size in (1, 1_000_000):
        account["open_interest"] = {"SOLUSDT": {"long": size, "short": size}}
        path = written(tmp_path, **account)
        found.append(told(path, "--profile", "dydx-v4")["groups"][1])
    quiet, crowded = found
    needs = [Decimal(group["margins"]["initial"]["requirement"]) for group in found]
    assert needs[0] < needs[1]
    assert quiet["maintenance"] == crowded["maintenance"]
    assert any("open interest 156,400,000: 1 of the way" in line for line in crowded["why"])


def test_a_loss_without_positions_is_booked(tmp_path: Path) -> None:
    path = written(tmp_path, balances={"numeraire": -5})
    (group,) = told(path, "--profile", "default")["groups"]
    assert group["state"] == "bad_debt"
    assert [one["type"] for one in group["decisions"]] == ["Shortfall", "BadDebt"]
    assert (group["equity"], group["margin_equity"]) == ("-5", "-5")
    assert [(held["asset"], held["cash"]) for held in group["balances"]] == [("USDT", "-5")]
    text = margin(path, "--profile", "default").stdout
    assert "Margin group cross: without positions and short: its debt is booked" in text
    assert re.search(r"│ Maintenance │ +-5.00 │ +0 │ +-5.00 │ +— │", text)
    assert text.index("USDT: shortfall 5 USDT.") < text.index("USDT: bad debt 5 USDT.")


def test_a_loss_is_told_as_it_is_also_where_a_position_is_left(tmp_path: Path) -> None:
    (group,) = told(written(tmp_path, **{**LONG, "marks": {"BTC-PERP": 8000}}), "--rules", RULES)[
        "groups"
    ]
    assert (group["equity"], group["state"]) == ("-1000", "liquidated")


def test_what_a_profile_does_not_name_counts_as_nothing(tmp_path: Path) -> None:
    account = {**LONG, "balances": {"numeraire": 1000, "DOGE": 5}}
    result = margin(written(tmp_path, **account), "--profile", "dydx-v4")
    assert "not among the profile's collateral" in re.sub(r"\s+", " ", result.stdout)


OPTIONS = {
    "time": "2024-12-01T08:00:00Z",
    "balances": {"numeraire": 100000},
    "legs": [
        {"symbol": "BTC-27DEC24-60000-P", "size": -10, "entry_price": 2000},
        {"symbol": "BTC-PERP", "size": -2, "entry_price": 64000},
    ],
    "instruments": [
        {
            "type": "option",
            "name": "BTC-27DEC24-60000-P",
            "kind": "put",
            "strike": 60000,
            "expiry": "2024-12-27T08:00:00Z",
        }
    ],
    "marks": {"BTC-PERP": 62000},
    "options": {"BTC-27DEC24-60000-P": {"iv": 0.6, "forward": 62200}},
}


def test_options_and_their_hedge_make_a_portfolio(tmp_path: Path) -> None:
    path = written(tmp_path, **OPTIONS)
    (group,) = told(path, "--profile", "deribit-portfolio")["groups"]
    (portfolio,) = group["portfolios"]
    assert portfolio["underlying"] == "BTC"
    assert portfolio["symbols"] == ["BTC-27DEC24-60000-P", "BTC-PERP"]
    assert Decimal(portfolio["price_move"]) < 0
    assert portfolio["maintenance"] == group["maintenance"]
    option = group["legs"][0]
    assert 2000 < Decimal(option["mark"]) < 4000
    fallen = told(path, "--profile", "deribit-portfolio", "--price", "BTC=50000")["groups"][0]
    assert Decimal(fallen["legs"][0]["mark"]) > Decimal(option["mark"])
    assert fallen["state"] == "liquidated"
    text = margin(path, "--profile", "deribit-portfolio").stdout
    flat = re.sub(r"\s+", " ", text)
    assert "portfolio BTC (portfolios.BTC): worst loss" in flat
    assert "BTC-27DEC24-60000-P, BTC-PERP: one portfolio. A liquidation price moves" in flat
    assert "one portfolio" not in margin(SAMPLE, "--profile", "default").stdout
    assert max(map(len, text.splitlines())) <= WIDTH


DOCS = ROOT / "docs" / "margin.md"


def put(iv: float, forward: float, strike: float, days: float) -> float:
    """Return what a put is worth in the quote currency (Black 1976)."""
    spread = iv * sqrt(days / 365)
    upper = log(forward / strike) / spread + spread / 2
    normal = NormalDist().cdf
    return strike * normal(spread - upper) - forward * normal(-upper)


def test_an_option_is_marked_finely_also_where_only_what_it_is_is_said(tmp_path: Path) -> None:
    """The definition that docs/margin.md gives, and the same option in coin."""
    (block,) = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    documented = json.loads(block)["instruments"]
    worth = put(0.6, 62200, 60000, 26)
    account = {**OPTIONS, "instruments": documented}
    (group,) = told(written(tmp_path, **account), "--profile", "deribit-portfolio")["groups"]
    assert abs(float(group["legs"][0]["mark"]) - worth) <= 0.005
    coin = {"style": "inverse", "settle": "BTC"}
    account["instruments"] = [documented[0], {**documented[1], **coin}]
    account["prices"] = {"BTC": 62000}
    account["legs"] = [{**OPTIONS["legs"][0], "entry_price": "0.0335"}, OPTIONS["legs"][1]]
    (group,) = told(written(tmp_path, **account), "--profile", "deribit-portfolio")["groups"]
    leg = group["legs"][0]
    assert abs(float(leg["mark"]) - worth / 62200) <= 0.00005
    assert (leg["settle"], leg["cost"]) == ("BTC", "-0.335")


@pytest.mark.parametrize(
    ("forward", "given", "unit", "tick"),
    [
        (0.5, {}, "0.000001", "0.000001"),
        (62200, {"tick": 5}, "0.01", "5"),
        (62200, {"tick": "0.00005"}, "0.00001", "0.00005"),
        (62200, {"tick": "0.0005", "style": "inverse", "settle": "BTC"}, "0.0001", "0.0005"),
        (62200, {"price_decimals": 1}, "0.1", "0.1"),
        (62200, {"lot": "0.000000001", "size_decimals": 9}, "0.01", "0.01"),
        (62200, {"lot": "0.00000000025"}, "0.01", "0.01"),
    ],
)
def test_what_is_said_of_precision_decides_what_is_not(
    forward: float, given: dict[str, Any], unit: str, tick: str, tmp_path: Path
) -> None:
    option = {**OPTIONS["instruments"][0], **given}
    inputs = {option["name"]: {"iv": 0.6, "forward": forward}}
    account = {**OPTIONS, "instruments": [option], "options": inputs, "prices": {"BTC": 62000}}
    (group,) = told(written(tmp_path, **account), "--profile", "deribit-portfolio")["groups"]
    assert (group["legs"][0]["price_unit"], group["legs"][0]["tick"]) == (unit, tick)


@pytest.mark.parametrize(
    ("symbol", "underlying"),
    [
        ("BTC-PERP", "BTC"),
        ("BTCUSDT", "BTC"),
        ("BTC_USDC-PERPETUAL", "BTC"),
        ("1000SHIBUSDT", "1000SHIB"),
        ("ETH", "ETH"),
        ("XBTUSD", "XBT"),
        ("USDC", "USDC"),
        ("BTCEUR", "BTC"),
    ],
)
def test_a_symbol_tells_its_underlying(symbol: str, underlying: str) -> None:
    assert underlying_of(symbol, "EUR") == underlying


def test_of_a_rules_file_only_what_is_held_has_to_be_margined(tmp_path: Path) -> None:
    """The inverse contract there has no rule under a profile of linear ones alone."""
    profile = tmp_path / "profile.toml"
    profile.write_text(
        'name = "one"\nnumeraire = "USDT"\nconversion = ["USDT"]\n[collateral]\nUSDT = {}\n'
        "[requirements.BTC-PERP]\n"
        "brackets = [{ cap = 1, initial_rate = 0.1, maintenance_rate = 0.05 }]\n"
    )
    found = told(written(tmp_path, **LONG), "--rules", RULES, "--profile", profile)
    assert found["groups"][0]["legs"][0]["tick"] == "0.1"


# --- what it must not say


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, legs=[{"symbol": "X", "sise": 1}], marks={"X": "much"}, hedge=True)
    assert faults(path, "--profile", "default") == [
        "legs[1].sise: unknown key; did you mean size?",
        "legs[1].size: missing",
        "marks.X: Invalid decimal string, here 'much'",
        "hedge: unknown key; known: account, time, balances, legs, open_orders, loans, category, "
        "groups, marks, "
        "prices, options, open_interest, pools, instruments",
        "legs[1]: give cost or entry_price, one of them",
    ]
    leg = {"symbol": "X", "size": 0, "cost": 1, "entry_price": -1}
    path = written(
        tmp_path,
        time="noon",
        legs=[leg, leg],
        open_orders=[{"symbol": "X", "buy": -1}],
        groups=[{"margin": "cross"}],
        marks={"X": 0},
    )
    assert faults(path, "--profile", "default") == [
        "time: 'noon' is neither microseconds nor ISO 8601",
        "groups: 2 of margin cross",
        "legs[1].size: zero",
        "legs[1]: give cost or entry_price, one of them",
        "legs[1].entry_price: -1 is not above zero",
        "legs[2].size: zero",
        "legs[2]: give cost or entry_price, one of them",
        "legs[2].entry_price: -1 is not above zero",
        "legs: 2 entries for X; legs and orders are net, one of a symbol",
        "open_orders[1].buy: -1 is negative",
        "marks.X: 0 is not above zero",
    ]


def test_a_fault_of_form_hides_no_fault_of_sense_and_none_is_told_twice(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        time=[],
        balances={"numeraire": "much", "BTC": 1},
        legs=[
            {"symbol": "X", "size": 1},
            {"symbol": "Y", "size": 1, "cost": "low"},
            {"size": 1, "cost": 1},
            {"symbol": "O", "size": 1, "cost": 1},
            {"symbol": "P", "size": 1, "cost": 1},
        ],
        groups=[
            {"margin": 3, "legs": [{"symbol": "Z", "size": 0, "cost": 1}]},
            {"margin": "cross"},
        ],
        marks={"Y": "dear"},
        instruments=[
            {"type": "option", "name": "O", "kind": "put", "strike": 1, "expiry": "soon"},
            {"type": "option", "name": "P", "kind": "put", "strike": 1, "expiry": 1},
        ],
    )
    assert faults(path, "--profile", "default", "--price", "NONE=1") == [
        "time: Expected `int | str`, got `array`, here []",
        "balances.numeraire: Invalid decimal string, here 'much'",
        "legs[2].cost: Invalid decimal string, here 'low'",
        "legs[3].symbol: missing",
        "groups[1].margin: Expected `str`, got `int`, here 3",
        "marks.Y: Invalid decimal string, here 'dear'",
        "groups: 2 of margin cross",
        "legs[1]: give cost or entry_price, one of them",
        "groups[1].legs[1].size: zero",
        "instruments[O].expiry: neither microseconds nor ISO 8601",
        "options.P: missing; it is held or ordered",
        "marks.X: missing; it is held or ordered",
        "marks.Z: missing; it is held or ordered",
        "prices.BTC: missing; it counts, in USDT",
    ]


def test_prices_that_are_missing_are_named(tmp_path: Path) -> None:
    account = json.loads(SAMPLE.read_text())
    del account["prices"], account["marks"]["ETHUSDT"], account["marks"]["SOLUSDT"]
    assert faults(written(tmp_path, **account), "--profile", "default") == [
        "marks.ETHUSDT: missing; it is held or ordered",
        "marks.SOLUSDT: missing; it is held or ordered",
        "prices.BTC: missing; it counts, in USDT",
    ]

    untimed = {key: value for key, value in OPTIONS.items() if key not in ("time", "options")}
    assert faults(written(tmp_path, **untimed), "--profile", "deribit-portfolio") == [
        "time: missing; what an option is worth depends on it",
        "options.BTC-27DEC24-60000-P: missing; it is held or ordered",
    ]


def test_what_the_engine_refuses_is_told_with_its_rule(tmp_path: Path) -> None:
    (fault,) = faults(SAMPLE, "--profile", "demo")
    assert fault.startswith("SOLUSDT: instrument: SOLUSDT has no rule of margin")
    account = {"groups": [{"margin": "isolated:OTHER", **LONG}], "marks": LONG["marks"]}
    del account["groups"][0]["marks"]
    (fault,) = faults(written(tmp_path, **account), "--profile", "default")
    assert fault.startswith("groups: ")
    assert "OTHER" in fault
    (fault,) = faults(written(tmp_path, **LONG, account="a b"), "--profile", "default")
    assert fault == "account: account_id: 'a b' is no account id"
    fine = {**LONG, "legs": [{"symbol": "BTC-PERP", "size": "0.0001", "cost": 1}]}
    (fault,) = faults(written(tmp_path, **fine), "--rules", RULES)
    assert "decimals" in fault


def test_instruments_that_make_no_sense_are_named(tmp_path: Path) -> None:
    tables = [
        {"name": "BTC-PERP", "lot": 0, "colour": "red"},
        {"type": "swap", "name": "X"},
        {"type": ["future"], "name": "Y"},
        {"type": "future", "name": "F", "expiry": "soon"},
        {"type": "future", "name": "G", "tick": 0, "expiry": 1},
    ]
    found = faults(written(tmp_path, **LONG, instruments=tables), "--profile", "default")
    assert found[0].startswith("instruments[BTC-PERP].colour: unknown key")
    assert found[1:] == [
        "instruments[X]: needs a name, and a type of asset, perpetual, future, option",
        "instruments[Y]: needs a name, and a type of asset, perpetual, future, option",
        "instruments[F].expiry: neither microseconds nor ISO 8601",
        "instruments[G]: tick 0: not positive",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not JSON: "),
        ("[]", "not an account: expected an object"),
        ('{"marks": {"X": 1, "X": 2}}', "X: given 2 times"),
        ('{"marks": {"X": NaN}}', "marks.X: NaN is not a number"),
        ('{"marks": {"X": 1e400}, "balances": {"numeraire": 1}}', "marks.X"),
    ],
)
def test_what_is_no_account_is_told(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text(text)
    assert any(line.startswith(fault) for line in faults(path, "--profile", "default"))


def test_options_that_make_no_sense_are_wrong_usage(tmp_path: Path) -> None:
    for options, said in (
        ((), "give --profile, or --rules"),
        (("--profile", "default", "--price", "BTC"), "BTC is not NAME=PRICE"),
        (("--profile", "default", "--price", "BTC=-1"), "BTC=-1 is not NAME=PRICE"),
        (("--profile", "default", "--price", "DOGE=1"), "--price DOGE: the account has no symbol"),
    ):
        result = margin(SAMPLE, *options)
        assert result.exit_code == 2, result.output
        assert said in re.sub(r"\s+", " ", result.stderr)
    result = margin(SAMPLE, "--profile", "nobody")
    assert result.exit_code == 1
    assert "nobody: no profile of that name" in result.stderr


def test_an_account_that_holds_nothing_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text('{"account": "nobody", "time": "2026-01-01T00:00:00Z", "groups": []}')
    assert "It holds nothing" in margin(file, "--profile", "default").output
