"""TLS and passwords of connections: as the daemon's file says them, checked, and as libraries take
them. A secret is named by the file or environment variable that holds it, and never shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from ssl import SSLContext

import msgspec
from aiokafka.helpers import create_ssl_context


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Encrypted lines: who signs for the brokers (the system's store if empty), and our proof."""

    enabled: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    key_password_file: str = ""


def tls_faults(section: str, tls: Tls, dropped: set[str]) -> Iterator[str]:
    """Yield every fault of `tls`, which stands under `section`; none that rests on a key in
    `dropped` and another one."""
    files = [key for key in tls.__struct_fields__ if key != "enabled" and getattr(tls, key)]
    if files and not tls.enabled and f"{section}.enabled" not in dropped:
        yield f"{section}.{files[0]}: has no effect while enabled is not true"
    for key in files:
        yield from unreadable(f"{section}.{key}", getattr(tls, key))
    if tls.key_file and not tls.cert_file and f"{section}.cert_file" not in dropped:
        yield f"{section}.key_file: there is no cert_file"


def login_faults(
    section: str, username: str, password_file: str, password_env: str, dropped: set[str]
) -> Iterator[str]:
    """Yield every fault of a name and its password, which are keys of `section`."""
    unknown = dropped & {f"{section}.password_file", f"{section}.password_env"}
    if not username:
        if password_file or password_env:
            yield f"{section}.username: there is a password and no name"
    elif bool(password_file) == bool(password_env):
        if not unknown:
            yield f"{section}: needs password_file or password_env, one of them"
    elif password_file:
        yield from unreadable(f"{section}.password_file", password_file)
    elif password_env not in os.environ:
        yield f"{section}.password_env: {password_env} is not set"


def ssl_context(tls: Tls) -> SSLContext:
    """Return what encrypts a line; raises `OSError` or `SSLError` when a file cannot be used."""
    return create_ssl_context(
        cafile=tls.ca_file or None,
        certfile=tls.cert_file or None,
        keyfile=tls.key_file or None,
        password=_secret(tls.key_password_file) if tls.key_password_file else None,
    )


def password(password_file: str, password_env: str) -> str:
    """Return the password from where it is kept; raises `OSError` when it cannot be read."""
    return _secret(password_file) if password_file else os.environ[password_env]


def unreadable(key: str, path: str) -> Iterator[str]:
    """Yield why the file that `key` names cannot be read, if it cannot."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        yield f"{key}: {path}: {error.strerror}"


def _secret(path: str) -> str:
    return Path(path).read_text().rstrip("\n")
