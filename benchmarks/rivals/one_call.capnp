@0xb1c0d0a7e9f04301;
# The rival of the benchmark `stream`: each event is a call.

interface Source {
  subscribe @0 (sink :Sink) -> ();
}

interface Sink {
  event @0 (timeNs :Int64, conn :Int64, peer :Text, type :Text, size :UInt32, known :Bool) -> ();
}
