"""The loaded schema files. Their objects have no static types: they are pycapnp's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import capnp

import watchdog.sources.ipc.schema

_FOLDER = Path(watchdog.sources.ipc.schema.__path__[0])


def _load(name: str) -> Any:
    return capnp.load(str(_FOLDER / f"{name}.capnp"), imports=[str(_FOLDER)])


PROXY: Any = _load("proxy")
INIT: Any = _load("init")
RPC: Any = _load("rpc")
MINING: Any = _load("mining")
HANDLER: Any = _load("handler")
CHAIN: Any = _load("chain")
NODE: Any = _load("node")
TRACING: Any = _load("tracing")
