"""The daemon's file together with the rules file that it names, both checked whole."""

from __future__ import annotations

from pathlib import Path

from consumers import config as config_file
from consumers import rules as rules_file
from consumers.config import Config
from consumers.rules import Rules
from consumers.running_config import rules_path
from consumers.toml_file import FileFaults


def read(path: Path) -> tuple[Config, Rules | None]:
    """Return what both say; no rules where the daemon's file names none.

    Raises `FileFaults` naming every fault of both, `OSError` when the daemon's file cannot be read.
    """
    draft, faults = config_file.drafted(path)
    rules, others = None, []
    if draft.rules.file:
        try:
            rules = rules_file.read(rules_path(path, draft.rules))
        except FileFaults as error:
            others.append(error)
        except OSError:
            # Among the faults of the daemon's file.
            pass
    if faults or others:
        raise FileFaults(str(path), faults, *others)
    return draft, rules
