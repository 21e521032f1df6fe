"""The suite catches every planted mistake: a copy of the engine with it fails some test."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.control_mutations import CONTROL_MUTATIONS
from tests.loan_mutations import LOAN_MUTATIONS
from tests.mutation import Mutation
from tests.mutations import MUTATIONS
from tests.waterfall_mutations import WATERFALL_MUTATIONS

ROOT = Path(__file__).parent.parent
SERIES = ("test_twin", "test_invariants", "test_restart")
LIFE = (
    "test_worked_numbers",
    "test_lifecycle",
    "test_margin",
    "test_volatility",
    "test_portfolio",
    "test_portfolio_watch",
    "test_option_lifecycle",
    *SERIES,
)
LOANS = ("test_repayment", "test_recourse", "test_loan_liquidation", "test_loan_scenarios", *SERIES)
WATERFALL = ("test_funds", "test_socialising", "test_bad_debt", *SERIES)
CONTROL = (
    "test_sizing",
    "test_pricing",
    "test_pauses",
    "test_liquidation_fee",
    "test_guard",
    "test_pace",
    "test_drawdown",
    "test_deleveraging",
    "test_takers",
    "test_funds",
    *SERIES,
)
PLANTED = [
    pytest.param(mutation, suite, id=mutation.name)
    for mutations, suite in (
        (MUTATIONS, LIFE),
        (LOAN_MUTATIONS, LOANS),
        (WATERFALL_MUTATIONS, WATERFALL),
        (CONTROL_MUTATIONS, CONTROL),
    )
    for mutation in mutations
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the fast suite needs, whose engine may be spoilt."""
    directory = tmp_path_factory.mktemp("copy")
    for name in ("engine", "tests"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def run_suite(directory: Path, suite: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the fast tests of a suite on the copy, until the first failure."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-m", "not slow", *(f"tests/{name}.py" for name in suite)]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.mark.slow
def test_the_copy_is_sound(copy: Path) -> None:
    done = run_suite(copy, sorted({*LIFE, *LOANS, *WATERFALL, *CONTROL}))
    assert done.returncode == 0, done.stdout[-3000:]
    where = [sys.executable, "-B", "-c", "import engine; print(engine.__file__)"]
    found = subprocess.run(where, cwd=copy, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(copy)


@pytest.mark.slow
@pytest.mark.parametrize(("mutation", "suite"), PLANTED)
def test_a_planted_mistake_is_caught(copy: Path, mutation: Mutation, suite: Sequence[str]) -> None:
    module = copy / "engine" / f"{mutation.module}.py"
    sound = module.read_text()
    assert mutation.old in sound, "the mistake has no place any more: plant it elsewhere"
    try:
        module.write_text(sound.replace(mutation.old, mutation.new))
        done = run_suite(copy, suite)
    finally:
        module.write_text(sound)
    assert done.returncode == 1, f"not caught:\n{done.stdout[-2000:]}"
    assert " failed" in done.stdout, done.stdout[-2000:]
