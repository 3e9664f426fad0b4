"""A chat for the demo: it answers as Slack does and keeps the threads; on loopback, so nothing leaves the machine."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from watchdog.core.text import printable
from watchdog.web.serving import listen

TOKEN = "xoxb-demo"  # noqa: S105 (a token of this chat alone)
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}


class DemoChat:
    """Messages by thread, each thread by the time stamp of its first message."""

    def __init__(self) -> None:
        self.threads: dict[str, list[str]] = {}
        self._count = 0

    async def post(self, request: web.Request) -> web.Response:
        """Take one message as chat.postMessage does; its first line is what a phone shows."""
        message = json.loads(await request.read())
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        self._count += 1
        stamp = f"{self._count}.0"
        self.threads.setdefault(str(message.get("thread_ts") or stamp), []).append(str(message["text"]).split("\n")[0])
        return web.json_response({"ok": True, "ts": stamp})

    def lines(self, width: int) -> str:
        """Return the threads, the answers of each below its first message, in at most `width` columns."""
        found = []
        for first, *answers in self.threads.values():
            found.append(printable(_plain(first), width))
            found += [f"  > {printable(_plain(one), width - 4)}" for one in answers]
        return "".join(f"{line}\n" for line in found)


@asynccontextmanager
async def chatting(chat: DemoChat, host: str) -> AsyncIterator[int]:
    """Serve the chat; return its port."""
    app = web.Application()
    app.router.add_post("/chat.postMessage", chat.post)
    listening = await listen(app, host, 0, end_s=0.5)
    try:
        yield listening.addresses[0][1]
    finally:
        await listening.close()


def _plain(text: str) -> str:
    return re.sub("&(?:lt|gt|amp);", lambda found: _ENTITIES[found[0]], text)
