"""docs/deployment.md: its links lead somewhere, its commands are understood."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from consumers.cli import main
from tests.bench import memory

GUIDE = Path(__file__).parents[1] / "docs" / "deployment.md"
TEXT = GUIDE.read_text()
COMMANDS = re.findall(r"^liquidator ([^#\n]+)", TEXT, flags=re.MULTILINE)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) > 5
    assert [link for link in links if not (GUIDE.parent / link).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), "--help"])
    assert done.exit_code == 0, done.output


def test_the_table_of_memory_is_what_the_bench_prints() -> None:
    assert memory.HEADER in TEXT
    for accounts, legs in memory.SIZES:
        assert f"\n| {accounts:,} | {legs} |" in TEXT


def test_a_small_book_can_be_weighed() -> None:
    found = memory.measure(200, 2)
    assert found.state > 200 * 100
    assert found.ticks > 100
