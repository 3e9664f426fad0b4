"""The numbers and functions of Bitcoin Core that this program relies on, each with its line in Core's source.

Every module takes such numbers from here, so that one file shows what a release of Core can change. A call of `_cited`
makes a row of `CITATIONS` and returns the value. `python -m watchdog.sources.core_log` looks for the rows in a source
tree; the unit tests evaluate `written` and compare it with the value. Names are Core's; `_S` marks seconds where Core
uses a typed duration. Rows without a span hold from v22 to the newest master that was checked (952ff9da4352, August
2026).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T", int, float, bytes, tuple[int, ...], tuple[str, ...], None)
Value = int | float | bytes | tuple[int, ...] | tuple[str, ...] | None


class Citation(NamedTuple):
    """One cited line.

    name: Core's identifier. value, unit: ours; None and "" for a function. path: the file in Core's tree. pattern: a
    regular expression that the file must contain; it holds `written`, the value as Core spells it. since, until:
    release and merge commit on master that began and ended this spelling in this file, as in a `Wording` of the table
    of log lines; empty: older than v22, still there.
    """

    name: str
    value: Value
    unit: str
    path: str
    pattern: re.Pattern[str]
    written: str
    since: str
    until: str


_rows: list[Citation] = []


def _cited(  # noqa: PLR0917  (a row of a table)
    name: str,
    value: T,
    unit: str,
    path: str,
    written: str,
    line: str = r"\b{name}\s*[={{]\s*{written}\s*[;}}]",
    since: str = "",
    until: str = "",
) -> T:
    """Add a row and return its value. line: the pattern, where `{name}` and `{written}` stand for themselves."""
    spelled = r"\s*".join(map(re.escape, written.split()))
    pattern = re.compile(line.format(name=re.escape(name), written=spelled), re.DOTALL)
    _rows.append(Citation(name, value, unit, path, pattern, written, since, until))
    return value


def _code(name: str, path: str, *lines: str, since: str = "", until: str = "") -> None:
    """Cite code whose meaning we replicate: the lines must follow each other, with anything between them."""
    pattern = ".*?".join(r"\s*".join(map(re.escape, line.split())) for line in lines)
    _rows.append(Citation(name, None, "", path, re.compile(pattern, re.DOTALL), "", since, until))


_NET_PROCESSING: Final = "src/net_processing.cpp"
_NET: Final = "src/net.h"
_NETADDRESS: Final = "src/netaddress.h"
_NETADDRESS_CODE: Final = "src/netaddress.cpp"
_PROTOCOL: Final = "src/protocol.h"
_MINUTES: Final = r"chrono::minutes {name}\{{{written}\}};"
_ARRAY: Final = r"\b{name}\s*(?:\[\])?\{{\s*{written}\}};"

# Addresses that peers announce
MAX_ADDR_TO_SEND: Final = _cited("MAX_ADDR_TO_SEND", 1000, "addresses", _NET_PROCESSING, "1000")
MAX_ADDR_RATE_PER_SECOND: Final = _cited("MAX_ADDR_RATE_PER_SECOND", 0.1, "addresses/s", _NET_PROCESSING, "0.1")
MAX_ADDR_PROCESSING_TOKEN_BUCKET: Final = _cited(
    "MAX_ADDR_PROCESSING_TOKEN_BUCKET", MAX_ADDR_TO_SEND, "addresses", _NET_PROCESSING, "MAX_ADDR_TO_SEND"
)
ADDR_TOKENS_AT_START: Final = _cited(
    "m_addr_token_bucket",
    1.0,
    "addresses",
    _NET_PROCESSING,
    "1.0",
    r"double {name} GUARDED_BY\([^)]*\)\{{{written}\}};",
    since="25 5b6f0f31fa6c",
)
ADDR_AHEAD_S: Final = _cited(
    "ProcessAddrs",
    600,
    "s",
    _NET_PROCESSING,
    "10min",
    r"addr\.nTime > current_time \+ {written}\)",
    since="32 6e295d8ad5ff",
)
_code(
    "ProcessMessage, VERSION",  # a node asks only peers that it connected to, and grants tokens for the answer
    _NET_PROCESSING,
    "if (!pfrom.IsInboundConn()) { send_getaddr = SetupAddressRelay(pfrom, peer);", "NetMsgType::GETADDR",
    "m_addr_token_bucket += MAX_ADDR_TO_SEND;", since="31 6f68e0c8b760")  # fmt: skip

# The address manager
ADDRMAN_HORIZON_S: Final = _cited(
    "ADDRMAN_HORIZON", 30 * 86_400, "s", "src/addrman.h", "30 * 24h", since="32 8d5515465542"
)
ADDRMAN_NEW_BUCKETS_PER_ADDRESS: Final = _cited(
    "ADDRMAN_NEW_BUCKETS_PER_ADDRESS", 8, "slots", "src/addrman.h", "8", since="32 8d5515465542"
)
ADDRMAN_NEW_BUCKETS_PER_SOURCE_GROUP: Final = _cited(
    "ADDRMAN_NEW_BUCKETS_PER_SOURCE_GROUP", 64, "buckets", "src/addrman.h", "64", since="32 8d5515465542"
)
ADDRMAN_TRIED_BUCKETS_PER_GROUP: Final = _cited(
    "ADDRMAN_TRIED_BUCKETS_PER_GROUP", 8, "buckets", "src/addrman.h", "8", since="32 8d5515465542"
)
ADDRMAN_NEW_BUCKET_COUNT: Final = 1 << _cited(
    "ADDRMAN_NEW_BUCKET_COUNT_LOG2", 10, "bits", "src/addrman_impl.h", "10", since="23 c4fc8994427c"
)
ADDRMAN_TRIED_BUCKET_COUNT: Final = 1 << _cited(
    "ADDRMAN_TRIED_BUCKET_COUNT_LOG2", 8, "bits", "src/addrman_impl.h", "8", since="23 c4fc8994427c"
)
ADDRMAN_BUCKET_SIZE: Final = 1 << _cited(
    "ADDRMAN_BUCKET_SIZE_LOG2", 6, "bits", "src/addrman_impl.h", "6", since="23 c4fc8994427c"
)
_ADDRMAN_CODE: Final = "src/addrman.cpp"
FAILURE_FACTOR: Final = _cited(
    "GetChance", 0.66, "a failure", _ADDRMAN_CODE, "0.66", r"fChance \*= pow\({written}, std::min\(nAttempts, 8\)\)"
)
FAILURES_COUNTED: Final = _cited(
    "GetChance, failures", 8, "failures", _ADDRMAN_CODE, "8", r"pow\(0\.66, std::min\(nAttempts, {written}\)\)"
)
_code(
    "Select_",  # the table by a coin, a bucket, the next taken place; each refusal raises the chance of the next
    _ADDRMAN_CODE,
    "insecure_rand.randbool()", "randrange(bucket_count)", "(initial_position + i) % ADDRMAN_BUCKET_SIZE",
    "chance_factor * info.GetChance()", "chance_factor *= 1.2;", since="25 3a93957a5dc9",
)  # fmt: skip

# Forms and groups of addresses
IPV4_IN_IPV6_PREFIX: Final = _cited(
    "IPV4_IN_IPV6_PREFIX", bytes(10) + b"\xff\xff", "", _NETADDRESS,
    "0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF", _ARRAY, since="23 efd6f904c787",
)  # fmt: skip
TORV2_IN_IPV6_PREFIX: Final = _cited(
    "TORV2_IN_IPV6_PREFIX", bytes.fromhex("fd87d87eeb43"), "", _NETADDRESS,
    "0xFD, 0x87, 0xD8, 0x7E, 0xEB, 0x43", _ARRAY, since="23 efd6f904c787",
)  # fmt: skip
CJDNS_PREFIX: Final = _cited("CJDNS_PREFIX", 0xFC, "first byte", _NETADDRESS, "0xFC", since="26 0655e9dd92ea")
MAX_ADDRV2_SIZE: Final = _cited("MAX_ADDRV2_SIZE", 512, "bytes", _NETADDRESS, "512")
ADDR_IPV4_SIZE: Final = _cited("ADDR_IPV4_SIZE", 4, "bytes", _NETADDRESS, "4")
ADDR_IPV6_SIZE: Final = _cited("ADDR_IPV6_SIZE", 16, "bytes", _NETADDRESS, "16")
ADDR_TORV3_SIZE: Final = _cited("ADDR_TORV3_SIZE", 32, "bytes", _NETADDRESS, "32")
ADDR_I2P_SIZE: Final = _cited("ADDR_I2P_SIZE", 32, "bytes", _NETADDRESS, "32")
ADDR_CJDNS_SIZE: Final = _cited("ADDR_CJDNS_SIZE", 16, "bytes", _NETADDRESS, "16")
BIP155_IPV4: Final = _cited("IPV4", 1, "network id", _NETADDRESS, "1", r"BIP155Network.*?\b{name} = {written},")
BIP155_IPV6: Final = _cited("IPV6", 2, "network id", _NETADDRESS, "2", r"BIP155Network.*?\b{name} = {written},")
BIP155_TORV3: Final = _cited("TORV3", 4, "network id", _NETADDRESS, "4", r"BIP155Network.*?\b{name} = {written},")
BIP155_I2P: Final = _cited("I2P", 5, "network id", _NETADDRESS, "5", r"BIP155Network.*?\b{name} = {written},")
BIP155_CJDNS: Final = _cited("CJDNS", 6, "network id", _NETADDRESS, "6", r"BIP155Network.*?\b{name} = {written},")
_code(
    "enum Network",  # the codes of watchdog.core.address, which the tracepoints give
    _NETADDRESS,
    "NET_UNROUTABLE = 0,", "NET_IPV4,", "NET_IPV6,", "NET_ONION,", "NET_I2P,", "NET_CJDNS,", "NET_INTERNAL,",
)  # fmt: skip
_code(
    "IsRoutable",
    _NETADDRESS_CODE,
    "return IsValid() && !(IsRFC1918() || IsRFC2544() || IsRFC3927() || IsRFC4862() || IsRFC6598() || IsRFC5737() ||",
    "IsRFC4193()", "IsRFC4843() || IsRFC7343() || IsLocal() || IsInternal());",
)  # fmt: skip
_code("IsValid", _NETADDRESS_CODE, "if (IsRFC3849())", "addr == INADDR_ANY || addr == INADDR_NONE")
_code("HasLinkedIPv4", _NETADDRESS_CODE, "(IsIPv4() || IsRFC6145() || IsRFC6052() || IsRFC3964() || IsRFC4380());")
_code("IsHeNet", _NETADDRESS_CODE, "CNetAddr::IsHeNet() const", "{0x20, 0x01, 0x04, 0x70}")
_code(
    "GetGroup",
    "src/netgroup.cpp",
    "if (address.IsLocal())", "(ipv4 >> 16) & 0xFF", "IsTor() || address.IsI2P()", "nBits = 4;", "nBits = 12;",
    "IsHeNet()", "nBits = 36;", "nBits = 32;", since="24 505ba3966562")  # fmt: skip

# The asmap format: mantissa bits of each kind of number
_ASMAP: Final = "src/util/asmap.cpp"
TYPE_BIT_SIZES: Final = _cited("TYPE_BIT_SIZES", (0, 0, 1), "bits", _ASMAP, "0, 0, 1", _ARRAY)
ASN_BIT_SIZES: Final = _cited(
    "ASN_BIT_SIZES", tuple(range(15, 25)), "bits", _ASMAP, "15, 16, 17, 18, 19, 20, 21, 22, 23, 24", _ARRAY
)
MATCH_BIT_SIZES: Final = _cited("MATCH_BIT_SIZES", tuple(range(1, 9)), "bits", _ASMAP, "1, 2, 3, 4, 5, 6, 7, 8", _ARRAY)
JUMP_BIT_SIZES: Final = _cited(
    "JUMP_BIT_SIZES",
    tuple(range(5, 31)),
    "bits",
    _ASMAP,
    "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    _ARRAY,
)

# Messages
NET_MESSAGE_TYPES: Final = (
    "version", "verack", "addr", "addrv2", "sendaddrv2", "inv", "getdata", "merkleblock", "getblocks", "getheaders",
    "tx", "headers", "block", "getaddr", "mempool", "ping", "pong", "notfound", "filterload", "filteradd",
    "filterclear", "sendheaders", "feefilter", "sendcmpct", "cmpctblock", "getblocktxn", "blocktxn", "getcfilters",
    "cfilter", "getcfheaders", "cfheaders", "getcfcheckpt", "cfcheckpt", "wtxidrelay", "sendtxrcncl", "feature",
)  # fmt: skip
_cited(
    "ALL_NET_MESSAGE_TYPES",
    NET_MESSAGE_TYPES,
    "",
    _PROTOCOL,
    " ".join(f"NetMsgType::{name.upper()}," for name in NET_MESSAGE_TYPES),
    r"\b{name}\{{std::to_array<std::string>\(\{{\s*{written}\s*\}}\)\}};",
    since="32 8598ec220450",
)
MESSAGE_TYPE_SIZE: Final = _cited("MESSAGE_TYPE_SIZE", 12, "bytes", _PROTOCOL, "12", since="29 0f6d20e43f25")
MAX_PROTOCOL_MESSAGE_LENGTH: Final = _cited("MAX_PROTOCOL_MESSAGE_LENGTH", 4_000_000, "bytes", _NET, "4 * 1000 * 1000")
MAX_SIZE: Final = _cited("MAX_SIZE", 0x02000000, "bytes", "src/serialize.h", "0x02000000")
MAX_SUBVERSION_LENGTH: Final = _cited("MAX_SUBVERSION_LENGTH", 256, "bytes", _NET, "256")
MAX_INV_SZ: Final = _cited("MAX_INV_SZ", 50_000, "entries", _NET_PROCESSING, "50000")
MAX_LOCATOR_SZ: Final = _cited("MAX_LOCATOR_SZ", 101, "hashes", _NET_PROCESSING, "101")
MAX_HEADERS_RESULTS: Final = _cited(
    "MAX_HEADERS_RESULTS", 2_000, "headers", "src/net_processing.h", "2000", since="29 2bf721e76a57"
)
MAX_GETCFHEADERS_SIZE: Final = _cited("MAX_GETCFHEADERS_SIZE", 2_000, "headers", _NET_PROCESSING, "2000")
MAX_BLOOM_FILTER_SIZE: Final = _cited(
    "MAX_BLOOM_FILTER_SIZE", 36_000, "bytes", "src/common/bloom.h", "36000", since="23 c53e95f22cc2"
)
MAX_SCRIPT_ELEMENT_SIZE: Final = _cited("MAX_SCRIPT_ELEMENT_SIZE", 520, "bytes", "src/script/script.h", "520")
MAX_REJECT_MESSAGE_LENGTH: Final = 111  # bytes; Core before 0.20, which no tree that the check takes has
MSG_TX: Final = _cited("MSG_TX", 1, "inventory type", _PROTOCOL, "1", r"\b{name} = {written},")
MSG_BLOCK: Final = _cited("MSG_BLOCK", 2, "inventory type", _PROTOCOL, "2", r"\b{name} = {written},")
MSG_FILTERED_BLOCK: Final = _cited("MSG_FILTERED_BLOCK", 3, "inventory type", _PROTOCOL, "3", r"\b{name} = {written},")
MSG_CMPCT_BLOCK: Final = _cited("MSG_CMPCT_BLOCK", 4, "inventory type", _PROTOCOL, "4", r"\b{name} = {written},")
MSG_WTX: Final = _cited("MSG_WTX", 5, "inventory type", _PROTOCOL, "5", r"\b{name} = {written},")
MSG_WITNESS_FLAG: Final = _cited("MSG_WITNESS_FLAG", 1 << 30, "inventory flag", _PROTOCOL, "1 << 30")

# Transactions: what a node announces and requests
MAX_PEER_TX_REQUEST_IN_FLIGHT: Final = _cited(
    "MAX_PEER_TX_REQUEST_IN_FLIGHT", 100, "requests", "src/node/txdownloadman.h", "100", since="29 7b66815b16bb"
)
MAX_PEER_TX_ANNOUNCEMENTS: Final = _cited(
    "MAX_PEER_TX_ANNOUNCEMENTS", 5_000, "announcements", "src/node/txdownloadman.h", "5000", since="29 7b66815b16bb"
)
GETDATA_TX_INTERVAL_S: Final = _cited(
    "GETDATA_TX_INTERVAL", 60, "s", "src/node/txdownloadman.h", "60s", since="29 7b66815b16bb"
)
REMOVAL_REASONS: Final = _cited(
    "MemPoolRemovalReason",
    ("expiry", "sizelimit", "reorg", "block", "conflict", "replaced"),
    "by number",
    "src/kernel/mempool_removal_reason.h",
    "EXPIRY SIZELIMIT REORG BLOCK CONFLICT REPLACED",
    r"enum class {name} \{{.*?EXPIRY,.*?SIZELIMIT,.*?REORG,.*?BLOCK,.*?CONFLICT,.*?REPLACED,",
    since="26 00fc7cdc2558",
)
DEFAULT_TX_SEND_RATE: Final = _cited(
    "DEFAULT_TX_SEND_RATE", 14, "transactions/s", "src/net_processing.h", "14", since="32 b33a7fcd7bd8"
)
_cited(
    "INVENTORY_BROADCAST_PER_SECOND", DEFAULT_TX_SEND_RATE, "transactions/s", _NET_PROCESSING, "14",
    since="31 56c6daa64f6b", until="32 b33a7fcd7bd8",
)  # fmt: skip
WITNESS_SCALE_FACTOR: Final = _cited("WITNESS_SCALE_FACTOR", 4, "", "src/consensus/consensus.h", "4")

# Blocks
MAX_BLOCKS_IN_TRANSIT_PER_PEER: Final = _cited("MAX_BLOCKS_IN_TRANSIT_PER_PEER", 16, "blocks", _NET_PROCESSING, "16")
MAX_BLOCKS_TO_ANNOUNCE: Final = _cited("MAX_BLOCKS_TO_ANNOUNCE", 8, "headers", _NET_PROCESSING, "8")
MAX_FUTURE_BLOCK_TIME: Final = _cited("MAX_FUTURE_BLOCK_TIME", 7_200, "s", "src/chain.h", "2 * 60 * 60")
SHORTTXIDS_LENGTH: Final = _cited("SHORTTXIDS_LENGTH", 6, "bytes", "src/blockencodings.h", "6")
_code("blocktxn indexes", "src/blockencodings.h", "BlockTxCount() > std::numeric_limits<uint16_t>::max()")
_code(
    "SetCompact",
    "src/arith_uint256.cpp",
    "int nSize = nCompact >> 24;", "nCompact & 0x007fffff;", "if (nSize <= 3)", "(nCompact & 0x00800000) != 0;",
    "(nSize > 34)",
)  # fmt: skip
_code(
    "powLimit of the main chain",
    "src/kernel/chainparams.cpp",
    'powLimit = uint256{"00000000ffffffff',
    since="28 21c2879f37ce",
)

# Connections
TIMEOUT_INTERVAL_S: Final = _cited("TIMEOUT_INTERVAL", 1_200, "s", _NET, "20", _MINUTES, since="23 9f7661c0c4cb")
DEFAULT_CONNECT_TIMEOUT_MS: Final = _cited("DEFAULT_CONNECT_TIMEOUT", 5_000, "ms", "src/netbase.h", "5000")
SOCKS5_RECV_TIMEOUT_S: Final = _cited(
    "g_socks5_recv_timeout", 20, "s", "src/netbase.cpp", "20s", since="26 e460c0a24aaa"
)
I2P_RECV_TIMEOUT_S: Final = _cited("recv_timeout", 180, "s", "src/i2p.cpp", "3min")
DEFAULT_PEER_CONNECT_TIMEOUT_S: Final = _cited("DEFAULT_PEER_CONNECT_TIMEOUT", 60, "s", _NET, "60")
DEFAULT_MAX_PEER_CONNECTIONS: Final = _cited(
    "DEFAULT_MAX_PEER_CONNECTIONS", 200, "connections", _NET, "200", since="32 11ebbd907217"
)
FEELER_INTERVAL_S: Final = _cited("FEELER_INTERVAL", 120, "s", _NET, "2min")
EXTRA_BLOCK_RELAY_ONLY_PEER_INTERVAL_S: Final = _cited("EXTRA_BLOCK_RELAY_ONLY_PEER_INTERVAL", 300, "s", _NET, "5min")
MAX_BLOCK_RELAY_ONLY_ANCHORS: Final = _cited("MAX_BLOCK_RELAY_ONLY_ANCHORS", 2, "peers", "src/net.cpp", "2")
_code(
    "ThreadOpenConnections, netgroups",  # one persistent connection to a netgroup, overlays excepted; anchors first
    "src/net.cpp",
    "address.IsTor() || address.IsI2P() || address.IsCJDNS()", "outbound_ipv46_peer_netgroups.insert(",
    "if (!m_anchors.empty()", since="26 456af7a95559",
)  # fmt: skip
MAX_OUTBOUND_FULL_RELAY_CONNECTIONS: Final = _cited("MAX_OUTBOUND_FULL_RELAY_CONNECTIONS", 8, "peers", _NET, "8")
MAX_BLOCK_RELAY_ONLY_CONNECTIONS: Final = _cited("MAX_BLOCK_RELAY_ONLY_CONNECTIONS", 2, "peers", _NET, "2")
STALE_CHECK_INTERVAL_S: Final = _cited("STALE_CHECK_INTERVAL", 600, "s", _NET_PROCESSING, "10min")
PING_INTERVAL_S: Final = _cited("PING_INTERVAL", 120, "s", _NET_PROCESSING, "2min", since="23 06209574da79")
WARN_THRESHOLD_S: Final = _cited(
    "WARN_THRESHOLD", 600, "s", "src/node/timeoffsets.h", "10", _MINUTES, since="28 0c3a3c9394e6"
)
DISCOURAGEMENT_THRESHOLD: Final = _cited(
    "DISCOURAGEMENT_THRESHOLD", 100, "points", "src/net_processing.h", "100", until="28 a52837b9e969"
)
_PORTS: Final = r"nDefaultPort = {written};"
DEFAULT_PORTS: Final = (
    _cited("nDefaultPort of main", 8333, "", "src/kernel/chainparams.cpp", "8333", _PORTS, since="25 e695d8536e53"),
    _cited(
        "nDefaultPort of testnet3", 18333, "", "src/kernel/chainparams.cpp", "18333", _PORTS, since="25 e695d8536e53"
    ),
    _cited(
        "nDefaultPort of testnet4", 48333, "", "src/kernel/chainparams.cpp", "48333", _PORTS, since="28 da083d4bbdb3"
    ),
    _cited("nDefaultPort of signet", 38333, "", "src/kernel/chainparams.cpp", "38333", _PORTS, since="25 e695d8536e53"),
    _cited(
        "nDefaultPort of regtest", 18444, "", "src/kernel/chainparams.cpp", "18444", _PORTS, since="25 e695d8536e53"
    ),
)
_code(
    "ConnectionTypeAsString",
    "src/node/connection_types.cpp",
    'return "outbound-full-relay";',
    "block-relay-only",
    since="24 d571cf2d2421",
)
_code("SelectNodeToEvict", "src/node/eviction.cpp", "SelectNodeToEvict(", since="24 d571cf2d2421")
_code("ThreadOpenConnections", "src/net.cpp", "void CConnman::ThreadOpenConnections(")
_code("CheckForStaleTipAndEvictPeers", _NET_PROCESSING, "void PeerManagerImpl::CheckForStaleTipAndEvictPeers()")
_code("Misbehaving", _NET_PROCESSING, "void PeerManagerImpl::Misbehaving(", "m_should_discourage = true;")

# debug.log and message_capture
RATELIMIT_WINDOW_S: Final = _cited("RATELIMIT_WINDOW", 3_600, "s", "src/logging.h", "1h", since="30 578b512bdd88")
RATELIMIT_MAX_BYTES: Final = _cited(
    "RATELIMIT_MAX_BYTES", 1 << 20, "bytes", "src/logging.h", "1_MiB", since="32 bb908999558a"
)
RECENT_DEBUG_HISTORY_SIZE: Final = _cited(
    "RECENT_DEBUG_HISTORY_SIZE", 10_000_000, "bytes", "src/logging.cpp", "10 * 1000000"
)
_code("LogTimestampStr", "src/logging.cpp", '" (mocktime: "')
_code("sign of a rate limit", "src/logging.cpp", 'insert(0, "[*] ");', since="30 2d59977601ea")
_code(
    "Logger::Format",
    "src/logging.cpp",
    "m_log_threadnames",
    "m_log_sourcelocations",
    "GetLogPrefix(",
    since="32 8a843a1b7c0c",
)
_code(
    "LogEscapeMessage", "src/logging.cpp", "std::string LogEscapeMessage(std::string_view str)", since="28 30cef53707fb"
)
_code(
    "CaptureMessageToFile",
    "src/net.cpp",
    "GetTime<std::chrono::microseconds>();", "std::replace(clean_addr.begin(), clean_addr.end(), ':', '_');",
    '"message_capture"', '"msgs_recv.dat" : "msgs_sent.dat"', "ser_writedata64(f, now.count());",
    "ser_writedata32(f, size);",
)  # fmt: skip
_code(
    "getpeerinfo", "src/rpc/net.cpp", " getpeerinfo()", " getnetworkinfo()", " getrawaddrman()", since="26 01bd9d7b991b"
)

# RPC
_RPC_PROTOCOL: Final = "src/rpc/protocol.h"
_LISTED: Final = r"\b{name}\s*=\s*{written},"
RPC_METHOD_NOT_FOUND: Final = _cited("RPC_METHOD_NOT_FOUND", -32601, "code", _RPC_PROTOCOL, "-32601", _LISTED)
RPC_INVALID_PARAMETER: Final = _cited("RPC_INVALID_PARAMETER", -8, "code", _RPC_PROTOCOL, "-8", _LISTED)
RPC_IN_WARMUP: Final = _cited("RPC_IN_WARMUP", -28, "code", _RPC_PROTOCOL, "-28", _LISTED)
_code("COOKIEAUTH_FILE", "src/rpc/request.cpp", 'COOKIEAUTH_FILE = ".cookie";')
_code(
    "CBaseChainParams",
    "src/chainparamsbase.cpp",
    '("", 8332',
    '("testnet3", 18332',
    '("signet", 38332',
    '("regtest", 18443',
)
_code("nSequence", "src/zmq/zmqpublishnotifier.cpp", "WriteLE32", "nSequence")
_code("m_sequence_number", "src/txmempool.h", "m_sequence_number")

# Tracepoints; watchdog/extract/releases.py has what differs between releases
_code("Network", _NETADDRESS, "NET_UNROUTABLE = 0,", "NET_IPV4,", "NET_IPV6,", "NET_ONION,", "NET_I2P,", "NET_CJDNS,")
_code("FlushStateMode", "src/validation.h", "enum class FlushStateMode", "NONE,", "IF_NEEDED,", "PERIODIC,")
_code(
    "block_connected", "src/validation.cpp", "(validation, block_connected,", ".data(),", "pindex->nHeight,",
    "block.vtx.size(),", "nInputs,", "nSigOpsCost,",
)  # fmt: skip
_code(
    "inbound_message", _NET_PROCESSING, "(net, inbound_message,", "GetId(),", ".c_str(),",
    "ConnectionTypeAsString().c_str(),", "c_str(),", "size(),", ".data()",
)  # fmt: skip

CITATIONS: Final = tuple(_rows)
