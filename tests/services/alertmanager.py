"""Run a real Alertmanager on the shipped configuration, with somebody who listens at its end."""

from __future__ import annotations

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import yaml

from tests.services import Server, free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"


class Told(NamedTuple):
    """An alert as a receiver heard it: at which path, under which name, `firing` or `resolved`."""

    path: str
    alert: str
    status: str
    authorization: str
    summary: str


class Receiver:
    """Pager and ticket queue: a web server that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port

    def alerts(self, path: str, status: str) -> list[str]:
        """Return the alerts of a path and status, each once, in the order in which they came."""
        found = (one.alert for one in list(self.told) if (one.path, one.status) == (path, status))
        return list(dict.fromkeys(found))

    def __enter__(self) -> Self:
        """Begin to listen."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                who = self.headers.get("Authorization", "")
                for alert in body["alerts"]:
                    name, said = alert["labels"]["alertname"], alert["annotations"]["summary"]
                    told.append(Told(self.path, name, alert["status"], who, said))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Keep the output of tests free of it."""

        return Handler


def configuration(directory: Path, receiver: int, *, waits: bool) -> Path:
    """Write the shipped configuration for a receiver on this port, with its waits or without."""
    config = yaml.safe_load(SHIPPED.read_text())
    for route in () if waits else (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    for one in config["receivers"]:
        (webhook,) = one["webhook_configs"]
        webhook["url"] = f"http://127.0.0.1:{receiver}/{webhook['url'].rpartition('/')[2]}"
        authorization = webhook["http_config"]["authorization"]
        secret = directory / Path(authorization["credentials_file"]).name
        secret.write_text(f"secret of {one['name']}")
        authorization["credentials_file"] = str(secret)
    path = directory / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def server(
    directory: Path, receiver: int, port: int | None = None, *, waits: bool = False
) -> Server:
    """Return an Alertmanager that tells a receiver on this port, not started yet."""
    port = port or free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={configuration(directory, receiver, waits=waits)}",
        f"--storage.path={directory / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    return Server(command, directory, port)


def suppressed(url: str) -> set[str]:
    """Return the alerts that fire and are told nobody."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=10) as answer:
        alerts = json.load(answer)
    return {
        alert["labels"]["alertname"] for alert in alerts if alert["status"]["state"] == "suppressed"
    }
