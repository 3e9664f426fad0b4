"""What the counters in ZMQ notifications prove: messages lost, and a node that was restarted.

Every message carries the number that its publisher had sent before it on the same topic (Bitcoin Core's
`nSequence`): 32 bits, from 0 at the start of the node. Messages of the topic `sequence`
about the mempool also carry the mempool's own number (`m_sequence_number`).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

WRAP: Final = 1 << 32
NEAR_WRAP: Final = 1 << 20
"""A fall across the end of 32 bits with no more than this on both sides is an overflow, any other one a new process."""
MOST: Final = (1 << 63) - 1
"""Changes that are counted as lost: numbers that jump to and fro would exceed what a checkpoint holds."""
ADDED, REMOVED, CONNECTED, DISCONNECTED = b"ARCD"
"""Labels of the topic `sequence` (Bitcoin Core doc/zmq.md)."""

Numbers = NDArray[np.int64]
Counted = Annotated[int, msgspec.Meta(ge=-1, lt=1 << 32)]
Numbered = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class CounterStep(msgspec.Struct, frozen=True):
    """Something that a counter proves. lost: messages. restarted: the node was restarted before this message."""

    lost: int
    restarted: bool = False


class TopicCounter(msgspec.Struct):
    """The counter of one topic. last: of its latest message, None before the first, which proves nothing."""

    last: Counted | None = None

    def note(self, counters: Numbers) -> list[CounterStep]:
        """Take the counters of messages in the order of their arrival, each from 0 to 2^32 - 1."""
        if not len(counters):
            return []
        first = int(counters[0]) - 1 if self.last is None else self.last
        before = np.concatenate((np.array([first], np.int64), counters[:-1]))
        odd = np.flatnonzero((counters - before) % WRAP != 1)
        self.last = int(counters[-1])
        return [_step(int(before[row]), int(counters[row])) for row in odd.tolist()]


def _step(before: int, now: int) -> CounterStep:
    """Judge two counters in a row that are not neighbours."""
    overflow = before >= WRAP - NEAR_WRAP and now < NEAR_WRAP
    if now > before or overflow:
        return CounterStep((now - before - 1) % WRAP)
    return CounterStep(now, restarted=True)  # the new process counts from 0, and its first messages were missed


class MempoolCounter(msgspec.Struct):
    """The mempool's own number, in messages of which the topic's counter says that none is missing between them.

    The mempool numbers every change but reports none that a block makes by including a transaction. Such numbers are
    missing just before the message of their block: only removals (of conflicts) come in between, and additions where a
    reorganisation had begun. A number that is missing there is forgiven; any other one, and one that is not explained
    until the caller calls `settle`, is a lost change.

    last: of the latest change, None when the next number proves nothing. owed: missing, and perhaps a block's doing.
    after_block, reorganising: the latest message about blocks connected one, or disconnected one.
    """

    last: Numbered | None = None
    owed: Numbered = 0
    after_block: bool = False
    reorganising: bool = False

    def note(self, labels: NDArray[np.uint8], numbers: NDArray[np.uint64]) -> int:
        """Take messages in order; return how many changes are lost for certain. numbers: ignored for blocks."""
        if self._plain(labels, numbers):
            self.last = int(numbers[-1])
            return 0
        return sum(self._note(label, number) for label, number in zip(labels.tolist(), numbers.tolist(), strict=True))

    def settle(self) -> int:
        """Return the changes that no block has explained in time: they are lost."""
        owed, self.owed = self.owed, 0
        return owed

    def reset(self) -> None:
        """Forget the number: messages were lost, or the node was restarted."""
        self.last, self.owed, self.after_block, self.reorganising = None, 0, False, False

    def _plain(self, labels: NDArray[np.uint8], numbers: NDArray[np.uint64]) -> bool:
        """Return whether the messages are changes in a row: the usual case, judged without looking at each."""
        if not len(labels) or self.last is None or self.owed or self.after_block:
            return False
        changes = (labels == ADDED) | (labels == REMOVED)
        following = np.arange(1, len(numbers) + 1, dtype=np.uint64) + np.uint64(self.last)
        return bool(changes.all() and (numbers == following).all())

    def _note(self, label: int, number: int) -> int:
        if label in {CONNECTED, DISCONNECTED}:
            self.after_block = self.after_block or label == CONNECTED
            self.reorganising = label == DISCONNECTED
            self.owed = 0 if label == CONNECTED else self.owed
            return 0
        missing = 0 if self.last is None or self.after_block else number - self.last - 1
        self.last, self.after_block = number, False
        if missing < 0:  # the number fell, with no message missing: no node does this
            return 1
        self.owed = min(self.owed + missing, MOST)
        return self.settle() if label == ADDED and not self.reorganising else 0
