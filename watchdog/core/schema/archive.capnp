@0xb1c0d0a7e9f04202;
# What the frames of an events file hold. watchdog/archive/frames.py describes the frames themselves.

struct Info {
  # The first frame: who wrote the file and which sources feed it.
  # An appended session has one of its own in front of its slices.
  writer @0 :Text;
  sources @1 :List(Text);
  kinds @2 :List(Text);                 # version 2: for each source the kinds that it can give, comma-joined; "*": any
}

struct Block {
  # Events of one kind, node, node process and source; one item in `columns` for each column of `layout`.
  kind @0 :Text;
  node @1 :Text;
  source @2 :Text;
  bootNs @3 :Int64;
  rows @4 :UInt32;
  layout @5 :Text;                      # "time_ns:i64,conn:i64,peer:str": names and types of the columns in order
  columns @6 :List(Data);               # little-endian values; codes for str; the joined bytes for bytes
  dictionaries @7 :List(List(Text));    # one for each str column, in order
  offsets @8 :List(Data);               # one for each bytes column, in order: rows + 1 values of 8 bytes
  # Integers are stored as unsigned numbers of fewer bytes where they fit: value = stored * scale + base.
  widths @9 :Data;                      # 1 byte a column: bytes of a stored number, 0 for the type's own form
  bases @10 :Data;                      # 8 bytes a column, signed
  scales @11 :Data;                     # 8 bytes a column, signed, 1 or more
}

struct SliceEnd {
  # Ends a slice: the blocks since the slice before belong together.
  source @0 :Text;
  untilNs @1 :Int64;
  position @2 :Text;                    # JSON object
}

struct Index {
  # Where to start reading for a time: one entry for each stretch of whole slices.
  offsets @0 :Data;                     # 8 bytes each: byte offset of the stretch
  latestNs @1 :Data;                    # 8 bytes each: latest event time in the stretch
}
