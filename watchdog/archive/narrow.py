"""Integers in as few bytes as a block needs: stored * scale + base.

Times of a block lie close together and often on whole microseconds or seconds, sizes and codes are
small. Fewer bytes make the checksum, the decompression and the file cheaper.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from watchdog.archive.frames import DamagedFrameError

_UNSIGNED: dict[int, np.dtype[np.unsignedinteger[Any]]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
_SCALED_FROM = 1 << 16  # spans below need no scale to be small


class Narrow(NamedTuple):
    """Stored bytes of a column, bytes of one stored number (0: the type's own form), base and scale."""

    data: bytes
    width: int = 0
    base: int = 0
    scale: int = 1


def narrow(column: NDArray[np.generic]) -> Narrow:
    """Return the narrowest form of a column; other types than integers, and spans that do not fit, stay as they are."""
    own = Narrow(np.ascontiguousarray(column).tobytes())
    if column.dtype.kind not in "iu" or column.dtype.itemsize == 1 or not len(column):
        return own
    low, high = int(column.min()), int(column.max())
    if high >= 1 << 63 or high - low >= 1 << 63:
        return own
    steps = column.astype(np.int64) - low
    scale = int(np.gcd.reduce(steps)) if column.dtype.itemsize == 8 and high - low >= _SCALED_FROM else 1
    span = (high - low) // scale
    width = next((size for size in _UNSIGNED if span < 1 << (8 * size)), 8)
    if width >= column.dtype.itemsize:
        return own
    return Narrow((steps // scale).astype(_UNSIGNED[width]).tobytes(), width, low, scale)


def widen(part: bytes, dtype: np.dtype[np.generic], rows: int, form: tuple[int, int, int]) -> NDArray[np.generic]:
    """Restore a column; `form` is width, base and scale. DamagedFrameError when the bytes do not fit the rows.

    OverflowError when base or scale do not fit the type.
    """
    width, base, scale = form
    if width == 0:
        if len(part) != rows * dtype.itemsize:
            raise DamagedFrameError(f"a column of {rows} rows has {len(part)} bytes")
        return np.frombuffer(part, dtype)
    if width not in _UNSIGNED or dtype.kind not in "iu" or len(part) != rows * width:
        raise DamagedFrameError(f"a column of {rows} rows has {len(part)} bytes of width {width}")
    stored: NDArray[np.integer[Any]] = np.frombuffer(part, _UNSIGNED[width])
    column = stored.astype(dtype)
    if scale != 1:
        column *= np.array(scale).astype(dtype, casting="unsafe")
    if base:
        column += np.array(base).astype(dtype, casting="unsafe")
    return column
