from typing import Any, TypeAlias

from numpy.typing import NDArray

from detectors.mixing import Words
from detectors.windows import Ints

INTERFACE: int

Flags: TypeAlias = NDArray[Any]
Numbers: TypeAlias = NDArray[Any]

def combine(left: Words, right: Words, out: Words, /) -> None: ...
def spread(words: Words, out: Words, zeros: Numbers, /) -> None: ...
def part(codes: Ints, order: Ints, bounds: Ints, /) -> None: ...
def find(keys: Words, table_keys: Words, table_slots: Numbers, secret: int, out: Numbers, /) -> int: ...
def claim(
    keys: Words,
    table_keys: Words,
    table_slots: Numbers,
    secret: int,
    slot_keys: Words,
    used: Flags,
    place: Numbers,
    free: Numbers,
    freed: int,
    capacity: int,
    room: int,
    done: int,
    made: int,
    slots: Numbers,
    makers: Ints,
    /,
) -> tuple[int, int, int, int, int]: ...
def settle(
    keys: Words, slots: Numbers, table_keys: Words, table_slots: Numbers, secret: int, place: Numbers, /
) -> None: ...
def fold(
    cells: Ints,
    panes: Ints,
    added: Ints,
    end: int,
    start: int,
    span: int,
    out_cells: Ints,
    out_panes: Ints,
    out_added: Ints,
    /,
) -> int: ...
def run(
    cells: Ints,
    panes: Ints,
    deltas: Ints,
    start: int,
    span: int,
    member: Numbers,
    values: Ints,
    live: Numbers,
    floor_column: Ints,
    floor: Numbers,
    watched: Flags,
    watched_cells: Flags,
    out_cells: Ints,
    out_panes: Ints,
    out_sums: Ints,
    out_first: Flags,
    emptied: Ints,
    /,
) -> tuple[int, int]: ...
def touch(
    pairs: Ints,
    panes: Ints,
    start: int,
    span: int,
    last: Ints,
    began: Ints,
    width: Numbers,
    out_pairs: Ints,
    out_panes: Ints,
    out_begins: Flags,
    /,
) -> int: ...
def leave(
    pairs: Ints,
    panes: Ints,
    begun: Ints,
    start: int,
    span: int,
    width: Numbers,
    last: Ints,
    began: Ints,
    ended: Ints,
    ended_panes: Ints,
    gone: Ints,
    /,
) -> tuple[int, int]: ...
