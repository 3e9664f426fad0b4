@0xcc316e3f71a040fb;
# What every interface of a node is called with. Ids, names and ordinals are facts of the wire (libmultiprocess,
# mp/proxy.capnp); Cap'n Proto derives the id of an interface from that of its file and its name.

interface ThreadMap {
  makeThread @0 (name :Text) -> (result :Thread);
}

interface Thread {
  getName @0 () -> (result :Text);
}

struct Context {
  thread @0 :Thread;
  callbackThread @1 :Thread;
}
