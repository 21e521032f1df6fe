"""Cut the line between a client and the broker, at any time or at one chosen request.

A request of the Kafka protocol is a length of four bytes, then api key (2), api version (2) and
correlation id (4); its answer is a length and the same correlation id. That is all the proxy reads.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

END_TXN = 26
"""Api key of the request that commits or aborts a transaction."""


class CuttableProxy:
    """Forward 127.0.0.1:`port` to 127.0.0.1:`target` until told to cut.

    The broker must advertise `port` to those who come this way: `Broker(extra_listener=port)`.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._request_to_lose: int | None = None
        self._answer_to_lose: int | None = None
        self._cut = asyncio.Event()

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    async def restore(self) -> None:
        """Accept connections, at first or again."""
        self._cut.clear()
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._request_to_lose = self._answer_to_lose = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._cut.set()

    def cut_on_request(self, api_key: int) -> None:
        """Cut when the next request of this kind comes: the broker never sees it."""
        self._request_to_lose = api_key

    def cut_on_answer(self, api_key: int) -> None:
        """Cut when the next request of this kind was carried out: the client never hears of it."""
        self._answer_to_lose = api_key

    async def until_cut(self) -> None:
        """Wait for the cut."""
        await self._cut.wait()

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()

    async def _forward(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._writers.add(to_client)
        try:
            broker, to_broker = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._writers.remove(to_client)
            to_client.transport.abort()
            return
        self._writers.add(to_broker)
        doomed: set[bytes] = set()
        await asyncio.gather(
            self._pump(client, to_broker, lambda frame: self._passes_request(frame, doomed)),
            self._pump(broker, to_client, lambda frame: frame[:4] not in doomed),
        )
        self._writers -= {to_client, to_broker}

    def _passes_request(self, frame: bytes, doomed: set[bytes]) -> bool:
        api_key = int.from_bytes(frame[:2])
        if api_key == self._answer_to_lose:
            self._answer_to_lose = None
            doomed.add(frame[4:8])
        return api_key != self._request_to_lose

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: Callable[[bytes], bool],
    ) -> None:
        try:
            while True:
                length = await reader.readexactly(4)
                frame = await reader.readexactly(int.from_bytes(length))
                if not passes(frame):
                    self.cut()
                    return
                writer.write(length + frame)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            # One side hung up: so does the proxy, on the other.
            writer.close()
