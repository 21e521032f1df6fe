"""The rules of the house that no linter knows."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = sorted((ROOT / "engine").glob("*.py"))

PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "decimal",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "typing",
}
"""What the engine may import of the standard library: nothing that has a clock, chance or I/O."""


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_engine_imports_only_what_is_pure(path):
    assert _imports(path) <= PURE | {"engine", "numpy", "msgspec"}


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_engine_uses_floats_in_screens_and_pictures_only(path):
    """Money never passes through a float: `float(` stands only where numpy screens or gauges are
    made, and where an option is valued, to be rounded at once."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "float"
    ]
    screens = {"watch.py", "survey.py", "leg_table.py", "repricing.py", "situation.py", "venue.py"}
    screens |= {
        "candidates.py",
        "options.py",
        "portfolio_screen.py",
        "score_screen.py",
        "water_screen.py",
        "portfolio_watch.py",
        "screen_curve.py",
        "capped.py",
        "entry_screen.py",
        "loan_book.py",
        "loan_watch.py",
        "ratio_screen.py",
        "risk_screen.py",
    }
    assert not calls or path.name in screens


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_engine_iterates_no_set_literal_and_hashes_no_string(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert getattr(node.func, "id", "") != "hash", f"{path.name}:{node.lineno}"
        if isinstance(node, ast.For | ast.comprehension):
            source = node.iter
            is_set = isinstance(source, ast.Set | ast.SetComp) or (
                isinstance(source, ast.Call)
                and getattr(source.func, "id", "") in ("set", "frozenset")
            )
            assert not is_set, f"{path.name}: iterates a set"


def test_the_engine_stands_alone():
    """Importing the engine brings in nothing of the layers above it."""
    import subprocess

    code = (
        "import sys, engine.core, engine.state, engine.wire, engine.invariants, engine.survey;"
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('producers','consumers','aiokafka','aiohttp','asyncio','prometheus_client')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
