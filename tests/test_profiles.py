"""Profiles in files: faults in words, what is shipped, what differs, brackets of an exchange."""

import json
from decimal import Decimal as D
from importlib.resources import files
from pathlib import Path

import pytest
import zstandard
from msgspec import structs

from consumers import leverage_brackets, profiles
from consumers.toml_file import FileFaults
from engine import profile_faults
from engine.decisions import MarkUsed
from engine.holdings import Holdings, Leg
from engine.instruments import Asset, Perpetual
from engine.margin import breached, health, level
from engine.markets import Markets
from engine.money import exact
from engine.profile import Bracket, Requirement
from engine.requirement import Exposure, RequirementCurve
from engine.rules import Rules
from tests.commands import said

SOUND = """
name = "sound"
numeraire = "USDT"
conversion = ["USDT", "BTC"]

[requirements.BTC]
brackets = [
    { cap = 10, initial_rate = 0.02, maintenance_rate = 0.01 },
    { cap = 20, max_leverage = 10, maintenance_rate = 0.05 },
]

[requirements."*"]
maintenance_share = 0.5
brackets = [{ cap = 1, initial_rate = 0.1 }]

[portfolios.ETH]
price_moves = [-0.1, 0, 0.1]
volatility_moves = [0.5, 0, -0.25]
extremes = [{ move = -0.5, weight = 0.3 }, { move = 1, weight = 0.2 }]

[collateral]
USDT = {}
BTC = { haircut = 0.05 }

[volatility]
reference = { BTC = 0.04 }

[cancel_orders]
at = 0.9
"""


def faults_with(old: str, new: str) -> list[str]:
    """Return what is said of the sound profile with one change."""
    assert SOUND.count(old) == 1, old
    with pytest.raises(FileFaults) as caught:
        profiles.parse(SOUND.replace(old, new).encode(), "p.toml")
    assert all(fault.startswith("p.toml: ") for fault in caught.value.faults)
    return [fault.removeprefix("p.toml: ") for fault in caught.value.faults]


TOP = 'numeraire = "USDT"\n'
BTC = "[requirements.BTC]\n"
REST = "maintenance_share = 0.5\n"
ETH = "volatility_moves = [0.5, 0, -0.25]\n"
COIN = "{ haircut = 0.05 }"
FIRST = "cap = 10, initial_rate = 0.02, maintenance_rate = 0.01"
SECOND = "cap = 20, max_leverage = 10, maintenance_rate = 0.05"
SWING = "reference = { BTC = 0.04 }\n"

FAULTS = [
    # Brackets: order, growth, initial above maintenance.
    (SECOND, "cap = 10, max_leverage = 10, maintenance_rate = 0.05",
     "requirements BTC: bracket 2: cap 10 not above 10"),
    (FIRST, "cap = 0, initial_rate = 0.02, maintenance_rate = 0.01",
     "requirements BTC: bracket 1: cap 0 not positive"),
    (SECOND, "cap = 20, max_leverage = 10, maintenance_rate = 0.005",
     "requirements BTC: bracket 2: maintenance_rate 0.005 below 0.01: a rate falls as size grows"),
    (SECOND, "cap = 20, max_leverage = 60, maintenance_rate = 0.015",
     "requirements BTC: bracket 2: initial_rate or max_leverage: a rate falls as size grows"),
    (SECOND, "cap = 20, initial_rate = 0.015, maintenance_rate = 0.01",
     "requirements BTC: bracket 2: initial_rate 0.015 below 0.02: a rate falls as size grows"),
    (FIRST, "cap = 10, max_leverage = 5, maintenance_rate = 0.01",
     "requirements BTC: bracket 2: max_leverage 10 above 5: a rate falls as size grows"),
    (SECOND, "cap = 20, max_leverage = 10, maintenance_rate = 0.11",
     "requirements BTC: bracket 2: max_leverage 10: initial below maintenance_rate 0.11"),
    (FIRST, "cap = 10, initial_rate = 0.02, maintenance_rate = 0.03",
     "requirements BTC: bracket 1: initial_rate 0.02: initial below maintenance_rate 0.03"),
    (SECOND, "cap = 20, maintenance_rate = 0.05",
     "requirements BTC: bracket 2: initial_rate or max_leverage: neither is given"),
    (SECOND, "cap = 20, initial_rate = 0.1, max_leverage = 10, maintenance_rate = 0.05",
     "requirements BTC: bracket 2: initial_rate and max_leverage: one of them, not both"),
    (SECOND, "cap = 20, max_leverage = 0.5, maintenance_rate = 0.05",
     "requirements BTC: bracket 2: max_leverage 0.5 not in [1, 100000)"),
    (FIRST, "cap = 10, initial_rate = 0, maintenance_rate = 0.01",
     "requirements BTC: bracket 1: initial_rate 0 not in (0, 1]"),
    (FIRST, "cap = 10, initial_rate = 0.02",
     "requirements BTC: bracket 1: maintenance_rate: missing, and so is maintenance_share"),
    ("initial_rate = 0.1 }", "initial_rate = 0.1, maintenance_rate = 0.05 }",
     "requirements *: bracket 1: maintenance_rate: given beside maintenance_share"),
    ("[{ cap = 1, initial_rate = 0.1 }]", "[]", "requirements *: brackets: none given"),
    (REST, "maintenance_share = 1.1\n",
     "requirements *: maintenance_share 1.1 not in (0, 1]: above 1 initial is below maintenance"),
    # What grows with size, and what is added.
    (BTC, BTC + "slope = 0.001\n",
     "requirements BTC: slope 0.001: grows with size, so one bracket is all"),
    (REST, REST + "slope = -1\n", "requirements *: slope -1 negative"),
    (REST, REST + "slope_per = 0\n", "requirements *: slope_per 0 not positive"),
    (REST, REST + "root_factor = -1\n", "requirements *: root_factor -1 negative"),
    (REST, REST + "root_blend = 1.5\n", "requirements *: root_blend 1.5 not in [0, 1]"),
    (REST, REST + "fixed = -15\n", "requirements *: fixed -15 negative"),
    (REST, REST + "step = 0\n", "requirements *: step 0 not positive"),
    (REST, REST + "open_interest = { lower = 5, upper = 5 }\n",
     "requirements *: open_interest: upper 5 not above lower 5"),
    (REST, REST + "open_interest = { lower = -5, upper = 5 }\n",
     "requirements *: open_interest: lower -5 negative"),
    # Portfolios.
    ("[-0.1, 0, 0.1]", "[]", "portfolios ETH: price_moves: none given, so the grid is empty"),
    ("[-0.1, 0, 0.1]", "[0, 0.1]",
     "portfolios ETH: price_moves: not both above and below 0, so that one side needs nothing"),
    ("[-0.1, 0, 0.1]", "[-1, 0, 0.1]",
     "portfolios ETH: price_moves: move 1, -1, not in [-0.99, 100)"),
    ("[0.5, 0, -0.25]", "[0, 0]", "portfolios ETH: volatility_moves: a move is given twice"),
    ("move = -0.5", "move = -1.5", "portfolios ETH: extreme 1: move -1.5 not in [-0.99, 100)"),
    ("weight = 0.2", "weight = 1.2", "portfolios ETH: extreme 2: weight 1.2 not in (0, 1]"),
    (ETH, ETH + "near_exponent = -1\n", "portfolios ETH: near_exponent -1 not in [0, 1]"),
    (ETH, ETH + "initial_factor = 0.9\n",
     "portfolios ETH: initial_factor 0.9 not in [1, 100): initial below maintenance"),
    (ETH, ETH + "short_option_minimum = -1\n",
     "portfolios ETH: short_option_minimum -1 not in [0, 1]"),
    (ETH, ETH + "future_contingency = 2\n", "portfolios ETH: future_contingency 2 not in [0, 1]"),
    # Collateral and profit.
    ('["USDT", "BTC"]', '["USDT"]',
     "collateral BTC: counts as collateral (haircut 0.05) but is missing in conversion"),
    ('["USDT", "BTC"]', '["USDT", "BTC", "BTC"]', "conversion: names an asset twice"),
    ('["USDT", "BTC"]', '["USDT", "BTC", "DAI"]', "conversion DAI: not a collateral"),
    (COIN, "{ haircut = 1.5 }", "collateral BTC: haircut 1.5 not in [0, 1]"),
    (COIN, "{ haircut = 0.05, initial_haircut = 0.01 }",
     "collateral BTC: initial_haircut 0.01 below haircut 0.05"),
    (COIN, "{ borrow_weight = 0.9 }", "collateral BTC: borrow_weight 0.9 not in [1, 100)"),
    (COIN, "{ borrow_weight = 1.2, initial_borrow_weight = 1.1 }",
     "collateral BTC: initial_borrow_weight 1.1 below borrow_weight 1.2"),
    (COIN, "{ size_factor = -1 }", "collateral BTC: size_factor -1 negative"),
    (COIN, "{ deposits_from = 0 }", "collateral BTC: deposits_from 0 not positive"),
    (COIN, "{ auto_convert_below = -1 }", "collateral BTC: auto_convert_below -1 negative"),
    ("USDT = {}", "USDT = { initial_haircut = 0.1 }",
     "collateral USDT: is the numeraire and takes neither haircut nor borrow weight"),
    (TOP, TOP + "profit = { weight = 1.5 }\n", "profit: weight 1.5 not in [0, 1]"),
    (TOP, TOP + "profit = { weight = 0.5, initial_weight = 0.6 }\n",
     "profit: initial_weight 0.6 above weight 0.5"),
    (TOP, TOP + "profit = { initial_cap = -1 }\n", "profit: initial_cap -1 negative"),
    # Start and stop, thresholds, entry.
    (TOP, TOP + "trigger = { stop_buffer = -0.1 }\n",
     "trigger: stop_buffer -0.1 not in [0, 10): stop below start"),
    (TOP, TOP + "trigger = { at_equality = true, stop_buffer = 0 }\n",
     "trigger: at_equality needs a stop_buffer above 0, or a stop is at once a start"),
    (TOP, TOP + "trigger = { fixed_cost = -1 }\n", "trigger: fixed_cost -1 negative"),
    ("at = 0.9", "at = 0.9\nreset = 0.9",
     "cancel_orders: needs 0 <= reset < at < 1, has 0.9 and 0.9"),
    (TOP, TOP + "margin_call = { at = 1 }\n",
     "margin_call: needs 0 <= reset < at < 1, has 0.7 and 1"),
    (TOP, TOP + "entry = { average_window = 5 }\n",
     "entry: average_window 5 µs not in a second to 30 days"),
    # Volatility.
    (SWING, "reference = {}\n", "volatility: reference: none given"),
    (SWING, "reference = { BTC = 0 }\n", "volatility: reference BTC: 0 not in (0, 100)"),
    (SWING, SWING + "floor = 0.5\n", "volatility: floor 0.5 not in [1, 100)"),
    (SWING, SWING + "floor = 4\n", "volatility: cap 3 below floor 4"),
    (SWING, SWING + "decay = 1\n", "volatility: decay 1 not in (0, 1)"),
    (SWING, SWING + "interval = 7_000_000\n",
     "volatility: interval 7000000 µs not a whole part of a day, a second or more"),
    (SWING, SWING + "rise = 0\n", "volatility: rise 0 not positive"),
    (SWING, SWING + "step = 0\n", "volatility: step 0 not positive"),
    (SWING, SWING + "lookback_share = 2\n", "volatility: lookback_share 2 not in [0, 1]"),
    (SWING, SWING + "maintenance_ramp = 60_000_000\n",
     "volatility: maintenance_ramp 60000000 µs not in an hour to a year: a quick factor "
     "liquidates"),
    # Orders.
    (TOP, TOP + "liquidation = { max_slippage = 1 }\n",
     "liquidation: max_slippage 1 not in [0, 1)"),
    (TOP, TOP + "liquidation = { order_ttl = 1 }\n",
     "liquidation: order_ttl 1 µs not in a millisecond to an hour"),
    (TOP, TOP + 'liquidation = { price = { rule = "fillable", adjustment = -1, spread = 1 } }\n',
     "liquidation: price: adjustment -1 not in (0, 100)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS, ids=[fault for *_, fault in FAULTS])
def test_an_unsound_profile_is_refused_in_words(old, new, fault):
    assert faults_with(old, new) == [fault]


def test_the_profile_that_the_faults_are_planted_in_is_sound():
    found = profiles.parse(SOUND.encode(), "p.toml")
    assert found.volatility is not None
    assert found.requirements["BTC"].brackets[1].max_leverage == 10


def test_a_profile_without_any_rule_of_margin_is_refused():
    bare = structs.replace(profiles.read("dydx-v4"), requirements={})
    assert profile_faults.faults(bare) == ["requirements: none given, and no portfolios"]


def test_what_is_no_number_is_said_and_nothing_else():
    venue = profiles.read("dydx-v4")
    broken = Requirement((Bracket(D("NaN"), D("Infinity")),))
    assert profile_faults.faults(structs.replace(venue, requirements={"BTC": broken})) == [
        "requirements BTC brackets 1 cap: NaN is not a number",
        "requirements BTC brackets 1 initial_rate: Infinity is not a number",
    ]


def test_all_faults_are_named_at_once_and_those_of_form_hide_none_of_sense():
    text = SOUND
    for old, new in (
        ("cap = 10", "cap = nan"),
        ("maintenance_rate = 0.05", 'maintenance_rate = "x"'),
        ("{ haircut = 0.05 }", "{ haircut = -1 }"),
        ("at = 0.9", "att = 0.9\nreset = 0.95"),
        ("{ BTC = 0.04 }", "3"),
        ("weight = 0.3", "weight = true"),
        ("weight = 0.2", "weight = 2"),
        (TOP, TOP + "profit = 5\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    with pytest.raises(FileFaults) as caught:
        profiles.parse(text.encode(), "p.toml")
    assert caught.value.faults == [
        "p.toml: profit: expected a table, got 5",
        "p.toml: requirements.BTC.brackets[1].cap: NaN is not a number",
        "p.toml: requirements.BTC.brackets[2].maintenance_rate: Invalid decimal string, here 'x'",
        "p.toml: portfolios.ETH.extremes[1].weight: Expected `decimal`, got `bool`, here True",
        "p.toml: volatility.reference: Expected `object`, got `int`, here 3",
        "p.toml: cancel_orders.att: unknown key; did you mean at?",
        "p.toml: portfolios ETH: extreme 2: weight 2 not in (0, 1]",
        "p.toml: collateral BTC: haircut -1 not in [0, 1]",
        "p.toml: cancel_orders: needs 0 <= reset < at < 1, has 0.95 and 0.8",
    ]


# --- what is shipped

WANTED = {
    "binance-usdm", "bybit", "okx", "okx-portfolio", "bitmex", "deribit", "deribit-portfolio",
    "hyperliquid", "dydx-v4", "drift-v2", "mango-v4", "synthetix-v3", "default",
}  # fmt: skip
LENDING = {
    "aave-v3", "aave-v4", "compound-v3", "morpho-blue", "euler-v2", "maker", "liquity-v2",
    "silo-v2",
}  # fmt: skip


def test_every_venue_is_there():
    assert set(profiles.margined()) == WANTED | {"demo", "luna-demo"}
    assert set(profiles.shipped()) == WANTED | LENDING | {"demo", "luna-demo", "lending-demo"}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_shipped_profile_is_sound_and_says_what_it_rests_on(name):
    found = profiles.read(name)
    assert found.name == name
    assert len(found.sources) >= 3
    assert len(found.leaves_out) >= 2
    assert "*" in found.requirements or "*" in found.portfolios


def test_what_is_left_out_says_so():
    """A line that ends in "as here" tells of nothing that the profile leaves out."""
    left_out = {name: profiles.read(name).leaves_out for name in WANTED}
    assert not [line for lines in left_out.values() for line in lines if "as here" in line]
    assert any("to a millionth" in line and "10^-12" in line for line in left_out["dydx-v4"])


def test_a_rules_file_holds_a_profile_too():
    assert profiles.read("demo").name == "19 May 2021"
    example = Path(__file__).parents[1] / "deploy" / "rules.toml"
    assert profiles.read(str(example)).name == "example"


def test_a_name_that_is_nothing_is_told_with_what_there_is():
    with pytest.raises(profiles.NoSuchProfile, match=r"binanse: no profile .*binance-usdm"):
        profiles.read("binanse")


# Worked numbers of the venues themselves.
WORKED = [
    # bitmex.com/app/riskLimitsExamples: 180 XBT, and 50 more.
    ("bitmex", "XBTUSD", 180, 1, "1.8", "0.9"),
    ("bitmex", "XBTUSD", 230, 1, "3.45", "2.3"),
    # support.deribit.com 25944738177565, Linear Perpetual.
    ("deribit", "BTC", 25, 100_000, "53125", "28125"),
    ("deribit", "SOL", 25, 200, "200.625", "100.625"),
    ("deribit", "SOL", 6000, 200, "84000", "60000"),
    # hyperliquid.gitbook.io, margin-tiers: 1.25 % below 150 million, then 2.5 % less 1,875,000.
    ("hyperliquid", "BTC", 1000, 100_000, "2500000", "1250000"),
    ("hyperliquid", "BTC", 2000, 100_000, "6250000", "3125000"),
    # bybitx.global margin-parameters: 1.6 % less 80,000 at 20 million.
    ("bybit", "BTC", 200, 100_000, None, "240000"),
    # v4-chain liquidity_tier.go:103: 2 %, of which 0.6.
    ("dydx-v4", "ETH", 10, 2000, "400", "240"),
]


@pytest.mark.parametrize(("name", "symbol", "size", "price", "initial", "maintenance"), WORKED)
def test_a_venues_own_worked_numbers(name, symbol, size, price, initial, maintenance):
    curve = RequirementCurve(profiles.read(name).requirements[symbol])
    at = Exposure(D(size), D(size * price), D(price))
    assert initial is None or curve.initial(at) == D(initial)
    assert curve.maintenance(at) == D(maintenance)


def example() -> Rules:
    """Return the example of docs/profiles.md in force, with its one contract."""
    page = (Path(__file__).parents[1] / "docs" / "profiles.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    rules = Rules()
    rules.put_in_force(profiles.parse(text.encode(), "profiles.md"))
    rules.list_instrument(Asset("USDT", 6, D(10**9)))
    rules.list_instrument(Asset("BTC", 8, D(10**6), 2))
    contract = Perpetual("BTC-PERP", "USDT", 3, 2, D("0.1"), D("0.001"), D(100), underlying="BTC")
    rules.list_instrument(contract)
    return rules


@exact
def test_the_page_that_explains_profiles_computes_as_the_engine_does():
    rules = example()
    held = Holdings({"USDT": D(10_000), "BTC": D(1)}, {"BTC-PERP": Leg(D(10), D(200_000))})

    def at(price: int) -> Markets:
        markets = Markets()
        for symbol, kind in (("BTC-PERP", "mark"), ("BTC", "index")):
            markets.prices[symbol, kind] = MarkUsed(symbol, kind, D(price), "venue", 0)
        return markets

    entry = level(held, rules, at(20_000), "entry")
    assert (entry.requirement, entry.margin_equity) == (14_000, 28_000)
    for price, maintenance, margin_equity, starts in (
        (20_000, 7_100, 29_000, False),
        (18_000, 6_090, 7_100, False),
        (17_800, 5_989, 4_910, True),
    ):
        state = health(held, rules, at(price))
        assert (state.maintenance, state.margin_equity) == (maintenance, margin_equity)
        assert breached(state, rules) == starts


# --- leverage brackets


@pytest.fixture(scope="module")
def published() -> bytes:
    """Return Binance's table of October 2024, in ccxt's form."""
    packed = files("deploy").joinpath("samples/binance-leverage-tiers.json.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompress(packed)


def test_the_whole_binance_table_loads_and_its_cumulative_amounts_follow(published):
    """cum(k) = cum(k−1) + floor(k)·(rate(k) − rate(k−1)) is what the engine's curve computes."""
    table = leverage_brackets.rows(published, "ccxt", "tiers")
    venue = profiles.read("binance-usdm")
    assert len(table) == 349
    assert sum(len(rows) for rows in table.values()) == 2805
    for symbol, rows in table.items():
        requirement = venue.requirements[symbol]
        curve = RequirementCurve(requirement).marginal_brackets
        assert curve is not None
        assert curve.amounts == [row.cum for row in rows]
        assert curve.caps == [row.cap for row in rows]
        assert curve.rates == [row.rate for row in rows]
        assert [one.max_leverage for one in requirement.brackets] == [
            row.max_leverage for row in rows
        ]


def test_brackets_are_written_as_they_are_read_again(published):
    found = leverage_brackets.requirements(published, "ccxt", "tiers")
    written = leverage_brackets.to_toml(found)
    head = 'name = "x"\nnumeraire = "USDT"\nconversion = ["USDT"]\ncollateral = { USDT = {} }\n'
    assert profiles.parse((head + written).encode(), "x.toml").requirements == found


BINANCE = [
    {
        "symbol": "ETHUSDT",
        "brackets": [
            {"bracket": 1, "initialLeverage": 75, "notionalCap": 10000, "notionalFloor": 0,
             "maintMarginRatio": 0.0065, "cum": 0.0},
            {"bracket": 2, "initialLeverage": 50, "notionalCap": 50000, "notionalFloor": 10000,
             "maintMarginRatio": 0.01, "cum": 35.0},
        ],
    }
]  # fmt: skip


def test_brackets_in_the_exchanges_own_form_say_the_same():
    found = leverage_brackets.requirements(json.dumps(BINANCE).encode(), "binance", "b.json")
    assert found["ETHUSDT"].brackets == (
        Bracket(D(10000), maintenance_rate=D("0.0065"), max_leverage=D(75)),
        Bracket(D(50000), maintenance_rate=D("0.01"), max_leverage=D(50)),
    )


def test_a_row_that_breaks_the_identity_is_named():
    raw = json.dumps(BINANCE).replace("35.0", "36.5").replace('Floor": 10000', 'Floor": 9000')
    with pytest.raises(FileFaults) as caught:
        leverage_brackets.requirements(raw.encode(), "binance", "b.json")
    assert caught.value.faults == [
        "b.json: ETHUSDT: bracket 2: floor 9000 is not the cap before, 10000",
        "b.json: ETHUSDT: bracket 2: cum 36.5 is not 0 + 9000 · (0.01 − 0.0065) = 31.5",
    ]


def test_a_table_that_falls_is_not_imported():
    raw = json.dumps(BINANCE).replace("0.01,", "0.005,").replace("35.0", "-15.0")
    with pytest.raises(FileFaults, match=r"maintenance_rate 0\.005 below 0\.0065: a rate falls"):
        leverage_brackets.requirements(raw.encode(), "binance", "b.json")


def test_a_number_that_is_none_is_named():
    raw = json.dumps(BINANCE).replace("0.0065", '"NaN"').replace("50000", "1e99")
    with pytest.raises(FileFaults) as caught:
        leverage_brackets.requirements(raw.encode(), "binance", "b.json")
    assert caught.value.faults == [
        "b.json: ETHUSDT: bracket 1: rate NaN is not a number",
        "b.json: ETHUSDT: bracket 2: cap has more than 30 digits",
    ]


TIERS = {
    "BTC/USDT:USDT": [
        {"floor": "0", "cap": "50000", "mmr": "0.004", "max_leverage": "125", "cum": "0.0"},
        {"floor": "50000", "cap": "600000", "mmr": "0.005", "max_leverage": "100", "cum": "50.0"},
    ],
    "ETHUSDT": [{"floor": 0, "cap": 10000, "mmr": 0.0065, "max_leverage": 75}],
}


def test_a_compact_table_of_tiers_says_the_same_as_the_form_of_ccxt(published):
    compact = {
        symbol: [
            {"floor": row["minNotional"], "cap": row["maxNotional"], "cum": row["info"]["cum"],
             "mmr": row["maintenanceMarginRate"], "max_leverage": row["maxLeverage"]}
            for row in table
        ]
        for symbol, table in json.loads(published, parse_float=str, parse_int=str).items()
    }  # fmt: skip
    raw = json.dumps(compact).encode()
    expected = leverage_brackets.rows(published, "ccxt", "tiers")
    assert leverage_brackets.rows(raw, "tiers", "tiers") == expected
    named = leverage_brackets.requirements(json.dumps(TIERS).encode(), "tiers", "b.json")
    assert list(named) == ["BTCUSDT", "ETHUSDT"]
    broken = json.dumps(TIERS).replace("50.0", "51.0").encode()
    with pytest.raises(FileFaults, match="BTCUSDT: bracket 2: cum 51 is not 0"):
        leverage_brackets.requirements(broken, "tiers", "b.json")


def test_rows_that_are_none_are_named_with_their_contract():
    table = {**TIERS, "BTCUSDT": [], "X/USDT:USDT": 3}
    table["ETHUSDT"] = [{"floor": 0, "cap": 1, "mmr": 0.1}, {**TIERS["ETHUSDT"][0], "cap": None}]
    with pytest.raises(FileFaults) as caught:
        leverage_brackets.requirements(json.dumps(table).encode(), "tiers", "b.json")
    assert caught.value.faults == [
        "b.json: ETHUSDT: bracket 1: Object missing required field `max_leverage`",
        "b.json: ETHUSDT: bracket 2: Expected `decimal`, got `null` - at `$.cap`",
        "b.json: BTCUSDT: BTCUSDT has its brackets already",
        "b.json: X/USDT:USDT: Expected `array`, got `int`",
    ]
    raw = json.dumps(BINANCE).replace('"notionalCap": 50000, ', "").encode()
    with pytest.raises(FileFaults, match="ETHUSDT: bracket 2: Object missing required field"):
        leverage_brackets.requirements(raw, "binance", "b.json")
    with pytest.raises(FileFaults) as caught:
        leverage_brackets.requirements(json.dumps(TIERS).encode(), "ccxt", "b.json")
    assert caught.value.faults == [
        "b.json: not brackets as ccxt writes them: BTC/USDT:USDT: bracket 1: "
        "Object missing required field `minNotional`"
    ]


@pytest.mark.parametrize("form", ["binance", "ccxt", "tiers"])
def test_what_is_no_table_is_told_so(form):
    with pytest.raises(FileFaults, match=f"not brackets as {form} writes them"):
        leverage_brackets.requirements(b'{"x": 3}', form, "b.json")


@pytest.mark.parametrize(
    ("ccxt", "name"),
    [("BTC/USDT:USDT", "BTCUSDT"), ("ETH/BTC:BTC", "ETHBTC"),
     ("BTC/USDT:USDT-241227", "BTCUSDT_241227")],
)  # fmt: skip
def test_a_contract_is_called_as_at_the_exchange(ccxt, name):
    assert leverage_brackets.contract_name(ccxt) == name


# --- what differs


def test_each_key_that_differs_is_named_with_both_values():
    before = profiles.read("dydx-v4")
    bracket = structs.replace(before.requirements["BTC"].brackets[0], initial_rate=D("0.03"))
    other = structs.replace(before.requirements["BTC"], brackets=(bracket,))
    after = structs.replace(
        before,
        requirements={**before.requirements, "BTC": other},
        trigger=structs.replace(before.trigger, stop_buffer=D("0.2")),
        volatility=profiles.read("default").volatility,
        conversion=(),
    )
    found = profiles.differences(before, after)
    assert [(one.key, one.before, one.after) for one in found if one.key != "volatility"] == [
        ("requirements.BTC.brackets[1].initial_rate", D("0.02"), D("0.03")),
        ("conversion", ("USDC",), ()),
        ("trigger.stop_buffer", D(0), D("0.2")),
    ]
    more = structs.replace(after.requirements["BTC"], brackets=(bracket, bracket))
    longer = structs.replace(after, requirements={**after.requirements, "BTC": more})
    (one,) = profiles.differences(after, longer)
    assert (one.key, len(one.before), len(one.after)) == ("requirements.BTC.brackets", 1, 2)
    (swing,) = (one for one in found if one.key == "volatility")
    assert swing.before is None
    assert swing.after["cap"] == 3
    assert profiles.differences(before, before) == []


# --- commands


def test_list_names_every_profile():
    text = said("profiles", "list")
    assert all(name in text for name in WANTED)
    assert (
        json.loads(said("profiles", "list", "--json"))["okx"]["requirements"]["BTC"]["measure"]
        == "size"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WANTED))
def test_show_prints_what_a_profile_says(name):
    text = said("profiles", "show", name)
    assert f'Profile "{name}"' in text
    assert "Leaves out:" in text
    assert json.loads(said("profiles", "show", name, "--json"))["name"] == name


def test_show_prints_the_symbols_asked_for():
    text = said("profiles", "show", "binance-usdm", "DOGEUSDT")
    assert "DOGEUSDT" in text
    assert "BTCUSDT" not in text.split("Sources:")[0]
    assert "has no entry for NOPE" in said("profiles", "show", "binance-usdm", "NOPE", code=1)


def test_diff_prints_keys_and_values():
    text = said("profiles", "diff", "dydx-v4", "hyperliquid")
    assert "requirements.BTC.maintenance_share" in text
    found = json.loads(said("profiles", "diff", "dydx-v4", "hyperliquid", "--json"))
    assert {"key": "liquidation.fee_rate", "before": "0.015", "after": "0"} in found
    assert said("profiles", "diff", "okx", "okx") == "The profiles say the same.\n"


def test_check_names_every_fault_of_every_file(tmp_path):
    for name, change in (("one", "at = 1.9"), ("two", "at = 0.9\nreset = 2")):
        (tmp_path / f"{name}.toml").write_text(SOUND.replace("at = 0.9", change))
    text = said("profiles", "check", "okx", tmp_path / "one.toml", tmp_path / "two.toml", code=1)
    assert "one.toml: cancel_orders: needs 0 <= reset < at < 1, has 0.7 and 1.9" in text
    assert "two.toml: cancel_orders: needs 0 <= reset < at < 1, has 2 and 0.9" in text
    assert said("profiles", "check", "okx") == 'okx: sound: profile "okx"\n'


def test_brackets_are_imported_from_a_file(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(BINANCE))
    text = said("profiles", "brackets", tmp_path / "b.json", "--format", "binance")
    assert text.splitlines()[:3] == [
        "[requirements]",
        "ETHUSDT.brackets = [",
        "    { cap = 10_000, maintenance_rate = 0.0065, max_leverage = 75 },",
    ]
    (tmp_path / "b.json").write_text(json.dumps(BINANCE).replace("35.0", "36.0"))
    assert "bracket 2: cum 36 is not" in said(
        "profiles", "brackets", tmp_path / "b.json", "--format", "binance", code=1
    )
