"""Rules files: the example is sound, and every fault of a broken one is named at once."""

import pickle
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from consumers import rules
from consumers.control import WouldBeRefused, changes
from consumers.toml_file import FileFaults
from engine import profile
from engine.events import (
    ControlEvent,
    FundMoved,
    InstrumentListed,
    ProfileChanged,
    Recovered,
    WrittenOff,
)
from engine.liquidation_profile import LiquidationRule

EXAMPLE = Path(__file__).parents[1] / "deploy" / "rules.toml"


def faults(*changes: tuple[str, str]) -> list[str]:
    """Return what is said of the example after `changes`, without the file's name."""
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    with pytest.raises(FileFaults) as caught:
        rules.parse(text.encode(), "venue.toml")
    assert all(fault.startswith("venue.toml: ") for fault in caught.value.faults)
    return [fault.removeprefix("venue.toml: ") for fault in caught.value.faults]


def test_the_example_is_sound_and_exact() -> None:
    found = rules.read(EXAMPLE)
    assert found.perpetuals[0].taker_fee == Decimal("0.0005")
    brackets = found.profile.requirements["BTC-PERP"].brackets
    assert brackets[0].maintenance_rate == Decimal("0.004")


def test_every_default_of_the_example_is_spelt_out() -> None:
    text = EXAMPLE.read_text()
    kinds = (
        profile.Profit,
        profile.Trigger,
        profile.Entry,
        profile.Threshold,
        LiquidationRule,
        profile.PriceSources,
    )
    for kind in kinds:
        for field in structs.fields(kind):
            # What is none by default is a rule that the example does without.
            assert field.default is None or f"\n{field.name} = " in text, field.name


def test_events_go_out_profile_first_then_assets_then_derivatives_then_fund() -> None:
    sent = rules.events(rules.read(EXAMPLE), time=7)
    assert isinstance(sent[0], ProfileChanged)
    listed = [event.instrument.name for event in sent if isinstance(event, InstrumentListed)]
    assert listed == ["USDT", "BTC", "ETH", "BTC-PERP", "BTCUSD-PERP", "ETH-25DEC26"]
    assert sent[-1] == FundMoved(
        time=7, shard=0, asset="USDT", amount=Decimal(1_000_000), sequence=1
    )
    assert {event.time for event in sent} == {7}


def test_faults_of_form_and_of_sense_are_named_together() -> None:
    said = faults(
        ("tick = 0.5", "tik = 0.5"),
        ("haircut = 0.1,", "haircut = nan,"),
        ("{ cap = 5,", "{ cap = true,"),
        ("reset = 0.7 ", 'reset = "much"'),
        ("amount = 1_000_000\n", "amount = 0.00000001\n"),
        ("tick = 0.1", "tick = 0.001"),
    )
    cap = "profile.requirements.BTCUSD-PERP.brackets[1].cap"
    assert said == [
        "perpetuals[BTCUSD-PERP].tik: unknown key; did you mean tick?",
        "perpetuals[BTCUSD-PERP].tick: missing",
        f"{cap}: Expected `decimal`, got `bool`, here True",
        "profile.collateral.ETH.haircut: NaN is not a number",
        "profile.margin_call.reset: Invalid decimal string, here 'much'",
        "perpetuals[BTC-PERP]: tick 0.001: finer than price_decimals 2",
        "fund[1].amount: 0.00000001 has more than 6 decimals",
    ]


def test_a_fault_of_form_hides_none_of_sense_and_makes_none() -> None:
    said = faults(
        ("largest = 21_000_000", "largest = nan"),
        ("decimals = 6             # of", "decimals = 19 # of"),
        ("lot = 0.001 ", "lot = -1 "),
        ('funding = "venue"              #', 'funding = "none" #'),
        ('style = "inverse"', "settel = 1\nstyle = 3"),
        ("tick = 0.5", 'tick = "much"'),
        ("lot = 1\n", "lot = 0\n"),
        ("{ cap = 5,", "{ cap = true,"),
        ("{ cap = 500,", "{ cap = -500,"),
        ("{ cap = 100_000, maintenance_rate = 0.01,", "{ cap = 0, maintenance_rate = nan,"),
        ("\nat = 0.8 ", '\nat = "x" '),
        ("order_ttl = 5_000_000 ", "order_ttl = 0 "),
        ("shard = 0", 'shard = "x"'),
        ("sequence = 1\n", "sequence = -1\n"),
        ('numeraire = "USDT"', "numeraire = 1"),
    )
    cap = "profile.requirements.BTCUSD-PERP.brackets[1].cap"
    assert said == [
        "assets[BTC].largest: NaN is not a number",
        "perpetuals[BTC-PERP].funding: 'none' is none of venue, engine",
        "perpetuals[BTCUSD-PERP].settel: unknown key; did you mean settle?",
        "perpetuals[BTCUSD-PERP].style: Expected `str`, got `int`, here 3",
        "perpetuals[BTCUSD-PERP].tick: Invalid decimal string, here 'much'",
        "profile.numeraire: Expected `str`, got `int`, here 1",
        f"{cap}: Expected `decimal`, got `bool`, here True",
        "profile.requirements.ETH-25DEC26.brackets[1].maintenance_rate: NaN is not a number",
        "profile.margin_call.at: Invalid decimal string, here 'x'",
        "fund[1].shard: Expected `int`, got `str`, here 'x'",
        "assets[USDT]: price_decimals 19: not in 0..18",
        "perpetuals[BTC-PERP]: lot -1: not positive",
        "perpetuals[BTCUSD-PERP]: lot 0: not positive",
        "profile: requirements BTCUSD-PERP: bracket 3: cap -500 not positive",
        "profile: requirements BTCUSD-PERP: bracket 3: cap -500 not above 50",
        "profile: requirements ETH-25DEC26: bracket 1: cap 0 not positive",
        "profile: liquidation: order_ttl 0 µs not in a millisecond to an hour",
        "fund[1].sequence: -1 is negative",
    ]


ONE_FAULT = [
    ('numeraire = "USDT"', 'numeraire = "USD"', "profile.numeraire: USD is not among the assets"),
    ('settle = "BTC"', 'settle = "XBT"', "perpetuals[BTCUSD-PERP].settle: XBT is not among"),
    ("{ cap = 5,", "{ cap = 60,", "requirements BTCUSD-PERP: bracket 2: cap 50 not above 60"),
    ("ETH-25DEC26.b", "ETH-25DEC25.b", "futures[ETH-25DEC26]: profile.requirements and profile."),
    ("ETH-25DEC26.b", "ETH-25DEC25.b", "requirements.ETH-25DEC25: nothing is listed under that"),
    ("ETH = { haircut", "ETC = { haircut", "profile.collateral.ETC: not among the assets"),
    ('{ ETH = "', '{ ETC = "', "profile.prices.symbols.ETC: nothing is listed under that name"),
    ('name = "ETH"', 'name = "BTC"', "BTC: listed 2 times"),
    ("stop_buffer = 0.1 ", "stop_buffer = 11 ", "trigger: stop_buffer 11 not in [0, 10)"),
    ("shard = 0", "shard = -1", "fund[1].shard: -1 is negative"),
    ("amount = 1_000_000\n", "amount = 0\n", "fund[1].amount: zero"),
    ("[profile.trigger]", "[trigger]", "trigger: unknown key"),
    ("sequence = 1\n", "sequence = -1\n", "fund[1].sequence: -1 is negative"),
    ("sequence = 1\n", f"sequence = {2**53}\n", f"fund[1].sequence: {2**53} is not below 2^53"),
    (
        "multiplier = 100 ",
        "multiplier = 1e-40 ",
        "perpetuals[BTCUSD-PERP].multiplier: has more than 30 digits",
    ),
    ("expiry = 1_", "expiry = -1_", "futures[ETH-25DEC26]: expiry: -1798185600000000 is not in"),
    ('[[assets]]\nname = "USDT"', "[[assets]]\nname = 3", "assets[1].name: Expected `str`"),
]


@pytest.mark.parametrize(("old", "new", "said"), ONE_FAULT)
def test_a_fault_is_named_with_its_key(old: str, new: str, said: str) -> None:
    assert any(said in fault for fault in faults((old, new)))


def test_a_deposit_must_come_after_the_last_one_of_its_fund() -> None:
    again = 'sequence = 1\n[[fund]]\nshard = 0\nasset = "USDT"\namount = 5\nsequence = 1\n'
    assert faults(("sequence = 1\n", again)) == [
        "fund[2].sequence: 1 does not come after 1 of that shard"
    ]


LISTING = """
profile = "{}"
[[assets]]
name = "USDT"
decimals = 6
largest = 1_000_000
[[perpetuals]]
name = "BTC-PERP"
underlying = "BTC"
settle = "USDT"
size_decimals = 3
price_decimals = 2
tick = 0.1
lot = 0.001
largest_size = 1_000
"""


TREASURY = """
[[fund]]
shard = 0
asset = "USDT"
amount = 5
sequence = 4
fund = "BTC-PERP"

[[recovered]]
shard = 0
asset = "USDT"
market = "BTC-PERP"
amount = 40
sequence = 2

[[written_off]]
shard = 0
asset = "USDT"
market = "BTC-PERP"
amount = 4.45
sequence = 3
"""


def treasury() -> rules.Rules:
    """Return the example with a deposit into a market's fund, and bad debt settled."""
    return rules.parse((EXAMPLE.read_text() + TREASURY).encode(), "venue.toml")


def test_what_moves_a_treasury_goes_out_in_one_sequence() -> None:
    carried = {"time": 7, "shard": 0, "asset": "USDT"}
    assert rules.events(treasury(), time=7)[-4:] == [
        FundMoved(amount=Decimal(1_000_000), sequence=1, **carried),
        Recovered(market="BTC-PERP", amount=Decimal(40), sequence=2, **carried),
        WrittenOff(market="BTC-PERP", amount=Decimal("4.45"), sequence=3, **carried),
        FundMoved(amount=Decimal(5), sequence=4, fund="BTC-PERP", **carried),
    ]


def test_a_treasury_is_moved_once() -> None:
    before = rules.events(rules.read(EXAMPLE), time=7)
    sent = changes(rules.events(treasury(), time=8), before)
    assert [type(event) for event in sent] == [Recovered, WrittenOff, FundMoved]
    assert changes(rules.events(treasury(), time=9), [*before, *sent]) == []
    other = EXAMPLE.read_text() + TREASURY.replace("amount = 40", "amount = 41")
    with pytest.raises(
        WouldBeRefused, match="Recovered 41 USDT of BTC-PERP in shard 0: sequence 2"
    ):
        changes(rules.events(rules.parse(other.encode(), "o"), time=9), [*before, *sent])


TAKEN = "of that shard is that of fund"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sequence = 2", "sequence = 1", f"recovered[1].sequence: 1 {TAKEN}[1]"),
        ("sequence = 3", "sequence = 4", f"written_off[1].sequence: 4 {TAKEN}[2]"),
        ("amount = 40", "amount = -1", "recovered[1].amount: -1 is negative"),
        ("amount = 4.45", "amount = 0", "written_off[1].amount: zero"),
        ('"USDT"\nmarket', '"XRP"\nmarket', "recovered[1].asset: XRP is not among the assets"),
    ],
)
def test_a_fault_of_a_treasury_is_named(old: str, new: str, said: str) -> None:
    text = EXAMPLE.read_text() + TREASURY.replace(old, new, 1)
    with pytest.raises(FileFaults) as caught:
        rules.parse(text.encode(), "venue.toml")
    assert caught.value.faults == [f"venue.toml: {said}"]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("caps = {}", "caps = { XRP-PERP = 5 }", "waterfall.fund.caps"),
        ("\npace = {}", "\npace = { in_flight = { XRP-PERP = 5 } }", "liquidation.pace.in_flight"),
        ("\nslippage = {}", "\nslippage = { XRP-PERP = 0.1 }", "liquidation.slippage"),
    ],
)
def test_a_limit_is_of_what_is_listed(old: str, new: str, key: str) -> None:
    assert faults((old, new)) == [f"profile.{key}.XRP-PERP: nothing is listed under that name"]


def test_faults_come_back_from_another_process_as_they_are() -> None:
    """`compare` reads a profile in each of its processes."""
    known = FileFaults("venue.toml", ["a: wrong", "b: missing"])
    found = pickle.loads(pickle.dumps(known))
    assert (str(found), found.faults) == (str(known), known.faults)
    assert str(found) == "venue.toml: a: wrong\nvenue.toml: b: missing"


def test_a_profile_is_named_and_says_what_is_listed() -> None:
    found = rules.parse(LISTING.format("binance-usdm").encode(), "venue.toml").profile
    assert list(found.requirements) == ["BTC", "*"]
    assert (list(found.collateral), found.conversion) == (["USDT"], ("USDT",))
    assert found.liquidation.fee_rate == Decimal("0.0125")


def test_a_named_profile_must_be_there_and_count_in_what_is_listed() -> None:
    with pytest.raises(FileFaults, match=r"venue.toml: profile: binanse: no profile of that name"):
        rules.parse(LISTING.format("binanse").encode(), "venue.toml")
    with pytest.raises(FileFaults, match=r"profile.numeraire: USDC is not among the assets"):
        rules.parse(LISTING.format("dydx-v4").encode(), "venue.toml")


def test_what_is_not_toml_names_the_line() -> None:
    with pytest.raises(FileFaults, match=r"venue.toml: not TOML: .*line 2"):
        rules.parse(b"[profile]\nname = \n", "venue.toml")
    with pytest.raises(FileFaults, match=r"venue.toml: not TOML: .*utf-8"):
        rules.parse(b"\xff", "venue.toml")


def test_an_empty_file_lacks_what_it_must_have() -> None:
    with pytest.raises(FileFaults) as caught:
        rules.parse(b"", "venue.toml")
    assert caught.value.faults == ["venue.toml: profile: missing", "venue.toml: assets: missing"]


def sent(published: list[ControlEvent], text: str | None = None) -> list[ControlEvent]:
    """Return what publishing the example, or `text`, sends after `published`."""
    found = rules.parse((text or EXAMPLE.read_text()).encode(), "venue.toml")
    return changes(rules.events(found, time=9), published)


def test_publishing_sends_what_is_missing_and_nothing_twice() -> None:
    whole = sent([])
    assert whole == rules.events(rules.read(EXAMPLE), time=9)
    assert sent(whole) == []
    # Cut off in the middle, as by a broken line.
    assert sent(whole[:4]) == whole[4:]


def test_publishing_sends_what_changed() -> None:
    whole, text = sent([]), EXAMPLE.read_text()
    assert sent(whole, text.replace("lot = 1\n", "lot = 5\n")) == [
        InstrumentListed(time=9, instrument=structs.replace(whole[5].instrument, lot=Decimal(5)))
    ]
    (again,) = sent(whole, text.replace("sequence = 1\n", "sequence = 2\n"))
    assert (type(again), again.sequence) == (FundMoved, 2)


def test_a_deposit_may_name_a_fund() -> None:
    text = EXAMPLE.read_text().replace("sequence = 1\n", 'sequence = 1\nfund = "BTC-PERP"\n')
    whole = sent([], text)
    assert (type(whole[-1]), whole[-1].fund) == (FundMoved, "BTC-PERP")
    with pytest.raises(WouldBeRefused, match="sequence 1 is taken, the next one is 2"):
        sent(whole)


def test_what_was_recovered_counts_in_the_sequence_of_deposits() -> None:
    told = {"time": 3, "shard": 0, "asset": "USDT", "market": "BTC-PERP", "amount": Decimal(1)}
    published = [*sent([])[:-1], Recovered(sequence=1, **told)]
    with pytest.raises(WouldBeRefused, match="sequence 1 is taken, the next one is 2"):
        sent(published)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("multiplier = 100 ", "multiplier = 10 ", "InstrumentListed BTCUSD-PERP: "),
        ("amount = 1_000_000\n", "amount = 5\n", "sequence 1 is taken, the next one is 2"),
    ],
)
def test_what_would_be_refused_is_not_published(old: str, new: str, why: str) -> None:
    text = EXAMPLE.read_text()
    assert text.count(old) == 1
    with pytest.raises(WouldBeRefused, match=why):
        sent(sent([]), text.replace(old, new))
