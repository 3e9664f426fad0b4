"""Dense slots for sparse keys: the index under every keyed state.

An open-addressing hash table in NumPy arrays. A look-up of n keys costs a few array
passes, whatever the number of keys in the table.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from detectors import kernel
from detectors.mixing import Words, mix
from detectors.state import State, checked

Slots = NDArray[np.int32]

EMPTY, REMOVED, CLAIM = np.int32(-1), np.int32(-2), np.int32(-3)
NO_SLOT = -1
_SMALLEST = 64
# Peers choose keys and can read `mix`: without a secret they could make all their keys want one place. Places alone
# depend on it, neither slots nor which keys are refused, so results are the same in every process.
_SECRET = np.uint64(secrets.randbits(64))
SPARSE = 3  # places for each key: long probes cost more passes than memory is worth


class SlotTable:
    """Maps 64-bit keys to dense slots 0..capacity-1; slots of removed keys are used again.

    max_slots bounds it: keys beyond get no slot (`NO_SLOT`) and are counted in `refused`.
    """

    def __init__(self, max_slots: int) -> None:
        self.max_slots = max_slots
        self.refused = 0
        self.capacity = 0  # slots ever handed out; arrays of users need this length
        self.keys: Words = np.zeros(_SMALLEST, np.uint64)  # by slot
        self.used: NDArray[np.bool_] = np.zeros(_SMALLEST, np.bool_)  # by slot
        self._free: NDArray[np.int32] = np.zeros(_SMALLEST, np.int32)  # a stack of slots to use again
        self._freed = 0  # its height
        self._removed = 0
        self._place: NDArray[np.int32] = np.zeros(_SMALLEST, np.int32)  # by slot: where it stands in the table
        self._rehash(_SMALLEST * 2)

    def __len__(self) -> int:
        return self.capacity - self._freed

    def find(self, keys: Words) -> Slots:
        """Return the slot of each key, NO_SLOT for unknown ones."""
        if kernel.native is not None:
            return kernel.find(keys, self._keys, self._slots, int(_SECRET))
        places = self._places(keys)
        slots = self._slots[places]
        hit = (slots >= 0) & (self._keys[places] == keys)
        if hit.all():
            return slots
        result = np.where(hit, slots, EMPTY)
        ask = np.flatnonzero(~hit & (slots != EMPTY))
        mask = len(self._slots) - 1
        while len(ask):
            places[ask] = (places[ask] + 1) & mask
            at = places[ask]
            slots = self._slots[at]
            hit = (slots >= 0) & (self._keys[at] == keys[ask])
            result[ask[hit]] = slots[hit]
            ask = ask[~hit & (slots != EMPTY)]
        return result

    def assign(self, keys: Words) -> tuple[Slots, NDArray[np.intp]]:
        """Return the slot of each key, new ones made; and for each new slot, the first row that has it."""
        if kernel.native is not None and len(self) + len(keys) <= self.max_slots:
            return self._assign_native(np.ascontiguousarray(keys))
        slots = self.find(keys)
        missing = np.flatnonzero(slots < 0)
        if not len(missing):
            return slots, missing
        missing = self._admitted(keys, missing)
        self._make_room(len(missing))
        slots[missing], first = self._claim(keys[missing])
        return slots, missing[first]

    def remove(self, slots: NDArray[np.intp]) -> None:
        """Forget these slots' keys; their numbers will be used again, highest first."""
        if not len(slots):
            return
        places = self._place[slots]
        self._slots[places] = REMOVED
        self.used[slots] = False
        self._removed += len(slots)
        self._push(slots.astype(np.int32))

    def _places(self, keys: Words) -> NDArray[np.intp]:
        """Return the place in the table to look at first for each key."""
        return (mix(keys ^ _SECRET) >> self._shift).astype(np.intp)

    def _admitted(self, keys: Words, missing: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the rows of new keys for which there is room: first come, first served, in any state of the table."""
        room = max(0, self.max_slots - len(self))
        if len(missing) <= room:
            return missing
        _, first, key = np.unique(keys[missing], return_index=True, return_inverse=True)
        admitted = np.zeros(len(first), np.bool_)
        admitted[np.argsort(first)[:room]] = True
        kept: NDArray[np.intp] = missing[admitted[key]]
        self.refused += len(missing) - len(kept)
        return kept

    def _make_room(self, more: int) -> None:
        while (len(self) + self._removed + more) * SPARSE > len(self._slots):
            bigger = (len(self) + more) * SPARSE * 2 > len(self._slots)
            self._rehash(len(self._slots) * (2 if bigger else 1))

    def _claim(self, keys: Words) -> tuple[Slots, NDArray[np.intp]]:
        """Return slots for keys that are not in the table, twins among them; and the first row of each new slot.

        In each round every row looks at its place. The first row that finds a gap wins it, the others look
        again: twins of the winner find their key there, other rows try the next place.
        """
        mask = len(self._slots) - 1
        places = self._places(keys)
        slots = np.full(len(keys), NO_SLOT, np.int32)
        makers: list[NDArray[np.intp]] = []
        left = np.arange(len(keys))
        while len(left):
            at = places[left]
            there = self._slots[at]
            taken = there >= 0
            mine = taken & (self._keys[at] == keys[left])
            slots[left[mine]] = there[mine]
            won = self._won(at, left, ~taken)
            slots[left[won]] = self._settle(keys[left[won]], at[won], there[won])
            makers.append(left[won])
            passing = taken & ~mine
            places[left[passing]] = (at[passing] + 1) & mask
            mine[won] = True
            left = left[~mine]
        return self._renumber(keys, slots, np.concatenate([left[:0], *makers]))

    def _assign_native(self, keys: Words) -> tuple[Slots, NDArray[np.intp]]:
        """Return what `assign` returns while the cap is far; the table grows whenever it is full enough."""
        rows, done, made = len(keys), 0, 0
        slots, makers = np.empty(rows, np.int32), np.empty(rows, np.int64)
        while True:
            room = max(0, len(self._slots) // SPARSE - len(self) - self._removed)
            self._grow(self.capacity + max(0, min(room, rows - done) - self._freed))
            table = (self._keys, self._slots, int(_SECRET), self.keys, self.used, self._place)
            stack = (self._free, self._freed, self.capacity)
            done, made, self._freed, self.capacity, reused = kernel.native.claim(
                keys, *table, *stack, room, done, made, slots, makers
            )
            self._removed -= reused
            if done == rows:
                return slots, makers[:made]
            self._make_room(1)

    def _renumber(self, keys: Words, slots: Slots, makers: NDArray[np.intp]) -> tuple[Slots, NDArray[np.intp]]:
        """Return new slots in the order of their rows, so that numbers do not depend on the size of the table."""
        taken = slots[makers]
        makers = np.sort(makers)
        old = slots[makers]
        at = self._place[old]
        self.keys[taken], self._slots[at], self._place[taken] = keys[makers], taken, at
        number = np.empty(self.capacity, np.int32)  # only the places of `old` are written and read
        number[old] = taken
        return number[slots], makers

    def _won(self, at: NDArray[np.intp], rows: NDArray[np.intp], gap: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return which of the rows that want a free place get it."""
        gaps = np.flatnonzero(gap)
        before = self._slots[at[gaps]]
        claims = CLAIM - rows[gaps].astype(np.int32)
        self._slots[at[gaps[::-1]]] = claims[::-1]  # of several that want one place the first row wins: set last
        winners = self._slots[at[gaps]] == claims
        self._slots[at[gaps]] = before
        won: NDArray[np.intp] = gaps[winners]
        return won

    def _settle(self, keys: Words, at: NDArray[np.intp], before: Slots) -> Slots:
        """Give these keys slots, at places of the table that are theirs."""
        slots = self._take(len(keys))
        self._grow(self.capacity)
        self._removed -= int(np.count_nonzero(before == REMOVED))
        self.keys[slots], self.used[slots] = keys, True
        self._keys[at], self._slots[at], self._place[slots] = keys, slots, at
        return slots

    def _take(self, count: int) -> Slots:
        """Return slots to use: freed ones, latest first, then new ones."""
        again = min(count, self._freed)
        freed = self._free[self._freed - again : self._freed][::-1]
        self._freed -= again
        fresh = np.arange(self.capacity, self.capacity + count - again, dtype=np.int32)
        self.capacity += count - again
        return np.concatenate([freed, fresh])

    def _push(self, slots: Slots) -> None:
        height = self._freed + len(slots)
        if height > len(self._free):
            self._free = np.concatenate([self._free, np.zeros(2 * height - len(self._free), np.int32)])
        self._free[self._freed : height] = slots
        self._freed = height

    def _grow(self, slots: int) -> None:
        if slots <= len(self.keys):
            return
        size = 1 << (slots - 1).bit_length()
        self.keys = np.resize(self.keys, size)
        self.used = np.concatenate([self.used, np.zeros(size - len(self.used), np.bool_)])
        self._place = np.concatenate([self._place, np.zeros(size - len(self._place), np.int32)])

    def _rehash(self, size: int) -> None:
        self._shift = np.uint64(64 - (size.bit_length() - 1))
        self._keys: Words = np.zeros(size, np.uint64)
        self._slots: Slots = np.full(size, EMPTY, np.int32)
        self._place = np.zeros(len(self.keys), np.int32)
        self._removed = 0
        live = np.flatnonzero(self.used[: self.capacity]).astype(np.int32)
        self._place_all(self.keys[live], live)

    def _place_all(self, keys: Words, slots: Slots) -> None:
        """Put distinct keys that are not in the table where the first gap after their place is."""
        if kernel.native is not None:
            kernel.native.settle(keys, slots, self._keys, self._slots, int(_SECRET), self._place)
            return
        mask = len(self._slots) - 1
        places = self._places(keys)
        left = np.arange(len(keys))
        while len(left):
            at = places[left]
            gap = self._slots[at] < 0
            self._slots[at[gap]] = slots[left[gap]]  # of several that want one place the last wins
            won = gap & (self._slots[at] == slots[left])
            self._keys[at[won]], self._place[slots[left[won]]] = keys[left[won]], at[won]
            left = left[~won]
            places[left] = (places[left] + 1) & mask

    def state(self) -> State:
        """Return all that a restored table needs, as arrays and numbers."""
        return {
            "keys": self.keys[: self.capacity].copy(),
            "used": self.used[: self.capacity].copy(),
            "free": self._free[: self._freed].copy(),
            "refused": self.refused,
        }

    @classmethod
    def restored(cls, max_slots: int, state: State) -> SlotTable:
        """Return the table that `state` was taken from: same slots, same order of reuse."""
        table = cls(max_slots)
        keys, used = checked(state, "keys", np.uint64), checked(state, "used", np.bool_)
        table.capacity = len(keys)
        free = checked(state, "free", np.int32, bounds=(0, len(keys)))
        again = np.zeros(len(keys), np.bool_)
        again[free] = True
        if len(keys) != len(used) or np.count_nonzero(again) != len(free) or (again == used).any():
            raise ValueError("each slot of a table is either used or free, once")
        if len(np.unique(keys[used])) != np.count_nonzero(used):
            raise ValueError("a key of a table has two slots")
        size = max(_SMALLEST, 1 << max(0, len(keys) - 1).bit_length())
        table.keys = np.zeros(size, np.uint64)
        table.used = np.zeros(size, np.bool_)
        table.keys[: len(keys)], table.used[: len(keys)] = keys, used
        table._push(free)
        table.refused = int(state["refused"])
        table._rehash(max(_SMALLEST * 2, 1 << (max(1, len(table)) * 4 - 1).bit_length()))
        return table
