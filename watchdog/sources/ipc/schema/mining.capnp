@0xc77d03df6a41b505;
# The part of Mining that only looks; ordinals that make or submit blocks have no name here, so nothing can call them.
# A default is part of the wire, as values travel as their difference from it.

using Common = import "common.capnp";
using Proxy = import "proxy.capnp";

interface Mining {
  isTestChain @0 (context :Proxy.Context) -> (result :Bool);
  isInitialBlockDownload @1 (context :Proxy.Context) -> (result :Bool);
  getTip @2 (context :Proxy.Context) -> (result :Common.BlockRef, hasResult :Bool);
  waitTipChanged @3 (context :Proxy.Context, currentTip :Data, timeout :Float64 = 1.7976931348623157e308) -> (result :Common.BlockRef);
  unused4 @4 () -> ();
  unused5 @5 () -> ();
  interrupt @6 () -> ();
}
