"""A real headless Chromium, driven over the DevTools protocol: pages, scripts, keys, pictures, and its complaints."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.support.event_loops import scenery
from tests.support.waiting import LIMIT_S

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
START_S = LIMIT_S
ANSWER_S = 60.0
LOOK_S = 0.05

Answer = dict[str, Any]  # Any: what the protocol answers is JSON of many shapes


def installed() -> str | None:
    """The path of a Chromium; None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab. complaints: console errors and warnings, uncaught exceptions, violations of the policy."""

    def __init__(self, socket: ClientWebSocketResponse, session: str) -> None:
        self._socket, self._session = socket, session
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: object) -> Answer:
        """One command of the protocol; RuntimeError with what the browser says."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(ANSWER_S):
            found = await self._waiting[number]
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        result: Answer = found["result"]
        return result

    async def listen(self) -> None:
        """Take in what the browser says, until it ends."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                break
            found: Answer = message.json()
            if "id" in found:
                self._waiting.pop(found["id"]).set_result(found)
            else:
                self._note(found["method"], found["params"])

    def _note(self, method: str, told: Answer) -> None:
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(str(details.get("exception", details).get("description", details)))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(one.get("value", one)) for one in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['source']}: {told['entry']['text']}")

    async def attach(self) -> None:
        """Make a tab and listen to all that it complains of."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")

    async def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """The window's size in CSS pixels, and the colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, url: str) -> None:
        """Go there; what the page loads later is not waited for."""
        found = await self.call("Page.navigate", url=url)
        if "errorText" in found:
            raise RuntimeError(f"{url}: {found['errorText']}")
        await self.until("document.readyState === 'complete'")

    async def run(self, script: str) -> Any:  # Any: whatever JSON the script gives
        """The value of an expression; RuntimeError when it throws."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def until(self, script: str, timeout_s: float = LIMIT_S) -> None:
        """Wait until an expression is true. AssertionError with what the page shows when it stays false."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not await self.run(f"Boolean({script})"):  # noqa: ASYNC110 (no event says that a page has drawn)
                    await asyncio.sleep(LOOK_S)
                return
        shown = await self.run("document.body.innerText")
        raise AssertionError(f"not within {timeout_s} s: {script}\ncomplaints: {self.complaints}\npage:\n{shown}")

    async def press(self, key: str) -> None:
        """A key as people press it."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            extra = text if kind == "keyDown" else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **extra)

    async def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """A fresh Chromium with one tab, gone afterwards."""
    program = scenery(installed)
    assert program is not None, "no Chromium: ask `installed` first"
    with _profile() as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            address = await _address(process.stderr)
            rest = asyncio.create_task(_drain(process.stderr))
            async with ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
                tab = Tab(socket, "")
                ear = asyncio.create_task(tab.listen())
                await tab.attach()
                yield tab
                ear.cancel()
            rest.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextmanager
def _profile() -> Iterator[str]:
    """A folder for the browser's files."""
    folder = scenery(lambda: tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    try:
        yield folder.name
    finally:
        scenery(folder.cleanup)


async def _address(stderr: asyncio.StreamReader) -> str:
    """Where the browser listens for the protocol, as it says itself."""
    said: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            while line := await stderr.readline():
                said.append(line.decode("utf-8", "replace"))
                if found := re.search(r"DevTools listening on (ws://\S+)", said[-1]):
                    return found[1]
    raise RuntimeError(f"Chromium did not start: {''.join(said)[-2_000:]}")


async def _drain(stderr: asyncio.StreamReader) -> None:
    """Keep reading, so that the browser never blocks on its log."""
    while await stderr.readline():
        pass
