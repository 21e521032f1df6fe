"""The container image: a clean Dockerfile, whose steps give a program that runs as nobody."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumers.config import Http
from consumers.web import Web
from tests.dockerfile import follow, healthcheck, stages, steps

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
STEPS = steps(DOCKERFILE)
NOBODY = 10001


def pins(name: str) -> dict[str, list[str]]:
    """Return each pinned package of a lock with its hashes."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if pinned := re.match(r"(\S+==\S+)", line):
            hashes = found.setdefault(pinned[1], [])
        elif line.strip().startswith("--hash"):
            hashes.append(line.strip(" \\"))
    return found


@pytest.mark.parametrize("name", ["requirements-runtime.lock", "requirements-build.lock"])
def test_the_image_takes_what_the_tests_test(name: str) -> None:
    whole = pins("requirements.lock")
    part = pins(name)
    assert part
    assert all(whole.get(pin) == hashes for pin, hashes in part.items()), "run: make lock"


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_what_runs_is_pinned_and_nobody() -> None:
    bases = [step.rest.split()[0] for step in STEPS if step.word == "FROM"]
    assert bases == ["python:3.11-slim-bookworm"] * 2
    said = {step.word: step.rest for step in STEPS}
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", said["USER"])
    assert said["STOPSIGNAL"] == "SIGTERM"
    for word in ("ENTRYPOINT", "CMD"):
        assert said[word].startswith("["), f"{word}: a shell would keep signals from the daemon"
    copied = {step.rest for step in stages(STEPS)[-1] if step.word == "COPY"}
    assert copied == {"--from=build /opt/liquidator /opt/liquidator"}


@pytest.mark.parametrize(
    "name",
    [
        "docker/Dockerfile",
        "compose.yml",
        "kubernetes/base/liquidator.yaml",
        "kubernetes/base/bridge.yaml",
        "kubernetes/overlays/example/kustomization.yaml",
    ],
)
def test_files_speak_of_the_version_that_they_come_with(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text()
    found = re.findall(r"(?:ARG VERSION=|image: liquidator:|newTag: )(\S+)", text)
    assert set(found) == {version("liquidator")}


def test_what_is_copied_is_let_through() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        name for step in stages(STEPS)[0] if step.word == "COPY" for name in step.rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


async def test_the_container_is_healthy_while_the_daemon_lives() -> None:
    server = Web(Http(port=0), CollectorRegistry(), list)
    await server.start()
    command = [part.replace("9464", str(server.port)) for part in healthcheck(STEPS)]
    assert command != healthcheck(STEPS)

    def code() -> int:
        done = subprocess.run([sys.executable, *command[1:]], capture_output=True)
        return done.returncode

    assert await asyncio.to_thread(code) == 0
    await server.stop()
    assert await asyncio.to_thread(code) != 0


def path() -> str:
    """Return where to look for an interpreter that nobody may run too: root's own is private."""
    own = Path(sys.base_prefix)
    private = any(not folder.stat().st_mode & 0o001 for folder in (own, *own.parents))
    return os.defpath if os.geteuid() == 0 and private else f"{own / 'bin'}:{os.defpath}"


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """Follow the steps of the image's build; what they make is readable for everybody."""
    with tempfile.TemporaryDirectory(prefix="liquidator-image-") as name:
        root = Path(name)
        root.chmod(0o755)
        # Bytecode is the image's affair, and takes longer than everything else.
        follow(stages(STEPS)[0], ROOT, root, {**os.environ, "PATH": path(), "PIP_NO_COMPILE": "1"})
        shutil.rmtree(root / "src")
        (root / "work").mkdir(mode=0o555)
        yield root


def as_nobody(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the image's program where nothing can be written."""
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        [image / "opt" / "liquidator" / "bin" / "liquidator", *arguments],
        cwd=image / "work",
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "LIQUIDATOR_HTTP_PORT": "1234"},
        capture_output=True,
        text=True,
        **user,  # type: ignore[call-overload]
    )


@pytest.mark.services
@pytest.mark.slow
def test_what_was_built_runs_as_nobody(image: Path) -> None:
    assert re.fullmatch(r"liquidator, version \S+\n", as_nobody(image, "--version").stdout)
    for name in ("liquidator.toml", "demo.toml"):
        shutil.copy(ROOT / "deploy" / name, image / name)
        done = as_nobody(image, "check-config", str(image / name))
        assert (done.returncode, done.stdout) == (0, f"{image / name}: sound\n"), done.stderr
    shown = as_nobody(image, "profiles", "list")
    assert "bybit" in shown.stdout, shown.stderr
    packages = {
        path.name for path in (image / "opt/liquidator/lib/python3.11/site-packages").iterdir()
    }
    assert {"consumers", "deploy", "engine", "producers"} <= packages
    assert not packages & {"pip", "hatchling", "pytest", "tests"}
