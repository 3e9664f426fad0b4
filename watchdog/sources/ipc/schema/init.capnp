@0xf2c5cfa319406aa6;
# The first object of a node. Which interface a factory gives differs between versions of Bitcoin Core (layouts.py), so
# ours are named by their ordinals. Factories that need more than a context are never called.

using Proxy = import "proxy.capnp";

interface Init {
  construct @0 (threadMap :Proxy.ThreadMap) -> (threadMap :Proxy.ThreadMap);
  make1 @1 (context :Proxy.Context) -> (result :Capability);
  make2 @2 (context :Proxy.Context) -> (result :Capability);
  make3 @3 (context :Proxy.Context) -> (result :Capability);
  make4 @4 (context :Proxy.Context) -> (result :Capability);
  make5 @5 (context :Proxy.Context) -> (result :Capability);
  make6 @6 (context :Proxy.Context) -> (result :Capability);
  make7 @7 (context :Proxy.Context) -> (result :Capability);
}
