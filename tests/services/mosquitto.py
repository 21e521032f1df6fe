"""A real Mosquitto, with its sessions on disk, and a certificate authority of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.services import Server, free_port, program

SETTINGS = """\
listener {port} 127.0.0.1
persistence true
persistence_location {directory}/
autosave_interval 1
autosave_on_changes false
max_queued_messages 0
"""


def mosquitto(
    directory: Path, settings: str = "allow_anonymous true", port: int | None = None
) -> Server:
    """Return a Mosquitto that keeps its sessions in `directory`.

    Started as root it would give its rights up for a user who may not write there, and lose every
    session without a word.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = directory / "mosquitto.conf"
    user = "user root\n" if Path("/proc/self").stat().st_uid == 0 else ""
    config.write_text(f"{SETTINGS.format(port=port, directory=directory)}{user}{settings}\n")
    return Server(["mosquitto", "-c", str(config)], directory, port)


class Authority:
    """A certificate authority in `directory`, and a certificate for 127.0.0.1 signed by it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.pem"
        self.server_certificate = directory / "server.pem"
        self.server_key = directory / "server.key"
        key, request, names = (directory / name for name in ("ca.key", "server.csr", "names"))
        names.write_text("subjectAltName = IP:127.0.0.1\n")
        new = ("req", "-newkey", "rsa:2048", "-nodes")
        _openssl(
            *(*new, "-x509", "-days", "2", "-subj", "/CN=liquidator tests"),
            *("-keyout", key, "-out", self.certificate),
        )
        _openssl(*new, "-subj", "/CN=127.0.0.1", "-keyout", self.server_key, "-out", request)
        _openssl(
            *("x509", "-req", "-days", "2", "-in", request, "-extfile", names),
            *("-CA", self.certificate, "-CAkey", key, "-CAcreateserial"),
            *("-out", self.server_certificate),
        )


def passwords(file: Path, **named: str) -> None:
    """Write a file of names and passwords as Mosquitto reads it."""
    file.write_text("".join(f"{name}:{password}\n" for name, password in named.items()))
    file.chmod(0o600)
    subprocess.run([str(program("mosquitto_passwd")), "-U", str(file)], check=True)


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
