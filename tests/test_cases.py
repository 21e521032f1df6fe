"""Venues' own numbers: every case of the kinds that the engine has rules for comes out."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.closing import bankruptcy_quote
from engine.margin import (
    liquidatable,
)
from engine.money import exact
from engine.venue import skewed_fill_price
from tests.cases.accounts import USD, Inputs, Position, account, flat
from tests.cases.adapters import KINDS, NOT_YET
from tests.cases.runner import Malformed, read, run, summary

FILE = Path(__file__).parent / "cases" / "derivatives.json"
CASES = read(FILE)
VENUES = read(FILE.with_name("venues.json"))
"""More of the same sources, by the same adapters."""

LIQUIDATIONS = read(FILE.with_name("liquidations.json"))
"""More about liquidations and losses."""

LENDING = read(FILE.with_name("lending.json"))
"""Numbers of contracts, in their own units."""

REQUIRED = {
    "initial_margin",
    "initial_margin_fraction",
    "maintenance_margin",
    "maintenance_margin_fraction",
    "liability_weight",
    "collateral_haircut",
    "equity_health",
    "is_liquidatable",
    "liquidation_price",
    "bankruptcy_price",
    "liquidation_limit_price",
    "portfolio_margin",
    "risk_rank",
    "partial_size",
    "insurance_delta",
    "insurance_fee_rate",
    "liquidation_fee_rate",
    "adl_rank",
    "adl_trigger",
    "bad_debt",
    "collateral_seized",
}
OF_LENDING = {
    "max_repay",
    "collateral_seized",
    "liquidation_bonus",
    "interest_index",
    "interest_rate",
    "auction_price",
    "auction_take",
    "auction_reset",
    "liquidatable",
    "health_factor",
    "liquidation_threshold",
    "liquidator_incentive",
    "toxicity",
    "utilization",
    "rounding",
    "bad_debt",
    "adl_overshoot",
    "adl_prorata_fraction",
    "auction_throughput",
    "loss_waterfall",
}
EXPRESSIBLE = [case for case in CASES if case["kind"] in REQUIRED]
LOANS = [case for case in LENDING if case["kind"] in OF_LENDING]
DEFECTS = {
    "percolator_test_burn_all_warming_then_insurance": "equity_haircut_ratio 0.5, not 1: "
    "(1000000 − 0 − 500000) ÷ 1000000 covers all; "
    "(1000000 − 0) ÷ 1000000 takes what the fund paid a second time",
    "percolator_test_full_waterfall_with_equity_haircut": "equity_haircut_ratio "
    "0.416666666666666667, not 0.583333333333333334: "
    "(1200000 − 500000 − 200000) ÷ 1200000 covers all; "
    "(1200000 − 500000) ÷ 1200000 takes what the fund paid a second time",
}
"""Cases of which the venue's number is wrong: all that its fund paid is cut from equity again."""

CHOSEN = [*EXPRESSIBLE, *VENUES, *LIQUIDATIONS, *LOANS]
EVERY = [case for case in CHOSEN if case["id"] not in DEFECTS]


def test_every_required_kind_has_its_function_and_its_cases() -> None:
    assert set(KINDS) == REQUIRED | OF_LENDING
    assert {case["kind"] for case in LIQUIDATIONS} <= REQUIRED
    assert {case["kind"] for case in EXPRESSIBLE} == REQUIRED
    assert {case["kind"] for case in LOANS} == OF_LENDING
    assert {case["kind"] for case in [*CASES, *LENDING]} <= set(KINDS) | set(NOT_YET)
    assert not set(KINDS) & set(NOT_YET)


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case["id"])
def test_the_engine_gives_the_venues_number(case: Any) -> None:
    assert str(run(case)) == f"pass {case['id']}"
    assert case["source"]


@pytest.mark.parametrize(
    "case", [case for case in CHOSEN if case["id"] in DEFECTS], ids=lambda case: case["id"]
)
def test_a_number_that_is_wrong_is_listed_with_its_arithmetic(case: Any) -> None:
    name, key = case["id"], "equity_haircut_ratio"
    assert str(run(case)) == f"defect {name}: {DEFECTS[name]}"
    # The engine's own number would pass, and another fails whatever the venue gives.
    right, _ = DEFECTS[name].removeprefix(f"{key} ").split(",", 1)
    assert run({**case, "expected": {**case["expected"], key: right}}).verdict == "pass"
    wrong = run({**case, "expected": {**case["expected"], key: "0.9"}})
    assert wrong.said.startswith(f"expected {key} 0.9 got {right} ")
    off = run({**case, "expected": {**case["expected"], "insurance_draw": 1}})
    assert off.verdict == "fail"


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case["id"])
def test_another_number_fails(case: Any) -> None:
    """A case cannot pass by being passed over: each of its numbers is compared."""
    for key, expected in case["expected"].items():
        wrong = {**case["expected"], key: _wrong(expected)}
        outcome = run({**case, "expected": wrong})
        assert outcome.verdict == "fail"
        assert f"expected {key}" in outcome.said
        assert " got " in outcome.said


FAR = 10**12
"""Farther off than any tolerance, which are of numbers as they are or of parts of them."""


def _wrong(expected: Any) -> Any:
    if isinstance(expected, bool):
        return not expected
    if isinstance(expected, list):
        return [*expected[:-1], _wrong(expected[-1])]
    if isinstance(expected, dict):
        name = min(expected)
        return {**expected, name: _wrong(expected[name])}
    whole = int(float(expected))
    return str(whole + max(FAR, abs(whole)))


def test_the_rest_is_not_expressible_and_says_why() -> None:
    rest = [run(case) for case in LENDING if case["kind"] not in OF_LENDING]
    assert rest
    assert {outcome.verdict for outcome in rest} == {"not expressible"}
    assert all(outcome.said for outcome in rest)
    passed = len(LENDING) - len(rest)
    assert summary(map(run, LENDING)) == f"{passed} passed, 0 failed, {len(rest)} not expressible"


def test_of_derivatives_every_case_is_expressible() -> None:
    assert {case["kind"] for case in CASES} == REQUIRED
    passed = len(CASES) - 1
    assert summary(map(run, CASES)) == f"{passed} passed, 0 failed, 1 defect, 0 not expressible"


# --- what cases alone do not show


@exact
def test_a_part_that_does_not_reduce_a_leg_has_no_bankruptcy_quote() -> None:
    rule = flat(maintenance=Decimal("0.1"))
    held = account({USD: Decimal(10)}, [Position("X", Decimal(-2), Decimal(50), rule)])
    for symbol, delta in (("X", -1), ("X", 0), ("X", 3), ("Y", 1)):
        with pytest.raises(ValueError, match=f"bankruptcy quote {symbol}: {delta} does not reduce"):
            bankruptcy_quote(symbol, Decimal(delta), *held)


@exact
@given(
    st.integers(-500, 500).filter(bool),
    st.integers(1, 999),
    st.integers(-60_000, 60_000),
    st.integers(0, 3),
)
def test_parts_of_a_leg_never_bring_less_than_the_whole_needs(
    size: int, part: int, cash: int, decimals: int
) -> None:
    """Closing in two parts, each rounded up, brings what closing at once must, and at most a unit
    of rounding a part more."""
    rule = flat(maintenance=Decimal("0.07"))
    delta = -Decimal(size) * part / 1000
    held = account(
        {USD: Decimal(cash)},
        [Position("X", Decimal(size), Decimal(101), rule)],
        decimals=decimals,
    )
    whole = bankruptcy_quote("X", Decimal(-size), *held)
    first = bankruptcy_quote("X", delta, *held)
    left = held.holdings.legs["X"]._replace(size=size + delta)
    # What the first part brought is cash by then.
    after = held.holdings._replace(cash={USD: cash + first}, legs={"X": left})
    second = bankruptcy_quote("X", -left.size, after, held.rules, held.markets)
    unit = Decimal(1).scaleb(-decimals)
    assert 0 <= first + second - whole <= 2 * unit


@exact
def test_a_fill_at_a_skewed_price_is_rounded_against_the_taker() -> None:
    third, price = Decimal(3), Decimal(1)
    bought = skewed_fill_price(price, Decimal(1), Decimal(0), third, Decimal("0.01"))
    sold = skewed_fill_price(price, Decimal(-1), Decimal(0), third, Decimal("0.01"))
    assert (bought, sold) == (Decimal("1.17"), Decimal("0.83"))
    # A trade that brings the skew back to zero gets half of what it was.
    assert skewed_fill_price(price, Decimal(-2), Decimal(2), Decimal(100)) == Decimal("1.01")


@exact
def test_what_only_owes_has_nothing_to_be_liquidated() -> None:
    assert not liquidatable(account({USD: Decimal(-1)}, []).health, account({}, []).rules)


def _case(**changes: Any) -> dict[str, Any]:
    """Return a case that passes, as it stands in a file, with changes."""
    made = {
        "id": "half",
        "source": "a rate of 10 % on a notional of 5",
        "kind": "initial_margin",
        "inputs": {"size": "0.5", "mark_price": 10, "base_imf": 0.1},
        "expected": {"initial_margin": "0.5"},
    }
    return {**made, **changes}


def _cases(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.cases", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=FILE.parents[2])


def test_the_runner_says_line_by_line_what_came_of_a_file(tmp_path: Path) -> None:
    inverse = {"size": 1, "contracts": 5}
    cases = [
        _case(),
        _case(id="near", expected={"initial_margin": 0.48}, tolerance="0.02"),
        _case(id="off", expected={"initial_margin": "0.48"}, tolerance="0.019"),
        _case(id="more", expected={"initial_margin": "0.5", "colour": "red"}),
        _case(id="less", kind="initial_margin_fraction", inputs=inverse),
        _case(id="other", kind="cascade"),
        _case(id="new", kind="colour"),
    ]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    done = _cases(path)
    assert done.stdout.splitlines() == [
        "pass half",
        "pass near",
        "fail off: expected initial_margin 0.48 got 0.5 (difference 0.02)",
        "not expressible more: initial_margin does not give colour",
        "not expressible less: no base_imf among the inputs",
        "not expressible other: cascade: what liquidations do to prices is not simulated yet",
        "not expressible new: colour: no rule of the engine is of this kind yet",
        "2 passed, 1 failed, 4 not expressible",
    ]
    assert done.returncode == 1
    path.write_text(json.dumps(cases[:2]))
    assert _cases(path).returncode == 0


@pytest.mark.parametrize(
    ("expected", "tolerance", "verdict"),
    [
        ("0.499", {"abs": "0.001"}, "pass"),
        ("0.499", {"abs": "0.0009"}, "fail"),
        ("0.499", {"rel": "0.0021"}, "pass"),
        ("0.499", {"rel": "0.0020"}, "fail"),
        (Decimal("0.4999999999999996"), None, "pass"),  # a float's last digits
        (Decimal("0.4999999999999993"), None, "fail"),
        ("0.4999999999999996", None, "fail"),
        (Decimal("0.49999999999999"), None, "fail"),
    ],
)
def test_a_number_may_be_off_by_its_tolerance_and_a_float_by_its_last_digit(
    expected: Any, tolerance: Any, verdict: str
) -> None:
    case = _case(expected={"initial_margin": expected}, tolerance=tolerance)
    case["inputs"] = Inputs(case["inputs"])
    assert run(Inputs(case)).verdict == verdict


@pytest.mark.slow
def test_what_is_no_file_of_cases_is_told_with_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps([_case(), _case(), _case(id=1), _case(id="x", inputs=[]), 5]))
    with pytest.raises(Malformed) as told:
        read(path)
    assert str(told.value).splitlines() == [
        f"{path}: case 3 (1): id: missing, or not str",
        f"{path}: case 4 (x): inputs: missing, or not dict",
        f"{path}: case 5: expected an object",
        f"{path}: half: 2 cases of this id",
    ]
    done = _cases(path)
    assert done.returncode == 2
    assert "case 5" in done.stderr
    path.write_text("{")
    assert "not JSON" in _cases(path).stderr
    assert "No such file" in _cases(tmp_path / "none.json").stderr
    assert "usage" in _cases().stderr
