"""Follow a Dockerfile's steps on this machine, under a folder that stands for the image's root."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

OURS = ("/opt", "/src", "/dist")
"""The folders of the image that its build makes; in its commands they become those under `root`."""


class Step(NamedTuple):
    """One instruction and what follows it."""

    word: str
    rest: str


def steps(path: Path) -> list[Step]:
    """Return the instructions of a Dockerfile, lines put together and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages(found: list[Step]) -> list[list[Step]]:
    """Return the instructions of each stage, without its FROM."""
    begins = [place for place, step in enumerate(found) if step.word == "FROM"]
    return [
        found[begin + 1 : end] for begin, end in zip(begins, [*begins[1:], len(found)], strict=True)
    ]


def healthcheck(found: list[Step]) -> list[str]:
    """Return the command that says whether a container is healthy."""
    (rest,) = [step.rest for step in found if step.word == "HEALTHCHECK"]
    command: list[str] = json.loads(rest.partition("CMD ")[2])
    return command


def follow(stage: list[Step], context: Path, root: Path, environment: Mapping[str, str]) -> None:
    """Copy and run what a stage says; raises `CalledProcessError` at the first step that fails."""
    folder = root
    for step in stage:
        if step.word == "WORKDIR":
            folder = root / step.rest.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            _copy(step.rest.split(), context, folder)
        elif step.word == "RUN":
            command = re.sub(rf"(?<![\w.])(?=({'|'.join(OURS)})/)", str(root), step.rest)
            command = command.replace("--wheel-dir /dist", f"--wheel-dir {root}/dist")
            subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env=environment,
                check=True,
                capture_output=True,
            )


def _copy(names: list[str], context: Path, folder: Path) -> None:
    *sources, target = names
    for name in sources:
        source = context / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, folder / target, ignore=ignored)
        else:
            shutil.copy(source, folder / target / name)
