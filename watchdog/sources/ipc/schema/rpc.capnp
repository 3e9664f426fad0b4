@0x9c3505dc45e146ac;
# JSON-RPC without HTTP. A Text is a Data with a zero behind it: declared so, an answer of 16 MB is copied once, and one
# that is no UTF-8 raises nothing.

using Proxy = import "proxy.capnp";

interface Rpc {
  executeRpc @0 (context :Proxy.Context, request :Text, uri :Text, user :Text) -> (result :Data);
}
