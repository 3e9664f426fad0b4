"""Log lines of delivery: `event key=value ...`, one line whatever the values hold, and never a secret.

Callers pass names, ids, numbers and texts that were made harmless where they arose; URLs and headers are not passed.
"""

from __future__ import annotations

import json

from watchdog.core.text import printable

LONGEST_VALUE = 200


def line(event: str, **values: object) -> str:
    """Return one log line; None and empty texts are left out, texts with spaces or quotes are quoted."""
    shown = [f"{name}={_shown(value)}" for name, value in values.items() if value is not None and value != ""]
    return " ".join((event, *shown))


def _shown(value: object) -> str:
    text = printable(str(value), LONGEST_VALUE)
    plain = text.isascii() and not any(char in text for char in ' "=\\')
    return text if plain else json.dumps(text, ensure_ascii=False)
