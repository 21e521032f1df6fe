"""Lending markets that are unsound, and what is said of them."""

from decimal import Decimal as D

import pytest

from consumers import profiles
from consumers.toml_file import FileFaults

SOUND = """
name = "sound"
numeraire = "USD"
conversion = ["USD"]

[collateral]
USD = {}
DAI = { haircut = 1, borrow_weight = 1.1 }

[trigger]
stop_buffer = 0

[lending]
repay = { rule = "close_factor" }
dust = { least = 100 }
bad_debt = { charge = ["fund", "lenders"] }

[lending.pools.WETH]
asset = "WETH"
rates = { base = 0.01, kink = 0.8, slope_low = 0.1 }
supply_accrual = { method = "linear" }
reserve_factor = 0.1
[lending.pools.WETH.collateral]
loan_to_value = 0.8
liquidation_threshold = 0.85
bonus = { rule = "fixed", rate = 0.1 }

[lending.pools.DAI]
asset = "DAI"
borrowable_in_isolation = true

[lending.pools.UNI]
asset = "UNI"
borrowable = false
isolation = { debt_ceiling = 1_000_000 }

[lending.pools.UNI.collateral]
loan_to_value = 0.5
liquidation_threshold = 0.7
bonus = { rule = "by_health", most = 0.2, least_share = 0.5, most_at = 0.9 }
ramp = { start = 0.75, until = 2_000_000, duration = 1_000_000 }

[lending.categories.ether]
borrowable = ["DAI"]

[lending.categories.ether.collateral]
WETH = { loan_to_value = 0.9, liquidation_threshold = 0.95, bonus = { rule = "by_threshold" } }
"""

AUCTION = """
name = "auction"
numeraire = "DAI"
conversion = ["DAI"]
collateral = { DAI = {} }

[lending.auction]
decay = { shape = "stair_step", interval = 60_000_000, cut = 0.99 }
reset = { after = 3_600_000_000, below = 0.4 }
in_flight = { limit = 100, collateral_limit = 50 }
most_resets = 3

[lending.pools.DAI]
asset = "DAI"

[lending.pools.WETH]
asset = "WETH"
borrowable = false

[lending.pools.WETH.collateral]
loan_to_value = 0.6
liquidation_threshold = 0.6
bonus = { rule = "fixed", rate = 0.13 }
"""


def said(text: str, old: str, new: str) -> list[str]:
    """Return what is said of a sound profile with one change."""
    assert text.count(old) == 1, old
    with pytest.raises(FileFaults) as caught:
        profiles.parse(text.replace(old, new).encode(), "p.toml")
    assert all(fault.startswith("p.toml: ") for fault in caught.value.faults)
    return [
        fault.removeprefix("p.toml: ").removeprefix("lending: ") for fault in caught.value.faults
    ]


CLOSE = 'repay = { rule = "close_factor" }'
WETH = "loan_to_value = 0.8\nliquidation_threshold = 0.85"
BY_HEALTH = 'rule = "by_health", most = 0.2, least_share = 0.5, most_at = 0.9'
RATES = "base = 0.01, kink = 0.8, slope_low = 0.1"
SUPPLY = 'supply_accrual = { method = "linear" }'
DAI = "borrowable_in_isolation = true"
RAMP = "start = 0.75, until = 2_000_000, duration = 1_000_000"
ETHER = "loan_to_value = 0.9, liquidation_threshold = 0.95"
FIXED = 'bonus = { rule = "fixed", rate = 0.1 }'
OWN = "pools WETH: collateral"
REPAYMENTS = "close_factor, target_health, target_ltv, full, whole_account"
CAT = "categories ether: collateral WETH"

FAULTS = [
    # Pools: names, rates, accrual, suppliers, amounts.
    ('[lending.pools.DAI]\nasset = "DAI"', '[lending.pools."D/AI"]\nasset = "DAI"', [
        "pools D/AI: name: not 1 to 64 of A-Z, a-z, 0-9, point, line and underscore",
        "categories ether: borrowable DAI: no such pool",
    ]),
    ('asset = "DAI"', 'asset = ""', ["pools DAI: asset: none given"]),
    (RATES, "kink = 1.2", ["pools WETH: rates: kink 1.2 not in (0, 1]"]),
    (RATES, "kink = 0", ["pools WETH: rates: kink 0 not in (0, 1]"]),
    (RATES, "base = -0.01", ["pools WETH: rates: base -0.01 not in [0, 100): indices never fall"]),
    (RATES, "slope_low = -1",
     ["pools WETH: rates: slope_low -1 not in [0, 100): indices never fall"]),
    (RATES, "slope_high = 100",
     ["pools WETH: rates: slope_high 100 not in [0, 100): indices never fall"]),
    (RATES, "step = 0", ["pools WETH: rates: step 0 not in (0, 1)"]),
    (SUPPLY, "accrual = { period = 1 }",
     ["pools WETH: accrual: period 1 µs not in a second to 400 days"]),
    (SUPPLY, "accrual = { period = 1_000_000 }",
     ["pools WETH: rates: 283824000 % a year: a slip of the pen"]),
    (DAI, f"{DAI}\nsupply_rates = {{ base = 0.02 }}\nsupply_accrual = {{ period = 1_000_000 }}",
     ["pools DAI: supply_rates: 63072000 % a year: a slip of the pen"]),
    (SUPPLY, "accrual = { index_step = 1 }", ["pools WETH: accrual: index_step 1 not in (0, 1)"]),
    (SUPPLY, "accrual = { growth_step = -1 }",
     ["pools WETH: accrual: growth_step -1 not in (0, 1)"]),
    (SUPPLY, "supply_rates = { kink = 2 }", [
        "pools WETH: supply_rates: kink 2 not in (0, 1]",
        "pools WETH: reserve_factor 0.1: given beside supply_rates: the reserve gets what they "
        "leave",
    ]),
    (SUPPLY, "supply_accrual = { period = 1_000_000 }", [
        "pools WETH: supply_accrual: period 1000000 µs is not the accrual's 31536000000000: "
        "suppliers earn of the same rate",
    ]),
    (SUPPLY, 'accrued_by = "venue"',
     ['pools WETH: rates: given, and accrued_by "venue": indices come as events']),
    (DAI, f'{DAI}\naccrued_by = "venue"\nsupply_rates = {{}}',
     ['pools DAI: supply_rates: given, and accrued_by "venue": indices come as events']),
    ("reserve_factor = 0.1", "reserve_factor = 1.1",
     ["pools WETH: reserve_factor 1.1 not in [0, 1]"]),
    (DAI, f"{DAI}\nsupply_cap = -1", ["pools DAI: supply_cap -1 negative"]),
    (DAI, f"{DAI}\nborrow_cap = -1", ["pools DAI: borrow_cap -1 negative"]),
    (DAI, f"{DAI}\nleast_debt = -1", ["pools DAI: least_debt -1 negative"]),
    (DAI, f"{DAI}\nborrowable = false", [
        "pools DAI: borrowable: no, and no collateral either: nothing can be done with it",
        "categories ether: borrowable DAI: the pool is not",
    ]),
    ("debt_ceiling = 1_000_000", "debt_ceiling = 0",
     ["pools UNI: isolation: debt_ceiling 0 not positive"]),
    (DAI, "borrow_cap = 1", [
        "pools UNI: isolation: no pool is borrowable_in_isolation: nothing could be borrowed",
    ]),
    (DAI, f"{DAI}\nisolation = {{ debt_ceiling = 1 }}",
     ["pools DAI: isolation: without collateral terms: a supply backs nothing"]),
    # Terms: order, bonus, ramp.
    (WETH, "loan_to_value = 0.9\nliquidation_threshold = 0.85", [
        f"{OWN}: loan_to_value 0.9 above liquidation_threshold 0.85: a loan could be liquidated as "
        "it is opened",
    ]),
    (WETH, "loan_to_value = -0.1\nliquidation_threshold = 0.85",
     [f"{OWN}: loan_to_value -0.1 negative"]),
    (WETH, "loan_to_value = 0.8\nliquidation_threshold = 1.01",
     [f"{OWN}: liquidation_threshold 1.01 not in (0, 1]"]),
    (FIXED, f"{FIXED}\nprotocol_fee = 2", [f"{OWN}: protocol_fee 2 not in [0, 1]"]),
    (FIXED, f"{FIXED}\ndepth = 0", [f"{OWN}: depth 0 not positive"]),
    ("rate = 0.1 ", "rate = -0.1 ", [f"{OWN}: bonus: rate -0.1 not in [0, 1)"]),
    (BY_HEALTH, 'rule = "by_health", most = 0.2, least_share = 1.5',
     ["pools UNI: collateral: bonus: least_share 1.5 not in [0, 1]"]),
    (BY_HEALTH, 'rule = "by_health", most = 0.2, most_at = 1',
     ["pools UNI: collateral: bonus: most_at 1 not in [0, 1)"]),
    (BY_HEALTH, 'rule = "by_health", most = 1',
     ["pools UNI: collateral: bonus: most 1 not in [0, 1)"]),
    (BY_HEALTH, 'rule = "by_health", most = 0.2, step = 0',
     ["pools UNI: collateral: bonus: step 0 not in (0, 1)"]),
    (BY_HEALTH, 'rule = "by_threshold", cursor = 1',
     ["pools UNI: collateral: bonus: cursor 1 not in [0, 1)"]),
    (BY_HEALTH, 'rule = "discount", most = 1.5',
     ["pools UNI: collateral: bonus: most 1.5 not in [0, 1)"]),
    (RAMP, "start = 0.7, until = 1, duration = 1", [
        "pools UNI: collateral: ramp: start 0.7 not above liquidation_threshold 0.7: it ramps down",
    ]),
    (RAMP, "start = 1.5, until = 1, duration = 1",
     ["pools UNI: collateral: ramp: start 1.5 above 1"]),
    (RAMP, "start = 0.75, until = 1, duration = 0",
     ["pools UNI: collateral: ramp: duration 0 not positive"]),
    (RAMP, "start = 0.75, until = 0, duration = 1",
     ["pools UNI: collateral: ramp: until 0 not positive"]),
    # A liquidation at the threshold that lowers health.
    ("rate = 0.1", "rate = 0.18", [
        f"{OWN}: liquidation_threshold 0.85 · (1 + bonus 0.18) = 1.003, above 1: a liquidation at "
        "the threshold lowers health",
    ]),
    (BY_HEALTH, 'rule = "by_health", most = 0.45', [
        "pools UNI: collateral: liquidation_threshold 0.7 · (1 + bonus 0.45) = 1.015, above 1: a "
        "liquidation at the threshold lowers health",
        "pools UNI: collateral: ramp: start 0.75 · (1 + bonus 0.45) = 1.0875, above 1: a "
        "liquidation at the threshold lowers health",
    ]),
    (RAMP, "start = 0.95, until = 1, duration = 1", [
        "pools UNI: collateral: ramp: start 0.95 · (1 + bonus 0.1) = 1.045, above 1: a "
        "liquidation at the threshold lowers health",
    ]),
    ('bonus = { rule = "by_threshold" }', 'bonus = { rule = "fixed", rate = 0.17 }', [
        f"{CAT}: liquidation_threshold 0.95 · (1 + bonus 0.17) = 1.1115, above borrow_weight "
        "1.1: a liquidation at the threshold lowers health",
    ]),
    # Categories.
    ('borrowable = ["DAI"]', 'borrowable = ["USDC"]',
     ["categories ether: borrowable USDC: no such pool"]),
    ('borrowable = ["DAI"]', 'borrowable = ["UNI"]',
     ["categories ether: borrowable UNI: the pool is not"]),
    ('borrowable = ["DAI"]', 'borrowable = ["DAI", "DAI"]',
     ["categories ether: borrowable: names a pool twice"]),
    (f"WETH = {{ {ETHER}", f"rETH = {{ {ETHER}",
     ["categories ether: collateral rETH: no such pool"]),
    (f'WETH = {{ {ETHER}, bonus = {{ rule = "by_threshold" }} }}', "",
     ["categories ether: collateral: none given"]),
    # How much.
    (CLOSE, 'repay = { rule = "close_factor", share = 0 }', ["repay: share 0 not in (0, 1]"]),
    (CLOSE, 'repay = { rule = "close_factor", full_at = 2 }', ["repay: full_at 2 not in [0, 1]"]),
    (CLOSE, 'repay = { rule = "close_factor", full_below = -1 }',
     ["repay: full_below -1 negative"]),
    (CLOSE, 'repay = { rule = "target_health", target = 0.999 }',
     ["repay: target 0.999 below 1, where liquidation stops"]),
    ("least = 100", "least = 0", ["dust: least 0 not positive"]),
    (CLOSE, 'repay = { rule = "whole_account" }', [
        "repay: whole_account takes all collateral against one debt, and 2 pools are borrowable: "
        "WETH, DAI",
        "dust: given, and auctions or whole accounts leave by rules of their own",
    ]),
    (CLOSE, f"{CLOSE}\nvalue_step = 0", ["value_step 0 not positive"]),
    ('["fund", "lenders"]', '["fund", "fund"]', ["bad_debt: charge: a layer is given twice"]),
    # Form: which of several rules a table is.
    (CLOSE, 'repay = { rule = "half" }', [
        f"lending.repay.rule: 'half' is none of {REPAYMENTS}",
    ]),
    (CLOSE, "repay = { share = 0.5 }", [
        f"lending.repay.rule: missing; known: {REPAYMENTS}",
    ]),
    (CLOSE, 'repay = "full"', ["lending.repay: expected a table, got 'full'"]),
    (CLOSE, 'repay = { rule = "close_factor", shares = 1 }',
     ["lending.repay.shares: unknown key; did you mean share?"]),
    ("rate = 0.1", 'rate = "x"',
     ["lending.pools.WETH.collateral.bonus.rate: Invalid decimal string, here 'x'"]),
    (FIXED, "", ["lending.pools.WETH.collateral.bonus: missing"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "faults"), FAULTS, ids=[one[-1][0][:80] for one in FAULTS])
def test_an_unsound_lending_market_is_refused_in_words(old, new, faults):
    assert said(SOUND, old, new) == faults


AUCTION_FAULTS = [
    ("cut = 0.99", "cut = 1", "decay: cut 1 not in (0, 1): the price has to fall"),
    ("interval = 60_000_000", "interval = 0", "decay: interval 0 not positive"),
    ('shape = "stair_step"', 'shape = "exponential"',
     "decay: interval 60000000 µs not a second: an exponential price is cut each second"),
    ('shape = "stair_step", interval = 60_000_000, cut = 0.99', 'shape = "linear", duration = 0',
     "decay: duration 0 not positive"),
    ('shape = "stair_step", interval = 60_000_000, cut = 0.99', 'shape = "linear", duration = 9',
     "reset: after 3600000000 µs beyond the duration 9: it stands at nothing"),
    ("cut = 0.99", "cut = 0.99, step = 1", "decay: step 1 not in (0, 1)"),
    ("after = 3_600_000_000", "after = 0", "reset: after 0 µs below a second"),
    ("below = 0.4", "below = 1", "reset: below 1 not in [0, 1)"),
    ("most_resets = 3", "start_factor = 0", "start_factor 0 not positive"),
    ("most_resets = 3", "pay = { flat = -1 }", "pay: flat -1 negative"),
    ("most_resets = 3", "pay = { share = 1 }", "pay: share 1 not in [0, 1)"),
    ("most_resets = 3", "most_resets = -1", "most_resets -1 negative"),
    ("collateral_limit = 50", "collateral_limit = 0", "in_flight: collateral_limit 0 not positive"),
    ("collateral_limit = 50", "collateral_limit = 500",
     "in_flight: collateral_limit 500 above limit 100"),
    ('rule = "fixed", rate = 0.13', 'rule = "discount", most = 0.1',
     "bonus of pools WETH: collateral: not fixed: the penalty is part of what is raised"),
    ("rate = 0.13 }", "rate = 0.13 }\nprotocol_fee = 0.1",
     "protocol_fee of pools WETH: collateral: not 0: the penalty is the reserve's"),
    ("borrowable = false\n", "",
     "borrowable: so is pools WETH: collateral: a lot on auction must be there"),
    ("[lending.auction]", '[lending.repay]\nrule = "close_factor"\n[lending.auction]',
     "repay: given, and an auction raises what is owed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "fault"), AUCTION_FAULTS, ids=[one[-1] for one in AUCTION_FAULTS]
)
def test_an_unsound_auction_is_refused_in_words(old, new, fault):
    found = said(AUCTION, old, new)
    assert found == [f"auction: {fault}"]


def test_the_markets_that_the_faults_are_planted_in_are_sound():
    found = profiles.parse(SOUND.encode(), "p.toml")
    assert found.lending is not None
    assert found.lending.pools["UNI"].collateral.bonus.most == D("0.2")
    assert profiles.parse(AUCTION.encode(), "p.toml").lending.auction is not None


def test_a_market_without_pools_is_refused():
    head = SOUND.partition("[lending]")[0]
    with pytest.raises(FileFaults, match="lending: pools: none given"):
        profiles.parse(f"{head}[lending]\npools = {{}}\n".encode(), "p.toml")


def test_a_target_of_health_that_cannot_be_reached_is_refused():
    aims = SOUND.replace(CLOSE, 'repay = { rule = "target_health", target = 1.05 }')
    profiles.parse(aims.encode(), "p.toml")
    deep = 'bonus = { rule = "by_health", most = 0.35, least_share = 0.1 }'
    assert said(aims, 'bonus = { rule = "by_threshold" }', deep) == [
        "repay: target 1.05 not above liquidation_threshold · (1 + most bonus) = 1.2825 of "
        "categories ether: collateral WETH: out of reach"
    ]
    sharp = 'bonus = { rule = "discount", most = 0.5 }'
    assert said(aims, 'bonus = { rule = "by_threshold" }', sharp) == [
        "repay: target 1.05 not above liquidation_threshold · (1 + most bonus) = 1.9 of "
        "categories ether: collateral WETH: out of reach"
    ]


def test_a_target_below_where_liquidation_stops_is_refused():
    aims = SOUND.replace(CLOSE, 'repay = { rule = "target_health", target = 1.05 }')
    assert said(aims, "stop_buffer = 0", "stop_buffer = 0.1") == [
        "repay: target 1.05 below 1.1, where liquidation stops"
    ]


def test_a_target_of_loan_to_value_that_does_not_heal_or_cannot_be_reached_is_refused():
    aims = SOUND.replace(CLOSE, 'repay = { rule = "target_ltv", target = 0.7 }')
    profiles.parse(aims.encode(), "p.toml")
    assert said(aims, "target = 0.7", "target = 0.8") == [
        "repay: target 0.8 above liquidation_threshold 0.7 of pools UNI: collateral: what is "
        "repaid does not heal"
    ]
    assert said(aims, "target = 0.7", "target = 0.7, full_above = 1.5") == [
        "repay: full_above 1.5 not in [0, 1]"
    ]
    steep = 'bonus = { rule = "by_health", most = 0.5, least_share = 0.1 }'
    assert said(aims, 'bonus = { rule = "by_threshold" }', steep) == [
        "repay: target · (1 + most bonus) = 1.05 of categories ether: collateral WETH not "
        "below 1: out of reach"
    ]


def test_faults_of_form_hide_none_of_sense():
    text = SOUND.replace('rule = "fixed", rate = 0.1', 'rule = "fixd", rate = 9')
    text = text.replace("kink = 0.8", "kink = 7").replace("least = 100", "least = 0")
    with pytest.raises(FileFaults) as caught:
        profiles.parse(text.encode(), "p.toml")
    assert caught.value.faults == [
        "p.toml: lending.pools.WETH.collateral.bonus.rule: 'fixd' is none of fixed, by_health, "
        "by_threshold, discount",
        "p.toml: lending: pools WETH: rates: kink 7 not in (0, 1]",
        "p.toml: lending: dust: least 0 not positive",
    ]
