"""The schema files of a node that plays Bitcoin Core over IPC, by the layout of its Init, with Core's own types.

Written from the facts of the wire, not from our own files: what the two disagree on, a test sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

MOST: Final = "1.7976931348623157e308"
H: Final = 'import "handler.capnp".Handler'
C: Final = "context :Proxy.Context"
_COUNTED: Final = "NotifyNumConnectionsChangedCallback"
_ANSWER: Final = "(error :Text, rpcError :Text, result :Text)"
_HEAD: Final = 'using Proxy = import "proxy.capnp";\n'
_MAKES: Final[Mapping[str, str]] = {
    "Mining": f'({C}) -> (result :import "mining.capnp".Mining)',
    "Rpc": f'({C}) -> (result :import "rpc.capnp".Rpc)',
    "Chain": f'({C}) -> (result :import "chain.capnp".Chain)',
    "Node": f'({C}) -> (result :import "node.capnp".Node)',
    "Tracing": f'({C}) -> (result :import "tracing.capnp".Tracing)',
    "WalletLoader": f'({C}, globalArgs :Data, chain :import "chain.capnp".Chain) -> (result :Other)',
    "Other": f"({C}) -> (result :Other)",
    "MiningOld2": "() -> ()",
}
INITS: Final[Mapping[str, Mapping[int, str]]] = {
    "v30": {2: "Mining"},
    "v31": {2: "MiningOld2", 3: "Mining"},
    "v31-rpc": {2: "MiningOld2", 3: "Mining", 4: "Rpc"},
    "tracing": {2: "MiningOld2", 3: "Mining", 4: "Chain", 5: "Node", 6: "WalletLoader", 7: "Tracing"},
    "pr-ipc": {2: "Node", 3: "Chain", 4: "WalletLoader"},
    "odd": {2: "MiningOld2", 3: "Mining", 4: "Other"},
    "bare": {},
}
"""What Init makes at each ordinal, by layout; `odd` and `bare` are of no release."""


def _filled(methods: Mapping[int, str], last: int) -> str:
    return "\n".join(f"  {methods.get(number, f'hole{number} @{number} () -> ();')}" for number in range(last + 1))


def _init(layout: str) -> str:
    made = INITS[layout]
    methods = {0: "construct @0 (threadMap :Proxy.ThreadMap) -> (threadMap :Proxy.ThreadMap);",
               1: f"makeEcho @1 {_MAKES['Other']};"}  # fmt: skip
    methods |= {number: f"make{name} @{number} {_MAKES[name]};" for number, name in made.items()}
    other = f"interface Other {{ hello @0 ({C}) -> (); }}"
    return f"@0xf2c5cfa319406aa6;\n{_HEAD}{other}\ninterface Init {{\n{_filled(methods, max(made, default=1))}\n}}\n"


def _mining(*, interrupt: bool) -> str:
    methods = {
        0: f"isTestChain @0 ({C}) -> (result :Bool);",
        1: f"isInitialBlockDownload @1 ({C}) -> (result :Bool);",
        2: f"getTip @2 ({C}) -> (result :BlockRef, hasResult :Bool);",
        3: f"waitTipChanged @3 ({C}, currentTip :Data, timeout :Float64 = {MOST}) -> (result :BlockRef);",
    }
    if interrupt:
        methods[6] = "interrupt @6 () -> ();"
    common = 'using BlockRef = import "common.capnp".BlockRef;\n'
    return f"@0xc77d03df6a41b505;\n{_HEAD}{common}interface Mining {{\n{_filled(methods, max(methods))}\n}}\n"


def _chain() -> str:
    methods = {
        0: f"destroy @0 ({C}) -> ();",
        1: f"getHeight @1 ({C}) -> (result :Int32, hasResult :Bool);",
        2: f"getBlockHash @2 ({C}, height :Int32) -> (result :Data);",
        33: f"isInitialBlockDownload @33 ({C}) -> (result :Bool);",
        39: f"handleNotifications @39 ({C}, notifications :ChainNotifications) -> (result :{H});",
    }
    return f"""@0x94f21a4864bd2c65;
{_HEAD}interface Chain {{
{_filled(methods, 39)}
}}
interface ChainNotifications {{
  destroy @0 ({C}) -> ();
  transactionAddedToMempool @1 ({C}, tx :Data) -> ();
  transactionRemovedFromMempool @2 ({C}, tx :Data, reason :Int32) -> ();
  blockConnected @3 ({C}, role :ChainstateRole, block :BlockInfo) -> ();
  blockDisconnected @4 ({C}, block :BlockInfo) -> ();
  updatedBlockTip @5 ({C}) -> ();
  chainStateFlushed @6 ({C}, role :ChainstateRole, locator :Data) -> ();
}}
struct BlockInfo {{
  hash @0 :Data; prevHash @1 :Data; height @2 :Int32 = -1; fileNumber @3 :Int32 = -1; dataPos @4 :UInt32 = 0;
  data @5 :Data; undoData @6 :Data; chainTimeMax @7 :UInt32 = 0;
}}
struct ChainstateRole {{ validated @0 :Bool; historical @1 :Bool; }}
"""


def _node() -> str:
    methods = {
        0: f"destroy @0 ({C}) -> ();",
        18: f"getNodeCount @18 ({C}, flags :Int32) -> (result :UInt64);",
        42: f"executeRpc @42 ({C}, command :Text, params :Text, uri :Text) -> {_ANSWER};",
        52: f"handleNotifyNumConnectionsChanged @52 ({C}, callback :{_COUNTED}) -> (result :{H});",
    }
    return f"""@0x92546c47dc734b2e;
{_HEAD}interface Node {{
{_filled(methods, 57)}
}}
interface NotifyNumConnectionsChangedCallback {{
  destroy @0 ({C}) -> ();
  call @1 ({C}, newNumConnections :Int32) -> ();
}}
"""


_FIXED: Final[Mapping[str, str]] = {
    "proxy": """@0xcc316e3f71a040fb;
interface ThreadMap { makeThread @0 (name :Text) -> (result :Thread); }
interface Thread { getName @0 () -> (result :Text); }
struct Context { thread @0 :Thread; callbackThread @1 :Thread; }
""",
    "common": "@0xcd2c6232cb484a28;\nstruct BlockRef { hash @0 :Data; height @1 :Int32; }\n",
    "rpc": f"""@0x9c3505dc45e146ac;
{_HEAD}interface Rpc {{ executeRpc @0 ({C}, request :Text, uri :Text, user :Text) -> (result :Text); }}
""",
    "handler": f"""@0xebd8f46e2f369076;
{_HEAD}interface Handler {{ destroy @0 ({C}) -> (); disconnect @1 ({C}) -> (); }}
""",
    "tracing": f"""@0xfcbbd3f49874128e;
{_HEAD}interface Tracing {{
  traceUtxoCache @0 ({C}, callback :UtxoCacheTrace) -> (result :import "handler.capnp".Handler);
}}
interface UtxoCacheTrace {{
  destroy @0 ({C}) -> ();
  add @1 (utxoInfo :UtxoInfo) -> ();
  spend @2 (utxoInfo :UtxoInfo) -> ();
  uncache @3 (utxoInfo :UtxoInfo) -> ();
}}
struct UtxoInfo {{
  outpointHash @0 :Data; outpointN @1 :UInt32; height @2 :UInt32; value @3 :Int64; isCoinbase @4 :Bool;
}}
""",
}


def write_schemas(folder: Path, layout: str) -> None:
    """Write the schema files of a node with this layout."""
    texts = {
        **_FIXED,
        "init": _init(layout),
        "mining": _mining(interrupt=layout not in {"v30", "tracing"}),
        "chain": _chain(),
        "node": _node(),
    }
    for name, text in texts.items():
        (folder / f"{name}.capnp").write_text(text, encoding="utf-8")
