"""Which Init a node has: what each version of Bitcoin Core offers over IPC, and what it cannot give.

    ordinal of Init     v30       v31        v31 with Rpc   tracing      pr/ipc
    make2               Mining    refuses    refuses        refuses      Node
    make3               -         Mining     Mining         Mining       Chain
    make4               -         -          Rpc            Chain        WalletLoader (never called)
    make5               -         -          -              Node         -
    make7               -         -          -              Tracing      -

`-`: the call is not implemented. Two versions differ at ordinal 4, and calling the wrong method of an object is
harmless: its interface has another id, so the node answers "unimplemented" (`watchdog.sources.ipc.child.detect`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class InitLayout:
    """What a node offers. about: the versions, for people. polls: it answers JSON-RPC. tip: it reports its tip.

    chain, tracing: it takes subscribers of its chain and of its coins cache.
    """

    name: str
    about: str
    polls: bool = False
    tip: bool = False
    chain: bool = False
    tracing: bool = False

    @property
    def lacks(self) -> str:
        """What such a node does not give over IPC, for people; empty where nothing is missing."""
        missing = []
        if not self.polls:
            missing.append("no calls (peers, address tables, mempool)")
        if not self.tip:
            missing.append("no tip at once")
        if not self.chain:
            missing.append("no notifications of its chain")
        if not self.tracing:
            missing.append("no trace of its coins cache")
        return ", ".join(missing)


UNKNOWN: Final = "unknown"
LAYOUTS: Final[Mapping[str, InitLayout]] = {
    row.name: row
    for row in (
        InitLayout("v30", "Bitcoin Core 30", tip=True),
        InitLayout("v31", "Bitcoin Core between 30 and 31, without Rpc", tip=True),
        InitLayout("v31-rpc", "Bitcoin Core 31 or later", polls=True, tip=True),
        InitLayout(
            "tracing", "the tracing proof of concept (PR 32898)", polls=True, tip=True, chain=True, tracing=True
        ),
        InitLayout("pr-ipc", "the branch pr/ipc", polls=True, chain=True),
        InitLayout(UNKNOWN, "a node of an unknown kind", tip=True),
    )
}
