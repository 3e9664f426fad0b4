"""The chains that a node can run, as options of Bitcoin Core choose them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from watchdog.sources.rpc.url import CHAINS as PORTS_AND_FOLDERS


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain. name: in RPC answers, in `-chain` and as a section of bitcoin.conf. folder: below the datadir, empty
    for the main chain. port: the default of `-rpcport`. flag: the option that chooses it, empty for the main chain.
    """

    name: str
    folder: str
    port: int
    flag: str


_FLAGS: Final[Mapping[str, str]] = {"main": "", "test": "testnet"}  # others have their own name
CHAINS: Final = tuple(
    Chain(name, folder, port, _FLAGS.get(name, name)) for name, (port, folder) in PORTS_AND_FOLDERS.items()
)
MAIN: Final = CHAINS[0]


def chain_named(name: str) -> Chain | None:
    """Return the chain of this name; None when there is no such chain."""
    return next((chain for chain in CHAINS if chain.name == name), None)
