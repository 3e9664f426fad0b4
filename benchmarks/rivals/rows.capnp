@0xb1c0d0a7e9f04203;
# The rival of decode-columns: the same events as ordinary structs.

struct Row {
  timeNs @0 :Int64;
  conn @1 :Int64;
  peer @2 :Text;
  type @3 :Text;
  size @4 :UInt32;
  known @5 :Bool;
}

struct Rows {
  rows @0 :List(Row);
}
