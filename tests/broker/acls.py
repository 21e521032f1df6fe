"""Allow a user something on a broker that has an authorizer: the client knows no such request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

RESOURCES = {"topic": 2, "group": 3, "transactional id": 5}
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
PREFIXED, ALLOW = 4, 3


class Right(NamedTuple):
    """An operation on every resource of a kind whose name begins so."""

    operation: str
    kind: str
    prefix: str


class _Response(Response):
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("error_code", Int16), ("error_message", String("utf-8")))),
    )


class _Struct(RequestStruct):
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class _Request(Request[_Struct]):
    API_KEY = 30

    def __init__(self, creations: list[tuple[Any, ...]]) -> None:
        self._creations = creations

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class(self._creations)


async def allow(port: int, user: str, rights: Iterable[Right]) -> None:
    """Allow `user` these from any host; `port` is one through which everything is allowed."""
    creations = [
        (
            RESOURCES[right.kind],
            right.prefix,
            PREFIXED,
            f"User:{user}",
            "*",
            OPERATIONS[right.operation],
            ALLOW,
        )
        for right in rights
    ]
    line = await create_conn("127.0.0.1", port)
    try:
        answer = await line.send(_Request(creations))
    finally:
        line.close()
    for code, message in answer.results:
        if code:
            raise for_code(code)(message)
