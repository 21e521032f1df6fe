"""Rules of how groups are closed that are unsound, and what is said of them."""

import pytest

from consumers import profiles
from consumers.toml_file import FileFaults
from engine import profile_faults
from engine.liquidation_profile import LeastReduction, LiquidationRule

SOUND = """
name = "sound"
numeraire = "USDT"
conversion = ["USDT"]
collateral = { USDT = {} }

[requirements."*"]
brackets = [{ cap = 10, initial_rate = 0.02, maintenance_rate = 0.01 }]

[liquidation]
toxic = "halt"
legs = "cost"
slippage = { BTC = 0.001, UNKNOWN = 0.05 }
fee_rate = 0.02
fee_adaptive = 0.95
fee_to_venue = 0.25
fee_to_liquidator = 0.75

[liquidation.sizing]
rule = "least"
ramp = { initial = 0.1, duration = 60_000_000, whole_below = 50 }

[liquidation.cooldown]
time = 30_000_000

[liquidation.price]
rule = "bounded"
slippage = 0.01
"""

RAMP = "ramp = { initial = 0.1, duration = 60_000_000, whole_below = 50 }"
SIZING = f'rule = "least"\n{RAMP}'
PRICE = 'rule = "bounded"\nslippage = 0.01'
SHARES = ("fee_adaptive", "fee_to_venue", "fee_to_liquidator")
TIME = "time = 30_000_000"
FALLING = 'rule = "auction"\nduration = 20_000_000\npremium = 0.02'


COST = 'legs = "cost"'


def faults_with(old: str, new: str) -> list[str]:
    """Return what is said of the sound profile with one change."""
    assert SOUND.count(old) == 1, old
    with pytest.raises(FileFaults) as caught:
        profiles.parse(SOUND.replace(old, new).encode(), "p.toml")
    return [fault.removeprefix("p.toml: liquidation: ") for fault in caught.value.faults]


FAULTS = [
    # How much.
    ("initial = 0.1", "initial = -0.1", "sizing: ramp: initial -0.1 not in [0, 1)"),
    ("initial = 0.1", "initial = 1", "sizing: ramp: initial 1 not in [0, 1)"),
    ("duration = 60_000_000", "duration = 0",
     "sizing: ramp: duration 0 µs not in a millisecond to a day"),
    ("duration = 60_000_000", "duration = 90_000_000_000",
     "sizing: ramp: duration 90000000000 µs not in a millisecond to a day"),
    ("whole_below = 50", "whole_below = -1", "sizing: ramp: whole_below -1 negative"),
    (SIZING, 'rule = "portion"\nshare = 0', "sizing: share 0 not in (0, 1]"),
    (SIZING, 'rule = "portion"\nshare = 1.2', "sizing: share 1.2 not in (0, 1]"),
    (SIZING, 'rule = "portion"\nshare = 0.2\nleast = -5', "sizing: least -5 negative"),
    (SIZING, 'rule = "portion"\nshare = 0.2\nwhole_below = -5', "sizing: whole_below -5 negative"),
    (TIME, "time = 999", "cooldown: time 999 µs not in a millisecond to a day"),
    (TIME, TIME + "\ncritical = 1", "cooldown: critical 1 not in [0, 1): at 1 no group ever waits"),
    (SIZING, 'rule = "whole_legs"',
     "cooldown: given, and sizing closes no part after which to wait"),
    (SIZING, 'rule = "everything"',
     "cooldown: given, and sizing closes no part after which to wait"),
    (TIME, TIME + "\ncritical = -0.1",
     "cooldown: critical -0.1 not in [0, 1): at 1 no group ever waits"),
    # At what price.
    (PRICE, 'rule = "bounded"\nslippage = 1', "price: slippage 1 not in [0, 1)"),
    (PRICE, 'rule = "ramp"\nstart = -0.1\nend = 0.1\nduration = 1000',
     "price: start -0.1 not in [0, 1)"),
    (PRICE, 'rule = "ramp"\nstart = 0\nend = 1\nduration = 1000', "price: end 1 not in [0, 1)"),
    (PRICE, 'rule = "ramp"\nstart = 0.02\nend = 0.01\nduration = 1000',
     "price: end 0.01 not above start 0.02: the limit has to give way"),
    (PRICE, 'rule = "ramp"\nstart = 0\nend = 0.01\nduration = 1',
     "price: duration 1 µs not in a millisecond to a day"),
    (PRICE, FALLING + "\ndecay = { duration = 0 }", "price: decay: duration 0 not positive"),
    (PRICE, FALLING + '\ndecay = { shape = "stair_step", cut = 1 }',
     "price: decay: cut 1 not in (0, 1): the price has to fall"),
    (PRICE, FALLING.replace("20_000_000", "0") + "\ndecay = { duration = 60_000_000 }",
     "price: duration 0 µs not in a millisecond to a day"),
    (PRICE, FALLING.replace("0.02", "1") + "\ndecay = { duration = 60_000_000 }",
     "price: premium 1 not in [0, 1)"),
    (PRICE, 'rule = "fillable"\nadjustment = 1\nspread = 100',
     "price: spread 100 not in (0, 100)"),
    (PRICE, 'rule = "fillable"\nadjustment = 0\nspread = 1',
     "price: adjustment 0 not in (0, 100)"),
    (PRICE, 'rule = "fillable"\nadjustment = 1\nspread = 0',
     "price: spread 0 not in (0, 100)"),
    (PRICE, 'rule = "ramp"\nstart = 0.02\nend = 0.02\nduration = 1000',
     "price: end 0.02 not above start 0.02: the limit has to give way"),
    (PRICE, FALLING + '\ndecay = { shape = "stair_step", cut = 0.9, interval = 20_000_000 }',
     "price: duration 20000000 µs not above the interval of decay: the price never falls"),
    # What it costs.
    ("BTC = 0.001", "BTC = 1", "slippage BTC: 1 not in [0, 1)"),
    ("fee_rate = 0.02", "fee_rate = 0.51", "fee_rate 0.51 not in [0, 0.5]"),
    ("fee_rate = 0.02", "fee_rate = -0.02", "fee_rate -0.02 not in [0, 0.5]"),
    ("fee_adaptive = 0.95", "fee_adaptive = 2", "fee_adaptive 2 not in (0, 1]"),
    ("fee_adaptive = 0.95", "fee_adaptive = 0", "fee_adaptive 0 not in (0, 1]"),
    ("fee_to_venue = 0.25", "fee_to_venue = -0.25", "fee_to_venue -0.25 not in [0, 1]"),
    ("fee_to_liquidator = 0.75", "fee_to_liquidator = 0.8",
     "fee_to_venue, fee_to_liquidator: 1.05 of the fee together, more than there is"),
    # How fast, and what becomes of what would lower health.
    (COST, COST + "\npace = { per_event = 3, per_second = 2 }",
     "pace: per_event 3 above per_second 2: it never binds"),
    (COST, COST + "\nfuses = { max_jump = 0.0009 }",
     "fuses: max_jump 0.0009 below 0.001: most prices would be held"),
    ('toxic = "halt"', 'toxic = "take_over"',
     "toxic take_over, and waterfall: takers names nobody who takes"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS, ids=[fault for *_, fault in FAULTS])
def test_an_unsound_rule_is_refused_in_words(old, new, fault):
    assert faults_with(old, new) == [fault]


def test_the_profile_that_the_faults_are_planted_in_is_sound():
    found = profiles.parse(SOUND.encode(), "p.toml").liquidation
    assert isinstance(found.sizing, LeastReduction)
    assert found.sizing.ramp is not None
    assert found.slippage.keys() == {"BTC", "UNKNOWN"}


@pytest.mark.parametrize(
    "price",
    [
        'rule = "ramp"\nstart = 0.01\nend = 0.02\nduration = 86_400_000_000',
        FALLING + "\ndecay = { duration = 60_000_000 }",
        FALLING + '\ndecay = { shape = "exponential", cut = 0.99 }',
        'rule = "fillable"\nadjustment = 2\nspread = 0.5',
        'rule = "bankruptcy"',
    ],
)
def test_every_way_to_set_a_limit_has_a_sound_rule(price):
    assert profiles.parse(SOUND.replace(PRICE, price).encode(), "p.toml").liquidation.price


@pytest.mark.parametrize(
    "sizing",
    ['rule = "everything"', 'rule = "whole_legs"', 'rule = "portion"\nshare = 1', 'rule = "least"'],
)
def test_every_way_to_size_has_a_sound_rule(sizing):
    written = SOUND.replace(SIZING, sizing).replace(f"[liquidation.cooldown]\n{TIME}\n", "")
    assert profiles.parse(written.encode(), "p.toml").liquidation.sizing


def test_a_fee_of_nothing_is_not_shared():
    """Each share of it is told by itself."""
    told = [f"{field}: given, and fee_rate is 0" for field in SHARES]
    assert faults_with("fee_rate = 0.02", "fee_rate = 0") == told


@pytest.mark.parametrize("sizing", ["portion", "least", "lower_tier"])
def test_a_cooldown_follows_whatever_closes_a_part(sizing):
    share = "\nshare = 0.2" if sizing == "portion" else ""
    written = SOUND.replace(SIZING, f'rule = "{sizing}"{share}')
    assert profiles.parse(written.encode(), "p.toml").liquidation.cooldown is not None


def test_what_a_profile_does_not_say_is_sound_in_every_shipped_profile():
    for name in profiles.margined():
        assert profile_faults.faults(profiles.read(name)) == []
    assert LiquidationRule().cooldown is None
