@0x92546c47dc734b2e;
# The part of Node that looks and listens. Texts of answers are declared as Data, as in rpc.capnp.

using Handler = import "handler.capnp";
using Proxy = import "proxy.capnp";

interface Node {
  destroy @0 (context :Proxy.Context) -> ();
  unused1 @1 () -> ();
  unused2 @2 () -> ();
  unused3 @3 () -> ();
  unused4 @4 () -> ();
  unused5 @5 () -> ();
  unused6 @6 () -> ();
  unused7 @7 () -> ();
  unused8 @8 () -> ();
  unused9 @9 () -> ();
  unused10 @10 () -> ();
  unused11 @11 () -> ();
  unused12 @12 () -> ();
  unused13 @13 () -> ();
  unused14 @14 () -> ();
  unused15 @15 () -> ();
  unused16 @16 () -> ();
  unused17 @17 () -> ();
  getNodeCount @18 (context :Proxy.Context, flags :Int32) -> (result :UInt64);
  unused19 @19 () -> ();
  unused20 @20 () -> ();
  unused21 @21 () -> ();
  unused22 @22 () -> ();
  unused23 @23 () -> ();
  unused24 @24 () -> ();
  unused25 @25 () -> ();
  unused26 @26 () -> ();
  unused27 @27 () -> ();
  unused28 @28 () -> ();
  unused29 @29 () -> ();
  unused30 @30 () -> ();
  unused31 @31 () -> ();
  unused32 @32 () -> ();
  unused33 @33 () -> ();
  unused34 @34 () -> ();
  unused35 @35 () -> ();
  unused36 @36 () -> ();
  unused37 @37 () -> ();
  unused38 @38 () -> ();
  unused39 @39 () -> ();
  unused40 @40 () -> ();
  unused41 @41 () -> ();
  executeRpc @42 (context :Proxy.Context, command :Text, params :Text, uri :Text) -> (error :Data, rpcError :Data, result :Data);
  unused43 @43 () -> ();
  unused44 @44 () -> ();
  unused45 @45 () -> ();
  unused46 @46 () -> ();
  unused47 @47 () -> ();
  unused48 @48 () -> ();
  unused49 @49 () -> ();
  unused50 @50 () -> ();
  unused51 @51 () -> ();
  handleNotifyNumConnectionsChanged @52 (context :Proxy.Context, callback :NotifyNumConnectionsChangedCallback) -> (result :Handler.Handler);
}

interface NotifyNumConnectionsChangedCallback {
  destroy @0 (context :Proxy.Context) -> ();
  call @1 (context :Proxy.Context, newNumConnections :Int32) -> ();
}
