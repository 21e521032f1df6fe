"""The commands of `liquidator` as tests call them, in this process."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from consumers.cli import main

WIDTH = 100
"""Columns that a table may take."""


def said(*arguments: object, code: int = 0) -> str:
    """Return what a command says, or its error where it must end with another `code`; its tables
    are checked for width."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    if "--json" not in arguments:
        assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
    return result.stdout if code == 0 else result.stderr


def margin(file: Path, *options: object) -> Result:
    """Return what `liquidator margin` makes of a file."""
    return CliRunner().invoke(main, ["margin", str(file), *map(str, options)])


def written(tmp_path: Path, **keys: Any) -> Path:
    """Return a file of an account with these keys."""
    path = tmp_path / "account.json"
    path.write_text(json.dumps(keys))
    return path


def faults(file: Path, *options: object) -> list[str]:
    """Return what is said of a file that cannot be used, line by line, without its path."""
    result = margin(file, *options)
    assert result.exit_code == 1, result.output
    lines = result.stderr.removeprefix("Error: ").splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines), lines
    return [line.removeprefix(f"{file}: ") for line in lines]
