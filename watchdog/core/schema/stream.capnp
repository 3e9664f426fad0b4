@0xb1c0d0a7e9f04204;
# A stream of typed events over a Unix socket: Cap'n Proto RPC, the side that listens has the events.
#
# The bootstrap object is an EventStream. A reader calls `hello`, then `subscribe` once, with an object of its own that the
# server calls for each delivery. The return of such a call acknowledges it. docs/STREAM.md has the rules in words.
#
# Two sides whose `major` differs do not understand each other. A higher `minor` only adds: fields at the end of these
# structs, kinds, and fields of kinds. A reader passes over all that it does not know.

struct Protocol {
  major @0 :UInt16;
  minor @1 :UInt16;
}

struct Field {
  # A column of a kind. type: bool, u8, u16, u32, u64, i32, i64, f64, prefix (a u64 that holds a packed netgroup),
  # str, or bytes. unit: of a number, such as "s" or "bytes"; empty for text, flags and identifiers.
  name @0 :Text;
  type @1 :Text;
  unit @2 :Text;
}

struct Kind {
  # A kind of event that the server can give. Its first field is time_ns: i64, nanoseconds since the epoch.
  name @0 :Text;
  fields @1 :List(Field);
}

struct Hello {
  protocol @0 :Protocol;
  producer @1 :Text;              # program and version that reads the node
  node @2 :Text;                  # its name for the node
  bootNs @3 :Int64;               # start of the node's process, 0 when unknown
  kinds @4 :List(Kind);
}

interface EventStream {
  hello @0 (protocol :Protocol, reader :Text) -> (hello :Hello, refusal :Text);
  # refusal: why the server will not serve this reader; empty when it will.

  subscribe @1 (subscription :Subscription, subscriber :Subscriber) -> (kinds :List(Kind), refusal :Text);
  # kinds: what will come, kinds of declared tracepoints included. A connection has one subscription; it ends with it.
}

interface Subscriber {
  deliver @0 (delivery :Delivery) -> ();
  # Events. Returning acknowledges them: until then they count against the window.

  heartbeat @1 (beat :Heartbeat) -> ();
  # Once a second, also when there are no events; the next one comes after the return of the one before.

  end @2 (reason :Text, final :Bool) -> ();
  # Nothing follows on this connection. final: no events will ever follow, as at the end of a recording; otherwise the
  # reader may connect again, for the server restarts or offers other kinds from now on.
}

struct Subscription {
  kinds @0 :List(Wanted);
  payloads @1 :List(PayloadSize);
  tracepoints @2 :List(Tracepoint);
}

struct Wanted {
  kind @0 :Text;
  where @1 :Condition;            # only events for which it is true; absent: all
}

struct PayloadSize {
  # At most this many bytes of the payloads of messages of this type; "*": of all types that have no entry of their own.
  type @0 :Text;
  bytes @1 :UInt32;
}

struct Tracepoint {
  # A tracepoint that the server does not know yet. Its arguments become the fields of the kind "provider:name", in order.
  provider @0 :Text;
  name @1 :Text;
  fields @2 :List(Field);         # 12 at most
}

struct Condition {
  # A typed expression over the fields of one event.
  union {
    absent @0 :Void;
    field @1 :Text;
    flag @2 :Bool;
    integer @3 :Int64;
    number @4 :Float64;
    text @5 :Text;
    operation @6 :Operation;
  }
}

struct Operation {
  # name: and, or, not, ==, !=, <, <=, >, >=, in (the first part among the others, which are constants), and of text
  # startswith, endswith, contains, has (one of comma-joined words): a field, then constant text.
  name @0 :Text;
  parts @1 :List(Condition);
}

struct Delivery {
  lost @0 :List(Loss);            # events that this reader lost, before those of `batches`
  batches @1 :List(Batch);
  untilNs @2 :Int64;              # watermark after them: no event before this time follows; 0: more of the same time follows
}

struct Loss {
  # Events that were dropped because too many waited for an acknowledgement. fromNs, toNs: of the first and the last.
  kind @0 :Text;
  events @1 :UInt64;
  fromNs @2 :Int64;
  toNs @3 :Int64;
}

struct Batch {
  # Events of one kind and one process of the node, as columns of equal length.
  kind @0 :Text;
  bootNs @1 :Int64;
  rows @2 :UInt32;
  columns @3 :List(Column);
}

struct Column {
  name @0 :Text;
  type @1 :Text;                  # as in Field
  data @2 :Data;                  # little-endian values; for str: codes (u32) into `dictionary`; for bytes: all of them joined
  dictionary @3 :List(Text);      # str only: distinct values
  offsets @4 :Data;               # bytes only: rows + 1 places (i64) in `data`, from 0
}

struct Heartbeat {
  untilNs @0 :Int64;              # as in Delivery
  lost @1 :List(Loss);            # as in Delivery
  health @2 :List(Gauge);         # of the server, such as records read and lost
}

struct Gauge {
  name @0 :Text;
  value @1 :Float64;
}
