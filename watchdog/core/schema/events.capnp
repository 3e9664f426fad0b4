@0xb1c0d0a7e9f04201;
# The catalogue of event kinds: the one place where kinds, fields, types, units and meanings are written.
#
# A struct with $kind is one kind of event. A field of struct type is spliced in place: its fields become columns
# of the kind, in order. Field names are camelCase here and snake_case everywhere else (ageS -> age_s).
# Every kind has the column time_ns before all others; node, boot_ns and source are constants of a batch.
# Text columns are dictionary-coded. `python -m watchdog.core.schema.generate` turns this file into kinds_table.py.

annotation kind @0xb1c0d0a7e9f04210 (struct) :Text;         # the name that rules use
annotation doc @0xb1c0d0a7e9f04211 (struct, field) :Text;   # one line for people
annotation unit @0xb1c0d0a7e9f04212 (field) :Text;          # of a number; text, flags and identifiers have none
annotation identity @0xb1c0d0a7e9f04213 (field) :Void;      # constant for the life of a connection
annotation prefix @0xb1c0d0a7e9f04214 (field) :Void;        # packed netgroup, netblock or subnet, see watchdog/core/prefix.py
annotation oneOf @0xb1c0d0a7e9f04217 (field) :Text;         # all values that a text can have; none: any text
annotation sources @0xb1c0d0a7e9f04215 (struct) :Text;      # which sources give this kind, comma-separated
annotation sameFact @0xb1c0d0a7e9f04216 (struct) :Text;     # kinds that report the same fact from another source

# ---- columns that kinds share ----

struct Peer {
  conn @0 :Int64 $identity $doc("Connection number: Core's peer id, or from a capture our own ordinal by first message");
  peer @1 :Text $identity $doc("Address and port as Core prints them, IPv6 in brackets");
  peerAddr @2 :Text $identity $doc("Address without port and brackets");
  network @3 :Text $identity $oneOf("ipv4, ipv6, onion, i2p, cjdns, unroutable")
      $doc("ipv4, ipv6, onion, i2p, cjdns or unroutable");
  netgroup @4 :UInt64 $prefix $identity $doc("Netgroup as Core buckets peers; the AS when an asmap is loaded");
  netblock @10 :UInt64 $prefix $identity
      $doc("/16 for IPv4, /32 for IPv6, the netgroup for other networks: the netgroup of a node without an asmap");
  subnet @5 :UInt64 $prefix $identity $doc("/24 for IPv4, /48 for IPv6, the netgroup for other networks");
  asn @6 :UInt32 $identity $doc("Autonomous system by the loaded asmap, 0 when none or unknown");
  direction @7 :Text $identity $oneOf("in, out, unknown")
      $doc("in (they connected to us), out, or unknown");
  connectionType @8 :Text $identity $oneOf("inbound, outbound-full-relay, block-relay-only, manual, feeler, addr-fetch, private-broadcast, outbound, unknown")
      $doc("Core's connection type; a capture knows only inbound, outbound and unknown");
  ageS @9 :Int64 $unit("s") $doc("Age of the connection: seconds since its first message or since Core opened it");
}

struct Wire {
  flow @0 :Text $oneOf("received, sent")
      $doc("received or sent, as the node sees it");
  size @1 :UInt32 $unit("bytes") $doc("Payload size on the wire, without header");
}

struct Entry {
  entryNetwork @0 :Text $oneOf("ipv4, ipv6, onion, i2p, cjdns, unroutable")
      $doc("Network of the address");
  entryNetgroup @1 :UInt64 $prefix $doc("Netgroup of the address");
  entryNetblock @3 :UInt64 $prefix $doc("Its netblock: /16 or /32, with and without an asmap");
  entryAsn @2 :UInt32 $doc("Autonomous system of the address, 0 when unknown");
}

struct From {
  sourceAddr @0 :Text $doc("Address of the peer that told the node of it");
  sourceNetgroup @1 :UInt64 $prefix $doc("Netgroup of the peer that told the node of it");
  sourceNetblock @3 :UInt64 $prefix $doc("Its netblock: /16 or /32, with and without an asmap");
  sourceAsn @2 :UInt32 $doc("Autonomous system of the peer that told the node of it, 0 when unknown");
}

struct Slot {
  table @0 :Text $oneOf("new, tried")
      $doc("new or tried");
  bucket @1 :UInt32 $doc("Bucket in the table");
  position @2 :UInt32 $doc("Position in the bucket, 0 to 63");
}

struct SlotChange {
  slot @0 :Slot;
  address @1 :Text $doc("Address in the slot, without port");
  entry @2 :Entry;
  port @3 :UInt16 $doc("Port of the address");
  from @4 :From;
  stampAgeS @5 :Int64 $unit("s") $doc("Time of the poll minus the entry's own time stamp");
  intervalS @6 :UInt32 $unit("s") $doc("Seconds since the poll before, in which the change happened");
  first @7 :Bool $doc("The address was in no slot before");
  tableTotal @8 :UInt32 $unit("entries") $doc("Entries in the table at this poll");
}

struct Sized {
  peer @0 :Peer;
  type @1 :Text $doc("Message type as sent, printable-escaped");
  size @2 :UInt32 $unit("bytes") $doc("Payload size on the wire, without header");
  known @3 :Bool $doc("A type that Bitcoin Core knows (reject counts as known, alert does not)");
  payload @4 :Data $doc("First bytes of the payload, of readers that asked for it; rules cannot read it, and no incident keeps it");
  payloadSize @5 :Int32 $unit("bytes")
      $doc("Bytes present in payload; below size: cut, -1: could not be read, 0: not asked for");
}

# ---- net: what Core's connection manager does ----

struct NetInboundMessage $kind("net:inbound_message") $sources("capture, tracepoint")
    $doc("A message from a peer was taken up for processing") { sized @0 :Sized; }

struct NetOutboundMessage $kind("net:outbound_message") $sources("capture, tracepoint")
    $doc("A message was queued to a peer") { sized @0 :Sized; }

struct NetInboundConnection $kind("net:inbound_connection") $sources("capture, tracepoint")
    $sameFact("log:connection_accepted, peer:connected") $doc("A peer connected to us") {
  peer @0 :Peer;
  connections @1 :UInt32 $unit("connections") $doc("Open inbound connections, this one included");
}

struct NetOutboundConnection $kind("net:outbound_connection") $sources("capture, tracepoint")
    $sameFact("log:peer_connected, peer:connected") $doc("We connected to a peer") {
  peer @0 :Peer;
  connections @1 :UInt32 $unit("connections") $doc("Open outbound connections, this one included");
}

struct NetEvictedInboundConnection $kind("net:evicted_inbound_connection") $sources("tracepoint")
    $sameFact("log:evicted") $doc("An inbound peer was evicted to make room for another") {
  peer @0 :Peer;
  establishedS @1 :Int64 $unit("s") $doc("When the connection was made, unix time");
}

struct NetClosedConnection $kind("net:closed_connection") $sources("capture, tracepoint")
    $sameFact("log:disconnected, peer:disconnected")
    $doc("A connection ended; from a capture inferred (the address came back with a new version message)") {
  peer @0 :Peer;
  establishedS @1 :Int64 $unit("s") $doc("When the connection was made, unix time");
  livedS @2 :Int64 $unit("s") $doc("How long the connection lived");
}

struct NetMisbehavingConnection $kind("net:misbehaving_connection") $sources("tracepoint")
    $sameFact("log:misbehaving") $doc("Core found that a peer misbehaves and will discourage it") {
  peer @0 :Peer;
  reason @1 :Text $doc("Core's reason");
}

# ---- validation, coins, mempool, addrman: Core's other tracepoints ----

struct ValidationBlockConnected $kind("validation:block_connected") $sources("tracepoint")
    $sameFact("log:tip, chain:tip") $doc("A block was connected to the active chain") {
  hash @0 :Data $doc("Block hash, 32 bytes in internal order");
  height @1 :Int32 $unit("blocks") $doc("Height of the block");
  transactions @2 :UInt64 $unit("transactions") $doc("Transactions in the block");
  inputs @3 :Int32 $unit("inputs") $doc("Inputs spent by the block");
  sigops @4 :UInt64 $unit("sigops") $doc("Signature operation cost of the block");
  durationNs @5 :UInt64 $unit("ns") $doc("Time that connecting took");
}

struct UtxocacheFlush $kind("utxocache:flush") $sources("tracepoint") $doc("The coins cache was written to disk") {
  durationUs @0 :Int64 $unit("us") $doc("Time that the flush took");
  mode @1 :Text $doc("Core's flush mode: none, if-needed, periodic, force-flush, force-sync or always");
  coins @2 :UInt64 $unit("coins") $doc("Coins in the cache before the flush");
  memoryBytes @3 :UInt64 $unit("bytes") $doc("Memory of the cache before the flush");
  forPrune @4 :Bool $doc("The flush was made to prune block files");
}

struct Coin {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  index @1 :UInt32 $doc("Output index");
  height @2 :UInt32 $unit("blocks") $doc("Height at which the coin was made");
  valueSat @3 :Int64 $unit("sat") $doc("Value of the coin");
  coinbase @4 :Bool $doc("The coin comes from a coinbase");
}

struct UtxocacheAdd $kind("utxocache:add") $sources("tracepoint, ipc")
    $doc("A coin was added to the coins cache") { coin @0 :Coin; }

struct UtxocacheSpent $kind("utxocache:spent") $sources("tracepoint, ipc")
    $doc("A coin was spent from the coins cache") { coin @0 :Coin; }

struct UtxocacheUncache $kind("utxocache:uncache") $sources("tracepoint, ipc")
    $doc("A coin was dropped from the coins cache unspent") { coin @0 :Coin; }

struct CoinSelectionSelectedCoins $kind("coin_selection:selected_coins") $sources("tracepoint")
    $doc("The wallet chose coins for a payment") {
  wallet @0 :Text $doc("Wallet name");
  algorithm @1 :Text $doc("Coin selection algorithm");
  targetSat @2 :Int64 $unit("sat") $doc("Value to reach");
  wasteSat @3 :Int64 $unit("sat") $doc("Waste metric of the choice");
  selectedSat @4 :Int64 $unit("sat") $doc("Value of the chosen coins");
}

struct CoinSelectionNormal $kind("coin_selection:normal_create_tx_internal") $sources("tracepoint")
    $doc("The wallet tried to build a transaction the usual way") {
  wallet @0 :Text $doc("Wallet name");
  success @1 :Bool $doc("A transaction was built");
  feeSat @2 :Int64 $unit("sat") $doc("Fee of the transaction");
  changePosition @3 :Int32 $doc("Index of the change output, -1 for none");
}

struct CoinSelectionAttemptingAps $kind("coin_selection:attempting_aps_create_tx") $sources("tracepoint")
    $doc("The wallet tries again while avoiding partial spends") {
  wallet @0 :Text $doc("Wallet name");
}

struct CoinSelectionAps $kind("coin_selection:aps_create_tx_internal") $sources("tracepoint")
    $doc("The attempt that avoids partial spends ended") {
  wallet @0 :Text $doc("Wallet name");
  used @1 :Bool $doc("Its result was taken");
  success @2 :Bool $doc("A transaction was built");
  feeSat @3 :Int64 $unit("sat") $doc("Fee of the transaction");
  changePosition @4 :Int32 $doc("Index of the change output, -1 for none");
}

struct MempoolAdded $kind("mempool:added") $sources("tracepoint") $doc("A transaction entered the mempool") {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  vsizeVb @1 :Int32 $unit("vB") $doc("Virtual size");
  feeSat @2 :Int64 $unit("sat") $doc("Fee");
}

struct MempoolRemoved $kind("mempool:removed") $sources("tracepoint") $doc("A transaction left the mempool") {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  reason @1 :Text $doc("Core's reason: expiry, sizelimit, reorg, block, conflict or replaced");
  vsizeVb @2 :Int32 $unit("vB") $doc("Virtual size");
  feeSat @3 :Int64 $unit("sat") $doc("Fee");
  entryTimeS @4 :UInt64 $unit("s") $doc("When it entered the mempool, unix time");
}

struct MempoolReplaced $kind("mempool:replaced") $sources("tracepoint")
    $doc("A transaction in the mempool was replaced") {
  txid @0 :Data $doc("Id of the replaced transaction, 32 bytes in internal order");
  vsizeVb @1 :Int32 $unit("vB") $doc("Virtual size of the replaced transaction");
  feeSat @2 :Int64 $unit("sat") $doc("Fee of the replaced transaction");
  entryTimeS @3 :UInt64 $unit("s") $doc("When the replaced transaction entered the mempool, unix time");
  replacementTxid @4 :Data $doc("Id of the replacement, or hash of the replacing package");
  replacementVsizeVb @5 :Int32 $unit("vB") $doc("Virtual size of the replacement");
  replacementFeeSat @6 :Int64 $unit("sat") $doc("Fee of the replacement");
  byTransaction @7 :Bool $doc("Replaced by one transaction; false: by a package");
}

struct MempoolRejected $kind("mempool:rejected") $sources("tracepoint") $doc("A transaction was refused") {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  reason @1 :Text $doc("Core's reason");
}

struct AddrmanAttemptAdd $kind("addrman:attempt_add") $sources("tracepoint")
    $sameFact("log:addrman_inserted, addrman:insert")
    $doc("Core tried to put an address into the new table (patched nodes only)") {
  inserted @0 :Bool $doc("The address took the slot");
  bucket @1 :Int32 $doc("Bucket in the new table");
  position @2 :Int32 $doc("Position in the bucket, 0 to 63");
  address @3 :Text $doc("Address and port");
  addressAsn @4 :UInt32 $doc("Autonomous system of the address, 0 when unknown");
  sourceAddr @5 :Text $doc("Address of the peer that told the node of it");
  sourceAsn @6 :UInt32 $doc("Autonomous system of that peer, 0 when unknown");
}

struct AddrmanMoveToGood $kind("addrman:move_to_good") $sources("tracepoint")
    $sameFact("log:addrman_tried, addrman:move") $doc("Core moved an address to the tried table (patched nodes only)") {
  bucket @0 :Int32 $doc("Bucket in the tried table");
  position @1 :Int32 $doc("Position in the bucket, 0 to 63");
  address @2 :Text $doc("Address and port");
  addressAsn @3 :UInt32 $doc("Autonomous system of the address, 0 when unknown");
  sourceAddr @4 :Text $doc("Address of the peer that told the node of it");
  sourceAsn @5 :UInt32 $doc("Autonomous system of that peer, 0 when unknown");
}

# ---- p2p: what the payloads say ----

struct P2pVersion $kind("p2p:version") $sources("capture, tracepoint") $sameFact("log:version")
    $doc("A version message: one side introduces itself") {
  peer @0 :Peer;
  wire @1 :Wire;
  protocolVersion @2 :Int32 $doc("Protocol version");
  services @3 :UInt64 $doc("Service bits");
  userAgent @4 :Text $doc("User agent (BIP14), printable-escaped");
  startHeight @5 :Int32 $unit("blocks") $doc("Height that the sender claims to have");
  relay @6 :Bool $doc("The sender wants transactions announced (BIP37)");
  nonce @7 :UInt64 $doc("Nonce against connections to self");
  timeOffsetS @8 :Int64 $unit("s") $doc("The sender's clock minus the event's time");
}

struct P2pAddr $kind("p2p:addr") $sources("capture, tracepoint") $sameFact("log:addr_received")
    $doc("An addr or addrv2 message, summed up") {
  peer @0 :Peer;
  wire @1 :Wire;
  version @2 :UInt8 $doc("1 for addr, 2 for addrv2 (BIP155)");
  entries @3 :UInt32 $unit("addresses") $doc("Addresses in the message");
  ipv4 @4 :UInt32 $unit("addresses") $doc("IPv4 addresses");
  ipv6 @5 :UInt32 $unit("addresses") $doc("IPv6 addresses");
  onion @6 :UInt32 $unit("addresses") $doc("Tor addresses");
  i2p @7 :UInt32 $unit("addresses") $doc("I2P addresses");
  cjdns @8 :UInt32 $unit("addresses") $doc("CJDNS addresses");
  other @9 :UInt32 $unit("addresses") $doc("Addresses of networks that Core does not know");
  netgroups @10 :UInt32 $unit("netgroups") $doc("Distinct netgroups in the message");
  unroutable @11 :UInt32 $unit("addresses") $doc("Addresses that Core would not store: private, reserved, local");
  impossible @12 :UInt32 $unit("addresses") $doc("IPv4 addresses in 224.0.0.0/3, which no host can have");
  future @13 :UInt32 $unit("addresses") $doc("Time stamps more than 10 minutes ahead of the event");
  ahead @14 :UInt32 $unit("addresses") $doc("Time stamps ahead of the event by at most 10 minutes");
  stale @15 :UInt32 $unit("addresses") $doc("Time stamps older than 30 days");
  defaultPort @16 :UInt32 $unit("addresses") $doc("Addresses with port 8333");
  selfAnnounced @17 :Bool $doc("One of the addresses is the sender's own");
  solicited @18 :Bool $doc("Answers our getaddr: asked before, and no message of more than 10 addresses came since");
  processed @19 :UInt32 $unit("addresses") $doc("Addresses that Core's limit lets through (replica of its token bucket)");
  beyondLimit @20 :UInt32 $unit("addresses") $doc("Addresses that Core's limit drops (replica of its token bucket)");
}

struct P2pAddrEntry $kind("p2p:addr_entry") $sources("capture, tracepoint") $sameFact("p2p:addr")
    $doc("One address of an addr or addrv2 message; p2p:addr counts the same addresses") {
  peer @0 :Peer;
  wire @1 :Wire;
  version @2 :UInt8 $doc("1 for addr, 2 for addrv2 (BIP155)");
  address @3 :Data $doc("Address: 16 bytes for IP and CJDNS, 32 for Tor v3 and I2P, raw otherwise");
  addressId @4 :UInt64 $doc("Mixed 64-bit identity of network, address and port; for distinct counts");
  entry @5 :Entry;
  port @6 :UInt16 $doc("Port of the address");
  services @7 :UInt64 $doc("Service bits claimed for the address");
  stampAgeS @8 :Int64 $unit("s") $doc("Event time minus the entry's time stamp; negative: in the future");
  routable @9 :Bool $doc("Core would store the address");
  impossible @10 :Bool $doc("IPv4 in 224.0.0.0/3, which no host can have");
}

struct Inventory {
  peer @0 :Peer;
  wire @1 :Wire;
  entries @2 :UInt32 $unit("entries") $doc("Inventory entries");
  tx @3 :UInt32 $unit("entries") $doc("Entries of transactions, by txid or wtxid");
  block @4 :UInt32 $unit("entries") $doc("Entries of blocks in any form");
  other @5 :UInt32 $unit("entries") $doc("Entries of other types");
}

struct P2pInv $kind("p2p:inv") $sources("capture, tracepoint")
    $doc("An inv message: objects are announced") { inventory @0 :Inventory; }

struct P2pGetdata $kind("p2p:getdata") $sources("capture, tracepoint")
    $doc("A getdata message: objects are asked for") { inventory @0 :Inventory; }

struct P2pNotfound $kind("p2p:notfound") $sources("capture, tracepoint")
    $doc("A notfound message: asked objects are not there") { inventory @0 :Inventory; }

struct P2pHeaders $kind("p2p:headers") $sources("capture, tracepoint") $doc("A headers message") {
  peer @0 :Peer;
  wire @1 :Wire;
  entries @2 :UInt32 $unit("headers") $doc("Block headers in the message");
  continuous @3 :Bool $doc("Each header follows the one before it");
  solicited @4 :Bool $doc("Answers our getheaders: asked on the connection before, and no headers came since");
}

struct Locator {
  peer @0 :Peer;
  wire @1 :Wire;
  locator @2 :UInt32 $unit("hashes") $doc("Hashes in the block locator");
  protocolVersion @3 :Int32 $doc("Protocol version in the message, ignored by Core");
}

struct P2pGetheaders $kind("p2p:getheaders") $sources("capture, tracepoint")
    $doc("A getheaders message") { locator @0 :Locator; }

struct P2pGetblocks $kind("p2p:getblocks") $sources("capture, tracepoint")
    $doc("A getblocks message") { locator @0 :Locator; }

struct P2pPing $kind("p2p:ping") $sources("capture, tracepoint") $doc("A ping message") {
  peer @0 :Peer;
  wire @1 :Wire;
  nonce @2 :UInt64 $doc("Nonce to be echoed, 0 without one");
  hasNonce @3 :Bool $doc("The message carries a nonce (BIP31)");
}

struct P2pPong $kind("p2p:pong") $sources("capture, tracepoint") $doc("A pong message") {
  peer @0 :Peer;
  wire @1 :Wire;
  nonce @2 :UInt64 $doc("Echoed nonce");
  solicited @3 :Bool $doc("A ping with this nonce is outstanding the other way");
  rttUs @4 :Int64 $unit("us") $doc("Time since that ping, -1 when unsolicited");
}

struct P2pFeefilter $kind("p2p:feefilter") $sources("capture, tracepoint") $doc("A feefilter message (BIP133)") {
  peer @0 :Peer;
  wire @1 :Wire;
  feeRateSatKvb @2 :Int64 $unit("sat/kvB") $doc("Least fee rate that the sender wants announced");
}

struct P2pSendcmpct $kind("p2p:sendcmpct") $sources("capture, tracepoint") $doc("A sendcmpct message (BIP152)") {
  peer @0 :Peer;
  wire @1 :Wire;
  announce @2 :Bool $doc("High bandwidth: blocks may be sent as compact blocks unasked");
  cmpctVersion @3 :UInt64 $doc("Compact block version");
}

struct P2pCmpctblock $kind("p2p:cmpctblock") $sources("capture, tracepoint") $doc("A compact block (BIP152)") {
  peer @0 :Peer;
  wire @1 :Wire;
  hash @2 :Data $doc("Block hash, 32 bytes in internal order");
  shortIds @3 :UInt32 $unit("transactions") $doc("Transactions given as short ids");
  prefilled @4 :UInt32 $unit("transactions") $doc("Transactions given whole");
}

struct P2pGetblocktxn $kind("p2p:getblocktxn") $sources("capture, tracepoint")
    $doc("A getblocktxn message: transactions of a compact block are asked for") {
  peer @0 :Peer;
  wire @1 :Wire;
  hash @2 :Data $doc("Block hash, 32 bytes in internal order");
  indexes @3 :UInt32 $unit("transactions") $doc("Transactions asked for");
}

struct P2pBlocktxn $kind("p2p:blocktxn") $sources("capture, tracepoint")
    $doc("A blocktxn message: transactions of a compact block") {
  peer @0 :Peer;
  wire @1 :Wire;
  hash @2 :Data $doc("Block hash, 32 bytes in internal order");
  txs @3 :UInt32 $unit("transactions") $doc("Transactions in the message");
}

struct P2pTx $kind("p2p:tx") $sources("capture, tracepoint") $doc("A transaction") {
  peer @0 :Peer;
  wire @1 :Wire;
  txid @2 :Data $doc("Transaction id, 32 bytes in internal order");
  wtxid @3 :Data $doc("Hash with witness, 32 bytes in internal order");
  vsizeVb @4 :UInt32 $unit("vB") $doc("Virtual size");
  inputs @5 :UInt32 $unit("inputs") $doc("Inputs");
  outputs @6 :UInt32 $unit("outputs") $doc("Outputs");
  witness @7 :Bool $doc("Carries witness data");
}

struct P2pTxInput $kind("p2p:tx_input") $sources("capture, tracepoint") $sameFact("p2p:tx")
    $doc("One of the first 1,000 inputs of a transaction, which p2p:tx counts; made only when a rule or a recording reads it") {
  peer @0 :Peer;
  wire @1 :Wire;
  outpointId @2 :UInt64 $doc("64-bit identity of the output that it spends; for keys and distinct counts");
  txid @3 :Data $doc("Transaction id, 32 bytes in internal order");
  txidId @4 :UInt64 $doc("64-bit identity of the transaction; for distinct counts");
}

struct P2pBlock $kind("p2p:block") $sources("capture, tracepoint") $doc("A whole block") {
  peer @0 :Peer;
  wire @1 :Wire;
  hash @2 :Data $doc("Block hash, 32 bytes in internal order");
  txs @3 :UInt32 $unit("transactions") $doc("Transactions in the block");
}

struct P2pNewBlock $kind("p2p:new_block") $sources("capture, tracepoint") $sameFact("log:tip, chain:tip, validation:block_connected")
    $doc("A block is named for the first time, received or sent, by a header that proves work near that of the chain and whose time is within two hours of the event") {
  peer @0 :Peer;
  wire @1 :Wire;
  type @2 :Text $oneOf("headers, cmpctblock, block, inv") $doc("Type of the message that names it");
  hash @3 :Data $doc("Block hash, 32 bytes in internal order");
  stampAgeS @4 :Int64 $unit("s") $doc("Event time minus the block's own time; negative: in the future");
}

struct P2pGetaddr $kind("p2p:getaddr") $sources("capture, tracepoint") $doc("A getaddr message: asks for addresses") {
  peer @0 :Peer;
  wire @1 :Wire;
  repeat @2 :UInt32 $unit("messages") $doc("Its number on this connection and in this direction, from 1");
}

struct P2pMempool $kind("p2p:mempool") $sources("capture, tracepoint")
    $doc("A mempool message: asks for the whole mempool (BIP35)") {
  peer @0 :Peer;
  wire @1 :Wire;
}

struct P2pReject $kind("p2p:reject") $sources("capture, tracepoint")
    $doc("A reject message (BIP61), which Core no longer sends or reads") {
  peer @0 :Peer;
  wire @1 :Wire;
  message @2 :Text $doc("Type of the message that was refused, printable-escaped");
  code @3 :UInt8 $doc("Reject code");
  reason @4 :Text $doc("Reason in words, printable-escaped");
}

struct P2pFilter $kind("p2p:filter") $sources("capture, tracepoint")
    $doc("A bloom filter message (BIP37): filterload, filteradd, filterclear or merkleblock") {
  peer @0 :Peer;
  wire @1 :Wire;
  type @2 :Text $doc("Message type");
  bytesSet @3 :UInt32 $unit("bytes") $doc("Size of the filter or of the element");
}

struct P2pCf $kind("p2p:cf") $sources("capture, tracepoint") $doc("A compact block filter message (BIP157)") {
  peer @0 :Peer;
  wire @1 :Wire;
  type @2 :Text $doc("Message type");
  entries @3 :UInt32 $unit("entries") $doc("Filters, headers or hashes in the message, 0 for a question");
}

struct P2pUnknown $kind("p2p:unknown") $sources("capture, tracepoint")
    $doc("A message of a type that Bitcoin Core does not know") {
  peer @0 :Peer;
  wire @1 :Wire;
  type @2 :Text $doc("Message type, printable-escaped");
  digest @3 :UInt32 $doc("Digest of the payload, to tell repeats from variety");
}

struct P2pMalformed $kind("p2p:malformed") $sources("capture, tracepoint")
    $sameFact("log:misbehaving, net:misbehaving_connection")
    $doc("A message that Core would refuse or cannot parse") {
  peer @0 :Peer;
  wire @1 :Wire;
  type @2 :Text $doc("Message type, printable-escaped");
  reason @3 :Text $doc("truncated, over-limit, bad-count, bad-length, bad-value or bad-transaction");
  entries @4 :UInt64 $unit("entries") $doc("Count that the message declares, 0 when it has none");
}

# ---- rpc: state of the node, polled ----

struct RpcPeer $kind("rpc:peer") $sources("snapshots, rpc")
    $doc("One connected peer at one poll of getpeerinfo; conn is Core's peer id") {
  peer @0 :Peer;
  intervalS @1 :UInt32 $unit("s") $doc("Seconds since the poll before, at most three times the usual");
  directionTotal @2 :UInt32 $unit("peers") $doc("Peers of the same direction at this poll");
  services @3 :UInt64 $doc("Service bits");
  userAgent @4 :Text $doc("User agent, printable-escaped");
  relayTxs @5 :Bool $doc("We relay transactions to the peer");
  protocolVersion @6 :Int32 $doc("Protocol version");
  invToSend @7 :UInt32 $unit("transactions") $doc("Transactions waiting to be announced to the peer");
  pingUs @8 :Int64 $unit("us") $doc("Last ping time, -1 without one");
  minPingUs @9 :Int64 $unit("us") $doc("Least ping time, -1 without one");
  pingWaitUs @10 :Int64 $unit("us") $doc("Time that a ping has been unanswered, -1 when none is");
  timeOffsetS @11 :Int64 $unit("s") $doc("The peer's clock minus ours, from its version message");
  bytesSent @12 :UInt64 $unit("bytes") $doc("Bytes sent to the peer since it connected");
  bytesReceived @13 :UInt64 $unit("bytes") $doc("Bytes received from the peer since it connected");
  addrProcessed @14 :UInt64 $unit("addresses") $doc("Addresses processed since it connected");
  addrRateLimited @15 :UInt64 $unit("addresses") $doc("Addresses dropped by the rate limit since it connected");
  addrRelay @16 :Bool $doc("Addresses are relayed with the peer");
  syncedHeaders @17 :Int32 $unit("blocks") $doc("Last header in common, -1 when unknown");
  syncedBlocks @18 :Int32 $unit("blocks") $doc("Last block in common, -1 when unknown");
  presyncedHeaders @19 :Int32 $unit("blocks") $doc("Height of the low-work header sync, -1 when none runs");
  inflight @20 :UInt32 $unit("blocks") $doc("Blocks asked from the peer and not here yet");
  permissions @21 :Text $doc("Permissions that the peer was granted, comma-joined");
  lastBlockAgeS @22 :Int64 $unit("s") $doc("Seconds since it gave us a new block, -1 for never");
  lastTxAgeS @23 :Int64 $unit("s") $doc("Seconds since it gave us a new transaction, -1 for never");
  transport @24 :Text $doc("Transport protocol: v1, v2 or detecting");
  hbTo @25 :Bool $doc("We chose the peer for high bandwidth compact blocks");
  hbFrom @26 :Bool $doc("The peer chose us for high bandwidth compact blocks");
}

struct RpcPeers $kind("rpc:peers") $sources("snapshots, rpc") $doc("All connected peers of one poll, summed up") {
  inbound @0 :UInt32 $unit("peers") $doc("Inbound peers");
  outboundFull @1 :UInt32 $unit("peers") $doc("Outbound full-relay peers");
  outboundBlock @2 :UInt32 $unit("peers") $doc("Outbound block-relay-only peers");
  feeler @3 :UInt32 $unit("peers") $doc("Feeler connections");
  manual @4 :UInt32 $unit("peers") $doc("Peers added by the operator");
  addrFetch @5 :UInt32 $unit("peers") $doc("Address-fetch connections");
  other @6 :UInt32 $unit("peers") $doc("Connections of other types");
  outbound @7 :UInt32 $unit("peers") $doc("Outbound full-relay and block-relay-only peers");
  outboundEstablished @8 :UInt32 $unit("peers") $doc("Those of them connected for more than 60 s");
  outboundNetgroups @9 :UInt32 $unit("netgroups") $doc("Distinct netgroups of the outbound peers");
  outboundTopNetgroup @10 :UInt32 $unit("peers") $doc("Most outbound peers in one netgroup");
  outboundTopAsn @11 :UInt32 $unit("peers") $doc("Most outbound peers in one AS, 0 when no AS is known");
  inboundNetgroups @12 :UInt32 $unit("netgroups") $doc("Distinct netgroups of the inbound peers");
  inboundTopNetgroup @13 :UInt32 $unit("peers") $doc("Most inbound peers in one netgroup");
  inboundOld @14 :UInt32 $unit("peers") $doc("Inbound peers connected for more than an hour");
  uptimeS @15 :Int64 $unit("s") $doc("Uptime of the node, -1 when unknown");
  opened @16 :Bool $doc("It has opened such a peer since it started, as far as was polled; a node with -connect never does");
}

struct RpcAddrman $kind("rpc:addrman") $sources("snapshots, rpc")
    $doc("Address tables at one poll of getaddrmaninfo: one row a network, and one for all") {
  network @0 :Text $doc("ipv4, ipv6, onion, i2p, cjdns, or all for the sum");
  new @1 :UInt32 $unit("addresses") $doc("Addresses in the new table");
  tried @2 :UInt32 $unit("addresses") $doc("Addresses in the tried table");
  total @3 :UInt32 $unit("addresses") $doc("Addresses in both tables");
}

struct RpcAddrmanEntry $kind("rpc:addrman_entry") $sources("snapshots, rpc")
    $doc("One occupied slot at one poll of getrawaddrman; large, made only when a rule reads it") {
  slot @0 :Slot;
  address @1 :Text $doc("Address in the slot, without port");
  entry @2 :Entry;
  port @3 :UInt16 $doc("Port of the address");
  services @4 :UInt64 $doc("Service bits claimed for the address");
  stampAgeS @5 :Int64 $unit("s") $doc("Time of the poll minus the entry's own time stamp");
  from @6 :From;
}

struct RpcChain $kind("rpc:chain") $sources("snapshots, rpc") $doc("The chain at one poll of getblockchaininfo") {
  chain @0 :Text $doc("main, test, testnet4, signet or regtest");
  blocks @1 :Int32 $unit("blocks") $doc("Height of the active chain");
  headers @2 :Int32 $unit("blocks") $doc("Height of the best header");
  tipAgeS @3 :Int64 $unit("s") $doc("Seconds since this tip was first seen, or since its block time if it was there at the first poll");
  tipSeenS @4 :Int64 $unit("s") $doc("Seconds since this height was first seen");
  ibd @5 :Bool $doc("Initial block download is running");
  sizeOnDisk @6 :UInt64 $unit("bytes") $doc("Size of block and undo files");
  pruned @7 :Bool $doc("The node prunes");
  warnings @8 :Text $doc("Core's warnings, printable-escaped");
  hash @9 :Text $doc("Hash of the tip, empty when unknown");
  verificationProgress @10 :Float64 $doc("Core's estimate of the verified share of the chain, 0 to 1; -1 when the node does not say");
}

struct RpcChainTip $kind("rpc:chain_tip") $sources("snapshots, rpc")
    $doc("A tip of getchaintips that is new, longer, or of another status than at the poll before") {
  height @0 :Int32 $unit("blocks") $doc("Its height");
  hash @1 :Text $doc("Its hash");
  branchBlocks @2 :Int32 $unit("blocks") $doc("Blocks between it and the active chain, 0 for the active tip");
  status @3 :Text $oneOf("active, valid-fork, valid-headers, headers-only, invalid, unknown")
      $doc("active, valid-fork, valid-headers, headers-only, invalid, or unknown");
  ahead @4 :Int32 $unit("blocks") $doc("Its height minus that of the active tip");
  moreWork @5 :Bool $doc("Its chain has more work than the active one, as its header says; false when not asked");
  polls @6 :UInt32 $unit("polls") $doc("Polls in a row that had it, this one included; 2 for a tip ahead that stays");
}

struct RpcBlockHash $kind("rpc:block_hash") $sources("snapshots, rpc")
    $doc("The hash that the active chain of the node has at a height: an answer to getblockhash, asked to compare nodes") {
  height @0 :Int32 $unit("blocks") $doc("Height that was asked for");
  hash @1 :Text $doc("Block hash as RPC writes it, 64 hex digits");
}

struct RpcOrphanPeer $kind("rpc:orphan_peer") $sources("snapshots, rpc")
    $doc("A peer that announced transactions whose parents are missing, at one poll of getorphantxs; the 64 with the most") {
  peer @0 :Peer;
  txs @1 :UInt32 $unit("transactions") $doc("Orphans that it announced");
  txsAlone @2 :UInt32 $unit("transactions") $doc("Orphans that no other peer announced");
  sizeBytes @3 :UInt64 $unit("bytes") $doc("Size of those that it announced");
  orphans @4 :UInt32 $unit("transactions") $doc("All orphans at this poll");
}

struct RpcMempool $kind("rpc:mempool") $sources("snapshots, rpc") $doc("The mempool at one poll of getmempoolinfo") {
  txs @0 :UInt64 $unit("transactions") $doc("Transactions");
  sizeBytes @1 :UInt64 $unit("vB") $doc("Sum of virtual sizes");
  usageBytes @2 :UInt64 $unit("bytes") $doc("Memory in use");
  maxBytes @3 :UInt64 $unit("bytes") $doc("Memory limit");
  minFeeSatKvb @4 :Int64 $unit("sat/kvB") $doc("Least fee rate to get in");
  loaded @5 :Bool $doc("The mempool was loaded from disk");
}

struct RpcNetwork $kind("rpc:network") $sources("snapshots, rpc") $doc("Networking at one poll of getnetworkinfo") {
  connections @0 :UInt32 $unit("connections") $doc("Open connections");
  connectionsIn @1 :UInt32 $unit("connections") $doc("Inbound ones");
  connectionsOut @2 :UInt32 $unit("connections") $doc("Outbound ones");
  networkActive @3 :Bool $doc("Networking is on");
  timeOffsetS @4 :Int64 $unit("s") $doc("Peers' clocks minus ours, as Core reckons it");
  version @5 :Int32 $doc("Core's version as a number, 290000 for 29.0");
}

struct RpcNettotals $kind("rpc:nettotals") $sources("snapshots, rpc") $doc("Traffic at one poll of getnettotals") {
  bytesReceived @0 :UInt64 $unit("bytes") $doc("Bytes received since the start of the node");
  bytesSent @1 :UInt64 $unit("bytes") $doc("Bytes sent since the start of the node");
  receivedDelta @2 :UInt64 $unit("bytes") $doc("Bytes received since the poll before");
  sentDelta @3 :UInt64 $unit("bytes") $doc("Bytes sent since the poll before");
  intervalS @4 :UInt32 $unit("s") $doc("Seconds since the poll before");
}

struct RpcUptime $kind("rpc:uptime") $sources("snapshots, rpc") $doc("Uptime of the node at one poll") {
  uptimeS @0 :Int64 $unit("s") $doc("Seconds since the node started");
}

# ---- changes between polls ----

struct PeerConnected $kind("peer:connected") $sources("snapshots, rpc")
    $sameFact("net:inbound_connection, net:outbound_connection, log:peer_connected")
    $doc("A peer is there that was not at the poll before") {
  peer @0 :Peer;
  userAgent @1 :Text $doc("User agent, printable-escaped");
}

struct PeerDisconnected $kind("peer:disconnected") $sources("snapshots, rpc")
    $sameFact("net:closed_connection, log:disconnected") $doc("A peer of the poll before is gone") {
  peer @0 :Peer;
  livedS @1 :Int64 $unit("s") $doc("How long the connection lived");
}

struct PeerOutboundReplaced $kind("peer:outbound_replaced") $sources("snapshots, rpc")
    $doc("An established outbound peer (over 60 s, full or block relay) vanished and another took its slot") {
  peer @0 :Peer;
  lostPeer @1 :Text $doc("The peer that vanished, address and port");
  lostNetgroup @2 :UInt64 $prefix $doc("Its netgroup");
  lostLivedS @3 :Int64 $unit("s") $doc("How long its connection lived");
}

struct PeerOutboundLost $kind("peer:outbound_lost") $sources("snapshots, rpc")
    $doc("An established outbound peer (over 60 s, full or block relay) vanished") {
  peer @0 :Peer;
  livedS @1 :Int64 $unit("s") $doc("How long the connection lived");
}

struct AddrmanInsert $kind("addrman:insert") $sources("snapshots, rpc")
    $sameFact("addrman:attempt_add, log:addrman_inserted")
    $doc("A slot of an address table is taken that was free at the poll before") { change @0 :SlotChange; }

struct AddrmanEvict $kind("addrman:evict") $sources("snapshots, rpc") $sameFact("log:addrman_removed, log:addrman_evicted")
    $doc("A slot of an address table is free that was taken at the poll before") { change @0 :SlotChange; }

struct AddrmanReplace $kind("addrman:replace") $sources("snapshots, rpc") $sameFact("log:addrman_replaced")
    $doc("A slot of an address table holds another address than at the poll before") {
  change @0 :SlotChange;
  oldAddress @1 :Text $doc("Address that was in the slot, without port");
  oldNetgroup @2 :UInt64 $prefix $doc("Its netgroup");
}

struct AddrmanMove $kind("addrman:move") $sources("snapshots, rpc") $sameFact("addrman:move_to_good, log:addrman_tried")
    $doc("An address changed tables; new to tried says table = tried") {
  change @0 :SlotChange;
  fromTable @1 :Text $oneOf("new, tried")
      $doc("Table that it was in");
}

struct AddrmanRebucketed $kind("addrman:rebucketed") $sources("snapshots, rpc")
    $doc("Over 30 % of the slots moved at once (asmap changed, tables rebuilt): no inserts are reported for the poll") {
  movedShare @0 :Float64 $doc("Share of the slots that moved, 0 to 1");
  entries @1 :UInt32 $unit("entries") $doc("Entries in the tables");
}

struct AddrmanExposure $kind("addrman:exposure") $sources("snapshots, rpc")
    $doc("The group nearest to an eclipse, at one poll of getrawaddrman: a netblock, an AS and a source") {
  grouping @0 :Text $oneOf("netblock, as, source")
      $doc("Kind of group: the netblock or AS of the addresses, or the netblock that announced them");
  group @1 :Text $doc("The netblock or AS; empty when no address has one");
  shareNew @2 :UInt32 $unit("ppm") $doc("Chance that a draw from the new table gives one of its addresses");
  shareTried @3 :UInt32 $unit("ppm") $doc("The same for the tried table");
  chanceNextLow @4 :UInt32 $unit("ppm") $doc("Chance that the next outbound connection falls to the group, if all addresses answer alike");
  chanceNextHigh @5 :UInt32 $unit("ppm") $doc("The same if the group always answers, and the others at the feeler success");
  chanceRestartLow @6 :UInt32 $unit("ppm") $doc("Chance that all outbound connections after a restart fall to it, if all addresses answer alike");
  chanceRestartHigh @7 :UInt32 $unit("ppm") $doc("The same if the group always answers, and the others at the feeler success");
  newTotal @8 :UInt32 $unit("entries") $doc("Entries in the new table");
  triedTotal @9 :UInt32 $unit("entries") $doc("Entries in the tried table");
  outbound @10 :UInt32 $unit("peers") $doc("Outbound full-relay and block-relay-only peers");
  outboundHeld @11 :UInt32 $unit("peers") $doc("Those of them that are of the group");
  anchors @12 :UInt32 $unit("peers") $doc("Block-relay-only peers, which a clean shutdown saves, at most 2");
  anchorsHeld @13 :UInt32 $unit("peers") $doc("Those of them that are of the group");
  inboundShare @14 :UInt32 $unit("ppm") $doc("Share of the inbound peers that are of the group; 0 for the grouping source");
  stage @15 :UInt32 $doc("Progress of an eclipse by the group: 0 none, 1 tables, 2 inbound slots, 3 outbound slots, 4 view");
  readiness @16 :UInt32 $unit("ppm") $doc("How well the node is prepared: the mean of tables, outbound, anchors, feelers and age");
  weakest @17 :Text $oneOf("tables, outbound, anchors, feelers, age")
      $doc("The part of readiness that is lowest");
  feelerTries @18 :UInt32 $unit("addresses") $doc("Addresses of the new table that Core tried within a day, by its timers");
  feelerMet @19 :UInt32 $unit("addresses") $doc("Addresses that went from new to tried in the same time");
  uptimeS @20 :Int64 $unit("s") $doc("Uptime of the node, -1 when unknown");
}

struct NodeStarted $kind("node:started") $sources("snapshots, rpc, log, zmq, tracepoint")
    $sameFact("node:started") $doc("The node started; several sources may say so") {
  reason @0 :Text $doc("How it was seen: uptime-reset, log-start, zmq-counter or process");
  version @1 :Text $doc("Core's version, empty when unknown");
}

struct NodeStopped $kind("node:stopped") $sources("log, tracepoint") $doc("The node stopped") {
  reason @0 :Text $doc("How it was seen: a shutdown, a start without one before it, or how the process ended");
}

struct ChainTip $kind("chain:tip") $sources("snapshots, rpc") $sameFact("log:tip, validation:block_connected")
    $doc("The height of the active chain changed between polls") {
  height @0 :Int32 $unit("blocks") $doc("New height");
  intervalS @1 :Int64 $unit("s") $doc("Seconds since the tip before was first seen");
  hash @2 :Text $doc("Hash of the tip, empty when unknown");
}

struct NodeWarning $kind("node:warning") $sources("snapshots, rpc")
    $doc("A warning of the node appeared or ended since the poll before; the first poll reports none") {
  text @0 :Text $doc("The warning, printable-escaped");
  active @1 :Bool $doc("It appeared; false when it ended");
}

struct ChainBlockAge $kind("chain:block_age") $sources("capture, tracepoint")
    $doc("The first message of any type in each three minutes: the node has peers, and its newest block is this old") {
  blockAgeS @0 :Int64 $unit("s") $doc("Seconds since a new block was named (p2p:new_block), -1 before the first");
}

# ---- log: debug.log ----

struct LogAddrReceived $kind("log:addr_received") $sources("log") $sameFact("p2p:addr")
    $doc("Core received addresses from a peer, and counted what its limit dropped") {
  peer @0 :Peer;
  entries @1 :UInt32 $unit("addresses") $doc("Addresses in the message");
  processed @2 :UInt32 $unit("addresses") $doc("Addresses processed");
  rateLimited @3 :UInt32 $unit("addresses") $doc("Addresses dropped by the rate limit");
}

struct LogAddrmanInserted $kind("log:addrman_inserted") $sources("log")
    $sameFact("addrman:attempt_add, addrman:insert") $doc("Core put an address into the new table") {
  address @0 :Text $doc("Address, without port");
  entry @1 :Entry;
  bucket @2 :UInt32 $doc("Bucket in the new table");
  position @3 :UInt32 $doc("Position in the bucket, 0 to 63");
}

struct LogAddrmanBatch $kind("log:addrman_batch") $sources("log")
    $doc("Core offered the addresses of one message to the new table") {
  from @0 :From;
  added @1 :UInt32 $unit("addresses") $doc("Addresses that were new");
  offered @2 :UInt32 $unit("addresses") $doc("Addresses offered");
  triedTotal @3 :UInt32 $unit("addresses") $doc("Addresses in the tried table");
  newTotal @4 :UInt32 $unit("addresses") $doc("Addresses in the new table");
}

struct LogAddrmanTried $kind("log:addrman_tried") $sources("log") $sameFact("addrman:move_to_good, addrman:move")
    $doc("Core moved an address to the tried table") {
  address @0 :Text $doc("Address, without port");
  entry @1 :Entry;
  bucket @2 :UInt32 $doc("Bucket in the tried table; 4294967295 in a log of v22, which does not say it");
  position @3 :UInt32 $doc("Position in the bucket, 0 to 63; 4294967295 in a log of v22");
}

struct LogAddrmanCollision $kind("log:addrman_collision") $sources("log")
    $doc("An address wants a tried slot that another holds") {
  address @0 :Text $doc("Address that wants in, without port");
  entryNetgroup @1 :UInt64 $prefix $doc("Its netgroup");
  oldAddress @2 :Text $doc("Address that holds the slot, without port");
  collisions @3 :UInt32 $unit("collisions") $doc("Collisions waiting for a test");
}

struct LogAddrmanReplaced $kind("log:addrman_replaced") $sources("log") $sameFact("addrman:replace")
    $doc("A tried slot went to another address after a collision") {
  address @0 :Text $doc("Address that got the slot, without port");
  entryNetgroup @1 :UInt64 $prefix $doc("Its netgroup");
  oldAddress @2 :Text $doc("Address that lost the slot, without port");
  tested @3 :Bool $doc("The old address was tested and failed; false: it could not be tested in time");
}

struct LogAddrmanEvicted $kind("log:addrman_evicted") $sources("log") $sameFact("addrman:move")
    $doc("An address was moved from tried back to new") {
  address @0 :Text $doc("Address, without port");
  entryNetgroup @1 :UInt64 $prefix $doc("Its netgroup");
}

struct LogAddrmanRemoved $kind("log:addrman_removed") $sources("log") $sameFact("addrman:evict")
    $doc("An address was removed from the new table") {
  address @0 :Text $doc("Address, without port");
  entryNetgroup @1 :UInt64 $prefix $doc("Its netgroup");
}

struct LogFeelerAttempt $kind("log:feeler_attempt") $sources("log") $doc("Core tries a feeler connection") {
  peer @0 :Text $identity $doc("Address and port as Core prints them");
  peerAddr @1 :Text $identity $doc("Address without port and brackets");
  netgroup @2 :UInt64 $prefix $identity $doc("Netgroup of the address");
  netblock @4 :UInt64 $prefix $identity $doc("Its netblock: /16 or /32, with and without an asmap");
  asn @3 :UInt32 $identity $doc("Autonomous system of the address, 0 when unknown");
}

struct LogFeelerCompleted $kind("log:feeler_completed") $sources("log")
    $doc("A feeler reached its peer and hangs up") { peer @0 :Peer; }

struct LogConnectionAccepted $kind("log:connection_accepted") $sources("log")
    $sameFact("net:inbound_connection, peer:connected")
    $doc("Core accepted an inbound connection; conn is -1 when the line does not say it") { peer @0 :Peer; }

struct LogConnectionDropped $kind("log:connection_dropped") $sources("log")
    $doc("Core turned a new connection away") {
  peer @0 :Peer;
  reason @1 :Text $doc("Why, from a fixed vocabulary");
}

struct LogConnectionAdded $kind("log:connection_added") $sources("log")
    $doc("Core set up a connection, before any version message") { peer @0 :Peer; }

struct LogPeerConnected $kind("log:peer_connected") $sources("log")
    $sameFact("net:outbound_connection, peer:connected") $doc("The handshake with a peer is done") {
  peer @0 :Peer;
  transport @1 :Text $doc("Transport protocol: v1 or v2");
  protocolVersion @2 :Int32 $doc("Protocol version");
  startHeight @3 :Int32 $unit("blocks") $doc("Height that the peer claims to have, -1 when unknown: since v32 the version line alone has it");
}

struct LogVersion $kind("log:version") $sources("log") $sameFact("p2p:version")
    $doc("Core received a version message") {
  peer @0 :Peer;
  userAgent @1 :Text $doc("User agent, printable-escaped");
  protocolVersion @2 :Int32 $doc("Protocol version");
  relay @3 :Bool $doc("The peer wants transactions announced (BIP37)");
}

struct LogDisconnected $kind("log:disconnected") $sources("log") $sameFact("net:closed_connection, peer:disconnected")
    $doc("A connection ended") {
  peer @0 :Peer;
  reason @1 :Text $doc("Why, from a fixed vocabulary");
  livedS @2 :Int64 $unit("s") $doc("How long the connection lived");
}

struct LogEvicted $kind("log:evicted") $sources("log") $sameFact("net:evicted_inbound_connection")
    $doc("An inbound peer was evicted to make room for another") { peer @0 :Peer; }

struct LogMisbehaving $kind("log:misbehaving") $sources("log") $sameFact("net:misbehaving_connection")
    $doc("Core found that a peer misbehaves") {
  peer @0 :Peer;
  reason @1 :Text $doc("Core's reason");
  discouraged @2 :Bool $doc("The peer's address gets discouraged");
}

struct LogProtocolError $kind("log:protocol_error") $sources("log")
    $doc("Bytes from a peer that are no message: bad header, checksum, magic or encryption") {
  peer @0 :Peer;
  reason @1 :Text $doc("What is wrong, from a fixed vocabulary");
  detail @2 :Text $doc("The log line's own words, printable-escaped");
}

struct LogStaleTip $kind("log:stale_tip") $sources("log") $doc("Core suspects that its tip is stale") {
  tipAgeS @0 :Int64 $unit("s") $doc("Seconds since the last tip, as Core says");
}

struct LogBlockStalling $kind("log:block_stalling") $sources("log")
    $doc("A peer holds up the download of blocks or headers") {
  peer @0 :Peer;
  reason @1 :Text $doc("What it holds up, from a fixed vocabulary");
}

struct LogTip $kind("log:tip") $sources("log") $sameFact("chain:tip, validation:block_connected")
    $doc("The active chain has a new tip") {
  height @0 :Int32 $unit("blocks") $doc("Height of the tip");
  hash @1 :Data $doc("Block hash, 32 bytes in internal order");
  txs @2 :UInt64 $unit("transactions") $doc("Transactions in the chain up to the tip");
}

struct LogHeader $kind("log:header") $sources("log") $doc("A new block header came; conn is -1 when the line does not say from whom (v25 to v29)") {
  peer @0 :Peer;
  height @1 :Int32 $unit("blocks") $doc("Height of the header, -1 when the line does not say it (compact blocks of v25 to v29)");
  hash @2 :Data $doc("Block hash, 32 bytes in internal order");
}

struct LogLowWorkHeaders $kind("log:low_work_headers") $sources("log")
    $doc("A peer sent a chain of headers with too little work") { peer @0 :Peer; }

struct LogAsmapHealth $kind("log:asmap_health") $sources("log") $doc("Core's check of the asmap against its peers") {
  peers @0 :UInt32 $unit("peers") $doc("Clearnet peers looked at");
  asns @1 :UInt32 $unit("systems") $doc("Distinct autonomous systems among them");
  unmapped @2 :UInt32 $unit("peers") $doc("Peers that the asmap does not know");
}

# ---- zmq: notifications of the node ----

struct ZmqTip $kind("zmq:tip") $sources("zmq") $sameFact("log:tip, chain:tip, validation:block_connected")
    $doc("The active chain has a new tip (topic hashblock; the node sends none during initial block download)") {
  hash @0 :Data $doc("Block hash, 32 bytes in internal order");
}

struct ZmqBlock $kind("zmq:block") $sources("zmq")
    $doc("A block was connected to the active chain, or disconnected from it (topic sequence)") {
  hash @0 :Data $doc("Block hash, 32 bytes in internal order");
  connected @1 :Bool $doc("Connected; else disconnected, in a reorganisation");
}

struct ZmqMempool $kind("zmq:mempool") $sources("zmq")
    $doc("A transaction entered the mempool, or left it other than in a block (topic sequence)") {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  added @1 :Bool $doc("Added; else removed");
  mempoolSequence @2 :UInt64 $doc("The mempool's own number of this change; removals in blocks take numbers, too");
}

# ---- what a node reports over IPC to a subscriber (`ipc:` with `subscribe: true`) ----

struct ChainTxAdded $kind("chain:tx_added") $sources("ipc") $sameFact("mempool:added, zmq:mempool")
    $doc("A transaction entered the mempool, as Core's IPC reports it: without its fee") {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  vsizeVb @1 :Int32 $unit("vB") $doc("Virtual size");
}

struct ChainTxRemoved $kind("chain:tx_removed") $sources("ipc") $sameFact("mempool:removed, zmq:mempool")
    $doc("A transaction left the mempool, as Core's IPC reports it; those that a block confirms are not reported") {
  txid @0 :Data $doc("Transaction id, 32 bytes in internal order");
  vsizeVb @1 :Int32 $unit("vB") $doc("Virtual size");
  reason @2 :Text $oneOf("expiry, sizelimit, reorg, block, conflict, replaced, unknown")
      $doc("Core's reason: expiry, sizelimit, reorg, block, conflict or replaced; unknown for a later one");
}

struct ChainBlockConnected $kind("chain:block_connected") $sources("ipc")
    $sameFact("validation:block_connected, zmq:block, log:tip, chain:tip")
    $doc("A block was connected to a chain, as Core's IPC reports it") {
  hash @0 :Data $doc("Block hash, 32 bytes in internal order");
  prevHash @1 :Data $doc("Hash of the block before, 32 bytes in internal order");
  height @2 :Int32 $unit("blocks") $doc("Height of the block");
  transactions @3 :UInt32 $unit("transactions") $doc("Transactions in the block, 0 when the node did not send it");
  sizeBytes @4 :UInt32 $unit("bytes") $doc("Size of the block, 0 when the node did not send it");
  historical @5 :Bool $doc("Connected below an assumed snapshot, not at the tip");
}

struct ChainBlockDisconnected $kind("chain:block_disconnected") $sources("ipc") $sameFact("zmq:block")
    $doc("A block was disconnected from the active chain, as Core's IPC reports it") {
  hash @0 :Data $doc("Block hash, 32 bytes in internal order");
  prevHash @1 :Data $doc("Hash of the block before, 32 bytes in internal order");
  height @2 :Int32 $unit("blocks") $doc("Height of the block");
}

struct ChainFlushed $kind("chain:flushed") $sources("ipc") $sameFact("utxocache:flush")
    $doc("The chain state was written to disk, as Core's IPC reports it") {
  validated @0 :Bool $doc("The chain that was validated from its first block; false for one that begins at a snapshot");
  historical @1 :Bool $doc("The chain below an assumed snapshot");
}

struct NodeConnections $kind("node:connections") $sources("ipc")
    $doc("The number of open connections changed, as Core's IPC reports it") {
  connections @0 :Int32 $unit("connections") $doc("Open connections");
}

# ---- finding: what rules report, for rules over findings ----

struct Finding {
  rule @0 :Text $doc("Id of the rule that reports it");
  attack @1 :Text $oneOf("addr-flooding, eclipse, message-anomaly, chain, resource, node, data")
      $doc("Family of attacks of this rule");
  severity @2 :Text $oneOf("info, warning, high, critical") $doc("Severity at this moment");
  maturity @3 :Text $oneOf("sandbox, incubating, stable, deprecated") $doc("How far the rule has been proved");
  key @4 :Text $doc("Key that it is about, as name=value with commas between; empty for the node, group=* for many keys");
  keys @5 :UInt32 $unit("keys") $doc("Keys that it is about: 1, or all of a rule that share one finding");
  node @6 :Text $doc("Node that it is about");
  peerAddr @7 :Text $doc("Address of the peer without port; empty when the rule's key, incident and summary do not name it");
  netgroup @8 :UInt64 $prefix $doc("Netgroup of the key, unknown when key, incident and summary do not name it");
  netblock @9 :UInt64 $prefix $doc("Netblock of the key, that of peer_addr when only this is known, else unknown");
  asn @10 :UInt32 $doc("Autonomous system of the key, 0 when key, incident, summary and netgroup do not name it");
  sinceNs @11 :Int64 $unit("ns") $doc("Since when the condition holds, since the epoch");
}

struct FindingFire $kind("finding:fire") $sources("rules") $doc("A rule fires for a key") { finding @0 :Finding; }

struct FindingUpdate $kind("finding:update") $sources("rules")
    $doc("A rule still fires for a key; at most one a minute and window") { finding @0 :Finding; }

struct FindingEscalate $kind("finding:escalate") $sources("rules")
    $doc("The severity of a firing key has risen") { finding @0 :Finding; }

struct FindingClear $kind("finding:clear") $sources("rules")
    $doc("A rule no longer fires for a key") { finding @0 :Finding; }

# ---- fleet: what several nodes of one service show together, for rules with scope fleet ----

struct FleetNodeLeft $kind("fleet:node_left") $sources("fleet")
    $doc("A node is left out: its watermark is too far behind the furthest one's") {
  behindS @0 :Int64 $unit("s") $doc("How far behind it is");
}

struct FleetNodeBack $kind("fleet:node_back") $sources("fleet") $doc("A node that was left out takes part again") {
  awayS @0 :Int64 $unit("s") $doc("How long it was left out");
}

struct FleetNodeSilent $kind("fleet:node_silent") $sources("fleet")
    $doc("A node has not answered with its chain for 5 minutes while another one has; once a minute") {
  silentS @0 :Int64 $unit("s") $doc("Seconds since its last answer");
}

struct FleetChain $kind("fleet:chain") $sources("fleet")
    $doc("The chain of a node beside the best of the nodes, at each poll of getblockchaininfo") {
  height @0 :Int32 $unit("blocks") $doc("Height of its active chain");
  best @1 :Int32 $unit("blocks") $doc("Greatest height of the nodes that are neither in initial download nor on another chain than most");
  behind @2 :Int32 $unit("blocks") $doc("Blocks between the two");
  ibd @3 :Bool $doc("Initial block download is running");
  uptimeS @4 :Int64 $unit("s") $doc("Seconds since the node started, -1 when unknown");
  nodes @5 :UInt32 $unit("nodes") $doc("Nodes that are compared");
  lastsS @6 :Int64 $unit("s") $doc("Seconds for which it has been 2 or more blocks behind; 0 in initial download and 15 minutes after a start");
  farS @7 :Int64 $unit("s") $doc("The same for 3 or more blocks");
}

struct FleetSplit $kind("fleet:split") $sources("fleet")
    $doc("A node has another block at a height than most nodes, or than the only other one; at each comparison") {
  height @0 :Int32 $unit("blocks") $doc("Height that is compared");
  hash @1 :Text $doc("Hash that the node has there, 64 hex digits");
  others @2 :Text $doc("Hash that the others have there");
  below @3 :Int32 $unit("blocks") $doc("Depth below the lowest tip of the nodes at which they differ already");
  lastsS @4 :Int64 $unit("s") $doc("Seconds since they were first seen to differ");
  settledS @5 :Int64 $unit("s") $doc("Seconds since the next block of either side, -1 before it");
  nodes @6 :UInt32 $unit("nodes") $doc("Nodes that are compared");
}

struct FleetOutboundLost $kind("fleet:outbound_lost") $sources("fleet")
    $doc("A node has lost established outbound peers within 2 minutes; at each further loss") {
  lost @0 :UInt32 $unit("peers") $doc("Outbound peers that it lost");
  hit @1 :UInt32 $unit("nodes") $doc("Nodes that lost at least 3 in these 2 minutes");
  nodes @2 :UInt32 $unit("nodes") $doc("Nodes that take part");
}

struct FleetInserts $kind("fleet:inserts") $sources("fleet")
    $doc("Inserts into the new table of a node beside those of the others; every 5 minutes") {
  inserts @0 :UInt32 $unit("addresses") $doc("Its inserts within an hour");
  median @1 :UInt32 $unit("addresses") $doc("Median of those of the other nodes");
  others @2 :UInt32 $unit("nodes") $doc("Other nodes whose inserts are known for this hour");
}

struct FleetParty $kind("fleet:party") $sources("fleet")
    $doc("A finding of eclipse or addr-flooding at a node names a network: a row for its netblock, one for its AS") {
  party @0 :Text $doc("The netblock, or AS and its number");
  rule @1 :Text $doc("Id of the rule");
  attack @2 :Text $oneOf("addr-flooding, eclipse") $doc("Family of attacks of the rule");
  nodes @3 :UInt32 $unit("nodes") $doc("Nodes that take part");
}

# ---- source: what sources say of themselves ----

struct SourceGap $kind("source:gap") $sources("capture, snapshots, rpc, log, zmq, tracepoint")
    $doc("Events of a source are known to be missing between two times") {
  fromNs @0 :Int64 $unit("ns") $doc("Start of the gap, since the epoch");
  toNs @1 :Int64 $unit("ns") $doc("End of the gap, since the epoch");
  lost @2 :UInt64 $unit("events") $doc("Events lost, 0 when unknown");
  reason @3 :Text $doc("Why they are missing");
  kinds @4 :Text $doc("Kinds that are missing, or beginnings of kinds, comma-joined; empty: all");
}

struct SourceLimited $kind("source:limited") $sources("log")
    $doc("A source leaves out events of some kinds from now on; a source:gap that begins now says until when") {
  untilNs @0 :Int64 $unit("ns") $doc("The latest end to expect, since the epoch");
  reason @1 :Text $doc("Why: log rate limit");
  kinds @2 :Text $doc("Kinds that are left out, comma-joined; log:other for none that is known");
  location @3 :Text $doc("Place in Core's source whose lines are dropped: file:line (function)");
}

struct SourceHeartbeat $kind("source:heartbeat") $sources("tracepoint")
    $doc("A source is alive though it has nothing to say") {
  lagMs @0 :Int64 $unit("ms") $doc("How far the source is behind the clock");
}
