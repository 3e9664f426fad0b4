"""JSON answers in which nothing that a peer sent can hide, steer or reorder."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from watchdog.core.text import printable

TEXT_LIMIT = 4_096
"""Characters of one string: summaries and notes fit whole, a peer's string is far shorter (MAX_SUBVERSION_LENGTH)."""


def harmless(value: object) -> object:
    """Return the data with every string, names of fields too, made harmless; other types become their text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return printable(value, TEXT_LIMIT)
    if isinstance(value, Mapping):
        return {printable(str(name), TEXT_LIMIT): harmless(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [harmless(one) for one in value]
    return printable(str(value), TEXT_LIMIT)


def encoded(value: object) -> str:
    """Return one line of ASCII. ValueError: the data holds NaN, which is a bug."""
    return json.dumps(harmless(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def answer(value: object, status: int = 200) -> web.Response:
    """Return a JSON answer that no cache keeps."""
    return web.Response(
        text=encoded(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
