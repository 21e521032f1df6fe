"""deploy/compose.yml: its form, what it mounts, in what order it starts, what it serves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from consumers import config
from consumers.cli import main
from tests import services
from tests.services import Server, free_port

DEPLOY = Path(__file__).parents[1] / "deploy"


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table that has no other keys than these, those of the Compose Specification that we use."""


class Health(Known):
    test: list[str] = []
    interval: str = "1s"
    timeout: str = "1s"
    retries: int = 1
    disable: bool = False


class Dependency(Known):
    condition: Literal["service_healthy", "service_completed_successfully"]


class Build(Known):
    context: str
    dockerfile: str


class Service(Known):
    image: str
    build: Build | None = None
    command: list[str] = []
    environment: dict[str, str | int] = {}
    volumes: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Health | None = None
    restart: Literal["no", "on-failure"] = "no"
    stop_grace_period: str = "10s"
    read_only: bool = False
    tmpfs: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[str] = []


class Compose(Known):
    name: str
    services: dict[str, Service]
    volumes: dict[str, None]


def read() -> Compose:
    """Return the file; what begins with x- is for its own use."""
    tree = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    return msgspec.convert({key: it for key, it in tree.items() if key[:2] != "x-"}, Compose)


COMPOSE = read()
SERVICES = [pytest.param(name, it, id=name) for name, it in COMPOSE.services.items()]
OURS = {name: it for name, it in COMPOSE.services.items() if it.image.startswith("liquidator:")}


def mounts(service: Service) -> dict[str, str]:
    """Return what is mounted, by where."""
    return {target: source for source, target, *_ in (it.split(":") for it in service.volumes)}


def test_the_file_follows_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [program, *command[1:], DEPLOY / "compose.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_an_image_is_of_a_version(name: str, service: Service) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service.image)


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_what_is_mounted_exists(name: str, service: Service) -> None:
    for target, source in mounts(service).items():
        assert target.startswith("/")
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
        else:
            assert source in COMPOSE.volumes
    read_only = [it for it in service.volumes if it.startswith(".")]
    assert all(it.endswith(":ro") for it in read_only)
    if service.build is not None:
        assert (DEPLOY / service.build.context / service.build.dockerfile).exists()


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_what_is_waited_for_can_come(name: str, service: Service) -> None:
    """What runs on has a health check, if only that of its image; what ends is waited for so."""
    own = name in OURS
    ends = service.healthcheck is not None and service.healthcheck.disable
    assert own or service.healthcheck is not None
    for other, dependency in service.depends_on.items():
        health = COMPOSE.services[other].healthcheck
        other_ends = health is not None and health.disable
        wanted = "service_completed_successfully" if other_ends else "service_healthy"
        assert dependency.condition == wanted
    assert not (ends and service.restart != "no")
    if health := service.healthcheck:
        assert health.disable or health.test[0] == "CMD"


def test_ports_are_on_loopback_and_do_not_clash() -> None:
    ports = [port for it in COMPOSE.services.values() for port in it.ports]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert max(Counter(port.split(":")[1] for port in ports).values()) == 1


@pytest.mark.parametrize("name", OURS)
def test_ours_can_do_little(name: str) -> None:
    service = OURS[name]
    assert (service.read_only, service.cap_drop) == (True, ["ALL"])
    assert service.security_opt == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", OURS)
def test_what_ours_are_told_is_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = OURS[name]
    for variable, value in service.environment.items():
        monkeypatch.setenv(variable, str(value))
    known = CliRunner().invoke(main, [*service.command, "--help"])
    assert known.exit_code == 0, known.output
    for target, source in mounts(service).items():
        assert target in service.command
        found = config.read(DEPLOY / source)
        assert found.kafka.brokers == ("kafka:9092",)
        for field, value in service.environment.items():
            assert field.startswith("LIQUIDATOR_"), value


def test_prometheus_is_configured_as_elsewhere_but_for_addresses() -> None:
    def read(path: str) -> tuple[dict[str, Any], list[str]]:
        tree = yaml.safe_load((DEPLOY / path).read_text())
        del tree["global"]["external_labels"]
        jobs = [job["job_name"] for job in tree.pop("scrape_configs")]
        del tree["alerting"]
        return tree, jobs

    tree, jobs = read("compose/prometheus.yml")
    shipped, shipped_jobs = read("prometheus/prometheus.yml")
    assert tree == shipped
    assert set(shipped_jobs) <= set(jobs)


def test_grafana_finds_source_and_dashboards_where_they_are_mounted() -> None:
    grafana = COMPOSE.services["grafana"]
    mounted = mounts(grafana)
    provider = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/liquidator.yml").read_text()
    )
    (folder,) = [it["options"]["path"] for it in provider["providers"]]
    assert mounted[folder] == "./grafana/dashboards"
    home = str(grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (DEPLOY / "grafana/dashboards" / Path(home).name).exists()
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    (url,) = [it["url"] for it in source["datasources"]]
    assert url.strip("${}") in grafana.environment


def laid_out(name: str, directory: Path) -> Path:
    """Lay a service's files out as in its container."""
    for target, source in mounts(COMPOSE.services[name]).items():
        place = directory / target.strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.startswith("."):
            place.symlink_to((DEPLOY / source).resolve())
    return directory


@pytest.mark.services
@pytest.mark.parametrize(
    ("name", "command", "file"),
    [
        ("prometheus", ("promtool", "check", "config"), "etc/prometheus/prometheus.yml"),
        ("alertmanager", ("amtool", "check-config"), "etc/alertmanager/alertmanager.yml"),
    ],
)
def test_a_servers_own_tool_accepts_its_file(
    name: str, command: tuple[str, ...], file: str, tmp_path: Path
) -> None:
    if reason := services.missing(command[0]):
        pytest.skip(reason)
    done = subprocess.run(
        [*command, str(laid_out(name, tmp_path) / file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.services
def test_mosquitto_starts_with_its_file(tmp_path: Path) -> None:
    if reason := services.missing("mosquitto"):
        pytest.skip(reason)
    port = free_port()
    path = tmp_path / "mosquitto.conf"
    text = (DEPLOY / "compose" / "mosquitto.conf").read_text()
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1")
    path.write_text(text.replace("/mosquitto/data/", f"{tmp_path}{os.sep}"))
    os.chmod(tmp_path, 0o777)
    with Server(["mosquitto", "-c", str(path)], tmp_path, port):
        pass
