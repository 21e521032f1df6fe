"""Rules of who takes and who pays that are unsound, and what is said of them."""

from decimal import Decimal as D

import pytest
from msgspec import structs

from engine.liquidation_profile import SECOND
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from engine.profile_faults import faults
from engine.waterfall_profile import Backstop, Deleveraging, Drawdown, FundRule, Waterfall

BACKSTOP = Backstop("vault", D(1_000_000), below=D("0.66"))
ADL = Deleveraging(drawdown=Drawdown())
SOUND = Waterfall(
    takers=("fund", "backstop", "adl"), fund_account="fund", backstop=BACKSTOP, adl=ADL
)


def faults_of(waterfall: Waterfall) -> list[str]:
    bracket = Bracket(D(10), initial_rate=D("0.1"), maintenance_rate=D("0.05"))
    profile = RiskProfile(
        name="venue",
        numeraire="USDT",
        requirements={"*": Requirement((bracket,))},
        collateral={"USDT": Collateral()},
        conversion=("USDT",),
        waterfall=waterfall,
    )
    return faults(profile)


def adl(**changes: object) -> dict[str, object]:
    return {"adl": Deleveraging(drawdown=structs.replace(Drawdown(), **changes))}


def backstop(**changes: object) -> dict[str, object]:
    return {"backstop": structs.replace(BACKSTOP, **changes)}


def fund(**rule: object) -> dict[str, object]:
    return {"fund": FundRule(**rule)}


BY_GROUP = FundRule("group", {"BTCUSDT": "majors"}, then_venue=True, caps={"BTCUSDT": D(0)})


@pytest.mark.parametrize("waterfall", [Waterfall(), SOUND, Waterfall(fund=BY_GROUP)])
def test_a_sound_waterfall_has_no_fault(waterfall: Waterfall) -> None:
    assert faults_of(waterfall) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"takers": ("fund", "adl", "backstop", "adl")}, "takers: names one twice"),
        (
            {"fund_account": ""},
            "takers: fund, and there is no fund_account whose positions those are",
        ),
        ({"fund_account": "the fund"}, "fund_account 'the fund' is no account id"),
        ({"backstop": None}, "takers: backstop, and there is no table backstop"),
        ({"adl": None}, "takers: adl, and there is no table adl"),
        (
            {"takers": ("backstop", "adl")},
            "fund_account: given, and takers does not name fund",
        ),
        (backstop(account="fund"), "backstop: account fund is the fund_account too"),
        ({"takers": ("fund", "adl")}, "backstop: given, and takers does not name it"),
        ({"takers": ("fund", "backstop")}, "adl: given, and takers does not name it"),
        (backstop(account=""), "backstop: account '' is no account id"),
        (backstop(capacity=D(0)), "backstop: capacity 0 not positive"),
        (
            backstop(below=D(1)),
            "backstop: below 1 not in (0, 1): at 1 the market is never tried",
        ),
        (backstop(below=D(0)), "backstop: below 0 not in (0, 1): at 1 the market is never tried"),
        (
            adl(window=SECOND - 1),
            "adl: drawdown: window 999999 µs not in a second to 30 days",
        ),
        (adl(start=D(1)), "adl: drawdown: start 1 not in (0, 1)"),
        (adl(stop=D(-1)), "adl: drawdown: stop -1 negative"),
        (fund(capacity=D(0)), "fund: capacity 0 not positive"),
        (
            adl(stop=D("0.3")),
            "adl: drawdown: stop 0.3 not below start 0.3: a start would be at once a stop",
        ),
        (fund(groups={"BTCUSDT": "m"}), "fund: groups: given, and by is venue"),
        (fund(by="group"), "fund: by group, and no groups are given"),
        (
            fund(by="group", groups={"BTCUSDT": "the majors"}),
            "fund: groups BTCUSDT: 'the majors' is no name of a fund",
        ),
        (
            fund(then_venue=True),
            "fund: then_venue: given, and the venue's fund is the only one",
        ),
        (fund(caps={"BTCUSDT": D(-1)}), "fund: caps BTCUSDT -1 negative"),
    ],
)
def test_an_unsound_waterfall_is_refused_in_words(changes: dict[str, object], fault: str) -> None:
    assert faults_of(structs.replace(SOUND, **changes)) == [f"waterfall: {fault}"]
