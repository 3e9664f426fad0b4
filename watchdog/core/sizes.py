"""Sizes in bytes as people write them: `500MiB`, `1GiB`, `2GB`."""

from __future__ import annotations

import re
from typing import Final

UNITS: Final = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip
UNITS_TEXT: Final = "MiB, GiB or TiB (or MB, GB, TB)"
SIZE_PATTERN: Final = f"^[0-9][0-9_]*({'|'.join(UNITS)})$"  # for JSON Schema
LARGEST: Final = 1 << 60

_SIZE: Final = re.compile(rf"([0-9][0-9_]{{0,17}})({'|'.join(UNITS)})")


def parse_size(text: str) -> int | None:
    """Return the bytes of a size; None when it is none or too large."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        return None
    size = int(found[1].replace("_", "")) * UNITS[found[2]]
    return size if size <= LARGEST else None


def exact_size(size: int) -> str:
    """Return the shortest exact form in units of 1024: 1073741824 is `1GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        count, rest = divmod(size, UNITS[unit])
        if count and not rest:
            return f"{count}{unit}"
    return f"{size}B"
