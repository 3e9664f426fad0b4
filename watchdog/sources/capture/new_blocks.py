"""Blocks named for the first time in a capture: what a stranger cannot invent without work.

Any peer can send headers and compact blocks with any content. A header counts here only when

- its hash meets the target that it states, and that target is near the hardest that a header of this capture ever met:
  a header with an easier target of its own costs nothing;
- its time is near the event's: a real header of last year costs nothing either;
- nothing named its block before, in the same direction.

Work below difficulty 1 (regtest, signet) costs a peer seconds: there, and until a first header showed any work, three
addresses must name a block.

What this node sends names blocks that it has accepted, so a block that is sent is had and not only heard of.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.core_constants import MAX_BLOCKS_TO_ANNOUNCE, MAX_FUTURE_BLOCK_TIME, MSG_BLOCK
from watchdog.core.errors import StateError
from watchdog.sources.messages.rows import MessageRows

NEW_BLOCK: Final = "p2p:new_block"
BLOCK_AGE: Final = "chain:block_age"
HEADER_BYTES: Final = 80
NEAR: Final = 16  # times the hardest target; the difficulty of Bitcoin's chain changes by at most 4 in two weeks
BLOCKS_KEPT: Final = 256  # more than a day of blocks, where a header may be two hours old; none gets in without work
NAMES_KEPT: Final = 64  # blocks that wait for further addresses, the oldest go first
STEP_US: Final = 180_000_000  # of chain:block_age
EASY: Final = 1 << 224  # targets above cost seconds: difficulty 1, the powLimit of the main chain
WITNESSES: Final = 3  # addresses that must name a block where work costs nothing
_TYPES: Final = ("headers", "cmpctblock", "block", "inv")
_RECEIVED, _SENT = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class NewBlock:
    """Message `row` is the first of its direction to name the block; stamp_age_s: its time minus the block's."""

    row: int
    hash: bytes
    stamp_age_s: int


class NewBlocks:
    """The blocks of one capture that were named, and the most work that a header proved."""

    def __init__(self, saved: object = None) -> None:
        """Restore the result of `saved`; None for a start or an older position. StateError: it is damaged."""
        self._known: OrderedDict[bytes, list[int]] = OrderedDict()  # hash -> directions (bits), block time
        self._named: OrderedDict[bytes, list[str]] = OrderedDict()  # hash -> addresses that named it
        self._hardest = 0  # the smallest target met, 0 before any
        self._step = 0  # the latest of which a message was seen, STEP_US each
        self._last_us = 0  # when a block was last named for the first time, 0 before any
        self._saved: dict[str, object] | None = None  # until the next message about a block
        if saved is not None:
            self._restore(saved)

    def find(self, rows: MessageRows) -> list[NewBlock]:
        """Find first namings in one cut, by row; equal times are taken in the order of folders, whatever the cut."""
        codes = [(name, _that_name_blocks(rows, name).tolist()) for name in _TYPES]
        every = [(int(rows.time_us[row]), self._folder(rows, row), row, name) for name, some in codes for row in some]
        every.sort()
        self._saved = None if every else self._saved
        found: list[NewBlock] = []
        for time_us, folder, row, name in every:
            received = bool(rows.received[row])
            start = int(rows.starts[row])
            payload = memoryview(rows.data)[start : start + int(rows.size[row])]
            if name == "inv":
                found += self._relayed(payload, row, time_us) if not received else ()
                continue
            for header in _headers(name, payload):
                one = self._judge(header, row, time_us, folder, received=received)
                found += (one,) if one else ()
        return sorted(found, key=lambda one: one.row)

    def ages(self, time_us: NDArray[np.int64], blocks_us: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the times (us) of the first message of each step, and the age (s) of the newest block then.

        time_us: of all messages of one cut, blocks_us: of those that `find` found in it, both sorted.
        """
        steps = np.maximum.accumulate(time_us // STEP_US)
        firsts = time_us[np.flatnonzero(np.diff(steps, prepend=self._step) > 0)]
        named = np.array([self._last_us, *blocks_us], np.int64)
        newest = named[np.searchsorted(named[1:], firsts, side="right")]
        if len(firsts) or blocks_us:
            self._step, self._last_us, self._saved = int(steps[-1]), int(named[-1]), None
        return firsts, np.where(newest > 0, (firsts - newest) // 1_000_000, -1)

    def saved(self) -> dict[str, object]:
        """Return the state, JSON-able."""
        if self._saved is None:
            known = [[hash_.hex(), *facts] for hash_, facts in self._known.items()]
            named = [[hash_.hex(), *who] for hash_, who in self._named.items()]
            last = {"step": self._step, "last_us": self._last_us}
            self._saved = {"hardest": f"{self._hardest:x}", "known": known, "named": named, **last}
        return self._saved

    def _restore(self, saved: Any) -> None:  # JSON: every value is converted below
        try:
            self._hardest = int(saved["hardest"], 16)
            self._step, self._last_us = int(saved["step"]), int(saved["last_us"])
            for hash_, flags, stamp in saved["known"]:
                self._known[bytes.fromhex(hash_)] = [int(flags), int(stamp)]
            for hash_, *who in saved["named"]:
                self._named[bytes.fromhex(hash_)] = [str(one) for one in who]
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise StateError(f"position of a capture source holds damaged blocks: {error}") from error

    @staticmethod
    def _folder(rows: MessageRows, row: int) -> str:
        return rows.connections[int(rows.slot[row])].folder

    def _judge(self, header: bytes, row: int, time_us: int, folder: str, *, received: bool) -> NewBlock | None:
        hash_ = sha256(sha256(header).digest()).digest()
        if self._known.get(hash_, (0,))[0] & (_RECEIVED if received else _SENT):
            return None
        stamp = int.from_bytes(header[68:72], "little")
        age_s = time_us // 1_000_000 - stamp
        target = _target(int.from_bytes(header[72:76], "little"))
        if int.from_bytes(hash_, "little") <= target:
            self._hardest = min(self._hardest, target) if self._hardest else target
            if target > NEAR * self._hardest or abs(age_s) > MAX_FUTURE_BLOCK_TIME:
                return None
        elif self._hardest:
            return None  # only a chain whose work cannot be judged has such headers
        costly = 0 < self._hardest <= EASY
        proved = costly or not received or self._witnessed(hash_, folder)
        return self._first(hash_, stamp, row, age_s, received=received) if proved else None

    def _first(self, hash_: bytes, stamp: int, row: int, age_s: int, *, received: bool) -> NewBlock | None:
        flag = _RECEIVED if received else _SENT
        facts = self._known.setdefault(hash_, [0, stamp])
        if facts[0] & flag:
            return None
        facts[0] |= flag
        if len(self._known) > BLOCKS_KEPT:
            self._known.popitem(last=False)
        return NewBlock(row, hash_, age_s)

    def _relayed(self, payload: memoryview, row: int, time_us: int) -> Iterator[NewBlock]:
        """Find blocks that this node announces by inv; known by a header that came before."""
        for at in range(1, min(len(payload), 1 + 36 * MAX_BLOCKS_TO_ANNOUNCE) - 35, 36):
            if int.from_bytes(payload[at : at + 4], "little") != MSG_BLOCK:
                return
            hash_ = bytes(payload[at + 4 : at + 36])
            facts = self._known.get(hash_)
            age_s = time_us // 1_000_000 - facts[1] if facts else 0
            one = self._first(hash_, 0, row, age_s, received=False) if facts else None
            if one:
                yield one

    def _witnessed(self, hash_: bytes, folder: str) -> bool:
        """Return whether enough addresses have named it."""
        who = self._named.setdefault(hash_, [])
        address = folder.rpartition("_")[0]
        if address not in who:
            who.append(address)
        if len(self._named) > NAMES_KEPT:
            self._named.popitem(last=False)
        return len(who) >= WITNESSES


def _that_name_blocks(rows: MessageRows, type_: str) -> NDArray[np.intp]:
    """Return the rows of one type that may name a block, and whose payload can be read."""
    return _announcing(rows) if type_ == "inv" else rows.can_read(rows.of_type(type_))


def _announcing(rows: MessageRows) -> NDArray[np.intp]:
    """Return the inv rows that this node sent and that begin with a block; nearly all others name transactions."""
    chosen = rows.can_read(rows.of_type("inv"))
    chosen = chosen[~rows.received[chosen] & (rows.size[chosen] >= 37)]
    data, starts = np.frombuffer(rows.data, np.uint8), rows.starts[chosen].astype(np.int64)
    first = sum(data[starts + 1 + byte].astype(np.int64) << 8 * byte for byte in range(4))
    announcing: NDArray[np.intp] = chosen[np.asarray(first) == MSG_BLOCK]
    return announcing


def _headers(type_: str, payload: memoryview) -> list[bytes]:
    """Return the headers in a message, the last ones of many; none when its length is not that of its content."""
    if type_ != "headers":
        return [bytes(payload[:HEADER_BYTES])] if len(payload) > HEADER_BYTES else []
    count, after = (payload[0], 1) if len(payload) else (0, 1)
    if count >= 0xFD:
        count, after = int.from_bytes(payload[1:3], "little"), 3
    size = HEADER_BYTES + 1  # and the count of transactions, 0
    if not count or len(payload) != after + count * size:
        return []
    places = range(after + max(0, count - MAX_BLOCKS_TO_ANNOUNCE) * size, after + count * size, size)
    return [bytes(payload[at : at + HEADER_BYTES]) for at in places]


def _target(bits: int) -> int:
    """Return the target that a header states, -1 for one that no hash meets (Bitcoin Core's SetCompact)."""
    mantissa, size = bits & 0x7FFFFF, bits >> 24
    if bits & 0x800000 or not mantissa or size > 34:
        return -1
    return mantissa << 8 * (size - 3) if size >= 3 else mantissa >> 8 * (3 - size)
