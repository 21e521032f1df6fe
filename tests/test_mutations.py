"""The suite catches every planted mistake: with it, a copy of the engine fails the test named."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.control_mutations import CONTROL_MUTATIONS
from tests.loan_mutations import LOAN_MUTATIONS
from tests.mutation import Mutation
from tests.mutations import MUTATIONS
from tests.taker_mutations import TAKER_MUTATIONS
from tests.waterfall_mutations import WATERFALL_MUTATIONS

ROOT = Path(__file__).parent.parent
PLANTED = (
    *MUTATIONS, *LOAN_MUTATIONS, *WATERFALL_MUTATIONS, *CONTROL_MUTATIONS, *TAKER_MUTATIONS
)  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the fast tests need, whose engine may be spoilt."""
    directory = tmp_path_factory.mktemp("copy")
    for name in ("engine", "tests"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def run(directory: Path, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run tests, named as by a mistake, on the copy, until the first failure."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["tests/" + test.replace("::", ".py::") for test in tests]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.mark.slow
def test_the_copy_is_sound(copy: Path) -> None:
    done = run(copy, sorted({mutation.caught_by for mutation in PLANTED}))
    assert done.returncode == 0, done.stdout[-3000:]
    where = [sys.executable, "-B", "-c", "import engine; print(engine.__file__)"]
    found = subprocess.run(where, cwd=copy, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(copy)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [pytest.param(one, id=one.name) for one in PLANTED])
def test_a_planted_mistake_is_caught(copy: Path, mutation: Mutation) -> None:
    module = copy / "engine" / f"{mutation.module}.py"
    sound = module.read_text()
    assert mutation.old in sound, "the mistake has no place any more: plant it elsewhere"
    try:
        module.write_text(sound.replace(mutation.old, mutation.new))
        done = run(copy, [mutation.caught_by])
    finally:
        module.write_text(sound)
    assert done.returncode == 1, f"not caught:\n{done.stdout[-2000:]}"
    assert " failed" in done.stdout, done.stdout[-2000:]
