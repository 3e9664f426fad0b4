"""python -m benchmarks.fleet_nodes NODES ENTRIES FOLDER: fake nodes over HTTP, for fleet-rpc.

Prints one JSON list of [URL, cookie file], and ends with its standard input. Then it prints how many getrawaddrman were
open at one time at most.

Answers move with the number of calls, by the usual intervals: the nodes know nothing of the caller's clock.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.rpc_addrman import FIRST_S, answers_of
from tests.support.fake_node import Answer, FakeNode, Json, peer_v30, tip_hash, v30

PEERS: Final = 125
TABLES: Final = 4  # different tables among the nodes
HEIGHT: Final = 900_000
POLL_S, TABLE_S, BLOCK_S = 30, 600, 600
Tables = tuple[bytes, bytes]


class OpenCalls:
    """How many calls are open, and the most so far."""

    def __init__(self) -> None:
        self._lock, self.now, self.most = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def moving(interval_s: int, make: Callable[[int], Json]) -> Answer:
    """Return an answer by the seconds since the first call."""
    calls = [0]

    def answer(_params: list[Json]) -> Json:
        calls[0] += 1
        return make((calls[0] - 1) * interval_s)

    return answer


def peers(now_s: int) -> list[dict[str, Json]]:
    """Return 125 peers; one of them is replaced each minute, and all of them talk."""
    made = []
    for place in range(PEERS):
        turn = (now_s // 60 + PEERS - 1 - place) // PEERS if place >= 10 else 0
        number, kind = place + turn * PEERS, "inbound" if place >= 10 else ""
        address = f"{20 + place % 200}.{1 + place % 250}.{turn % 250}.9:8333"
        talk = {"bytessent": 50_000 + 90 * now_s, "bytesrecv": 90_000 + 120 * now_s, "addr": address}
        made.append(peer_v30(number, FIRST_S + now_s, kind, **talk))
    return made


def answers(tables: Tables, open_calls: OpenCalls) -> dict[str, Answer]:
    """Return the answers of one node. tables: two answers of getrawaddrman, given in turns."""
    still = v30(HEIGHT, FIRST_S)

    def chain(passed_s: int) -> Json:
        height = HEIGHT + passed_s // BLOCK_S
        own = {"blocks": height, "headers": height, "bestblockhash": tip_hash(height), "time": FIRST_S + passed_s}
        return {**still["getblockchaininfo"], **own}

    def addrman(passed_s: int) -> bytes:
        with open_calls:
            return tables[passed_s // TABLE_S % 2]

    totals = still["getnettotals"]
    return {
        **still,
        "getpeerinfo": moving(POLL_S, peers),
        "getblockchaininfo": moving(POLL_S, chain),
        "uptime": moving(POLL_S, lambda passed_s: 100_000 + passed_s),
        "getnettotals": moving(60, lambda passed_s: {**totals, "timemillis": 1_000 * (FIRST_S + passed_s)}),
        "getrawaddrman": moving(TABLE_S, addrman),
    }


def main() -> None:
    """Serve until standard input ends."""
    count, entries, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    tables = [answers_of(entries, seed) for seed in range(min(count, TABLES))]
    open_calls, places = OpenCalls(), []
    with ExitStack() as stack:
        for number in range(count):
            own = folder / f"n{number}"
            own.mkdir()
            node = stack.enter_context(FakeNode(own, answers(tables[number % TABLES], open_calls)))
            places.append((node.url, str(node.cookie)))
        print(json.dumps(places), flush=True)
        sys.stdin.read()
        print(open_calls.most, flush=True)


if __name__ == "__main__":
    main()
