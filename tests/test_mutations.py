"""The suite catches every planted mistake: a copy of the engine with it fails some test."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parent.parent
SUITE = (
    "tests/test_worked_numbers.py",
    "tests/test_lifecycle.py",
    "tests/test_margin.py",
    "tests/test_volatility.py",
    "tests/test_portfolio.py",
    "tests/test_portfolio_watch.py",
    "tests/test_option_lifecycle.py",
    "tests/test_repayment.py",
    "tests/test_recourse.py",
    "tests/test_funds.py",
    "tests/test_socialising.py",
    "tests/test_bad_debt.py",
    "tests/test_sizing.py",
    "tests/test_pricing.py",
    "tests/test_pauses.py",
    "tests/test_liquidation_fee.py",
    "tests/test_guard.py",
    "tests/test_pace.py",
    "tests/test_drawdown.py",
    "tests/test_deleveraging.py",
    "tests/test_takers.py",
    "tests/test_loan_liquidation.py",
    "tests/test_loan_scenarios.py",
    "tests/test_twin.py",
    "tests/test_invariants.py",
    "tests/test_restart.py",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the fast suite needs, whose engine may be spoilt."""
    directory = tmp_path_factory.mktemp("copy")
    for name in ("engine", "tests"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def run_suite(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the fast suite on the copy, until the first failure."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-m", "not slow", *SUITE]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_the_copy_is_sound(copy: Path) -> None:
    done = run_suite(copy)
    assert done.returncode == 0, done.stdout[-3000:]
    where = [sys.executable, "-B", "-c", "import engine; print(engine.__file__)"]
    found = subprocess.run(where, cwd=copy, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(copy)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_mistake_is_caught(copy: Path, mutation: Mutation) -> None:
    module = copy / "engine" / f"{mutation.module}.py"
    sound = module.read_text()
    assert mutation.old in sound, "the mistake has no place any more: plant it elsewhere"
    try:
        module.write_text(sound.replace(mutation.old, mutation.new))
        done = run_suite(copy)
    finally:
        module.write_text(sound)
    assert done.returncode == 1, f"not caught:\n{done.stdout[-2000:]}"
    assert " failed" in done.stdout, done.stdout[-2000:]
