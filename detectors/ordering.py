"""Sorting codes together with where they stood: by far the largest single cost of closing panes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors import kernel
from detectors.kernel import Ints

MOST_PARTS = 1 << 15  # codes that are counted; for more a sort costs less
_BITS = 62  # of a packed word; the sign stays free


def sorted_with_order(codes: Ints, *, runs: bool = False) -> tuple[Ints, NDArray[np.intp]]:
    """Return non-negative codes in order, and the row each came from; equal codes keep their rows' order.

    Code and row are packed into one word where they fit, since sorting words takes an eighth of the time of an
    indirect sort. runs: a few sorted runs behind each other, which the merging sort takes in one pass.
    """
    rows = len(codes)
    shift = max(rows - 1, 1).bit_length()
    if runs or rows == 0 or int(codes.max()).bit_length() + shift > _BITS:
        order = np.argsort(codes, kind="stable")
        return codes[order], order
    packed = (codes << shift) | np.arange(rows)
    packed.sort()
    return packed >> shift, packed & ((1 << shift) - 1)


def parted(codes: NDArray[np.integer[Any]], count: int) -> tuple[NDArray[np.intp], Ints]:
    """Return rows by code (0 to count - 1), in order of rows; those of code c are order[bounds[c]:bounds[c + 1]]."""
    if kernel.native is not None and count <= MOST_PARTS:
        return kernel.part(codes.astype(np.int64, copy=False), count)
    small = codes.astype(np.uint16) if count <= 1 << 16 else codes
    order = np.argsort(small, kind="stable")  # a radix sort on 16 bits
    return order, np.searchsorted(small[order], np.arange(count + 1))


def by_log(logs: NDArray[np.integer[Any]], panes: Ints, start: int, span: int, count: int) -> tuple[Ints, Ints]:
    """Return rows by (log, pane); log k has order[bounds[k]:bounds[k + 1]]. Panes are start to start + span - 1."""
    codes = logs * np.int64(span) + (panes - start)
    if count * span <= MOST_PARTS:
        order, bounds = parted(codes, count * span)
        return order, bounds[::span]
    order = np.argsort(codes, kind="stable")
    return order, np.searchsorted(codes[order], np.arange(count + 1) * span)
