"""Keys: what a rule counts apart, as dense slots shared by all rules with the same `by`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words, combine, text_word
from detectors.slots import NO_SLOT, Slots, SlotTable
from detectors.state import State, checked
from watchdog.core.batch import Batch, Strings
from watchdog.core.kinds import KINDS
from watchdog.core.prefix import prefix_texts

# `conn` numbers connections of one source and one node process: others count from zero too.
CONNECTION = "conn"
PSEUDO_FIELDS = ("kind", "node", "source")
_WORD_CACHE = 50_000


class Grouping:
    """Slots for the key fields `by`.

    carried: further fields that the key determines (a connection's address, its netgroup...);
    their text is kept from the first row of a key, so that a verdict can name them long after.
    """

    def __init__(self, by: tuple[str, ...], carried: Sequence[str], max_keys: int) -> None:
        self.by, self.carried = by, tuple(field for field in carried if field not in by)
        self.table = SlotTable(max_keys)
        self.last_ns: NDArray[np.int64] = np.zeros(64, np.int64)
        self.texts: list[tuple[str, ...]] = []  # by slot: the fields of `by`, then those carried
        self.evicted = 0
        self._words: dict[str, int] = {}
        self._dictionary: tuple[tuple[str, ...], Words] | None = None  # the last one

    @property
    def name(self) -> str:
        """Its fields with commas between; `node` without any."""
        return ",".join(self.by) or "node"

    def counts(self) -> dict[str, int]:
        """Return the numbers of live keys, of keys refused for want of room, and of keys evicted to make room."""
        return {"live": len(self.table), "refused": self.table.refused, "evicted": self.evicted}

    @property
    def capacity(self) -> int:
        """Slots ever handed out."""
        return self.table.capacity

    def slots(self, batch: Batch, rows: NDArray[np.intp]) -> Slots:
        """Return the slot of each row's key, made where new; NO_SLOT where the table is full."""
        latest = int(batch.time_ns.max())
        if not self.by:
            slot = self.ensure_node_key()
            self.last_ns[slot] = latest
            return np.full(len(rows), slot, np.int32)
        column = batch.columns.get(self.by[0]) if len(self.by) == 1 else None
        if not isinstance(column, Strings):
            return self._assigned(batch, rows, self._key_words(batch, rows), latest)
        # A key that is one text field: look up each text of the dictionary once, not each row.
        codes = column.codes[rows]
        first_row = np.full(len(column.values), -1, np.intp)
        first_row[codes[::-1]] = rows[::-1]
        present = np.flatnonzero(first_row >= 0)
        slot_of = np.full(len(column.values), NO_SLOT, np.int32)
        words = self._dictionary_words(column.values)[present]
        slot_of[present] = self._assigned(batch, first_row[present], words, latest)
        return slot_of[codes]

    def _assigned(self, batch: Batch, rows: NDArray[np.intp], words: Words, latest_ns: int) -> Slots:
        slots, first = self.table.assign(words)
        if len(first):
            self._describe(batch, rows[first], slots[first])
        self.last_ns[slots[slots >= 0]] = latest_ns
        return slots

    def find(self, batch: Batch, rows: NDArray[np.intp]) -> Slots:
        """Return the slot of each row's key, NO_SLOT where it has none."""
        return self.table.find(self._key_words(batch, rows))

    def ensure_node_key(self) -> int:
        """Return the only slot of a grouping without fields, made if need be."""
        slots, first = self.table.assign(np.zeros(1, np.uint64))
        if len(first):
            self._reserve()
            self.texts[int(slots[0])] = ()
        return int(slots[0])

    def key(self, slot: int) -> dict[str, str]:
        """Return the key of a slot, field by field, as text."""
        return dict(zip(self.by, self.texts[slot], strict=False))

    def known(self, slot: int) -> dict[str, str]:
        """Return key and carried fields of a slot as text."""
        return dict(zip((*self.by, *self.carried), self.texts[slot], strict=False))

    def release(self, busy: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Free the slots that are not `busy` (by slot): in no window, in no open pane; returns them."""
        size = self.capacity
        idle = np.flatnonzero(self.table.used[:size] & ~busy[:size])
        self.table.remove(idle)
        for slot in idle.tolist():
            self.texts[slot] = ()
        return idle

    def longest_idle(self, count: int, spared: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the `count` slots that were silent longest, without the spared ones."""
        slots = np.flatnonzero(self.table.used[: self.capacity] & ~spared[: self.capacity])
        order = np.lexsort((self.table.keys[slots], self.last_ns[slots]))
        return slots[order[:count]]

    def _key_words(self, batch: Batch, rows: NDArray[np.intp]) -> Words:
        words: Words | None = None
        for field in self.by:
            more = self._field_words(batch, field, rows)
            words = more if words is None else combine(words, more)
        return np.zeros(len(rows), np.uint64) if words is None else words

    def _field_words(self, batch: Batch, field: str, rows: NDArray[np.intp]) -> Words:
        if field in PSEUDO_FIELDS and field not in batch.columns:
            return np.full(len(rows), self._word(getattr(batch, field)), np.uint64)
        column = batch.columns[field]
        if isinstance(column, Strings):
            return self._dictionary_words(column.values)[column.codes[rows]]
        if not isinstance(column, np.ndarray):
            raise TypeError(f"field {field!r} of {batch.kind} cannot be a key")
        words = column[rows].astype(np.uint64) if column.dtype != np.int64 else column[rows].view(np.uint64)
        if field == CONNECTION:
            origin = np.full(len(rows), self._word(f"{batch.source}\0{batch.boot_ns}"), np.uint64)
            return combine(origin, words)
        return words

    def _dictionary_words(self, values: tuple[str, ...]) -> Words:
        """Return the words of a dictionary; a source often sends the same one again."""
        if self._dictionary is None or self._dictionary[0] is not values:
            self._dictionary = (values, np.array([self._word(value) for value in values], np.uint64))
        return self._dictionary[1]

    def _word(self, text: str) -> int:
        word = self._words.get(text)
        if word is None:
            if len(self._words) >= _WORD_CACHE:
                self._words.clear()
            word = self._words[text] = text_word(text)
        return word

    def _describe(self, batch: Batch, rows: NDArray[np.intp], slots: Slots) -> None:
        self._reserve()
        columns = [field_texts(batch, field, rows) for field in (*self.by, *self.carried)]
        for index, slot in enumerate(slots.tolist()):
            self.texts[slot] = tuple(column[index] for column in columns)

    def _reserve(self) -> None:
        size = self.capacity
        self.texts.extend(() for _ in range(size - len(self.texts)))
        if size > len(self.last_ns):
            more = (1 << (size - 1).bit_length()) - len(self.last_ns)
            self.last_ns = np.concatenate([self.last_ns, np.zeros(more, np.int64)])

    def state(self) -> State:
        """Return table, texts and counts."""
        size = self.capacity
        return {
            "table": self.table.state(),
            "last_ns": self.last_ns[:size],
            "texts": packed_texts([text for texts in self.texts for text in texts]),
            "described": np.array([bool(texts) for texts in self.texts], np.bool_),
            "evicted": self.evicted,
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.table = SlotTable.restored(self.table.max_slots, state["table"])
        self.texts = []
        self.last_ns = np.zeros(64, np.int64)
        self._reserve()
        size = self.capacity
        self.last_ns[:size] = state["last_ns"]
        fields = len(self.by) + len(self.carried)
        flat = unpacked_texts(state["texts"])
        columns = [flat[field::fields] for field in range(fields)]
        rows = zip(*columns, strict=True) if fields else iter(())
        described = checked(state, "described", np.bool_, size).tolist()
        self.texts = [next(rows) if known else () for known in described]
        self.evicted = state["evicted"]


def packed_texts(texts: list[str]) -> State:
    """Return texts as one array of UTF-8 and their lengths in characters: as fast to write as numbers."""
    joined = np.frombuffer("".join(texts).encode("utf-8", "surrogatepass"), np.uint8)
    return {"joined": joined, "lengths": np.fromiter(map(len, texts), np.int32, len(texts))}


def unpacked_texts(state: State) -> list[str]:
    """Return the texts that were packed."""
    joined = state["joined"].tobytes().decode("utf-8", "surrogatepass")
    ends = np.cumsum(state["lengths"], dtype=np.int64).tolist()
    return [joined[end - length : end] for end, length in zip(ends, state["lengths"].tolist(), strict=True)]


def field_texts(batch: Batch, field: str, rows: NDArray[np.intp]) -> list[str]:
    """Return a field of some rows as people read it; empty where this kind has no such field."""
    if field in PSEUDO_FIELDS and field not in batch.columns:
        return [str(getattr(batch, field))] * len(rows)
    column = batch.columns.get(field)
    if column is None:
        return [""] * len(rows)
    if isinstance(column, Strings):
        return column.take(rows).tolist()
    if not isinstance(column, np.ndarray):
        return [blob.hex() for blob in column.take(rows).tolist()]
    known = KINDS.get(batch.kind)
    if known is not None and field in known.fields and known.fields[field].type == "prefix":
        return prefix_texts(column[rows].astype(np.uint64))
    if column.dtype == np.bool_:
        return ["true" if value else "false" for value in column[rows].tolist()]
    return [str(value) for value in column[rows].tolist()]
