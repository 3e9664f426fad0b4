"""The page: static files, read once and served from memory, with ETags so that browsers revalidate cheaply."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    type: str
    tag: str


class StaticPage:
    """Answers `/`, the deep links and `/static/NAME`. Names are looked up in a table, so no path leads elsewhere."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for `Application.add_routes`."""
        return [
            web.get("/", self.index),
            web.get("/incidents/{id}", self.index),
            web.get("/cases", self.index),
            web.get("/cases/{id}", self.index),
            web.get("/deliveries", self.index),
            web.get("/rules", self.index),
            web.get("/static/{name}", self.static),
        ]

    async def index(self, request: web.Request) -> web.Response:
        """Answer with the one document; its script reads the rest of the address."""
        return self._answer(request, INDEX)

    async def static(self, request: web.Request) -> web.Response:
        """Answer with a style sheet, a script or the icon."""
        name = request.match_info["name"]
        if name not in self._files or name == INDEX:
            raise web.HTTPNotFound
        return self._answer(request, name)

    def _answer(self, request: web.Request, name: str) -> web.Response:
        file = self._files[name]
        headers = {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
        if any(tag.value == file.tag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.type, charset="utf-8", headers=headers)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, TYPES[path.suffix], hashlib.blake2b(body, digest_size=12).hexdigest())
