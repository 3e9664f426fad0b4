@0x94f21a4864bd2c65;
# The part of Chain that looks and listens. Cap'n Proto allows no holes, so ordinals that we never call have no other name.

using Handler = import "handler.capnp";
using Proxy = import "proxy.capnp";

interface Chain {
  destroy @0 (context :Proxy.Context) -> ();
  getHeight @1 (context :Proxy.Context) -> (result :Int32, hasResult :Bool);
  getBlockHash @2 (context :Proxy.Context, height :Int32) -> (result :Data);
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
  unused18 @18 () -> ();
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
  isInitialBlockDownload @33 (context :Proxy.Context) -> (result :Bool);
  unused34 @34 () -> ();
  unused35 @35 () -> ();
  unused36 @36 () -> ();
  unused37 @37 () -> ();
  unused38 @38 () -> ();
  handleNotifications @39 (context :Proxy.Context, notifications :ChainNotifications) -> (result :Handler.Handler);
}

interface ChainNotifications {
  destroy @0 (context :Proxy.Context) -> ();
  transactionAddedToMempool @1 (context :Proxy.Context, tx :Data) -> ();
  transactionRemovedFromMempool @2 (context :Proxy.Context, tx :Data, reason :Int32) -> ();
  blockConnected @3 (context :Proxy.Context, role :ChainstateRole, block :BlockInfo) -> ();
  blockDisconnected @4 (context :Proxy.Context, block :BlockInfo) -> ();
  updatedBlockTip @5 (context :Proxy.Context) -> ();
  chainStateFlushed @6 (context :Proxy.Context, role :ChainstateRole, locator :Data) -> ();
}

struct BlockInfo {
  hash @0 :Data;
  prevHash @1 :Data;
  height @2 :Int32 = -1;
  fileNumber @3 :Int32 = -1;
  dataPos @4 :UInt32 = 0;
  data @5 :Data;
  undoData @6 :Data;
  chainTimeMax @7 :UInt32 = 0;
}

struct ChainstateRole {
  validated @0 :Bool;
  historical @1 :Bool;
}
