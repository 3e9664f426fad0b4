"""Questions and answers on a connection: what of the decoded rows only a memory can tell.

Solicited or not, round trips, repeated getaddr, and Core's address bucket. The state is small for each
connection, and what a peer can grow is capped. Where messages share a timestamp (nodes on a mock clock, whose
capture has whole seconds) a question comes before its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.errors import PositionError
from watchdog.sources.capture.addr_bucket import AddrBucket

PINGS_KEPT: Final = 16  # unanswered pings remembered for each connection and direction; the oldest go first
ANSWER_ENDS_ABOVE: Final = 10  # entries; a larger message ends the answer to our getaddr (relay is by 10 at most)
_COUNT_LIMIT: Final = (1 << 32) - 1

Indexes = NDArray[np.intp]


class Exchange:
    """What one connection has open. getaddrs: messages so far, [sent, received]; pings: nonce -> time in
    microseconds of unanswered ones, [sent, received]; headers_due: getheaders of the node without an answer, as
    far as it matters (0 or 1 once the clock moved on).
    """

    __slots__ = ("bucket", "getaddr_open", "getaddrs", "headers_at_us", "headers_due", "pings")

    def __init__(self, first_us: int) -> None:
        """first_us: when the connection began (Core dates its bucket from there)."""
        self.bucket = AddrBucket(first_us)
        self.getaddr_open = False
        self.getaddrs = [0, 0]
        self.headers_due = 0
        self.headers_at_us = 0
        self.pings: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def trim(self) -> None:
        """Forget the oldest unanswered pings beyond the cap."""
        for pings in self.pings:
            while len(pings) > PINGS_KEPT:
                del pings[next(iter(pings))]

    def forget_after(self, believed_us: int) -> None:
        """Forget everything after this time, which a wrong clock gave."""
        self.bucket.updated_us = min(self.bucket.updated_us, believed_us)
        self.headers_at_us = min(self.headers_at_us, believed_us)
        for pings in self.pings:
            for nonce in [nonce for nonce, at in pings.items() if at > believed_us]:
                del pings[nonce]

    def saved(self) -> list[object]:
        """Return the state as JSON-able values."""
        bucket = self.bucket
        pings = [[[nonce, at] for nonce, at in one.items()] for one in self.pings]
        headers = [self.headers_due, self.headers_at_us]
        return [bucket.tokens, bucket.updated_us, self.getaddr_open, list(self.getaddrs), headers, pings]

    @classmethod
    def restored(cls, saved: Any) -> Exchange:  # JSON: every value is converted below
        """Restore what `saved` returned; StateError when it is damaged."""
        try:
            tokens, updated, opened, getaddrs, headers, pings = saved
            one = cls(int(updated))
            one.bucket.tokens = float(tokens)
            one.getaddr_open = bool(opened)
            one.getaddrs = [int(getaddrs[0]), int(getaddrs[1])]
            one.headers_due, one.headers_at_us = int(headers[0]), int(headers[1])
            one.pings = (_pings(pings[0]), _pings(pings[1]))
        except (TypeError, ValueError, IndexError) as error:
            raise PositionError(f"position of a capture source holds a damaged connection: {error}") from error
        return one


def _pings(saved: Sequence[Sequence[int]]) -> dict[int, int]:
    return {int(nonce): int(at) for nonce, at in saved}


@dataclass(slots=True, eq=False)
class Traffic:
    """Messages of one cut, by time: parallel columns, and the exchange of each connection by slot."""

    time_us: NDArray[np.int64]
    received: NDArray[np.bool_]
    slot: NDArray[np.int32]
    exchanges: list[Exchange]


def _ordered(traffic: Traffic, questions: Indexes, answers: Indexes) -> tuple[list[int], list[bool]]:
    """Order questions and answers by time, questions first at equal times, as places in both lists joined."""
    order = np.argsort(np.concatenate((traffic.time_us[questions], traffic.time_us[answers])), kind="stable")
    return order.tolist(), (order >= len(questions)).tolist()


def addr_answers(
    traffic: Traffic, getaddrs: Indexes, rows: Indexes, entries: NDArray[np.int64]
) -> dict[str, NDArray[np.generic]]:
    """Return columns solicited, processed and beyond_limit of p2p:addr rows.

    getaddrs: indexes of all getaddr messages; rows: message of each p2p:addr row; entries: addresses in each.
    """
    count = len(rows)
    solicited, processed, beyond = np.zeros(count, np.bool_), np.zeros(count, np.uint32), np.zeros(count, np.uint32)
    ours = getaddrs[~traffic.received[getaddrs]]
    theirs = traffic.received[rows].nonzero()[0]
    asked = len(ours)
    if not asked and not len(theirs):
        return {"solicited": solicited, "processed": processed, "beyond_limit": beyond}
    order, is_answer = _ordered(traffic, ours, rows[theirs])
    both = np.concatenate((ours, rows[theirs]))
    slots, times = traffic.slot[both].tolist(), traffic.time_us[both].tolist()
    amounts, exchanges = [*(0 for _ in range(asked)), *entries[theirs].tolist()], traffic.exchanges
    welcome, taken = [False] * len(both), [0] * len(both)
    for at, answer in zip(order, is_answer, strict=True):
        exchange = exchanges[slots[at]]
        if not answer:
            exchange.bucket.grant()
            exchange.getaddr_open = True
            continue
        amount = amounts[at]
        if exchange.getaddr_open:
            welcome[at] = True
            exchange.getaddr_open = amount <= ANSWER_ENDS_ABOVE
        taken[at] = exchange.bucket.spend(times[at], amount)
    solicited[theirs], processed[theirs] = welcome[asked:], taken[asked:]
    refused = entries[theirs] > 1000  # Core drops these whole, before the bucket: neither processed nor limited
    beyond[theirs] = np.where(refused, 0, entries[theirs] - processed[theirs])
    return {"solicited": solicited, "processed": processed, "beyond_limit": beyond}


def headers_answers(traffic: Traffic, getheaders: Indexes, rows: Indexes) -> dict[str, NDArray[np.generic]]:
    """Return the column `solicited` of p2p:headers rows: received in answer to a getheaders of the node."""
    solicited = np.zeros(len(rows), np.bool_)
    ours = getheaders[~traffic.received[getheaders]]
    theirs = traffic.received[rows].nonzero()[0]
    asked = len(ours)
    if not asked and not len(theirs):
        return {"solicited": solicited}
    order, is_answer = _ordered(traffic, ours, rows[theirs])
    both = np.concatenate((ours, rows[theirs]))
    slots, times = traffic.slot[both].tolist(), traffic.time_us[both].tolist()
    verdicts = [False] * len(theirs)
    for at, answer in zip(order, is_answer, strict=True):
        exchange = traffic.exchanges[slots[at]]
        if exchange.headers_at_us != times[at]:
            exchange.headers_at_us = times[at]
            exchange.headers_due = min(exchange.headers_due, 1)
        if not answer:
            exchange.headers_due += 1
        elif exchange.headers_due:
            exchange.headers_due -= 1
            verdicts[at - asked] = True
    solicited[theirs] = verdicts
    return {"solicited": solicited}


def getaddr_repeats(traffic: Traffic, rows: Indexes) -> dict[str, NDArray[np.generic]]:
    """Count the getaddr messages of this connection and direction so far: the column repeat of p2p:getaddr."""
    repeats: list[int] = []
    for slot, received in zip(traffic.slot[rows].tolist(), traffic.received[rows].tolist(), strict=True):
        counts = traffic.exchanges[slot].getaddrs
        counts[received] = min(counts[received] + 1, _COUNT_LIMIT)
        repeats.append(counts[received])
    return {"repeat": np.array(repeats, np.uint32)}


def pong_answers(
    traffic: Traffic, pings: Indexes, ping_nonces: NDArray[np.uint64], rows: Indexes, nonces: NDArray[np.uint64]
) -> dict[str, NDArray[np.generic]]:
    """Return columns solicited and rtt_us of p2p:pong rows.

    pings, ping_nonces: messages that are pings with a nonce; rows, nonces: message and nonce of each pong row.
    """
    asked = len(pings)
    order, is_answer = _ordered(traffic, pings, rows)
    both = np.concatenate((pings, rows))
    slots, times = traffic.slot[both].tolist(), traffic.time_us[both].tolist()
    from_them = traffic.received[both].tolist()
    numbers = np.concatenate((ping_nonces, nonces)).tolist()
    solicited, rtt = np.zeros(len(rows), np.bool_), np.full(len(rows), -1, np.int64)
    exchanges = traffic.exchanges
    for at, answer in zip(order, is_answer, strict=True):
        if not answer:
            exchanges[slots[at]].pings[from_them[at]][numbers[at]] = times[at]
            continue
        sent_us = exchanges[slots[at]].pings[not from_them[at]].pop(numbers[at], None)
        if sent_us is not None:
            solicited[at - asked] = True
            rtt[at - asked] = max(0, times[at] - sent_us)
    for slot in set(slots):
        exchanges[slot].trim()
    return {"solicited": solicited, "rtt_us": rtt}
