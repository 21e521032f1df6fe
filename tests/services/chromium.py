"""A real browser without a screen, steered over its debugging protocol.

One browser has one page. What it is asked is JavaScript, evaluated in the page itself.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.services import Server, free_port

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
LARGEST_ANSWER = 64 * 1024 * 1024


class PageError(AssertionError):
    """What the page was asked, or to be waited for, did not come about."""


class Browser:
    """One page in a browser of its own; `directory` is new and empty.

    `complaints` is what the page or the browser wrote to the console, errors and refusals of the
    security policy included.
    """

    def __init__(self, directory: Path) -> None:
        port = free_port()
        profile = directory / "profile"
        profile.mkdir()
        self.complaints: list[str] = []
        self._server = Server(
            [
                "chromium",
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--remote-debugging-port={port}",
                "about:blank",
            ],
            directory,
            port,
        )
        self._numbers = itertools.count(1)
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._server.start)
        self._closing.push_async_callback(asyncio.to_thread, self._server.stop)
        session = await self._closing.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"{self._server.url}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        url = pages[0]["webSocketDebuggerUrl"]
        self._line = await self._closing.enter_async_context(
            session.ws_connect(url, max_msg_size=LARGEST_ANSWER)
        )
        for domain in ("Page", "Runtime", "Log"):
            await self._ask(f"{domain}.enable")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()

    async def size(self, width: int, height: int = 800, *, dark: bool = False) -> None:
        """Make the window so large, in CSS pixels, and its scheme light or dark."""
        await self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._ask("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        await self._ask("Page.navigate", url=url)
        await self.until(f"location.href === {url!r} && document.readyState === 'complete'")

    async def evaluate(self, script: str) -> Any:
        """Return what an expression is in the page; raises `PageError` where it throws."""
        answer = await self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise PageError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = 15) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not await self.evaluate(script):
            if time.monotonic() > deadline:
                shown = await self.evaluate("document.body.innerText.slice(0, 2000)")
                raise PageError(f"not within {seconds} s: {script}\n{self.complaints}\n{shown}")
            await asyncio.sleep(0.05)

    async def picture(self, *, height: int | None = None) -> bytes:
        """Return a PNG of the page, the whole or its upper `height` pixels."""
        of = await self._ask("Page.getLayoutMetrics")
        area = of["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": area["width"], "height": height or area["height"]}
        answer = await self._ask(
            "Page.captureScreenshot", clip={**clip, "scale": 1}, captureBeyondViewport=True
        )
        return base64.b64decode(answer["data"])

    async def _ask(self, method: str, **given: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._line.send_json({"id": number, "method": method, "params": given})
        while True:
            said = await self._line.receive_json(timeout=30)
            if said.get("id") == number:
                if "error" in said:
                    raise PageError(f"{method}: {said['error']}")
                result: dict[str, Any] = said["result"]
                return result
            self._hear(said)

    def _hear(self, said: dict[str, Any]) -> None:
        of = said.get("params", {})
        if said.get("method") == "Log.entryAdded":
            self.complaints.append(of["entry"]["text"])
        elif said.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(str([one.get("value") for one in of["args"]]))
        elif said.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(of["exceptionDetails"]))
