"""Sorting codes together with where they stood: by far the largest single cost of closing panes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_BITS = 62  # of a packed word; the sign stays free


def sorted_with_order(codes: Ints, *, runs: bool = False) -> tuple[Ints, NDArray[np.intp]]:
    """Non-negative codes in order, and the row each came from; equal codes keep their rows' order.

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
