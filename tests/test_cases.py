"""Venues' own numbers: every case of the kinds that the engine has rules for comes out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cases.adapters import KINDS, NOT_YET
from tests.cases.runner import Malformed, read, run, summary

FILE = Path(__file__).parent / "cases" / "derivatives.json"
CASES = read(FILE)

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
}
EXPRESSIBLE = [case for case in CASES if case["kind"] in REQUIRED]


def test_every_required_kind_has_its_function_and_its_cases() -> None:
    assert set(KINDS) >= REQUIRED
    assert {case["kind"] for case in EXPRESSIBLE} == REQUIRED
    assert {case["kind"] for case in CASES} <= REQUIRED | set(NOT_YET)


@pytest.mark.parametrize("case", EXPRESSIBLE, ids=lambda case: case["id"])
def test_the_engine_gives_the_venues_number(case: Any) -> None:
    assert str(run(case)) == f"pass {case['id']}"
    assert case["source"]


@pytest.mark.parametrize("case", EXPRESSIBLE, ids=lambda case: case["id"])
def test_another_number_fails(case: Any) -> None:
    """A case cannot pass by being passed over: each of its numbers is compared."""
    for key, expected in case["expected"].items():
        wrong = {**case["expected"], key: _wrong(expected)}
        outcome = run({**case, "expected": wrong})
        assert outcome.verdict == "fail"
        assert f"expected {key}" in outcome.said
        assert " got " in outcome.said


def _wrong(expected: Any) -> Any:
    if isinstance(expected, bool):
        return not expected
    if isinstance(expected, list):
        return [*expected[:-1], _wrong(expected[-1])]
    return str(int(float(expected)) + 7)


def test_the_rest_is_not_expressible_and_says_why() -> None:
    rest = [run(case) for case in CASES if case["kind"] not in REQUIRED]
    assert rest
    assert {outcome.verdict for outcome in rest} == {"not expressible"}
    assert all(outcome.said for outcome in rest)
    assert (
        summary(map(run, CASES))
        == f"{len(EXPRESSIBLE)} passed, 0 failed, {len(rest)} not expressible"
    )


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
        _case(id="other", kind="health_factor"),
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
        "not expressible other: health_factor: no rule of the engine is of this kind yet",
        "2 passed, 1 failed, 3 not expressible",
    ]
    assert done.returncode == 1
    path.write_text(json.dumps(cases[:2]))
    assert _cases(path).returncode == 0


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
