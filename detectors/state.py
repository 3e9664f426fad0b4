"""The form in which every keyed structure saves and restores its state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Nested dictionaries of arrays, numbers, texts and lists of texts: what a checkpoint can hold.
# `Any`, because the readers check shapes and types when they restore.
State = dict[str, Any]


def checked(
    state: State,
    name: str,
    kind: type[np.generic],
    length: int | None = None,
    bounds: tuple[int, int] | None = None,
    *,
    columns: int | None = None,
) -> NDArray[Any]:
    """Return an array of a saved state. Raises ValueError for another type or length, or values outside [low, high).

    Indexes of a damaged or forged state must be refused here: some NumPy functions write outside of their arrays for
    them (np.bincount of 2**63 - 1), and others count from the end for negative ones.
    columns: the second dimension of rows x columns, None for a plain column.
    """
    array = state[name]
    if not isinstance(array, np.ndarray):
        raise ValueError(f"column {name!r} is not an array")  # noqa: TRY004 - callers expect one type of error
    shape = array.shape[:1] if columns is None else (*array.shape[:1], columns)
    if array.dtype != kind or array.shape != shape or (length is not None and len(array) != length):
        raise ValueError(f"column {name!r} has another type or length")
    if bounds is not None and array.size and not bounds[0] <= int(array.min()) <= int(array.max()) < bounds[1]:
        raise ValueError(f"column {name!r} has values outside of {bounds[0]} to {bounds[1] - 1}")
    found: NDArray[Any] = array
    return found
