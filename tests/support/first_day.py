"""The first day of nodes that are set up in different ways, as their RPC shows it: honest peers, blocks, no attack."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.fake_node import Answer, peer_v30, tip_hash, v30
from tests.support.virtual_node import START, VirtualTime

BEFORE_S = 60  # the node started this long before the first poll
MEAN_BLOCK_S, LONGEST_BLOCK_S = 600, 3_000  # gaps of an hour have a rule of their own, which may speak
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """How a node is set up. overlay: it has onion peers only. connect: manual peers of -connect; no others then."""

    inbound: int = 40
    blocksonly: bool = False
    overlay: bool = False
    pruned: bool = False
    connect: int = 0
    download_h: float = 0.0  # hours of initial download
    snapshot: bool = False  # a UTXO snapshot was loaded: the tip is young, older blocks are validated behind it
    known: int = 0  # addresses that its tables hold at the start


SETUPS = {
    "listening": Setup(known=40_000),
    "not-listening": Setup(inbound=0, known=40_000),
    "blocksonly": Setup(inbound=0, blocksonly=True, known=40_000),
    "onlynet-onion": Setup(inbound=8, overlay=True, known=8_000),
    "pruned": Setup(inbound=12, pruned=True, known=40_000),
    "assumeutxo": Setup(inbound=10, snapshot=True, download_h=1.0),
    "initial-download": Setup(inbound=15, download_h=20.0),
    "connect": Setup(inbound=0, connect=2),
}


@dataclass
class Peer:
    """A connection of the story. until_s: when it ends."""

    number: int
    kind: str
    address: str
    since_s: float
    until_s: float


@dataclass
class Day:
    """Answers at any virtual time; time only moves forward."""

    setup: Setup
    time: VirtualTime
    seed: int = 1
    peers: list[Peer] = field(default_factory=list)
    _next: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._blocks = [float(START - 400)]
        while self._blocks[-1] < self.time.end_s:
            self._blocks.append(self._blocks[-1] + min(LONGEST_BLOCK_S, self._random.expovariate(1 / MEAN_BLOCK_S)))

    def answers(self) -> dict[str, Answer]:
        """Return the answers of a node of v30 that lives this day."""
        fixed = v30()
        live: dict[str, Callable[[], Any]] = {
            "getpeerinfo": self._peerinfo,
            "getblockchaininfo": self._chain,
            "uptime": lambda: int(self.now_s - START + BEFORE_S),
            "getnetworkinfo": lambda: dict(fixed["getnetworkinfo"]) | self._counts(),
            "getnettotals": self._totals,
            "getaddrmaninfo": self._sizes,
            "getmempoolinfo": lambda: dict(fixed["getmempoolinfo"]) | self._mempool(),
            "getchaintips": self._tips,
            "getrawaddrman": self._tables,
        }
        return {**fixed, **{name: _ignoring(answer) for name, answer in live.items()}}

    @property
    def now_s(self) -> float:
        return self.time.now_s

    @property
    def height(self) -> int:
        return 900_000 + sum(block <= self.now_s for block in self._blocks)

    @property
    def downloading(self) -> float:
        """How much of the initial download is left, 1 to 0."""
        length_s = self.setup.download_h * 3_600
        return max(0.0, 1 - (self.now_s - START + BEFORE_S) / length_s) if length_s else 0.0

    def _live(self) -> list[Peer]:
        """End what is over, and open what the node opens: slots one by one after its start, inbound peers slowly."""
        setup, now_s = self.setup, self.now_s
        self.peers = [one for one in self.peers if one.until_s > now_s]
        counts = {kind: sum(one.kind == kind for one in self.peers) for kind in (*LIVES, "manual")}
        if setup.connect:
            wanted = {"manual": setup.connect}
        else:
            age_s = now_s - START + BEFORE_S
            wanted = {
                "outbound-full-relay": min(8, int(age_s / 15)),
                "block-relay-only": min(2, int(age_s / 60)),
                "inbound": min(setup.inbound, int(age_s / 300)),
                "feeler": int(int(now_s / 60) % 2 == 0),
            }
        for kind, count in wanted.items():
            for _ in range(count - counts[kind]):
                self._open(kind)
        return self.peers

    def _open(self, kind: str) -> None:
        draw = self._random
        if self.setup.overlay:
            name = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(56))
            address = f"127.0.0.1:{draw.randrange(30_000, 60_000)}" if kind == "inbound" else f"{name}.onion:8333"
        else:
            place = f"{draw.randrange(11, 99)}.{draw.randrange(1, 250)}.{draw.randrange(250)}.{draw.randrange(1, 250)}"
            address = f"{place}:{draw.randrange(30_000, 60_000) if kind == 'inbound' else 8333}"
        length_s = draw.expovariate(1 / LIVES[kind]) if kind in LIVES else 1e9
        since_s = self.now_s - draw.random() * 20
        self.peers.append(Peer(self._next, kind, address, since_s, self.now_s + max(5.0, length_s)))
        self._next += 1

    def _peerinfo(self) -> Rows:
        rows = []
        for one in self._live():
            row = peer_v30(one.number, int(self.now_s), one.kind)
            relays = not (self.setup.blocksonly or one.kind == "block-relay-only")
            age_s = int(self.now_s - one.since_s)
            rows.append(
                row
                | {
                    "addr": one.address,
                    "network": "onion" if self.setup.overlay else "ipv4",
                    "conntime": int(one.since_s),
                    "relaytxes": relays,
                    "last_transaction": int(self.now_s) - 5 if relays and not self.downloading else 0,
                    "synced_headers": self.height,  # each peer names each block, as on the network
                    "last_block": int(self._newest()) if one.kind != "inbound" else 0,
                    "bytessent": 40 * age_s,
                    "bytesrecv": 300 * age_s,
                    "addr_processed": age_s // 60,
                }
            )
        return rows

    def _newest(self) -> float:
        return max(block for block in self._blocks if block <= self.now_s)

    def _counts(self) -> dict[str, int | bool]:
        inbound = sum(one.kind == "inbound" for one in self.peers)
        return {
            "connections": len(self.peers),
            "connections_in": inbound,
            "connections_out": len(self.peers) - inbound,
            "localrelay": not self.setup.blocksonly,
        }

    def _chain(self) -> dict[str, Any]:
        left, height = self.downloading, self.height
        blocks = height if not left or self.setup.snapshot else int(height * (1 - left))
        made_s = self._newest() if blocks == height else START - 14 * 365 * 86_400 * left
        return dict(v30()["getblockchaininfo"]) | {
            "blocks": blocks,
            "headers": height,
            "bestblockhash": tip_hash(blocks),
            "time": int(made_s),
            "initialblockdownload": bool(left) and not self.setup.snapshot,
            "pruned": self.setup.pruned,
            "verificationprogress": 1 - left,
        }

    def _tips(self) -> Rows:
        chain = self._chain()
        tips = [{"height": chain["blocks"], "hash": chain["bestblockhash"], "branchlen": 0, "status": "active"}]
        if chain["blocks"] < chain["headers"]:
            height = chain["headers"]
            ahead = {"height": height, "hash": tip_hash(height), "branchlen": height - chain["blocks"]}
            tips.append(ahead | {"status": "headers-only"})
        old = [{"height": 800_000 + n, "hash": tip_hash(800_000 + n, 7), "branchlen": 1} for n in range(12)]
        race = int((self.now_s - START) // 20_000)
        old += [{"height": 900_010 + n, "hash": tip_hash(900_010 + n, 9), "branchlen": 1} for n in range(race)]
        return tips + [one | {"status": "valid-fork" if n % 2 else "valid-headers"} for n, one in enumerate(old)]

    def _totals(self) -> dict[str, int]:
        age_s = self.now_s - START + BEFORE_S
        rate = 2_000_000 if self.downloading else 20_000
        return {
            "totalbytesrecv": int(rate * age_s),
            "totalbytessent": int(9_000 * age_s),
            "timemillis": int(self.now_s * 1000),
        }

    def _known(self) -> int:
        age_h = (self.now_s - START + BEFORE_S) / 3_600
        return 0 if self.setup.connect else self.setup.known or int(min(1, age_h / 12) * 30_000) + 1_000

    def _sizes(self) -> dict[str, dict[str, int]]:
        known = self._known()
        size = {"new": known - known // 20, "tried": known // 20, "total": known}
        return {"onion" if self.setup.overlay else "ipv4": size, "all_networks": size}

    def _mempool(self) -> dict[str, Any]:
        few = self.setup.blocksonly or self.downloading
        size = 0 if few else min(40_000, int((self.now_s - START + BEFORE_S) * 3))
        return {"loaded": not self.downloading, "size": size, "bytes": size * 500, "usage": size * 2_500}

    def _tables(self) -> dict[str, dict[str, Any]]:
        """Return small tables that fill at an honest rate, each address and source from another group."""
        count = min(600, int((self.now_s - START + BEFORE_S) / 150))
        return {"new": {f"{n}/{n % 64}": self._entry(n) for n in range(count)}, "tried": {}}

    def _entry(self, number: int) -> dict[str, Any]:
        draw = random.Random(number)
        if self.setup.overlay:
            names = ["".join(draw.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(56)) for _ in range(2)]
            address, source = (f"{name}.onion" for name in names)
        else:
            address, source = (
                f"{draw.randrange(11, 99)}.{draw.randrange(250)}.3.{draw.randrange(1, 250)}" for _ in "ab"
            )
        return {"address": address, "port": 8333, "services": 9, "time": START - 9_000, "source": source}


LIVES = {"outbound-full-relay": 40 * 3_600.0, "block-relay-only": 60 * 3_600.0, "inbound": 5 * 3_600.0, "feeler": 2.0}
"""Mean life of a connection by type, seconds."""


def day(name: str, time: VirtualTime, **changes: Any) -> dict[str, Answer]:
    """Return the answers of one of SETUPS."""
    return Day(replace(SETUPS[name], **changes), time).answers()


def _ignoring(answer: Callable[[], Any]) -> Callable[[list[Any]], Any]:
    return lambda _params: answer()
